"""Search for the best plan."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from . import _core
from ._version import __version__
from .arguments import check_choice, check_number, count_threads
from .checkpoint import Checkpoint, Run
from .digest import digest, digest_of
from .engines import Engine, check_engine
from .errors import InputError, InputTypeError
from .fields import show
from .goal import labelling
from .islands import AnySearch, Islands
from .learning.policy import CELLS, Cell, Policy
from .plan import Plan
from .plan_cost import explained, refuse_plan_cost
from .problem import Problem, check_problem
from .progress import Progress
from .result import Method, Result, gap_of, in_objective_unit, status_of
from .score import as_schemes
from .search_loop import deadline, finish, run_search
from .stop import MaxRuntime, NoImprovement, Stop

Accept = Literal["best", "incumbent"]
METHODS: tuple[Method, ...] = (
    "auto", "exact", "genetic", "reinforce", "annealing", "greedy", "random", "enumerate",
)  # fmt: skip
ENDLESS = ("auto", "genetic", "reinforce", "annealing", "random")  # may never be complete
SEEDED: tuple[Method, ...] = (
    "auto",
    "exact",
    "genetic",
    "reinforce",
    "annealing",
)  # may start from schemes
ACCEPT: tuple[Accept, ...] = ("best", "incumbent")

POPULATION, _EPISODES = 256, 32  # per generation, by default
STAGNATION = 200  # generations without a better plan after which endless methods stop, by default
_EPOCHS, _MAX_ISLANDS = 4, 2**16  # the same of islands
_MAX_EPISODES = 2**16  # the state of the network at each layer of each episode is stored

_RELAXATION_WORK = 1 << 22  # work of the exact method for first schemes
# Work of the exact method for the bound of another search, per scheme that this scored: a few per cent more.
_BOUND_WORK, _BOUND_WORK_PER_LAYER = 0.25, 0.4
_FEW_SCHEMES = 1 << 16  # that auto enumerates where nothing else proves anything
_WITHOUT_PLAN_COST = {
    "exact": "method 'exact' bounds cost, time and price, and knows no bound of it; use 'enumerate', which "
    "compares all of at most 16,777,216 schemes, or 'genetic'; or for a bound of the objective",
    "annealing": "method 'annealing' searches by cost, time and price; use 'genetic', 'reinforce' or "
    "'random'; or for the objective",
}
LATE = 0.1  # seconds for the bound after the search ran out of time


Initial = Result | Plan | npt.NDArray[np.int8] | Literal["relaxation"]


def solve(
    problem: Problem,
    method: Method = "auto",
    *,
    seed: int = 0,
    stop: Stop | None = None,
    callback: Callable[[Progress], object] | None = None,
    initial: Initial | None = None,
    population: int | None = None,
    threads: int | None = None,
    cell: Cell | None = None,
    policy: Policy | None = None,
    accept: Accept | None = None,
    islands: int | None = None,
    executor: Engine = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 60.0,
) -> Result:
    """Find the best plan.

    Parameters
    ----------
    problem
        The problem.
    method
        ``"auto"``: exact for about a second of work, then genetic from the plans found by then;
        ``"exact"``: branch and bound until a plan is proven optimal, or the problem infeasible;
        ``"genetic"``; ``"reinforce"``: a recurrent policy chooses a device type for each layer in turn and is
        trained by the reward of its plans; local search improves the best of them (except with merge
        ``"type"`` or more than about 2,000 layers); ``"annealing"``: only with merge ``"type"``;
        ``"greedy"``: local search from a plan that is built layer by layer; ``"random"``; ``"enumerate"``:
        all schemes, up to 16,777,216. With merge ``"type"``, stages are not intervals of layers: only
        enumerate is exact, and method exact is not available; auto enumerates small problems, and otherwise
        anneals from the best plan whose stages are intervals. With a `plan_cost` neither exact nor annealing
        is available; auto enumerates up to 65,536 schemes, and otherwise is the genetic search.
    seed
        The same seed gives the same result.
    stop
        Criteria of `stageplan.stop`, combined with ``|``; default ``NoImprovement(200)`` for auto,
        genetic, reinforce, annealing and random. Exact, greedy and enumerate, and auto with a proof, also
        stop when they are complete.
    callback
        Called with the `Progress` after each generation.
    initial : Result, Plan, ndarray of int8, shape (n, L) or (L,), or "relaxation", optional
        What to start from: an earlier result, a plan for the same device types, schemes or one scheme; auto,
        exact, genetic, reinforce and annealing only. ``"relaxation"``: schemes from a short run of the exact
        method.
    population
        Schemes per generation, by default 256; with reinforce, episodes per generation, by default 32, at
        most 65,536; with annealing, moves per generation and walk, for every few layers, by default 256.
        Other methods ignore it.
    threads
        Number of threads, by default all available cores. The result does not depend on it.
    cell
        Recurrent cell of the policy: ``"lstm"``, the default, or ``"rnn"``; reinforce only.
    policy
        A policy to continue from, for the same device types; reinforce only. On the problem that it was last
        trained on, with the same seed and population, the search continues exactly where it ended. On another
        problem it starts from the policy's weights and, if the number of layers is the same, from the best
        schemes found before.
    accept
        Reinforce only. ``"best"``, the default: return the best plan by the goal's objective.
        ``"incumbent"``: a plan replaces the incumbent if it meets every limit, including the cost threshold
        ``max_cost``, and has a shorter duration. The last incumbent is returned: of all plans evaluated that
        meet the limits, it has the shortest duration; its problem has objective ``"throughput"``. If no plan
        meets the limits, the one with the smallest violation is returned.
    islands
        Genetic only: number of searches that evolve apart, each with its population, and pass their best
        schemes on in a ring. A generation is then an epoch of all of them, about a second of work of each or
        less, and the default of `stop` is ``NoImprovement(4)``. The result depends on their number, and not
        on what runs them.
    executor
        What runs the epochs of islands: an executor of `concurrent.futures`, such as that of mpi4py, a client
        of Dask, or a function like `map`. Default: threads of this process. An epoch that was begun is not
        ended early, except on one thread.
    checkpoint
        A file that keeps the state of the search. If it exists, the search continues from it, and ends with
        the same plan, bound and counts as if it had never been ended, on any number of threads; the runtime
        is that of all parts. ``stageplan docs long-runs`` says more.
    checkpoint_every
        Seconds between two writes of that file. It is also written when the search ends, for whatever reason.

    Returns
    -------
    Result
        Also after Ctrl-C, with the best plan so far.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, the value and what is allowed. ValueError also if `checkpoint` is damaged, or of
        another search: of another problem, method, seed, population, policy or `initial`; or if another
        search is using it.
    OSError
        The checkpoint cannot be read, or, after the search, not written; then the error's attribute
        ``result`` is the `Result`.
    Exception
        Any error raised by `callback` or `stop`; its attribute ``result`` is the `Result` with the best plan
        so far.

    Examples
    --------
    >>> import stageplan as sp
    >>> problem = sp.Problem.from_arrays(
    ...     compute=[[4.0, 1.0], [2.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0], limit=[2, 2],
    ...     min_throughput=0.5, examples=3600,
    ... )
    >>> result = sp.solve(problem)
    >>> result.status, result.plan.cost, result.bound
    ('optimal', 7.0, 7.0)
    >>> [(stage.type, stage.layers, stage.devices) for stage in result.plan.stages]
    [('type1', (0, 1), 2), ('type0', (2,), 1)]

    Another method, with a seed, a stopping criterion, and an earlier plan to start from:

    >>> again = sp.solve(problem, "genetic", seed=1, stop=sp.MaxGenerations(5), initial=result)
    >>> again.plan == result.plan
    True

    A search that continues where an earlier one was ended:

    >>> first = sp.solve(problem, "genetic", stop=sp.MaxGenerations(5), checkpoint="run.ckpt")
    >>> later = sp.solve(problem, "genetic", stop=sp.MaxGenerations(9), checkpoint="run.ckpt")
    >>> (first.generations, later.generations)
    (5, 9)
    """
    for name, value in (("stop", stop), ("callback", callback)):
        if value is not None and not callable(value):
            raise InputTypeError(f"{name} is {show(value)}; it must be callable")
    check_problem(problem)
    check_choice("method", method, METHODS)
    if method in ("exact", "annealing"):
        refuse_plan_cost(problem, _WITHOUT_PLAN_COST[method])
    _check_only_reinforce(method, cell=cell, policy=policy, accept=accept)
    if accept == "incumbent":
        problem = _with_shortest_duration(problem)
    _check_islands(method, islands, executor)
    check_number("seed", seed, minimum=0, maximum=2**64 - 1, whole=True)
    population = _population(method, population)
    if stop is None and method in ENDLESS:
        stop = NoImprovement(STAGNATION if islands is None else _EPOCHS)
    began = time.perf_counter()
    with ExitStack() as files:
        keeper = saved = None
        if checkpoint is not None:
            run = _run_of(problem, method, seed, population, initial, cell, policy, islands)
            keeper = Checkpoint(checkpoint, checkpoint_every, run)
            files.enter_context(keeper.alone())
            saved = keeper.read(problem)
        if saved is not None:
            began -= saved.progress.runtime
        seconds, early = deadline(stop), None
        try:
            with _core.StopAfter(seconds if saved is None else math.inf), explained(problem.plan_cost):
                search = _make_search(
                    problem, method, seed, population, count_threads(threads), initial, cell, policy, islands,
                    executor,
                )  # fmt: skip
                if keeper is not None and saved is not None:
                    keeper.restore(search, saved)
        except (_core.Stopped, KeyboardInterrupt) as error:
            search, keeper = _core.RandomSearch(problem.core, 0, 1), None  # which has scored nothing
            if isinstance(error, KeyboardInterrupt):
                stop, early = MaxRuntime(0), error
        progress, history, ended_by = run_search(problem, search, stop, callback, began, keeper, saved)
        ended_by = ended_by or early
        if keeper is not None:
            try:
                _, ended_by = finish(keeper.finish, ended_by)
            except OSError as error:
                ended_by = ended_by if isinstance(ended_by, Exception) else error
    late = ended_by is not None or progress.runtime >= seconds
    try:
        bound = _lower_bound(problem, search, LATE if late else math.inf)
    except KeyboardInterrupt as interrupt:
        bound, ended_by = _no_bound(problem), ended_by or interrupt
    result, ended_by = finish(
        lambda: _result(problem, method, int(seed), search, progress, history, bound), ended_by
    )
    if isinstance(ended_by, KeyboardInterrupt):
        result = replace(result, interrupted=True)
    if isinstance(ended_by, Exception):
        raise with_result(ended_by, result)
    return result


def _result(
    problem: Problem,
    method: Method,
    seed: int,
    search: AnySearch,
    progress: Progress,
    history: list[Progress],
    bound: float,
) -> Result:
    """Describe the outcome of a search."""
    plan = Plan.of(problem, search.best)
    gap = gap_of(plan, bound)
    return Result(
        plan=plan,
        status=status_of(plan, bound, gap),
        bound=in_objective_unit(problem, bound),
        gap=gap,
        evaluations=search.evaluations,
        generations=progress.generation,
        work=progress.work,
        history=tuple(history),
        runtime=progress.runtime,
        interrupted=False,
        method=method,
        seed=seed,
        version=__version__,
        instruction_set=_core.instruction_set(),
        policy=Policy.of(problem, search, seed) if isinstance(search, _core.Reinforce) else None,
    )


def with_result(error: Exception, result: object) -> Exception:
    """Attach the best result so far to an error, as its attribute ``result``."""
    note = "The best result so far is this error's attribute `result`."
    error.result = result  # type: ignore[attr-defined]
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)
    return error


def _check_only_reinforce(method: Method, *, cell: object, policy: object, accept: object) -> None:
    for name, value in (("cell", cell), ("policy", policy), ("accept", accept)):
        if value is not None and method != "reinforce":
            raise InputError(f"{name} is given with method {method!r}; it requires method 'reinforce'")
    if cell is not None:
        check_choice("cell", cell, CELLS)
    if accept is not None:
        check_choice("accept", accept, ACCEPT)
    if policy is not None and not isinstance(policy, Policy):
        raise InputTypeError(f"policy is {type(policy).__name__}; it must be a Policy")
    if policy is not None and cell not in (None, policy.cell):
        raise InputError(f"cell is {cell!r}; it must be that of the policy, {policy.cell!r}")


def _check_islands(method: Method, islands: int | None, executor: Engine) -> None:
    check_engine(executor)
    if islands is None:
        if executor is not None:
            raise InputError("executor is given without islands; their number must be given")
        return
    if method != "genetic":
        raise InputError(f"islands is given with method {method!r}; it requires method 'genetic'")
    check_number("islands", islands, minimum=1, maximum=_MAX_ISLANDS, whole=True)


def _with_shortest_duration(problem: Problem) -> Problem:
    """Return the problem whose optimal plan has the shortest duration within the limits."""
    refuse_plan_cost(problem, "accept 'incumbent' compares plans by their duration")
    if problem.goal.max_cost is None:
        raise InputError("accept is 'incumbent' without max_cost; the goal must have this threshold")
    try:
        return problem.replace(objective="throughput")
    except ValueError as error:
        raise InputError(f"accept is 'incumbent', as if {error}") from None


def _population(method: Method, population: int | None) -> int:
    """Return the schemes of a generation, after a check."""
    if population is None:
        return _EPISODES if method == "reinforce" else POPULATION
    maximum = _MAX_EPISODES if method == "reinforce" else 2**31 - 1
    check_number("population", population, minimum=2, maximum=maximum, whole=True)
    return population


def _run_of(
    problem: Problem,
    method: Method,
    seed: int,
    population: int,
    initial: Initial | None,
    cell: Cell | None,
    policy: Policy | None,
    islands: int | None,
) -> Run:
    """Return what the search depends on."""
    if method == "reinforce":
        cell = policy.cell if policy is not None else cell or "lstm"
    first = initial if initial is None or isinstance(initial, str) else schemes_of(problem, initial)
    return Run(
        version=__version__,
        problem=digest_of(problem),
        method=method,
        seed=int(seed),
        population=int(population) if method in SEEDED and method != "exact" else 0,
        cell=cell or "",
        policy="" if policy is None else digest(vars(policy)),
        initial="" if first is None else digest({"schemes": first}),
        islands=islands or 0,
    )


def _make_search(
    problem: Problem,
    method: Method,
    seed: int,
    population: int,
    threads: int,
    initial: Initial | None,
    cell: Cell | None,
    policy: Policy | None,
    islands: int | None,
    executor: Engine,
) -> AnySearch:
    schemes = _first_schemes(problem, method, initial)
    if method == "auto" and problem.plan_cost is not None:
        few = problem.n_labels**problem.n_layers <= _FEW_SCHEMES
        method = "enumerate" if few else "genetic"
    if method == "auto":
        return _core.Auto(problem.core, population, seed, threads, schemes)
    if method == "exact":
        return exact_search(problem, schemes)
    if islands is not None:
        return Islands(problem, islands, population, seed, threads, schemes, executor)
    if method == "genetic":
        return _core.Genetic(problem.core, population, seed, threads, schemes)
    if method == "reinforce":
        return _reinforce(problem, seed, population, threads, schemes, cell, policy)
    if method == "annealing":
        return _core.Annealing(problem.core, population, seed, threads, schemes)
    if method == "random":
        return _core.RandomSearch(problem.core, seed, threads)
    if method == "greedy":
        return _core.GreedySearch(problem.core)
    return _core.Enumeration(problem.core, threads)


def exact_search(problem: Problem, schemes: npt.NDArray[np.int8]) -> _core.Exact | _core.OptionSearch:
    """Make the native search of method exact, from some schemes."""
    return (_core.Exact if _core.Exact.serves(problem.core) else _core.OptionSearch)(problem.core, schemes)


def _reinforce(
    problem: Problem,
    seed: int,
    population: int,
    threads: int,
    schemes: npt.NDArray[np.int8],
    cell: Cell | None,
    policy: Policy | None,
) -> _core.Reinforce:
    """Start training, or continue."""
    if policy is None:
        learned = _core.Learned(cell == "rnn", problem.n_types, problem.n_labels, seed)
    else:
        policy.check(problem)
        learned = policy.learned()
        if not policy.knows(problem):
            learned.reset_for_new_problem()
        if policy.schemes.shape[1] == problem.n_layers:
            schemes = np.concatenate([policy.schemes, schemes])
    return _core.Reinforce(problem.core, learned, population, seed, threads, schemes)


def _first_schemes(problem: Problem, method: Method, initial: Initial | None) -> npt.NDArray[np.int8]:
    none = np.empty((0, problem.n_layers), np.int8)
    if initial is None:
        return none
    if method not in SEEDED:
        raise InputError(
            f"initial is given with method {method!r}; it requires {', '.join(repr(m) for m in SEEDED)}"
        )
    if not isinstance(initial, str):
        return schemes_of(problem, initial)
    check_choice("initial", initial, ("relaxation",))
    if problem.goal.merge != "adjacent":
        raise InputError("initial is 'relaxation' with merge 'type'; it requires merge 'adjacent'")
    exact = exact_search(problem, none)
    exact.advance(_RELAXATION_WORK)
    return exact.tried.reshape(-1, problem.n_layers)


def schemes_of(problem: Problem, initial: object) -> npt.NDArray[np.int8]:
    """Return the schemes to start from, shape (n, L): of a result, a plan, an array, or one scheme."""
    if isinstance(initial, Result):
        initial = initial.plan
    if isinstance(initial, Plan):
        given = initial.problem
        for what, before, now in (
            ("device types", given.type_names, problem.type_names),
            ("labels", labelling(given.goal), labelling(problem.goal)),
        ):
            if before != now:
                raise InputError(
                    f"initial is a plan with {what} {show(before)}; they must be those of the problem, "
                    f"{show(now)}"
                )
        initial = initial.scheme
    if isinstance(initial, np.ndarray) and initial.shape == (problem.n_layers,):
        initial = initial[None]
    return as_schemes(problem, initial, "initial")


def _no_bound(problem: Problem) -> float:
    """Return the bound while nothing is proven; a plan cost may be negative."""
    return 0.0 if problem.plan_cost is None else -math.inf


def _lower_bound(problem: Problem, search: AnySearch, seconds: float) -> float:
    """Lower bound of the objective, $, seconds per example or $/hour; `_no_bound` if time is short."""
    bound = _no_bound(problem)
    try:
        with _core.StopAfter(seconds):
            bound = search.bound
            return max(bound, _bound_by_exact(problem, search))
    except _core.Stopped:
        return bound


def _bound_by_exact(problem: Problem, search: AnySearch) -> float:
    """Bound by a short run of the exact method after a search that proves nothing."""
    if problem.plan_cost is not None:
        return -math.inf
    proves = isinstance(search, (_core.Auto, _core.Exact, _core.OptionSearch, _core.Enumeration))
    if not proves and problem.goal.merge == "adjacent":
        exact = exact_search(problem, search.best[None])
        # These score most schemes at a target; the others provision each scheme exactly.
        bred = isinstance(search, (_core.Genetic, _core.Reinforce, Islands))
        work = _BOUND_WORK if bred else _BOUND_WORK_PER_LAYER * problem.n_layers
        exact.advance(int(work * search.evaluations))
        return exact.bound
    return 0.0
