"""A sweep as a grid: the best plan over two of its axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..sweeps.axes import Dimension, Range
from ..sweeps.results import SweepResults
from ..sweeps.sweep import Sweep

MOST_COLUMNS, MOST_ROWS = 40, 24
_APART = ("workload", "examples")  # axes whose values are not compared with each other
Measure = Literal["cost", "throughput", "price"]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Side:
    """One side of a grid: a dimension of the sweep, of which neighbouring values may share a cell.

    Attributes
    ----------
    name : str
        Its axes.
    labels : tuple of str
        Of the cells.
    """

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """The best plan of each cell.

    Attributes
    ----------
    measure : str
        What the plans are compared by: ``"cost"``, ``"throughput"`` or ``"price"``.
    across, up : Side
        The sides; `up` has one cell where the sweep has one axis alone.
    over : tuple of str
        The other axes, over which the best plan counts.
    best : ndarray of float64, shape (rows, columns)
        The measure of the best plan that meets all limits; NaN where none does.
    feasible, done : ndarray of int64, shape (rows, columns)
        Set-ups with a plan that meets all limits, and set-ups with rows.
    """

    measure: Measure
    across: Side
    up: Side
    over: tuple[str, ...]
    best: Array
    feasible: Array
    done: Array


def grid_of(results: SweepResults) -> Grid:
    """Find the best plan over the two axes of a sweep that have most values, from its complete chunks."""
    sweep = results.sweep
    chosen = _chosen(sweep)
    limits = (MOST_COLUMNS, MOST_ROWS)
    cells = [min(len(sweep.dimensions[i]), most) for i, most in zip(chosen, limits, strict=False)]
    columns, rows = (*cells, 1, 1)[:2]
    measure = measure_of(sweep)
    best = np.full(rows * columns, np.inf)
    feasible, done = np.zeros(rows * columns, np.int64), np.zeros(rows * columns, np.int64)
    for chunk in results.columns():
        cell = _cells(sweep, chunk["set_up"].astype(np.int64), chosen, (columns, rows))
        meets = chunk["violation"] == 0
        value = np.nan_to_num(chunk[measure][meets].astype(np.float64), nan=np.inf)
        np.minimum.at(best, cell[meets], -value if measure == "throughput" else value)
        done += np.bincount(cell, minlength=rows * columns)
        feasible += np.bincount(cell[meets], minlength=rows * columns)
    best[feasible == 0] = np.nan
    sides = [_side(sweep.dimensions[i], count) for i, count in zip(chosen, (columns, rows), strict=False)]
    across, up = (*sides, Side("", ("",)), Side("", ("",)))[:2]
    shape = (rows, columns)
    return Grid(
        measure, across, up,
        tuple(", ".join(d.axes) for i, d in enumerate(sweep.dimensions) if i not in chosen and len(d) > 1),
        (-best if measure == "throughput" else best).reshape(shape),
        feasible.reshape(shape), done.reshape(shape),
    )  # fmt: skip


def measure_of(sweep: Sweep) -> Measure:
    """Return what the plans of a sweep are compared by: the first of its objectives."""
    objectives: Any = sweep.axes.get("objective")
    measure: Measure = objectives[0] if objectives else next(iter(sweep.workloads.values())).goal.objective
    return measure


def _chosen(sweep: Sweep) -> list[int]:
    """Choose two dimensions, the one with more cells first: those that are not compared, and long ones."""
    sizes = [len(dimension) for dimension in sweep.dimensions]
    order = sorted(
        (i for i, size in enumerate(sizes) if size > 1),
        key=lambda i: (not any(axis in _APART for axis in sweep.dimensions[i].axes), -sizes[i]),
    )
    return sorted(order[:2], key=lambda i: -sizes[i])


def _cells(sweep: Sweep, set_ups: Array, chosen: list[int], shape: tuple[int, int]) -> Array:
    """Return the cell of each set-up, row by row."""
    cell, factor = np.zeros(len(set_ups), np.int64), 1
    for i, count in zip(chosen, shape, strict=False):
        stride = math.prod(map(len, sweep.dimensions[i + 1 :]))
        place = set_ups // stride % len(sweep.dimensions[i])
        cell += factor * (place * count // len(sweep.dimensions[i]))
        factor *= count
    return cell


def _side(dimension: Dimension, cells: int) -> Side:
    count = len(dimension)
    firsts = [-(-i * count // cells) for i in range(cells + 1)]
    labels = []
    for first, after in pairwise(firsts):
        ends = [value_at(dimension, place) for place in dict.fromkeys((first, after - 1))]
        labels.append(" … ".join(ends))
    return Side(", ".join(dimension.axes), tuple(labels))


def value_at(dimension: Dimension, place: int) -> str:
    """Write the values of a dimension's axes at a place."""
    values = (
        float(axis.at(np.array([place]))[0]) if isinstance(axis, Range) else axis[place]
        for axis in dimension.axes.values()
    )
    return ", ".join(map(_show, values))


def _show(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return f"{value:.6g}"
    return " ".join(map(str, value)) or "plain" if isinstance(value, (list, tuple)) else str(value)
