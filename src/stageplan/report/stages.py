"""Pictures of the stages, one below the other: their time, their cost and their memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from ..plan_file import PlanDocument, StageDocument
from ..quantities import show_bytes, show_seconds
from .memory import TOTAL, Memory
from .placement import color_of
from .subject import Subject, stage_name
from .svg import Picture

MOST_STAGES = 64
"""Most stages that are drawn."""
_ROW = 34


def drawn(document: PlanDocument) -> str:
    """Say which stages are drawn, where there are too many."""
    count = len(document.stages)
    return f"The first {MOST_STAGES} of {count:,} stages are drawn." if count > MOST_STAGES else ""


def _rows(
    document: PlanDocument,
    label: str,
    values: Callable[[int, StageDocument], tuple[str, str]],
    draw: Callable[[Picture, float, int, StageDocument], None],
) -> Picture:
    """Draw a row for each stage: its name and a value of a class, and under them what `draw` draws."""
    stages = document.stages[:MOST_STAGES]
    picture = Picture(_ROW * len(stages), label)
    for i, stage in enumerate(stages):
        top = _ROW * i
        value, kind = values(i, stage)
        picture.heading(top + 11, stage_name(document, i))
        picture.text(1, top + 11, value, kind, "end")
        picture.rect(0, top + 15, 1, 14, "track")
        draw(picture, top + 15, i, stage)
    return picture


def kinds(document: PlanDocument) -> list[tuple[str, str]]:
    """Return the colours of the picture of times, and what they mean."""
    found = [("t0", "compute")]
    found += [("t1", "transfer")] * any(stage.transfer for stage in document.stages)
    found += [("t3", "all-reduce and update")] * any(stage.sync for stage in document.stages)
    return found


def times(subject: Subject) -> Picture:
    """Draw the seconds per example of each stage, with the bottleneck marked."""
    document, overlap = subject.document, subject.goal.overlap
    longest = max((busy(s, overlap) + s.sync for s in document.stages), default=0.0) / 0.99 or 1.0

    def value(_: int, stage: StageDocument) -> tuple[str, str]:
        mark = "bottleneck  " if stage.bottleneck else ""
        return mark + show_seconds(stage.time), "strong" if stage.bottleneck else ""

    def draw(picture: Picture, top: float, _: int, stage: StageDocument) -> None:
        compute, transfer = stage.compute / longest, stage.transfer / longest
        done = busy(stage, overlap) / longest
        begin = 0.0 if overlap else compute
        picture.rect(0, top, compute, 9, "t0", f"compute {show_seconds(stage.compute)} an example")
        picture.rect(begin, top + 9, transfer, 5, "t1", f"transfer {show_seconds(stage.transfer)} an example")
        tip = f"all-reduce and update {show_seconds(stage.sync)} an example"
        picture.rect(done, top, stage.sync / longest, 14, "t3", tip)
        if stage.bottleneck:
            end = done + stage.sync / longest
            picture.line(end, top, end, top + 16, "mark", "the slowest stage")

    return _rows(document, "Time of an example in each stage", value, draw)


def busy(stage: StageDocument, overlap: bool) -> float:
    """Return the seconds per example in which a stage computes or transfers."""
    both = (stage.compute, stage.transfer)
    return max(both) if overlap else sum(both)


def costs(subject: Subject) -> Picture:
    """Draw what each stage costs, $ of all examples."""
    document = subject.document
    largest = max((stage.price for stage in document.stages), default=0.0) or 1.0

    def value(_: int, stage: StageDocument) -> tuple[str, str]:
        share = stage.price / document.price if document.price else 0.0
        return f"${cost_of(document, stage):,.2f} · {share:.1%}", ""

    def draw(picture: Picture, top: float, _: int, stage: StageDocument) -> None:
        tip = f"{stage.devices:,} devices of {stage.type}, ${stage.price:,.4g}/h"
        color = color_of(subject.types, stage.type)
        picture.rect(0, top, stage.price / largest, 14, f"t{color} edge", tip)

    return _rows(document, "Cost of each stage", value, draw)


def cost_of(document: PlanDocument, stage: StageDocument) -> float:
    """Return what the devices of a stage cost for all examples, $."""
    return stage.price * document.duration / 3600


PART_COLORS = {
    "weights": "t0", "weights, gradients, optimizer": "t0", "resident": "t0", TOTAL: "t0",
    "cache of keys and values": "t4", "divided among replicas": "t4", "workspace": "t6",
    "activations in flight": "t1",
}  # fmt: skip


def memory(subject: Subject, held: Sequence[Memory]) -> Picture:
    """Draw the bytes of each device of each stage, and how many it has."""
    sizes = [size for each in held for size in (each.total, each.capacity) if math.isfinite(size)]
    largest = max(sizes, default=0.0) / 0.99 or 1.0  # so that a mark at the end is seen

    def value(i: int, _: StageDocument) -> tuple[str, str]:
        total, capacity = held[i].total, held[i].capacity
        if math.isinf(capacity):
            return show_bytes(total), ""
        over = total > capacity * (1 + 1e-9)
        text = f"{show_bytes(total)} of {show_bytes(capacity)} · {total / capacity:.0%}"
        return f"over  {text}" if over else text, "strong" if over else ""

    def draw(picture: Picture, top: float, i: int, _: StageDocument) -> None:
        at = 0.0
        for name, size in held[i].parts.items():
            picture.rect(
                at, top, size / largest, 14, f"{PART_COLORS[name]} edge", f"{name}: {show_bytes(size)}"
            )
            at += size / largest
        if math.isfinite(held[i].capacity):
            end = held[i].capacity / largest
            picture.line(end, top, end, top + 16, "mark", f"capacity {show_bytes(held[i].capacity)}")

    return _rows(subject.document, "Memory of each device of each stage", value, draw)


def parts_in(held: Iterable[Memory]) -> list[str]:
    """Return the names of the parts of memory that some stages have."""
    return list(dict.fromkeys(name for each in held for name in each.parts))
