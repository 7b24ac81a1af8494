"""The exact search among options of stages: its plans and bounds against brute force."""

import math
from typing import Any

import numpy as np
import option_problems
import pytest
import reference_options as ref
import strategies
from hypothesis import given, settings

import stageplan as sp
from stageplan import _core


def searched(p: sp.Problem) -> _core.OptionSearch:
    search = _core.OptionSearch(p.core, np.empty((0, p.n_layers), np.int8))
    while not search.done:
        search.step()
    return search


def objective(p: sp.Problem, search: _core.Search) -> float:
    score = search.best_score
    if score.violation > 0:
        return math.inf
    return {"cost": score.cost, "throughput": score.time, "price": score.price}[p.goal.objective]


def check(p: sp.Problem) -> float:
    """Compare the search with brute force; return the least objective."""
    wanted = ref.brute_force(p)
    least = math.inf if wanted is None else ref.objective(p, wanted[1].score)
    search = _core.OptionSearch(p.core, np.empty((0, p.n_layers), np.int8))
    assert search.bound <= least
    while not search.done:
        search.step()
        assert search.bound <= least * (1 + 1e-9)
    assert objective(p, search) == pytest.approx(least, rel=3e-9)
    assert search.bound == pytest.approx(least, rel=3e-9)
    return least


def test_best_plans_are_those_of_brute_force() -> None:
    rng = np.random.default_rng(1)
    found = [check(option_problems.draw_problem(rng, 3)) for _ in range(100)]
    found += [check(option_problems.draw_problem(rng, 3, objective="price")) for _ in range(50)]
    assert sum(map(math.isinf, found)) < len(found) / 2


def test_replicas_get_equal_shares_of_a_microbatch() -> None:
    """Also where another number is faster: 8 examples take 3 shares for 3 replicas, 4 for 2 and 2 for 4."""
    rng = np.random.default_rng(2)
    terms: dict[str, Any] = {"equal_shares": True, "schedule": "1f1b", "microbatches": 2, "batch": 12}
    for _ in range(40):
        check(option_problems.draw_problem(rng, 3, **terms))
    problem = sp.Problem.from_arrays(
        [[1.0]], [1.0], limit=[3], schedule="1f1b", microbatches=2, batch=16, objective="throughput",
    )  # fmt: skip
    assert sp.solve(problem).plan.stages[0].replicas == 3
    assert sp.solve(problem.replace(equal_shares=True)).plan.stages[0].replicas == 2
    unscheduled = {"schedule": None, "microbatches": None, "equal_shares": True}
    assert sp.solve(problem.replace(**unscheduled)).plan.stages[0].replicas == 3


@settings(max_examples=60)
@given(strategies.option_problems())
def test_any_problem(arguments: strategies.Arguments) -> None:
    problem = sp.Problem.from_arrays(**arguments)
    assert problem.by_options
    check(problem)
    result = sp.solve(problem, "exact")
    sp.verify(problem, result.plan)


def test_without_schedules_times_fall_with_the_replicas() -> None:
    rng = np.random.default_rng(5)
    terms: dict[str, Any] = {"schedule": None, "microbatches": None, "batch": 4, "gradients": None}
    found = [check(option_problems.draw_problem(rng, 4, **terms, same_replicas=False)) for _ in range(60)]
    assert sum(map(math.isinf, found)) < len(found) / 2


@pytest.mark.parametrize(
    "goal",
    [
        {},
        {"fixed_price": 30.0},
        {"limit": [5, 3, 4]},
        {"objective": "throughput", "max_price": 12.0},
        {"objective": "price", "min_throughput": 1.5, "limit": [8, 20, 8]},
    ],
)
def test_many_replicas_are_as_cheap_as_without_options(goal: dict[str, Any]) -> None:
    rng = np.random.default_rng(6)
    plain = sp.Problem.from_arrays(
        rng.uniform(0.2, 1, (20, 3)), [1.0, 1.2, 0.9], send=rng.uniform(0, 0.3, (20, 3)),
        compute_parallel=rng.uniform(0.9, 0.99, 3), memory=rng.uniform(0, 1, 20), capacity=[4.0, 6.0, 5.0],
        max_devices_per_stage=64, **goal,
    )  # fmt: skip
    by_options = plain.replace(max_stages=20)
    assert by_options.by_options
    assert not plain.by_options
    found, least = sp.solve(by_options, "exact"), sp.solve(plain, "exact").plan
    of = {"cost": "cost", "price": "price", "throughput": "time"}[plain.goal.objective]
    assert found.status == "optimal"
    assert getattr(found.plan, of) == pytest.approx(getattr(least, of), rel=3e-9)


def test_scheme_has_the_score_that_was_found() -> None:
    rng = np.random.default_rng(2)
    for _ in range(40):
        p = option_problems.draw_problem(rng, 3)
        search = searched(p)
        best = ref.provision(p, tuple(int(x) for x in search.best))
        least = math.inf if best is None else ref.objective(p, best.score)
        assert objective(p, search) == pytest.approx(least, rel=3e-9)


