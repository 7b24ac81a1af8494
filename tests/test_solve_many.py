"""Many set-ups in one call, beside solving each by itself."""

import signal
import threading
from typing import Any

import numpy as np
import option_problems
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import problems

import stageplan as sp
from benchmarks.support.instances import family

COMPUTE = [[4.0, 1.0], [2.0, 1.0], [1.0, 2.0]]


def small(**fixed: Any) -> sp.Problem:
    arguments: dict[str, Any] = {"price": [1.0, 3.0], "limit": [2, 2], "examples": 3600.0} | fixed
    return sp.Problem.from_arrays(COMPUTE, **arguments)


def varied(seed: int, layers: int, types: int, count: int, **fixed: Any) -> tuple[sp.Problem, dict[str, Any]]:
    """Draw a problem and set-ups with other prices, limits and goals, of which some are infeasible."""
    rng = np.random.default_rng(seed)
    problem = sp.Problem.from_arrays(
        rng.lognormal(0, 0.6, (layers, types)),
        rng.lognormal(0, 0.6, types),
        compute_parallel=rng.uniform(0.8, 0.97, (layers, types)),
        memory=rng.uniform(0, 1, layers),
        max_devices_per_stage=12,
        **fixed,
    )
    changes = {
        "price": problem.price * rng.lognormal(0, 0.3, (count, types)),
        "limit": rng.integers(1, 5, (count, types)).astype(float),
        "capacity": rng.uniform(0.5, layers, (count, types)),
        "min_throughput": rng.choice([0.0, 0.05, 0.3, 2.0], count),
        "max_price": rng.choice([np.inf, 4.0, 20.0], count),
    }
    return problem, changes


def check_same(result: sp.Result, alone: sp.Result) -> None:
    names = ("plan", "status", "bound", "gap", "evaluations", "generations", "work", "proof_devices")
    for name in names:
        assert getattr(result, name) == getattr(alone, name), name


@pytest.mark.parametrize("objective", ["cost", "throughput", "price"])
@pytest.mark.parametrize("method", ["exact", "auto"])
def test_each_set_up_is_solved_as_by_itself(method: Any, objective: str) -> None:
    problem, changes = varied(1, 5, 3, 12, objective=objective)
    results = sp.solve_many(problem, **changes, method=method, seed=3)
    assert len(results) == 12
    assert {"optimal", "infeasible"} <= set(results.status.tolist())
    for i, result in enumerate(results):
        alone = sp.solve(results.problem_of(i), method, seed=3)
        check_same(result, alone)
        plan = alone.plan
        objectives = {"cost": plan.cost, "throughput": plan.throughput, "price": plan.price}
        assert results.objective[i] == objectives[objective]
        assert (results.cost[i], results.throughput[i], results.price[i], results.violation[i]) == (
            plan.cost, plan.throughput, plan.price, plan.violation,
        )  # fmt: skip
        assert results.stages[i] == len(plan.stages)
        assert results.devices[i] == sum(stage.devices for stage in plan.stages)


def test_auto_stops_without_a_better_plan_as_by_itself() -> None:
    problem = sp.Problem.from_arrays([[1.0], [2.0]], [1.0])  # a cost without a minimum is never proven
    results = sp.solve_many(problem, max_cost=[1e6, 2e6], method="auto")
    for result, limit in zip(results, (1e6, 2e6), strict=True):
        check_same(result, sp.solve(problem.replace(max_cost=limit), "auto"))


def test_set_ups_with_options() -> None:
    problem = option_problems.draw_problem(np.random.default_rng(5))
    assert problem.by_options
    results = sp.solve_many(problem, price=problem.price * np.array([[0.5], [1.0], [2.0]]))
    for i, result in enumerate(results):
        check_same(result, sp.solve(results.problem_of(i), "exact"))


