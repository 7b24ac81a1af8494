"""Checks of single values: one clear sentence that names the field, the value and what is allowed."""

import os
import sys
from functools import cache
from numbers import Integral, Real
from pathlib import Path

from .fields import show


def check_number(
    name: str,
    value: object,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    whole: bool = False,
) -> None:
    """Refuse what is no finite number in the given range.

    Raises
    ------
    TypeError
        Where `value` is no real number, or no int where `whole`.
    ValueError
        Where it is NaN, infinite or out of range.
    """
    allowed = _allowed(above, least, most, whole)
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        raise TypeError(f"{name} is {value!r}; it must be {allowed}")
    number = int(value) if isinstance(value, Integral) else float(value)
    outside = (
        not abs(number) <= sys.float_info.max
        or (above is not None and number <= above)
        or (least is not None and number < least)
        or (most is not None and number > most)
    )
    if outside:
        raise ValueError(f"{name} is {show(value)}; it must be {allowed}")


def _allowed(above: float | None, least: float | None, most: float | None, whole: bool) -> str:
    parts = ["a whole number" if whole else "a finite number"]
    if above is not None:
        parts.append(f"more than {above:g}")
    if least is not None:
        parts.append(f"at least {least:g}")
    if most is not None:
        parts.append(f"at most {most:g}")
    return ", ".join(parts)


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Refuse what is not one of `choices`, with a ValueError."""
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(repr(c) for c in choices)}")


def count_threads(threads: int | None) -> int:
    """Check a number of threads; None stands for the cores that this process may use.

    Affinity is heeded, and a container's quota of processor time where Linux tells it (cgroup v2).
    """
    if threads is None:
        return _usable_cores()
    if type(threads) is not int or not 1 <= threads <= 4096:  # the check takes longer than small calls
        check_number("threads", threads, least=1, most=4096, whole=True)
    return int(threads)


@cache
def _usable_cores() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):
        return cores
