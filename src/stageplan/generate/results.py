"""Typed results of the steps, and the files that they are kept in.

A step works in a folder beside, which is renamed when it is whole, and writes its result last. A result that
is there, was made from the same inputs and has artefacts with the right checksums stands for a whole step.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from ..output import to_json, write_whole
from .digests import sha256

Status = Literal["PASS", "FAIL", "ERROR", "TIMEOUT", "SKIP"]
Mode = Literal["quick", "infer", "full"]
Training = Literal["quick", "full"]


class StepError(RuntimeError):
    """A step that did not succeed; one sentence says which, and why.

    Parameters
    ----------
    sentence : str
        What it says.
    log : str
        What the command printed that failed, if one did.
    """

    def __init__(self, sentence: str, log: str = "") -> None:
        super().__init__(sentence)
        self.log = log


class Item(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that the target must have.

    Attributes
    ----------
    name : str
        What it is.
    status : {"OK", "MISSING", "WRONG"}
        Whether it is there, and as it must be.
    found, wanted : str
        What is there, and what is required.
    advice : str
        What to do; empty where it is OK.
    """

    name: str
    status: Literal["OK", "MISSING", "WRONG"]
    found: str
    wanted: str
    advice: str = ""


class EnvironmentReport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Result of the first step: what the target has.

    Attributes
    ----------
    target : str
        ``"local"`` or ``"ssh:..."``.
    python : str
        Interpreter of the environment, its path on the target; empty where there is none.
    items : tuple of Item
        What was looked at.
    requirements : tuple of str
        Packages asked for, as ``"name==version"``.
    lock : tuple of str
        Packages that are there, as ``"name==version"``.
    seconds : float
        Duration of the step, of the clock on the wall.
    inputs, code : str
        Digests of what the step was made from, and by; filled in by `generate`.
    """

    target: str
    python: str
    items: tuple[Item, ...]
    requirements: tuple[str, ...]
    lock: tuple[str, ...]
    seconds: float
    inputs: str = ""
    code: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is missing or wrong."""
        return all(item.status == "OK" for item in self.items)

    def __str__(self) -> str:
        head = f"environment on {self.target}: {'OK' if self.ok else 'not as required'}"
        return "\n".join([head, *map(_item_line, self.items)])


def _item_line(item: Item) -> str:
    return f"  {item.status:<8} {item.name}: {item.found}{'; ' + item.advice if item.advice else ''}"


