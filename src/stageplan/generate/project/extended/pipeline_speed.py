"""The speed of a pipeline from the processor time of its processes, beside the plan's prediction.

Processes that share cores disturb each other's clocks, but hardly their processor time. So a batch is
replayed in the order that the processes worked in, as if each had a core of its own. Device types that are
not on this machine are simulated: their passes take this machine's time, divided by their speed.
"""

from __future__ import annotations

import json
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
    bytes: int = 0
    steps: int = 0
    clock: float = float("inf")

    @classmethod
    def of(cls, values: list[Any]) -> Times:
        """Make it from what `to_list` returned."""
        passes, *others = values
        return cls({(what, m): seconds for what, m, seconds in passes}, *others)

    def to_list(self) -> list[Any]:
        """Return the values, as JSON can hold them."""
        passes = [(what, m, seconds) for (what, m), seconds in self.passes.items()]
        return [passes, self.rest, self.transfer, self.bytes, self.steps, self.clock]

    @contextmanager
    def measured(self, key: Pass) -> Iterator[None]:
        """Measure a pass."""
        begin = time.process_time()
        yield
        self.passes[key] = min(self.passes.get(key, float("inf")), time.process_time() - begin)

    @contextmanager
    def transferring(self, size: int) -> Iterator[None]:
        """Measure a transfer."""
        begin = time.process_time()
        yield
        self.transfer += time.process_time() - begin
        self.bytes += size


def replay(stages: list[tuple[int, ...]], times: list[Times], speeds: list[float]) -> float:
    """Return the seconds of a batch in which every process has a device of its own.

    Parameters
    ----------
    stages : list of tuple of int
        Ranks of the processes of each stage.
    times : list of Times
        By rank.
    speeds : list of float
        Speed of each stage's devices, relative to this machine.
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
                seconds = times[rank].passes[what, m] / speeds[stage]
                clocks[rank] = ended[stage, what, m] = max(clocks[rank], begin) + seconds
    return max(clocks[rank] + times[rank].rest / speeds[stage] for rank, stage in stage_of.items())


def _begin(ended: dict[tuple[int, str, int], float], stage: int, stages: int, one: Pass) -> float | None:
    """Return when the input of a pass is there; None where it is not yet known."""
    what, m = one
    before = stage - 1 if what == "forward" else stage + 1
    return ended.get((before, what, m)) if 0 <= before < stages else 0.0


def compared(
    config: Config, plan: Path, types: list[str], stages: list[tuple[int, ...]], times: list[Times]
) -> dict[str, float]:
    """Return the measured speed and the plan's, in examples/s, and what transfers take in a batch."""
    known = settings("pipeline")["speeds"]
    speeds = [known.get(type_, 1.0) for type_ in types]
    simulated = sorted({type_ for type_ in types if type_ != config.device})
    if simulated:
        note(f"device types that are not there are simulated on {config.device}: {', '.join(simulated)}")
    busy = [sum(one.passes.values()) + one.rest for one in times]
    pairs = zip(stages, speeds, strict=True)
    numbers = {
        "slowest_stage_seconds": max(busy[rank] / speed for ranks, speed in pairs for rank in ranks),
        "throughput": config.train.batch / replay(stages, times, speeds),
        "clock_throughput": config.train.batch / max(one.clock for one in times),
        "transfer_bytes": sum(one.bytes / one.steps for one in times),
        "transfer_seconds": sum(one.transfer / one.steps for one in times),
        "simulated_types": len(simulated),
    }
    predicted = json.loads(plan.read_bytes()).get("throughput")
    if isinstance(predicted, (int, float)):
        ratio = predicted / numbers["throughput"]
        numbers |= {"predicted_throughput": predicted, "predicted_over_measured": ratio}
        note(
            f"the pipeline processes {numbers['throughput']:.4g} examples/s, with a device for each process; "
            f"the plan predicts {predicted:.4g} examples/s (predicted / measured {ratio:.2f})"
        )
    return numbers


def alone_in_steps(config: Config, steps: int) -> tuple[list[float], float]:
    """Train in this process; return the losses, and the processor seconds of a step."""
    train(config, build(config), 1)  # loads code
    module = build(config)
    begin = time.process_time()
    losses = train(config, module, steps)
    return losses, (time.process_time() - begin) / steps
