"""Runs the preset test script on the target and writes the outcomes of its cases.

The cases run in a copy of the project, in the directory's ``test``, so that the project does not change.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from msgspec import Struct

from ..errors import InputError
from ..fields import show
from ..output import write_whole
from .cases import Case, Metric, Script, read_script
from .folders import copy_folder, staged
from .junit import junit
from .layout import CASES_FILE, JUNIT_FILE, PAGE_FILE, PROJECT, TEST, TEST_FILE, VARIANTS_FILE
from .results import (
    CaseResult,
    EnvironmentReport,
    Mode,
    Number,
    Status,
    StepError,
    TestResult,
    write_result,
)
from .target import Target
from .variant_table import VariantResult

LOG_LENGTH = 4000  # characters of a case's output that are kept, at its end
DELETE_LIMIT = 120.0  # seconds

_DELETE = """\
import os, shutil, sys
for path in sys.argv[1:]:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)
"""


Check = tuple[Sequence[str], Sequence[str]]  # faults, and notes
Container = Callable[[], tuple[Sequence[str], str]]


class Project(Struct, frozen=True, kw_only=True):
    """What is tested: a generated or an adopted project.

    Parameters
    ----------
    name : str
        Its name.
    folder : pathlib.Path
        Where it is; it is copied and not changed.
    report : EnvironmentReport
        The environment to run in.
    checks : mapping of str to callable
        The built-in cases by their names: each returns a sentence for each fault, and what else it notes.
    versions : dict of str
        Package -> version.
    requirements : dict of str
        Name -> what is required of the service and the hardware.
    container : callable or str, optional
        Builds a container and infers in it, after all cases, and returns faults and the output; or why that
        cannot be done here.
    left_out : tuple of str
        Names of files and folders, as patterns of shells, that are not copied.
    """

    name: str
    folder: Path
    report: EnvironmentReport
    checks: Mapping[str, Callable[[], Check]]
    versions: dict[str, str]
    requirements: dict[str, str]
    container: Container | str | None = None
    left_out: tuple[str, ...] = ()


def run_cases(
    project: Project,
    target: Target,
    directory: Path,
    *,
    mode: Mode,
    progress: Callable[[str], object],
    golden: TestResult | None = None,
) -> TestResult:
    """Run the cases of a mode.

    Parameters
    ----------
    project : Project
        What is tested.
    target : Target
        Where to run.
    directory : pathlib.Path
        Directory of the run. ``test-result.json``, ``test-result.xml`` (JUnit) and ``test-result.html`` are
        written into it when all cases have ended; earlier ones are removed at the beginning.
    mode : {"quick", "infer", "full", "benchmark"}
        Which cases to run.
    progress : callable
        Called with the name of each case when it begins.
    golden : TestResult, optional
        An earlier result, from whose numbers those of the same cases must not differ.

    Returns
    -------
    TestResult
        Outcome of each case.

    Raises
    ------
    ValueError, OSError
        The script is not valid or has no case of the mode, or a file cannot be read or written.
    """
    chosen = _chosen(read_script(directory / CASES_FILE), mode, directory)
    for name in (TEST_FILE, JUNIT_FILE, PAGE_FILE):
        (directory / name).unlink(missing_ok=True)
    from ..report.tested import of_test  # which imports results from here

    start, date = time.monotonic(), datetime.now(UTC)
    with staged(directory / TEST) as folder:
        run = _TestRun(project, target, folder / PROJECT, mode, golden, progress)
        done = run.run(chosen)
        variants = _variants_of(folder / PROJECT, chosen, run.done)
    result = TestResult(
        name=project.name,
        mode=mode,
        cases=tuple(done),
        seconds=time.monotonic() - start,
        date=f"{date:%Y-%m-%dT%H:%M:%SZ}",
        host=project.report.host,
        versions=project.versions,
        requirements=project.requirements,
        variants=variants,
    )
    write_whole(directory / JUNIT_FILE, lambda stream: stream.write(junit(result)))
    of_test(result, directory).save(directory / PAGE_FILE)
    write_result(directory / TEST_FILE, result)
    return result


def _chosen(script: Script, mode: Mode, directory: Path) -> list[Case]:
    """Return the cases of a mode, in the order in which they run."""
    chosen = [case for case in script.ordered() if mode in case.modes]
    if not chosen:
        raise InputError(f"mode is {mode}; {directory / CASES_FILE} has no case of it")
    return chosen


def _variants_of(
    folder: Path, cases: Sequence[Case], done: Mapping[str, CaseResult]
) -> tuple[VariantResult, ...]:
    """Return the table of variants, if a case of this test wrote one that is valid."""
    writers = (case for case in cases if VARIANTS_FILE in case.outputs)
    if not any(done[case.name].status == "PASS" for case in writers):
        return ()
    try:
        return msgspec.json.decode((folder / VARIANTS_FILE).read_bytes(), type=tuple[VariantResult, ...])
    except ValueError as error:
        raise StepError(f"{VARIANTS_FILE} is not a table of variants: {error}") from None


class _Verdict(Struct, frozen=True):
    status: Status
    message: str = ""
    log: str = ""
    peak_memory: int = 0
    numbers: tuple[Number, ...] = ()
    excused: bool = False


class _TestRun:
    """Runs cases in a copy of the project, and collects their outcomes."""

    def __init__(
        self,
        project: Project,
        target: Target,
        folder: Path,
        mode: Mode,
        golden: TestResult | None,
        say: Callable[[str], object],
    ) -> None:
        self.project, self.target, self.folder = project, target, folder
        self.mode, self.say = mode, say
        self.golden = {} if golden is None else golden_numbers(golden)
        self.done: dict[str, CaseResult] = {}
        self.excused: set[str] = set()

    def run(self, cases: Sequence[Case]) -> list[CaseResult]:
        """Run the built-in cases, and then these."""
        try:
            for name, check in self.project.checks.items():
                self._run(name, True, partial(_checked, check))
            for case in cases:
                skipped = self._skipped(case)
                self._run(case.name, case.must_pass, partial(self._case, case), skipped)
            self._container(self.project.container)
        finally:
            if self.folder.exists():
                self.target.remove(self.folder.parent)
        return list(self.done.values())

    def _container(self, container: Container | str | None) -> None:
        """Build a container and infer in it; where this machine cannot, say why, which fails nothing."""
        if isinstance(container, str):
            self._run("container", True, partial(_Verdict, "SKIP", container, excused=True))
        elif container is not None:
            self._run("container", True, partial(_ended, container), self._failed(["integrity"]))

    def _skipped(self, case: Case) -> _Verdict | None:
        """Return the verdict on a case that is not run; None where it is run."""
        if isinstance(case.skip, str):
            return _Verdict("SKIP", case.skip, excused=True)
        host = self.project.report.host
        found = 0 if host is None else len(host.accelerators)
        if found < case.accelerators:
            needed = f"it needs {case.accelerators} accelerator{'s' * (case.accelerators > 1)}"
            return _Verdict("SKIP", f"{needed}; the target has {found or 'none'}", excused=True)
        if excused := [need for need in case.needs if need in self.excused]:
            return _Verdict("SKIP", f"it needs {', '.join(excused)}, which is skipped", excused=True)
        return self._failed(case.needs)

    def _failed(self, needs: Sequence[str]) -> _Verdict | None:
        """Return the verdict on a case that needs others, if one of them did not pass."""
        failed = [need for need in needs if need in self.done and self.done[need].status != "PASS"]
        return _Verdict("SKIP", f"it needs {', '.join(failed)}, which did not pass") if failed else None

    def _run(
        self, name: str, must_pass: bool, judge: Callable[[], _Verdict], skipped: _Verdict | None = None
    ) -> None:
        """Run a case that is not skipped, and keep its outcome."""
        start = time.monotonic()
        if skipped is None:
            self.say(f"test {name}")
        verdict = skipped or _verdict_of(judge)
        if verdict.excused:
            self.excused.add(name)
        self.done[name] = CaseResult(
            name=name,
            status=verdict.status,
            must_pass=must_pass and not verdict.excused,
            seconds=time.monotonic() - start,
            message=verdict.message,
            log=verdict.log[-LOG_LENGTH:],
            peak_memory=verdict.peak_memory,
            numbers=verdict.numbers,
        )

    def _case(self, case: Case) -> _Verdict:
        """Run a case's command, as often as it is to be repeated, and check its outputs."""
        if not self.folder.exists():
            copy_folder(self.project.folder, self.folder, self.project.left_out)
            self.target.place(self.folder)
        if case.script is not None and not (self.folder / case.script).is_file():
            return _Verdict("FAIL", f"{case.script} is missing; the project has no such file")
        faults: list[str] = []
        values: dict[Metric, list[object]] = {metric: [] for metric in case.metrics}
        peak, output = 0, ""
        for _ in range(case.repeat if self.mode == "benchmark" else 1):
            self._delete(case.outputs)
            arguments = case.arguments(self.project.report.python)
            finished = self.target.run(
                arguments, self.folder, limit=case.time_limit, variables=case.variables
            )
            peak, output = max(peak, finished.peak_memory), finished.output
            if finished.skipped:
                return _Verdict("SKIP", finished.skipped, output, peak, excused=True)
            if not finished.ok:
                status: Status = "FAIL" if finished.status > 0 else "ERROR"
                status = "TIMEOUT" if finished.timed_out else status
                return _Verdict(status, f"{case.command[0]} {finished.failure}", output, peak)
            self.target.collect(self.folder)
            faults += self._missing(case)
            for metric, found in values.items():
                try:
                    found.append(_read_number(metric, self.folder, output))
                except ValueError as error:
                    required = metric.required(self._golden(case, metric))
                    faults.append(f"{error}{required and f' ({metric.name} must be {required})'}")
        numbers = [self._number(case, metric, found, faults) for metric, found in values.items() if found]
        return _verdict_from(list(dict.fromkeys(faults)), finished.notes, output, peak, tuple(numbers))

    def _golden(self, case: Case, metric: Metric) -> float | None:
        """Return the golden value of a metric: the script's, or else that of the earlier result."""
        return case.golden.get(metric.name, self.golden.get((case.name, metric.name)))

    def _number(self, case: Case, metric: Metric, found: list[object], faults: list[str]) -> Number:
        """Return the median of a metric's values beside what is required; add its fault."""
        golden = self._golden(case, metric)
        numbers = tuple(float(one) for one in found if isinstance(one, (int, float)))
        value = median(numbers) if len(numbers) == len(found) > 1 else found[0]
        if failure := metric.failure(value, golden):
            faults.append(failure)
        return metric.number(value, golden, numbers if len(found) > 1 else ())

    def _delete(self, paths: Sequence[str]) -> None:
        """Remove earlier outputs on the target, so that a command that does not write them is detected."""
        if not paths:
            return
        deleted = self.target.run(
            [self.target.python, "-I", "-c", _DELETE, *paths], self.folder, limit=DELETE_LIMIT
        )
        if not deleted.ok:
            raise StepError(f"earlier outputs cannot be deleted: the command {deleted.failure}")

    def _missing(self, case: Case) -> Iterator[str]:
        """Say which artefacts are missing or empty."""
        for path in case.artefacts:
            file = self.folder / path
            if not file.exists():
                yield f"{path} was not written"
            elif file.is_file() and not file.stat().st_size:
                yield f"{path} is empty"


