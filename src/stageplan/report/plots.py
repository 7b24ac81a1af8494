"""Plots with matplotlib, of the same numbers as the pictures of a report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..fields import printable
from ..front import Front
from ..plan import Plan
from ..quantities import show_bytes
from ..result import Result
from ..sweeps.results import SweepResults
from . import front as fronts
from . import grid, placement, search, stages, sweep, timeline
from .colors import PALETTE, color
from .memory import memory_of
from .subject import Subject, front_document, how, stage_name
from .svg import Point, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 11  # inches
_DARK = "#00000080"


def _figure(height: float) -> Figure:
    """Make a figure; ImportError where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plots require matplotlib: pip install 'stageplan[plot]'") from None
    return Figure(figsize=(_WIDTH, height), layout="constrained")


def _text(text: str, length: int = 60) -> str:
    """Return a text as matplotlib shows it as it is: it would take what is between $ for a formula."""
    return shorten(printable(text), length).replace("$", r"\$")


# Plans --------------------------------------------------------------------------------------------------


def plot_plan(plan: Plan | Result) -> Figure:
    """Draw a plan, and the search for it where it is a result: see `Plan.plot`."""
    subject = Subject.of(plan.plan if isinstance(plan, Result) else plan, plan.to_dict())
    has_schedule = 0 < timeline.count_passes(subject) <= timeline.MOST_PASSES
    history = search.history_of(subject.document)
    count = min(len(subject.document.stages), stages.MOST_STAGES)
    rows = 0.26 * count + 1.1
    heights = [0.45 * len(subject.types) + 1.0, *[rows] * has_schedule, rows, *[2.6] * (history is not None)]
    figure = _figure(sum(heights) + 0.4)
    figure.suptitle(_text(f"{subject.document.problem}: ${subject.document.cost:,.2f}", 100))
    spec = figure.add_gridspec(len(heights), 2, height_ratios=heights)
    _placement(figure.add_subplot(spec[0, :]), subject)
    if has_schedule:
        _schedule(figure.add_subplot(spec[1, :]), subject)
    below = 1 + has_schedule
    _times(figure.add_subplot(spec[below, 0]), subject)
    _memory(figure.add_subplot(spec[below, 1]), subject)
    if history is not None:
        _history(figure.add_subplot(spec[below + 1, :]), history)
    return figure


def _placement(axes: Axes, subject: Subject) -> None:
    document, types = subject.document, subject.types
    for run in subject.runs():
        stage = document.stages[run.stage]
        row, width = types.index(stage.type), run.last - run.first
        fill = PALETTE[placement.color_of(types, stage.type)]
        axes.broken_barh([(run.first, width)], (row - 0.4, 0.8), facecolor=fill, edgecolor=_DARK)
        if width > len(subject.names) / 40:
            ink = "white" if fill == PALETTE[0] else "black"
            text = f"{run.stage + 1}\n{_text(how(stage).strip(), 40)}"
            axes.text(
                run.first + width / 2, row, text, ha="center", va="center", color=ink, size=6, clip_on=True
            )
    axes.set(xlim=(0, len(subject.names)), xlabel="layer")
    axes.set_title("Placement: stages and replicas (×)", loc="left", size=10)
    axes.set_yticks(range(len(types)), [_text(name, 30) for name in types])
    axes.invert_yaxis()


def _rows(axes: Axes, subject: Subject, title: str, unit: str) -> None:
    """Name the stages of the rows, from above."""
    document = subject.document
    count = min(len(document.stages), stages.MOST_STAGES)
    names = [_text(stage_name(document, i), 36) for i in range(count)]
    axes.set_yticks(range(count), names, size=7)
    axes.set(ylim=(count - 0.5, -0.5), xlabel=unit)
    axes.set_title(title, loc="left", pad=16, size=10)


def _schedule(axes: Axes, subject: Subject) -> None:
    line = timeline.timeline_of(subject)
    drawn = timeline.blocks(line)
    for i, made in enumerate(drawn):
        spans = [(block.start, block.end - block.start) for block in made]
        fills = [color(timeline.KINDS[block.direction]) for block in made]
        axes.broken_barh(spans, (i - 0.4, 0.6), facecolors=fills)
        moved = [(event.departure, event.arrival - event.departure) for event in line.passes[i]]
        axes.broken_barh(moved, (i + 0.22, 0.18), facecolor=PALETTE[1])
        begin, end = line.syncs[i]
        axes.broken_barh([(begin, end - begin)], (i - 0.4, 0.6), facecolor=PALETTE[3])
    _rows(axes, subject, "Schedule of one iteration", "s")
    axes.set_xlim(0, line.duration or 1.0)
    _legend(axes, timeline.kinds(line, drawn)[:-1])


def _times(axes: Axes, subject: Subject) -> None:
    overlap = subject.goal.overlap
    for i, stage in enumerate(subject.document.stages[: stages.MOST_STAGES]):
        begin = 0.0 if overlap else stage.compute
        axes.barh(i - 0.1, stage.compute, 0.5, color=PALETTE[0])
        axes.barh(i + 0.28, stage.transfer, 0.22, left=begin, color=PALETTE[1])
        axes.barh(i, stage.sync, 0.7, left=stages.busy(stage, overlap), color=PALETTE[3])
        if stage.bottleneck:
            axes.plot(stages.busy(stage, overlap) + stage.sync, i, "k|", markersize=12)
    _rows(axes, subject, "Time by stage (mark: bottleneck)", "s an example")
    _legend(axes, stages.kinds(subject.document))


