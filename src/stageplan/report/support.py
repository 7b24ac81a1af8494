"""The support matrix: the outcomes of the same cases for several projects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..generate.results import TestResult
from .page import Report, Row, bullets, head, page, paragraph, section, table
from .tested import MARKS, verdict, where

_MOST_COLUMNS = 24
_MOST_MESSAGES = 200


def of_tests(results: Sequence[tuple[str, TestResult]]) -> Report:
    """Make the page of several tests.

    Parameters
    ----------
    results : sequence of (str, TestResult)
        Folder and result of each test. Projects of the same name are told apart by their folders.
    """
    names = _names(results)
    passed = sum(result.passed for _, result in results)
    state = f"{passed} of {len(results)} passed."
    tests = [(name, where(result), verdict(result)) for name, (_, result) in zip(names, results, strict=True)]
    parts = [
        head("Support matrix", f"{len(results)} tests.", state, passed == len(results)),
        _matrix(names, [result for _, result in results]),
        section("Tests", table(("project", "", ""), tests, (0, 1, 2))),
        section("Failures", bullets(_failures(names, results))),
    ]
    return page("Support matrix", parts)


def _names(results: Sequence[tuple[str, TestResult]]) -> list[str]:
    """Return the names of projects; with the folder or the mode where that alone tells them apart."""
    names = [result.name for _, result in results]
    return [
        name if names.count(name) == 1 else f"{name} ({folder})"
        for name, (folder, _) in zip(names, results, strict=True)
    ]


def _matrix(names: Sequence[str], results: Sequence[TestResult]) -> str:
    """Show the outcome of each case for each project; the longer side is downwards."""
    cases = list(dict.fromkeys(case.name for result in results for case in result.cases))
    outcomes = {
        (name, case.name): MARKS[case.status]
        for name, result in zip(names, results, strict=True)
        for case in result.cases
    }
    if len(names) > len(cases):
        head, rows = cases, [(name, *(outcomes.get((name, case), "") for case in cases)) for name in names]
    else:
        head, rows = (
            list(names),
            [(case, *(outcomes.get((name, case), "") for name in names)) for case in cases],
        )
    shown: list[Row] = [row[: _MOST_COLUMNS + 1] for row in rows]
    rest = len(head) - _MOST_COLUMNS
    return section(
        "Outcomes",
        table(("", *head[:_MOST_COLUMNS]), shown, range(_MOST_COLUMNS + 1)),
        paragraph(f"{rest:,} more columns are left out.") if rest > 0 else "",
    )


def _failures(names: Sequence[str], results: Sequence[tuple[str, TestResult]]) -> Iterator[str]:
    sentences = [
        f"{name}, {case.name}: {case.message}"
        for name, (_, result) in zip(names, results, strict=True)
        for case in result.cases
        if case.status not in ("PASS", "SKIP")
    ]
    yield from sentences[:_MOST_MESSAGES]
    if len(sentences) > _MOST_MESSAGES:
        yield f"{len(sentences) - _MOST_MESSAGES:,} more are left out."
