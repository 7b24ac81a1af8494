"""Run a sweep: its chunks on an engine, each at most three times, and their rows into files."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

from ..arguments import as_tuple, check_choice, check_number, count_threads
from ..engines import Engine, Failure, check_engine, run_tasks
from ..errors import ExecutorError, InputError
from ..fields import first_line, sentence, show
from ..log import LOGGER, due
from ..readers.bounded import as_path
from .chunks import chunk_size, fail_chunk, solve_chunk
from .processes import Processes
from .results import SweepResults
from .store import FORMATS, Format, Store, check_pyarrow, default_format, opened, vacant
from .sweep import Sweep
from .sweep_file import read_sweep

_TRIES = 3  # of a chunk that its worker does not survive


class _Done(NamedTuple):
    """A chunk whose rows are in its file."""

    number: int
    statuses: dict[str, int]


class _Unwritten(NamedTuple):
    """A chunk that could not be written, or whose sweep could not be read, as it would be with the others."""

    number: int
    reason: str


def sweep(
    sweep: Sweep | str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    executor: Engine = None,
    workers: int | None = None,
    threads: int | None = None,
    shard: tuple[int, int] | None = None,
    resume: bool = False,
    rows: Format | None = None,
    callback: Callable[[SweepResults], object] | None = None,
) -> SweepResults:
    """Plan all set-ups of a sweep, chunk by chunk, and write a file of rows for each chunk.

    The files do not depend on what runs the chunks. A chunk whose worker dies is tried three times, and its
    rows are then ``"failed"``, with the reason.

    Parameters
    ----------
    sweep
        The sweep, or the path of its file.
    directory
        Where the files go: a new or empty directory, or with `resume` or `shard` one of the same sweep. All
        workers must reach it under this name.
    executor
        What runs the chunks: an executor of `concurrent.futures`, such as that of mpi4py, a client of Dask,
        or a function like `map`. Default: this process.
    workers
        Instead: number of processes of this machine; one that dies is replaced. They import the main module,
        so that a script has to call this under ``if __name__ == "__main__":``.
    threads
        Threads of each chunk; default: 1 with workers or an executor, else all available cores.
    shard : (i, n), optional
        Run only the i-th of n parts, from 1, beside other runs that have the other parts.
    resume
        Continue in a directory with chunks of the same sweep; without any, begin.
    rows
        Format of the files: ``"parquet"``, the default where pyarrow is installed, or ``"jsonl"``.
    callback
        Called with the results so far after each chunk.

    Returns
    -------
    SweepResults
        Also after Ctrl-C, without the chunks that were not complete.

    Raises
    ------
    OSError
        A file cannot be read or written; complete chunks are kept, and `resume` continues.
    ImportError
        The rows are Parquet, and pyarrow is not installed.
    TypeError, ValueError
        An argument is not allowed; the directory is not of this sweep, or a file in it is damaged; no set-up
        of a sample can be solved.
    ExecutorError
        The executor broke down; `resume` continues.

    Examples
    --------
    >>> import stageplan as sp
    >>> sweep = sp.Sweep.of({"workload": "ctr", "min_throughput": [1e5, 1e6], "limit.a100": [0, 4]})
    >>> results = sp.sweep(sweep, "rows")
    >>> [round(row["cost"], 2) for row in results.rows()]
    [28.42, 17.17, 51.46, 17.17]
    """
    check_engine(executor)
    if executor is not None and workers is not None:
        raise InputError("workers is given with executor; only one of them may be")
    if workers is not None:
        check_number("workers", workers, minimum=1, maximum=4096, whole=True)
    if threads is None and (executor is not None or workers is not None):
        threads = 1
    threads = count_threads(threads)
    if rows is not None:
        check_choice("rows", rows, FORMATS)
    part = _check_shard(shard)
    if not isinstance(sweep, Sweep):
        sweep = read_sweep(sweep)
    store = _store(sweep, directory, resume or shard is not None, rows)
    run = _Run(store, range(part[0] - 1, store.chunks, part[1]), callback)
    if workers is None:
        return run.by(executor, threads)
    processes = Processes(workers)
    try:
        return run.by(processes, threads)
    finally:
        processes.shutdown(cancel_futures=True)


def _check_shard(shard: object) -> tuple[int, int]:
    if shard is None:
        return 1, 1
    try:
        index, of = as_tuple("shard", shard, "a pair")
        check_number("shard", of, minimum=1, maximum=2**31, whole=True)
        check_number("shard", index, minimum=1, maximum=of, whole=True)
    except (TypeError, ValueError):
        raise InputError(
            f"shard is {show(shard)}; it must be (i, n) with whole numbers, 1 <= i <= n"
        ) from None
    return index, of


def _store(sweep: Sweep, directory: str | os.PathLike[str], continues: bool, rows: Format | None) -> Store:
    path = as_path("directory", directory).absolute()
    if vacant(path):
        rows = rows or default_format()
        check_pyarrow(rows)
        return Store.make(path, sweep, chunk_size(sweep), rows)
    store = Store.open(path)
    if not store.is_of(sweep):
        raise InputError(
            f"directory is {path}, that of another sweep; it must be new, empty or of this sweep (if it was, "
            "the sweep or a file that it names has changed)"
        )
    if not continues:
        raise InputError(f"directory is {path}, which has chunks of this sweep; resume continues them")
    if rows not in (None, store.rows_format):
        raise InputError(f"rows is {rows!r}; it must be {store.rows_format!r}, as in {path}")
    check_pyarrow(store.rows_format)
    return store


class _Run:
    """The chunks of a sweep, or of its shard: those that are complete, and the other ones."""

    def __init__(
        self, store: Store, numbers: range, callback: Callable[[SweepResults], object] | None
    ) -> None:
        done = store.done()
        self._store, self._numbers, self._callback = store, numbers, callback
        self._done = [number for number in numbers if number in done]
        self._left = [number for number in numbers if number not in done]
        self._statuses: Counter[str] = Counter()
        for number in self._done:
            self._statuses += store.statuses(number)
        self._began, self._before = time.monotonic(), self._statuses.total()

    def by(self, engine: Any, threads: int) -> SweepResults:
        """Run the chunks that are left."""
        task = partial(_run_chunk, str(self._store.directory), self._store.digest, threads)
        try:
            failures: dict[int, str] = dict.fromkeys(self._left, "")
            for _ in range(_TRIES):
                failures = self._try(engine, task, list(failures))
            for number, reason in failures.items():
                self._fail(number, reason)
        except KeyboardInterrupt:
            return self._results(interrupted=True)
        except BrokenExecutor as error:
            raise ExecutorError(f"the executor broke down: {first_line(error)}; {self._kept()}") from error
        finally:
            LOGGER.info("%s", self._line())
        return self._results()

    def _try(self, engine: Any, task: Callable[[int], Any], numbers: Sequence[int]) -> dict[int, str]:
        """Run chunks; return why some failed."""
        failures = {}
        with closing(run_tasks(engine, task, numbers)) as outcomes:
            for outcome in outcomes:
                if isinstance(outcome, _Unwritten):
                    raise OSError(None, f"{outcome.reason}; {self._kept()}")
                if isinstance(outcome, Failure):
                    failures[outcome.task] = outcome.reason
                else:
                    self._complete(outcome.number, outcome.statuses)
        return failures

    def _fail(self, number: int, reason: str) -> None:
        solved = fail_chunk(self._store.sweep, *self._store.span(number), reason)
        self._store.write(number, self._store.encode(number, solved))
        self._complete(number, solved.outcomes.statuses)

    def _complete(self, number: int, statuses: dict[str, int]) -> None:
        self._done.append(number)
        self._statuses += Counter(statuses)
        if due():
            LOGGER.info("%s", self._line())
        if self._callback is not None:
            self._callback(self._results())

    def _line(self) -> str:
        """Describe how far the sweep is, and how fast it goes."""
        seconds = time.monotonic() - self._began
        rate = (self._statuses.total() - self._before) / max(seconds, 1e-9)
        return (
            f"{seconds:.1f} s: {len(self._done):,} of {len(self._numbers):,} chunks, "
            f"{self._statuses.total():,} set-ups, {self._statuses['failed']:,} failed; {rate:,.0f} set-ups/s"
        )

    def _kept(self) -> str:
        return f"{len(self._done):,} of {len(self._numbers):,} chunks are complete, and resume continues them"

    def _results(self, interrupted: bool = False) -> SweepResults:
        return SweepResults(
            directory=self._store.directory,
            sweep=self._store.sweep,
            chunks=len(self._numbers),
            done=len(self._done),
            statuses=dict(self._statuses),
            interrupted=interrupted,
            _store=self._store,
        )


def _run_chunk(directory: str, digest: str, threads: int, number: int) -> _Done | _Unwritten | Failure:
    """Solve a chunk and write its file, in any process."""
    try:
        store = opened(directory, digest)
    except (OSError, ValueError) as error:
        return _Unwritten(number, first_line(error))
    try:
        solved = solve_chunk(store.sweep, *store.span(number), threads)
        content = store.encode(number, solved)
    except ImportError as error:
        return _Unwritten(number, first_line(error))
    except Exception as error:
        return Failure(number, first_line(error))
    try:
        store.write(number, content)
    except OSError as error:
        return _Unwritten(number, sentence(f"{error.filename}: {error.strerror}"))
    return _Done(number, dict(solved.outcomes.statuses))
