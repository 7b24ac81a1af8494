"""``stageplan profile``: profile a network into a workload."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..cluster import Cluster, DeviceType
from ..errors import InputError
from ..goal import Goal
from ..output import STDOUT, check_output, deliver, print_note, print_out, write_and_print
from ..plan import Plan
from ..plan_file import SavedPlan, read_plan
from ..problem import Problem
from ..profiling.check import check
from ..profiling.kv_cache import NUMBER
from ..profiling.machine import PLACES
from ..profiling.memory import OPTIMIZERS
from ..profiling.network import MODES, PRECISIONS
from ..profiling.profile import layer_table, profile
from ..readers import read_devices
from ..solve import solve
from ..workload import Workload
from ..workload_file import encode, to_document
from .amounts import seconds
from .problem import add_json_output
from .status import FEASIBLE, exit_statuses

BEST = Path()  # of --check without a file: the best plan


def add_profile(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``profile``."""
    parser.set_defaults(run=_profile)
    parser.epilog = exit_statuses(
        "the workload is printed or written and, with --check, its pipeline ran",
        interrupted="; during --check, the workload has been printed and written",
    )
    add = parser.add_argument
    add(
        "model",
        metavar="MODEL",
        help="hf:NAME (a network of transformers, by name, model type or config.json), an .onnx file, or "
        "package.module:function (which imports and runs that code; it returns a torch module, or a module "
        "and an example)",
    )
    add(
        "--mode",
        choices=MODES,
        default="train",
        help="training, inference, or serving a language model: reading prompts, or decoding a token of each "
        "sequence; default: %(default)s",
    )
    add("--precision", choices=PRECISIONS, help="of weights and arithmetic; default: that of the weights")
    add(
        "--batch",
        type=int,
        metavar="B",
        help="examples in a batch; default: 1. With --mode decode, sequences that are decoded in one step; "
        "default: --concurrency, and a part of it for pipelines of concurrency / batch stages",
    )
    add(
        "--sequence", type=int, metavar="N", help="tokens of an example; default: 512, or the model's maximum"
    )
    add("--input", type=_shape, metavar="BxCxHxW", help="shape of a batch, such as of images")
    add(
        "--axis",
        type=_axis,
        action="append",
        default=[],
        metavar="NAME=SIZE",
        help="size of a dimension of an ONNX file that has none, by its name or INPUT:PLACE; repeatable",
    )
    add(
        "--optimizer",
        choices=OPTIMIZERS,
        help="whose state is in memory in training; default: adam (16 bytes a parameter in all)",
    )
    add(
        "--zero",
        type=int,
        metavar="STAGE",
        help="ZeRO stage: replicas divide optimizer states (1), gradients (2) and weights (3); default: 0",
    )
    add(
        "--strategy",
        action="append",
        default=[],
        metavar="recompute|selective|tp=N,...|ep=N,...",
        help="further ways to run layers, which plans may choose; repeatable: recompute (layers keep only "
        "their inputs, and run again in the backward pass), selective (the scores of attention do so), "
        "tp=2,4,8 (2, 4 or 8 devices divide each layer), ep=2,4,8 (the same, but with whole experts)",
    )
    add(
        "--context",
        type=int,
        metavar="N",
        help="tokens of a sequence, with --mode prefill (the prompt) and decode (earlier tokens)",
    )
    add(
        "--concurrency",
        type=int,
        metavar="N",
        help="sequences whose keys and values are in memory, in all replicas together; default: --batch",
    )
    add("--kv-cache", choices=tuple(NUMBER), help="precision of keys and values; default: --precision")
    cut = parser.add_mutually_exclusive_group().add_argument
    cut("--layers", metavar="PATH,...", help="modules (ONNX: nodes) where layers start; default: blocks")
    cut("--depth", type=int, metavar="N", help="or cut at the modules at depth N")
    group = parser.add_argument_group("times (at least one device, or --measure)").add_argument
    group(
        "--device",
        action="append",
        default=[],
        metavar="NAME",
        help="estimate times for a device; repeatable",
    )
    group(
        "--graphs",
        action="store_true",
        help="estimates are of captured graphs; default: operations are started one by one",
    )
    group("--catalogue", metavar="FILE", help="additional devices, in TOML or JSON")
    group(
        "--measure",
        metavar="NAME",
        help="measure on this machine; NAME is cpu (cuda with --on cuda), or a device of the catalogue that "
        "this machine's hardware calls itself. Times of other devices are carried over from it",
    )
    group("--on", choices=PLACES, help="measure on one thread of the processor, or on the GPU; default: cpu")
    group(
        "--repeats", type=int, default=40, metavar="N", help="maximum passes to measure; default: %(default)s"
    )
    group(
        "--max-spread",
        type=float,
        default=0.05,
        metavar="F",
        help="maximum relative spread of repeats; default: %(default)s",
    )
    group = parser.add_argument_group("check (with --measure)").add_argument
    group(
        "--check",
        type=Path,
        nargs="?",
        const=BEST,
        metavar="PLAN",
        help="run the stages of a plan here, in one process each, and compare; default: the best two stages",
    )
    group("--microbatches", type=int, metavar="N", help="number of batches; default: four per stage")
    group("--max-seconds", type=seconds, default=600.0, metavar="SECONDS", help="time limit; default: 10min")
    add_json_output(parser, "write the workload, TOML or JSON; - for stdout")


