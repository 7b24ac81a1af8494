"""``stageplan report``: pictures of plans, fronts and sweeps in an HTML file, and traces of schedules."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..generate.layout import TEST_FILE
from ..output import check_not_read, check_output, print_note, print_out, write_whole
from ..plan_file import PlanDocument
from ..readers.bounded import about
from .problem import add_hardware, add_output, files_read, make_problem, print_notes, refuse_hardware
from .status import FEASIBLE, exit_statuses

if TYPE_CHECKING:
    from ..report.subject import Subject


def add_report(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``report``."""
    parser.set_defaults(run=_report)
    parser.epilog = exit_statuses("the report is written, of a plan that meets its limits or not")
    add = parser.add_argument
    add(
        "plan",
        type=Path,
        nargs="+",
        metavar="PLAN|FRONT|SWEEP|RUN",
        help="a plan or a front in JSON, as plan -o and pareto -o write them, the directory of a sweep, or "
        "directories of tests: several are shown as a matrix",
    )
    add(
        "--workload",
        help="the workload of a plan: show the capacity of devices too, and what their memory holds",
    )
    add("--trace", type=Path, metavar="FILE", help="write the plan's schedule as a trace for Perfetto (JSON)")
    add_hardware(parser)
    add_output(parser, "the HTML file to write; - for stdout")


def _report(arguments: argparse.Namespace) -> int:
    output: Path | None = arguments.output
    if output is None and arguments.trace is None:
        raise InputError("--output is missing; it must be the HTML file to write, or - for stdout")
    for flag, path in (("--output", output), ("--trace", arguments.trace)):
        check_output(flag, path)
    check_not_read("--trace", arguments.trace, files_read(arguments))
    html = _html(arguments)
    if html is not None and str(output) == "-":
        print_out(html.rstrip("\n"))
    elif html is not None and output is not None:
        write_whole(output, lambda stream: stream.write(html.encode()))
        print_note(f"wrote {output}: {len(html.encode()) / 1000:,.0f} kB")
    return FEASIBLE


def _html(arguments: argparse.Namespace) -> str | None:
    """Return the page of what is given; None if only a trace is wanted."""
    first: Path = arguments.plan[0]
    if len(arguments.plan) > 1 or (first / TEST_FILE).is_file():
        return _of_tests(arguments)
    arguments.plan = first
    return _of_sweep(arguments) if first.is_dir() else _of_file(arguments)


def _of_tests(arguments: argparse.Namespace) -> str:
    from ..generate.results import read_test
    from ..report.support import of_tests
    from ..report.tested import of_test

    _refuse_flags_of_plans(arguments, "a test")
    results = []
    for folder in arguments.plan:
        file = folder / TEST_FILE
        if not file.is_file():
            raise InputError(f"{folder} has no {TEST_FILE}; it must be the directory of a test")
        results.append((str(folder), read_test(file, "run")))
    if len(results) == 1:
        return of_test(results[0][1], arguments.plan[0]).html
    return of_tests(results).html


def _of_sweep(arguments: argparse.Namespace) -> str:
    from ..report.report import of_sweep
    from ..sweeps.results import SweepResults

    _refuse_flags_of_plans(arguments, "a sweep")
    return of_sweep(SweepResults.open(arguments.plan)).html


def _refuse_flags_of_plans(arguments: argparse.Namespace, kind: str) -> None:
    for name in ("workload", "trace"):
        if getattr(arguments, name) is not None:
            raise InputError(f"--{name} is given with {kind}; it requires a plan")
    refuse_hardware(arguments)


def _of_file(arguments: argparse.Namespace) -> str | None:
    """Return the page of a plan or a front, after writing the trace; None if only that is wanted."""
    from ..report.report import of_front_document, of_subject
    from ..report.subject import Subject, read_document, with_problem

    document = read_document(arguments.plan)
    if not isinstance(document, PlanDocument):
        _refuse_flags_of_plans(arguments, "a front")
        return of_front_document(document).html
    if arguments.workload is None:
        refuse_hardware(arguments)
        subject = Subject(document)
    else:
        problem = make_problem(arguments, document.goal)
        with about(arguments.plan):
            subject = with_problem(document, problem)
        print_notes(arguments)
    if arguments.trace is not None:
        _write_trace(arguments, subject)
    return None if arguments.output is None else of_subject(subject).html


def _write_trace(arguments: argparse.Namespace, subject: Subject) -> None:
    from ..report.timeline import events_of
    from ..report.trace import write_trace

    with about(arguments.plan):
        events = events_of(subject)
    write_trace(arguments.trace, subject.goal, subject.document.stages, events)
