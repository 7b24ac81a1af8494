"""The preset test script: runs the cases of a TOML file on the target and writes their outcomes.

The cases run in a copy of the project, in the directory's ``test``, so that the project does not change.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any
from xml.etree import ElementTree

from msgspec import Meta, Struct

from ..errors import InputError
from ..fields import FINITE, Name, check_fields, not_negative, show
from ..output import write_whole
from ..readers.bounded import about, from_toml, read_bytes, to_text
from ..readers.documents import build
from . import containers, environment
from .digests import sha256
from .folders import copy_folder, staged
from .layout import (
    BASIC_FILE,
    CASES_FILE,
    CONFIG_FILE,
    EXAMPLES,
    EXTENDED_FILE,
    JUNIT_FILE,
    PROJECT,
    TEST,
    TEST_FILE,
)
from .results import (
    BasicResult,
    CaseResult,
    EnvironmentReport,
    ExtendedResult,
    Mode,
    Status,
    StepError,
    TestResult,
    changed_artefacts,
    code_of,
    read_result,
    write_result,
)
from .spec import Engine, Spec, TimeLimit
from .target import Local, Target

BUILT_IN = ("environment", "integrity", "container")
LOG_LENGTH = 4000  # characters of a case's output that are kept, at its end
DELETE_LIMIT = 120.0  # seconds

# A path below the project: relative, without "..", backslashes and control characters.
File = Annotated[
    str,
    Meta(pattern=r"^(?!/)(?!(.*/)?\.\.(/|\Z))[^\x00-\x1f\\]+\Z", description="a path below the project"),
]
Word = Annotated[str, Meta(pattern=r"^[^\x00]*\Z")]
Finite = Annotated[float, Meta(ge=-FINITE, le=FINITE, description="a finite number")]

_DELETE = """\
import os, shutil, sys
for path in sys.argv[1:]:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)
"""


class Metric(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number that a command writes, and its limits.

    Parameters
    ----------
    file : str
        Path in the project of a JSON file that maps names to numbers.
    name : str
        Name of the number.
    max, min : float, optional
        Limits.
    equals : float, optional
        Required value, within `tolerance`.
    tolerance : float
        Maximum difference from `equals`.
    """

    file: File
    name: Name
    max: Finite | None = None
    min: Finite | None = None
    equals: Finite | None = None
    tolerance: Annotated[float, not_negative()] = 0.0

    def __post_init__(self) -> None:
        check_fields(self, f"metric {show(self.name)}")
        if self.max is None and self.min is None and self.equals is None:
            raise InputError(f"max is absent; max, min or equals must be given (metric {show(self.name)})")

    def failure(self, value: object) -> str:
        """Say which limits a value breaks; empty where it is within all of them."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"{self.name} is {show(value)} in {self.file}; it must be a number"
        required = []
        if self.max is not None and not value <= self.max:
            required.append(f"at most {self.max:g}")
        if self.min is not None and not value >= self.min:
            required.append(f"at least {self.min:g}")
        if self.equals is not None and not abs(value - self.equals) <= self.tolerance:
            required.append(f"{self.equals:g} within {self.tolerance:g}")
        if not math.isfinite(value):
            required.append("finite")
        if not required:
            return ""
        return f"{self.name} is {value:g} in {self.file}; it must be {' and '.join(required)}"


class Case(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command, and the outputs that it must produce.

    Parameters
    ----------
    name : str
        Unique; not ``environment``, ``integrity`` or ``container``, which every script may have.
    command : sequence of str
        A Python file of the project, and its arguments; run by the environment's interpreter.
    modes : sequence of {"quick", "infer", "full"}
        Modes in which it runs.
    needs : sequence of str
        Cases that must pass first. A case that does not run in the mode counts as passed.
    time_limit : float
        Seconds after which the command and all processes that it started are killed.
    artefacts : sequence of str
        Paths in the project of files that the command must write. Earlier ones are deleted first.
    metrics : sequence of Metric
        Numbers that it must write. Their earlier files are deleted first.
    must_pass : bool
        Whether the test fails where it does not pass.
    """

    name: Annotated[str, Meta(pattern=r"^[ -~]{1,100}\Z", description="1 to 100 printable ASCII characters")]
    command: Annotated[
        tuple[Word, ...], Meta(min_length=1, description="a list of 1 text or more, a .py file first")
    ]
    modes: Annotated[
        tuple[Mode, ...], Meta(min_length=1, description="a list of 1 or more of 'quick', 'infer', 'full'")
    ]
    time_limit: TimeLimit
    needs: Annotated[tuple[str, ...], Meta(description="a list of names of cases")] = ("environment",)
    artefacts: Annotated[tuple[File, ...], Meta(description="a list of paths below the project")] = ()
    metrics: Annotated[tuple[Metric, ...], Meta(description="a list of metrics")] = ()
    must_pass: bool = True

    def __post_init__(self) -> None:
        check_fields(self, f"case {show(self.name)}")
        if not re.fullmatch(r"[A-Za-z0-9_]+\.py", self.command[0]):
            raise InputError(
                f"command[0] is {show(self.command[0])}; it must be a .py file of the project "
                f"(case {show(self.name)})"
            )

    @property
    def outputs(self) -> tuple[str, ...]:
        """Files that the command writes."""
        return tuple(dict.fromkeys([*self.artefacts, *(metric.file for metric in self.metrics)]))