def test_threads_change_nothing() -> None:
    problem, changes = varied(2, 8, 3, 20)
    one, two, three = (sp.solve_many(problem, **changes, threads=threads) for threads in (1, 2, 3))
    for name in ("cost", "bound", "status", "schemes", "work", "evaluations", "devices"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
        assert np.array_equal(getattr(one, name), getattr(three, name))


def test_work_ends_a_search_as_max_work_does() -> None:
    rng = np.random.default_rng(7)
    problem = sp.Problem.from_arrays(
        rng.uniform(0.5, 2, (60, 6)), rng.uniform(1, 4, 6), compute_parallel=0.95
    )
    results = sp.solve_many(problem, limit=[[3.0] * 6, [4.0] * 6], work=100_000)
    for i, result in enumerate(results):
        check_same(result, sp.solve(results.problem_of(i), "exact", stop=sp.MaxWork(100_000)))


def test_no_time_leaves_all_unsolved() -> None:
    results = sp.solve_many(small(), min_throughput=[0.1, 0.2], max_runtime=0)
    assert (results.interrupted, results.solved.any(), results.status.tolist()) == (True, False, ["", ""])
    with pytest.raises(ValueError, match="set-up 1 was not solved: the call was interrupted before"):
        results[1]


def test_ctrl_c_keeps_what_is_solved() -> None:
    rng = np.random.default_rng(7)
    problem = sp.Problem.from_arrays(
        rng.uniform(0.5, 2, (200, 12)), rng.uniform(1, 4, 12), compute_parallel=0.95, limit=[3] * 12
    )
    timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
    timer.start()
    limit = np.full((1000, 12), 3.0)
    limit[0, 1:] = 0  # one type alone is quick
    results = sp.solve_many(problem, limit=limit, threads=1)
    timer.join()
    assert results.interrupted
    assert results.solved[0]
    assert not results.solved[-1]
    assert results.status[-1] == ""
    assert [result.status for result in results[:1]] == [results.status[0]]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "no argument differs between set-ups; one must have an entry or a row per set-up"),
        ({"price": [1.0, 2.0]}, "no argument differs between set-ups"),
        (
            {"price": [[1.0, 2.0]], "max_cost": [1.0, 2.0]},
            "max_cost is of 2 set-ups; it must be of 1, as price",
        ),
        ({"price": [[1.0], [2.0]]}, r"price has shape \(2, 1\); it must be \(2, 2\) or \(2,\)"),
        ({"max_cost": [1.0], "limit": 3.0}, r"limit has shape \(\); it must be \(1, 2\) or \(2,\)"),
        ({"min_throughput": [0.1, -1.0]}, "min_throughput has a number below 0; all must be 0 or more"),
        ({"price": [[1.0, 2.0], [1.0, -2.0]]}, r"set-up 1: price\[1\] is -2.*; it must be 0 or from 1e-60"),
        ({"limit": [[1.0, 1.0], [1.5, 1.0], [0.5, 1]]}, r"set-up 1: limit\[0\] is 1.5; it must be a whole"),
        ({"max_cost": [1.0, np.nan]}, "set-up 1: max_cost is nan"),
    ],
)
def test_invalid_set_ups_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        sp.solve_many(small(), **changes)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"method": "genetic"}, ValueError, "method is 'genetic'; it must be one of 'exact', 'auto'"),
        ({"work": 0}, ValueError, "work is 0; it must be a whole number, at least 1"),
        ({"price": "cheap"}, TypeError, "price has dtype"),
    ],
)
def test_invalid_arguments_are_refused(arguments: dict[str, Any], error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        sp.solve_many(small(), **({"max_cost": [1.0]} | arguments))


# Exact answers ----------------------------------------------------------------------------------------


@given(problems(max_layers=6, max_types=3).filter(lambda a: a["merge"] == "adjacent"), st.integers(0, 2**32))
def test_exact_answers_are_those_of_single_solves(arguments: dict[str, Any], seed: int) -> None:
    """With other prices, limits and targets, on any number of threads."""
    problem, rng, count = sp.Problem.from_arrays(**arguments), np.random.default_rng(seed), 4
    factors = rng.choice([0.5, 1.0, 1.0, 1.7], (count, problem.n_types))
    changes = {
        "price": problem.price * factors,
        "min_throughput": rng.choice([0.0, 0.01, 0.2, 1.0], count),
        "fixed_price": rng.choice([0.0, 3.0], count),
    }
    results = sp.solve_many(problem, **changes, threads=1 + seed % 2)
    for i, result in enumerate(results):
        check_same(result, sp.solve(results.problem_of(i), "exact"))


@pytest.mark.parametrize(("layers", "types"), [(16, 4), (40, 5), (140, 4)])
def test_many_prices_without_limits(layers: int, types: int) -> None:
    """Few enough stages for arrays of all, and too many."""
    problem, rng = family(layers, types), np.random.default_rng(layers)
    count = 40 if layers < 100 else 3
    price = problem.price * rng.lognormal(0, 0.3, (count, types))
    results = sp.solve_many(problem, price=price, min_throughput=rng.uniform(0.5, 1.5, count))
    assert set(results.status) == {"optimal"}
    for i, result in enumerate(results):
        check_same(result, sp.solve(results.problem_of(i), "exact"))
        limited = sp.solve(results.problem_of(i).replace(limit=np.full(types, 2.0**20)), "exact")
        assert limited.plan.cost == pytest.approx(result.plan.cost, rel=1e-8)  # by branch and bound


# Several problems --------------------------------------------------------------------------------------


def test_each_set_up_may_have_a_problem_of_its_own() -> None:
    several = [small(), family(5, 3), small(objective="throughput"), small(), small(objective="price")]
    results = sp.solve_many(several, min_throughput=[0.1, 1.0, 0.2, 0.5, 0.3])
    assert results.schemes.shape == (5, 5)
    assert (results.schemes[[0, 2, 3, 4], 3:] == -1).all()
    for i, (result, target) in enumerate(zip(results, (0.1, 1.0, 0.2, 0.5, 0.3), strict=True)):
        alone = sp.solve(several[i].replace(min_throughput=target), "exact")
        check_same(result, alone)
        plan, objective = alone.plan, several[i].goal.objective
        assert (
            results.objective[i]
            == {"cost": plan.cost, "throughput": plan.throughput, "price": plan.price}[objective]
        )
    one = sp.solve_many(several, min_throughput=[0.1, 1.0, 0.2, 0.5, 0.3], threads=1)
    assert np.array_equal(one.schemes, results.schemes)
    assert np.array_equal(one.bound, results.bound)


def test_several_problems_without_changes() -> None:
    several = [small(), small(price=[2.0, 3.0])]
    for result, problem in zip(sp.solve_many(several), several, strict=True):
        check_same(result, sp.solve(problem, "exact"))
    assert len(sp.solve_many([])) == 0


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"price": np.ones((2, 2))}, "price is given for problems of 2 and 3 device types; all must have"),
        ({"max_cost": [1.0, 2.0, 3.0]}, r"max_cost has shape \(3,\); it must be \(2,\) or \(\)"),
        ({"max_cost": [1.0, np.nan]}, "set-up 1: max_cost is nan"),
    ],
)
def test_invalid_changes_of_several_problems_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        sp.solve_many([small(), family(3, 3)], **changes)


def test_other_objects_than_problems_are_refused() -> None:
    with pytest.raises(TypeError, match="problem"):
        sp.solve_many([small(), 3])  # type: ignore[list-item]
