"""Conversion of plans to the configuration of runtimes that run pipelines, one file for each runtime."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Any, Protocol

import msgspec

from ..arguments import check_choice
from ..errors import InputError
from ..fields import printable
from ..goal import Goal
from ..plan import Plan, Stage, check_plan
from ..plan_file import SavedPlan, StageDocument
from ..problem import Problem, check_problem
from ..result import Method, Result
from ..verify import TOLERANCE, stage_times
from ..verify_options import in_flight, numbers_of, time_by_schedule, unsupported
from . import (
    deepspeed,
    device_map,
    document,
    exo,
    llama_cpp,
    megatron,
    paddle,
    sglang,
    tensorrt_llm,
    torch_pipelining,
    torch_script,
    torchtitan,
    vllm,
)
from .cache_pool import balance
from .constrained import Target, whole
from .defaults import Default
from .limits import Limits
from .partition import Partition, Rank, Written
from .torch_pipelining import SplitModule, split_module

__all__ = [
    "PIPELINES",
    "RUNTIMES",
    "Comparison",
    "Export",
    "Rank",
    "SplitModule",
    "Target",
    "check_pipelines",
    "export",
    "export_saved",
    "limits_of",
    "solve_for",
    "split_module",
    "target",
    "write",
]


class _Writer(Protocol):
    """The functions that the file of each runtime defines."""

    LIMITS: Limits

    def write(self, partition: Partition) -> Written: ...

    def default(self, partition: Partition) -> Default: ...


_WRITERS: dict[str, _Writer] = {
    "torch": torch_pipelining,
    "torchtitan": torchtitan,
    "deepspeed": deepspeed,
    "megatron": megatron,
    "vllm": vllm,
    "sglang": sglang,
    "tensorrt-llm": tensorrt_llm,
    "llama-cpp": llama_cpp,
    "exo": exo,
    "paddle": paddle,
    "device-map": device_map,
    "json": document,
}

RUNTIMES = tuple(_WRITERS)
PIPELINES = tuple(name for name, writer in _WRITERS.items() if writer.LIMITS.pipelines)
"""Runtimes that run the stages of a plan at the same time; the others run them in turn."""


@dataclass(frozen=True)
class Comparison:
    """A plan beside the default partition of the runtime, as predicted.

    Attributes
    ----------
    measure : str
        What limits the runtime: the slowest stage, or all stages in turn if it does not pipeline.
    throughput, time : float
        Examples/s and seconds per example of the plan.
    rule : str
        How the runtime partitions by default.
    default_layers : tuple of int or None
        Layers of each stage of the default partition, on the same devices; None if there is none.
    default_throughput, default_time : float or None
        The same of the default partition; 0 and inf if a device cannot run its stage.
    """

    measure: str
    throughput: float
    time: float
    rule: str
    default_layers: tuple[int, ...] | None
    default_throughput: float | None
    default_time: float | None

    def __str__(self) -> str:
        lines = [
            f"predicted: {self.throughput:,.6g} examples/s, {self.measure} {self.time:.4g} s per example"
        ]
        if self.default_layers is None or self.default_throughput is None:
            return "\n".join([*lines, f"default partition: {self.rule}"])
        layers = ", ".join(map(str, self.default_layers))
        lines.append(
            f"default partition ({self.rule}: {layers} layers): {self.default_throughput:,.6g} "
            f"examples/s, {self.measure} {self.default_time:.4g} s per example"
        )
        gain = "it cannot run" if self.gain is None or math.isinf(self.gain) else f"{self.gain:.3g}x"
        return "\n".join([*lines, f"gain: {gain}"])

    @property
    def gain(self) -> float | None:
        """Throughput of the plan divided by that of the default partition; inf if that cannot run."""
        if self.default_throughput is None:
            return None
        return self.throughput / self.default_throughput if self.default_throughput else math.inf


_SHOWN = 8  # ranks of a stage that are listed
_stage = attrgetter("stage")


@dataclass(frozen=True)
class Export:
    """A plan as the configuration of a runtime.

    Attributes
    ----------
    runtime : str
        The runtime.
    value : object
        The configuration: a string, a list or a dict.
    text : str
        A file with it, or the arguments of a command.
    ranks : tuple of Rank
        Stage, replica and device type of each rank of the runtime.
    note : str
        What else a user has to know, or ``""``.
    comparison : Comparison or None
        With the default partition of the runtime; None if the plan was read from a file without its workload.
    """

    runtime: str
    value: Any
    text: str
    ranks: tuple[Rank, ...]
    note: str = ""
    comparison: Comparison | None = None

    def __str__(self) -> str:
        return "\n".join(filter(None, (self.text, self.remarks)))

    @property
    def remarks(self) -> str:
        """The ranks, the note and the comparison, as text."""
        note = printable(f"note: {self.note}") if self.note else ""
        return "\n".join(filter(None, (*self._rank_lines(), note, str(self.comparison or ""))))

    def rank_table(self) -> str:
        """Return the ranks as JSON, one on each line."""
        rows = ",\n".join(f"  {json.dumps(rank._asdict())}" for rank in self.ranks)
        return f'{{"runtime": "{self.runtime}", "ranks": [\n{rows}\n]}}\n'

    def _rank_lines(self) -> Iterator[str]:
        for stage, ranks in groupby(sorted(self.ranks, key=_stage), key=_stage):
            own = list(ranks)
            listed = ", ".join(str(rank.rank) for rank in own[:_SHOWN])
            if len(own) > _SHOWN:
                listed += f", ... {own[-1].rank} ({own[-1].replica + 1} replicas)"
            device_type = printable(own[0].device_type)
            yield f"stage {stage} on {device_type}: rank{'s' if len(own) > 1 else ''} {listed}"


def export(plan: Plan, to: str, *, script: bool = False) -> Export:
    """Convert a plan to a runtime's configuration, and compare it with the runtime's default partition.

    Parameters
    ----------
    plan
        A feasible plan.
    to
        The runtime: ``"torch"``, ``"torchtitan"``, ``"deepspeed"``, ``"megatron"``, ``"paddle"`` (training),
        ``"vllm"``, ``"sglang"``, ``"tensorrt-llm"``, ``"llama-cpp"``, ``"exo"`` (serving), ``"device-map"``
        or ``"json"``.
    script
        With ``"torch"``: a script for torchrun that trains or runs your module in the plan's stages.

    Returns
    -------
    Export

    Raises
    ------
    TypeError, ValueError
        There is no such runtime, or it cannot run the plan; the plan is not feasible.

    Examples
    --------
    >>> import stageplan as sp
    >>> problem = sp.Problem.from_arrays([[1.0, 3.0], [3.0, 1.0]], price=[1, 1], limit=[1, 1])
    >>> exported = sp.export(sp.Plan.of(problem, [0, 1]), "torch")
    >>> exported.value
    ['layer1']
    >>> exported.ranks[1]
    Rank(rank=1, stage=1, replica=0, device_type='type1')
    """
    check_plan(plan)
    if not plan.feasible:
        raise InputError(f"the plan is not feasible: {'; '.join(map(str, plan.violations))}")
    written = write(Partition.of(plan), to, script)
    moved = ""
    if to == "vllm":
        plan, moved = balance(plan)
        written = write(Partition.of(plan), to) if moved else written
    default = _WRITERS[to].default(Partition.of(plan))
    compared = _compare(plan, default) if to in PIPELINES else _compare_in_turn(plan, default, to)
    broken = _broken(plan.problem.goal, compared.time, plan.price)
    note = "; ".join(filter(None, (moved, written.note, *broken, _slower(plan, compared))))
    return Export(to, *written._replace(note=note), compared)


def export_saved(saved: SavedPlan, to: str, *, script: bool = False) -> Export:
    """Convert a feasible plan that was read from a file without its workload."""
    written = write(Partition.of_saved(saved), to, script)
    if to in PIPELINES:
        return Export(to, *written)
    price = math.fsum(stage.price for stage in saved.stages)
    broken = _broken(saved.goal or Goal(), _time_in_turn(saved.stages), price)
    return Export(to, *written._replace(note="; ".join(filter(None, (written.note, *broken)))))


def _slower(plan: Plan, compared: Comparison) -> str:
    """Note that the default partition is faster; a plan of least cost or price need not be the fastest."""
    if compared.gain is None or compared.gain * (1 + TOLERANCE) >= 1:
        return ""
    objective = plan.problem.goal.objective
    return f"the runtime's default partition is predicted to be faster (the plan's objective is {objective})"


def _broken(goal: Goal, time: float, price: float) -> Iterator[str]:
    """Yield a note on each limit of a goal that so many seconds per example, and $/hour, break."""
    duration = goal.examples * time
    numbers = {"min_throughput": _rate(time), "max_duration": duration, "max_cost": duration * price / 3600}
    for limit, value in numbers.items():
        allowed = getattr(goal, limit)
        if allowed is None:
            continue
        small, large = (allowed, value) if limit == "min_throughput" else (value, allowed)
        if small > large * (1 + TOLERANCE):
            yield f"the prediction breaks the plan's {limit}: {value:,.6g}, allowed {allowed:,.6g}"


def limits_of(runtime: str) -> Limits:
    """Return what a runtime can run."""
    return _WRITERS[runtime].LIMITS


def check_pipelines(name: str, runtime: str) -> None:
    """Refuse to plan for a runtime that runs stages in turn: a plan's throughput is that of a pipeline."""
    if runtime in RUNTIMES and runtime not in PIPELINES:
        raise InputError(
            f"{name} is {runtime!r}, which runs its stages in turn; it must be a runtime with pipelines: "
            f"{', '.join(PIPELINES)}"
        )


