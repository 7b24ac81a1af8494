"""The page of a test: requirements against values, losses, the plan, the cases, and the environment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..generate.layout import PLAN_FILE, PROJECT, TEST
from ..generate.results import CaseResult, Number, TestResult
from ..generate.variant_table import VariantResult, table_of
from ..plan_file import PlanDocument
from ..quantities import show_bytes, show_seconds
from .curves import Log, curves, logs_of
from .page import Report, Row, figure, head, numbers, page, paragraph, section, table, tiles
from .svg import Picture, escape, shorten

_ROW = 34  # pixels
_REACH = 0.6  # of a picture, where a limit is
_MOST_BARS = 40
_MOST_LOGS = 200_000  # characters of HTML of all outputs that are shown
_MOST_MESSAGES = 60_000  # and of all messages
MARKS = {"PASS": "✓ PASS", "FAIL": "✗ FAIL", "ERROR": "✗ ERROR", "TIMEOUT": "✗ TIMEOUT", "SKIP": "– SKIP"}


def of_test(result: TestResult, directory: Path) -> Report:
    """Make the page of a test.

    Parameters
    ----------
    result : TestResult
        What was found.
    directory : pathlib.Path
        Directory of the run, in whose project there may be logs of trainings, and a plan.
    """
    parts = [
        head(f"Test of {result.name}", where(result), verdict(result), result.passed),
        tiles(_tiles(result)),
        _requirements(result),
        *_variants(result.variants),
        curves(_logs(directory)),
        *_plan(directory / PROJECT / PLAN_FILE),
        _cases(result),
        _environment(result),
    ]
    return page(f"Test of {result.name}", parts)


def where(result: TestResult) -> str:
    """Say in which mode, where and when a test ran."""
    on = f" on {result.host.name}" if result.host is not None else ""
    at = f" at {result.date}" if result.date else ""
    return f"Mode {result.mode}{on}{at}."


def verdict(result: TestResult) -> str:
    """Say in a sentence whether a test passed."""
    counts = Counter(case.status for case in result.cases)
    summary = ", ".join(f"{count} {status}" for status, count in counts.items())
    return f"{'Passed' if result.passed else 'Not passed'}: {summary}."


def _tiles(result: TestResult) -> Iterator[tuple[str, str]]:
    counts = Counter(case.status for case in result.cases)
    yield "cases", f"{len(result.cases):,}"
    yield "passed", f"{counts['PASS']:,}"
    yield "failed", f"{counts['FAIL'] + counts['ERROR'] + counts['TIMEOUT']:,}"
    yield "skipped", f"{counts['SKIP']:,}"
    yield "duration", show_seconds(result.seconds)
    if peak := max((case.peak_memory for case in result.cases), default=0):
        yield "peak memory", show_bytes(peak)


# Requirements -------------------------------------------------------------------------------------------


def _requirements(result: TestResult) -> str:
    measured = [(case, number) for case in result.cases for number in case.numbers]
    limited = [(case, number) for case, number in measured if number.limit is not None]
    required = [(name, wanted, _of_host(result, name)) for name, wanted in result.requirements.items()]
    return section(
        "Requirements and values",
        table(("requirement", "required", "there is"), required, (0, 1, 2)) if required else "",
        figure(_bars(limited), "Values of metrics; a mark is the limit.") if limited else "",
        numbers(
            ("case", "metric", "value", "required", ""),
            [_row(case, number) for case, number in measured],
            (0, 1, 3, 4),
            open_=True,
        ),
    )


def _of_host(result: TestResult, name: str) -> str:
    """Return what a machine has of a requirement, as far as the result says."""
    host = result.host
    if host is None:
        return ""
    there = {
        "cores": str(host.cores),
        "memory": show_bytes(host.memory),
        "accelerators": str(len(host.accelerators)),
    }
    return there.get(name, "")


def _row(case: CaseResult, number: Number) -> Row:
    value = "none" if number.value is None else f"{number.value:,.6g}"
    return case.name, number.name, value, number.required, "met" if number.met else "not met"


def _bars(measured: Sequence[tuple[CaseResult, Number]]) -> Picture:
    """Draw values as parts of their limits; those that are not met are first."""
    drawn = sorted(measured, key=lambda pair: pair[1].met)[:_MOST_BARS]
    picture = Picture(_ROW * len(drawn), "Values of metrics and their limits")
    for row, (case, number) in enumerate(drawn):
        top = _ROW * row
        value, limit = number.value, number.limit
        said = f"{'none' if value is None else f'{value:.5g}'}, {number.required}"
        picture.heading(
            top + 11, f"{'✓' if number.met else '✗'} {number.name}", "" if number.met else "strong"
        )
        picture.text(1, top + 11, shorten(said, 40), "", "end")
        picture.rect(0, top + 15, 1, 14, "track")
        part = _part(value, limit)
        kind = "t2" if number.met else "over"
        tip = f"{case.name}: {number.name} is {said}"
        picture.rect(0, top + 15, min(part * _REACH, 1.0), 14, f"{kind} edge", tip)
        picture.line(_REACH, top + 15, _REACH, top + 29, "mark", number.required)
    return picture


def _part(value: float | None, limit: float | None) -> float:
    """Return a value as a part of its limit, where both have a sign."""
    if value is None or limit is None or value * limit < 0:
        return 0.0
    return abs(value) / abs(limit) if limit else float(value != 0)


# Parts that are there in some projects ------------------------------------------------------------------


def _variants(variants: Sequence[VariantResult]) -> Iterator[str]:
    """Yield the table of variants, if there are any."""
    if variants:
        yield section("Variants", table(*table_of(variants)))


def _logs(directory: Path) -> list[Log]:
    """Return the logs of the tested copy, or else of the project itself."""
    return logs_of(directory / TEST / PROJECT) or logs_of(directory / PROJECT)


def _plan(path: Path) -> Iterator[str]:
    """Yield the placement and the schedule of the project's plan, if it has one."""
    if not path.is_file():
        return
    from .report import placement_of, schedule_of
    from .subject import Subject, read_document

    try:
        document = read_document(path)
    except (ValueError, OSError):
        return  # it is one of the artefacts, whose faults the test reports
    if isinstance(document, PlanDocument):
        subject = Subject(document)
        yield placement_of(subject)
        yield schedule_of(subject)


