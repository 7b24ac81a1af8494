"""Memory that stages leave for keys and values: runtimes use no more of it than the stage with the least."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np

from ..plan import Plan, Stage, meets
from ..serving import room_of
from ..verify_options import in_flight, numbers_of, unsupported
from .partition import Partition


class Balanced(NamedTuple):
    """A plan whose blocks may have moved between stages, and a note that says so, or ``""``."""

    plan: Plan
    note: str = ""


def balance(plan: Plan) -> Balanced:
    """Move blocks between the stages of a plan that is served, where the least room for sequences grows.

    Device types, strategies and replicas stay, and no stage takes longer than the plan's slowest.
    """
    conditions, goal = plan.problem.conditions, plan.problem.goal
    if not conditions.served or goal.schedule is not None or len(plan.stages) == 1:
        return Balanced(plan)
    before = plan.serving().sequences
    bounds = None if math.isinf(before) else _best_bounds(plan)
    if bounds is None:
        return Balanced(plan)
    labels = [stage.label for stage in plan.stages]
    sizes = np.diff(bounds)
    other = Plan.of(plan.problem, np.repeat(np.array(labels, dtype=np.int8), sizes))
    worse = not other.feasible or not meets(other.time, plan.time) or not meets(other.price, plan.price)
    if worse or len(other.stages) != len(plan.stages) or other.serving().sequences <= before:
        return Balanced(plan)
    was, now = (", ".join(map(str, _counts(each))) for each in (plan, other))
    more = f"{other.serving().sequences:,.0f} sequences instead of {before:,.0f}"
    return Balanced(
        other,
        f"stages have {now} blocks instead of the plan's {was}: the one with the least memory for keys and "
        f"values has room for {more}, and none is slower than the plan's slowest",
    )


def _counts(plan: Plan) -> tuple[int, ...]:
    return Partition.of(plan).block_counts()


def _best_bounds(plan: Plan) -> tuple[int, ...] | None:
    """Bounds of stages whose least room is largest, as they are if others are no better.

    A dynamic programme over the first layer of each stage; cuts lie between blocks.
    """
    decoders = Partition.of(plan).decoders()
    end = plan.problem.n_layers
    reached: dict[int, tuple[float, tuple[int, ...]]] = {0: (math.inf, (0,))}
    for number, stage in enumerate(plan.stages):
        last = number == len(plan.stages) - 1
        following: dict[int, tuple[float, tuple[int, ...]]] = {}
        for first, (least, bounds) in reached.items():
            for bound, room in _rooms(plan, stage, number, first, decoders.end):
                if last != (bound == end) or not (last or decoders.first < bound < decoders.end):
                    continue
                found = min(least, room)
                if bound not in following or found > following[bound][0]:
                    following[bound] = found, (*bounds, bound)
        reached = following
    return reached[end][1] if end in reached else None


def _rooms(plan: Plan, stage: Stage, number: int, first: int, blocks_end: int) -> Iterator[tuple[int, float]]:
    """Yield where a stage can end that begins with a layer, and its room then."""
    problem = plan.problem
    capacity = float(problem.capacity[problem.label_types[stage.label]])
    flying = in_flight(problem, len(plan.stages) - number)
    for end in (*range(first + 1, blocks_end), problem.n_layers):
        other = msgspec.structs.replace(stage, layers=tuple(range(first, end)))
        if unsupported(problem, other):
            return
        numbers = numbers_of(problem, other, flying)
        if not meets(numbers.compute, plan.time) or not meets(numbers.memory, capacity):
            return
        if meets(numbers.time, plan.time):
            yield end, room_of(plan, msgspec.structs.replace(other, memory=numbers.memory))
