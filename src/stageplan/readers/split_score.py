"""How well a linear order of a graph can be split into stages: a small interval program, all in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Tensors = Sequence[tuple[int, Sequence[int], float]]  # (producer, consumers, seconds)
Score = tuple[float, float]

MAX_DEVICES = 8  # of each kind that are looked at
MAX_CUTS = 512  # positions where a split may cut; a longer order is cut on a grid


class Devices(NamedTuple):
    """Devices of one kind, each of which may hold one interval of the order."""

    number: int
    work: Sequence[float]  # finite seconds of each node, shape (n,)
    transfers: bool = True  # whether a device pays for the tensors that enter and leave it


def split_score(order: list[int], tensors: Tensors, devices: Sequence[Devices]) -> Score:
    """Score an order; lower is better.

    Parameters
    ----------
    order : list of int
        The nodes 0..n-1 in some order.
    tensors : sequence of (producer, consumers, seconds)
        Each is paid once by a stage that it enters, and once by a stage that it leaves.
    devices : sequence of Devices
        What the order is split over.

    Returns
    -------
    tuple of float
        The least possible largest load with all devices; and, for ties, the sum of the same over every
        smaller set of devices, each times its number of devices.
    """
    tables = interval_loads(order, tensors, devices)
    counts = tuple(min(kind.number, MAX_DEVICES) for kind in devices)
    # By the devices used: the least largest load of the stages up to each cut.
    reach: dict[tuple[int, ...], NDArray[np.float64]] = {}
    for used in product(*(range(count + 1) for count in counts)):
        best = np.full(len(tables[0]) + 1, np.inf)
        best[0] = 0.0
        for kind in np.flatnonzero(used):
            fewer = reach[(*used[:kind], used[kind] - 1, *used[kind + 1 :])]
            last_stage = np.maximum(fewer[:-1, None], tables[kind]).min(axis=0)
            best[1:] = np.minimum(best[1:], np.minimum(last_stage, fewer[1:]))
        reach[used] = best
    weighed = sum(sum(used) * float(best[-1]) for used, best in reach.items() if any(used))
    return float(reach[counts][-1]), weighed


def interval_loads(
    order: list[int], tensors: Tensors, devices: Sequence[Devices]
) -> list[NDArray[np.float64]]:
    """Load of the stage from cut i to cut j + 1 on each kind, shape (cuts, cuts); inf where it is empty."""
    n = len(order)
    pieces = min(n, MAX_CUTS)
    cuts = np.arange(pieces + 1) * n // pieces
    transfers = _transfers(order, tensors, cuts)
    empty = np.where(np.tri(len(transfers), k=-1), np.inf, 0.0)
    tables = []
    for kind in devices:
        done = np.concatenate(([0.0], np.cumsum(np.asarray(kind.work)[order])))[cuts]
        tables.append(done[None, 1:] - done[:-1, None] + transfers * kind.transfers + empty)
    return tables


def _transfers(order: list[int], tensors: Tensors, cuts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Seconds of the tensors that enter or leave each interval: a sum of rectangles over (start, end)."""
    position = np.argsort(order).tolist()
    boxes = [box for tensor in tensors for box in _rectangles(position, *tensor)]
    corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 5)
    bounds = corners[:, :4].astype(np.int64)
    rows = np.searchsorted(cuts[:-1], bounds[:, :2] + [0, 1])
    columns = np.searchsorted(cuts[1:] - 1, bounds[:, 2:] + [0, 1])
    size = len(cuts)
    corner_sum = np.zeros(size * size)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        seconds = corners[:, 4] if i == j else -corners[:, 4]
        corner_sum += np.bincount(rows[:, i] * size + columns[:, j], seconds, minlength=size * size)
    summed: NDArray[np.float64] = corner_sum.reshape(size, size).cumsum(axis=0).cumsum(axis=1)
    return summed[:-1, :-1]


def _rectangles(
    position: list[int], producer: int, consumers: Sequence[int], seconds: float
) -> list[tuple[int, int, int, int, float]]:
    """(first start, last start, first end, last end, seconds): the intervals that pay for one tensor."""
    made = position[producer]
    used = sorted(position[consumer] for consumer in consumers)
    end = len(position) - 1
    # It leaves every interval that holds its producer, but for those that hold all consumers as well.
    boxes = [(0, made, made, end, seconds)]
    boxes.append((0, min(made, used[0]), max(made, used[-1]), end, -seconds))
    # It enters an interval behind its producer at the first consumer there, one before it at the last.
    before = after = made
    for use in used:
        if use > made:
            boxes.append((before + 1, use, use, end, seconds))
            before = use
    for use in reversed(used):
        if use < made:
            boxes.append((0, use, use, after - 1, seconds))
            after = use
    return boxes
