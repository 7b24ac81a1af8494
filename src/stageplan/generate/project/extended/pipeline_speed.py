"""The speed of a pipeline from the processor time of its processes, beside the plan's prediction.

Processes that share cores disturb each other's clocks, but hardly their processor time. So a batch is
replayed in the order that the processes worked in, as if each had a core of its own: from the time of the
threads that compute, and the bytes that they pass on at the measured rate, since the threads that copy these
also count the time in which they wait for another process. Device types that are not on this machine are
simulated: their passes take this machine's time, divided by their speed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import Config, build, note, settings
from train import train

Pass = tuple[str, int]  # "forward" or "backward", and the micro-batch


@dataclass
class Times:
    """What a process measured: least seconds of its passes, in order, and of the rest of a step."""

    passes: dict[Pass, float] = field(default_factory=dict)
    rest: float = float("inf")
    transfer: float = 0.0
    sent: int = 0
    received: int = 0
    steps: int = 0
    clock: float = float("inf")
    device: str = "cpu"

    @classmethod
    def of(cls, values: list[Any]) -> Times:
        """Make it from what `to_list` returned."""
        passes, *others = values
        return cls({(what, m): seconds for what, m, seconds in passes}, *others)

    def to_list(self) -> list[Any]:
        """Return the values, as JSON can hold them; micro-batches are the same work, and take the least."""
        passes = [(what, m, self.seconds(what)) for what, m in self.passes]
        numbers = [self.rest, self.transfer, self.sent, self.received, self.steps, self.clock]
        return [passes, *numbers, self.device]

    def now(self) -> float:
        """Return processor seconds: of this thread or, where others start the work of a GPU, of all."""
        return time.thread_time() if self.device == "cpu" else time.process_time()

    def seconds(self, what: str) -> float:
        """Return the least seconds of a forward or a backward pass."""
        return min(seconds for (one, _), seconds in self.passes.items() if one == what)

    def busy(self, speed: float, rate: float) -> float:
        """Return the seconds of a batch on a device of a speed, with its transfers at a rate."""
        return (sum(self.passes.values()) + self.rest) / speed + self.copying(rate) * len(self.passes)

    def copying(self, rate: float) -> float:
        """Return the seconds in which the bytes of a pass are copied, on average."""
        return (self.sent + self.received) / rate / max(1, self.steps * len(self.passes))

    def transferred(self, rate: float) -> float:
        """Return the seconds of a batch that its transfers take, at a rate."""
        return self.transfer / self.steps + self.copying(rate) * len(self.passes)

    @contextmanager
    def measured(self, key: Pass) -> Iterator[None]:
        """Measure a pass."""
        begin = self.now()
        yield
        self.passes[key] = min(self.passes.get(key, float("inf")), self.now() - begin)

    @contextmanager
    def transferring(self, sent: int, received: int) -> Iterator[None]:
        """Measure a transfer of bytes."""
        begin = self.now()
        yield
        self.transfer += self.now() - begin
        self.sent += sent
        self.received += received


def replay(
    stages: list[tuple[int, ...]], times: list[Times], speeds: list[float], rate: float = float("inf")
) -> float:
    """Return the seconds of a batch in which every process has a device of its own.

    Parameters
    ----------
    stages : list of tuple of int
        Ranks of the processes of each stage.
    times : list of Times
        By rank.
    speeds : list of float
        Speed of each stage's devices, relative to this machine.
    rate : float
        Bytes a second that a process copies.
    """
    stage_of = {rank: index for index, ranks in enumerate(stages) for rank in ranks}
    ended: dict[tuple[int, str, int], float] = {}
    clocks = [0.0] * len(times)
    waiting = {rank: list(times[rank].passes) for rank in stage_of}
    while any(waiting.values()):
        for rank, passes in waiting.items():
            stage = stage_of[rank]
            while passes and (begin := _begin(ended, stage, len(stages), passes[0])) is not None:
                what, m = passes.pop(0)
                seconds = times[rank].passes[what, m] / speeds[stage] + times[rank].copying(rate)
                clocks[rank] = ended[stage, what, m] = max(clocks[rank], begin) + seconds
    return max(clocks[rank] + times[rank].rest / speeds[stage] for rank, stage in stage_of.items())


def _begin(ended: dict[tuple[int, str, int], float], stage: int, stages: int, one: Pass) -> float | None:
    """Return when the input of a pass is there; None where it is not yet known."""
    what, m = one
    before = stage - 1 if what == "forward" else stage + 1
    return ended.get((before, what, m)) if 0 <= before < stages else 0.0


def compared(
    config: Config,
    plan: Path,
    types: list[str],
    stages: list[tuple[int, ...]],
    times: list[Times],
    rate: float,
) -> dict[str, float]:
    """Return the measured speed and the plan's, in examples/s, and what transfers take in a batch."""
    known = settings("pipeline")["speeds"]
    speeds = [known.get(type_, 1.0) for type_ in types]
    simulated = sorted({type_ for type_ in types if type_ != config.device})
    if simulated:
        note(f"device types that are not there are simulated on {config.device}: {', '.join(simulated)}")
    pairs = zip(stages, speeds, strict=True)
    busy = [times[rank].busy(speed, rate) for ranks, speed in pairs for rank in ranks]
    numbers = {
        "slowest_stage_seconds": max(busy),
        "throughput": config.train.batch / replay(stages, times, speeds, rate),
        "clock_throughput": config.train.batch / max(one.clock for one in times),
        "transfer_bytes": sum(one.sent / one.steps for one in times),
        "transfer_seconds": sum(one.transferred(rate) for one in times),
        "simulated_types": len(simulated),
    }
    predicted = json.loads(plan.read_bytes()).get("throughput")
    if isinstance(predicted, (int, float)):
        ratio = predicted / numbers["throughput"]
        numbers |= {"predicted_throughput": predicted, "predicted_over_measured": ratio}
        _note_crowded(config, len(times))
        note(
            f"the pipeline processes {numbers['throughput']:.4g} examples/s, with a device for each process; "
            f"the plan predicts {predicted:.4g} examples/s (predicted / measured {ratio:.2f})"
        )
    return numbers


def _note_crowded(config: Config, processes: int) -> None:
    """Say where the measured speed is not that of processes with a device each."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if config.device == "cpu" and processes > cores:
        note(
            f"{processes} processes shared {cores} cores, where one empties the caches of another: with a "
            "core each they are faster than measured here, so that this speed does not test the prediction"
        )


def alone_in_steps(config: Config, steps: int) -> tuple[list[float], float]:
    """Train in this process; return the losses, and the processor seconds of a step."""
    train(config, build(config), 1)  # loads code
    module = build(config)
    begin = time.process_time()
    losses = train(config, module, steps)
    return losses, (time.process_time() - begin) / steps
