"""Traces of a schedule in Chrome's JSON format, which Perfetto and chrome://tracing show."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

import msgspec

from ..goal import Goal
from ..output import write_whole
from ..readers.bounded import as_path
from ..simulate import Event, syncs_of

if TYPE_CHECKING:
    from ..plan import Stage
    from ..plan_file import StageDocument

_TRACKS = ("passes", "transfers", "all-reduce and update")


def write_trace(
    path: str | os.PathLike[str],
    goal: Goal,
    stages: Sequence[Stage | StageDocument],
    events: Sequence[Event],
) -> None:
    """Write the events of an iteration to a file, atomically: see `Simulation.trace`."""

    def write(stream: IO[bytes]) -> None:
        stream.write(b'{"displayTimeUnit":"ms","traceEvents":[')
        for number, entry in enumerate(_entries(goal, stages, events)):
            stream.write((b",\n" if number else b"\n") + msgspec.json.encode(entry))
        stream.write(b"\n]}\n")

    write_whole(as_path("path", path), write)


def _entries(
    goal: Goal, stages: Sequence[Stage | StageDocument], events: Iterable[Event]
) -> Iterator[dict[str, Any]]:
    """Yield the entries of a trace: a process for each stage, with a thread for each of its tracks."""
    for i, stage in enumerate(stages):
        strategy = f" {stage.strategy}" if stage.strategy else ""
        name = f"stage {i + 1} on {stage.type}{strategy}, {stage.devices} devices"
        yield {"ph": "M", "pid": i, "name": "process_name", "args": {"name": name}}
        yield {"ph": "M", "pid": i, "name": "process_sort_index", "args": {"sort_index": i}}
        for track, text in enumerate(_TRACKS):
            yield {"ph": "M", "pid": i, "tid": track, "name": "thread_name", "args": {"name": text}}
    for event in events:
        name = f"{event.direction} {event.microbatch}"
        yield _span(event.stage, 0, name, event.direction, event.start, event.end)
        if event.arrival > event.departure:
            yield _span(event.stage, 1, name, "transfer", event.departure, event.arrival)
    for i, (begin, end) in enumerate(syncs_of(goal, stages, events)):
        if end > begin:
            yield _span(i, 2, _TRACKS[2], "all-reduce", begin, end)


def _span(stage: int, track: int, name: str, category: str, start: float, end: float) -> dict[str, Any]:
    """Make an entry of something that takes time; in microseconds, as the format has them."""
    times = {"ts": start * 1e6, "dur": (end - start) * 1e6}
    return {"ph": "X", "pid": stage, "tid": track, "name": name, "cat": category, **times}
