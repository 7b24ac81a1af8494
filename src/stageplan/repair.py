"""Why nothing fits: the smallest changes of limits that make a problem feasible."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from .arguments import check_number
from .fields import printable
from .groups import with_groups
from .limits import STEP, Change, Limit, limits_of
from .plan import Plan
from .plan_cost import refuse_plan_cost
from .problem import Problem, check_problem
from .solve import exact_search, solve
from .stop import MaxRuntime, Stop

_WORK = 1 << 29  # of the exact method, in arcs and labels: for single changes, and again for combinations
_WORK_OF_ONE = _WORK >> 5  # for one problem
_GENERATION = 1 << 20  # what a generation of another method counts as
_STEP_SEQUENCES = "sequences of a step"
_MOST_MICROBATCHES = 4096  # that are suggested


@dataclass(frozen=True)
class Suggestion:
    """Changes that, made together, make a problem feasible; often a single one.

    Attributes
    ----------
    changes : tuple of Change
        The changes; as far as the search found, each is necessary.
    proven : bool
        Whether it is proven that no plan is feasible with one device less, or with a value closer by a
        millionth, in any of the changes. Otherwise they are sufficient, but smaller ones may be, too.
    physical : bool
        Whether it requires devices with more memory than those of the problem.
    plan : Plan
        A feasible plan of the changed problem.
    """

    changes: tuple[Change, ...]
    proven: bool
    physical: bool
    plan: Plan

    def to_dict(self) -> dict[str, Any]:
        """Return the suggestion as plain values, for JSON, with the scheme of its plan."""
        names = ("limit", "now", "needed", "unit")
        changes = [{name: getattr(change, name) for name in names} for change in self.changes]
        return {
            "changes": changes,
            "proven": self.proven,
            "physical": self.physical,
            "scheme": self.plan.scheme.tolist(),
        }

    def __str__(self) -> str:
        how = "the smallest change" if self.proven else "a smaller change may be sufficient"
        how += "; requires devices with more memory" if self.physical else ""
        if any(change.limit == "activations" for change in self.changes):
            how += "; by recomputation, which takes more time"
        for change in self.changes:
            if change.limit == _STEP_SEQUENCES:
                how += f"; with more stages, of a profile with --batch {change.needed:g}"
        return f"{' and '.join(str(change) for change in self.changes)} ({how})"


@dataclass(frozen=True)
class Repair:
    """Changes of limits that make a problem feasible.

    Attributes
    ----------
    feasible : bool
        Whether a feasible plan of the problem as it is was found.
    suggestions : tuple of Suggestion
        Each is sufficient: single changes, or combinations if no single change is sufficient. The smallest
        relative change comes first; changes that require devices with more memory come last.
    stopped : bool
        Whether a time limit ended the search for them early.
    """

    feasible: bool
    suggestions: tuple[Suggestion, ...] = ()
    stopped: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the suggestions as plain values, for JSON."""
        return {"suggestions": [suggestion.to_dict() for suggestion in self.suggestions]}

    def __str__(self) -> str:
        if not self.suggestions:
            if self.feasible:
                return "no change is required: there is a plan that meets all limits"
            how = " in the time given" if self.stopped else ""
            return f"no sufficient change of the limits was found{how}"
        head = (
            "each of these changes alone is sufficient:"
            if all(len(suggestion.changes) == 1 for suggestion in self.suggestions)
            else "each of these lines is sufficient, with all its changes together:"
        )
        return "\n".join([head, *(printable(f"  {suggestion}") for suggestion in self.suggestions)])


