"""A project that somebody else wrote, as it is tested: where it is, and the environment that it runs in."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from ..fields import check_fields
from ..readers.bounded import about, from_json, read_bytes
from ..readers.documents import build
from . import environment
from .amounts import LocalPath
from .digests import digest, sha256
from .folders import write_files
from .generated import faults_of, made_with, of_hardware
from .layout import CONTAINER, ENVIRONMENT_FILE
from .results import EnvironmentReport, Item, StepError, read_result, write_result
from .spec import Environment, Hardware, RunName, Ssh, TargetName
from .target import Target
from .testing import Check, Project

# Patterns of what is not a part of a project: of version control, environments, and caches.
LEFT_OUT = (
    ".git", ".hg", ".svn", ".venv", "venv", ".tox", ".nox", "__pycache__", "*.pyc", ".mypy_cache",
    ".pytest_cache", ".ruff_cache", "node_modules",
)  # fmt: skip

_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*(?:==\s*([^\s,;*]+))?[^;]*")


class Adopted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A project to be tested.

    Parameters
    ----------
    name : str
        Letters, digits, ``.``, ``_`` and ``-``.
    project : str
        Its folder, which is copied for a test and never changed.
    requirements : str, optional
        File of the packages that it requires, as pip reads it.
    target : str
        ``"local"``, or ``"ssh:USER@HOST"``, with ``:PORT`` where it is not the default port.
    hardware : Hardware
        What the target must have.
    environment : Environment
        An environment to reuse, or how one is made of the required packages; without either the target's
        own interpreter is used.
    ssh : Ssh
        How the target is reached.
    """

    name: RunName
    project: Annotated[LocalPath, Meta(description="the path of a folder")]
    requirements: LocalPath | None = None
    target: TargetName = "local"
    hardware: Hardware = Hardware()
    environment: Environment = Environment()
    ssh: Ssh = Ssh()

    def __post_init__(self) -> None:
        check_fields(self, "adopted project")


def read_adopted(path: Path) -> Adopted:
    """Read the file of an adopted project; ValueError where it is not valid."""
    with about(path):
        return build(Adopted, from_json(read_bytes(path)))


def project_of(
    adopted: Adopted, target: Target, directory: Path, progress: Callable[[str], object]
) -> Project:
    """Return an adopted project, to be tested; its environment is made where it is not there yet.

    Parameters
    ----------
    adopted : Adopted
        The project.
    target : Target
        Where to run.
    directory : pathlib.Path
        Directory of the run; ``environment.json`` is written into it.
    progress : callable
        Called before the environment is made.

    Raises
    ------
    StepError
        The project's folder is missing, or the target cannot be reached (TargetError).
    """
    if not Path(adopted.project).is_dir():
        raise StepError(f"there is no folder {adopted.project}; adopt the project where it is now")
    path, inputs = directory / ENVIRONMENT_FILE, _inputs(adopted)
    report = read_result(path, EnvironmentReport)
    if report is not None and report.ok and report.inputs == inputs:
        check = partial(_faults, adopted, target, report.python, directory)
    else:
        progress("environment")
        report = msgspec.structs.replace(prepare(adopted, target, directory), inputs=inputs)
        write_result(path, report)
        check = partial(_prepared, report)
    return Project(
        name=adopted.name,
        folder=Path(adopted.project),
        report=report,
        checks={"environment": check},
        versions=made_with(report) | dict(package.split("==", 1) for package in report.lock),
        requirements=dict(of_hardware(adopted)),
        left_out=LEFT_OUT,
    )


def _inputs(adopted: Adopted) -> str:
    """Digest of everything that the environment depends on."""
    wanted = adopted.requirements and sha256(Path(adopted.requirements))
    return digest(adopted.target, adopted.ssh, adopted.hardware, adopted.environment, wanted)


def _faults(adopted: Adopted, target: Target, python: str, directory: Path) -> Check:
    """Check that the environment is still as required."""
    items, _ = _inspect(adopted, target, python, directory)
    return faults_of(items), []


