"""Why nothing fits: the smallest single changes that make a problem feasible."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ._core import TOLERANCE
from .plan import Plan, Stage
from .problem import Problem, check_problem
from .solve import solve
from .stop import NoImprovement, Stop

_STEP = 1e-6  # nearness to which values that are no whole numbers are narrowed down
_WORK = 512  # steps of the exact method in all, of some milliseconds each


@dataclass(frozen=True)
class Change:
    """One limit, and what it has to be that a plan fits.

    Attributes
    ----------
    limit : str
        Which one: ``"devices of gpu"``, ``"memory of gpu"``, ``"devices per stage"``, ``"throughput"``,
        ``"duration"``, ``"price"`` or ``"cost"``.
    now, needed : float
        What it is, and what is enough.
    unit : str
        Unit of both.
    proven : bool
        Whether this is the smallest change: it is proven that nothing fits with one device less, or with a
        value that is nearer by a millionth. Else the change is enough, but a smaller one may be as well.
    plan : Plan
        A plan that fits then; its problem is the changed one.
    """

    limit: str
    now: float
    needed: float
    unit: str
    proven: bool
    plan: Plan

    def to_dict(self) -> dict[str, Any]:
        """Return the change as plain values, for JSON, with the scheme of its plan."""
        names = ("limit", "now", "needed", "unit", "proven")
        return {name: getattr(self, name) for name in names} | {"scheme": self.plan.scheme.tolist()}

    def __str__(self) -> str:
        how = "the smallest change" if self.proven else "enough, perhaps more than enough"
        unit = "" if self.unit == "devices" else f" {self.unit}"
        return f"{self.limit}: {self.needed:.7g}{unit} instead of {self.now:.7g} ({how})"


@dataclass(frozen=True)
class Repair:
    """What makes a problem feasible.

    Attributes
    ----------
    changes : tuple of Change
        Each of them does it alone, or, with `together`, all of them at once; empty where the problem is
        feasible.
    together : bool
        Whether the changes have to be made together, for none was found that does it alone.
    """

    changes: tuple[Change, ...]
    together: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the changes as plain values, for JSON."""
        return {"together": self.together, "changes": [change.to_dict() for change in self.changes]}

    def __str__(self) -> str:
        if not self.changes:
            return "no changes were found that would do" if self.together else "no change is needed"
        head = (
            "no change of a single limit was found that would do; these together would:"
            if self.together
            else "each of these changes alone would do:"
        )
        return "\n".join([head, *(f"  {change}" for change in self.changes)])


@dataclass(frozen=True)
class _Limit:
    """A limit of a problem that can be changed; the more, the easier."""

    name: str
    unit: str
    now: float
    used: Callable[[Plan], float]  # what a plan needs it to be
    at: Callable[[Problem, float], Problem]  # the problem with another value; infinity: without the limit
    whole: bool = False
    inverse: bool = False  # it is shown as examples/s, and kept as seconds per example

    def shown(self, value: float) -> float:
        return 1 / value if self.inverse else value


def repair(problem: Problem) -> Repair:
    """Find the smallest changes of single limits that make an infeasible problem feasible.

    Each limit is lifted first, to see whether that helps, and then narrowed down by halving, and to what the
    plans that are found need. That nothing fits below is proven by the exact method, or by enumeration; each
    change has a plan that shows that it is enough.

    Parameters
    ----------
    problem
        The problem.

    Returns
    -------
    Repair
        Devices of each type, memory of each type, devices per stage, throughput, duration, price and cost: a
        change of each limit that helps alone. Where none does, what the best plan breaks, to be changed
        together. The devices of a type are left as they are where they are labels (split, merge ``"type"``).

    Raises
    ------
    TypeError
        Where it is no problem.
    """
    check_problem(problem)
    search, cheapest = _Search(_WORK), problem.replace(objective="cost")  # whose throughput needs no bounds
    plan, infeasible = search.fit(cheapest)
    if plan is not None:
        return Repair((), False)
    limits = list(_limits(problem))
    changes: list[Change] = []
    for i, limit in enumerate(limits):
        search.share(len(limits) - i)
        changes += _smallest(search, cheapest, limit, infeasible, problem.goal.objective)
    if changes:
        return Repair(tuple(changes), False)
    return Repair(tuple(_together(problem, limits)), True)


