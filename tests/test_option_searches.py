"""All searches on problems by options: never below the bound, near the best of all schemes."""

import numpy as np
import pytest
import reference_options as oracle
from option_problems import draw_problem

import stageplan as sp

METHODS = ("random", "greedy", "genetic", "reinforce")


def test_enumeration_finds_the_best_of_all_schemes() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        problem = draw_problem(rng, max_layers=4)
        best = oracle.brute_force(problem)
        found = sp.solve(problem, method="enumerate")
        assert found.plan.feasible == (best is not None), seed
        if best:
            expected = oracle.objective(problem, best[1].score)
            assert objective(found.plan) == pytest.approx(expected, rel=4e-9), seed
            assert least(found) <= expected * (1 + 4e-9)


def objective(plan: sp.Plan) -> float:
    values = {"cost": plan.cost, "throughput": 1 / plan.throughput, "price": plan.price}
    return values[plan.problem.goal.objective]


def least(found: sp.Result) -> float:
    return 1 / found.bound if found.plan.problem.goal.objective == "throughput" else found.bound


@pytest.mark.parametrize("method", METHODS)
def test_searches_are_near_the_best_of_all_schemes(method: str) -> None:
    near = feasible = 0
    for seed in range(12):
        problem = draw_problem(np.random.default_rng(seed), max_layers=4)
        best = oracle.brute_force(problem)
        found = sp.solve(problem, method=method, seed=seed, stop=sp.MaxGenerations(20))
        if best is None:
            assert not found.plan.feasible
            continue
        feasible += 1
        expected = oracle.objective(problem, best[1].score)
        assert least(found) <= expected * (1 + 1e-9)
        if found.plan.feasible:
            assert objective(found.plan) >= expected * (1 - 4e-9)
            near += objective(found.plan) <= 1.02 * expected
    assert near >= 0.7 * feasible
