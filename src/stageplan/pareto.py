"""Search for the Pareto front of cost, or hourly price, against throughput."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import pairwise, zip_longest

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from . import _core
from ._version import __version__
from .arguments import LARGEST, check_choice, check_number
from .errors import InputError, InputTypeError
from .fields import show
from .front import Against, Front, Point
from .plan import Plan
from .plan_cost import refuse_plan_cost
from .problem import Problem, check_problem
from .progress import Progress
from .result import Result, Status, optimal_status
from .search_loop import finish, run_search
from .solve import LATE, solve, with_result
from .stop import MaxGenerations, MaxRuntime, Stop

_POINTS = 20
_TIE = 2 * _core.TIE
_ENOUGH = MaxGenerations(256)  # about a second for each search


def pareto(
    problem: Problem,
    *,
    against: Against = "cost",
    points: int | None = None,
    gap: float | None = None,
    max_throughput: float | None = None,
    stop: Stop | None = None,
    callback: Callable[[Progress], object] | None = None,
) -> Front:
    """Find the Pareto front of cost, or hourly price, against throughput: from the cheapest plan on.

    One branch and bound over the stage time proves all points: an interval is pruned by plans that are at
    least as fast. What is found and proven for one point holds for all slower ones. Where stages are chosen
    among options (strategies, schedules), each point is a search of its own. There is no front of cost
    against hourly price.

    Parameters
    ----------
    problem
        The problem. All its limits hold; its objective is ignored.
    against
        ``"cost"``: total cost of all examples, $; ``"price"``: price of the devices, $/hour.
    points
        Number of throughputs to plan for, in equal ratios from that of the cheapest plan to that of the
        fastest; default 20, unless `gap` is given. If several have the same cheapest plan, the front has
        fewer points.
    gap
        Instead: relative optimality gap of the front. Points are added until each plan outside the front has
        one at least as fast that costs at most this fraction more.
    max_throughput
        Highest throughput of the front, examples/s; default: that of the fastest plan.
    stop
        Criteria of `stageplan.stop`, combined with ``|``, for the whole computation; default: about a second
        each for the cheapest plan, the fastest plan and the points between. After a time limit, as after
        Ctrl-C, a tenth of a second remains for the points: of very many, some between both ends are left out.
    callback
        Called with the `Progress` after each step.

    Returns
    -------
    Front
        Also after Ctrl-C, with the points found so far. Without points if no plan meets the limits.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, the value and what is allowed; stages are not intervals of layers (merge
        ``"type"``); or nothing bounds the throughput.
    Exception
        Any error raised by `callback` or `stop`; its attribute ``result`` is the `Front` of the points found
        so far.

    Examples
    --------
    >>> import stageplan as sp
    >>> problem = sp.Problem.from_arrays(
    ...     compute=[[4.0, 1.0], [2.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0], limit=[4, 4],
    ...     compute_parallel=0.8, examples=3600,
    ... )
    >>> print(sp.pareto(problem, points=3))
    arrays: 3 layers on 2 device types (type0, type1); cheapest plan for 3600 examples
    examples/s    cost  $/h  devices  stages     gap
      0.142857   $7.00    1        1       1  proven
           0.5   $8.00    4        2       2  proven
          1.25  $11.20   14        6       2  proven
    proven: no plan is faster than 1.25 examples/s
    proven: for any plan, a point at least as fast costs at most 40 % more
    3 points, 3 proven to be the cheapest at their throughput
    """
    _check(problem, against, points, gap, max_throughput)
    for name, value in (("stop", stop), ("callback", callback)):
        if value is not None and not callable(value):
            raise InputTypeError(f"{name} is {show(value)}; it must be callable")
    search = _Search(problem.replace(objective=against), stop, callback)
    try:
        front = _search(search, problem, against, points, gap, max_throughput)
    except KeyboardInterrupt as interrupt:  # between two searches: from what they have found
        search.ended_by = search.ended_by or interrupt
        front = _search(search, problem, against, points, gap, max_throughput)
    if isinstance(search.ended_by, Exception):
        raise with_result(search.ended_by, front)
    return front


def _search(
    search: _Search,
    problem: Problem,
    against: Against,
    points: int | None,
    gap: float | None,
    max_throughput: float | None,
) -> Front:
    """Search for the cheapest plan, for the fastest, and for the points between."""
    cheapest = search.cheapest or search.solve(search.problem)
    if not cheapest.plan.feasible:
        return _front(problem, against, search, (), cheapest.status, math.inf, 0.0)
    end, fastest, slowest = cheapest.plan.time, 0.0, cheapest.plan.time
    try:
        end, fastest = _end(search, cheapest, max_throughput)
    except KeyboardInterrupt as interrupt:  # before another plan was found
        search.ended_by = interrupt
    count = _POINTS if points is None else points
    targets = (
        [end] if slowest <= end * (1 + _TIE) else _between(slowest, end, 2 if gap is not None else count)
    )
    known, search.ended_by = finish(lambda: _known(search, cheapest.bound), search.ended_by)
    if problem.by_options:
        found, done = _solve_each(search, known, targets, gap)
    else:
        found, done = _solve_together(search, known, targets, gap, fastest)
    front_gap = _front_gap(found) if gap is None or not done else min(gap, _front_gap(found))
    status = optimal_status(problem) if all(point.proven for point in found) else "feasible"
    return _front(problem, against, search, found, status, front_gap, 1 / fastest if fastest else math.inf)


class _Search:
    """Consecutive searches with one stopping criterion: the plans found, and the counts so far."""

    def __init__(
        self,
        problem: Problem,
        stop: Stop | None,
        callback: Callable[[Progress], object] | None,
    ) -> None:
        self.problem = problem  # whose objective is what is traded for throughput
        self.stop = stop
        self.callback = callback
        self.cheapest: Result | None = None  # once it was searched for
        self.plans: list[Plan] = []  # the last found first
        self.generations, self.evaluations, self.work = 0, 0, 0
        self.began = time.perf_counter()
        self.stopped = False  # by the criterion
        self.ended_by: BaseException | None = None  # Ctrl-C, or an error of stop or callback

    @property
    def over(self) -> bool:
        """Whether to search no more."""
        return self.stopped or self.ended_by is not None

    @property
    def runtime(self) -> float:
        """Seconds since the first search began."""
        return time.perf_counter() - self.began

    @property
    def left(self) -> float:
        """Seconds for what remains to be done, which are a few even when the search is over."""
        return LATE if self.over else max(LATE, self._stop().seconds)

    def solve(self, problem: Problem) -> Result:
        initial = np.array([plan.scheme for plan in self.plans]) if self.plans else None
        try:
            result = solve(problem, "exact", stop=self._stop(), callback=self._callback(), initial=initial)
        except Exception as error:
            found = getattr(error, "result", None)
            if not isinstance(found, Result):
                raise
            result, self.ended_by = found, error
        if result.interrupted:
            self.ended_by = KeyboardInterrupt()
        if result.plan.feasible:
            self.plans.insert(0, result.plan)
        self.cheapest = self.cheapest or result  # after its plan, without which no front can begin
        self._count(result)
        return result

    def front(self, targets: list[float], gap: float | None, fastest: float) -> _core.Front | None:
        """Search for all points together; None if that had to end before its first step."""
        schemes = np.array([plan.scheme for plan in self.plans])
        try:
            with _core.StopAfter(self.left):
                core = _core.Front(self.problem.core, targets, gap, fastest, schemes)
        except _core.Stopped:
            return None
        except KeyboardInterrupt as interrupt:
            self.ended_by = self.ended_by or interrupt
            return None
        if not self.over:
            progress, _, self.ended_by = run_search(self.problem, core, self._stop(), self._callback())
            self._count(progress)
        return core

    def _count(self, done: Result | Progress) -> None:
        self.generations += done.generations if isinstance(done, Result) else done.generation
        self.evaluations += done.evaluations
        self.work += done.work

    def _total(self, p: Progress) -> Progress:
        return replace(
            p,
            generation=p.generation + self.generations,
            evaluations=p.evaluations + self.evaluations,
            work=p.work + self.work,
            runtime=self.runtime,
        )

    def _stop(self) -> Stop:
        stop = self.stop
        if self.ended_by is not None:
            return MaxRuntime(LATE)
        if stop is None:
            return _ENOUGH

        def reached(p: Progress) -> bool:
            progress = self._total(p)
            if not stop(progress):
                return False
            # One search that does not improve any more is not the end of the others.
            self.stopped = bool(stop(replace(progress, stagnation=0)))
            return True

        return Stop(reached, repr(stop), getattr(stop, "seconds", math.inf) - self.runtime)

    def _callback(self) -> Callable[[Progress], object] | None:
        callback = self.callback
        return None if callback is None else lambda p: callback(self._total(p))


def _check(
    problem: Problem, against: Against, points: int | None, gap: float | None, max_throughput: float | None
) -> None:
    check_problem(problem)
    refuse_plan_cost(problem, "pareto compares plans by throughput and cost or price")
    check_choice("against", against, ("cost", "price"))
    if points is not None:
        check_number("points", points, minimum=2, maximum=10_000, whole=True)
    if gap is not None:
        check_number("gap", gap, minimum=0)
        if points is not None:
            raise InputError(f"gap is {gap!r} and points is {points!r}; one of them must be left out")
    if max_throughput is not None:
        check_number("max_throughput", max_throughput, above=0)
    if problem.goal.merge != "adjacent":
        raise InputError(f"merge is {problem.goal.merge!r}; a front requires merge 'adjacent'")


def _end(search: _Search, cheapest: Result, max_throughput: float | None) -> tuple[float, float]:
    """Seconds per example of the fastest point, and a lower bound of those of any plan."""
    if search.over:
        return cheapest.plan.time, 0.0
    if max_throughput is not None:
        throughput = max(max_throughput, search.problem.goal.min_throughput or 0.0)
        if search.solve(search.problem.replace(min_throughput=throughput)).plan.feasible:
            return 1 / throughput, 0.0
    try:
        problem = search.problem.replace(objective="throughput")
    except ValueError as error:
        if max_throughput is not None:  # no plan as fast was found: the front ends at the cheapest
            return cheapest.plan.time, 0.0
        reason = str(error).partition(", which ")[2]
        raise InputError(f"max_throughput is None; it must be given, for {reason}") from None
    fastest = search.solve(problem)
    return fastest.plan.time, 1 / fastest.bound if fastest.bound > 0 else 0.0


def _between(slowest: float, fastest: float, count: int) -> list[float]:
    """Stage times in equal ratios."""
    ratio = fastest / slowest
    return [*(slowest * _power(ratio, i / (count - 1)) for i in range(count - 1)), fastest]


def _power(base: float, exponent: float) -> float:
    """Raise to a power from 0 to 1 by square roots, which have the same rounding on all machines."""
    result = 1.0
    for _ in range(40):
        base, exponent = math.sqrt(base), 2 * exponent
        if exponent >= 1:
            result, exponent = result * base, exponent - 1
    return result


def _at_most(problem: Problem, tau: float) -> Problem:
    """Return the problem of the plans that take at most `tau` seconds per example."""
    throughput = max(problem.goal.min_throughput or 0.0, min(1 / tau, LARGEST) if tau > 0 else 0.0)
    return problem.replace(min_throughput=throughput) if throughput >= 1 / LARGEST else problem


def _point(search: _Search, tau: float, scheme: npt.NDArray[np.int8], bound: float) -> Point:
    """Make a point of the cheapest plan of a scheme in at most `tau` seconds per example."""
    plan = Plan.of(_at_most(search.problem, tau), scheme)
    value = plan.price if search.problem.goal.objective == "price" else plan.cost
    proven = value <= bound * (1 + _TIE)
    gap = 0.0 if proven else value / bound - 1 if bound > 0 else math.inf
    return Point(plan, optimal_status(plan.problem) if proven else "feasible", min(bound, value), gap)


def _known(search: _Search, bound: float) -> list[Point]:
    """Make points of the plans found before the search between them: the cheapest, and perhaps the fastest.

    No plan costs less than `bound`.
    """
    points: list[Point] = []
    for plan in sorted(search.plans, key=lambda plan: plan.time):
        point = _point(search, plan.time, plan.scheme, bound)
        if not points or _value(point) < _value(points[-1]) * (1 - _TIE):
            points.append(point)
    return points[::-1]


def _solve_together(
    search: _Search, known: list[Point], targets: list[float], gap: float | None, fastest: float
) -> tuple[tuple[Point, ...], bool]:
    """Solve for all targets at once; also return whether the front is complete."""
    core = search.front(targets, gap, fastest)
    if core is None:
        return tuple(known), False
    found = core.points
    try:
        points = _provisioned(search, found)
    except KeyboardInterrupt as interrupt:
        search.ended_by = search.ended_by or interrupt
        points = _provisioned(search, found)
    return points, core.done and len(points) == len(found)


def _provisioned(search: _Search, found: list[_core.FrontPoint]) -> tuple[Point, ...]:
    """Provision what was found; if there are too many for the time left, both ends and some between them."""
    points: dict[int, Point] = {}
    until = time.perf_counter() + search.left
    for i in sorted(range(len(found)), key=lambda i: (0 < i < len(found) - 1, -(i & -i))):
        if len(points) >= 2 and time.perf_counter() >= until:
            break
        points[i] = _point(search, found[i].time, found[i].scheme, found[i].bound)
    return tuple(points[i] for i in sorted(points))


def _solve_each(
    search: _Search, known: list[Point], targets: list[float], gap: float | None
) -> tuple[tuple[Point, ...], bool]:
    """Solve for one target after the other; with a gap, also between them until no interval is left."""
    solved = [(known[0].plan.time, known[0])]  # with the target, the slowest first
    for target in targets:
        if target < solved[-1][1].plan.time * (1 - _TIE):
            _solve_at(search, target, solved)
    between = None
    if gap is not None:
        while (between := _widest(solved, gap)) is not None and _solve_at(search, between, solved):
            pass
    if search.over:
        _fill(search, known[-1], targets, solved)
    points = [point for _, point in solved]
    front = tuple(a for a, b in zip_longest(points, points[1:]) if b is None or _value(a) < _value(b))
    proven = between is None and all(point.gap <= (gap or 0.0) for point in front)
    return front, proven and not search.over


def _fill(search: _Search, fastest: Point, targets: list[float], solved: list[tuple[float, Point]]) -> None:
    """Provision known schemes for the targets that the search did not reach, as many as take LATE seconds.

    These are the scheme of the last point, with more devices, and that of the fastest plan, with fewer.
    """
    until = time.perf_counter() + LATE
    try:
        for target in targets:
            last = solved[-1][1]
            if time.perf_counter() >= until:
                break
            if target < last.plan.time * (1 - _TIE):
                points = [_point(search, target, p.plan.scheme, last.bound) for p in (last, fastest)]
                found = [(target, point) for point in points if point.plan.feasible]
                solved += sorted(found, key=lambda point: _value(point[1]))[:1]
    except KeyboardInterrupt as interrupt:
        search.ended_by = search.ended_by or interrupt
    if fastest.plan.time < solved[-1][1].plan.time * (1 - _TIE):
        solved.append((fastest.plan.time, fastest))


def _solve_at(search: _Search, target: float, solved: list[tuple[float, Point]]) -> bool:
    """Add the cheapest plan at a target; a plan that is known already is so from the slower target on.

    Returns False if the search is over, or finds none.
    """
    if search.over:
        return False
    try:
        result = search.solve(_at_most(search.problem, target))
    except KeyboardInterrupt as interrupt:  # before a plan was found
        search.ended_by = interrupt
        return False
    if not result.plan.feasible:
        return False
    point = Point(
        result.plan,
        "feasible" if result.gap else optimal_status(result.plan.problem),
        result.bound,
        result.gap,
    )
    at = sum(other > target for other, _ in solved)
    if at < len(solved) and _value(solved[at][1]) <= _value(point) * (1 + _TIE):
        solved[at] = (target, solved[at][1])
    else:
        solved.insert(at, (target, point))
    return True


def _widest(solved: list[tuple[float, Point]], gap: float) -> float | None:
    """Return a target between two points of which the faster one costs more than the gap above the slower."""
    for (_, slower), (known, faster) in pairwise(solved):
        if _value(faster) > slower.bound * (1 + gap) and slower.plan.time > known * (1 + 4 * _TIE):
            return math.sqrt(slower.plan.time * (1 - _TIE) * known)
    return None


def _value(point: Point) -> float:
    """Give what is traded for throughput: $ or $/hour."""
    by_price = point.plan.problem.goal.objective == "price"
    return point.plan.price if by_price else point.plan.cost


def _front_gap(points: tuple[Point, ...]) -> float:
    """Relative gap of the front: how much cheaper a plan that is at least as fast may be.

    A plan that is faster than a point and slower than the next one costs at least the bound of the former;
    the front has the latter.
    """
    gaps = [points[0].gap, points[-1].gap] if points else [math.inf]
    for slower, faster in pairwise(points):
        value = faster.bound * (1 + faster.gap)
        gaps.append(value / slower.bound - 1 if slower.bound > 0 else math.inf)
    return max(gaps)


def _front(
    problem: Problem,
    against: Against,
    search: _Search,
    points: tuple[Point, ...],
    status: Status,
    gap: float,
    fastest: float,
) -> Front:
    return Front(
        problem=problem,
        against=against,
        points=points,
        status=status,
        gap=gap,
        fastest=fastest,
        evaluations=search.evaluations,
        generations=search.generations,
        runtime=search.runtime,
        interrupted=isinstance(search.ended_by, KeyboardInterrupt),
        version=__version__,
    )
