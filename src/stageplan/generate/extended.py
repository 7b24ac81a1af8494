"""The extended function: pipelined training by a plan, and others, on top of the basic function."""

from __future__ import annotations

import time
from collections.abc import Container, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from ..cluster import Cluster
from ..goal import Goal
from ..output import to_json
from ..plan import Plan
from ..problem import Problem
from ..readers import read_workload
from ..solve import solve
from .basic import Runner, copy_files, layer_names, running, versions, write_cases
from .digests import sha256
from .folders import copy_folder, foreign_files, staged
from .results import (
    BasicResult,
    EnvironmentReport,
    ExtendedResult,
    RanStage,
    StepError,
    Training,
    artefacts_of,
)
from .spec import Extension, Spec
from .target import Target

PLAN, WORKLOAD, RAN = "plan.json", "artefacts/workload.json", "artefacts/pipeline.json"
CHECKPOINT_EVERY = 5  # steps


class _Parts(Struct, frozen=True):
    """Files of an extension, the command that does its work, and extensions that it needs."""

    files: tuple[str, ...] = ()
    command: str | None = None
    needs: tuple[Extension, ...] = ()


_EXTENSIONS: dict[Extension, _Parts] = {
    "pipeline": _Parts(("layer_times.py", "pipeline.py"), "pipeline"),
    "replicas": _Parts(needs=("pipeline",)),  # the plan may give a stage several devices
    "mixed-precision": _Parts(("mixed_precision.py",), "mixed_precision"),
    "accumulation": _Parts(("accumulate.py",), "accumulate"),
    "checkpoint": _Parts(("resume.py",), "resume"),
    "quantize": _Parts(("quantize.py",), "quantize"),
    "prune": _Parts(("prune.py",), "prune"),
    "onnx": _Parts(("onnx_export.py",), "onnx_export"),
    "server": _Parts(("serve.py", "ask_server.py"), "ask_server"),
}


def extend(
    spec: Spec,
    report: EnvironmentReport,
    target: Target,
    directory: Path,
    basic: BasicResult,
    *,
    training: Training,
) -> ExtendedResult:
    """Add the extensions to the project, and run them on the target, each after those that it needs.

    Parameters
    ----------
    spec : Spec
        What is required; ``extend.steps`` says which extensions.
    report : EnvironmentReport
        The environment to run in.
    target : Target
        Where.
    directory : pathlib.Path
        Of the run; its ``project`` is replaced when all went well, and then ``cases.toml``.
    basic : BasicResult
        What the basic function made; it stays as it is.
    training : {"quick", "full"}
        How long to train.

    Returns
    -------
    ExtendedResult
        The manifest of what was made.

    Raises
    ------
    ValueError
        A plan's file is none, or does not go with the specification.
    StepError
        No plan meets the requirements, or a command did not succeed.
    TargetError
        The target cannot be reached, or was lost.
    """
    start = time.monotonic()
    steps = ordered(spec.extend.steps)
    with staged(directory / "project") as project:
        theirs = foreign_files(directory / "project")
        project.rmdir()
        copy_folder(directory / "project", project)
        _leave_basic(project, basic, theirs)
        _write_files(spec, steps, project)
        commands = [parts.command for step in steps if (parts := _EXTENSIONS[step]).command is not None]
        with running("extended", spec, report, target, project) as runner:
            if "pipeline" in steps:
                _make_plan(spec, steps, runner, training)
            runner.run(*commands, training=training)
        result = ExtendedResult(
            training=training,
            config_sha256=sha256(project / "config.json"),
            artefacts=tuple(
                artefact
                for artefact in artefacts_of(project)
                if artefact not in basic.artefacts and theirs.get(artefact.path) != artefact.sha256
            ),
            metrics={command: runner.numbers(command) for command in commands},
            versions=versions(report),
            seconds=time.monotonic() - start,
            steps=steps,
            stages=_ran(project) if "pipeline" in steps else (),
        )
    write_cases(spec, directory, [step for step in steps if _EXTENSIONS[step].command is not None])
    return result


def ordered(steps: Sequence[Extension]) -> tuple[Extension, ...]:
    """Return extensions and all that they need, each after those that it needs."""
    graph: dict[Extension, tuple[Extension, ...]] = {}
    waiting = list(steps)
    while waiting:
        step = waiting.pop(0)
        graph[step] = _EXTENSIONS[step].needs
        waiting += [need for need in graph[step] if need not in graph]
    return tuple(TopologicalSorter(graph).static_order())


def _leave_basic(project: Path, basic: BasicResult, theirs: Container[str]) -> None:
    """Remove from a project what an earlier extended function wrote, and not the user's files."""
    of_basic = {artefact.path for artefact in basic.artefacts}
    made = {artefact.path for artefact in artefacts_of(project)} - of_basic
    made |= {file for parts in _EXTENSIONS.values() for file in (*parts.files, PLAN, "extended.json")}
    for path in made:
        if path not in theirs:
            (project / path).unlink(missing_ok=True)


