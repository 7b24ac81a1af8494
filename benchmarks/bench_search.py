"""Searches to an answer: fixed generations, the answer beside the proven optimum."""

import numpy as np
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


@pytest.mark.parametrize("how", ["solve_many", "one by one"])
@pytest.mark.parametrize(("L", "T", "count"), [(16, 4, 200), (64, 8, 20)])
def test_many_set_ups(benchmark, L, T, count, how):
    """Set-ups with other prices and targets, in one native call and by as many calls of `solve`."""
    problem, rng = family(L, T), np.random.default_rng(0)
    price, targets = problem.price * rng.lognormal(0, 0.2, (count, T)), rng.uniform(0.5, 1.5, count)

    def one_by_one():
        return [
            sp.solve(problem.replace(price=row, min_throughput=float(target)), "exact").plan.cost
            for row, target in zip(price, targets, strict=True)
        ]

    def together():
        return sp.solve_many(problem, price=price, min_throughput=targets, threads=1).cost.tolist()

    assert benchmark(together if how == "solve_many" else one_by_one) == one_by_one()