def target(problem: Problem, runtime: str) -> Target:
    """Constrain a problem to the plans that a runtime can run.

    Raises
    ------
    TypeError, ValueError
        There is no such runtime, it has no pipelines, or it can run no plan of this workload.
    """
    check_problem(problem)
    check_choice("runtime", runtime, RUNTIMES)
    check_pipelines("runtime", runtime)
    limits, partition = _WRITERS[runtime].LIMITS, whole(problem)
    try:
        limits.check(partition)
        _WRITERS[runtime].write(partition)
        return Target.of(problem, runtime, limits)
    except ValueError as error:
        raise InputError(f"{runtime} can run no plan of this problem: {error}") from None


def solve_for(problem: Problem, runtime: str, method: Method = "auto", **options: Any) -> Result:
    """Find the best plan of those that a runtime can run; `export` takes it.

    Parameters
    ----------
    problem
        The problem. Strategies that the runtime does not know are left out, and stages begin only at layers
        where it can begin one, with as many replicas as it can have.
    runtime
        The runtime, as for `export`, but one that runs the stages of a plan at the same time: not
        ``"llama-cpp"``, ``"exo"`` or ``"device-map"``.
    method, **options
        As for `solve`. A policy that is trained has the layers that the runtime keeps together as one.

    Returns
    -------
    Result
        The plan's problem has the runtime's limits in its goal; the proof is for plans within them.

    Raises
    ------
    TypeError, ValueError
        There is no such runtime, it has no pipelines, or it can run no plan of this workload; or as by
        `solve`.

    Examples
    --------
    >>> import stageplan as sp
    >>> kinds = ["embedding", "block", "block", "block", "norm", "head"]
    >>> layers = [
    ...     sp.Layer(name=f"{kind}{i}", kind=kind, compute={"a": 1.0, "b": 1.0})
    ...     for i, kind in enumerate(kinds)
    ... ]
    >>> types = [sp.DeviceType(name=name, price=1.0, limit=1) for name in "ab"]
    >>> workload, cluster = sp.Workload(name="net", layers=layers), sp.Cluster(name="lab", types=types)
    >>> problem = sp.Problem(workload, cluster, sp.Goal(objective="throughput"))
    >>> sp.export(sp.solve_for(problem, "vllm").plan, "vllm").value
    '2,1'
    """
    return target(problem, runtime).solve(method, **options)


