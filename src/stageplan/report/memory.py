"""What the memory of each stage holds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..plan import Plan, Stage
from ..problem import Problem
from ..verify_options import memory_parts

TOTAL = "memory"
"""Name of the only part where the parts are not known."""


@dataclass(frozen=True)
class Memory:
    """Memory of each device of a stage.

    Attributes
    ----------
    parts : dict of str to float
        Bytes by what they hold, in the order of a picture.
    capacity : float
        Bytes that the device has; infinite where that is not limited, or not known.
    """

    parts: dict[str, float]
    capacity: float = math.inf

    @property
    def total(self) -> float:
        """Bytes of all parts."""
        return math.fsum(self.parts.values())


def memory_of(plan: Plan) -> list[Memory]:
    """Divide the memory of each stage of a plan into its parts; they add up to that of the stage."""
    problem = plan.problem
    capacities = problem.capacity[[problem.type_names.index(stage.type) for stage in plan.stages]].tolist()
    return [
        Memory(_parts(problem, stage), capacity)
        for stage, capacity in zip(plan.stages, capacities, strict=True)
    ]


def _parts(problem: Problem, stage: Stage) -> dict[str, float]:
    if problem.options is not None or stage.devices == 0:
        return {TOTAL: stage.memory}
    sizes = memory_parts(problem, stage, stage.in_flight)
    named = zip(names_of(problem), sizes, strict=True)
    return {name: size for name, size in named if size} or {TOTAL: stage.memory}


def names_of(problem: Problem) -> tuple[str, str, str, str]:
    """Name the parts, in the order of `MemoryParts`."""
    mode = problem.conditions.mode
    if mode in ("prefill", "decode"):
        return "weights", "cache of keys and values", "workspace", "activations in flight"
    resident = "weights, gradients, optimizer" if mode == "train" else "resident"
    return resident, "divided among replicas", "workspace", "activations in flight"