def _memory(axes: Axes, subject: Subject) -> None:
    assert subject.plan is not None
    held = memory_of(subject.plan)
    for i, each in enumerate(held[: stages.MOST_STAGES]):
        at = 0.0
        for name, size in each.parts.items():
            axes.barh(
                i, size, 0.7, left=at, color=color(stages.PART_COLORS[name]), edgecolor=_DARK, linewidth=0.4
            )
            at += size
        if math.isfinite(each.capacity):
            axes.plot(each.capacity, i, "k|", markersize=12)
    _rows(axes, subject, "Memory of each device by stage (mark: capacity)", "")
    axes.xaxis.set_major_formatter(lambda value, _: show_bytes(value))
    _legend(axes, [(stages.PART_COLORS[name], name) for name in stages.parts_in(held)])


def _legend(axes: Axes, entries: Iterable[tuple[str, str]]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=color(kind), label=text) for kind, text in entries]
    axes.legend(
        handles=handles, ncols=len(handles), loc="lower left", bbox_to_anchor=(0, 1), frameon=False,
        fontsize=6, borderaxespad=0, columnspacing=1, handlelength=1,
    )  # fmt: skip


def _history(axes: Axes, history: search.History) -> None:
    _line(axes, history.best, "o-", PALETTE[0], "best plan", drawstyle="steps-post")
    _line(axes, history.bounds, ".--", PALETTE[5], "bound", drawstyle="steps-post")
    axes.set(xlabel="s", ylabel=_text(search.name_of(history)))
    axes.set_title("Search", loc="left", size=10)
    axes.legend(fontsize=7)


def _line(axes: Axes, points: Sequence[Point], style: str, fill: str, label: str, **how: Any) -> None:
    axes.plot(*zip(*points, strict=True) if points else ((), ()), style, color=fill, label=label, **how)


# Fronts and sweeps --------------------------------------------------------------------------------------


def plot_front(front: Front) -> Figure:
    """Draw a front and its bound: see `Front.plot`."""
    figure = _figure(5)
    axes, document = figure.add_subplot(), front_document(front.to_dict())
    points = fronts.values_of(document)
    upper, lower = fronts.costs_by_throughput(points), fronts.bounds_by_throughput(points)
    if points:
        axes.fill(*zip(*upper, *lower[::-1], strict=True), color=PALETTE[5], alpha=0.12)
    _line(axes, lower, "--", PALETTE[5], "bound: no plan is below")
    _line(axes, upper, "-", PALETTE[0], "cheapest plan at a throughput")
    _line(axes, [(point.throughput, point.value) for point in points], "o", PALETTE[0], "plans")
    if document.fastest is not None:
        axes.axvline(document.fastest, color="black", linestyle=":", label="no plan is faster")
    unit = "$" if front.against == "cost" else "$/h"
    axes.set(xlabel="throughput, examples/s", ylabel=_text(f"{front.against}, {unit}"))
    axes.set_title(_text(document.problem))
    axes.legend()
    return figure


def plot_sweep(results: SweepResults) -> Figure:
    """Draw the heat map and the fronts of a sweep: see `SweepResults.plot`."""
    cells, plans = grid.grid_of(results), sweep.plans_of(results)
    figure = _figure(4.5 * (1 + len(plans)))
    axes = figure.subplots(1 + len(plans), squeeze=False)[:, 0]
    _heat_map(axes[0], cells)
    for place, each in zip(axes[1:], plans, strict=True):
        place.plot(each.throughput, each.cost, ".", color="#888888", alpha=0.4, markersize=3, label="plans")
        values = [(row.throughput, row.cost) for row in each.front]
        points = [fronts.Value(x, y, y, True) for x, y in values if x is not None and y is not None]
        _line(place, fronts.costs_by_throughput(sorted(points)), "-", PALETTE[0], "front")
        place.set(xlabel="throughput, examples/s", ylabel=_text("cost, $"))
        place.set_title(_text(f"{each.workload}, {each.examples:,.10g} examples"))
        place.legend()
    return figure


def _heat_map(axes: Axes, cells: grid.Grid) -> None:
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    finite = cells.best[np.isfinite(cells.best)]
    order = sweep.COLORS[::-1] if cells.measure == "throughput" else sweep.COLORS
    norm = LogNorm(finite.min(), finite.max()) if finite.size and 0 < finite.min() < finite.max() else None
    image = axes.imshow(
        cells.best,
        cmap=LinearSegmentedColormap.from_list("stageplan", order),
        norm=norm,
        aspect="auto",
        origin="lower",
    )
    assert axes.figure is not None
    axes.figure.colorbar(image, ax=axes, label=_text(f"{cells.measure}, {search.UNITS[cells.measure]}"))
    for side, ticks, name in (
        (cells.across, axes.set_xticks, axes.set_xlabel),
        (cells.up, axes.set_yticks, axes.set_ylabel),
    ):
        places = range(0, len(side.labels), -(-len(side.labels) // 10))
        ticks(places, [_text(sweep.short(side.labels[i])) for i in places])
        name(_text(side.name))
    axes.set_title("Best plan that meets all limits; white: none")