def _shape(text: str) -> tuple[int, ...]:
    sizes = text.split("x")
    if not all(size.isdecimal() and int(size) for size in sizes):
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be whole numbers as 1x3x224x224")
    return tuple(map(int, sizes))


def _axis(text: str) -> tuple[str, int]:
    name, _, size = text.rpartition("=")
    if not name or not size.isdecimal() or not int(size):
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be a name and a size as tokens=128")
    return name, int(size)


def _profile(arguments: argparse.Namespace) -> int:
    """Profile, print a table of the layers, write the workload, and run a pipeline of it where asked to."""
    check_output("--output", arguments.output)
    if arguments.check is not None and arguments.measure is None:
        raise InputError("--check compares with what is measured here; --measure must be given")
    if arguments.check is not None and arguments.on == "cuda":
        raise InputError("--check runs the stages on the processor; --on must be cpu, or absent")
    saved = None if arguments.check in (None, BEST) else read_plan(arguments.check)
    workload = profile(
        arguments.model,
        devices=arguments.device,
        catalogue=read_devices(arguments.catalogue),
        measure=arguments.measure,
        on=arguments.on,
        **_network(arguments),
        axes=dict(arguments.axis),
        layers=arguments.layers.split(",") if arguments.layers else arguments.depth,
        graphs=arguments.graphs,
        repeats=arguments.repeats,
        max_spread=arguments.max_spread,
        optimizer=arguments.optimizer,
        zero=arguments.zero,
        strategies=arguments.strategy,
        context=arguments.context,
        concurrency=arguments.concurrency,
        kv_cache=arguments.kv_cache,
    )
    for note in workload.notes:
        print_note(f"stageplan: note: {note}")
    output: Path | None = arguments.output
    if output is None or output == STDOUT:
        deliver(output, layer_table(workload), to_document(workload))
    else:
        write_and_print(output, lambda stream: stream.write(encode(workload, output)), layer_table(workload))
    if arguments.check is not None:
        checked = check(
            _plan_here(workload, arguments.measure, saved),
            arguments.model,
            **_network(arguments),
            microbatches=arguments.microbatches,
            max_seconds=arguments.max_seconds,
        )
        (print_note if output == STDOUT else print_out)(str(checked))
    return FEASIBLE


def _network(arguments: argparse.Namespace) -> dict[str, Any]:
    """How the network is run, by profile and check alike."""
    names = ("mode", "precision", "batch", "sequence")
    return {name: getattr(arguments, name) for name in names} | {"shape": arguments.input}


def _plan_here(workload: Workload, type_: str, saved: SavedPlan | None) -> Plan:
    """Plan devices of this machine's type: in two stages, or in those of a plan."""
    stages = 2 if saved is None else len(saved.stages)
    here = DeviceType(name=type_, price=1.0, limit=stages)
    goal = Goal(objective="throughput", split=True, max_devices_per_stage=1)
    problem = Problem(workload, Cluster(name="here", types=(here,)), goal)
    if saved is None:
        return solve(problem).plan
    names = [name for stage in saved.stages for name in stage.layers]
    if names != list(problem.layer_names):
        raise InputError(
            "--check is a plan for another model; its layers must be those of this profile, in order"
        )
    return Plan.of(problem, [place % 2 for place, stage in enumerate(saved.stages) for _ in stage.layers])
