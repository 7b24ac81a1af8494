"""Default partitioning rules of the runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np


class Default(NamedTuple):
    """How a runtime partitions by default: its rule, and the bounds of the stages if it has any."""

    rule: str
    bounds: tuple[int, ...] | None


def even(layers: int, stages: int) -> list[int]:
    """Layers of each stage, as evenly as possible; the first stages have one more."""
    return [layers // stages + (i < layers % stages) for i in range(stages)]


def to_bounds(counts: Sequence[int]) -> tuple[int, ...]:
    """First layer of each stage, and the number of layers at the end."""
    return (0, *accumulate(counts))


def balanced(weights: Sequence[float], stages: int) -> tuple[int, ...]:
    """Bounds of stages whose heaviest and lightest differ least, by DeepSpeed's algorithm.

    A dynamic programme that stores one best partition of each prefix, the last of equal ones; so the result
    need not be optimal (The Linear Partition Problem, in Skiena's Algorithm Design Manual).
    """
    layers = len(weights)
    total = np.concatenate([[0.0], np.cumsum(weights)])
    maximum, minimum = np.full(layers + 1, np.inf), np.full(layers + 1, np.inf)
    maximum[0] = 0.0
    begins = np.zeros((stages, layers + 1), dtype=np.intp)
    for stage in range(stages):
        longest, shortest = maximum, minimum
        maximum, minimum = np.full(layers + 1, np.inf), np.full(layers + 1, np.inf)
        for end in range(stage + 1, layers + 1):
            loads = total[end] - total[:end]
            high, low = np.maximum(longest[:end], loads), np.minimum(shortest[:end], loads)
            begin = end - 1 - int((high - low)[::-1].argmin())
            begins[stage, end], maximum[end], minimum[end] = begin, high[begin], low[begin]
    bounds = [layers]
    for stage in reversed(range(stages)):
        bounds.append(int(begins[stage, bounds[-1]]))
    return tuple(bounds[::-1])
