"""One interface to what runs tasks: an executor of `concurrent.futures`, or any function like `map`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from itertools import islice
from queue import SimpleQueue
from typing import Any, NamedTuple

from .errors import InputTypeError
from .fields import first_line, show

Engine = Executor | Callable[..., Iterable[Any]] | None

_WAITING = 20_000  # tasks handed to an executor at a time: two for each of 10,000 workers


class Failure(NamedTuple):
    """A task that the engine lost, and why."""

    task: Any
    reason: str


def check_engine(engine: object) -> None:
    """Raise TypeError unless it is an executor or a function like `map`."""
    if not (engine is None or callable(getattr(engine, "submit", None)) or callable(engine)):
        raise InputTypeError(
            f"executor is {show(engine)}; it must be an executor of concurrent.futures or a function like map"
        )


def run_tasks(engine: Any, work: Callable[[Any], Any], tasks: Sequence[Any]) -> Generator[Any, None, None]:
    """Yield what the work returns for each task, or a `Failure`, in any order.

    Raises
    ------
    concurrent.futures.BrokenExecutor
        The executor can run nothing more.
    """
    if hasattr(engine, "get_executor"):  # a client of Dask
        engine = engine.get_executor()
    if hasattr(engine, "submit"):
        yield from _by_executor(engine, work, tasks)
    else:
        yield from _by_map(engine or map, work, tasks)


def _by_map(
    function: Callable[..., Iterable[Any]], work: Callable[[Any], Any], tasks: Sequence[Any]
) -> Generator[Any, None, None]:
    outcomes = function(work, tasks)
    if not isinstance(outcomes, Iterable):
        raise BrokenExecutor(f"it returned {show(outcomes)} instead of a result for each task")
    count = 0
    for outcome in outcomes:
        count += 1
        yield outcome
    if count < len(tasks):
        raise BrokenExecutor(f"it returned {count:,} results for {len(tasks):,} tasks")


def _by_executor(
    executor: Executor, work: Callable[[Any], Any], tasks: Sequence[Any]
) -> Generator[Any, None, None]:
    ended: SimpleQueue[Future[Any]] = SimpleQueue()
    running: dict[Future[Any], Any] = {}
    left = iter(tasks)

    def submit(count: int) -> None:
        for task in islice(left, count):
            future = executor.submit(work, task)
            running[future] = task
            future.add_done_callback(ended.put)

    try:
        submit(_WAITING)
        while running:
            future = ended.get()
            task = running.pop(future)
            submit(1)
            yield _outcome(future, task)
    finally:
        for future in running:
            future.cancel()


def _outcome(future: Future[Any], task: Any) -> Any:
    try:
        return future.result()
    except BrokenExecutor:
        raise
    except Exception as error:
        return Failure(task, first_line(error))
