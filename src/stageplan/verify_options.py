"""Checks of stages that were chosen among options, from the definitions, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .plan import Plan, Stage
from .problem import Problem

_ROUNDING = 1e-9  # sums in another order
_SUMS = 1e-15  # times all layers' sum: what a stage's part of it may lose where its layers are far smaller


def check_same(name: str, stated: float, found: float, scale: float = 0.0) -> None:
    """Raise ValueError unless two numbers are the same.

    `scale` is the size of terms that were added and subtracted in computing them.
    """
    tolerance = _ROUNDING * scale * 1e-3
    if not (stated == found or math.isclose(stated, found, rel_tol=_ROUNDING, abs_tol=tolerance)):
        raise InputError(f"{name} is {stated:.12g}; recomputed it is {found:.12g}")


def check_option(problem: Problem, plan: Plan, index: int, name: str) -> None:
    """Recompute a stage from its strategy and its replicas."""
    stage = plan.stages[index]
    t = int(problem.label_types[stage.label])
    if stage.type != problem.type_names[t]:
        raise InputError(f"{name}.type is {stage.type!r}; its label is of type {problem.type_names[t]!r}")
    check_same(f"{name}.price", stage.price, float(problem.price[t]) * stage.devices)
    flying = in_flight(problem, len(plan.stages) - index)
    check_same(f"{name}.in_flight", stage.in_flight, flying)
    if stage.devices == 0:  # not an option of the stage
        return
    if problem.options is not None:
        _check_listed(problem, stage, t, name)
        return
    column = column_of(problem, stage, t)
    degree = 1 if problem.column_degree is None else int(problem.column_degree[column])
    check_same(f"{name}.devices", stage.devices, degree * stage.replicas)
    found = numbers_of(problem, stage, flying)
    everything = _sum(problem.compute[np.isfinite(problem.compute[:, column]), column])
    check_same(f"{name}.compute", stage.compute, found.compute, _SUMS * everything)
    check_same(
        f"{name}.transfer", stage.transfer, found.transfer, _SUMS * sum(x for _, _, x in problem.tensors)
    )
    check_same(f"{name}.sync", stage.sync, found.sync)
    check_same(f"{name}.time", stage.time, found.time)
    check_same(f"{name}.memory", stage.memory, found.memory, _SUMS * _sum(problem.memory.ravel()))


class Numbers(NamedTuple):
    """The totals of a stage: seconds per example, and bytes per device."""

    compute: float
    transfer: float
    sync: float
    time: float
    memory: float


def numbers_of(problem: Problem, stage: Stage, flying: int) -> Numbers:
    """Compute a stage from its layers, strategy and replicas."""
    t = int(problem.label_types[stage.label])
    column = column_of(problem, stage, t)
    share, _ = _share(problem, stage.replicas)
    compute, transfer = _times(problem, stage, t, column, share)
    sync = _sync(problem, stage, t, column)
    busy = max(compute, transfer) if problem.goal.overlap else compute + transfer
    memory = sum(memory_parts(problem, stage, flying))
    return Numbers(compute, transfer, sync, busy if problem.goal.schedule else busy + sync, memory)


class MemoryParts(NamedTuple):
    """What the memory of a stage holds, bytes per device."""

    resident: float
    divided: float  # among the replicas
    workspace: float
    activations: float


def memory_parts(problem: Problem, stage: Stage, flying: int) -> MemoryParts:
    """Compute the parts of a stage's memory from its layers, strategy and replicas."""
    column = column_of(problem, stage, int(problem.label_types[stage.label]))
    resident = _sum(_of(problem.memory, stage, column))
    divided = _sum(_of(problem.sharded, stage, column)) / stage.replicas
    workspace = float(max(_of(problem.workspace, stage, column), default=0.0))
    if problem.goal.batch is None:
        return MemoryParts(resident, divided, workspace, 0.0)
    _, fullest = _share(problem, stage.replicas)
    activations = flying * fullest * _sum(_of(problem.activations, stage, column))
    return MemoryParts(resident, divided, fullest * (workspace / problem.conditions.batch), activations)


def time_by_schedule(problem: Problem, stages: Sequence[Stage | Numbers]) -> float:
    """Seconds per example of the stages of a plan: the closed form of its schedule."""
    slowest = max(stage.time for stage in stages)
    if problem.goal.schedule is None:
        return slowest
    count = problem.goal.microbatches or 1
    through = math.fsum(stage.compute + stage.transfer for stage in stages)
    return ((count - 1) * slowest + through) / count + max(stage.sync for stage in stages)


