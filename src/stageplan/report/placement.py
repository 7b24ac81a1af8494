"""The placement strip: which layers run on which device type, and in which stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..plan_file import PlanDocument, StageDocument
from ..quantities import show_bytes, show_seconds
from .subject import Run, Subject, how, stage_name
from .svg import Picture, shorten

COLORS = 8  # of device types; more types repeat them
MOST_LAYERS = 300
"""Most layers that each have a text of their own."""
MOST_RUNS = 300
"""Most runs of layers that are drawn."""
_ROW, _BAR = 48, 30


def color_of(types: Sequence[str], name: str) -> int:
    """Return the number of the colour of a device type."""
    return types.index(name) % COLORS


def strip(subject: Subject) -> Picture:
    """Draw the layers from left to right, in one row for each device type."""
    document, names, types, runs = subject.document, subject.names, subject.types, subject.runs()
    picture = Picture(
        30 + _ROW * len(types) + 16,
        f"Placement of {len(names)} layers in {len(document.stages)} stages on {', '.join(types)}",
    )
    unit = 1 / len(names)
    for row, name in enumerate(types):
        picture.text(0, 42 + _ROW * row, shorten(name, 40), "strong")
        picture.rect(0, 46 + _ROW * row, 1, _BAR, "track")
    for number, run in enumerate(runs[:MOST_RUNS]):
        _draw_run(picture, subject, number, run, unit)
    if len(names) <= MOST_LAYERS:
        for place, tip in enumerate(_layer_tips(subject, runs)):
            picture.rect(place * unit, 0, unit, picture.height - 16, "hit", tip)
    bottom = picture.height - 4
    picture.text(0, bottom, shorten(names[0], 24), "weak")
    if len(names) > 1:
        picture.text(1, bottom, shorten(names[-1], 24), "weak", "end")
    return picture


def _draw_run(picture: Picture, subject: Subject, number: int, run: Run, unit: float) -> None:
    document, types = subject.document, subject.types
    stage = document.stages[run.stage]
    x, width = run.first * unit, (run.last - run.first) * unit
    row, color = types.index(stage.type), color_of(types, stage.type)
    alone = len(subject.names) > MOST_LAYERS  # else each layer has a text, above this one
    tip = f"stage {stage_name(document, run.stage)}, {stage.devices:,} devices" if alone else ""
    picture.rect(x, 0, width, 22, "odd" if number % 2 else "even")
    middle = x + width / 2
    picture.fitting(middle, 15, width, [f"stage {run.stage + 1}", str(run.stage + 1)])
    picture.rect(x, 46 + _ROW * row, width, _BAR, f"t{color} edge", tip)
    inside = "on0" if color == 0 else "on"
    above, below = _lines_of(stage)
    picture.fitting(middle, 59 + _ROW * row, width, above, inside)
    picture.fitting(middle, 71 + _ROW * row, width, below, inside)


def _lines_of(stage: StageDocument) -> tuple[list[str], list[str]]:
    """Return what may be written into a stage in two lines, of each the longest first."""
    strategy, _, besides = how(stage).strip().partition("+")
    if besides:
        besides, _, replicas = besides.rpartition(" ")
        count = f"{stage.devices:,} devices"
        return [f"{strategy} {replicas}", replicas], [f"+{besides}, {count}", f"+{besides}", "+…"]
    return [strategy, strategy.rpartition(" ")[2]], [f"{stage.devices:,} devices"]


def _layer_tips(subject: Subject, runs: Sequence[Run]) -> Iterator[str]:
    layers, names = subject.document.layers, subject.names
    for run in runs:
        devices = subject.document.stages[run.stage].devices
        stage = f"stage {stage_name(subject.document, run.stage)}, {devices:,} devices"
        for place in range(run.first, run.last):
            facts = ""
            if layers:
                kind, size = layers[place].kind, layers[place].parameters
                facts = (f" ({kind})" if kind else "") + (f", {show_bytes(size)} of weights" if size else "")
            yield f"layer {place + 1}: {shorten(names[place], 80)}{facts}\n{stage}"


def small_strip(subject: Subject, types: Sequence[str]) -> Picture:
    """Draw the layers in one row, coloured by device type."""
    document, unit = subject.document, 1 / len(subject.names)
    picture = Picture(22, f"Placement in {len(document.stages)} stages on {', '.join(subject.types)}")
    for run in subject.runs()[:MOST_RUNS]:
        stage = document.stages[run.stage]
        x, width, color = run.first * unit, (run.last - run.first) * unit, color_of(types, stage.type)
        tip = f"stage {stage_name(document, run.stage)}\n{span(document, run.stage)}"
        picture.rect(x, 1, width, 20, f"t{color} edge", tip)
        inside = "on0" if color == 0 else "on"
        short = how(stage).strip()
        picture.fitting(x + width / 2, 15, width, [short, short.rpartition(" ")[2]], inside)
    return picture


def span(document: PlanDocument, number: int) -> str:
    """Name the first and the last layer of a stage."""
    layers = document.stages[number].layers
    if len(layers) == 1:
        return layers[0]
    return f"{layers[0]} … {layers[-1]} ({len(layers)} layers)"


HEAD = (
    "stage", "type", "strategy", "replicas", "devices", "layers", "in flight", "time", "compute", "transfer",
    "all-reduce, update", "memory", "$/h",
)  # fmt: skip
WORDS = (1, 2, 5)
"""Columns of `HEAD` that are not numbers."""


def rows(document: PlanDocument) -> list[tuple[str, ...]]:
    """Return the numbers of the stages; times are of an example, memory is of a device."""
    return [
        (
            str(number),
            stage.type,
            stage.strategy or "–",
            str(stage.devices if stage.replicas is None else stage.replicas),
            f"{stage.devices:,}",
            span(document, number - 1),
            str(stage.in_flight),
            *map(show_seconds, (stage.time, stage.compute, stage.transfer, stage.sync)),
            show_bytes(stage.memory),
            f"{stage.price:,.4g}",
        )
        for number, stage in enumerate(document.stages, start=1)
    ]
