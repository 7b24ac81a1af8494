"""A planned pipeline, run on this machine: measurements compared with predictions.

A process with one thread runs each stage, by torch.distributed.pipelining and gloo.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import check_choice, check_number
from ..errors import InputError
from ..plan import Plan, check_plan
from ..workload import SERVING, Mode
from .models import load_that_runs
from .network import MODES, Options

if TYPE_CHECKING:
    import torch

__all__ = ["Check", "check"]


@dataclass(frozen=True)
class Check:
    """Measurements of a pipeline, compared with predictions. Made by `check`.

    Attributes
    ----------
    plan : Plan
        What ran.
    batch, microbatches : int
        Examples of a microbatch, and microbatches that follow one another.
    predicted : float
        Examples/s of these microbatches, from the plan's stage times: the first passes through all stages,
        each further one takes the time of the slowest.
    measured : float
        Examples/s of the fastest step.
    by_cpu_time : float
        Examples/s as predicted, but from the CPU time that each stage took: what it would be if each stage
        had a core to itself and transfers took no time.
    stage_predicted, stage_measured : tuple of float
        Seconds of each stage for an example: as planned, and CPU time.
    """

    plan: Plan
    batch: int
    microbatches: int
    predicted: float
    measured: float
    by_cpu_time: float
    stage_predicted: tuple[float, ...]
    stage_measured: tuple[float, ...]

    def __str__(self) -> str:
        names = self.plan.problem.layer_names
        lines = [
            f"ran {len(self.plan.stages)} stages here, a process each: {self.microbatches} microbatches of "
            f"{self.batch} examples"
        ]
        for stage, planned, taken in zip(
            self.plan.stages, self.stage_predicted, self.stage_measured, strict=True
        ):
            lines.append(
                f"  {names[stage.layers[0]]}..{names[stage.layers[-1]]}: predicted {planned * 1e3:.4g} ms an "
                f"example, took {taken * 1e3:.4g} ms of CPU time"
            )
        for what, value in (("measured", self.measured), ("by CPU time", self.by_cpu_time)):
            lines.append(
                f"predicted {self.predicted:.4g} examples/s, {what} {value:.4g}: "
                f"predicted / {what} = {self.predicted / value:.3f}"
            )
        return "\n".join(lines)


def check(
    plan: Plan,
    model: torch.nn.Module | str | os.PathLike[str],
    example: Any = None,
    *,
    mode: Mode = "train",
    precision: str | None = None,
    batch: int | None = None,
    sequence: int | None = None,
    shape: Sequence[int] | None = None,
    microbatches: int | None = None,
    steps: int = 5,
    max_seconds: float = 600.0,
) -> Check:
    """Run the pipeline of a plan on this machine, and compare it with what the plan predicts.

    Parameters
    ----------
    plan
        Of a workload that `profile` has measured here: predictions are the times in it.
    model, example, mode, precision, batch, sequence, shape
        As in `profile`, with the same values.  Each process makes its own module; one that is given is
        pickled, and must be on the processor, where the stages run.
    microbatches
        Batches that follow one another in a step; default: four for each stage.
    steps
        Steps to run; the fastest counts.
    max_seconds
        When to give up and end the processes.

    Returns
    -------
    Check

    Raises
    ------
    ImportError
        torch or transformers is needed and not installed.
    ChildProcessError
        A process failed.
    TimeoutError
        They did not end within `max_seconds`.
    TypeError, ValueError
        An argument is not as it has to be; a stage has several devices, or layers that are not neighbours.
    """
    check_choice("mode", mode, tuple(known for known in MODES if known not in SERVING))
    check_plan(plan)
    stages = len(plan.stages)
    microbatches = 4 * stages if microbatches is None else microbatches
    check_number("microbatches", microbatches, minimum=stages, whole=True)
    check_number("steps", steps, minimum=1, whole=True)
    check_number("max_seconds", max_seconds, above=0)
    for number, stage in enumerate(plan.stages, start=1):
        if stage.devices != 1:
            raise InputError(
                f"plan has {stage.devices} devices in stage {number}; each stage must have 1 here"
            )
    options = Options(mode, precision, batch, sequence, shape, None)
    size = load_that_runs(model, example, options).batch
    job = (plan, model, example, options, microbatches, steps)
    runs = _run(job, stages, max_seconds)
    wall = np.array([run["wall"] for run in runs]).max(axis=0).min()
    taken = np.array([run["cpu"] for run in runs]).min(axis=1) / (microbatches * size)
    planned = np.array([stage.time for stage in plan.stages])
    return Check(
        plan,
        size,
        microbatches,
        1 / _seconds(planned, microbatches),
        microbatches * size / wall,
        1 / _seconds(taken, microbatches),
        tuple(map(float, planned)),
        tuple(map(float, taken)),
    )


def _seconds(stages: Iterable[float], microbatches: int) -> float:
    """Seconds per example, of microbatches that follow one another through the stages."""
    times = np.asarray(stages)
    return float(times.sum() + (microbatches - 1) * times.max()) / microbatches


# Processes ----------------------------------------------------------------------------------------------


def _run(job: tuple[Any, ...], stages: int, max_seconds: float) -> list[dict[str, list[float]]]:
    """Run a process for each stage, and return what they write; none is left running."""
    from .stage_process import run_stage

    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        ranks = [
            context.Process(target=run_stage, args=(rank, folder, max_seconds, *job), daemon=True)
            for rank in range(stages)
        ]
        try:
            _start(ranks)
            _wait(ranks, folder, time.monotonic() + max_seconds)
        finally:
            for rank in ranks:
                if rank.pid is not None:
                    rank.kill()
                    rank.join()
                rank.close()
        return [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(stages)]


def _start(ranks: Sequence[BaseProcess]) -> None:
    """Start processes that Ctrl-C does not reach: this process ends them, and they print nothing."""
    resource_tracker.ensure_running()  # its first start would lift the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for rank in ranks:
            rank.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait(ranks: Sequence[BaseProcess], folder: str, deadline: float) -> None:
    """Wait until all processes have ended well, or one has not."""
    running: dict[Any, tuple[int, BaseProcess]] = {
        rank.sentinel: (number, rank) for number, rank in enumerate(ranks)
    }
    while running:
        ended = wait(list(running), timeout=max(0.0, deadline - time.monotonic()))
        if not ended:
            raise TimeoutError("max_seconds is over before the pipeline has run; it must be more")
        for sentinel in ended:
            number, rank = running.pop(sentinel)
            rank.join()
            if rank.exitcode != 0:
                reason = Path(folder, f"{number}.error")
                said = reason.read_text() if reason.exists() else f"exit status {rank.exitcode}"
                raise ChildProcessError(f"the process of stage {number + 1} failed: {said}")
