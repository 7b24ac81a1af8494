"""The schedule of one iteration over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

from ..quantities import show_seconds
from ..simulate import Event, run_iteration, syncs_of
from .scale import Scale
from .stages import MOST_STAGES
from .subject import Subject, stage_name
from .svg import Picture

MOST_PASSES = 50_000
"""Most passes of an iteration that a report simulates."""
_MOST_BLOCKS, _MOST_OF_MANY = 2000, 800  # that are drawn, and of more than _MANY stages
_MANY = 32
_ROW, _FOOT = 40, 20
KINDS = {"forward": "t4", "backward": "t0", "both": "t2"}
"""Colours of passes."""


class Block(NamedTuple):
    """Passes of one stage with nothing, or hardly anything, between them."""

    direction: str
    first: int
    last: int
    start: float
    end: float
    passes: int
    busy: float


@dataclass(frozen=True)
class Timeline:
    """One iteration of a plan in simulated time.

    Attributes
    ----------
    passes : list of list of Event
        Of each stage, by start.
    syncs : list of (float, float)
        When each stage's all-reduce and update begin and end.
    duration : float
        Seconds of the iteration.
    """

    passes: list[list[Event]]
    syncs: list[tuple[float, float]]
    duration: float

    def busy(self, stage: int) -> float:
        """Seconds that a stage runs passes."""
        return sum(event.end - event.start for event in self.passes[stage])

    def moved(self, stage: int) -> float:
        """Seconds that the link of a stage transfers."""
        return sum(event.arrival - event.departure for event in self.passes[stage])


def events_of(subject: Subject) -> list[Event]:
    """Simulate one iteration of a plan with a schedule."""
    return run_iteration(subject.goal, subject.document.stages, subject.forward())


def timeline_of(subject: Subject) -> Timeline:
    """Simulate one iteration of a plan with a schedule."""
    events, stages = events_of(subject), subject.document.stages
    passes: list[list[Event]] = [[] for _ in stages]
    for event in events:
        passes[event.stage].append(event)
    syncs = syncs_of(subject.goal, stages, events)
    return Timeline(passes, syncs, max(end for _, end in syncs))


def count_passes(subject: Subject) -> int:
    """Count the passes of an iteration; 0 without a schedule."""
    goal = subject.goal
    return 2 * (goal.microbatches or 0) * len(subject.document.stages) if goal.schedule else 0


def blocks(line: Timeline) -> list[list[Block]]:
    """Return what to draw of each stage: each pass, or neighbouring ones together where they are many."""
    stages = line.passes[:MOST_STAGES]
    most = _MOST_BLOCKS if len(stages) <= _MANY else _MOST_OF_MANY
    gap = None if sum(map(len, stages)) <= most else line.duration / 4000
    while True:
        found = [_merged(events, gap) for events in stages]
        if gap is None or sum(map(len, found)) <= most:
            return found
        gap *= 2


def _merged(events: Sequence[Event], gap: float | None) -> list[Block]:
    made: list[Block] = []
    for event in events:
        busy = event.end - event.start
        if gap is not None and made and event.start - made[-1].end <= gap:
            last = made[-1]
            same = last.direction == event.direction
            made[-1] = Block(
                last.direction if same else "both", last.first, event.microbatch, last.start, event.end,
                last.passes + 1, last.busy + busy,
            )  # fmt: skip
        else:
            number = event.microbatch
            made.append(Block(event.direction, number, number, event.start, event.end, 1, busy))
    return made


def picture_of(subject: Subject, line: Timeline, drawn: list[list[Block]]) -> Picture:
    """Draw passes, transfers, and all-reduce of each stage, from left to right over time."""
    document = subject.document
    count = min(len(document.stages), MOST_STAGES)
    picture = Picture(_ROW * count + _FOOT, f"Schedule of one iteration of {show_seconds(line.duration)}")
    scale = line.duration or 1.0
    for tick in Scale(0.0, scale, False).ticks():
        picture.line(tick / scale, 0, tick / scale, _ROW * count, "grid")
        anchor = "start" if tick == 0 else "end" if tick > 0.94 * scale else "middle"
        picture.text(tick / scale, _ROW * count + 14, show_seconds(tick) if tick else "0", "weak", anchor)
    for i, made in enumerate(drawn):
        top = _ROW * i
        idle = 1 - line.busy(i) / scale
        picture.heading(top + 11, stage_name(document, i))
        picture.text(1, top + 11, f"bubble {idle:.1%}", "weak", "end")
        picture.rect(0, top + 15, 1, 15, "track", f"stage {i + 1}: idle {idle:.1%} of the iteration")
        for block in made:
            start, width = block.start / scale, (block.end - block.start) / scale
            picture.rect(start, top + 15, width, 15, KINDS[block.direction], _tip(block))
        picture.rects(_joined(_transfers(line.passes[i], scale)), top + 31, 4, "t1")
        begin, end = line.syncs[i]
        if end > begin:
            tip = f"stage {i + 1}: all-reduce and update\n{_times(begin, end)}"
            picture.rect(begin / scale, top + 15, (end - begin) / scale, 15, "t3 edge", tip)
    return picture


def _tip(block: Block) -> str:
    if block.passes == 1:
        what = f"{block.direction} of microbatch {block.first + 1}"
    else:
        kind = "passes" if block.direction == "both" else f"{block.direction} passes"
        whole = block.end - block.start
        what = f"{block.passes} {kind}, busy {block.busy / whole if whole else 1:.1%}"
    return f"{what}\n{_times(block.start, block.end)}"


def _times(start: float, end: float) -> str:
    return f"{show_seconds(start) if start else '0 s'} to {show_seconds(end)}"


def _transfers(events: Iterable[Event], scale: float) -> list[tuple[float, float]]:
    spans = ((event.departure / scale, event.arrival / scale) for event in events)
    return sorted(((start, end) for start, end in spans if end > start), key=itemgetter(0))


def _joined(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Join spans that are nearer than can be seen, and widen those that are too short to be seen."""
    made: list[tuple[float, float]] = []
    for start, end in spans:
        if made and start - made[-1][1] < 0.0006:
            made[-1] = (made[-1][0], max(end, made[-1][1]))
        else:
            made.append((start, max(end, start + 0.001)))
    return made


def kinds(line: Timeline, drawn: list[list[Block]]) -> list[tuple[str, str]]:
    """Return the colours of the picture, and what they mean."""
    directions = {block.direction for made in drawn for block in made}
    texts = {"forward": "forward", "backward": "backward", "both": "forward and backward in turn"}
    found = [(KINDS[name], text) for name, text in texts.items() if name in directions]
    found += [("t1", "transfer")] * any(line.moved(i) for i in range(len(line.passes)))
    found += [("t3", "all-reduce and update")] * any(end > begin for begin, end in line.syncs)
    return [*found, ("track", "idle (bubble)")]


HEAD = (
    "stage", "type", "busy", "bubble", "transfers", "all-reduce, update",
    "first pass begins", "last pass ends",
)  # fmt: skip


def rows(subject: Subject, line: Timeline) -> list[tuple[str, ...]]:
    """Return the numbers of an iteration for each stage."""
    return [
        (
            str(i + 1),
            stage.type,
            show_seconds(line.busy(i)),
            f"{1 - line.busy(i) / line.duration if line.duration else 0:.1%}",
            show_seconds(line.moved(i)),
            show_seconds(line.syncs[i][1] - line.syncs[i][0]),
            show_seconds(line.passes[i][0].start),
            show_seconds(max(event.end for event in line.passes[i])),
        )
        for i, stage in enumerate(subject.document.stages)
    ]