def repair(problem: Problem, *, max_runtime: float | None = None) -> Repair:
    """Find the smallest changes of limits that make an infeasible problem feasible.

    Each limit is first removed, to test whether that is sufficient; its smallest value is then found by
    bisection and from the plans found. If no single change is sufficient, limits are removed together;
    those that can be restored are, and the largest relative change of the rest is minimised. That no plan
    is feasible below is proven by the exact method or by enumeration; each suggestion has a feasible plan.

    Parameters
    ----------
    problem
        The problem.
    max_runtime
        Stop after this many seconds, with the changes found so far; default: after an amount of work that
        takes seconds for most problems, at most about a minute for very large ones.

    Returns
    -------
    Repair
        Devices of each type, memory of each type, devices per stage, stages, throughput, duration, price and
        cost: one suggestion for each limit whose change alone is sufficient. With a schedule also the nearest
        number of microbatches of the same batch; where sequences are decoded and stages are as many as their
        groups, smaller steps, in more groups; and where layers have activations, per cent of these that
        are kept, as with recomputation, whose time is not counted. If no change alone is sufficient,
        combinations of as few changes as were found. The number of devices of a type is not changed where
        devices are labels (split with merge ``"type"``).

    Raises
    ------
    TypeError, ValueError
        `problem` is not a `Problem`, or has a `plan_cost`; or `max_runtime` is not a number, 0 or more.

    Examples
    --------
    >>> import stageplan as sp
    >>> problem = sp.Problem.from_arrays(
    ...     compute=[[4.0, 1.0], [2.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0], limit=[2, 2],
    ...     min_throughput=0.5, examples=3600,
    ... )
    >>> print(sp.repair(problem.replace(min_throughput=1.2)))
    each of these changes alone is sufficient:
      throughput: 1 examples/s instead of 1.2 (the smallest change)
      devices of type1: 3 instead of 2 (the smallest change)
      devices of type0: 4 instead of 2 (the smallest change)
    """
    check_problem(problem)
    refuse_plan_cost(problem, "repair changes limits until a plan meets them")
    if max_runtime is not None:
        check_number("max_runtime", max_runtime, minimum=0)
    search = _Search(_WORK, time.perf_counter() + (math.inf if max_runtime is None else max_runtime))
    cheapest = problem.replace(objective="cost")  # whose throughput may be unbounded
    if search.fit(cheapest)[0] is not None:
        return Repair(True)
    limits = sorted(limits_of(problem), key=lambda limit: not limit.physical)
    suggestions = _suggestions(search, problem, [[limit] for limit in limits])
    if problem.goal.schedule is not None:
        suggestions += _of_microbatches(search, problem)
    if problem.goal.max_stages == problem.conditions.groups is not None:
        suggestions += _of_groups(search, problem)
    if all(suggestion.physical for suggestion in suggestions):
        search.left = _WORK
        sets = _sufficient_sets(search, cheapest, [limit for limit in limits if not limit.physical])
        if not sets and not suggestions:
            sets = _sufficient_sets(search, cheapest, limits)
        suggestions += _suggestions(search, problem, sets)
    return Repair(False, tuple(sorted(suggestions, key=_effort)), search.late)


def _suggestions(search: _Search, problem: Problem, sets: list[list[Limit]]) -> list[Suggestion]:
    suggestions = []
    for i, limits in enumerate(sets):
        if search.late:
            break
        search.share(len(sets) - i)
        suggestion = _suggest(search, problem, limits)
        if suggestion is not None:
            suggestions.append(suggestion)
    return suggestions


def _of_microbatches(search: _Search, problem: Problem) -> list[Suggestion]:
    """Suggest the nearest number of microbatches with which a plan is feasible, if there is one."""
    batch, now = problem.goal.batch, problem.goal.microbatches
    if batch is None or now is None:
        return []
    proven = True
    others = [n for n in range(1, min(batch, _MOST_MICROBATCHES) + 1) if batch % n == 0 and n != now]
    for number in sorted(others, key=lambda number: max(number / now, now / number)):
        search.share(4)
        plan, infeasible = search.fit(problem.replace(microbatches=number, objective="cost"))
        if plan is None:
            proven = proven and infeasible
            continue
        plan = Plan.of(problem.replace(microbatches=number), plan.scheme)
        return [Suggestion((Change("microbatches", now, number, "microbatches"),), proven, False, plan)]
    return []