def _prepared(report: EnvironmentReport) -> Check:
    """Check an environment that was examined just now."""
    return faults_of(report.items), []


def prepare(adopted: Adopted, target: Target, directory: Path) -> EnvironmentReport:
    """Probe the target, and make or check the environment of an adopted project there.

    Parameters
    ----------
    adopted : Adopted
        The project.
    target : Target
        Where to prepare it.
    directory : pathlib.Path
        Directory of the run; a new environment is its ``environment``.

    Raises
    ------
    TargetError
        The target cannot be reached, or was lost.
    """
    start = time.monotonic()
    facts = environment.probe(target, target.python, directory)
    items, python, lock = (
        ([facts], "", [])
        if isinstance(facts, Item)
        else _prepare_interpreter(adopted, target, directory, facts)
    )
    return EnvironmentReport(
        target=target.name,
        python=python,
        items=tuple(items),
        requirements=tuple(_lines(adopted)),
        lock=tuple(lock),
        seconds=time.monotonic() - start,
        host=None if isinstance(facts, Item) else facts.host,
    )


def _prepare_interpreter(
    adopted: Adopted, target: Target, directory: Path, facts: environment.Facts
) -> tuple[list[Item], str, list[str]]:
    """Return items, interpreter and installed packages; stop at the first item that others depend on."""
    items = list(environment.machine_items(adopted, facts))
    if any(item.status != "OK" for item in items):
        return items, "", []
    python = _interpreter(adopted, target, directory, facts)
    if isinstance(python, Item):
        return [*items, python], "", []
    inside, lock = _inspect(adopted, target, python, directory)
    return [*items, *inside], python, lock


def _interpreter(adopted: Adopted, target: Target, directory: Path, facts: environment.Facts) -> str | Item:
    """Return the interpreter to run in, or why there is none."""
    if adopted.environment.reuse is not None:
        return environment.reused_interpreter(adopted.environment.reuse, target, directory)
    if adopted.requirements is None:
        return facts.executable
    wanted = Path(adopted.requirements).read_bytes()
    write_files(directory, {f"{CONTAINER}/requirements.txt": wanted})
    target.place(directory / CONTAINER)
    file = f"{target.path(directory / CONTAINER)}/requirements.txt"
    return environment.make_environment(adopted, target, directory, facts, ["-r", file])


def _inspect(adopted: Adopted, target: Target, python: str, directory: Path) -> tuple[list[Item], list[str]]:
    """Check an interpreter and its packages; return what was checked, and the installed packages."""
    facts = environment.probe(target, python, directory)
    if isinstance(facts, Item):
        return [facts], []
    found = f"{facts.python} ({facts.executable})"
    items = [Item(name="python", status="OK", found=found, wanted="any"), *_package_items(adopted, facts)]
    return items, [f"{name}=={version}" for name, version in sorted(facts.packages.items())]


def _package_items(adopted: Adopted, facts: environment.Facts) -> Iterator[Item]:
    """Compare packages with the plain requirements, by name and by a version after ``==``."""
    for line in _lines(adopted):
        match = _REQUIREMENT.fullmatch(line)
        if match is None:  # an option, a URL, or a requirement of some systems alone
            continue
        name, version = match[1], match[2]
        found = facts.packages.get(environment.normalised(name))
        right = found is not None and (version is None or environment.same_version(found, version))
        yield Item(
            name=f"package {name}",
            status="OK" if right else "MISSING" if found is None else "WRONG",
            found=found or "none",
            wanted=line,
            advice="" if right else f"{facts.executable} -m pip install '{line}'",
        )


def _lines(adopted: Adopted) -> list[str]:
    """Return the requirements, without comments."""
    if adopted.requirements is None:
        return []
    text = Path(adopted.requirements).read_text(encoding="utf-8", errors="replace")
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
    return [line for line in lines if line]