@dataclass
class _Search:
    """Looks for plans that fit, first among those found before, within a set amount of work."""

    left: int
    schemes: list[npt.NDArray[np.int8]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.share(8)

    def share(self, parts: int) -> None:
        """Take one of so many equal parts of the work that is left."""
        self.until = self.left - max(1, self.left // parts)

    def fit(self, problem: Problem) -> tuple[Plan | None, bool]:
        """Return a plan that fits; where none was found, whether it is proven that there is none."""
        for scheme in self.schemes:
            plan = Plan.of(problem, scheme)
            if plan.feasible:
                return plan, False
        if self.left <= self.until:
            return None, False
        steps = self.left - self.until
        stop = Stop(lambda p: p.violation == 0 or p.generation >= steps, "a plan that fits")
        result = solve(problem, "exact" if problem.goal.merge == "adjacent" else "auto", stop=stop)
        self.left -= result.generations
        if not result.plan.feasible:
            return None, result.status == "infeasible"
        self.schemes.append(result.plan.scheme)
        return result.plan, False


# Which limits there are -----------------------------------------------------------------------------------


def _limits(problem: Problem) -> Iterator[_Limit]:
    goal = problem.goal
    if not (goal.split and goal.merge == "type"):
        yield from _limits_of_types(problem, "limit", "devices", "devices", _devices)
    yield from _limits_of_types(problem, "capacity", "memory", "bytes", _memory)
    numbers: tuple[tuple[str, str, str, Callable[[Plan], float]], ...] = (
        ("max_devices_per_stage", "devices per stage", "devices", _most_devices),
        ("min_throughput", "throughput", "examples/s", lambda plan: plan.time),
        ("max_duration", "duration", "s", lambda plan: plan.duration),
        ("max_price", "price", "$/h", lambda plan: plan.price),
        ("max_cost", "cost", "$", lambda plan: plan.cost),
    )
    for name, text, unit, used in numbers:
        now, inverse = getattr(goal, name), name == "min_throughput"
        if now is not None:
            change = partial(_with_number, name)
            whole = name == "max_devices_per_stage"
            yield _Limit(text, unit, 1 / now if inverse else now, used, change, whole, inverse)


def _limits_of_types(
    problem: Problem, array: str, text: str, unit: str, used: Callable[[int, Plan], float]
) -> Iterator[_Limit]:
    for t, name in enumerate(problem.type_names):
        now = float(getattr(problem, array)[t])
        if math.isfinite(now):
            change = partial(_with_entry, array, t)
            yield _Limit(f"{text} of {name}", unit, now, partial(used, t), change, whole=array == "limit")


def _with_entry(array: str, t: int, problem: Problem, value: float) -> Problem:
    changed = getattr(problem, array).copy()
    changed[t] = value
    return problem.replace(**{array: changed})


def _with_number(name: str, problem: Problem, value: float) -> Problem:
    if math.isinf(value):
        return problem.replace(**{name: None})
    if name == "min_throughput":
        value = 1 / value
    return problem.replace(**{name: int(value) if name == "max_devices_per_stage" else value})


def _on(plan: Plan, t: int) -> list[Stage]:
    return [stage for stage in plan.stages if plan.problem.label_types[stage.label] == t]


def _devices(t: int, plan: Plan) -> float:
    return sum(stage.devices for stage in _on(plan, t))


def _memory(t: int, plan: Plan) -> float:
    return max((stage.memory for stage in _on(plan, t)), default=0.0)


def _most_devices(plan: Plan) -> float:
    return max(stage.devices for stage in plan.stages)


# How much they have to change -----------------------------------------------------------------------------


def _smallest(
    search: _Search, problem: Problem, limit: _Limit, infeasible: bool, objective: str
) -> Iterator[Change]:
    """Narrow a limit down between what a plan needs and where nothing fits; none where no plan is found."""
    plan, _ = search.fit(limit.at(problem, math.inf))
    if plan is None:
        return
    low, proven = limit.now, infeasible  # nothing fits at `low`, which may be proven
    high = limit.used(plan)
    while (value := _between(low, high, limit.whole)) is not None:
        found, none = search.fit(limit.at(problem, value))
        if found is None:
            low, proven = value, none
        else:
            plan, high = found, min(value, limit.used(found))
    changed = limit.at(problem, high).replace(objective=objective)
    plan = Plan.of(changed, plan.scheme)
    if plan.feasible:
        yield Change(limit.name, limit.shown(limit.now), limit.shown(high), limit.unit, proven, plan)


def _between(low: float, high: float, whole: bool) -> float | None:
    """Halve what lies between two values; None where they are next to each other."""
    if whole:
        return (low + high) // 2 if high - low > 1 else None
    return math.sqrt(low * high) if high > low * (1 + _STEP) else None


def _together(problem: Problem, limits: list[_Limit]) -> Iterator[Change]:
    """Give the changes that make the plan fit that breaks the limits least."""
    plan = solve(problem, "genetic", stop=NoImprovement(50)).plan
    broken = [limit for limit in limits if limit.used(plan) > limit.now * (1 + TOLERANCE)]
    changed = problem
    for limit in broken:
        changed = limit.at(changed, limit.used(plan))
    fitting = Plan.of(changed, plan.scheme)
    if fitting.feasible:
        for limit in broken:
            needed = limit.shown(limit.used(plan))
            yield Change(limit.name, limit.shown(limit.now), needed, limit.unit, False, fitting)