def write(partition: Partition, to: str, script: bool = False) -> Written:
    """Convert a partition to a runtime's configuration, or to a script."""
    check_choice("to", to, RUNTIMES)
    if script and to != "torch":
        raise InputError(f"script requires to 'torch'; it is {to!r}")
    try:
        partition.check()
        _WRITERS[to].LIMITS.check(partition)
        written = (torch_script if script else _WRITERS[to]).write(partition)
    except ValueError as error:
        raise InputError(f"{to} cannot run this plan: {error}") from None
    if to in PIPELINES or len(partition.stages) == 1:
        return written
    turns = f"{to} runs the stages in turn, but the throughput of a plan is that of a pipeline"
    return written._replace(note="; ".join(filter(None, (written.note, turns))))


def _compare(plan: Plan, default: Default) -> Comparison:
    """Compare by the slowest stages, or by the iterations of the schedule."""
    measure = "slowest stage" if plan.problem.goal.schedule is None else "iteration"
    if default.bounds is None or plan.problem.options is not None:
        return _comparison(measure, plan.time, None, default._replace(bounds=None))
    if plan.problem.by_options:
        return _comparison(measure, plan.time, _time_by_options(plan, default.bounds), default)
    times = _times(plan, [i for i, (a, b) in enumerate(pairwise(default.bounds)) for _ in range(a, b)])
    together = max if plan.problem.goal.overlap else sum
    return _comparison(measure, plan.time, max(map(together, times)), default)