def unsupported(problem: Problem, stage: Stage) -> bool:
    """Say whether a stage has layers that it cannot run."""
    if problem.options is not None or stage.devices == 0:
        return stage.devices == 0
    column = column_of(problem, stage, int(problem.label_types[stage.label]))
    return bool(np.isinf(problem.compute[list(stage.layers), column]).any())


def column_of(problem: Problem, stage: Stage, t: int) -> int:
    """Find the column of a stage's device type and strategy."""
    if problem.column_type is None or problem.column_strategy is None:
        return t
    for column, (u, strategy) in enumerate(zip(problem.column_type, problem.column_strategy, strict=True)):
        if (u, strategy) == (t, stage.strategy):
            return column
    raise InputError(f"{stage.type} has no strategy {stage.strategy!r}")


def in_flight(problem: Problem, stages_to_end: int) -> int:
    """Microbatches that a stage holds, by the stages from it to the end, itself among them."""
    count = problem.goal.microbatches or 1
    return count if problem.goal.schedule == "gpipe" else min(stages_to_end, count)


def _share(problem: Problem, replicas: int) -> tuple[float, int]:
    """Fraction of a microbatch that the fullest replica has, and how many examples that are."""
    examples = (problem.goal.batch or 1) // (problem.goal.microbatches or 1)
    fullest = math.ceil(examples / replicas)
    return (fullest / examples if problem.goal.schedule else 1 / replicas), fullest


def _times(problem: Problem, stage: Stage, t: int, column: int, share: float) -> tuple[float, float]:
    """Seconds per example of compute and of transfer."""
    runs = [x for x in stage.layers if math.isfinite(problem.compute[x, column])]
    parallel = [float(problem.compute[x, column] * problem.compute_parallel[x, column]) for x in runs]
    serial = [float(problem.compute[x, column] * (1 - problem.compute_parallel[x, column])) for x in runs]
    moved, beta = math.fsum(_moved(problem, stage, t, column)), float(problem.transfer_parallel[t])
    return math.fsum(serial) + math.fsum(parallel) * share, moved * (1 - beta) + moved * beta * share


def _moved(problem: Problem, stage: Stage, t: int, column: int) -> Iterator[float]:
    first, last = stage.layers[0], stage.layers[-1]
    if last + 1 < problem.n_layers:
        yield float(problem.send[last, column])
    if first > 0:
        yield float(problem.receive[first, column])
    for producer, consumers, size in problem.tensors:
        inside = [first <= x <= last for x in consumers]
        if not all(inside) if first <= producer <= last else any(inside):
            yield size / float(problem.bandwidth[t])


def _sync(problem: Problem, stage: Stage, t: int, column: int) -> float:
    """Seconds per example of all-reduce and update."""
    seconds = _sum(_of(problem.update, stage, column))
    if stage.replicas > 1 and problem.goal.batch is not None:
        one_machine = problem.machine is None or stage.devices <= problem.machine[t]
        rates = problem.link if one_machine or problem.network is None else problem.network
        if rates is not None:
            gradients = _sum(_of(problem.gradients, stage, column))
            seconds += 2 * (stage.replicas - 1) / stage.replicas * gradients / float(rates[t])
    return seconds / (problem.goal.batch or 1)


def _of(array: npt.NDArray[np.float64] | None, stage: Stage, column: int) -> npt.NDArray[np.float64]:
    if array is None:
        return np.zeros(0)
    layers = list(stage.layers)
    return array[layers] if array.ndim == 1 else array[layers, column]


def _sum(values: npt.NDArray[np.float64]) -> float:
    return math.fsum(values.tolist())


def _check_listed(problem: Problem, stage: Stage, t: int, name: str) -> None:
    options = problem.options
    if options is None:
        return
    of = options.of(stage.layers[0], stage.layers[-1], t, problem.n_layers)

    def listed(values: npt.NDArray[np.float64] | None, default: Any = 0.0) -> Any:
        return default if values is None else values[of]

    time, sync = options.time[of], listed(options.sync)
    scheduled = problem.goal.schedule is not None
    same = (options.devices[of] == stage.devices) & ((time if scheduled else time + sync) == stage.time)
    if scheduled:
        through = listed(options.pass_time, time)
        same &= np.isclose(through, stage.compute + stage.transfer, rtol=_ROUNDING, atol=0)
        same &= sync == stage.sync
    _, fullest = _share(problem, 1)
    memory = listed(options.memory) + stage.in_flight * fullest * listed(options.activations)
    if not (same & np.isclose(memory, stage.memory, rtol=_ROUNDING, atol=0)).any():
        raise InputError(f"{name} is none of the options of its layers on {problem.type_names[t]}")