class Script(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cases in any order; their needs must not be cyclic."""

    case: Annotated[tuple[Case, ...], Meta(min_length=1, description="a list of 1 case or more")]

    def __post_init__(self) -> None:
        check_fields(self, "test script")
        seen = set(BUILT_IN)
        for place, case in enumerate(self.case):
            if case.name in seen:
                raise InputError(
                    f"case[{place}].name is {show(case.name)}; it must differ from all other names"
                )
            seen.add(case.name)
        for place, case in enumerate(self.case):
            for need in case.needs:
                if need not in seen:
                    raise InputError(f"case[{place}].needs has {show(need)}; it must be the name of a case")
        try:
            self.ordered()
        except CycleError as error:
            cycle = " -> ".join(reversed(error.args[1]))
            raise InputError(f"case needs must not be cyclic, as {cycle} is") from None

    def ordered(self) -> list[Case]:
        """Return the cases, each after those that it needs, otherwise in the order of the file."""
        sorter = TopologicalSorter({case.name: case.needs for case in self.case})
        by_name = {case.name: case for case in self.case}
        return [by_name[name] for name in sorter.static_order() if name in by_name]


def read_script(path: Path) -> Script:
    """Read a test script.

    Parameters
    ----------
    path : pathlib.Path
        TOML, with a table ``[[case]]`` for each case.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It is not valid TOML, or a field is missing, unknown or not valid.
    """
    with about(path):
        return build(Script, from_toml(to_text(read_bytes(path))))


def run_cases(
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
        The requirements.
    report : EnvironmentReport
        The environment to run in.
    target : Target
        Where to run.
    directory : pathlib.Path
        Directory of the run. ``test-result.json`` and ``test-result.xml`` (JUnit) are written into it when
        all cases have ended; earlier ones are removed at the beginning.
    mode : {"quick", "infer", "full"}
        Which cases to run.
    progress : callable
        Called with the name of each case when it begins.

    Returns
    -------
    TestResult
        Outcome of each case.

    Raises
    ------
    ValueError, OSError
        The script is not valid or has no case of the mode, or a file cannot be read or written.
    """
    script = read_script(directory / CASES_FILE)
    chosen = [case for case in script.ordered() if mode in case.modes]
    if not chosen:
        raise InputError(f"mode is {mode}; {directory / CASES_FILE} has no case of it")
    for name in (TEST_FILE, JUNIT_FILE):
        (directory / name).unlink(missing_ok=True)
    start = time.monotonic()
    with staged(directory / TEST) as folder:
        done = _TestRun(spec, report, target, directory, folder / PROJECT, progress).run(chosen)
    result = TestResult(name=spec.name, mode=mode, cases=tuple(done), seconds=time.monotonic() - start)
    write_whole(directory / JUNIT_FILE, lambda stream: stream.write(junit(result)))
    write_result(directory / TEST_FILE, result)
    return result


class _TestRun:
    """Runs cases in a copy of the project, and collects their outcomes."""

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
        """Run the built-in cases, and then these."""
        try:
            self._run_or_skip("environment", True, self._environment)
            self._run_or_skip("integrity", True, self._integrity)
            for case in cases:
                self._run_or_skip(case.name, case.must_pass, partial(self._case, case), case.needs)
            if (engine := self.spec.environment.container) is not None:
                self._container(engine)
        finally:
            if self.project.exists():
                self.target.remove(self.project.parent)
        return list(self.done.values())

    def _run_or_skip(
        self, name: str, must_pass: bool, judge: Callable[[], _Verdict], needs: Sequence[str] = ()
    ) -> None:
        """Run a case, or skip it where one that it needs did not pass."""
        start = time.monotonic()
        failed = [need for need in needs if need in self.done and self.done[need].status != "PASS"]
        if failed:
            verdict = _Verdict("SKIP", f"it needs {', '.join(failed)}, which did not pass")
        else:
            self.say(f"test {name}")
            verdict = _verdict_of(judge)
        self.done[name] = CaseResult(
            name=name,
            status=verdict.status,
            must_pass=must_pass,
            seconds=time.monotonic() - start,
            message=verdict.message,
            log=verdict.log[-LOG_LENGTH:],
        )

    def _environment(self) -> _Verdict:
        """Check that the environment is still as required."""
        items, _ = environment.check_interpreter(self.spec, self.target, self.report.python, self.directory)
        return _verdict_from(
            [
                f"{item.name} is {item.status}, {item.found}: {item.advice}"
                for item in items
                if item.status != "OK"
            ]
        )

    def _integrity(self) -> _Verdict:
        """Check that the artefacts that the manifests list, and what they were made from, have not changed.

        Code and cases are the user's to change; it says which of them have changed.
        """
        first = read_result(self.directory / BASIC_FILE, BasicResult)
        second = read_result(self.directory / EXTENDED_FILE, ExtendedResult)
        if first is None:
            return _Verdict("FAIL", f"there is no {BASIC_FILE}")
        project = self.directory / PROJECT
        newest = second or first
        faults = [*changed_artefacts(project, first), *(changed_artefacts(project, second) if second else ())]
        config = project / CONFIG_FILE
        if not config.is_file() or sha256(config) != newest.config_sha256:
            faults.append(f"{CONFIG_FILE} has changed since the artefacts were written; generate again")
        changed = _changed_by_hand(self.directory, first, newest)
        note = f"changed since it was made: {', '.join(changed)}" if changed else ""
        return _Verdict(
            "FAIL" if faults else "PASS", "; ".join([*dict.fromkeys(faults), *filter(None, [note])]), note
        )

    def _container(self, engine: Engine) -> None:
        """Build a container and infer in it; where this machine cannot, say why, which fails nothing."""
        machine = Local(self.spec, self.directory, "")

        def judge() -> _Verdict:
            finished = containers.build_and_run(self.spec, engine, machine)
            faults = [f"{engine} {finished.failure}"] if finished.failure else []
            return _verdict_from(faults, finished.output)

        missing = containers.why_not(engine, machine)
        skip = partial(_Verdict, "SKIP", missing)
        self._run_or_skip("container", not missing, skip if missing else judge, ["integrity"])

    def _case(self, case: Case) -> _Verdict:
        """Run a case's command, and check its outputs."""
        if not self.project.exists():
            copy_folder(self.directory / PROJECT, self.project)
            self.target.place(self.project)
        self._delete(case.outputs)
        finished = self.target.run([self.report.python, *case.command], self.project, limit=case.time_limit)
        if not finished.ok:
            status: Status = "FAIL" if finished.status > 0 else "ERROR"
            status = "TIMEOUT" if finished.timed_out else status
            return _Verdict(status, f"{case.command[0]} {finished.failure}", finished.output)
        self.target.collect(self.project)
        return _verdict_from(list(self._faults(case)), finished.output, finished.notes)

    def _delete(self, paths: Sequence[str]) -> None:
        """Remove earlier outputs on the target, so that a command that does not write them is detected."""
        deleted = self.target.run(
            [self.target.python, "-I", "-c", _DELETE, *paths], self.project, limit=DELETE_LIMIT
        )
        if not deleted.ok:
            raise StepError(f"earlier outputs cannot be deleted: the command {deleted.failure}")

    def _faults(self, case: Case) -> Iterator[str]:
        """Say which artefacts are missing or empty, and which metrics are missing or out of their limits."""
        for path in case.artefacts:
            file = self.project / path
            if not file.exists():
                yield f"{path} was not written"
            elif file.is_file() and not file.stat().st_size:
                yield f"{path} is empty"
        for metric in case.metrics:
            try:
                numbers = _read_metrics(self.project / metric.file)
            except ValueError as error:
                yield f"{metric.file} {error}"
                continue
            if metric.name not in numbers:
                yield f"{metric.file} has no {metric.name}"
            elif failure := metric.failure(numbers[metric.name]):
                yield failure


def _changed_by_hand(directory: Path, first: BasicResult, newest: BasicResult) -> list[str]:
    """Name the files of code, and the test script, that are not as the steps wrote them."""
    made, found = newest.files | first.files, code_of(directory / PROJECT)
    changed = [path for path in sorted(made | found) if found.get(path) != made.get(path)]
    changed = [path for path in changed if not path.startswith(EXAMPLES)]
    if sha256(directory / CASES_FILE) != newest.cases_sha256:
        changed.append(CASES_FILE)
    return changed


class _Verdict(Struct, frozen=True):
    status: Status
    message: str = ""
    log: str = ""


def _verdict_of(judge: Callable[[], _Verdict]) -> _Verdict:
    try:
        return judge()
    except StepError as error:
        return _Verdict("ERROR", str(error))


def _verdict_from(faults: Sequence[str], log: str = "", notes: Sequence[str] = ()) -> _Verdict:
    return _Verdict("FAIL" if faults else "PASS", "; ".join([*faults, *notes]), log)


def _read_metrics(path: Path) -> dict[str, Any]:
    """Read a file of metrics; ValueError where that fails, with a message that continues the file's name."""
    try:
        numbers = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError("was not written") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not valid JSON: {error}") from None
    if not isinstance(numbers, dict):
        raise InputError("does not map names to numbers")
    return numbers


# JUnit --------------------------------------------------------------------------------------------------

_ELEMENT: dict[Status, str] = {"FAIL": "failure", "ERROR": "error", "TIMEOUT": "error", "SKIP": "skipped"}
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(result: TestResult) -> bytes:
    """Return a result as JUnit XML, in UTF-8; a TIMEOUT is an error there."""
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