def _time_by_options(plan: Plan, bounds: tuple[int, ...]) -> float:
    """Seconds per example of another partition, with the strategies and replicas of the plan."""
    problem, stages = plan.problem, []
    for number, (stage, (a, b)) in enumerate(zip(plan.stages, pairwise(bounds), strict=True)):
        if a == b:
            continue
        other = msgspec.structs.replace(stage, layers=tuple(range(a, b)))
        numbers = numbers_of(problem, other, in_flight(problem, len(plan.stages) - number))
        t = int(problem.label_types[stage.label])
        if unsupported(problem, other) or numbers.memory > problem.capacity[t]:
            return math.inf
        stages.append(numbers)
    return time_by_schedule(problem, stages)


def _compare_in_turn(plan: Plan, default: Default, to: str) -> Comparison:
    """Compare by the sum of all stages, which run in turn if layers are placed and not pipelined."""
    measure, time, default_time = "all stages in turn", _time_in_turn(plan.stages), None
    if plan.problem.by_options:
        return _comparison(measure, time, None, default._replace(bounds=None))
    if to == "device-map":  # which moves layers that share weights
        time = _time_placed(plan, device_map.placement(Partition.of(plan)))
    if default.bounds is not None:
        others = [i for i, (a, b) in enumerate(pairwise(default.bounds)) for _ in range(a, b)]
        default_time = _time_placed(plan, others)
    return _comparison(measure, time, default_time, default)


def _time_in_turn(stages: Iterable[Stage | StageDocument]) -> float:
    """Seconds per example; each transfer has two ends, and happens once."""
    return math.fsum(stage.compute + stage.transfer / 2 for stage in stages)


def _time_placed(plan: Plan, placed: list[int]) -> float:
    """Seconds per example of another partition, whose stages run in turn."""
    return math.fsum(compute + transfer / 2 for compute, transfer in _times(plan, placed))


def _comparison(measure: str, time: float, default_time: float | None, default: Default) -> Comparison:
    layers = None if default.bounds is None else tuple(b - a for a, b in pairwise(default.bounds))
    throughput = None if default_time is None else _rate(default_time)
    return Comparison(measure, _rate(time), time, default.rule, layers, throughput, default_time)


def _rate(time: float) -> float:
    return 1 / time if time > 0 else math.inf


def _times(plan: Plan, placed: list[int]) -> list[tuple[float, float]]:
    """Seconds per example of compute and transfer of each stage of another partition; inf if it cannot run.

    `placed` is the stage of each layer; devices are those of the plan.
    """
    problem = plan.problem
    scheme = [plan.stages[place].label for place in placed]
    times = []
    for number, stage in enumerate(plan.stages):
        layers = tuple(layer for layer, place in enumerate(placed) if place == number)
        t = int(problem.label_types[stage.label])
        runs = all(math.isfinite(problem.compute[layer, t]) for layer in layers)
        memory = math.fsum(problem.memory[layer] for layer in layers)
        if problem.workspace is not None:
            memory += max((problem.workspace[layer, t] for layer in layers), default=0.0)
        runs &= memory <= problem.capacity[t]
        times.append(stage_times(problem, scheme, layers, t, stage.devices) if runs else (math.inf, 0.0))
    return times
