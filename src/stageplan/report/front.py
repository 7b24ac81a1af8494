"""Cost, or hourly price, against throughput."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from ..front_file import FrontDocument, PointDocument
from .chart import Chart
from .scale import Scale
from .subject import devices_of
from .svg import Picture, Point


class Value(NamedTuple):
    """A point of a front: examples/s, and $ or $/hour with their bound."""

    throughput: float
    value: float
    bound: float
    proven: bool


def values_of(front: FrontDocument) -> list[Value]:
    """Return the points of a front whose throughput is finite, the slowest first."""
    points = [
        Value(point.plan.throughput, value_of(front, point), point.bound, point.status.startswith("optimal"))
        for point in front.points
        if point.plan.throughput is not None
    ]
    return sorted(points)


def value_of(front: FrontDocument, point: PointDocument) -> float:
    """Return what is traded for throughput, $ or $/hour."""
    return point.plan.cost if front.against == "cost" else point.plan.price


def costs_by_throughput(points: list[Value]) -> list[Point]:
    """Return the corners of the line of what a throughput costs: that of the next point that is as fast."""
    corners = [(points[0].throughput, points[0].value)] if points else []
    for slower, faster in pairwise(points):
        corners += [(slower.throughput, faster.value), (faster.throughput, faster.value)]
    return corners


def bounds_by_throughput(points: list[Value]) -> list[Point]:
    """Return the corners of the line below which no plan is: a point's bound holds for all faster plans."""
    corners = [(points[0].throughput, points[0].bound)] if points else []
    for slower, faster in pairwise(points):
        corners += [(faster.throughput, slower.bound), (faster.throughput, faster.bound)]
    return corners


def picture_of(front: FrontDocument) -> Picture | None:
    """Draw a front with its bound; None where it has no points."""
    points = values_of(front)
    if not points:
        return None
    unit = "$" if front.against == "cost" else "$/h"
    fastest = [] if front.fastest is None else [front.fastest]
    chart = Chart(
        f"{front.against.capitalize()} against throughput of {len(points)} plans",
        Scale.of([point.throughput for point in points] + fastest),
        Scale.of([size for point in points for size in (point.value, point.bound)]),
        "throughput, examples/s", f"{front.against}, {unit}",
    )  # fmt: skip
    upper, lower = costs_by_throughput(points), bounds_by_throughput(points)
    chart.line(upper + lower[::-1], "between", closed=True)
    chart.line(lower, "bound")
    chart.line(upper, "main")
    if front.fastest is not None:
        chart.upright(front.fastest, f"no plan is faster than {front.fastest:,.6g} examples/s", "dashed")
    for point in points:
        how = "proven" if point.proven else f"bound {point.bound:,.6g} {unit}"
        tip = f"{point.throughput:,.6g} examples/s\n{point.value:,.6g} {unit}, {how}"
        chart.dot(point.throughput, point.value, "main" if point.proven else "open", tip)
    return chart.picture


HEAD = ("point", "examples/s", "cost", "$/h", "devices", "stages", "bound", "gap")


def rows(front: FrontDocument) -> list[tuple[str, ...]]:
    """Return the numbers of the points."""
    return [
        (
            str(number),
            "infinite" if point.plan.throughput is None else f"{point.plan.throughput:,.6g}",
            f"${point.plan.cost:,.2f}",
            f"{point.plan.price:,.4g}",
            f"{devices_of(point.plan):,}",
            str(len(point.plan.stages)),
            f"{point.bound:,.6g}",
            "proven"
            if point.status.startswith("optimal")
            else "–"
            if point.gap is None
            else f"{point.gap:.2%}",
        )
        for number, point in enumerate(front.points, start=1)
    ]
