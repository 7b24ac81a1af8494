"""Searches to an answer: fixed generations, the answer beside the proven optimum."""

import pytest

import stageplan as sp
from benchmarks.support.instances import FAMILIES, best_plan, family


def check(result: sp.Result, factor: float) -> None:
    """Not better than the best plan, and not much worse."""
    best = best_plan(result.plan.problem).cost
    assert result.plan.feasible
    assert best * (1 - 1e-9) <= result.plan.cost <= factor * best


@pytest.mark.parametrize("name", FAMILIES)
def test_small(benchmark, name):
    check(benchmark(sp.solve, FAMILIES[name](16, 4), "genetic", stop=sp.MaxGenerations(100)), 1.01)


def test_large(benchmark):
    check(benchmark(sp.solve, family(64, 8), "genetic", stop=sp.MaxGenerations(200)), 1.01)


def test_limits(benchmark):
    problem = family(64, 64, limit=4)
    check(benchmark(sp.solve, problem, "genetic", stop=sp.MaxGenerations(50)), 1.01)


@pytest.mark.parametrize(("L", "T"), [(5, 3), (6, 2)])
@pytest.mark.parametrize("name", FAMILIES)
def test_exact(benchmark, name, L, T):
    """What the others are measured against, beside enumeration."""
    plan = benchmark(best_plan, FAMILIES[name](L, T))
    cost = sp.solve(plan.problem, "enumerate").plan.cost
    assert plan.cost == pytest.approx(cost, rel=1e-9)