# Cases and environment ----------------------------------------------------------------------------------


def _cases(result: TestResult) -> str:
    ordered = sorted(result.cases, key=lambda case: case.status in ("PASS", "SKIP"))
    shown = ordered if len(ordered) > 150 else result.cases  # of many, those that failed are first
    rows = [
        (
            case.name,
            MARKS[case.status],
            f"{case.seconds:,.1f} s",
            show_bytes(case.peak_memory) if case.peak_memory else "",
            case.message,
        )
        for case in shown
    ]
    return section(
        "Cases",
        table(("case", "outcome", "duration", "peak memory", ""), rows, (0, 1, 4)),
        *_outputs(ordered),
    )


def _outputs(cases: Sequence[CaseResult]) -> Iterator[str]:
    """Yield messages and outputs of cases, those that failed first, until enough are shown."""
    logs, messages = _MOST_LOGS, _MOST_MESSAGES
    for case in cases:
        if case.status not in ("PASS", "SKIP") and messages > 0:
            said = paragraph(f"{case.name}: {shorten(case.message, 2000)}", "")
            messages -= len(said)
            yield said
        if case.log and logs > 0:
            name, text = escape(shorten(case.name, 100)), escape(case.log, "\n\t")
            logs -= len(text)
            yield f"<details><summary>Output of {name}</summary><pre>{text}</pre></details>\n"


def _environment(result: TestResult) -> str:
    host, rows = result.host, []
    if host is not None:
        rows = [
            ("machine", host.name),
            ("system", host.system),
            ("processor", host.processor),
            ("cores", str(host.cores)),
            ("memory", show_bytes(host.memory)),
            ("accelerators", ", ".join(host.accelerators) or "none"),
        ]
    versions = [*result.versions.items()]
    return section(
        "Environment",
        table(("", ""), rows, (0, 1)) if rows else "",
        numbers(("package", "version"), versions, (0, 1)),
    )
