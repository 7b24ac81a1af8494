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


def scarce(seed: int) -> sp.Problem:
    """Draw a problem with scarce memory in its first stages, and all-reduce over a slow network."""
    rng, L, T, degrees = np.random.default_rng(seed), 24, 4, np.array([1, 2, 4])
    type_, degree = np.repeat(np.arange(T), len(degrees)), np.tile(degrees, T)
    speed = rng.lognormal(0, 0.7, T)
    fit = rng.lognormal(0, 0.8, (4, T))[np.arange(L) // 4 % 4]
    compute = rng.lognormal(0, 0.6, (L, 1)) / L * (fit / speed)[:, type_] / degree**0.85
    memory = rng.lognormal(0, 0.3, (L, 1)) / degree
    return sp.Problem.from_arrays(
        compute=compute,
        price=speed**0.9,
        column_type=type_,
        column_degree=degree,
        compute_parallel=rng.uniform(0.8, 1.0, compute.shape),
        memory=memory,
        activations=0.2 * memory,
        gradients=memory,
        link=np.full(T, 50.0),
        network=np.full(T, 5.0),
        machine=np.full(T, 2.0),
        capacity=np.full(T, 0.4 * L),
        schedule="1f1b",
        microbatches=16,
        batch=128,
        examples=3600,
    )


def test_genetic_search_is_near_the_optimum_where_memory_is_scarce() -> None:
    for seed in range(8):
        problem = scarce(seed)
        best = sp.solve(problem, "exact")
        found = sp.solve(problem, "genetic", population=64, stop=sp.MaxGenerations(200))
        assert best.status == "optimal"
        assert best.plan.cost * (1 - 4e-9) <= found.plan.cost <= 1.01 * best.plan.cost, seed


def test_a_step_of_the_random_search_is_shorter_for_longer_networks() -> None:
    """Under a schedule the options of all stages are chosen together."""
    for layers, schemes in ((4, 1024), (64, 64), (200, 20)):
        problem = sp.Problem.from_arrays(
            np.ones((layers, 2)), [1.0, 2.0], schedule="gpipe", microbatches=2, batch=4
        )
        found = sp.solve(problem, "random", stop=sp.MaxGenerations(2))
        assert found.evaluations == 2 * schemes
