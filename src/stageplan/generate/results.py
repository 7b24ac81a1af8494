"""Typed results of the steps, and their files.

A step works in a scratch folder that is renamed when it is complete, and writes its result last. A step is
complete if its result exists, was made from the same inputs, and its artefacts have the recorded checksums.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from msgspec import Struct, field

from ..errors import StageplanError
from ..output import compose, table, to_json, to_text, write_whole
from ..readers.bounded import about, as_path, from_json, read_bytes
from .digests import sha256
from .folders import files_of
from .layout import ARTEFACTS, CONFIG_FILE, EXAMPLES, PLAN_FILE, SETTINGS_FILE, TEST_FILE
from .variant_table import VariantResult, text_of

if TYPE_CHECKING:
    from rich.console import Group

Status = Literal["PASS", "FAIL", "ERROR", "TIMEOUT", "SKIP"]
Mode = Literal["quick", "infer", "full", "benchmark"]
Training = Literal["quick", "full", "none"]


class StepError(StageplanError, RuntimeError):
    """A failed step; one sentence says which, and why.

    Parameters
    ----------
    sentence : str
        The message.
    log : str
        Output of the command that failed, if any.
    """

    def __init__(self, sentence: str, log: str = "") -> None:
        super().__init__(sentence)
        self.log = log


class Item(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A requirement of the target, and whether it is met.

    Attributes
    ----------
    name : str
        What is required.
    status : {"OK", "MISSING", "WRONG"}
        Whether it is met, absent, or different.
    found, wanted : str
        What was found, and what is required.
    advice : str
        How to meet it; empty where it is OK.
    """

    name: str
    status: Literal["OK", "MISSING", "WRONG"]
    found: str
    wanted: str
    advice: str = ""


