"""Engines: executors and functions like map."""

import multiprocessing
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor

import pytest

from stageplan import engines
from stageplan.engines import Failure, check_engine, run_tasks


def square(number):
    if number == 3:
        raise ValueError("three")
    return number * number


class Now:
    """An executor that does each call when it is submitted."""

    def __init__(self):
        self.outstanding = self.most = 0

    def submit(self, fn, *args):
        future = Future()
        try:
            future.set_result(fn(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def test_an_executor_runs_all_and_failures_are_told():
    with ThreadPoolExecutor(3) as executor:
        outcomes = list(run_tasks(executor, square, range(6)))
    assert sorted(outcome for outcome in outcomes if not isinstance(outcome, Failure)) == [0, 1, 4, 16, 25]
    assert [outcome for outcome in outcomes if isinstance(outcome, Failure)] == [Failure(3, "three")]


def test_anything_with_submit_is_an_executor():
    assert list(run_tasks(Now(), abs, [-1, -2])) == [1, 2]


def test_a_function_like_map():
    assert list(run_tasks(map, abs, [-1, -2])) == [1, 2]
    assert list(run_tasks(None, abs, [-3])) == [3]
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        assert sorted(run_tasks(pool.imap_unordered, abs, [-1, -2, -3])) == [1, 2, 3]


def test_a_client_gives_its_executor():
    class Client:
        submit = None

        def get_executor(self):
            return Now()

    assert list(run_tasks(Client(), abs, [-1])) == [1]


def test_few_tasks_wait_in_an_executor(monkeypatch):
    monkeypatch.setattr(engines, "_WAITING", 3)
    submitted = []

    class Counting(Now):
        def submit(self, fn, *args):
            submitted.append(args)
            return super().submit(fn, *args)

    outcomes = run_tasks(Counting(), abs, range(-10, 0))
    next(outcomes)
    assert len(submitted) == 4
    assert len(list(outcomes)) == 9


def test_tasks_are_cancelled_when_nobody_waits_for_them():
    futures = []

    class Never:
        def submit(self, fn, *args):
            futures.append(Future())
            return futures[-1]

    outcomes = run_tasks(Never(), abs, [1, 2, 3])
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(next, outcomes)
        while not futures:
            pass
        futures[0].set_result(1)
        assert first.result() == 1
    outcomes.close()
    assert [future.cancelled() for future in futures] == [False, True, True]


def test_a_broken_executor_ends_all():
    class Broken:
        def submit(self, fn, *args):
            future = Future()
            future.set_exception(BrokenExecutor("gone"))
            return future

    with pytest.raises(BrokenExecutor, match="gone"):
        list(run_tasks(Broken(), abs, [1]))


@pytest.mark.parametrize("engine", [3, "processes", object()])
def test_what_runs_nothing_is_refused(engine):
    with pytest.raises(
        TypeError, match=r"it must be an executor of concurrent.futures or a function like map$"
    ):
        check_engine(engine)


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        (lambda task, numbers: [], "it returned 0 results for 3 tasks"),
        (lambda task, numbers: None, "it returned None instead of a result for each task"),
    ],
)
def test_a_function_that_leaves_out_results_is_broken(engine, reason):
    with pytest.raises(BrokenExecutor, match=f"^{reason}$"):
        list(run_tasks(engine, abs, [-1, -2, -3]))
