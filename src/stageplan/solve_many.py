"""Solve many set-ups, of one problem or of several, in one call."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import _core
from ._version import __version__
from .arguments import as_floats, check_choice, check_number, count_threads
from .errors import InputError
from .plan import Plan
from .plan_cost import refuse_plan_cost
from .problem import Problem, check_problem
from .progress import Progress
from .result import Result, optimal_status
from .solve import POPULATION, STAGNATION

Floats = npt.NDArray[np.float64]
Method = Literal["exact", "auto"]

_BY_TYPE = ("price", "limit", "capacity")
_ABSENT = {"min_throughput": 0.0, "max_duration": math.inf, "max_cost": math.inf, "max_price": math.inf}
_COLUMNS = {
    "cost": np.float64, "time": np.float64, "price": np.float64, "violation": np.float64, "bound": np.float64,
    "stages": np.int32, "devices": np.int64, "evaluations": np.uint64, "generations": np.uint64,
    "work": np.uint64, "solved": np.uint8,
}  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class Results(Sequence[Result]):
    """Outcomes of `solve_many`, one row per set-up; ``results[i]`` makes the `Result` of set-up i.

    Attributes
    ----------
    objective : ndarray of float64, shape (N,)
        Of the best plan: $, examples/s with objective throughput, $/hour with objective price.
    bound, gap : ndarray of float64, shape (N,)
        As in `Result`.
    status : ndarray of str, shape (N,)
        As in `Result`; ``""`` if the set-up was not solved because the call was interrupted.
    cost, throughput, price, violation : ndarray of float64, shape (N,)
        $, examples/s and $/hour of the best plan, and the sum of its relative excesses over the limits.
    stages : ndarray of int32, shape (N,)
        Number of stages of the best plan.
    devices : ndarray of int64, shape (N,)
        Its devices, over all stages.
    evaluations, generations, work : ndarray of uint64, shape (N,)
        Schemes scored, steps of the search, and work as in `Progress`.
    schemes : ndarray of int8, shape (N, L)
        The best schemes; L is the largest number of layers, rows of problems with fewer end with -1.
    solved : ndarray of bool, shape (N,)
        Which set-ups were solved: all, unless the call was interrupted.
    problems : tuple of Problem
        What the set-ups are variants of: one problem, or one per set-up.
    changes : dict of str to ndarray
        What differs between set-ups: arrays of shape (N, T) and (N,).
    method, seed, runtime, interrupted
        As in `Result`; `runtime` is that of the whole call.
    """

    objective: Floats
    bound: Floats
    gap: Floats
    status: npt.NDArray[np.str_]
    cost: Floats
    throughput: Floats
    price: Floats
    violation: Floats
    stages: npt.NDArray[np.int32]
    devices: npt.NDArray[np.int64]
    evaluations: npt.NDArray[np.uint64]
    generations: npt.NDArray[np.uint64]
    work: npt.NDArray[np.uint64]
    schemes: npt.NDArray[np.int8]
    solved: npt.NDArray[np.bool_]
    problems: tuple[Problem, ...]
    changes: dict[str, Floats]
    method: Method
    seed: int
    runtime: float
    interrupted: bool

    def __len__(self) -> int:
        return len(self.cost)

    def __repr__(self) -> str:
        names, counts = np.unique(self.status, return_counts=True)
        rows = sorted(zip(counts.tolist(), names.tolist(), strict=True), reverse=True)
        statuses = ", ".join(f"{count:,} {name or 'not solved'}" for count, name in rows)
        ended = " (interrupted)" if self.interrupted else ""
        return f"{len(self):,} set-ups: {statuses}; {self.method}, seed {self.seed}{ended}"

    def __iter__(self) -> Iterator[Result]:
        return (self[i] for i in range(len(self)))

    def problem_of(self, index: int) -> Problem:
        """Return the problem of one set-up."""
        problem = self.problems[0 if len(self.problems) == 1 else index]
        return problem.replace(**{name: _value(name, rows[index]) for name, rows in self.changes.items()})

    def __getitem__(self, index: Any) -> Any:
        i = range(len(self))[index]
        if not isinstance(i, int):
            return [self[j] for j in i]
        if not self.solved[i]:
            raise InputError(f"set-up {i} was not solved: the call was interrupted before")
        problem = self.problem_of(i)
        plan = Plan.of(problem, self.schemes[i, : problem.n_layers])
        progress = Progress(
            generation=int(self.generations[i]),
            stagnation=0,
            evaluations=int(self.evaluations[i]),
            work=int(self.work[i]),
            runtime=self.runtime,
            cost=plan.cost,
            throughput=plan.throughput,
            price=plan.price,
            violation=plan.violation,
            bound=float(self.bound[i]),
            objective=plan.problem.goal.objective,
            problem=plan.problem,
            scheme=plan.scheme,
        )
        return Result(
            plan=plan,
            status=self.status[i].item(),
            bound=float(self.bound[i]),
            gap=float(self.gap[i]),
            evaluations=progress.evaluations,
            generations=progress.generation,
            work=progress.work,
            history=(progress,),
            runtime=self.runtime,
            interrupted=False,
            method=self.method,
            seed=self.seed,
            version=__version__,
            instruction_set=_core.instruction_set(),
        )


def solve_many(
    problems: Problem | Sequence[Problem],
    *,
    price: npt.ArrayLike | None = None,
    limit: npt.ArrayLike | None = None,
    capacity: npt.ArrayLike | None = None,
    min_throughput: npt.ArrayLike | None = None,
    max_duration: npt.ArrayLike | None = None,
    max_cost: npt.ArrayLike | None = None,
    max_price: npt.ArrayLike | None = None,
    examples: npt.ArrayLike | None = None,
    fixed_price: npt.ArrayLike | None = None,
    method: Method = "exact",
    seed: int = 0,
    work: int | None = None,
    max_runtime: float | None = None,
    threads: int | None = None,
) -> Results:
    """Solve N set-ups that differ in prices, limits or goals, or in all, natively on all threads.

    Each set-up is solved as by `solve`, by one thread, so that the results do not depend on `threads`.

    Parameters
    ----------
    problems
        What the set-ups are variants of: one problem, or a sequence of N, one per set-up, which may differ in
        layers, device types and everything else.
    price, limit, capacity : array_like, shape (N, T) or (T,), optional
        As in `Problem.from_arrays`, by set-up; inf: no limit. An array of shape (T,) holds for all set-ups.
        With several problems, all must have T device types.
    min_throughput, max_duration, max_cost, max_price, examples, fixed_price : array_like, shape (N,) or ()
        As in `Goal` and `Problem.from_arrays`, by set-up; 0 for no `min_throughput`, inf for no maximum.
    method
        ``"exact"``, or ``"auto"`` with the same stopping rule as in `solve`.
    seed
        The same for all set-ups.
    work
        Work on each set-up, as in `Progress`, after which its search ends with the best plan so far; absent:
        no limit.
    max_runtime
        Seconds after which the whole call ends; set-ups that are not complete then are not `solved`. So does
        Ctrl-C.
    threads
        Number of threads, by default all available cores.

    Returns
    -------
    Results

    Raises
    ------
    ValueError, TypeError
        Naming the argument or the set-up, the value and what is allowed.

    Examples
    --------
    >>> import stageplan as sp
    >>> problem = sp.Problem.from_arrays(
    ...     compute=[[4.0, 1.0], [2.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0], limit=[2, 2], examples=3600,
    ... )
    >>> results = sp.solve_many(problem, min_throughput=[0.1, 0.5, 5.0], price=[1.0, 2.5])
    >>> results
    3 set-ups: 2 optimal, 1 infeasible; exact, seed 0
    >>> results.status.tolist(), results.objective[:2].tolist()
    (['optimal', 'optimal', 'infeasible'], [6.0, 6.0])
    >>> results[1].plan.scheme
    array([1, 1, 0], dtype=int8)

    Of several problems:

    >>> short = sp.Problem.from_arrays(compute=[[1.0]], price=[2.0], examples=3600)
    >>> sp.solve_many([problem, short], min_throughput=[0.5, 2.0]).schemes
    array([[ 1,  1,  0],
           [ 0, -1, -1]], dtype=int8)
    """
    alone = isinstance(problems, Problem)
    given_problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
    for problem in given_problems:
        check_problem(problem)
        refuse_plan_cost(problem, "solve_many compares plans by the objective")
    check_choice("method", method, ("exact", "auto"))
    check_number("seed", seed, minimum=0, maximum=2**64 - 1, whole=True)
    if work is not None:
        check_number("work", work, minimum=1, maximum=2**63, whole=True)
    if max_runtime is not None:
        check_number("max_runtime", max_runtime, minimum=0)
    given = {
        "price": price, "limit": limit, "capacity": capacity, "min_throughput": min_throughput,
        "max_duration": max_duration, "max_cost": max_cost, "max_price": max_price, "examples": examples,
        "fixed_price": fixed_price,
    }  # fmt: skip
    arrays = {name: as_floats(name, value) for name, value in given.items() if value is not None}
    count = _common_count(arrays) if alone else len(given_problems)
    changes = _rows(arrays, count, given_problems)
    rows = {name: np.zeros(count, dtype) for name, dtype in _COLUMNS.items()}
    n_layers = max((problem.n_layers for problem in given_problems), default=0)
    rows["schemes"] = np.full((count, n_layers), -1, np.int8)
    began, interrupted, threads = time.perf_counter(), False, count_threads(threads)
    try:
        with _core.StopAfter(math.inf if max_runtime is None else max_runtime):
            _core.solve_many(
                [problem.core for problem in given_problems], changes, count, method == "exact", POPULATION,
                seed, 2**64 - 1 if work is None else work, STAGNATION, threads, rows,
            )  # fmt: skip
    except (KeyboardInterrupt, _core.Stopped):
        interrupted = True
    runtime = time.perf_counter() - began
    return _results(given_problems, changes, rows, method, seed, runtime, interrupted)


def _common_count(arrays: dict[str, Floats]) -> int:
    """Return the number of set-ups that the arrays agree on."""
    many = {
        name: len(array) for name, array in arrays.items() if array.ndim == (2 if name in _BY_TYPE else 1)
    }
    if not many:
        raise InputError("no argument differs between set-ups; one must have an entry or a row per set-up")
    (first, count), *others = many.items()
    for name, other in others:
        if other != count:
            raise InputError(f"{name} is of {other} set-ups; it must be of {count}, as {first} is")
    return count


def _rows(arrays: dict[str, Floats], count: int, problems: Sequence[Problem]) -> dict[str, Floats]:
    """Give each changed array its shape (N, T) or (N,)."""
    rows = {}
    types = {problem.n_types for problem in problems}
    for name, array in arrays.items():
        if name in _BY_TYPE and len(types) > 1:
            raise InputError(
                f"{name} is given for problems of {' and '.join(map(str, sorted(types)))} device types; "
                "all must have the same number"
            )
        shape = (count, *types) if name in _BY_TYPE else (count,)
        if array.shape not in (shape, shape[1:]):
            raise InputError(f"{name} has shape {array.shape}; it must be {shape} or {shape[1:]}")
        if name in _ABSENT and np.any(array < 0):
            raise InputError(f"{name} has a number below 0; all must be 0 or more")
        rows[name] = np.ascontiguousarray(np.broadcast_to(array, shape))
    return rows


def _value(name: str, row: Any) -> Any:
    """Return a row as what `Problem.replace` takes."""
    return None if name in _ABSENT and row == _ABSENT[name] else row if name in _BY_TYPE else float(row)


def _results(
    problems: tuple[Problem, ...],
    changes: dict[str, Floats],
    rows: dict[str, Any],
    method: Method,
    seed: int,
    runtime: float,
    interrupted: bool,
) -> Results:
    solved = rows.pop("solved").astype(bool)
    time_ = rows.pop("time")
    throughput = np.divide(1.0, time_, out=np.full(len(time_), math.inf), where=time_ > 0)
    feasible = solved & (rows["violation"] == 0)
    goals = np.array([problem.goal.objective for problem in problems], dtype=str)  # of one or all set-ups
    fastest = np.broadcast_to(goals == "throughput", time_.shape)
    objective = np.where(fastest, time_, np.where(goals == "cost", rows["cost"], rows["price"]))
    bound = rows.pop("bound")
    gap = np.full(len(bound), math.inf)
    np.divide(objective, bound, out=gap, where=feasible & (bound > 0))
    gap = np.where(feasible & (objective <= bound * (1 + _core.TIE)), 0.0, gap - 1)
    order = [optimal_status(problem).removeprefix("optimal") for problem in problems]
    optimal, infeasible = (
        np.array([name + suffix for suffix in order]) for name in ("optimal", "infeasible")
    )
    status = np.select(
        [~solved, feasible & (gap == 0), feasible, np.isinf(bound)],
        ["", optimal, "feasible", infeasible],
        "unknown",
    )
    objective = np.where(fastest, throughput, objective)
    bound[fastest] = np.divide(1.0, bound, out=np.full(len(bound), math.inf), where=bound > 0)[fastest]
    return Results(
        objective=objective,
        bound=bound,
        gap=gap,
        status=status,
        throughput=throughput,
        solved=solved,
        problems=problems,
        changes=changes,
        method=method,
        seed=seed,
        runtime=runtime,
        interrupted=interrupted,
        **rows,
    )
