"""How a search came to its plan: the best plan and the bound over time."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..goal import Objective
from ..plan_file import PlanDocument, ProgressDocument
from ..quantities import show_seconds
from .chart import Chart
from .scale import Scale
from .svg import Picture

UNITS: dict[Objective, str] = {"cost": "$", "price": "$/h", "throughput": "examples/s"}


@dataclass(frozen=True)
class History:
    """What a search had found, and when.

    Attributes
    ----------
    measure, unit : str
        What plans are compared by, and its unit.
    best : list of (float, float)
        Seconds, and the measure of the best feasible plan, at each improvement and at the end.
    bounds : list of (float, float)
        Seconds, and the bound, where it is known.
    """

    measure: str
    unit: str
    best: list[tuple[float, float]]
    bounds: list[tuple[float, float]]


def history_of(document: PlanDocument) -> History | None:
    """Return the history of the search for a plan; None where the document has none."""
    search = document.search
    if search is None or not search.history:
        return None
    last = search.history[-1]
    best = [(p.runtime, _value(p)) for p in search.history if p.violation == 0]
    bounds = [(p.runtime, p.bound) for p in search.history if p.bound is not None]
    if best:
        best.append((search.runtime, best[-1][1]))
    if search.bound is not None:
        bounds.append((search.runtime, search.bound))
    known = last.plan_cost is not None  # and may be negative; other bounds of 0 say nothing
    return History(
        *_measure(last),
        [point for point in best if math.isfinite(point[1])],
        [point for point in bounds if math.isfinite(point[1]) and (known or point[1] > 0)],
    )


def _measure(progress: ProgressDocument) -> tuple[str, str]:
    """Return what plans are compared by, and its unit."""
    objective = progress.objective
    return ("plan cost", "") if progress.plan_cost is not None else (objective, UNITS[objective])


def _value(progress: ProgressDocument) -> float:
    if progress.plan_cost is not None:
        return progress.plan_cost
    if progress.objective == "throughput":
        return math.inf if progress.throughput is None else progress.throughput
    return progress.cost if progress.objective == "cost" else progress.price


def picture_of(history: History) -> Picture | None:
    """Draw the best plan and the bound over time; None where no plan met all limits, or all was at once."""
    points, unit = history.best + history.bounds, history.unit
    times = [time for time, _ in points]
    if not history.best or min(times) == max(times):
        return None
    chart = Chart(
        f"Best plan and bound over {show_seconds(max(times))}",
        Scale.of(times), Scale.of([value for _, value in points]),
        "time of the search, s", name_of(history),
    )  # fmt: skip
    chart.steps(history.bounds, "bound")
    chart.steps(history.best, "main")
    for time, value in history.best:
        chart.dot(time, value, "main", f"{value:,.6g} {unit}\nafter {show_seconds(time)}")
    for time, value in history.bounds:
        chart.dot(time, value, "over", f"bound {value:,.6g} {unit}\nafter {show_seconds(time)}", 2)
    return chart.picture


def name_of(history: History) -> str:
    """Name what plans are compared by, with its unit."""
    return f"{history.measure}, {history.unit}" if history.unit else history.measure


HEAD = ("time", "generation", "schemes scored", "best", "bound", "violation")


def rows(document: PlanDocument) -> list[tuple[str, ...]]:
    """Return the numbers of each improvement."""
    search = document.search
    if search is None:
        return []
    return [
        (
            show_seconds(p.runtime),
            f"{p.generation:,}",
            f"{p.evaluations:,}",
            f"{_value(p):,.6g} {_measure(p)[1]}".rstrip(),
            "infinite" if p.bound is None else f"{p.bound:,.6g}",
            f"{p.violation:.4g}",
        )
        for p in search.history
    ]
