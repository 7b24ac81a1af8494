"""The loop around a native search: its steps, progress, history and checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from . import _core
from .checkpoint import Checkpoint, Moment
from .islands import AnySearch
from .log import log_progress
from .plan_cost import explained
from .problem import Problem
from .progress import Progress
from .result import in_objective_unit
from .stop import Stop

T = TypeVar("T")
_NEWS = 0.01  # part of the gap that the bound alone closes between two entries of the history


def run_search(
    problem: Problem,
    search: AnySearch,
    stop: Stop | None,
    callback: Callable[[Progress], object] | None,
    began: float | None = None,
    keeper: Checkpoint | None = None,
    saved: Moment | None = None,
) -> tuple[Progress, list[Progress], BaseException | None]:
    """Step until the search ends; return the last progress, the improvements, and what ended it early.

    A search that was restored goes on from what was `saved`; `keeper` takes its state after steps.
    """
    if began is None:
        began = time.perf_counter()
    seconds = deadline(stop)
    history: list[Progress] = [] if saved is None else list(saved.history)
    progress = None if saved is None else saved.progress
    if progress is None and search.evaluations:  # the first population
        progress = _progress(problem, search, 0, None, began)
        history.append(progress)
    settled = False  # whether the search is between two steps, the last of which was not stopped
    try:
        while progress is None or not (search.done or (stop is not None and stop(progress))):
            settled, stopped = False, False
            try:
                with _core.StopAfter(seconds - (time.perf_counter() - began)), explained(problem.plan_cost):
                    search.step()
            except _core.Stopped:
                search.ensure_best()
                stopped = True
            progress = _next(problem, search, progress, history, began)
            settled = not stopped
            if keeper is not None and settled:
                keeper.update(search, progress, history)
            log_progress(progress)
            if callback is not None:
                callback(progress)
    except (KeyboardInterrupt, Exception) as error:
        if search.work > (progress.work if progress else 0):  # during or after a step, which counts
            search.ensure_best()
        if search.evaluations > (progress.evaluations if progress else 0):  # after a step, which counts
            progress = _next(problem, search, progress, history, began)
        if progress is None:
            raise
        ended_by: BaseException | None = error
    else:
        ended_by = None
    if keeper is not None and settled:
        _, ended_by = finish(partial(keeper.take, search, progress, history), ended_by)
    return progress, history, ended_by


def _next(
    problem: Problem, search: AnySearch, last: Progress | None, history: list[Progress], began: float
) -> Progress:
    """Return the progress after a step; it joins the history if it says something new."""
    progress = _progress(problem, search, last.generation + 1 if last else 1, last, began)
    if not history or progress.stagnation == 0 or bound_improved(progress, history[-1]):
        history.append(progress)
    return progress


def bound_improved(now: Progress, before: Progress) -> bool:
    """Whether the bound alone has closed a part of the gap that was left, or made one known."""
    if math.isfinite(before.gap):
        return now.gap < before.gap * (1 - _NEWS)
    if math.isfinite(now.gap):
        return True
    least, most = sorted((before.bound, now.bound))
    return most > max(least, least * (1 + _NEWS))  # that of a plan cost may be negative


def finish(work: Callable[[], T], ended_by: BaseException | None) -> tuple[T, BaseException | None]:
    """Do short work after a search, again if Ctrl-C interrupts it; also return what ended the search."""
    try:
        return work(), ended_by
    except KeyboardInterrupt as interrupt:
        return work(), ended_by or interrupt


def deadline(stop: Stop | None) -> float:
    """Return the runtime in seconds at which to stop, also within a step."""
    return stop.seconds if isinstance(stop, Stop) else math.inf


def _progress(
    problem: Problem, search: AnySearch, generation: int, last: Progress | None, began: float
) -> Progress:
    score, plan_cost = _best_score(problem, search)
    throughput = 1 / score.time if score.time > 0 else math.inf
    now = (score.cost, throughput, score.violation, plan_cost)
    same = last is not None and (last.cost, last.throughput, last.violation, last.plan_cost) == now
    return Progress(
        generation=generation,
        stagnation=last.stagnation + generation - last.generation if last is not None and same else 0,
        evaluations=search.evaluations,
        work=search.work,
        runtime=time.perf_counter() - began,
        cost=score.cost,
        throughput=throughput,
        price=score.price,
        violation=score.violation,
        bound=_bound_so_far(problem, search, last),
        objective=problem.goal.objective,
        problem=problem,
        scheme=last.scheme if last is not None and same else _best_scheme(search),
        plan_cost=plan_cost,
    )


def _best_score(problem: Problem, search: AnySearch) -> tuple[_core.Score, float | None]:
    """Score the best scheme; the search itself has a plan cost in the place of the objective."""
    if problem.plan_cost is None:
        return search.best_score, None
    with explained(problem.plan_cost):
        return problem.scorer(None).score_plan(search.best)


def _best_scheme(search: AnySearch) -> npt.NDArray[np.int8]:
    scheme = search.best
    scheme.flags.writeable = False
    return scheme


def _bound_so_far(problem: Problem, search: AnySearch, last: Progress | None) -> float:
    """Bound that is known without further work, in the unit of the objective.

    That of placements takes long, and is left to the end of the search; a front has a bound for each point.
    """
    if problem.plan_cost is not None:
        return search.bound
    if problem.goal.merge == "type":
        known = search.done and isinstance(search, (_core.Auto, _core.Enumeration))
    elif type(search) in (_core.Auto, _core.Exact, _core.OptionSearch):  # whose steps raise it
        known = True
    else:
        known = not isinstance(search, _core.Exact) and (last is None or search.done)
    if known:
        return in_objective_unit(problem, search.bound)
    return in_objective_unit(problem, 0.0) if last is None else last.bound
