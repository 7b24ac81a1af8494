"""Parallel fractions from times that were measured at several device counts."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import InputError, InputTypeError

__all__ = ["ParallelFit", "fit_overlapped_fractions", "fit_parallel_fraction"]

Array = npt.NDArray[np.float64]

_FEWEST_COUNTS = 5  # two for each of two lines, and one more: with fewer, any times would fit two lines
_ROUNDING = 1e-24  # sums of squares below this are those of float64, not of the model


class ParallelFit(NamedTuple):
    """Amdahl's law, fitted: ``seconds * (1 - fraction + fraction / devices)``.

    Attributes
    ----------
    fraction : float or ndarray of float64, shape (L,)
        Which part several devices share, from 0 to 1: `compute_parallel` of a layer, or `transfer_parallel`
        of a device type.
    seconds : float or ndarray of float64, shape (L,)
        Time on one device.
    residual : float or ndarray of float64, shape (L,)
        Root mean square of the times' relative deviations from the law.
    """

    fraction: float | Array
    seconds: float | Array
    residual: float | Array


def fit_parallel_fraction(devices: npt.ArrayLike, seconds: npt.ArrayLike) -> ParallelFit:
    """Fit Amdahl's law to times at several device counts, by least squares of the relative deviations.

    The times are of one thing: compute, which gives alpha, or transfer, which gives beta. Of their sum, where
    a stage does one after the other, only the joint fraction ``(alpha W + beta D) / (W + D)`` can be known,
    which is what this returns then; where the two overlap, `fit_overlapped_fractions` may part them.

    Parameters
    ----------
    devices : array_like of int, shape (N,)
        How many devices shared the work; at least two different counts.
    seconds : array_like, shape (N,) or (N, L)
        The times; a column a layer.

    Returns
    -------
    ParallelFit
        Floats, or arrays of shape (L,).

    Raises
    ------
    ValueError, TypeError
        Naming the argument, the value and what is allowed.

    Notes
    -----
    The law (Amdahl 1967, doi:10.1145/1465482.1465560) is ``a + b / devices`` with ``a, b >= 0``, from which
    the fraction is ``b / (a + b)``: linear least squares with two bounds, solved exactly.
    """
    counts, times = _checked(devices, seconds)
    if times.ndim == 1:
        fit = _fit(counts, times[:, None])
        return ParallelFit(*(float(np.asarray(value)[0]) for value in fit))
    return _fit(counts, times)


def fit_overlapped_fractions(
    devices: npt.ArrayLike, seconds: npt.ArrayLike
) -> tuple[ParallelFit, ParallelFit]:
    """Split times of stages whose compute and transfer overlap: the maximum of two Amdahl laws.

    Where one binds at few devices and the other at many, the times bend, and both laws can be known. Which of
    them is compute and which is transfer cannot be known from such times.

    Parameters
    ----------
    devices : array_like of int, shape (N,)
        How many devices shared the stage; at least five different counts.
    seconds : array_like, shape (N,)
        The stage times.

    Returns
    -------
    tuple of two ParallelFit
        What binds at few devices, and what binds at many.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, the value and what is allowed; or where the times do not bend clearly (by
        Schwarz's criterion, doi:10.1214/aos/1176344136), so that they are of one law only.
    """
    counts, times = _checked(devices, seconds)
    distinct = np.unique(counts)
    if times.ndim != 1:
        raise InputError(
            f"seconds has shape {times.shape}; it must be one time for each of {counts.size} counts"
        )
    if distinct.size < _FEWEST_COUNTS:
        raise InputError(
            f"devices has {distinct.size} different counts; it must have at least {_FEWEST_COUNTS} "
            "to part two laws"
        )
    pairs = [pair for last in distinct[1:-2] if (pair := _bent(counts, times, last))]
    best, *laws = min(pairs, key=lambda pair: pair[0], default=(math.inf,))
    single = _deviation(_fit(counts, times[:, None]), times.size)
    # Two more parameters and the position of the bend must be justified by a better fit.
    dear = math.exp(3 * math.log(times.size) / times.size)
    if max(single, _ROUNDING) <= dear * max(best, _ROUNDING):
        raise InputError("seconds do not bend; they must be of two laws, one at few devices and one at many")
    return laws[0], laws[1]


def _bent(counts: Array, times: Array, last: float) -> tuple[float, ParallelFit, ParallelFit] | None:
    """(sum of squares, law up to a count, law beyond it), or None if the two do not cross there."""
    head = counts <= last
    few, many = (fit_parallel_fraction(counts[part], times[part]) for part in (head, ~head))
    laws = np.array([_law(few, counts), _law(many, counts)])
    if (np.argmax(laws, axis=0) != ~head).any():
        return None
    return _deviation(few, head.sum()) + _deviation(many, (~head).sum()), few, many


def _law(fit: ParallelFit, counts: Array) -> Array:
    return np.asarray(fit.seconds * (1 - fit.fraction + fit.fraction / counts))


def _deviation(fit: ParallelFit, times: int) -> float:
    return float(np.asarray(fit.residual).item() ** 2 * times)


def _checked(devices: npt.ArrayLike, seconds: npt.ArrayLike) -> tuple[Array, Array]:
    counts, times = _numbers("devices", devices), _numbers("seconds", seconds)
    if counts.ndim != 1:
        raise InputError(f"devices has shape {counts.shape}; it must be a list of counts")
    if times.ndim not in (1, 2) or len(times) != len(counts):
        n = len(counts)
        raise InputError(f"seconds has shape {times.shape}; it must be ({n},) or ({n}, layers), as devices")
    for name, values, good, allowed in (
        ("devices", counts, (counts >= 1) & (counts == np.floor(counts)), "a whole number, 1 or more"),
        ("seconds", times, (times > 0) & np.isfinite(times), "more than 0 seconds and finite"),
    ):
        wrong = np.argwhere(~good)
        if wrong.size:
            place = ", ".join(map(str, wrong[0]))
            raise InputError(f"{name}[{place}] is {values[tuple(wrong[0])]:g}; it must be {allowed}")
    if np.unique(counts).size < 2:
        raise InputError(f"devices has {np.unique(counts).size} different counts; it must have at least 2")
    return counts, times


def _numbers(name: str, values: npt.ArrayLike) -> Array:
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(f"{name} is ragged; it must be an array of numbers") from None
    if array.size and array.dtype.kind not in "fiu":
        raise InputTypeError(f"{name} has dtype {array.dtype}; it must be an array of real numbers")
    return array.astype(np.float64)


def _fit(counts: Array, times: Array) -> ParallelFit:
    """Fit each column: minimise |a p + b q - 1| over a, b >= 0, with p = 1/time and q = 1/(devices time)."""
    p = 1 / times
    q = p / counts[:, None]
    pp, pq, qq, p1, q1 = ((x * y).sum(axis=0) for x, y in ((p, p), (p, q), (q, q), (p, p**0), (q, p**0)))
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = pp * qq - pq**2
        free = np.array([(p1 * qq - q1 * pq) / determinant, (q1 * pp - p1 * pq) / determinant])
    serial, shared = np.array([p1 / pp, 0 * p1]), np.array([0 * q1, q1 / qq])
    # Where the free optimum is out of bounds, the best is on one of the two bounds (the problem is convex).
    candidates = np.array([np.where((free >= 0).all(axis=0), free, serial), serial, shared])
    squares = np.array([((a * p + b * q - 1) ** 2).sum(axis=0) for a, b in candidates])
    best = squares.argmin(axis=0)
    a, b = np.take_along_axis(candidates, best[None, None, :], axis=0)[0]
    residual = np.sqrt(np.take_along_axis(squares, best[None, :], axis=0)[0] / len(counts))
    return ParallelFit(b / (a + b), a + b, residual)
