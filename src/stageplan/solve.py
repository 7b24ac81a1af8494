"""Search for the best plan."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import _core
from ._version import __version__
from .checks import check_choice, check_number, count_threads
from .plan import Plan
from .problem import Problem, check_problem
from .score import as_schemes
from .stop import NoImprovement, Progress, Stop

Method = Literal["genetic", "greedy", "random", "enumerate"]
Status = Literal["optimal", "feasible", "infeasible", "unknown"]
METHODS: tuple[Method, ...] = ("genetic", "greedy", "random", "enumerate")


@dataclass(frozen=True)
class Result:
    """What a search found.

    Attributes
    ----------
    plan : Plan
        The best plan, exactly provisioned.
    status : str
        ``"optimal"`` (proven), ``"feasible"``, ``"infeasible"`` (proven: no plan meets all limits) or
        ``"unknown"`` (no feasible plan found, none excluded).
    evaluations, generations : int
        Schemes scored, steps of the search.
    history : tuple of Progress
        The progress at each improvement.
    runtime : float
        Seconds.
    interrupted : bool
        Whether Ctrl-C ended the search early.
    method, seed, version, instruction_set
        What produced it.
    """

    plan: Plan
    status: Status
    evaluations: int
    generations: int
    history: tuple[Progress, ...]
    runtime: float
    interrupted: bool
    method: Method
    seed: int
    version: str
    instruction_set: str

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values, for JSON."""
        search = {
            name: getattr(self, name)
            for name in (
                "method", "seed", "status", "evaluations", "generations",
                "runtime", "interrupted", "version", "instruction_set",
            )
        }  # fmt: skip
        history = [p._asdict() for p in self.history]
        return self.plan.to_dict() | {"search": search | {"history": history}}

    def __str__(self) -> str:
        how = " (interrupted)" if self.interrupted else ""
        return (
            f"{self.plan}\n{self.status}; {self.method}, seed {self.seed}: "
            f"{self.evaluations:,} schemes scored in {self.generations:,} generations{how}"
        )


def solve(
    problem: Problem,
    method: Method = "genetic",
    *,
    seed: int = 0,
    stop: Stop | None = None,
    callback: Callable[[Progress], object] | None = None,
    initial: npt.NDArray[np.int8] | None = None,
    population: int = 256,
    threads: int | None = None,
) -> Result:
    """Find the best plan.

    Parameters
    ----------
    problem
        The problem.
    method
        ``"genetic"``; ``"greedy"``: local search from a plan that is built layer by layer; ``"random"``;
        ``"enumerate"``: every scheme, up to 16,777,216 of them.
    seed
        The same seed gives the same result.
    stop
        Criteria of `stageplan.stop`, combined with ``|``; default ``NoImprovement(200)`` for genetic and
        random. Greedy and enumerate end by themselves as well.
    callback
        Called with the `Progress` after each generation.
    initial : ndarray of int8, shape (n, L), optional
        Schemes to begin with, such as an earlier result's; genetic only.
    population
        How many schemes a generation has; genetic only.
    threads
        Threads to use, by default as many cores as the process may use. The result is the same with any.

    Returns
    -------
    Result
        Also after Ctrl-C, with the best plan so far.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, the value and what is allowed.
    """
    for name, value in (("stop", stop), ("callback", callback)):
        if value is not None and not callable(value):
            raise TypeError(f"{name} is {value!r}; it must be callable")
    search = _make_search(problem, method, seed, population, count_threads(threads), initial)
    if stop is None and method in ("genetic", "random"):
        stop = NoImprovement(200)
    progress, history, interrupted = _run(problem, search, stop, callback)
    plan = Plan.of(problem, search.best)
    return Result(
        plan=plan,
        status=_status(plan, proven=method == "enumerate" and search.done),
        evaluations=search.evaluations,
        generations=progress.generation,
        history=tuple(history),
        runtime=progress.runtime,
        interrupted=interrupted,
        method=method,
        seed=int(seed),
        version=__version__,
        instruction_set=_core.instruction_set(),
    )


def _make_search(
    problem: Problem,
    method: Method,
    seed: int,
    population: int,
    threads: int,
    initial: npt.NDArray[np.int8] | None,
) -> _core.Search:
    check_problem(problem)
    check_choice("method", method, METHODS)
    check_number("seed", seed, least=0, most=2**64 - 1, whole=True)
    check_number("population", population, least=2, most=2**31 - 1, whole=True)
    if initial is not None and method != "genetic":
        raise ValueError(f"initial is given with method {method!r}; it must go with 'genetic'")
    if method == "genetic":
        schemes = np.empty((0, problem.n_layers), np.int8) if initial is None else initial
        search = _core.Annealing if problem.goal.merge == "type" else _core.Genetic
        return search(problem.core, population, seed, threads, as_schemes(problem, schemes, "initial"))
    if method == "random":
        return _core.RandomSearch(problem.core, seed, threads)
    if method == "greedy":
        return _core.GreedySearch(problem.core)
    return _core.Enumeration(problem.core, threads)


def _run(
    problem: Problem,
    search: _core.Search,
    stop: Stop | None,
    callback: Callable[[Progress], object] | None,
) -> tuple[Progress, list[Progress], bool]:
    """Step until it is over; returns the last progress, those that improved, and whether Ctrl-C came."""
    began = time.perf_counter()
    history: list[Progress] = []
    generation = 0
    if search.evaluations:  # of the first population
        history.append(_look(problem, search, generation, history, began))
    progress = history[-1] if history else None
    try:
        while progress is None or not (search.done or (stop is not None and stop(progress))):
            search.step()
            generation += 1
            progress = _look(problem, search, generation, history, began)
            if progress.stagnation == 0:
                history.append(progress)
            if callback is not None:
                callback(progress)
    except KeyboardInterrupt:
        if progress is None:
            raise
        return progress, history, True
    return progress, history, False


def _look(
    problem: Problem, search: _core.Search, generation: int, history: list[Progress], began: float
) -> Progress:
    score = search.best_score
    throughput = 1 / score.time if score.time > 0 else math.inf
    now = (score.cost, throughput, score.violation)
    last = history[-1] if history else None
    same = last is not None and (last.cost, last.throughput, last.violation) == now
    return Progress(
        generation=generation,
        stagnation=generation - last.generation if last is not None and same else 0,
        evaluations=search.evaluations,
        runtime=time.perf_counter() - began,
        cost=score.cost,
        throughput=throughput,
        violation=score.violation,
        objective=problem.goal.objective,
    )


def _status(plan: Plan, proven: bool) -> Status:
    if plan.feasible:
        return "optimal" if proven else "feasible"
    return "infeasible" if proven else "unknown"
