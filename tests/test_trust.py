"""Whole problems: how optima of related problems compare, and the same answer in threads and processes."""

import multiprocessing
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from math import inf, isclose
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import objective_of
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import Arguments, problems, random_problem

import stageplan as sp
from stageplan.result import Method

METHODS: list[Method] = ["exact", "greedy", "random", "genetic", "reinforce"]
HEURISTICS = METHODS[1:]

BY_TYPE = ("price", "limit", "capacity", "bandwidth", "transfer_parallel")
BY_LAYER_AND_TYPE = ("compute", "send", "receive", "compute_parallel")

SMALL = problems(max_layers=5, max_types=3).filter(lambda a: a["merge"] == "adjacent")
FEW = settings(max_examples=40)


def optimum(arguments: Arguments) -> float:
    """Give the proven least objective, $, seconds per example or $/hour; inf where no plan is feasible."""
    result = sp.solve(sp.Problem.from_arrays(**arguments), "exact")
    assert result.proven
    return objective_of(result.plan) if result.plan.feasible else inf


def times(arguments: Arguments, **factors: float) -> Arguments:
    """Multiply those of the named arguments that are given."""
    given = {name: x for name, x in factors.items() if arguments.get(name) is not None}
    return arguments | {name: np.asarray(arguments[name]) * x for name, x in given.items()}


def by_type(arguments: Arguments, types: list[int]) -> Arguments:
    """Take these types of a problem, in this order; one may come twice."""
    names = [name for name in (*BY_TYPE, *BY_LAYER_AND_TYPE) if arguments.get(name) is not None]
    return arguments | {name: np.asarray(arguments[name])[..., types] for name in names}


def at_most(x: float, y: float) -> bool:
    return x <= y * (1 + 1e-8)


# Optima of related problems ----------------------------------------------------------------------------

BETTER = {
    "price": lambda x: x / 2,
    "compute": lambda x: x / 2,
    "send": lambda x: x / 2,
    "receive": lambda x: x / 4,
    "capacity": lambda x: x * 1.5,
    "bandwidth": lambda x: x * 3,
    "limit": lambda x: x + 1,
}


@FEW
@given(SMALL, st.data())
def test_a_better_device_never_makes_the_optimum_worse(arguments: Arguments, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([name for name in BETTER if arguments.get(name) is not None]))
    changed = np.array(arguments[name], dtype=float)
    t = data.draw(st.integers(0, changed.shape[-1] - 1))
    changed[..., t] = BETTER[name](changed[..., t])
    assert at_most(optimum(arguments | {name: changed}), optimum(arguments))


def test_each_way_to_be_better_lowers_some_optimum() -> None:
    """So that the comparison above has something to compare."""
    rng, lower = np.random.default_rng(5), dict.fromkeys(BETTER, 0)
    for _ in range(12):
        switches = dict.fromkeys(("transfers", "graph", "memory", "limits"), True)
        arguments = random_problem(rng, 5, 2, parallel=True, goals=False, gaps=False, **switches)
        before = optimum(arguments)
        for name, change in BETTER.items():
            after = optimum(arguments | {name: change(np.asarray(arguments[name], dtype=float))})
            assert at_most(after, before)
            lower[name] += after < before * (1 - 1e-6)
    assert min(lower.values()) > 0, lower


@FEW
@given(SMALL, st.data())
def test_the_order_of_the_types_does_not_matter(arguments: Arguments, data: st.DataObject) -> None:
    types = data.draw(st.permutations(range(len(arguments["price"]))))
    assert isclose(optimum(by_type(arguments, types)), optimum(arguments), rel_tol=1e-8)


PRICES = dict.fromkeys(("price", "fixed_price", "max_cost", "max_price"), 4.0)
TIMES = dict.fromkeys(("compute", "send", "receive", "max_duration", "max_cost"), 8.0)
RATES = dict.fromkeys(("bandwidth", "min_throughput"), 1 / 8)
BYTES = dict.fromkeys(("memory", "workspace", "capacity", "bandwidth"), 1024.0)
SCALES = {
    "prices": (PRICES, {"cost": 4.0, "throughput": 1.0, "price": 4.0}),
    "times": (TIMES | RATES, {"cost": 8.0, "throughput": 8.0, "price": 1.0}),
    "bytes": (BYTES, {"cost": 1.0, "throughput": 1.0, "price": 1.0}),
}


@pytest.mark.parametrize("unit", SCALES)
@FEW
@given(arguments=SMALL)
def test_the_optimum_has_the_units_of_the_problem(arguments: Arguments, unit: str) -> None:
    factors, expected = SCALES[unit]
    scaled = times(arguments, **factors)
    if unit == "bytes" and "tensors" in arguments:
        scaled["tensors"] = [(a, consumers, 1024.0 * size) for a, consumers, size in arguments["tensors"]]
    factor = expected[arguments["objective"]]
    assert isclose(optimum(scaled), factor * optimum(arguments), rel_tol=1e-8)


