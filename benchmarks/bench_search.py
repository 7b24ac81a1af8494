"""Searches to an answer: fixed generations, the answer beside the proven optimum."""

import pytest
from best_known import BEST_KNOWN, LIMIT
from instances import FAMILIES, family
from optimum import optimum

import stageplan as sp


@pytest.mark.parametrize("name", FAMILIES)
def test_small(benchmark, name):
    problem = FAMILIES[name](16, 4)
    result = benchmark(sp.solve, problem, "genetic", stop=sp.MaxGenerations(100))
    best = optimum(problem)
    assert best.bound <= result.plan.cost * (1 + 1e-9)
    assert result.plan.cost <= 1.01 * best.cost


def test_large(benchmark):
    problem = family(64, 8)
    result = benchmark(sp.solve, problem, "genetic", stop=sp.MaxGenerations(200))
    best = optimum(problem)
    assert best.bound <= result.plan.cost * (1 + 1e-9)
    assert result.plan.cost <= 1.1 * best.cost


def test_limits(benchmark):
    problem = family(64, 64, limit=LIMIT)
    result = benchmark(sp.solve, problem, "genetic", stop=sp.MaxGenerations(50))
    assert result.plan.feasible
    assert BEST_KNOWN[64, 64, 0].bound <= result.plan.cost * (1 + 1e-9)


@pytest.mark.parametrize(("L", "T"), [(5, 3), (6, 2)])
@pytest.mark.parametrize("name", FAMILIES)
def test_reference(benchmark, name, L, T):
    """The reference itself, beside enumeration."""
    problem = FAMILIES[name](L, T)
    best = benchmark(optimum, problem)
    cost = sp.solve(problem, "enumerate").plan.cost
    assert best.bound <= cost * (1 + 1e-9)
    assert cost <= best.cost * (1 + 1e-9)
    assert sp.Plan.of(problem, best.plan.scheme).cost <= best.cost * (1 + 1e-9)