class Artefact(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that a step made: its path in the project, its size and its SHA-256."""

    path: str
    bytes: int
    sha256: str


class BasicResult(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """First processing result: the manifest of what the basic function made.

    Attributes
    ----------
    training : {"quick", "full"}
        How long it was trained.
    config_sha256 : str
        Of the project's ``config.json``.
    artefacts : tuple of Artefact
        Files of the project: those below ``artefacts``, and the plan and settings of the extended function.
    metrics : dict of dict of float
        Command -> name -> number, as the commands wrote them.
    versions : dict of str
        Package -> version that made them.
    seconds : float
        Duration of the step, of the clock on the wall.
    inputs, code : str
        Digests of what the step was made from, and by; filled in by `generate`.
    """

    training: Training
    config_sha256: str
    artefacts: tuple[Artefact, ...]
    metrics: dict[str, dict[str, float]]
    versions: dict[str, str]
    seconds: float
    inputs: str = ""
    code: str = ""

    def __str__(self) -> str:
        size = sum(artefact.bytes for artefact in self.artefacts)
        lines = [f"{self._title}: {len(self.artefacts)} artefacts, {size:,} bytes, in {self.seconds:.1f} s"]
        for command, numbers in self.metrics.items():
            said = ", ".join(f"{name} {number:.6g}" for name, number in numbers.items())
            lines.append(f"  {command}: {said}")
        return "\n".join(lines)

    @property
    def _title(self) -> str:
        return f"basic function, {self.training} training"


class RanStage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stage as it ran: its layers, and the ranks that shared it."""

    type: str
    layers: tuple[str, ...]
    ranks: tuple[int, ...]


class ExtendedResult(BasicResult, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Second processing result: the manifest of what the extended function made.

    Attributes
    ----------
    steps : tuple of str
        Extensions that were made, in the order in which they were.
    stages : tuple of RanStage
        Stages of the pipelined training that ran; empty where none did.
    """

    steps: tuple[str, ...]
    stages: tuple[RanStage, ...] = ()

    def __str__(self) -> str:
        stages = [
            f"  stage on {stage.type}, {len(stage.ranks)} processes: {', '.join(stage.layers)}"
            for stage in self.stages
        ]
        return "\n".join([super().__str__(), *stages])

    @property
    def _title(self) -> str:
        return f"extended function ({', '.join(self.steps)})"


class CaseResult(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of a case.

    Attributes
    ----------
    name : str
        The case.
    status : {"PASS", "FAIL", "ERROR", "TIMEOUT", "SKIP"}
        See `TestResult`.
    must_pass : bool
        Whether the whole is red where this case did not pass.
    seconds : float
        Duration, of the clock on the wall.
    message : str
        One sentence; empty where it passed.
    log : str
        The end of what the command printed.
    """

    name: str
    status: Status
    must_pass: bool
    seconds: float
    message: str = ""
    log: str = ""


class TestResult(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Result of the preset test script.

    A case passes (PASS) where its command ended with exit status 0, made every artefact, and every metric is
    within its limits. It fails (FAIL) where the command ran to its end and one of these does not hold. It is
    an ERROR where the command could not be run or was ended by a signal, a TIMEOUT where it was stopped at
    its time limit, and is not run (SKIP) where a case that it needs did not pass.

    Attributes
    ----------
    name : str
        Of the specification.
    mode : {"quick", "infer", "full"}
        Which cases were chosen.
    cases : tuple of CaseResult
        In the order in which they were run.
    seconds : float
        Duration of all, of the clock on the wall.
    """

    __test__ = False  # for pytest, which takes it for a class of tests by its name

    name: str
    mode: Mode
    cases: tuple[CaseResult, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every case that had to pass did."""
        return all(case.status == "PASS" for case in self.cases if case.must_pass)

    def case(self, name: str) -> CaseResult:
        """Return the case of a name; KeyError where there is none."""
        for case in self.cases:
            if case.name == name:
                return case
        raise KeyError(name)

    def __str__(self) -> str:
        width = max(len(case.name) for case in self.cases)
        rows = [
            f"  {case.status:<8} {case.name:<{width}} {case.seconds:8.1f} s  {case.message}".rstrip()
            for case in self.cases
        ]
        counts = Counter(case.status for case in self.cases)
        verdict = "passed" if self.passed else "not passed"
        said = ", ".join(f"{count} {status}" for status, count in counts.items())
        return "\n".join([f"test of {self.name}, {self.mode}: {verdict} ({said})", *rows])


Result = TypeVar("Result", EnvironmentReport, BasicResult, ExtendedResult, TestResult)


def write_result(path: Path, result: Struct) -> None:
    """Write a result, whole or not at all."""
    write_whole(path, lambda stream: stream.write(to_json(result) + b"\n"))


def read_result(path: Path, kind: type[Result]) -> Result | None:
    """Return a step's result; None where it is absent, or is none of this kind."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, ValueError):
        return None


def artefacts_of(project: Path) -> tuple[Artefact, ...]:
    """List what was made in a project, by path: the files below ``artefacts``, a plan, and settings."""
    files = sorted(path for path in (project / "artefacts").rglob("*") if path.is_file())
    files += [path for name in ("extended.json", "plan.json") if (path := project / name).is_file()]
    return tuple(
        Artefact(path=path.relative_to(project).as_posix(), bytes=path.stat().st_size, sha256=sha256(path))
        for path in files
    )


def tampered(project: Path, result: BasicResult) -> list[str]:
    """Say, one sentence each, which artefacts are not as they were when the result was written."""
    said = []
    for artefact in result.artefacts:
        path = project / artefact.path
        if not path.is_file():
            said.append(f"{artefact.path} is missing; the manifest lists it")
        elif sha256(path) != artefact.sha256:
            said.append(f"{artefact.path} has another checksum than in the manifest")
    return said