@FEW
@given(SMALL)
def test_two_equal_types_are_a_type_whose_layers_may_be_split(arguments: Arguments) -> None:
    """Equal where nothing limits the devices; else between the types with all devices each and with half."""
    n_types = len(arguments["price"])
    whole = optimum(arguments | {"split": True})
    twice = by_type(arguments | {"split": False}, [*range(n_types), *range(n_types)])
    if arguments["limit"] is None:
        assert isclose(optimum(twice), whole, rel_tol=1e-8)
        return
    limit = np.asarray(arguments["limit"])
    larger = np.where(np.isinf(limit), inf, np.ceil(limit / 2))
    smaller = np.where(np.isinf(limit), inf, np.floor(limit / 2))
    shared = optimum(twice | {"limit": np.concatenate([larger, smaller])})
    assert at_most(optimum(twice), whole)
    assert at_most(whole, shared)


@settings(max_examples=15)
@given(SMALL)
def test_the_optimum_is_between_every_bound_and_every_plan(arguments: Arguments) -> None:
    problem, best = sp.Problem.from_arrays(**arguments), optimum(arguments)
    for method in METHODS:
        result = sp.solve(problem, method, stop=None if method == "exact" else sp.MaxGenerations(2))
        if result.plan.feasible:
            assert at_most(best, objective_of(result.plan))
        fastest = problem.goal.objective == "throughput"
        bound = 1 / max(result.bound, 1e-300) if fastest else result.bound
        assert at_most(bound, best)


# Threads, processes, memory ----------------------------------------------------------------------------


def medium() -> sp.Problem:
    rng = np.random.default_rng(21)
    drawn = random_problem(rng, 16, 3, ties=False, parallel=True, transfers=True, goals=False, gaps=False)
    return sp.Problem.from_arrays(**drawn | {"limit": [4, 5, 3], "min_throughput": 0.2})


def outcome(problem: sp.Problem, method: Method, threads: int | None = None) -> Any:
    """Solve, and give what has to be the same, bit by bit."""
    chosen: dict[str, Any] = {} if method == "exact" else {"stop": sp.MaxGenerations(4), "threads": threads}
    result = sp.solve(problem, method, seed=3, **chosen)
    plan = result.plan
    return plan.scheme.tobytes(), plan.stages, plan.cost, result.bound, result.status, result.evaluations


@pytest.mark.parametrize("method", METHODS)
def test_eight_threads_that_share_a_problem_have_the_result_of_one(method: Method) -> None:
    problem = medium()
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(outcome, problem, method) for _ in range(8)]
    assert [future.result() for future in futures] == [outcome(medium(), method)] * 8


@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_processes_have_the_result_of_one(start: str) -> None:
    if start not in multiprocessing.get_all_start_methods():
        pytest.skip(f"processes are not started by {start} here")
    problem = medium()
    with multiprocessing.get_context(start).Pool(1) as pool:
        waiting = [pool.apply_async(outcome, (problem, method)) for method in METHODS]
        results = [result.get(60) for result in waiting]
    assert results == [outcome(problem, method) for method in METHODS]


def run(code: str) -> str:
    """Run code in a process of its own, with the problem of this file and the functions beside it."""
    before = f"import sys; sys.path[:0] = {sys.path!r}; from test_trust import *; import stageplan as sp\n"
    done = subprocess.run([sys.executable, "-c", before + code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no process can be forked here"
)
def test_a_process_that_is_forked_after_a_search_has_the_same_results() -> None:
    """Threads of a search end with it, so that none is missing in the child.

    This holds where Python itself has one thread at the fork: what other threads lock stays locked in the
    child. So it is tried in a process of its own.
    """
    code = """
problem = medium()
def outcomes():
    return [outcome(problem, method, threads=2) for method in ("genetic", "reinforce")]
before = outcomes()
pool = multiprocessing.get_context("fork").Pool(1)
print(pool.apply_async(outcomes).get(60) == before == outcomes())
pool.terminate()
"""
    assert run(code) == "True\n"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_number_of_solves() -> None:
    """By less than 500 bytes a solve, after the first 500, which fill what is kept."""
    code = """
import gc, resource
arguments = random_problem(np.random.default_rng(2), 6, 2, limits=True, graph=True, memory=True, gaps=False)
def grow(count):
    for k in range(count):
        problem = sp.Problem.from_arrays(**arguments | {"merge": "adjacent", "fixed_price": 1.0 + k % 7})
        stop = sp.MaxGenerations(1)
        sp.solve(problem, "exact").plan.to_dict()
        if k % 10 == 0:
            sp.solve(problem, "genetic", population=16, stop=stop, seed=k)
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
first = grow(500)
print(grow(3000) - first)
"""
    grown = int(run(code))
    assert grown < 3000 * 500
