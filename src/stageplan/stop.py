"""When a search stops: callables of its progress, combined with ``|`` (whichever comes first)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from .arguments import check_number
from .progress import Progress

# Functions that criteria call, at the top so that these can be sent to other processes.


def _reaches(name: str, number: float, progress: Progress) -> bool:
    return bool(getattr(progress, name) >= number)


def _either(first: Stop, second: Stop, progress: Progress) -> bool:
    return first(progress) or second(progress)


def _fits(progress: Progress) -> bool:
    return progress.violation == 0


def _as_good(value: float, progress: Progress) -> bool:
    if progress.plan_cost is not None:
        good = progress.plan_cost <= value
    elif progress.objective == "throughput":
        good = progress.throughput >= value
    else:
        good = getattr(progress, progress.objective) <= value
    return good and _fits(progress)


class Stop:
    """A stopping criterion: called with a `Progress`, it returns whether to stop.

    Attributes
    ----------
    seconds : float
        Runtime at which it stops, also within a step; infinite if it has no time limit.

    Examples
    --------
    >>> import stageplan as sp
    >>> sp.MaxRuntime(10) | sp.NoImprovement(100)
    MaxRuntime(10) | NoImprovement(100)
    >>> problem = sp.Problem.from_arrays([[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0])
    >>> sp.solve(problem, "random", stop=sp.MaxGenerations(3)).generations
    3
    >>> sp.solve(problem, "random", stop=lambda progress: progress.evaluations >= 1000).evaluations
    1024
    """

    def __init__(self, reached: Callable[[Progress], bool], text: str, seconds: float = math.inf) -> None:
        self._reached = reached
        self._text = text
        self.seconds = seconds

    def __call__(self, progress: Progress) -> bool:
        """Whether to stop."""
        return self._reached(progress)

    def __or__(self, other: Stop) -> Stop:
        """Stop when either criterion stops."""
        if not isinstance(other, Stop):
            return NotImplemented
        return Stop(
            partial(_either, self, other),
            f"{self._text} | {other._text}",
            min(self.seconds, other.seconds),
        )

    def __repr__(self) -> str:
        return self._text


class MaxGenerations(Stop):
    """Stop after a number of generations.

    Examples
    --------
    >>> import stageplan as sp
    >>> problem = sp.Problem.from_arrays([[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0])
    >>> sp.solve(problem, "genetic", stop=sp.MaxGenerations(3)).generations
    3
    """

    def __init__(self, generations: int) -> None:
        check_number("generations", generations, minimum=0, whole=True)
        super().__init__(partial(_reaches, "generation", generations), f"MaxGenerations({generations})")


class MaxEvaluations(Stop):
    """Stop after a number of scored schemes, at the end of the generation that reaches it.

    Examples
    --------
    >>> import stageplan as sp
    >>> problem = sp.Problem.from_arrays([[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0])
    >>> sp.solve(problem, "random", stop=sp.MaxEvaluations(500)).evaluations
    1024
    """

    def __init__(self, evaluations: int) -> None:
        check_number("evaluations", evaluations, minimum=0, whole=True)
        super().__init__(partial(_reaches, "evaluations", evaluations), f"MaxEvaluations({evaluations})")


class MaxWork(Stop):
    """Stop after an amount of work, as `Progress` counts it, at the end of the step that reaches it.

    Unlike a time limit, it gives the same result on every machine. A step of method exact is about a million
    units, a step of auto sixteen million while it proves; that of other methods is the genes of a generation.

    Examples
    --------
    >>> import stageplan as sp
    >>> problem = sp.Problem.from_arrays([[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0])
    >>> sp.solve(problem, "random", stop=sp.MaxWork(1000)).work
    2048
    """

    def __init__(self, work: int) -> None:
        check_number("work", work, minimum=0, whole=True)
        super().__init__(partial(_reaches, "work", work), f"MaxWork({work})")


class MaxRuntime(Stop):
    """Stop after a number of seconds, also within a step, with the best plan and bound so far.

    Examples
    --------
    >>> import stageplan as sp
    >>> problem = sp.Problem.from_arrays([[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0])
    >>> sp.solve(problem, stop=sp.MaxRuntime(10)).status  # optimal within milliseconds
    'optimal'
    """

    def __init__(self, seconds: float) -> None:
        check_number("seconds", seconds, minimum=0)
        super().__init__(partial(_reaches, "runtime", seconds), f"MaxRuntime({float(seconds):g})", seconds)


class NoImprovement(Stop):
    """Stop after a number of generations without improvement.

    Examples
    --------
    >>> import stageplan as sp
    >>> problem = sp.Problem.from_arrays([[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0])
    >>> result = sp.solve(problem, "genetic", stop=sp.NoImprovement(10))
    >>> result.generations - result.history[-1].generation
    10
    """

    def __init__(self, generations: int) -> None:
        check_number("generations", generations, minimum=1, whole=True)
        super().__init__(partial(_reaches, "stagnation", generations), f"NoImprovement({generations})")


class Target(Stop):
    """Stop at a feasible plan whose objective reaches a value: $, examples/s or $/hour, or a plan cost.

    Examples
    --------
    >>> import stageplan as sp
    >>> problem = sp.Problem.from_arrays([[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0], examples=3600)
    >>> sp.solve(problem, "genetic", stop=sp.Target(4.5)).plan.cost
    4.0
    """

    def __init__(self, value: float) -> None:
        check_number("value", value, above=0)
        super().__init__(partial(_as_good, value), f"Target({float(value):g})")


class FirstFeasible(Stop):
    """Stop at the first plan that meets every limit, such as the thresholds of cost and duration.

    Examples
    --------
    >>> import stageplan as sp
    >>> problem = sp.Problem.from_arrays([[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0], max_cost=2000)
    >>> sp.solve(problem, "genetic", stop=sp.FirstFeasible()).plan.feasible
    True
    """

    def __init__(self) -> None:
        super().__init__(_fits, "FirstFeasible()")
