# mypy: allow-untyped-defs, allow-untyped-calls
"""The loop that calls a stage cost for all stages, and keeps the options that may be of use.

Numba compiles these functions together with the user's function: `stage_cost.compile_row` gives them what the
names stand for that are None here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arguments import LARGEST

PARTS = ("time", "memory", "activations", "pass_time", "sync")
"""What a function returns: the first of these alone, or the first few as a tuple."""

cost: Any = None
Stage: Any = None
Layers: Any = None
fields_at: Any = None
device_at: Any = None
as_parts: Any = None
SMALLEST, GREATEST = 1 / LARGEST, LARGEST

DEVICES, REPLICAS, COLUMN, GROUP = range(4)
"""Whole numbers of the options kept, which have none of them, the first one, or all."""


def sum_up(begin, end, left, right, sums, highest, high, low, infinite, maxima):
    """Set the sums and the maxima of the numbers of layers, of all columns, from where theirs begin."""
    for i in range(np.uint64(len(sums))):  # two loops, which the compiler vectorises
        total = (high[end + i] - high[begin + i]) + (low[end + i] - low[begin + i])
        sums[i] = np.inf if infinite[end + i] > infinite[begin + i] else total
    for i in range(np.uint64(len(highest))):
        highest[i] = max(maxima[left + i], maxima[right + i])


def first_wrong(parts):
    """Return the number of the first part that is not allowed; -1 if all are."""
    for i, x in enumerate(parts):
        if not (SMALLEST <= x <= GREATEST or x == 0):
            return i
    return -1


def replaceable(parts, n, group, begin, end, numbers, wholes):
    """Whether one of the options kept of its group, which have no more devices, is as good in all."""
    for back in range(1, end - begin + 1):
        j = np.uint64(end - back)
        as_good = group < 0 or wholes[GROUP, j] == group
        for i in range(n):
            as_good = as_good and numbers[i, j] <= parts[i]
        if as_good:
            return True
    return False


def row(first, place, choices, records, numbers, wholes, counts):
    """Keep the options of the stages that begin at a layer, from a place on, and count them.

    Returns the place behind them, how many parts the function returns and, where a part is not allowed, the
    last layer, the choice, the part and its value. The place is -1 where there is no array for the devices
    and those of a stage are not 1, 2, ...
    """
    starts, kinds, shares = choices  # locals: reading a field of a tuple of arrays counts references
    devices, replicas, column, groups, degree, strategy = kinds
    stored = wholes.shape[0]
    high, low, infinite, maxima, unsupported, types, in_bytes, out_bytes, batch, microbatches = records
    layers, columns = unsupported.shape[0] - 1, unsupported.shape[1]
    width = maxima.shape[1]
    sums, highest = np.empty((columns, width)), np.empty((columns, width))
    all_sums, all_highest, all_maxima = sums.reshape(-1), highest.reshape(-1), maxima.reshape(-1)
    size = columns * width  # of the numbers of a layer
    stage_index = first * (2 * layers - first + 1) // 2
    level = n = 0
    for last in range(first, layers):
        if last + 1 - first >= 2 << level:
            level += 1
        second = level * layers + last + 1 - (1 << level)
        sum_up(
            np.uint64(first * size), np.uint64((last + 1) * size),
            np.uint64((level * layers + first) * size), np.uint64(second * size),
            all_sums, all_highest, high, low, infinite, all_maxima,
        )  # fmt: skip
        for t in range(types.shape[0]):
            device = device_at(types, t)
            begin, fastest, c = place, np.inf, np.int32(-1)
            for k in range(np.uint64(starts[t]), np.uint64(starts[t + 1])):  # no check for negative places
                if column[k] != c:  # what does not depend on the devices is read once
                    c = column[k]
                    runs = unsupported[last + 1, c] == unsupported[first, c]
                    record = Layers(
                        fields_at(sums, c),
                        fields_at(highest, c),
                        fields_at(maxima, first * columns + c),
                        fields_at(maxima, last * columns + c),
                    )
                if not runs:
                    continue
                stage = Stage(
                    first, last, last - first + 1, layers, t, strategy[k], c, degree[k],
                    replicas[k], devices[k], shares[k], batch, microbatches,
                    in_bytes[stage_index], out_bytes[stage_index],
                )  # fmt: skip
                n, parts = as_parts(cost(stage, record, device))
                wrong = first_wrong(parts)
                if wrong >= 0:
                    if parts[0] == np.inf:  # it cannot run there
                        continue
                    return place, n, last, np.int64(k), wrong, parts[wrong]
                if parts[0] < fastest:
                    fastest = parts[0]
                elif replaceable(parts, n, groups[k], begin, place, numbers, wholes):
                    continue
                for i in range(n):
                    numbers[i, np.uint64(place)] = parts[i]
                if stored > 0:
                    wholes[DEVICES, place] = devices[k]
                elif devices[k] != place - begin + 1:  # one before it is left out
                    return -1, n, -1, -1, -1, 0.0
                if stored > 1:
                    wholes[REPLICAS, place], wholes[COLUMN, place] = replicas[k], c
                    wholes[GROUP, place] = groups[k]
                place += 1
            counts[stage_index * types.shape[0] + t] = place - begin
        stage_index += 1
    return place, n, -1, -1, -1, 0.0
