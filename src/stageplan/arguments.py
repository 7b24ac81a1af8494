"""Checks of functions' arguments: one clear sentence with the name, the value and what is allowed."""

import os
import sys
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError, InputTypeError
from .fields import as_float, show
from .suggestions import did_you_mean

LARGEST = 1e60  # number of a problem; its inverse is the smallest one above 0


def check_number(
    name: str,
    value: object,
    *,
    above: float | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    whole: bool = False,
) -> None:
    """Raise unless a value is a finite number in a range.

    Raises
    ------
    TypeError
        It is not a real number, or not an int where `whole`.
    ValueError
        It is NaN, infinite or out of range.
    """
    allowed = _allowed(above, minimum, maximum, whole)
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        raise InputTypeError(f"{name} is {show(value)}; it must be {allowed}")
    number = int(value) if isinstance(value, Integral) else as_float(value)
    outside = (
        not abs(number) <= sys.float_info.max
        or (above is not None and number <= above)
        or (minimum is not None and number < minimum)
        or (maximum is not None and number > maximum)
    )
    if outside:
        raise InputError(f"{name} is {show(value)}; it must be {allowed}")


def _allowed(above: float | None, minimum: float | None, maximum: float | None, whole: bool) -> str:
    parts = ["a whole number" if whole else "a finite number"]
    if above is not None:
        parts.append(f"more than {above:g}")
    if minimum is not None:
        parts.append(f"at least {minimum:g}")
    if maximum is not None:
        parts.append(f"at most {maximum:g}")
    return ", ".join(parts)


def as_floats(name: str, values: object) -> npt.NDArray[np.float64]:
    """Return numbers as an array of float64.

    Raises
    ------
    TypeError
        They are not real numbers.
    ValueError
        They are not an array, but lists of different lengths.
    """
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(f"{name} is ragged; it must be an array of numbers") from None
    if array.dtype.kind not in "fiu":
        raise InputTypeError(f"{name} has dtype {array.dtype}; it must be an array of real numbers")
    return array.astype(np.float64)


def as_tuple(name: str, values: object, allowed: str) -> tuple[Any, ...]:
    """Return the items of an iterable; TypeError if it is not one, or is a text."""
    try:
        if not isinstance(values, (str, bytes)):
            return tuple(values)  # type: ignore[arg-type]
    except TypeError:
        pass
    raise InputTypeError(f"{name} is {show(values)}; it must be {allowed}")


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raise ValueError unless a value is one of `choices`."""
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        known = ", ".join(repr(c) for c in choices)
        raise InputError(f"{name} is {show(value)}; it must be one of {known}{did_you_mean(value, choices)}")


def count_threads(threads: int | None) -> int:
    """Check and return a number of threads; by default the number of cores that this process may use.

    Cores are counted by affinity, and by a container's quota of processor time on Linux (cgroup v2).
    """
    if threads is None:
        return _usable_cores()
    if type(threads) is not int or not 1 <= threads <= 4096:  # the check takes longer than small calls
        check_number("threads", threads, minimum=1, maximum=4096, whole=True)
    return int(threads)


@cache
def _usable_cores() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):
        return cores