class Host(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A machine that cases run on.

    Attributes
    ----------
    name : str
        Its name in its network.
    system, processor : str
        Operating system, and model of the processor.
    cores : int
        Usable processor cores.
    memory : int
        Bytes of usable main memory.
    accelerators : tuple of str
        Their names.
    """

    name: str
    system: str
    processor: str
    cores: int
    memory: int
    accelerators: tuple[str, ...] = ()


class EnvironmentReport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Result of the first step: properties of the target.

    Attributes
    ----------
    target : str
        ``"local"`` or ``"ssh:..."``.
    python : str
        Path of the environment's interpreter on the target; empty where there is none.
    items : tuple of Item
        The requirements that were checked.
    requirements : tuple of str
        Required packages, as ``"name==version"``.
    lock : tuple of str
        Installed packages, as ``"name==version"``.
    seconds : float
        Elapsed time of the step.
    host : Host, optional
        The machine; None where it could not be examined.
    inputs, code : str
        Digests of the step's inputs and of this package's source; filled in by `generate`.
    """

    target: str
    python: str
    items: tuple[Item, ...]
    requirements: tuple[str, ...]
    lock: tuple[str, ...]
    seconds: float
    host: Host | None = None
    inputs: str = ""
    code: str = ""

    @property
    def ok(self) -> bool:
        """Whether every requirement is met."""
        return all(item.status == "OK" for item in self.items)

    def __rich__(self) -> Group:
        head = f"environment on {self.target}: {'OK' if self.ok else 'requirements not met'}"
        return compose(head, table([*map(_item_cells, self.items)], left=(0, 1, 2)))

    def __str__(self) -> str:
        return to_text(self)


def _item_cells(item: Item) -> tuple[str, ...]:
    return "", item.status, f"{item.name}: {item.found}{'; ' + item.advice if item.advice else ''}"


class Artefact(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that a step wrote: its path in the project, its size and its SHA-256."""

    path: str
    bytes: int
    sha256: str


class BasicResult(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """First processing result: the manifest of the basic function.

    Attributes
    ----------
    training : {"quick", "full", "none"}
        Length of the training; none where the weights are those that the user's own network begins with.
    config_sha256 : str
        Of the project's ``config.json``.
    artefacts : tuple of Artefact
        Files of the project: those below ``artefacts``, and the plan and settings of the extended function.
    metrics : dict of dict of float
        Command -> name -> value, as the commands wrote them.
    versions : dict of str
        Package -> version that they were made with.
    seconds : float
        Elapsed time of the step.
    notes : tuple of str
        What the commands say about the metrics: what was required, and what was not used.
    files : dict of str
        Path -> SHA-256 of the project's other files that the step wrote: its code, and the user's examples.
    cases_sha256 : str
        Of the test script that the step wrote.
    inputs, code : str
        Digests of the step's inputs and of this package's source; filled in by `generate`.
    """

    training: Training
    config_sha256: str
    artefacts: tuple[Artefact, ...]
    metrics: dict[str, dict[str, float]]
    versions: dict[str, str]
    seconds: float
    notes: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    cases_sha256: str = ""
    inputs: str = ""
    code: str = ""

    def __rich__(self) -> Group:
        size = sum(artefact.bytes for artefact in self.artefacts)
        lines = [f"{self._title}: {len(self.artefacts)} artefacts, {size:,} bytes, in {self.seconds:.1f} s"]
        for command, numbers in self.metrics.items():
            metrics = ", ".join(f"{name} {number:.6g}" for name, number in numbers.items())
            lines.append(f"  {command}: {metrics}")
        return compose(*lines, *(f"  {note}" for note in self.notes))

    def __str__(self) -> str:
        return to_text(self)

    @property
    def _title(self) -> str:
        return f"basic function, {'no' if self.training == 'none' else self.training} training"


class RanStage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stage that ran: its layers, and the ranks of its replicas."""

    type: str
    layers: tuple[str, ...]
    ranks: tuple[int, ...]


class ExtendedResult(BasicResult, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Second processing result: the manifest of the extended function.

    Attributes
    ----------
    steps : tuple of str
        Extensions, in the order in which they were applied.
    stages : tuple of RanStage
        Stages of the pipelined training; empty without the extension ``pipeline``.
    """

    steps: tuple[str, ...]
    stages: tuple[RanStage, ...] = ()

    def __rich__(self) -> Group:
        stages = [
            f"  stage on {stage.type}, {len(stage.ranks)} processes: {', '.join(stage.layers)}"
            for stage in self.stages
        ]
        return compose(super().__rich__(), *stages)

    @property
    def _title(self) -> str:
        return f"extended function ({', '.join(self.steps)})"


class Number(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A metric that a case checked.

    Attributes
    ----------
    name : str
        Name of the metric.
    value : float, optional
        What was found; None where that is no finite number.
    required : str
        What is required, as ``"at most 1"``; empty where any finite number is allowed.
    met : bool
        Whether it is as required.
    limit : float, optional
        The limit that is nearest to the value; None where there is none.
    values : tuple of float
        Where the command was repeated, the value of each time, of which `value` is the median.
    """

    name: str
    value: float | None
    required: str
    met: bool
    limit: float | None = None
    values: tuple[float, ...] = ()


class CaseResult(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Outcome of a case.

    Attributes
    ----------
    name : str
        Name of the case.
    status : {"PASS", "FAIL", "ERROR", "TIMEOUT", "SKIP"}
        See `TestResult`.
    must_pass : bool
        Whether the test fails where this case does not pass.
    seconds : float
        Elapsed time.
    message : str
        About the failure, what the command notes about its result, or files changed by hand; on one line.
    log : str
        End of the command's output.
    peak_memory : int
        Bytes that the command and its descendants had in memory at most, see
        `stageplan.generate.target.Finished`; 0 where no command ran.
    numbers : tuple of Number
        Every metric that was found, beside what is required of it.
    """

    name: str
    status: Status
    must_pass: bool
    seconds: float
    message: str = ""
    log: str = ""
    peak_memory: int = 0
    numbers: tuple[Number, ...] = ()


class TestResult(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Result of the preset test script.

    A case passes (PASS) if its command ended with exit status 0, wrote every artefact, and every metric is
    within its limits. It fails (FAIL) if the command ended and one of these does not hold. It is an ERROR if
    the command could not be run or was ended by a signal, a TIMEOUT if it was stopped at its time limit, and
    is not run (SKIP) if a case that it needs did not pass, or if the script or the target's lack of
    accelerators is a reason not to run it; then it need not pass.

    Attributes
    ----------
    name : str
        Name of the specification.
    mode : {"quick", "infer", "full", "benchmark"}
        Which cases were run.
    cases : tuple of CaseResult
        Outcomes, in the order in which the cases ran.
    seconds : float
        Elapsed time of all cases.
    date : str
        When the test began, in UTC by ISO 8601.
    host : Host, optional
        The machine that the cases ran on.
    versions : dict of str
        Package -> version that they ran with.
    requirements : dict of str
        Name -> what is required of the service and of the hardware.
    variants : tuple of VariantResult
        What was measured of each variant of the network, where the project compares them.
    """

    __test__ = False  # pytest would collect it as a class of tests, by its name

    name: str
    mode: Mode
    cases: tuple[CaseResult, ...]
    seconds: float
    date: str = ""
    host: Host | None = None
    versions: dict[str, str] = {}
    requirements: dict[str, str] = {}
    variants: tuple[VariantResult, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every case with `must_pass` passed."""
        return all(case.status == "PASS" for case in self.cases if case.must_pass)

    def case(self, name: str) -> CaseResult:
        """Return the outcome of a case by its name; KeyError where there is none."""
        for case in self.cases:
            if case.name == name:
                return case
        raise KeyError(name)

    def __rich__(self) -> Group:
        rows = [("", case.status, case.name, f"{case.seconds:.1f} s", case.message) for case in self.cases]
        counts = Counter(case.status for case in self.cases)
        verdict = "passed" if self.passed else "not passed"
        summary = ", ".join(f"{count} {status}" for status, count in counts.items())
        parts = [f"test of {self.name}, {self.mode}: {verdict} ({summary})", table(rows, left=(0, 1, 2, 4))]
        return compose(*parts, *text_of(self.variants))

    def __str__(self) -> str:
        return to_text(self)


Result = TypeVar("Result", EnvironmentReport, BasicResult, ExtendedResult, TestResult)


def result_bytes(result: Struct) -> bytes:
    """Return a result as the JSON of its file."""
    return to_json(result) + b"\n"


def write_result(path: Path, result: Struct) -> None:
    """Write a result atomically."""
    write_whole(path, lambda stream: stream.write(result_bytes(result)))


def read_result(path: Path, kind: type[Result]) -> Result | None:
    """Return a step's result; None where it is absent or not valid."""
    try:
        result: Result = from_json(read_bytes(path), kind)
        return result
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def read_test(path: str | os.PathLike[str], field: str) -> TestResult:
    """Read the result of a test.

    Parameters
    ----------
    path : path
        A ``test-result.json``.
    field : str
        Name of the argument, for error messages.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It is not the result of a test.
    """
    path = as_path(field, path)
    with about(path):
        result: TestResult = from_json(read_bytes(path), TestResult, TEST_FILE)
        return result


def artefacts_of(project: Path) -> tuple[Artefact, ...]:
    """List the artefacts of a project by path: files below ``artefacts``, the plan, and the settings."""
    files = sorted(path for path in (project / ARTEFACTS).rglob("*") if path.is_file())
    files += [path for name in (SETTINGS_FILE, PLAN_FILE) if (path := project / name).is_file()]
    return tuple(
        Artefact(path=path.relative_to(project).as_posix(), bytes=path.stat().st_size, sha256=sha256(path))
        for path in files
    )


def code_of(project: Path) -> dict[str, str]:
    """Return path -> SHA-256 of the files of a project that are neither artefacts nor its configuration."""
    others = {CONFIG_FILE, SETTINGS_FILE, PLAN_FILE}
    files = files_of(project).items()
    return {path: sum_ for path, sum_ in files if path not in others and not path.startswith(f"{ARTEFACTS}/")}


def changed_artefacts(project: Path, result: BasicResult) -> list[str]:
    """Return a sentence for each artefact that is missing or has changed since the result was written.

    So it does for the examples, which the artefacts were made from.
    """
    changes = []
    for name, checksum in result.files.items():
        if name.startswith(EXAMPLES) and (not (path := project / name).is_file() or sha256(path) != checksum):
            changes.append(f"{name} has changed since the artefacts were written; generate again")
    for artefact in result.artefacts:
        path = project / artefact.path
        if not path.is_file():
            changes.append(f"{artefact.path} is missing; the manifest lists it")
        elif sha256(path) != artefact.sha256:
            changes.append(f"{artefact.path} has another checksum than in the manifest")
    return changes
