"""Runs requests that come at about the same time together, in one thread, and gives each its own outputs."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import NamedTuple

import torch
from torch import Tensor

Work = Callable[..., Tensor]


class Job(NamedTuple):
    """The inputs of a request, each with an entry for each of its examples, and its outputs to be."""

    work: str
    inputs: tuple[Tensor, ...]
    outputs: Future[Tensor]

    def __len__(self) -> int:
        return len(self.inputs[0])


class Batcher:
    """A thread that works off a bounded queue.

    Parameters
    ----------
    works : mapping of str to callable
        From inputs to outputs with an entry for each example; jobs of the same name are run together.
    window : float
        Seconds to wait for more jobs after the first one of a batch.
    most : int
        Examples of a batch.
    depth : int
        Jobs that may wait.
    """

    def __init__(self, works: Mapping[str, Work], *, window: float, most: int, depth: int) -> None:
        self._works, self._window, self._most = works, window, most
        self._queue: queue.Queue[Job | None] = queue.Queue(depth)
        self.batches = self.examples = 0  # that were run
        self._thread = threading.Thread(target=self._run_all, daemon=True)
        self._thread.start()

    def submit(self, work: str, *inputs: Tensor) -> Future[Tensor]:
        """Put a job into the queue; queue.Full where that is full."""
        job = Job(work, inputs, Future())
        self._queue.put_nowait(job)
        return job.outputs

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return self._queue.qsize()

    def close(self) -> None:
        """End the thread after the jobs that are in the queue."""
        self._queue.put(None)
        self._thread.join()

    def _run_all(self) -> None:
        first = self._queue.get()
        while first is not None:
            jobs, first = self._gather(first)
            jobs = [job for job in jobs if job.outputs.set_running_or_notify_cancel()]
            if jobs:
                self._run(jobs)
            first = first or self._queue.get()

    def _gather(self, first: Job) -> tuple[list[Job], Job | None]:
        """Return jobs for a batch, and the next job where that does not go with them."""
        jobs, size, end = [first], len(first), time.monotonic() + self._window
        while True:
            try:
                job = self._queue.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                return jobs, None
            if job is None or job.work != first.work or size + len(job) > self._most:
                return jobs, job
            jobs.append(job)
            size += len(job)

    def _run(self, jobs: list[Job]) -> None:
        """Run jobs together; where that fails, each alone, so that only those fail that are at fault."""
        inputs = [torch.cat(tensors) for tensors in zip(*(job.inputs for job in jobs), strict=True)]
        try:
            outputs = self._works[jobs[0].work](*inputs)
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].outputs.set_exception(error)
            else:
                for job in jobs:
                    self._run([job])
            return
        self.batches += 1
        self.examples += len(inputs[0])
        for job, part in zip(jobs, outputs.split([len(job) for job in jobs]), strict=True):
            job.outputs.set_result(part)
