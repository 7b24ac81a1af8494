"""One interface to what runs chunks: an executor of `concurrent.futures`, or any function like `map`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from itertools import islice
from queue import SimpleQueue
from typing import Any, NamedTuple

from ..errors import InputTypeError
from ..fields import first_line, show

Engine = Executor | Callable[..., Iterable[Any]] | None

_WAITING = 20_000  # tasks handed to an executor at a time: two for each of 10,000 workers


class Failure(NamedTuple):
    """A task that the engine lost, and why."""

    number: int
    reason: str


def check_engine(engine: object) -> None:
    """Raise TypeError unless it is an executor or a function like `map`."""
    if not (engine is None or callable(getattr(engine, "submit", None)) or callable(engine)):
        raise InputTypeError(
            f"executor is {show(engine)}; it must be an executor of concurrent.futures or a function like map"
        )


def run_tasks(engine: Any, task: Callable[[int], Any], numbers: Sequence[int]) -> Generator[Any, None, None]:
    """Yield what a task returns for each number, or a `Failure`, in any order.

    Raises
    ------
    concurrent.futures.BrokenExecutor
        The executor can run nothing more.
    """
    if hasattr(engine, "get_executor"):  # a client of Dask
        engine = engine.get_executor()
    if hasattr(engine, "submit"):
        yield from _by_executor(engine, task, numbers)
    else:
        yield from _by_map(engine or map, task, numbers)


def _by_map(
    function: Callable[..., Iterable[Any]], task: Callable[[int], Any], numbers: Sequence[int]
) -> Generator[Any, None, None]:
    outcomes = function(task, numbers)
    if not isinstance(outcomes, Iterable):
        raise BrokenExecutor(f"it returned {show(outcomes)} instead of a result for each chunk")
    count = 0
    for outcome in outcomes:
        count += 1
        yield outcome
    if count < len(numbers):
        raise BrokenExecutor(f"it returned {count:,} results for {len(numbers):,} chunks")


def _by_executor(
    executor: Executor, task: Callable[[int], Any], numbers: Sequence[int]
) -> Generator[Any, None, None]:
    ended: SimpleQueue[Future[Any]] = SimpleQueue()
    running: dict[Future[Any], int] = {}
    left = iter(numbers)

    def submit(count: int) -> None:
        for number in islice(left, count):
            future = executor.submit(task, number)
            running[future] = number
            future.add_done_callback(ended.put)

    try:
        submit(_WAITING)
        while running:
            future = ended.get()
            number = running.pop(future)
            submit(1)
            yield _outcome(future, number)
    finally:
        for future in running:
            future.cancel()


def _outcome(future: Future[Any], number: int) -> Any:
    try:
        return future.result()
    except BrokenExecutor:
        raise
    except Exception as error:
        return Failure(number, first_line(error))