def limited(seed: int, layers: int, types: int) -> sp.Problem:
    """Draw a problem of few devices a type with all-reduce; memory is scarce in half of them."""
    rng, degrees = np.random.default_rng(seed), np.array([1, 2])
    type_, degree = np.repeat(np.arange(types), len(degrees)), np.tile(degrees, types)
    speed = rng.lognormal(0, 0.7, types)
    fit = rng.lognormal(0, 0.8, (layers, types))
    compute = rng.lognormal(0, 0.6, (layers, 1)) / layers * (fit / speed)[:, type_] / degree**0.85
    memory = rng.lognormal(0, 0.3, (layers, 1)) / degree
    return sp.Problem.from_arrays(
        compute, speed**0.9, column_type=type_, column_degree=degree, limit=rng.integers(3, 5, types),
        compute_parallel=rng.uniform(0.8, 1.0, compute.shape), memory=memory, activations=0.1 * memory,
        gradients=memory, link=np.full(types, 50.0), network=np.full(types, 5.0), machine=np.full(types, 2.0),
        capacity=np.full(types, 0.5 * layers if seed % 2 else np.inf), schedule="1f1b", microbatches=8,
        batch=64, examples=3600.0, objective="throughput" if seed % 4 < 2 else "cost",
    )  # fmt: skip


def test_best_plans_among_few_devices_are_those_of_all_schemes() -> None:
    for seed in range(30):
        p = limited(seed, layers=6, types=3)
        schemes = _core.Enumeration(p.core, 1)
        while not schemes.done:
            schemes.step()
        search = searched(p)
        assert objective(p, search) == pytest.approx(objective(p, schemes), rel=3e-9), seed
        assert search.bound == pytest.approx(objective(p, schemes), rel=3e-9), seed


def test_no_plan_of_the_genetic_search_costs_less_than_the_bound() -> None:
    """Nor does another plan turn out the best one where the search begins with other schemes."""
    for seed in range(6):
        p = limited(seed, layers=20, types=5)
        search = searched(p)
        genetic = _core.Genetic(p.core, 64, seed, 1, np.empty((0, 20), np.int8))
        genetic.step(40)
        assert search.bound <= objective(p, genetic) * (1 + 4e-9), seed
        initial = np.random.default_rng(seed).integers(0, 5, (3, 20)).astype(np.int8)
        other = _core.OptionSearch(p.core, initial)
        while not other.done:
            other.step()
        assert objective(p, other) == pytest.approx(objective(p, search), rel=4e-9), seed


CHAIN: dict[str, Any] = {
    "compute": np.ones((6, 1)),
    "price": [1.0],
    "column_type": [0],
    "schedule": "1f1b",
    "microbatches": 4,
    "batch": 4,
    "split": True,
    "activations": np.ones(6),
    "max_devices_per_stage": 1,
}


def test_memory_grows_with_the_stages_behind() -> None:
    # A device holds activations of four layers; the first stage has one layer, for it keeps four in flight.
    p = sp.Problem.from_arrays(**CHAIN, capacity=[4.0], objective="throughput")
    search = searched(p)
    cuts = np.flatnonzero(np.diff(search.best)) + 1
    stages = np.diff([0, *cuts, 6])
    kept = [n * min(len(stages) - i, 4) for i, n in enumerate(stages)]
    assert search.best_score.violation == 0
    assert max(kept) <= 4
    assert searched(sp.Problem.from_arrays(**CHAIN, capacity=[1.0])).bound == math.inf


def test_most_stages_are_counted_beyond_the_microbatches() -> None:
    p = sp.Problem.from_arrays(**CHAIN, objective="throughput")
    assert searched(p).best_score.time == pytest.approx((3 * 1 + 6) / 4)  # six stages of one layer
    limited = searched(p.replace(max_stages=5))
    assert limited.best_score.time == pytest.approx((3 * 2 + 6) / 4)
    assert len(np.flatnonzero(np.diff(limited.best))) <= 4


def test_whole_machines_are_rented() -> None:
    columns: dict[str, Any] = {"column_type": [0, 1], "machine": [4, 1], "whole_machines": True}
    p = sp.Problem.from_arrays(np.ones((2, 2)), [1.0, 1.5], limit=[4, 4], max_devices_per_stage=4, **columns)
    # Per device-hour of work the first type is cheaper, and all four devices of its machine are put to use.
    assert searched(p).best_score.cost == pytest.approx(1e6 / 3600 * 2)
    assert check(p.replace(limit=[3, 4])) == pytest.approx(1e6 / 3600 * 3)


def larger(seed: int, layers: int, **goal: Any) -> sp.Problem:
    rng = np.random.default_rng(seed)
    compute = rng.uniform(0.5, 2, (layers, 1)) * rng.uniform(0.5, 2, (1, 4))
    return sp.Problem.from_arrays(
        compute, [1.0, 2.0], column_type=[0, 0, 1, 1], column_degree=[1, 2, 1, 2], schedule="1f1b",
        microbatches=8, batch=32, activations=rng.uniform(0.1, 0.3, layers), capacity=[6.0, 9.0], **goal,
    )  # fmt: skip


@pytest.mark.parametrize(
    "goal",
    [
        {},
        {"limit": [5, 3]},
        {"objective": "throughput", "max_price": 20.0},
        {"objective": "price", "min_throughput": 0.2},
    ],
)
def test_larger_problems_are_proven_and_bounds_rise(goal: dict[str, Any]) -> None:
    p = larger(0, 24, **goal)
    search = _core.OptionSearch(p.core, np.empty((0, 24), np.int8))
    bounds = []
    while not search.done:
        search.step()
        bounds.append(search.bound)
    assert bounds == sorted(bounds)
    assert objective(p, search) == pytest.approx(bounds[-1], rel=3e-9)


def test_a_stop_keeps_a_valid_bound() -> None:
    p = larger(1, 40)
    search = _core.OptionSearch(p.core, np.empty((0, 40), np.int8))
    with _core.StopAfter(0.0), pytest.raises(_core.Stopped):
        search.advance(1 << 40)
    assert search.bound <= objective(p, searched(p))
    while not search.done:
        search.step()
    assert objective(p, search) == objective(p, searched(p))
