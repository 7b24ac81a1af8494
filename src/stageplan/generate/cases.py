"""The preset test script: cases from a TOML file are run on the target, and what became of each is kept.

The cases run in a copy of the project, in the directory's ``test``, so that what is tested stays as it was.
"""

from __future__ import annotations

import json
import math
import re
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any
from xml.etree import ElementTree

from msgspec import Meta, Struct

from ..fields import FINITE, check_fields, show
from ..output import write_whole
from ..readers.documents import build
from . import environment
from .digests import sha256
from .folders import copy_folder, staged
from .results import (
    BasicResult,
    CaseResult,
    EnvironmentReport,
    ExtendedResult,
    Mode,
    Status,
    StepError,
    TestResult,
    read_result,
    tampered,
    write_result,
)
from .spec import Spec
from .target import Target

CASES = "cases.toml"
RESULT, JUNIT = "test-result.json", "test-result.xml"
BUILT_IN = ("environment", "integrity")
LOG = 4000  # characters of a case's output that are kept
DELETE_LIMIT = 120.0  # seconds

# A path below the project: no root, no way up, nothing that a shell or a terminal would take amiss.
File = Annotated[str, Meta(pattern=r"^(?!/)(?!(.*/)?\.\.(/|$))[^\x00-\x1f\\]+$")]
Word = Annotated[str, Meta(pattern=r"^[^\x00]*$")]
Bound = Annotated[float, Meta(ge=-FINITE, le=FINITE)]

_DELETE = """\
import os, shutil, sys
for path in sys.argv[1:]:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)
"""


