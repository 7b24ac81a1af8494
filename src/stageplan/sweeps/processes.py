"""Worker processes: one that dies loses only what it was doing, and is replaced."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Any

from ..errors import StageplanError
from ..fields import first_line

_Task = tuple[Future[Any], tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]]


class WorkerDiedError(StageplanError, RuntimeError):
    """A worker ended before its task."""


class Processes(Executor):
    """A pool of processes, each with a thread that hands it one task after another.

    Other than in `concurrent.futures.ProcessPoolExecutor`, the death of a worker fails the task that it had
    and no other one, and workers end with the process that started them, even if that is killed.

    Parameters
    ----------
    workers : int
        Number of processes.
    """

    def __init__(self, workers: int) -> None:
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._closed = False
        self._processes: dict[int, BaseProcess] = {}
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["stageplan.sweeps.run"])
        self._threads = [
            threading.Thread(target=self._serve, args=(place,), daemon=True) for place in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Do a call in one of the processes."""
        future: Future[Any] = Future()
        self._tasks.put((future, (fn, args, kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers: after their tasks or, with `cancel_futures`, at once."""
        for _ in self._threads:
            self._tasks.put(None)
        if cancel_futures:
            self._closed = True
            for process in list(self._processes.values()):
                process.kill()
        if wait:
            for thread in self._threads:
                thread.join()

    def _serve(self, place: int) -> None:
        """Hand tasks to a process, which is started for the first one and after each death."""
        ours: Connection | None = None
        while (task := self._tasks.get()) is not None and not self._closed:
            future, call = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                ours = ours or self._start(place)
                ours.send(call)
                good, value = ours.recv()
            except (EOFError, ConnectionError):
                good, value, ours = False, WorkerDiedError(self._how_it_ended(place)), None
            except Exception as error:  # a process that cannot be started, or a call that cannot be sent
                good, value = False, error
            if good:
                future.set_result(value)
            else:
                future.set_exception(value)
        if ours is not None:
            ours.close()
            self._processes[place].join()

    def _start(self, place: int) -> Connection:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs,), daemon=True)
        try:
            process.start()
        except (OSError, RuntimeError) as error:
            raise BrokenExecutor(f"a worker process could not start: {first_line(error)}") from None
        theirs.close()
        self._processes[place] = process
        if self._closed:
            process.kill()
        try:
            ours.recv()  # it is ready
        except EOFError:
            process.join()
            if (process.exitcode or 0) > 0:  # by itself, as others would
                raise BrokenExecutor("a worker process could not start; stderr has its error") from None
            raise
        return ours

    def _how_it_ended(self, place: int) -> str:
        process = self._processes[place]
        process.join()
        code = process.exitcode or 0
        how = f"with exit status {code}" if code >= 0 else f"by signal {-code} ({signal.strsignal(-code)})"
        return f"its worker process ended {how}"


def _work(theirs: Connection) -> None:
    """Do calls until there are no more, or until the process that started this one is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, ConnectionError):
        theirs.send(None)
        while True:
            call, args, kwargs = theirs.recv()
            try:
                answer = True, call(*args, **kwargs)
            except Exception as error:
                answer = False, error
            theirs.send(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
