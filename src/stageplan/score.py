"""Scores of populations of schemes."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .arguments import count_threads
from .errors import InputError, InputTypeError
from .fields import show
from .plan_cost import explained
from .problem import Problem, check_problem

Schemes = npt.NDArray[np.int8]


class Scores(NamedTuple):
    """Result of `evaluate`: one number per scheme.

    Attributes
    ----------
    cost : ndarray of float64, shape (n,)
        $ for all examples.
    throughput : ndarray of float64, shape (n,)
        Examples per second.
    violation : ndarray of float64, shape (n,)
        Sum of the relative excesses over the limits; 0 exactly where a plan is feasible.
    price : ndarray of float64, shape (n,), or None
        $/hour; None unless the goal's objective is price.
    plan_cost : ndarray of float64, shape (n,), or None
        By the problem's `plan_cost`, if it has one; infinite where a plan is not feasible.
    """

    cost: npt.NDArray[np.float64]
    throughput: npt.NDArray[np.float64]
    violation: npt.NDArray[np.float64]
    price: npt.NDArray[np.float64] | None = None
    plan_cost: npt.NDArray[np.float64] | None = None


def as_schemes(problem: Problem, schemes: Any, name: str = "schemes") -> Schemes:
    """Check that an array holds rows of int8 genes; it is not copied.

    Raises
    ------
    TypeError
        It is not an array of int8.
    ValueError
        Its shape is not (n, L), or it is not C-contiguous.
    """
    if not isinstance(schemes, np.ndarray) or schemes.dtype != np.int8:
        kind = schemes.dtype if isinstance(schemes, np.ndarray) else type(schemes).__name__
        raise InputTypeError(f"{name} is {kind}; it must be a numpy array of int8")
    if schemes.ndim != 2 or schemes.shape[1] != problem.n_layers:
        raise InputError(f"{name} has shape {schemes.shape}; it must be (n, {problem.n_layers})")
    if not schemes.flags.c_contiguous:
        raise InputError(f"{name} is not C-contiguous; it must be, because it is read in place")
    return schemes


def evaluate(
    problem: Problem,
    schemes: Schemes,
    target: float | None = None,
    *,
    threads: int | None = None,
    out: Scores | None = None,
) -> Scores:
    """Score schemes, in place and natively.

    Parameters
    ----------
    problem
        The problem.
    schemes : ndarray of int8, shape (n, L)
        One label per layer, C-contiguous; not copied.
    target
        Examples/s: each stage gets the fewest devices that reach it or, if none do, that are as fast as the
        maximum allowed. None: each scheme is provisioned exactly, as by `Plan.of`.
    threads
        Number of threads, by default all available cores. The scores do not depend on it.
    out
        Scores of an earlier call with the same number of schemes, to be overwritten.

    Returns
    -------
    Scores
        `out` if it is given.

    Raises
    ------
    TypeError, ValueError
        Wrong dtype, shape or gene; the first wrong gene is named, and `out` may then hold scores of the
        schemes before it.

    Examples
    --------
    >>> import numpy as np
    >>> import stageplan as sp
    >>> problem = sp.Problem.from_arrays(
    ...     compute=[[4.0, 1.0], [2.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0], limit=[2, 2],
    ...     min_throughput=0.5, examples=3600,
    ... )
    >>> scores = sp.evaluate(problem, np.array([[0, 0, 0], [1, 1, 0]], dtype=np.int8))
    >>> scores.cost, scores.throughput, scores.violation
    (array([7., 7.]), array([0.57142857, 1.        ]), array([1., 0.]))
    """
    check_problem(problem)
    schemes = as_schemes(problem, schemes)
    optional = {"price": problem.goal.objective == "price", "plan_cost": problem.plan_cost is not None}
    if out is None:
        arrays = {name: np.empty(len(schemes)) for name in Scores._fields if optional.get(name, True)}
        out = Scores(**arrays)
    else:
        _check_out(out, len(schemes), optional)
    workers = count_threads(threads)
    if schemes.size < _THREAD_GENES:
        workers = 1
    if problem.plan_cost is None:
        problem.scorer(target).evaluate(schemes, *out, workers)
        return out
    with explained(problem.plan_cost):
        problem.scorer(target).evaluate(schemes, *out, workers)
    return out


# Fewer genes are scored faster than threads start.
_THREAD_GENES = 1 << 18


def _check_out(out: Scores, count: int, optional: dict[str, bool]) -> None:
    if not isinstance(out, Scores):
        raise InputTypeError(f"out is {type(out).__name__}; it must be Scores")
    for name, array in out._asdict().items():
        if array is None and not optional.get(name, True):
            continue
        fits = isinstance(array, np.ndarray) and array.dtype == np.float64 and array.shape == (count,)
        if not (fits and array.flags.carray):
            kind = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else show(array)
            raise InputError(
                f"out.{name} is {kind}; it must be a writeable float64 array of shape ({count},)"
            )