def golden_numbers(result: TestResult) -> dict[tuple[str, str], float]:
    """Return (case, metric) -> value of the cases of a result that passed."""
    return {
        (case.name, number.name): number.value
        for case in result.cases
        if case.status == "PASS"
        for number in case.numbers
        if number.value is not None
    }


def _checked(check: Callable[[], Check]) -> _Verdict:
    faults, notes = check()
    return _verdict_from(faults, notes, log="\n".join(notes))


def _ended(run: Container) -> _Verdict:
    faults, output = run()
    return _verdict_from(faults, [], output)


def _verdict_of(judge: Callable[[], _Verdict]) -> _Verdict:
    try:
        return judge()
    except StepError as error:
        return _Verdict("ERROR", str(error))


def _verdict_from(
    faults: Sequence[str],
    notes: Sequence[str],
    log: str,
    peak_memory: int = 0,
    numbers: tuple[Number, ...] = (),
) -> _Verdict:
    message = "; ".join([*faults, *notes])
    return _Verdict("FAIL" if faults else "PASS", message, log, peak_memory, numbers)


# Metrics ------------------------------------------------------------------------------------------------


def _read_number(metric: Metric, project: Path, output: str) -> object:
    """Find a metric in a file or the output; ValueError where it is not there."""
    if metric.pattern is not None:
        text = output if metric.file is None else _read_text(project / metric.file, metric.file)
        return _match(metric, metric.pattern, text)
    assert metric.file is not None
    return _look_up(metric, metric.file, _read_metrics(project / metric.file, metric.file))


