"""Plans out: in the words of the runtimes that run pipelines, one file a runtime."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from ..arguments import check_choice
from ..plan import Plan
from ..verify import stage_times
from . import deepspeed, device_map, document, megatron, paddle, sglang, torch_pipelining, torchtitan, vllm
from .defaults import Default
from .split import Split, Written
from .torch_pipelining import SplitModule, split_module

__all__ = ["RUNTIMES", "Comparison", "Export", "SplitModule", "export", "split_module", "write"]


class _Writer(Protocol):
    """What each file here defines."""

    def write(self, split: Split) -> Written: ...

    def default(self, split: Split) -> Default: ...


_WRITERS: dict[str, _Writer] = {
    "torch": torch_pipelining,
    "torchtitan": torchtitan,
    "deepspeed": deepspeed,
    "megatron": megatron,
    "vllm": vllm,
    "sglang": sglang,
    "paddle": paddle,
    "device-map": device_map,
    "json": document,
}

RUNTIMES = tuple(_WRITERS)


@dataclass(frozen=True)
class Comparison:
    """What the split of a plan is predicted to gain over the one that its runtime would make.

    Attributes
    ----------
    measure : str
        What limits the runtime: the slowest stage, or all stages in turn where it does not pipeline.
    throughput, time : float
        Examples/s of the plan, and seconds per example of that.
    rule : str
        How the runtime splits where nobody tells it.
    default_layers : tuple of int or None
        How many layers its stages have then, on the same devices; None where it would not split.
    default_throughput, default_time : float or None
        As above, of that split; 0 and inf where a device cannot run a layer of its stage, or not hold them.
    """

    measure: str
    throughput: float
    time: float
    rule: str
    default_layers: tuple[int, ...] | None
    default_throughput: float | None
    default_time: float | None

    def __str__(self) -> str:
        lines = [f"predicted: {self.throughput:,.6g} examples/s, {self.measure} {self.time:.4g} s an example"]
        if self.default_layers is None or self.default_throughput is None:
            return "\n".join([*lines, f"the runtime's own split: {self.rule}"])
        layers = ", ".join(map(str, self.default_layers))
        lines.append(
            f"the runtime's own split ({self.rule}: {layers} layers): {self.default_throughput:,.6g} "
            f"examples/s, {self.measure} {self.default_time:.4g} s an example"
        )
        gain = "it cannot run" if self.gain is None or math.isinf(self.gain) else f"{self.gain:.3g}x"
        return "\n".join([*lines, f"gain: {gain}"])

    @property
    def gain(self) -> float | None:
        """Throughput of the plan by that of the runtime's own split; inf where that cannot run."""
        if self.default_throughput is None:
            return None
        return self.throughput / self.default_throughput if self.default_throughput else math.inf


@dataclass(frozen=True)
class Export:
    """A plan in the words of a runtime.

    Attributes
    ----------
    runtime : str
        Which one.
    value : object
        What the runtime takes: a text, a list or a dict.
    text : str
        A file with it, or the arguments of a command.
    note : str
        What else people have to know.
    comparison : Comparison or None
        Beside the runtime's own split; None where the plan's problem is not known.
    """

    runtime: str
    value: Any
    text: str
    note: str = ""
    comparison: Comparison | None = None

    def __str__(self) -> str:
        return "\n".join(filter(None, (self.text, self.remarks)))

    @property
    def remarks(self) -> str:
        """The note and the comparison, for people."""
        note = f"note: {self.note}" if self.note else ""
        return "\n".join(filter(None, (note, str(self.comparison or ""))))


def export(plan: Plan, to: str) -> Export:
    """Say a plan in the words of a runtime, and what it gains over the runtime's own split.

    Parameters
    ----------
    plan
        A plan.
    to : {"torch", "torchtitan", "deepspeed", "megatron", "vllm", "sglang", "paddle", "device-map", "json"}
        The runtime.

    Returns
    -------
    Export

    Raises
    ------
    TypeError, ValueError
        There is no such runtime; or it cannot run such a plan, for the reason that is said.
    """
    if not isinstance(plan, Plan):
        raise TypeError(f"plan is {type(plan).__name__}; it must be a Plan")
    split = Split.of(plan)
    written = write(split, to)
    default = _WRITERS[to].default(split)
    compare = _compare_placement if to == "device-map" else _compare
    return Export(to, *written, compare(plan, default))


def write(split: Split, to: str) -> Written:
    """Say a split in the words of a runtime: what it takes, a text with it, and a note."""
    check_choice("to", to, RUNTIMES)
    try:
        split.check()
        return _WRITERS[to].write(split)
    except ValueError as error:
        raise ValueError(f"{to} cannot run this plan: {error}") from None


def _compare(plan: Plan, default: Default) -> Comparison:
    """Compare the slowest stages of pipelines."""
    if default.bounds is None:
        return _comparison("slowest stage", plan.time, None, default)
    times = _times(plan, [i for i, (a, b) in enumerate(pairwise(default.bounds)) for _ in range(a, b)])
    together = max if plan.problem.goal.overlap else sum
    return _comparison("slowest stage", plan.time, max(map(together, times)), default)


def _compare_placement(plan: Plan, default: Default) -> Comparison:
    """Compare stages that run one after another, as they do where layers are placed but not pipelined."""
    bounds = default.bounds or ()
    others = [i for i, (a, b) in enumerate(pairwise(bounds)) for _ in range(a, b)]
    ours = device_map.placement(Split.of(plan))
    # Each transfer has two ends, and happens once.
    time, default_time = (
        math.fsum(compute + transfer / 2 for compute, transfer in _times(plan, placed))
        for placed in (ours, others)
    )
    return _comparison("all stages in turn", time, default_time, default)


def _comparison(measure: str, time: float, default_time: float | None, default: Default) -> Comparison:
    layers = None if default.bounds is None else tuple(b - a for a, b in pairwise(default.bounds))
    throughput = None if default_time is None else _rate(default_time)
    return Comparison(measure, _rate(time), time, default.rule, layers, throughput, default_time)


def _rate(time: float) -> float:
    return 1 / time if time > 0 else math.inf


def _times(plan: Plan, placed: list[int]) -> list[tuple[float, float]]:
    """Seconds per example of compute and transfer of stages with other layers, inf where they cannot run.

    `placed` has the number of the stage of each layer; the devices are the plan's.
    """
    problem = plan.problem
    scheme = [plan.stages[place].label for place in placed]
    times = []
    for number, stage in enumerate(plan.stages):
        layers = tuple(layer for layer, place in enumerate(placed) if place == number)
        t = int(problem.label_types[stage.label])
        runs = all(math.isfinite(problem.compute[layer, t]) for layer in layers)
        runs &= math.fsum(problem.memory[layer] for layer in layers) <= problem.capacity[t]
        times.append(stage_times(problem, scheme, layers, t, stage.devices) if runs else (math.inf, 0.0))
    return times
