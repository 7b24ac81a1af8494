"""The extended function: pipelined training by a plan, and other extensions of the basic function."""

from __future__ import annotations

import time
from collections.abc import Container, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from ..cluster import Cluster
from ..errors import InputError
from ..fields import Count
from ..goal import Goal
from ..output import to_json
from ..plan import Plan
from ..problem import Problem
from ..readers import read_workload
from ..readers.bounded import about, read_bytes
from ..solve import solve
from .basic import (
    Runner,
    cases_text,
    copy_files,
    layer_names,
    memory_notes,
    running,
    versions,
    write_cases,
)
from .digests import bytes_sha256, sha256
from .extensions import MAKERS, Extension
from .folders import copy_folder, foreign_files, staged
from .layout import CONFIG_FILE, PIPELINE_FILE, PLAN_FILE, PROJECT, SETTINGS_FILE, WORKLOAD_FILE
from .results import (
    BasicResult,
    EnvironmentReport,
    ExtendedResult,
    RanStage,
    StepError,
    Training,
    artefacts_of,
    code_of,
)
from .spec import Spec
from .target import Target

CHECKPOINT_EVERY = 5  # steps


class _Parts(Struct, frozen=True):
    """Files of an extension, its command, and the extensions that it requires."""

    files: tuple[str, ...] = ()
    command: str | None = None
    needs: tuple[Extension, ...] = ()


