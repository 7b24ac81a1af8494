"""The set-ups of a chunk, solved: a function of the sweep and the chunk alone, whatever runs it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..fields import first_line, sentence
from ..problem import Problem
from ..row import TYPES
from ..solve import ENDLESS, STAGNATION, solve
from ..solve_many import solve_many
from ..stop import MaxWork, NoImprovement, Stop
from .axes import numbers
from .rows import Coded, Outcomes
from .sweep import Problems, Sweep, replacement

_WORK_PER_SECOND = 1.5e8  # of one thread
_SET_UP_SECONDS, _GROUP_SECONDS = 1e-5, 3e-4  # besides that
_SAMPLE = 16  # set-ups whose work is counted to find the size of chunks
_MOST = 2**16  # set-ups of a chunk, which are in memory together
_GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, are spread evenly

_SET_UP = re.compile(r"^set-up \d+: ")


class Solved(NamedTuple):
    """The rows of a chunk."""

    rows: int
    columns: dict[str, Any]
    outcomes: Outcomes


def solve_chunk(sweep: Sweep, first: int, last: int, threads: int = 1) -> Solved:
    """Solve the set-ups from `first` to before `last`.

    Set-ups that cannot be solved have the status ``"failed"``, and the reason.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C, or a signal that counts as that: the chunk is abandoned.
    """
    outcomes, problems = Outcomes(last - first), Problems(sweep)
    for group in sweep.groups(first, last):
        try:
            problem = problems.of(group.values)
        except (TypeError, ValueError) as error:
            outcomes.fail(group.first - first, group.last - first, first_line(error))
            continue
        changes = sweep.changes(problem, group.first, group.last)
        how = _How(sweep, group.values, threads)
        how.solve(problem, changes, group.first - first, outcomes)
    return Solved(last - first, _set_up_columns(sweep, problems, first, last) | outcomes.columns(), outcomes)


def fail_chunk(sweep: Sweep, first: int, last: int, reason: str) -> Solved:
    """Make the rows of a chunk that could not be solved."""
    outcomes = Outcomes(last - first)
    outcomes.fail(0, last - first, sentence(reason))
    columns = _set_up_columns(sweep, Problems(sweep), first, last) | outcomes.columns()
    return Solved(last - first, columns, outcomes)


class _How:
    """How the set-ups of a group are solved."""

    def __init__(self, sweep: Sweep, values: Mapping[str, Any], threads: int) -> None:
        self._method, self._seed = values.get("method", "exact"), values.get("seed", 0)
        self._work, self._threads = sweep.work, threads

    def solve(self, problem: Problem, changes: Mapping[str, Any], first: int, outcomes: Outcomes) -> None:
        """Solve all set-ups, in one native call if that can; those with an invalid number fail."""
        count = len(next(iter(changes.values())))
        try:
            if self._method in ("exact", "auto"):
                self._solve_together(problem, changes, first, outcomes)
            else:
                for place in range(count):
                    self._solve_one(problem, changes, place, first, outcomes)
        except ValueError as error:
            if count == 1:
                outcomes.fail(first, first + 1, _SET_UP.sub("", first_line(error)))
                return
            for part in (slice(0, count // 2), slice(count // 2, count)):
                half = {name: rows[part] for name, rows in changes.items()}
                self.solve(problem, half, first + part.start, outcomes)

    def _solve_together(
        self, problem: Problem, changes: Mapping[str, Any], first: int, outcomes: Outcomes
    ) -> None:
        results = solve_many(
            problem,
            **changes,
            method=self._method,
            seed=self._seed,
            work=self._work,
            threads=self._threads,
        )
        if results.interrupted:
            raise KeyboardInterrupt
        outcomes.put(first, results)

    def _solve_one(
        self, problem: Problem, changes: Mapping[str, Any], place: int, first: int, outcomes: Outcomes
    ) -> None:
        changed = {name: replacement(name, rows[place]) for name, rows in changes.items()}
        result = solve(
            problem.replace(**changed),
            self._method,
            seed=self._seed,
            stop=self._stop(),
            threads=self._threads,
        )
        if result.interrupted:
            raise KeyboardInterrupt
        outcomes.put_row(first + place, result.to_row())

    def _stop(self) -> Stop | None:
        stagnation = NoImprovement(STAGNATION) if self._method in ENDLESS else None
        if self._work is None:
            return stagnation
        return MaxWork(self._work) if stagnation is None else MaxWork(self._work) | stagnation


def _set_up_columns(sweep: Sweep, problems: Problems, first: int, last: int) -> dict[str, Any]:
    """Return the columns that say what was solved: set-ups, axes, goals, methods."""
    set_ups = np.arange(first, last)
    places = sweep.places(set_ups)
    axes = {
        axis: numbers(values, places[axis])
        for dimension in sweep.dimensions
        for axis, values in dimension.axes.items()
        if sweep.is_number(axis)
    }
    groups = list(sweep.groups(first, last))
    described = [problems.describe(group.values) for group in groups]
    codes = np.repeat(np.arange(len(groups)), [group.last - group.first for group in groups])
    same = {name: Coded([values[name] for values in described], codes) for name in described[0]}
    found = {"set_up": set_ups} | same | axes
    return {name: found[name] for name in (*(name for name in found if name not in TYPES), *_of(found))}


def _of(found: Mapping[str, Any]) -> list[str]:
    """Return the columns of `TYPES` that are known, in their order."""
    return [name for name in TYPES if name in found]


def chunk_size(sweep: Sweep) -> int:
    """Return the number of set-ups of a chunk: the sweep's own, or about a second of one thread's work.

    The second is estimated from the work of a few set-ups, which is the same on every machine.

    Raises
    ------
    ValueError
        None of them can be solved.
    """
    if sweep.chunk is not None:
        return sweep.chunk
    work, tried, errors = 0, 0, []
    while tried < min(_SAMPLE, len(sweep)) and work < _WORK_PER_SECOND:
        tried += 1
        set_up = int(len(sweep) * (tried * _GOLDEN % 1))
        outcomes = solve_chunk(sweep, set_up, set_up + 1).outcomes
        work += outcomes.work
        errors += outcomes.errors
    if len(errors) == tried:
        raise InputError(f"no set-up can be solved: {errors[0]}")
    seconds = work / tried / _WORK_PER_SECOND + _SET_UP_SECONDS + _GROUP_SECONDS / sweep.group_size
    return max(1, min(_MOST, round(1 / seconds)))