def _write_files(spec: Spec, steps: Sequence[Extension], project: Path) -> None:
    """Write the files of extensions, as they are, and their settings."""
    for step in steps:
        copy_files(project, "extended", _EXTENSIONS[step].files)
    extend = spec.extend
    settings: dict[str, Any] = {
        "pipeline": {"micro_batches": extend.pipeline.microbatches, "schedule": extend.pipeline.schedule},
        "accumulation": {"micro_batches": extend.accumulation},
        "checkpoint": {"every": CHECKPOINT_EVERY},
        "prune": {"sparsity": extend.sparsity},
        "server": {"host": extend.server.host, "port": extend.server.port},
    }
    used = {name: table for name, table in settings.items() if name in steps}
    (project / "extended.json").write_bytes(to_json(used) + b"\n")


# The plan -----------------------------------------------------------------------------------------------


class _Stage(Struct, frozen=True):
    """What is needed of a plan's stage."""

    type: str
    layers: Annotated[tuple[str, ...], Meta(min_length=1)]
    devices: Annotated[int, Meta(ge=1)]


class _Planned(Struct, frozen=True):
    """What is needed of a plan's file."""

    stages: Annotated[tuple[_Stage, ...], Meta(min_length=1)]


def check_plan(spec: Spec) -> None:
    """Refuse a user's plan that does not go with the specification, before anything is run.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError, StepError
        As of `extend`.
    """
    steps, plan = ordered(spec.extend.steps), spec.extend.pipeline.plan
    if "pipeline" in steps and plan is not None:
        _check_plan(spec, steps, Path(plan).read_bytes(), plan)


def _make_plan(spec: Spec, steps: Sequence[Extension], runner: Runner, training: Training) -> None:
    """Put the plan into the project: the user's, or one that is made from the times of the layers."""
    pipeline = spec.extend.pipeline
    if pipeline.plan is not None:
        text = Path(pipeline.plan).read_bytes()
    else:
        runner.run("layer_times", training=training)
        text = to_json(_plan(spec, "replicas" in steps, runner.project / WORKLOAD).to_dict()) + b"\n"
    _check_plan(spec, steps, text, pipeline.plan or PLAN)
    (runner.project / PLAN).write_bytes(text)
    runner.target.place(runner.project)


def _plan(spec: Spec, replicas: bool, workload: Path) -> Plan:
    """Plan the pipelined training: the cheapest that is fast enough, or the fastest where nothing is said."""
    service, pipeline = spec.service, spec.extend.pipeline
    goal = Goal(
        objective="throughput" if service.min_throughput is None else "cost",
        min_throughput=service.min_throughput,
        split=True,
        max_devices_per_stage=None if replicas else 1,
    )
    problem = Problem(read_workload(workload), _cluster(spec), goal)
    plan = solve(problem, pipeline.method, seed=spec.seed).plan
    if not plan.feasible:
        broken = "; ".join(str(violation) for violation in plan.violations)
        raise StepError(f"no plan for pipelined training was found that meets the requirements: {broken}")
    return plan


def _cluster(spec: Spec) -> Cluster:
    """Return the device types; those that nothing is known of are like the one that was measured."""
    measured = spec.hardware.device
    types = tuple(
        type_
        if type_.like is not None or type_.name == measured
        else msgspec.structs.replace(type_, like=measured)
        for type_ in spec.hardware.types
    )
    return Cluster(name=spec.name, types=types)


def _check_plan(spec: Spec, steps: Sequence[Extension], text: bytes, name: str) -> None:
    """Refuse a plan of another network, or one that asks for more processes than may run."""
    try:
        planned = msgspec.json.decode(text, type=_Planned)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"extend.pipeline.plan is {name}; it must be a plan in JSON: {error}") from None
    most = max(stage.devices for stage in planned.stages)
    if most > 1 and "replicas" not in steps:
        raise ValueError(
            f"extend.pipeline.plan is {name}, which gives a stage {most} devices; 'replicas' must be in "
            "extend.steps for that"
        )
    processes, limit = sum(stage.devices for stage in planned.stages), spec.extend.pipeline.max_processes
    if processes > limit:
        raise StepError(
            f"the plan needs {processes} processes, extend.pipeline.max_processes is {limit}: "
            f"{processes - limit} short; raise it, or lower the limits of hardware.types"
        )
    layers, names = [layer for stage in planned.stages for layer in stage.layers], layer_names(spec)
    if layers != names:
        raise ValueError(
            f"extend.pipeline.plan is {name}, which has the layers {', '.join(layers)}; they must be "
            f"{', '.join(names)}, in this order"
        )


def _ran(project: Path) -> tuple[RanStage, ...]:
    """Return the stages that ran, as they say themselves; StepError where they are not those of the plan."""
    planned = msgspec.json.decode((project / PLAN).read_bytes(), type=_Planned).stages
    ran = msgspec.json.decode((project / RAN).read_bytes(), type=tuple[RanStage, ...])
    if [(s.type, s.layers, s.devices) for s in planned] != [(s.type, s.layers, len(s.ranks)) for s in ran]:
        raise StepError(f"extended: the stages that ran are {ran}; the plan has {planned}")
    return ran
