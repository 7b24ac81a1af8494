"""The C API beside the same native work without it."""

import numpy as np
import pytest

import stageplan as sp
from benchmarks.support.instances import POPULATIONS, best_plan, family
from stageplan import _core, capi

SCORES, SOLVES = 1000, 10  # of a call from Python


@pytest.mark.parametrize("by", ["the kernel", "the C API"])
def test_one_scheme(benchmark, by):
    problem, schemes = family(64, 8), POPULATIONS["evolved"](64, 8, 1)
    handles = capi.Handles(problem, target=1.0)
    if by == "the kernel":
        cost = benchmark(_core.testing.score_repeatedly, problem.scorer(1.0), schemes[0], SCORES)
    else:
        cost = benchmark(_core.testing.score_repeatedly_by_capi, handles.scorer, schemes[0], SCORES)
    assert cost == sp.evaluate(problem, schemes, target=1.0).cost[0]


@pytest.mark.parametrize("by", ["solve_many", "the C API"])
def test_whole_solve(benchmark, by):
    problem = family(12, 3)
    if by == "solve_many":
        costs = benchmark(sp.solve_many, problem, price=np.tile(problem.price, (SOLVES, 1)), threads=1).cost
    else:
        costs = benchmark(_core.testing.solve_repeatedly_by_capi, problem.core, SOLVES)
    np.testing.assert_allclose(costs, best_plan(problem).cost, rtol=1e-9)