def _match(metric: Metric, pattern: str, text: str) -> float:
    """Return the number in the last match of a pattern."""
    matches = [*re.finditer(pattern, text)]
    if not matches:
        raise InputError(f"{metric.where} has no {metric.name}: nothing matches {show(pattern)}")
    found = matches[-1][1]
    try:
        return float(found)
    except (TypeError, ValueError):
        raise InputError(
            f"{metric.name} is {show(found)} in {metric.where}, by {show(pattern)}, which is not a number"
        ) from None


def _look_up(metric: Metric, file: str, numbers: dict[str, Any]) -> object:
    """Return the value of a name, or of a path of names with dots between them."""
    if metric.name in numbers:
        return numbers[metric.name]
    value: Any = numbers
    for name in metric.name.split("."):
        if not isinstance(value, dict) or name not in value:
            raise InputError(f"{file} has no {metric.name}")
        value = value[name]
    return value


def _read_text(path: Path, file: str) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise InputError(f"{file} was not written") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None


def _read_metrics(path: Path, file: str) -> dict[str, Any]:
    """Read a file of metrics; ValueError where that fails."""
    try:
        numbers = json.loads(_read_text(path, file))
    except RecursionError:
        raise InputError(f"{file} is not valid JSON: it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{file} is not valid JSON: {error}") from None
    if not isinstance(numbers, dict):
        raise InputError(f"{file} does not map names to numbers")
    return numbers