def _of_groups(search: _Search, problem: Problem) -> list[Suggestion]:
    """Suggest that fewer sequences are decoded in a step, in more groups, which allow more stages."""
    concurrency, now = problem.conditions.concurrency or 1, problem.conditions.batch
    numbers = range((problem.conditions.groups or 1) + 1, min(concurrency, problem.n_layers) + 1)
    for groups in (number for number in numbers if concurrency % number == 0):
        search.share(4)
        changed = with_groups(problem, groups)
        plan, _ = search.fit(changed.replace(objective="cost"))
        if plan is not None:
            change = Change(_STEP_SEQUENCES, now, concurrency // groups, "sequences")
            return [Suggestion((change,), False, False, Plan.of(changed, plan.scheme))]
    return []


def _effort(suggestion: Suggestion) -> tuple[bool, float]:
    return suggestion.physical, max(change.factor for change in suggestion.changes)


@dataclass
class _Search:
    """Searches for feasible plans, first among those found before, within an amount of work and a time."""

    left: int
    deadline: float  # by time.perf_counter
    schemes: list[npt.NDArray[np.int8]] = field(default_factory=list)
    excluded: set[Problem] = field(default_factory=set)  # proven infeasible

    def __post_init__(self) -> None:
        self.share(8)

    def share(self, parts: int) -> None:
        """Take one of `parts` equal parts of the work that is left."""
        self.until = self.left - max(1, self.left // parts)

    @property
    def late(self) -> bool:
        """Whether the time is up; then no plan is found any more."""
        return time.perf_counter() >= self.deadline

    def fit(self, problem: Problem) -> tuple[Plan | None, bool]:
        """Return a feasible plan or None, and whether infeasibility is proven."""
        if self.late:
            return None, False
        for scheme in self.schemes:
            plan = Plan.of(problem, scheme)
            if plan.feasible:
                return plan, False
        if problem in self.excluded or self.left <= self.until:
            return None, problem in self.excluded
        try:
            scheme, infeasible = self._search(problem, min(self.left - self.until, _WORK_OF_ONE))
        except _core.Stopped:
            return None, False
        plan = Plan.of(problem, scheme)
        if plan.feasible:
            self.schemes.append(plan.scheme)
            return plan, False
        if infeasible:
            self.excluded.add(problem)
        return None, infeasible

    def _search(self, problem: Problem, work: int) -> tuple[npt.NDArray[np.int8], bool]:
        """Return the best scheme found, and whether infeasibility is proven."""
        seconds = max(0.0, self.deadline - time.perf_counter())
        if problem.goal.merge == "type":  # which only enumeration proves
            enough = Stop(lambda p: p.violation == 0 or p.generation * _GENERATION >= work, "a feasible plan")
            result = solve(problem, stop=enough | MaxRuntime(seconds) if seconds < math.inf else enough)
            self.left -= result.generations * _GENERATION
            return result.plan.scheme, result.status.startswith("infeasible")
        with _core.StopAfter(seconds):
            exact = exact_search(problem, np.empty((0, problem.n_layers), np.int8))
            while not exact.done and exact.best_score.violation > 0 and exact.work < work:
                exact.step()
            self.left -= exact.work
            return exact.best, math.isinf(exact.bound)


# Which limits have to change together ---------------------------------------------------------------------


def _lifted(problem: Problem, limits: Iterable[Limit]) -> Problem:
    for limit in limits:
        problem = limit.at(problem, math.inf)
    return problem


def _sufficient_sets(search: _Search, problem: Problem, limits: list[Limit]) -> list[list[Limit]]:
    """Return sets of limits that are sufficient if removed, as small as found; empty without a plan."""
    search.share(4)
    plan, _ = search.fit(_lifted(problem, limits))
    if plan is None:
        return []
    of_goal = [limit for limit in limits if not limit.of_type]
    of_types = [limit for limit in limits if limit.of_type and limit.broken(plan)]
    orders = [[*of_goal, *of_types]]  # and orders with each limit of the goal last
    orders += [[*of_types, *(other for other in of_goal if other is not last), last] for last in of_goal]
    sets: list[list[Limit]] = []
    for i, order in enumerate(orders):
        if sets and search.late:
            break
        search.share(2 * (len(orders) - i))
        found = sorted(_put_back(search, problem, order), key=limits.index)
        if found not in sets:
            sets.append(found)
    fewest = min(map(len, sets))
    return [found for found in sets if len(found) == fewest]


def _put_back(search: _Search, problem: Problem, limits: list[Limit]) -> list[Limit]:
    """Restore one limit after the other if a plan is still feasible; return those that stay removed."""
    lifted = limits
    for limit in limits:
        if search.late:
            break
        fewer = [other for other in lifted if other is not limit]
        if search.fit(_lifted(problem, fewer))[0] is not None:
            lifted = fewer
    return lifted


# How much they have to change -----------------------------------------------------------------------------


def _suggest(search: _Search, problem: Problem, limits: list[Limit]) -> Suggestion | None:
    """Minimise the changes of these limits; None if no plan is found."""
    cheapest = problem.replace(objective="cost")
    plan, _ = search.fit(_lifted(cheapest, limits))
    if plan is None:
        return None
    if len(limits) > 1:  # first their largest relative change
        plan, _, _ = _narrow(
            search,
            lambda factor: _with(cheapest, limits, [limit.grown(factor) for limit in limits]),
            lambda plan: max(limit.factor(plan) for limit in limits),
            1.0,
            plan,
        )
    values = [limit.given(limit.used(plan)) for limit in limits]
    proven = True
    for i, limit in enumerate(limits):  # then each of them, with the others fixed
        if search.late:
            proven = False
            break
        rest = cheapest if len(limits) == 1 else _with(cheapest, limits, values)
        plan, value, smallest = _narrow(
            search, partial(limit.at, rest), limit.used, limit.now, plan, limit.whole
        )
        values[i] = limit.given(value)
        proven = proven and smallest
    if any(value > limit.most for limit, value in zip(limits, values, strict=True)):
        return None
    changed = _with(cheapest, limits, values).replace(objective=problem.goal.objective)
    plan = Plan.of(changed, plan.scheme)
    changes = tuple(
        limit.change(value) for limit, value in zip(limits, values, strict=True) if value > limit.now
    )
    physical = any(limit.physical for limit in limits)
    return Suggestion(changes, proven, physical, plan) if changes and plan.feasible else None


def _with(problem: Problem, limits: list[Limit], values: list[float]) -> Problem:
    for limit, value in zip(limits, values, strict=True):
        problem = limit.at(problem, value)
    return problem


def _narrow(
    search: _Search,
    at: Callable[[float], Problem],
    used: Callable[[Plan], float],
    low: float,
    plan: Plan,
    whole: bool = False,
) -> tuple[Plan, float, bool]:
    """Bisect between an infeasible value and the value that a plan requires.

    Returns
    -------
    tuple of Plan, float, bool
        A feasible plan, its value, and whether infeasibility just below is proven.
    """
    found, proven = search.fit(at(low))
    if found is not None:
        return found, low, True
    high = used(plan)
    while (value := _between(low, high, whole)) is not None:
        if search.late:
            return plan, high, False
        found, none = search.fit(at(value))
        if found is None:
            low, proven = value, none
        else:
            plan, high = found, min(value, used(found))
    return plan, high, proven


def _between(low: float, high: float, whole: bool) -> float | None:
    """Return a value between two; None if they are adjacent."""
    if whole:
        return (low + high) // 2 if high - low > 1 else None
    return math.sqrt(low * high) if high > low * (1 + STEP) else None
