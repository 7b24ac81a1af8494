"""The limits of a problem that may be changed to make it feasible, and what a plan needs of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from . import _core
from .arguments import LARGEST
from .plan import Plan, Stage
from .problem import Problem

STEP = 1e-6  # relative precision of values that are not whole numbers
_DIGITS = 7  # of a value that is shown, so that the value shown is sufficient
_COUNTED = ("devices", "stages", "microbatches", "sequences")  # units that the limit's name says already
_LEAST_ACTIVATIONS = 1e-6  # per cent
_WHOLE = ("max_devices_per_stage", "max_stages")


@dataclass(frozen=True)
class Change:
    """One limit, and a sufficient value for it.

    Attributes
    ----------
    limit : str
        ``"devices of gpu"``, ``"memory of gpu"``, ``"devices per stage"``, ``"stages"``, ``"microbatches"``,
        ``"sequences of a step"``, ``"activations"``, ``"throughput"``, ``"duration"``, ``"price"`` or
        ``"cost"``.
    now, needed : float
        Its value in the problem, and the sufficient value.
    unit : str
        Unit of both.
    """

    limit: str
    now: float
    needed: float
    unit: str

    @property
    def factor(self) -> float:
        """Ratio of the two values, 1 or more; a limit of 0 devices counts as 1."""
        low, high = sorted((self.now, self.needed))
        return high / low if low > 0 else 1 + high

    def __str__(self) -> str:
        unit = "" if self.unit in _COUNTED else f" {self.unit}"
        return f"{self.limit}: {self.needed:.{_DIGITS}g}{unit} instead of {self.now:.{_DIGITS}g}"


@dataclass(frozen=True)
class Limit:
    """A limit of a problem that can be changed; the larger its value, the easier the problem."""

    name: str
    unit: str
    now: float
    used: Callable[[Plan], float]  # the value that a plan needs
    at: Callable[[Problem, float], Problem]  # the problem with another value; infinity: without the limit
    whole: bool = False
    inverse: bool = False  # shown as examples/s, stored as seconds per example
    of_type: bool = False  # of a device type, and not of the goal

    @property
    def most(self) -> float:
        """The largest value that a problem may have."""
        if not self.whole:
            return LARGEST
        return math.inf if self.of_type else _core.MAX_DEVICES - 1  # which count as unlimited

    @property
    def physical(self) -> bool:
        """Whether it is the memory of a device type, which is fixed by the hardware."""
        return self.of_type and not self.whole

    def broken(self, plan: Plan) -> bool:
        """Return whether a plan needs more."""
        return self.used(plan) > self.now * (1 + _core.TOLERANCE)

    def grown(self, factor: float) -> float:
        """Return the value after a relative change; a limit of 0 devices grows as one of 1 device does."""
        if self.whole:
            return self.now + math.floor(max(self.now, 1.0) * (factor - 1) + STEP)
        return self.now * factor

    def factor(self, plan: Plan) -> float:
        """Return the relative change that a plan needs."""
        return 1 + max(0.0, self.used(plan) - self.now) / (max(self.now, 1.0) if self.whole else self.now)

    def shown(self, value: float) -> float:
        """Return the value for a user: in few digits, rounded towards the weaker limit."""
        if self.whole:
            return value
        return _rounded(_inverse(value), upward=False) if self.inverse else _rounded(value, upward=True)

    def given(self, value: float) -> float:
        """Return the value after a user passed the shown one; not stricter than now."""
        return max(self.now, 1 / self.shown(value) if self.inverse else self.shown(value))

    def change(self, value: float) -> Change:
        """Return the change to another value, as a user sees it."""
        now = _inverse(self.now) if self.inverse else self.now
        return Change(self.name, now, self.shown(value), self.unit)


def _inverse(value: float) -> float:
    """Invert a value so that one of 15 digits or less is itself again after two inversions."""
    return float(f"{1 / value:.15g}")


def _rounded(value: float, upward: bool) -> float:
    nearest = float(f"{value:.{_DIGITS}g}")
    if nearest == value or (nearest > value) == upward:
        return nearest
    unit = 10.0 ** (math.floor(math.log10(value)) - _DIGITS + 1)
    return float(f"{nearest + (unit if upward else -unit):.{_DIGITS}g}")


def limits_of(problem: Problem) -> Iterator[Limit]:
    """Yield the limits of devices, memory and goal, and how much of the activations is kept."""
    goal = problem.goal
    if not (goal.split and goal.merge == "type"):
        yield from _limits_of_types(problem, "limit", "devices", "devices", _devices)
    yield from _limits_of_types(problem, "capacity", "memory", "bytes", _memory)
    numbers: tuple[tuple[str, str, str, Callable[[Plan], float]], ...] = (
        ("max_devices_per_stage", "devices per stage", "devices", _most_devices),
        ("max_stages", "stages", "stages", lambda plan: len(plan.stages)),
        ("min_throughput", "throughput", "examples/s", lambda plan: plan.time),
        ("max_duration", "duration", "s", lambda plan: plan.duration),
        ("max_price", "price", "$/h", lambda plan: plan.price),
        ("max_cost", "cost", "$", lambda plan: plan.cost),
    )
    for name, text, unit, used in numbers:
        now, inverse = getattr(goal, name), name == "min_throughput"
        if now is not None:
            change = partial(_with_number, name)
            whole = name in _WHOLE
            yield Limit(text, unit, 1 / now if inverse else now, used, change, whole, inverse)
    if problem.activations is not None and np.isfinite(problem.capacity).any():
        yield Limit("activations", "%", 0.01, partial(_activations, problem), _with_activations, inverse=True)


def _limits_of_types(
    problem: Problem, array: str, text: str, unit: str, used: Callable[[int, Plan], float]
) -> Iterator[Limit]:
    for t, name in enumerate(problem.type_names):
        now = float(getattr(problem, array)[t])
        if math.isfinite(now):
            change = partial(_with_entry, array, t)
            yield Limit(
                name=f"{text} of {name}",
                unit=unit,
                now=now,
                used=partial(used, t),
                at=change,
                whole=array == "limit",
                of_type=True,
            )


def _with_entry(array: str, t: int, problem: Problem, value: float) -> Problem:
    changed = getattr(problem, array).copy()
    changed[t] = value if array == "limit" or value <= LARGEST else math.inf
    return problem.replace(**{array: changed})


def _with_number(name: str, problem: Problem, value: float) -> Problem:
    if name in _WHOLE:
        return problem.replace(**{name: None if math.isinf(value) else int(min(value, _core.MAX_DEVICES))})
    if value > LARGEST:
        return problem.replace(**{name: None})
    return problem.replace(**{name: _inverse(value) if name == "min_throughput" else value})


def _with_activations(problem: Problem, value: float) -> Problem:
    """Keep a part of the activations: the inverse of `value`, in per cent."""
    assert problem.activations is not None
    return problem.replace(activations=problem.activations * (0.01 / value))


def _activations(problem: Problem, plan: Plan) -> float:
    """Return the inverse of the per cent of the problem's activations with which the plan's stages fit."""
    assert problem.activations is not None
    assert plan.problem.activations is not None
    goal = problem.goal
    examples = (goal.batch or 1) // (goal.microbatches or 1)
    kept = 100.0
    for stage in plan.stages:
        column = _column(problem, stage)
        flying = stage.in_flight * math.ceil(examples / stage.replicas)
        full = flying * float(problem.activations[stage.layers, column].sum())
        rest = stage.memory - flying * float(plan.problem.activations[stage.layers, column].sum())
        spare = float(problem.capacity[problem.label_types[stage.label]]) - rest
        if spare < full:
            kept = min(kept, 100 * spare / full)
    return 1 / max(kept, _LEAST_ACTIVATIONS)


def _column(problem: Problem, stage: Stage) -> int:
    """Return the column of a stage's device type and strategy."""
    t = int(problem.label_types[stage.label])
    if problem.column_type is None:
        return t
    assert problem.column_strategy is not None
    own = np.flatnonzero(problem.column_type == t).tolist()
    names = [problem.column_strategy[column] for column in own]
    return int(own[names.index(stage.strategy)])


def _on(plan: Plan, t: int) -> list[Stage]:
    return [stage for stage in plan.stages if plan.problem.label_types[stage.label] == t]


def _devices(t: int, plan: Plan) -> float:
    return sum(stage.devices for stage in _on(plan, t))


def _memory(t: int, plan: Plan) -> float:
    return max((stage.memory for stage in _on(plan, t)), default=0.0)


def _most_devices(plan: Plan) -> float:
    return max(stage.devices for stage in plan.stages)