_EXTENSIONS: dict[Extension, _Parts] = {
    "pipeline": _Parts(("layer_times.py", "pipeline.py", "pipeline_speed.py", "transfer.py"), "pipeline"),
    "replicas": _Parts(needs=("pipeline",)),  # the plan may give a stage more than one device
    "mixed-precision": _Parts(("mixed_precision.py",), "mixed_precision"),
    "accumulation": _Parts(("accumulate.py",), "accumulate"),
    "data-parallel": _Parts(("data_parallel.py",), "data_parallel"),
    "checkpoint": _Parts(("resume.py",), "resume"),
    "quantize": _Parts(("quantize.py",), "quantize"),
    "prune": _Parts(("prune.py",), "prune"),
    "onnx": _Parts(("onnx_export.py",), "onnx_export"),
    "bfloat16": _Parts(("variants.py", "bfloat16.py"), "bfloat16"),
    "int8": _Parts(("variants.py", "int8.py"), "int8", ("onnx",)),
    "prune-channels": _Parts(("variants.py", "channels.py"), "channels"),
    "distill": _Parts(("variants.py", "distill.py"), "distill"),
    "stages": _Parts(("variants.py", "export_stages.py"), "export_stages", ("pipeline",)),
    "aot": _Parts(("variants.py", "aot.py", "caller.cpp"), "aot"),
    "executorch": _Parts(("variants.py", "executorch_export.py"), "executorch_export"),
    "variants": _Parts(
        ("variants.py", "pipeline_speed.py", "compare_variants.py", "check_variant.py"), "compare_variants"
    ),
    "server": _Parts(
        (
            "variants.py",
            "serve.py",
            "formats.py",
            "batching.py",
            "counters.py",
            "ask_server.py",
            "load_server.py",
        ),
        "ask_server",
    ),
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
    """Add extensions to the project and run them on the target, each after those that it requires.

    Parameters
    ----------
    spec : Spec
        The requirements; ``extend.steps`` lists the extensions.
    report : EnvironmentReport
        The environment to run in.
    target : Target
        Where to run.
    directory : pathlib.Path
        Directory of the run; after success its ``project`` is replaced, and then ``cases.toml``.
    basic : BasicResult
        Result of the basic function, whose artefacts do not change.
    training : {"quick", "full", "none"}
        Length of the training; what extensions need of one is quick where there is none.

    Returns
    -------
    ExtendedResult
        The manifest of the extended project.

    Raises
    ------
    ValueError
        A plan file is not valid, or does not match the specification.
    StepError
        No plan meets the requirements, or a command failed.
    TargetError
        The target cannot be reached, or was lost.
    """
    start = time.monotonic()
    steps = ordered(spec.extend.steps)
    with_cases = [step for step in steps if _EXTENSIONS[step].command is not None]
    with staged(directory / PROJECT) as project:
        theirs = foreign_files(directory / PROJECT)
        project.rmdir()
        copy_folder(directory / PROJECT, project)
        _remove_earlier_extensions(project, basic, theirs)
        _write_files(spec, steps, project)
        commands = [parts.command for step in steps if (parts := _EXTENSIONS[step]).command is not None]
        with running("extended", spec, report, target, project) as runner:
            if "pipeline" in steps:
                _make_plan(spec, steps, runner, training)
            runner.run(*commands, training=training)
            runner.notes += memory_notes(spec, {command: runner.numbers(command) for command in commands})
        result = ExtendedResult(
            training=training,
            config_sha256=sha256(project / CONFIG_FILE),
            artefacts=tuple(
                artefact
                for artefact in artefacts_of(project)
                if artefact not in basic.artefacts and theirs.get(artefact.path) != artefact.sha256
            ),
            metrics={command: runner.numbers(command) for command in commands},
            versions=versions(report),
            files={
                path: sum_
                for path, sum_ in code_of(project).items()
                if not (path in basic.files or theirs.get(path) == sum_)
            },
            cases_sha256=bytes_sha256(cases_text(spec, with_cases)),
            seconds=time.monotonic() - start,
            notes=tuple(runner.notes),
            steps=steps,
            stages=_stages_run(project) if "pipeline" in steps else (),
        )
    write_cases(spec, directory, with_cases)
    return result


def ordered(steps: Sequence[Extension]) -> tuple[Extension, ...]:
    """Return extensions and those that they require, each after its requirements.

    With variants there is their table, and it and the server, which loads one, come after them.
    """
    graph: dict[Extension, tuple[Extension, ...]] = {}
    pending = list(steps)
    if not set(MAKERS.values()).difference(("onnx",)).isdisjoint(steps):
        pending.append("variants")
    while pending:
        step = pending.pop(0)
        graph[step] = _EXTENSIONS[step].needs
        pending += [need for need in graph[step] if need not in graph]
    makers = tuple(maker for maker in MAKERS.values() if maker in graph)
    graph |= {last: graph[last] + makers for last in ("variants", "server") if last in graph}
    return tuple(TopologicalSorter(graph).static_order())


def _remove_earlier_extensions(project: Path, basic: BasicResult, theirs: Container[str]) -> None:
    """Remove the files of earlier extensions from a project, except those that the user added or changed."""
    of_basic = {artefact.path for artefact in basic.artefacts}
    made = {artefact.path for artefact in artefacts_of(project)} - of_basic
    made |= {file for parts in _EXTENSIONS.values() for file in (*parts.files, PLAN_FILE, SETTINGS_FILE)}
    for path in made:
        if path not in theirs:
            (project / path).unlink(missing_ok=True)


def _write_files(spec: Spec, steps: Sequence[Extension], project: Path) -> None:
    """Write the files of extensions, unchanged, and their settings."""
    for step in steps:
        copy_files(project, "extended", _EXTENSIONS[step].files)
    extend = spec.extend
    settings: dict[str, Any] = {
        "pipeline": {
            "micro_batches": extend.pipeline.microbatches,
            "schedule": extend.pipeline.schedule,
            "speeds": _speeds(spec),
        },
        "accumulation": {"micro_batches": extend.accumulation},
        "data-parallel": {"processes": extend.processes},
        "checkpoint": {"every": CHECKPOINT_EVERY},
        "prune": {"sparsity": extend.sparsity},
        "prune-channels": {"channels": extend.channels},
        "distill": msgspec.structs.asdict(extend.distill),
        "server": msgspec.structs.asdict(extend.server)
        | {"max_examples": extend.server.max_examples or max(64, spec.service.batch)},
    }
    used = {name: table for name, table in settings.items() if name in steps}
    (project / SETTINGS_FILE).write_bytes(to_json(used) + b"\n")


# The plan -----------------------------------------------------------------------------------------------


class _PlannedStage(Struct, frozen=True):
    """The fields of a plan's stage that are used here."""

    type: str
    layers: Annotated[tuple[str, ...], Meta(min_length=1)]
    devices: Count


class _PlannedPipeline(Struct, frozen=True):
    """The fields of a plan file that are used here."""

    stages: Annotated[tuple[_PlannedStage, ...], Meta(min_length=1)]


def check_plan(spec: Spec) -> None:
    """Check a user's plan against the specification, before any step runs.

    Raises
    ------
    OSError
        The plan cannot be read.
    ValueError, StepError
        As for `extend`.
    """
    steps, plan = ordered(spec.extend.steps), spec.extend.pipeline.plan
    if "pipeline" in steps and plan is not None:
        _check_plan(spec, steps, _read(plan), plan)


def _read(plan: str) -> bytes:
    with about(Path(plan)):
        return read_bytes(Path(plan))


def _make_plan(spec: Spec, steps: Sequence[Extension], runner: Runner, training: Training) -> None:
    """Write the plan into the project: the user's, or one planned from measured times of the layers."""
    pipeline = spec.extend.pipeline
    if pipeline.plan is not None:
        text = _read(pipeline.plan)
    else:
        runner.run("layer_times", training=training)
        rate = runner.numbers("layer_times")["bytes_per_second"]
        plan = _plan(spec, "replicas" in steps, runner.project / WORKLOAD_FILE, rate)
        text = to_json(plan.to_dict()) + b"\n"
    _check_plan(spec, steps, text, pipeline.plan or PLAN_FILE)
    (runner.project / PLAN_FILE).write_bytes(text)
    runner.target.place(runner.project)


def _plan(spec: Spec, replicas: bool, workload: Path, rate: float) -> Plan:
    """Plan the pipelined training: the cheapest that reaches min_throughput, or the fastest without one.

    Transfers between processes of the target have the measured rate, bytes/s, where a type has none. A
    process waits for them.
    """
    service, pipeline = spec.service, spec.extend.pipeline
    goal = Goal(
        objective="throughput" if service.min_throughput is None else "cost",
        min_throughput=service.min_throughput,
        split=True,
        overlap=False,
        schedule=pipeline.schedule,
        microbatches=pipeline.microbatches,
        batch=service.batch,
        max_devices_per_stage=None if replicas else 1,
    )
    problem = Problem(read_workload(workload), _cluster(spec, rate), goal)
    plan = solve(problem, pipeline.method, seed=spec.seed).plan
    if not plan.feasible:
        broken = "; ".join(str(violation) for violation in plan.violations)
        raise StepError(f"no plan for pipelined training was found that meets the requirements: {broken}")
    return plan


def _cluster(spec: Spec, rate: float) -> Cluster:
    """Return the device types; types without times or `like` are taken to be like the measured one."""
    measured = spec.hardware.device
    types = tuple(
        msgspec.structs.replace(
            type_,
            like=type_.like or (None if type_.name == measured else measured),
            bandwidth=rate if type_.bandwidth is None else type_.bandwidth,
            link=rate if type_.link is None else type_.link,
        )
        for type_ in spec.hardware.types
    )
    return Cluster(name=spec.name, types=types)


def _speeds(spec: Spec) -> dict[str, float]:
    """Return how fast device types are relative to the measured one, which takes their place."""
    types = {type_.name: type_ for type_ in spec.hardware.types}

    def speed(name: str) -> float:
        type_ = types.get(name)
        if type_ is None or name == spec.hardware.device:
            return 1.0
        return type_.speed_of("default") * speed(type_.like or spec.hardware.device)

    return {name: speed(name) for name in types}


def _check_plan(spec: Spec, steps: Sequence[Extension], text: bytes, name: str) -> None:
    """Check that a plan is for this network and needs at most the allowed number of processes."""
    try:
        planned = msgspec.json.decode(text, type=_PlannedPipeline)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"extend.pipeline.plan is {name}; it must be a valid plan in JSON: {error}"
        ) from None
    max_devices = max(stage.devices for stage in planned.stages)
    if max_devices > 1 and "replicas" not in steps:
        raise InputError(
            f"extend.pipeline.plan is {name}, which gives a stage {max_devices} devices; then "
            "'replicas' must be in extend.steps"
        )
    processes, limit = sum(stage.devices for stage in planned.stages), spec.extend.pipeline.max_processes
    if processes > limit:
        raise StepError(
            f"the plan needs {processes} processes, extend.pipeline.max_processes is {limit}: "
            f"{processes - limit} short; raise it, or lower the limits of hardware.types"
        )
    if spec.service.model.source is not None:
        return  # pipeline.py of the project knows its layers
    layers, names = [layer for stage in planned.stages for layer in stage.layers], layer_names(spec)
    if layers != names:
        raise InputError(
            f"extend.pipeline.plan is {name}, which has the layers {', '.join(layers)}; they must be "
            f"{', '.join(names)}, in this order"
        )


def _stages_run(project: Path) -> tuple[RanStage, ...]:
    """Return the stages that ran, as they report; StepError where they are not those of the plan."""
    planned = msgspec.json.decode((project / PLAN_FILE).read_bytes(), type=_PlannedPipeline).stages
    ran = msgspec.json.decode((project / PIPELINE_FILE).read_bytes(), type=tuple[RanStage, ...])
    if [(s.type, s.layers, s.devices) for s in planned] != [(s.type, s.layers, len(s.ranks)) for s in ran]:
        raise StepError(f"extended: the stages that ran are {ran}; the plan has {planned}")
    return ran