class Metric(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number that a command writes, and what it has to be.

    Parameters
    ----------
    file : str
        JSON file of names and numbers, its path in the project.
    name : str
        Of the number.
    most, least : float, optional
        Limits.
    equals : float, optional
        What it is, give or take `tolerance`.
    tolerance : float
        Greatest difference from `equals`.
    """

    file: Annotated[File, Meta(description="a path below the project")]
    name: Annotated[str, Meta(min_length=1, description="text of 1 character or more")]
    most: Annotated[Bound | None, Meta(description="a finite number, or absent")] = None
    least: Annotated[Bound | None, Meta(description="a finite number, or absent")] = None
    equals: Annotated[Bound | None, Meta(description="a finite number, or absent")] = None
    tolerance: Annotated[float, Meta(ge=0, le=FINITE, description="0 or more and finite")] = 0.0

    def __post_init__(self) -> None:
        check_fields(self, f"metric {show(self.name)}")
        if self.most is None and self.least is None and self.equals is None:
            raise ValueError(f"most is absent; it, least or equals must be given (metric {show(self.name)})")

    def complaint(self, value: object) -> str:
        """Say in what a value is not as it must be; nothing where it is."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"{self.name} is {show(value)} in {self.file}; it must be a number"
        wanted = []
        if self.most is not None and not value <= self.most:
            wanted.append(f"at most {self.most:g}")
        if self.least is not None and not value >= self.least:
            wanted.append(f"at least {self.least:g}")
        if self.equals is not None and not abs(value - self.equals) <= self.tolerance:
            wanted.append(f"{self.equals:g} within {self.tolerance:g}")
        if not math.isfinite(value):
            wanted.append("finite")
        return f"{self.name} is {value:g} in {self.file}; it must be {' and '.join(wanted)}" if wanted else ""


class Case(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command, and what must come of it.

    Parameters
    ----------
    name : str
        Unique; not ``environment`` or ``integrity``, which are cases of every script.
    command : sequence of str
        A Python file of the project, and its arguments; run by the environment's interpreter.
    modes : sequence of {"quick", "infer", "full"}
        In which modes it is run.
    needs : sequence of str
        Cases that must pass before. One that is not of the mode counts as passed.
    time_limit : float
        Seconds after which the command and all that it started are killed.
    artefacts : sequence of str
        Files that the command must make, their paths in the project. Earlier ones are deleted before.
    metrics : sequence of Metric
        Numbers that it must write. Earlier files of them are deleted before.
    must_pass : bool
        Whether the whole is red where it does not pass.
    """

    name: Annotated[str, Meta(pattern=r"^[ -~]{1,100}$", description="1 to 100 printable ASCII characters")]
    command: Annotated[
        tuple[Word, ...], Meta(min_length=1, description="a list of 1 text or more, a .py file first")
    ]
    modes: Annotated[
        tuple[Mode, ...], Meta(min_length=1, description="a list of 1 or more of 'quick', 'infer', 'full'")
    ]
    time_limit: Annotated[float, Meta(gt=0, le=1e7, description="more than 0 and at most 1e7 seconds")]
    needs: Annotated[tuple[str, ...], Meta(description="a list of names of cases")] = ("environment",)
    artefacts: Annotated[tuple[File, ...], Meta(description="a list of paths below the project")] = ()
    metrics: Annotated[tuple[Metric, ...], Meta(description="a list of metrics")] = ()
    must_pass: Annotated[bool, Meta(description="true or false")] = True

    def __post_init__(self) -> None:
        check_fields(self, f"case {show(self.name)}")
        if not re.fullmatch(r"[A-Za-z0-9_]+\.py", self.command[0]):
            raise ValueError(
                f"command[0] is {show(self.command[0])}; it must be a .py file of the project "
                f"(case {show(self.name)})"
            )

    @property
    def outputs(self) -> tuple[str, ...]:
        """Files that the command makes."""
        return tuple(dict.fromkeys([*self.artefacts, *(metric.file for metric in self.metrics)]))


class Script(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cases in any order; their needs lead round in no circle."""

    case: Annotated[tuple[Case, ...], Meta(min_length=1, description="a list of 1 case or more")]

    def __post_init__(self) -> None:
        check_fields(self, "test script")
        seen = set(BUILT_IN)
        for place, case in enumerate(self.case):
            if case.name in seen:
                raise ValueError(f"case[{place}].name is {show(case.name)}; another case has it already")
            seen.add(case.name)
        for place, case in enumerate(self.case):
            for need in case.needs:
                if need not in seen:
                    raise ValueError(f"case[{place}].needs has {show(need)}; there is no case of that name")
        try:
            self.ordered()
        except CycleError as error:
            circle = " -> ".join(reversed(error.args[1]))
            raise ValueError(f"case needs must not lead round in a circle, as {circle} does") from None

    def ordered(self) -> list[Case]:
        """Return the cases, each after those that it needs, else as they stand in the file."""
        sorter = TopologicalSorter({case.name: case.needs for case in self.case})
        by_name = {case.name: case for case in self.case}
        return [by_name[name] for name in sorter.static_order() if name in by_name]


def read_script(path: Path) -> Script:
    """Read a test script.

    Parameters
    ----------
    path : pathlib.Path
        TOML, with a table ``[[case]]`` of each case.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It is no TOML, or a field is missing, unknown or wrong.
    """
    try:
        return build(Script, tomllib.loads(path.read_bytes().decode()))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def run(
    spec: Spec,
    report: EnvironmentReport,
    target: Target,
    directory: Path,
    *,
    mode: Mode,
    progress: Callable[[str], object],
) -> TestResult:
    """Run the cases of a mode.

    Parameters
    ----------
    spec : Spec
        What was required.
    report : EnvironmentReport
        The environment to run in.
    target : Target
        Where.
    directory : pathlib.Path
        Of the run. ``test-result.json`` and ``test-result.xml`` (JUnit) are written into it when all cases
        have ended; earlier ones are removed at the beginning.
    mode : {"quick", "infer", "full"}
        Which cases.
    progress : callable
        Told the name of each case, and what became of it.

    Returns
    -------
    TestResult
        What became of each case.

    Raises
    ------
    ValueError, OSError
        The script is wrong, has no case of the mode, or a file cannot be read or written.
    """
    script = read_script(directory / CASES)
    chosen = [case for case in script.ordered() if mode in case.modes]
    if not chosen:
        raise ValueError(f"mode is {mode}; {directory / CASES} has no case of it")
    for name in (RESULT, JUNIT):
        (directory / name).unlink(missing_ok=True)
    start = time.monotonic()
    with staged(directory / "test") as folder:
        done = _Bench(spec, report, target, directory, folder / "project", progress).run(chosen)
    result = TestResult(name=spec.name, mode=mode, cases=tuple(done), seconds=time.monotonic() - start)
    write_whole(directory / JUNIT, lambda stream: stream.write(junit(result)))
    write_result(directory / RESULT, result)
    return result


class _Bench:
    """A copy of the project, and what the cases that ran in it came to."""

    def __init__(
        self,
        spec: Spec,
        report: EnvironmentReport,
        target: Target,
        directory: Path,
        project: Path,
        say: Callable[[str], object],
    ) -> None:
        self.spec, self.report, self.target, self.directory, self.say = spec, report, target, directory, say
        self.project = project
        self.done: dict[str, CaseResult] = {}

    def run(self, cases: Sequence[Case]) -> list[CaseResult]:
        """Run the cases of every script, and then these."""
        try:
            self._keep("environment", True, self._environment)
            self._keep("integrity", True, self._integrity)
            for case in cases:
                self._keep(case.name, case.must_pass, partial(self._case, case), case.needs)
        finally:
            if self.project.exists():
                self.target.forget(self.project.parent)
        return list(self.done.values())

    def _keep(
        self, name: str, must_pass: bool, judge: Callable[[], _Verdict], needs: Sequence[str] = ()
    ) -> None:
        """Run a case, or skip it where one that it needs did not pass."""
        start = time.monotonic()
        failed = [need for need in needs if need in self.done and self.done[need].status != "PASS"]
        if failed:
            verdict = _Verdict("SKIP", f"it needs {', '.join(failed)}, which did not pass")
        else:
            self.say(f"test {name}")
            verdict = _judged(judge)
        self.done[name] = CaseResult(
            name=name,
            status=verdict.status,
            must_pass=must_pass,
            seconds=time.monotonic() - start,
            message=verdict.message,
            log=verdict.log[-LOG:],
        )

    def _environment(self) -> _Verdict:
        """Whether the interpreter has what is required, and computes."""
        items, _ = environment.check(self.spec, self.target, self.report.python, self.directory)
        return _failed_by(
            [
                f"{item.name} is {item.status}, {item.found}: {item.advice}"
                for item in items
                if item.status != "OK"
            ]
        )

    def _integrity(self) -> _Verdict:
        """Whether what the manifests list is as it was made."""
        first = read_result(self.directory / "manifest-basic.json", BasicResult)
        second = read_result(self.directory / "manifest-extended.json", ExtendedResult)
        if first is None:
            return _Verdict("FAIL", "there is no manifest-basic.json")
        project = self.directory / "project"
        newest = second or first
        faults = [*tampered(project, first), *(tampered(project, second) if second else ())]
        config = project / "config.json"
        if not config.is_file() or sha256(config) != newest.config_sha256:
            faults.append("config.json has changed since the artefacts were made; generate again")
        return _failed_by(list(dict.fromkeys(faults)))

    def _case(self, case: Case) -> _Verdict:
        """Run a case's command, and look at what came of it."""
        if not self.project.exists():
            copy_folder(self.directory / "project", self.project)
            self.target.place(self.project)
        self._delete(case.outputs)
        finished = self.target.run([self.report.python, *case.command], self.project, limit=case.time_limit)
        if not finished.ok:
            status: Status = "FAIL" if finished.status > 0 else "ERROR"
            status = "TIMEOUT" if finished.timed_out else status
            return _Verdict(status, f"{case.command[0]} {finished.complaint}", finished.output)
        self.target.collect(self.project)
        return _failed_by(list(self._faults(case)), finished.output)

    def _delete(self, paths: Sequence[str]) -> None:
        """Remove files of the copy on the target, so that a command that does not make them is seen."""
        deleted = self.target.run(
            [self.target.python, "-I", "-c", _DELETE, *paths], self.project, limit=DELETE_LIMIT
        )
        if not deleted.ok:
            raise StepError(f"earlier outputs cannot be deleted: it {deleted.complaint}")

    def _faults(self, case: Case) -> Iterator[str]:
        """Say which artefacts and metrics are not as they must be."""
        for path in case.artefacts:
            file = self.project / path
            if not file.exists():
                yield f"{path} was not made"
            elif file.is_file() and not file.stat().st_size:
                yield f"{path} is empty"
        for metric in case.metrics:
            try:
                numbers = _numbers(self.project / metric.file)
            except ValueError as error:
                yield f"{metric.file} {error}"
                continue
            if metric.name not in numbers:
                yield f"{metric.file} has no {metric.name}"
            elif complaint := metric.complaint(numbers[metric.name]):
                yield complaint


class _Verdict(Struct, frozen=True):
    status: Status
    message: str = ""
    log: str = ""


def _judged(judge: Callable[[], _Verdict]) -> _Verdict:
    try:
        return judge()
    except StepError as error:
        return _Verdict("ERROR", str(error))


def _failed_by(faults: Sequence[str], log: str = "") -> _Verdict:
    return _Verdict("FAIL" if faults else "PASS", "; ".join(faults), log)


def _numbers(path: Path) -> dict[str, Any]:
    """Read a file of metrics; ValueError, to follow its name, where it is none."""
    try:
        numbers = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError("was not made") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON: {error}") from None
    if not isinstance(numbers, dict):
        raise ValueError("holds no names and numbers")
    return numbers


# JUnit --------------------------------------------------------------------------------------------------

_ELEMENT: dict[Status, str] = {"FAIL": "failure", "ERROR": "error", "TIMEOUT": "error", "SKIP": "skipped"}
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(result: TestResult) -> bytes:
    """Return a result as JUnit XML, in UTF-8; a time limit that was reached is an error there."""
    counts = dict.fromkeys(("failure", "error", "skipped"), 0)
    suite = ElementTree.Element("testsuite", name=result.name, time=f"{result.seconds:.3f}")
    for case in result.cases:
        added = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"{result.name}.{result.mode}",
            name=case.name,
            time=f"{case.seconds:.3f}",
        )
        if case.status != "PASS":
            kind = _ELEMENT[case.status]
            counts[kind] += 1
            ElementTree.SubElement(added, kind, type=case.status, message=_NOT_XML.sub("?", case.message))
        if case.log:
            ElementTree.SubElement(added, "system-out").text = _NOT_XML.sub("?", case.log)
    suite.attrib |= {
        "tests": str(len(result.cases)),
        "failures": str(counts["failure"]),
        "errors": str(counts["error"]),
        "skipped": str(counts["skipped"]),
    }
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    text: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return text + b"\n"
