"""A generated project as it is tested: its environment, its integrity, and what is required of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from .._version import __version__
from ..quantities import show_bytes
from . import containers, environment
from .basic import versions
from .digests import sha256
from .layout import BASIC_FILE, CASES_FILE, CONFIG_FILE, EXAMPLES, EXTENDED_FILE, PROJECT
from .place import Place
from .results import (
    BasicResult,
    EnvironmentReport,
    ExtendedResult,
    Item,
    changed_artefacts,
    code_of,
    read_result,
)
from .spec import Engine, Spec
from .target import Local, Target
from .testing import Check, Container, Project


def project_of(spec: Spec, report: EnvironmentReport, target: Target, directory: Path) -> Project:
    """Return the project of a run, to be tested.

    Parameters
    ----------
    spec : Spec
        The requirements.
    report : EnvironmentReport
        The environment to run in.
    target : Target
        Where to run.
    directory : pathlib.Path
        Directory of the run.
    """
    return Project(
        name=spec.name,
        folder=directory / PROJECT,
        report=report,
        checks={
            "environment": partial(_environment, spec, report, target, directory),
            "integrity": partial(_integrity, directory),
        },
        versions=made_with(report) | versions(report),
        requirements=dict(_of_service(spec)) | dict(of_hardware(spec)),
        container=_container(spec, directory),
    )


def _container(spec: Spec, directory: Path) -> Container | str | None:
    """Return what builds a container and infers in it, or why this machine cannot."""
    engine = spec.environment.container
    if engine is None:
        return None
    machine = Local(spec, directory, "")
    return containers.why_not(engine, machine) or partial(_in_container, spec, engine, machine)


def _in_container(spec: Spec, engine: Engine, machine: Local) -> tuple[list[str], str]:
    """Build a container and infer in it; return what failed, and the output."""
    finished = containers.build_and_run(spec, engine, machine)
    return [f"{engine} {finished.failure}"] if finished.failure else [], finished.output


def made_with(report: EnvironmentReport) -> dict[str, str]:
    """Return the versions of stageplan and of the environment's interpreter."""
    python = [item.found.partition(" ")[0] for item in report.items if item.name == "python"]
    return {"stageplan": __version__, **({"python": python[0]} if python else {})}


def _environment(spec: Spec, report: EnvironmentReport, target: Target, directory: Path) -> Check:
    """Check that the environment is still as required."""
    items, _ = environment.check_interpreter(spec, target, report.python, directory)
    return faults_of(items), []


def faults_of(items: Iterable[Item]) -> list[str]:
    """Return a sentence for each item that is not as required."""
    return [
        f"{item.name} is {item.status}, {item.found}: {item.advice}" for item in items if item.status != "OK"
    ]


def _integrity(directory: Path) -> Check:
    """Check that the artefacts that the manifests list, and what they were made from, have not changed.

    Code and cases are the user's to change; it says which of them have changed.
    """
    first = read_result(directory / BASIC_FILE, BasicResult)
    second = read_result(directory / EXTENDED_FILE, ExtendedResult)
    if first is None:
        return [f"there is no {BASIC_FILE}"], []
    project = directory / PROJECT
    newest = second or first
    faults = [*changed_artefacts(project, first), *(changed_artefacts(project, second) if second else ())]
    config = project / CONFIG_FILE
    if not config.is_file() or sha256(config) != newest.config_sha256:
        faults.append(f"{CONFIG_FILE} has changed since the artefacts were written; generate again")
    changed = _changed_by_hand(directory, first, newest)
    notes = [f"changed since it was made: {', '.join(changed)}"] if changed else []
    return list(dict.fromkeys(faults)), notes


def _changed_by_hand(directory: Path, first: BasicResult, newest: BasicResult) -> list[str]:
    """Name the files of code, and the test script, that are not as the steps wrote them."""
    made, found = newest.files | first.files, code_of(directory / PROJECT)
    changed = [path for path in sorted(made | found) if found.get(path) != made.get(path)]
    changed = [path for path in changed if not path.startswith(EXAMPLES)]
    if sha256(directory / CASES_FILE) != newest.cases_sha256:
        changed.append(CASES_FILE)
    return changed


def _of_service(spec: Spec) -> Iterator[tuple[str, str]]:
    """Yield what is required of the service."""
    service = spec.service
    if service.threshold is not None:
        limit = "at least" if service.higher_is_better else "at most"
        yield str(service.metric), f"{limit} {service.threshold:g}"
    if service.max_latency is not None:
        yield "latency", f"at most {service.max_latency:g} s a batch of {service.batch}"
    if service.min_throughput is not None:
        yield "throughput", f"at least {service.min_throughput:g} examples/s"
    yield "precision", service.precision


def of_hardware(place: Place) -> Iterator[tuple[str, str]]:
    """Yield what is required of the hardware."""
    hardware = place.hardware
    yield "device", hardware.device
    yield "cores", f"at least {hardware.cores}"
    if hardware.memory:
        yield "memory", f"at least {show_bytes(hardware.memory)}"
    for name in hardware.instruction_sets:
        yield f"instruction set {name}", "present"
    if hardware.accelerators:
        yield "accelerators", f"at least {hardware.accelerators}"
    if hardware.accelerator_memory:
        yield "accelerator memory", f"at least {show_bytes(hardware.accelerator_memory)}"
    if hardware.driver is not None:
        yield "driver", f"{hardware.driver} or newer"
