"""Native work that is stopped amid a step: at a deadline, by a signal, and beside other Python threads."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import stageplan as sp
from stageplan import _core
from stageplan.result import Method
from stageplan.solve import METHODS


def large(layers: int = 200, types: int = 12, **fixed: Any) -> sp.Problem:
    """Make a problem whose proof takes far longer than a test."""
    rng = np.random.default_rng(7)
    table = rng.uniform(0.5, 2, (layers, types))
    fixed = {"limit": [3] * types, "compute_parallel": 0.95} | fixed
    return sp.Problem.from_arrays(table, rng.uniform(1, 4, types), **fixed)


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Send this process what Ctrl-C sends, after a while."""
    timer = threading.Timer(seconds, signal.raise_signal, [signal.SIGINT])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def applies(method: Method) -> dict[str, str]:
    return {"merge": "type"} if method == "annealing" else {}


@pytest.mark.parametrize("method", [m for m in METHODS if m != "enumerate"])
def test_deadline_of_zero_gives_a_plan_and_a_bound(method: Method) -> None:
    """Even where nothing has been scored, as amid the first population."""
    result = sp.solve(large(**applies(method)), method, stop=sp.MaxRuntime(0))
    assert result.plan.stages
    assert not result.plan.feasible or result.bound <= result.plan.cost


@pytest.mark.parametrize(
    "change", [{}, {"fixed_price": 1.0}, {"min_throughput": 50.0}, {"limit": [10**6] * 3}]
)
@pytest.mark.parametrize("method", ["auto", "exact"])
def test_deadline_is_met_where_cost_has_no_minimum(method: Method, change: dict[str, Any]) -> None:
    rng = np.random.default_rng(3)
    problem = sp.Problem.from_arrays(rng.uniform(1, 4, (4, 3)), rng.uniform(0.3, 2, 3), **change)
    result = sp.solve(problem, method, stop=sp.MaxRuntime(0.05))
    assert result.plan.feasible
    assert 0 < result.bound <= result.plan.cost * (1 + 1e-9)


@pytest.mark.parametrize("method", ["auto", "genetic", "reinforce", "annealing", "random"])
def test_work_stops_at_the_same_place_on_any_number_of_threads(method: Method) -> None:
    problem, work = large(24, 4, **applies(method)), 300_000
    stop = sp.MaxWork(work)
    results = [sp.solve(problem, method, stop=stop, seed=3, threads=threads) for threads in (1, 2, 3)]
    assert results[0].work >= work or results[0].status == "optimal"
    assert len({(r.work, r.evaluations, r.generations, r.plan.scheme.tobytes()) for r in results}) == 1


def test_exact_stops_at_the_same_work() -> None:
    problem = large()
    first, again = (sp.solve(problem, "exact", stop=sp.MaxWork(3_000_000)) for _ in range(2))
    assert 3_000_000 <= first.work < 2 * 3_000_000
    assert (first.work, first.bound, first.plan) == (again.work, again.bound, again.plan)


def test_interrupt_within_a_step_keeps_the_best_plan() -> None:
    problem = large(600, 24)
    with interrupted_after(0.3):
        result = sp.solve(problem, "exact", stop=sp.MaxRuntime(60))
    assert result.interrupted
    assert result.plan.stages
    assert not result.plan.feasible or result.bound <= result.plan.cost


def test_ctrl_c_while_the_first_population_is_made_gives_a_plan() -> None:
    problem = large()
    with interrupted_after(0.2):
        result = sp.solve(problem, "genetic", population=2**21, threads=1, stop=sp.MaxRuntime(60))
    assert result.interrupted
    assert result.plan.stages
    assert result.runtime < 30


NONE = np.empty((0, 200), np.int8)


@pytest.mark.parametrize(
    "make",
    [
        lambda core: _core.Auto(core, 256, 0, 1, NONE),
        lambda core: _core.Exact(core, NONE),
        lambda core: _core.Genetic(core, 256, 0, 2, NONE),
        lambda core: _core.Reinforce(core, _core.Learned(False, 12, 12, 0), 32, 0, 2, NONE),
        lambda core: _core.Front(core, [1e3], None, 0.0, np.zeros((1, 200), np.int8)),
    ],
    ids=["auto", "exact", "genetic", "reinforce", "front"],
)
def test_constructor_hears_a_deadline(make: Callable[[_core.Problem], _core.Search]) -> None:
    with _core.StopAfter(0), pytest.raises(_core.Stopped):
        make(large().core)
    assert make(large().core).best.size == 200  # and none is left behind


def test_searches_continue_after_a_stopped_step() -> None:
    problem = large(24, 4)
    stopped, straight = (_core.Exact(problem.core, np.empty((0, 24), np.int8)) for _ in range(2))
    while not (stopped.done or straight.done):
        with _core.StopAfter(0), pytest.raises(_core.Stopped):
            stopped.step()
        straight.step()
        stopped.step()
    assert stopped.best_score.cost == pytest.approx(straight.best_score.cost)
    assert stopped.bound == pytest.approx(straight.bound)


def bound_of_a_placement() -> Callable[[], object]:
    search = _core.RandomSearch(large(400, 24, merge="type").core, 0, 1)
    return lambda: search.bound


def front() -> Callable[[], object]:
    problem = large(400, 24, limit=[10**5] * 24, compute_parallel=0.9999)
    schemes = np.tile(np.random.default_rng(0).integers(0, 24, 400, np.int8), (5, 1))
    return lambda: _core.Front(problem.core, [1e3 * 0.9**i for i in range(100)], None, 0.0, schemes)


def score_of_an_order() -> Callable[[], object]:
    n = 1500
    tensors = [(x, (x + step,), 1.0) for step in (1, 7) for x in range(n - step)]
    splits = _core.OrderSplits(tensors, [(150, [1.0] * n, True), (150, [2.0] * n, True)])
    return lambda: splits.score(list(range(n)))


def exact() -> Callable[[], object]:
    search = _core.Exact(large(400, 24).core, np.empty((0, 400), np.int8))
    return lambda: search.advance(20_000_000)


def scorer() -> Callable[[], object]:
    problem = large(400, 24)
    return lambda: _core.Scorer(problem.core, 5.0)


def auto() -> Callable[[], object]:
    return _core.Auto(large(400, 24).core, 256, 0, 1, np.empty((0, 400), np.int8)).step


def placement_bound() -> Callable[[], object]:
    problem = large(400, 24, merge="type")
    return lambda: _core.testing.placement_bound(problem.core)


@pytest.mark.parametrize(
    "prepare", [exact, scorer, auto, placement_bound, bound_of_a_placement, front, score_of_an_order]
)
def test_other_threads_go_on(prepare: Callable[[], Callable[[], object]]) -> None:
    work, ended, passed = prepare(), threading.Event(), []

    def count() -> None:
        while not ended.is_set():
            passed.append(time.perf_counter())
            time.sleep(0.0005)

    thread = threading.Thread(target=count)
    thread.start()
    began = time.perf_counter()
    work()
    until = time.perf_counter()
    ended.set()
    thread.join()
    assert sum(began < moment < until for moment in passed) > 2
