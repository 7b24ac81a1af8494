"""Logs of trainings as curves: a CSV file, or JSON Lines, with a column of losses."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from .chart import Chart
from .page import figure, legend, numbers, paragraph, section
from .scale import Scale
from .svg import Point

_MOST_FILES, _MOST_BYTES, _MOST_ROWS = 500, 2**24, 200_000  # that are looked at
_MOST_LOGS, _MOST_CURVES = 6, 4  # that are shown
_MOST_POINTS = 400  # of a curve that are drawn
_STEPS = ("step", "global_step", "iteration", "iter", "epoch")
_CLASSES = ("main", "bound")


class Log(NamedTuple):
    """A log: its file, the name of its steps, and a curve of each loss by its name."""

    file: str
    step: str
    curves: dict[str, list[Point]]


def logs_of(folder: Path) -> list[Log]:
    """Return the logs in a folder, by their paths; files that cannot be read as logs are passed over."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".csv", ".jsonl") and path.is_file())
    made = (_read(path, path.relative_to(folder).as_posix()) for path in files[:_MOST_FILES])
    return [*islice(filter(None, made), _MOST_LOGS)]


def _read(path: Path, name: str) -> Log | None:
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        with path.open(encoding="utf-8", newline="") as stream:
            rows = csv.DictReader(stream) if path.suffix == ".csv" else map(json.loads, stream)
            return _log(name, islice(rows, _MOST_ROWS))
    except (OSError, ValueError, csv.Error, RecursionError):
        return None


def _log(name: str, rows: Iterable[Any]) -> Log | None:
    """Make the log of some rows; None where they have no losses."""
    curves: dict[str, list[Point]] = {}
    step = ""
    for place, row in enumerate(rows):
        if not isinstance(row, Mapping):
            return None
        if place == 0:
            step = next((key for key in _STEPS if key in row), "")
            losses = [key for key in row if isinstance(key, str) and "loss" in key.lower()]
            curves = {key: [] for key in losses[:_MOST_CURVES]}
            if not curves:
                return None
        at = _number(row[step]) if step in row else float(place)
        for key, curve in curves.items():
            value = _number(row.get(key))
            if math.isfinite(value) and math.isfinite(at):
                curve.append((at, value))
    curves = {key: curve for key, curve in curves.items() if curve}
    return Log(name, step or "line", curves) if curves else None


def _number(value: object) -> float:
    """Return a number, or a text of one; NaN for anything else."""
    try:
        return float(value) if isinstance(value, (str, int, float)) else math.nan
    except ValueError:
        return math.nan


def curves(logs: Sequence[Log]) -> str:
    """Show the losses of trainings."""
    return section("Loss", *(_picture(log) for log in logs))


def _picture(log: Log) -> str:
    points = [point for curve in log.curves.values() for point in curve]
    across, up = Scale.of(x for x, _ in points), Scale.of(y for _, y in points)
    chart = Chart(f"Loss in {log.file}", across, up, log.step, "loss")
    drawn = [*log.curves.items()][: len(_CLASSES)]
    for (_, curve), kind in zip(drawn, _CLASSES, strict=False):
        chart.line(_thinned(curve), kind)
    kinds = zip(("t0", "t5"), log.curves, strict=False)
    thinned = any(len(curve) > _MOST_POINTS for curve in log.curves.values())
    return "".join(
        [
            paragraph(log.file),
            legend(kinds) if len(drawn) > 1 else "",
            figure(chart.picture, "Means of neighbouring steps are drawn." if thinned else ""),
            numbers(("loss", "values", log.step, "first", "last", "least"), [*_rows(log)], (0,)),
        ]
    )


def _thinned(curve: Sequence[Point]) -> list[Point]:
    """Return the means of neighbouring points, so that few are drawn."""
    count = -(-len(curve) // _MOST_POINTS)
    groups = (curve[i : i + count] for i in range(0, len(curve), count))
    return [(group[-1][0], math.fsum(y for _, y in group) / len(group)) for group in groups]


def _rows(log: Log) -> Iterator[tuple[str, ...]]:
    for name, curve in log.curves.items():
        values = [value for _, value in curve]
        last, ends = curve[-1][0], (values[0], values[-1], min(values))
        yield name, f"{len(curve):,}", f"{last:,.10g}", *(f"{value:,.6g}" for value in ends)
