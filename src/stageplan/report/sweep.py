"""Pictures of a sweep: a heat map over two axes, and the fronts over its plans."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..sweeps.front import FrontRow
from ..sweeps.results import SweepResults
from .chart import Chart
from .front import Value, costs_by_throughput
from .grid import Array, Grid, Measure
from .scale import Scale, show_number
from .search import UNITS
from .svg import Picture, shorten

COLORS = ("#00224e", "#35456c", "#666970", "#948e77", "#c8b866", "#fee838")
"""From the best value to the worst: as well told apart by those who do not see red or green."""
MOST_FRONTS = 4
_MOST_PLANS = 1_000_000  # that are drawn behind a front
_CELL, _GUTTER = 22, 0.15
_BINS = (60, 34)  # of the plans behind a front


class Plans(NamedTuple):
    """The plans of a sweep for one workload and number of examples.

    Attributes
    ----------
    workload, examples
        What they are for.
    front : list of FrontRow
        Plans of which none is both faster and cheaper, the cheapest first.
    throughput, cost : ndarray of float64
        Of all plans that meet all limits.
    """

    workload: str
    examples: float
    front: list[FrontRow]
    throughput: Array
    cost: Array


def plans_of(results: SweepResults) -> list[Plans]:
    """Return the plans of each workload and number of examples, as a front compares them."""
    fronts: dict[tuple[str, float], list[FrontRow]] = {}
    for row in results.front().rows:
        fronts.setdefault((row.workload, row.examples), []).append(row)
    drawn = dict(list(fronts.items())[:MOST_FRONTS])
    found: dict[tuple[str, float], list[tuple[Array, Array]]] = {key: [] for key in drawn}
    for chunk in results.columns():
        for (workload, examples), parts in found.items():
            own = (
                (chunk["workload"] == workload) & (chunk["examples"] == examples) & (chunk["violation"] == 0)
            )
            own &= np.isfinite(chunk["throughput"].astype(np.float64))
            if sum(len(part) for part, _ in parts) < _MOST_PLANS:
                parts.append((chunk["throughput"][own], chunk["cost"][own]))
    return [
        Plans(*key, front, *(np.concatenate([part[axis] for part in found[key]]) for axis in (0, 1)))
        for key, front in drawn.items()
    ]


def heat_map(grid: Grid) -> Picture:
    """Draw the best plan over two axes of a sweep."""
    rows, columns = grid.best.shape
    picture = Picture(
        _CELL * rows + 54,
        f"{grid.measure} by {grid.across.name}{' and ' + grid.up.name if grid.up.name else ''}",
    )
    scale, unit = color_scale(grid), UNITS[grid.measure]
    width = (1 - _GUTTER) / columns
    picture.text(0, 12, shorten(grid.up.name, 40), "weak")
    for row in range(rows):
        top = 18 + _CELL * (rows - 1 - row)
        picture.text(_GUTTER - 0.01, top + 15, short(grid.up.labels[row]), "", "end")
        for column in range(columns):
            value = float(grid.best[row, column])
            tip = f"{grid.across.name}: {grid.across.labels[column]}\n"
            tip += f"{grid.up.name}: {grid.up.labels[row]}\n" if grid.up.name else ""
            count, done = int(grid.feasible[row, column]), int(grid.done[row, column])
            shown = (
                f"{value:,.6g} {unit}" if count else "no plan meets all limits" if done else "not solved yet"
            )
            kind, fill = ("cell", color_of(scale, value, grid.measure)) if count else ("none", "")
            x = _GUTTER + column * width
            tip += f"{shown}\n{count:,} of {done:,} set-ups have a plan"
            picture.rect(x, top, width, _CELL, kind, tip, fill)
    _columns(picture, grid, 18 + _CELL * rows + 13)
    return picture


def _columns(picture: Picture, grid: Grid, y: float) -> None:
    """Write some labels of the columns under them."""
    count = len(grid.across.labels)
    for place in sorted({0, count // 3, 2 * count // 3, count - 1} if count > 3 else range(count)):
        x = _GUTTER + (place + 0.5) * (1 - _GUTTER) / count
        anchor = "end" if x > 0.9 else "middle"
        picture.text(1.0 if anchor == "end" else x, y, short(grid.across.labels[place]), "", anchor)
    picture.text(1, y + 18, f"{shorten(grid.across.name, 40)} →", "weak", "end")


def short(label: str) -> str:
    """Return the first value of a cell in few characters."""
    first = label.partition(" … ")[0]
    try:
        return show_number(float(first))
    except ValueError:
        return shorten(first, 10)


def color_scale(grid: Grid) -> Scale:
    """Return the scale of the colours: equal ratios, so that a few large values do not hide the others."""
    scale = Scale.of(grid.best[np.isfinite(grid.best)].tolist())
    return replace(scale, log=scale.low > 0)


def color_of(scale: Scale, value: float, measure: Measure) -> str:
    """Return the colour of a value: dark where it is good."""
    if not math.isfinite(value):
        return COLORS[0]
    ends = scale.at(scale.low), scale.at(scale.high)
    part = (scale.at(value) - ends[0]) / (ends[1] - ends[0])
    place = (1 - part if measure == "throughput" else part) * (len(COLORS) - 1)
    low = min(int(place), len(COLORS) - 2)
    pairs = zip(_channels(COLORS[low]), _channels(COLORS[low + 1]), strict=True)
    mixed = (round(a + (b - a) * (place - low)) for a, b in pairs)
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def _channels(color: str) -> list[int]:
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]


def color_key(grid: Grid) -> Picture:
    """Draw the colours and the values that they stand for."""
    scale, steps = color_scale(grid), 24
    picture = Picture(32, "Colours of the heat map")
    for i in range(steps):
        value = _between(scale, (i + 0.5) / steps)
        picture.rect(i / steps, 0, 1 / steps, 12, "cell", "", color_of(scale, value, grid.measure))
    for part, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        picture.text(part, 26, f"{_between(scale, part):,.4g} {UNITS[grid.measure]}", "weak", anchor)
    return picture


def _between(scale: Scale, part: float) -> float:
    if scale.log:
        return float(scale.low * (scale.high / scale.low) ** part)
    return scale.low + (scale.high - scale.low) * part


def front_picture(plans: Plans) -> Picture | None:
    """Draw the front over all plans; darker where there are more of them. None without a finite one."""
    points = sorted(
        Value(row.throughput, row.cost, row.cost, True)
        for row in plans.front
        if row.throughput is not None and row.cost is not None
    )
    if not points:
        return None
    across, up = Scale.of(plans.throughput.tolist()), Scale.of(plans.cost.tolist())
    chart = Chart(
        f"Cost against throughput of {len(plans.cost):,} plans",
        across,
        up,
        "throughput, examples/s",
        "cost, $",
    )
    _draw_plans(chart, plans)
    chart.line(costs_by_throughput(points), "main")
    for row in plans.front:
        if row.throughput is not None and row.cost is not None:
            tip = f"set-up {row.set_up:,}: {row.status}\n{row.throughput:,.6g} examples/s\n${row.cost:,.6g}"
            chart.dot(row.throughput, row.cost, "main", tip, 3)
    return chart.picture


def _draw_plans(chart: Chart, plans: Plans) -> None:
    """Draw how many plans are where, in four shades."""
    x = np.array([chart.across.at(value) for value in plans.throughput.tolist()])
    y = np.array([chart.y(value) for value in plans.cost.tolist()])
    height = chart.picture.height / _BINS[1]
    counts, _, _ = np.histogram2d(y, x, (_BINS[1], _BINS[0]), ((0, chart.picture.height), (0, 1)))
    shades = np.ceil(4 * np.log1p(counts) / np.log1p(counts.max())).astype(int)
    for row in range(_BINS[1]):
        for shade in range(1, 5):
            at = np.flatnonzero(shades[row] == shade).tolist()
            spans = [(column / _BINS[0], (column + 1) / _BINS[0]) for column in at]
            chart.picture.rects(spans, row * height, height, f"shade{shade}")


HEAD = ("set-up", "examples/s", "cost", "$/h", "stages", "devices", "status")


def front_rows(plans: Plans) -> list[tuple[str, ...]]:
    """Return the numbers of a front."""
    return [
        (
            f"{row.set_up:,}",
            "infinite" if row.throughput is None else f"{row.throughput:,.6g}",
            f"${row.cost:,.6g}",
            f"{row.price:,.4g}",
            f"{row.stages}",
            f"{row.devices:,}",
            row.status,
        )
        for row in plans.front
    ]


def grid_rows(grid: Grid) -> list[tuple[str, ...]]:
    """Return the best value of each cell, in the rows and columns of the picture."""
    return [
        (
            up or "–",
            *(f"{value:,.4g}" if count else "–" for value, count in zip(values, counts, strict=True)),
        )
        for up, values, counts in zip(grid.up.labels, grid.best.tolist(), grid.feasible.tolist(), strict=True)
    ]
