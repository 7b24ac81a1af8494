"""Arguments that commands share, and the problem made of them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import get_args

import msgspec

from ..arguments import count_threads
from ..catalogue import make_cluster
from ..cluster import Cluster
from ..device import PRICINGS, Device, Pricing
from ..errors import InputError
from ..fields import show
from ..goal import Goal, Objective
from ..output import STDOUT, print_note
from ..problem import Problem
from ..readers import has_prices, read_cluster, read_devices, read_goal, read_workload
from ..readers.measured import SUFFIXES
from .amounts import count, number, seconds

_SUSPICIOUS = 0.1  # of the catalogue's price; a lower one may be a mistake in the list

_GOAL_NUMBERS = {
    "examples": (number, "N", "examples to process, as 20M or 2e7"),
    "min_throughput": (number, "X", "minimum examples/s"),
    "max_duration": (seconds, "SECONDS", "maximum time for all examples, as 3600, 90min or 2d"),
    "max_cost": (number, "$", "maximum cost of processing all examples"),
    "max_price": (number, "$/H", "maximum price of the devices per hour"),
}

_GOAL_SWITCHES = {
    "whole_machines": "rent whole machines of each device type",
    "same_strategy": "use one strategy in all stages",
    "same_replicas": "use the same number of replicas in all stages",
    "equal_shares": "give all replicas of a stage the same number of examples of a microbatch",
}


def add_problem(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a problem: a workload, its hardware and a goal."""
    parser.add_argument(
        "workload",
        metavar="WORKLOAD",
        help="a file, the name of a built-in example, or a table of measured stages: a CSV or Parquet file",
    )
    add_hardware(parser)
    add = parser.add_argument_group("goal (default: the goal in the workload's file)").add_argument
    add(
        "--objective",
        choices=get_args(Objective),
        help="the cheapest plan, the fastest, or the one with the lowest hourly price",
    )
    for name, (kind, metavar, text) in _GOAL_NUMBERS.items():
        add(f"--{name.replace('_', '-')}", type=kind, metavar=metavar, help=text)
    add("--merge", choices=("adjacent", "type"), help="layers of a stage: neighbours, or all of a type")
    add(
        "--split",
        action=argparse.BooleanOptionalAction,
        help="allow several neighbouring stages on one device type; without it, neighbouring layers on one "
        "type are one stage, though the type may appear again further on",
    )
    add("--overlap", action=argparse.BooleanOptionalAction, help="stages transfer while they compute")
    add("--max-devices-per-stage", type=int, metavar="K", help="maximum devices per stage")
    add("--max-stages", type=int, metavar="S", help="maximum stages of the plan")
    for name, text in _GOAL_SWITCHES.items():
        add(f"--{name.replace('_', '-')}", action=argparse.BooleanOptionalAction, help=text)
    add = parser.add_argument_group("schedule of the pipeline (default: none, it never drains)").add_argument
    add("--schedule", choices=("gpipe", "1f1b"), help="order of forward and backward passes")
    add("--microbatches", type=int, metavar="M", help="microbatches per iteration; requires --schedule")
    add("--batch", type=count, metavar="B", help="examples per iteration, a multiple of --microbatches")


def add_hardware(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a cluster, or of the devices that make one."""
    parser.add_argument(
        "--cluster", help="a file or a built-in example; default: the one that the workload names"
    )
    parser.add_argument(
        "--workload-batch",
        type=number,
        metavar="B",
        help="number of examples that the workload's times are for",
    )
    add_catalogue(parser).add_argument(
        "--device",
        action="append",
        metavar="NAME[:COUNT][@PRICE]",
        help="instead of a cluster: device type, number of devices, $/hour of each; repeatable",
    )


def refuse_hardware(arguments: argparse.Namespace) -> None:
    """Raise ValueError if a command whose workload is optional has flags of hardware without one."""
    for name in ("cluster", "device", "workload-batch", "catalogue", "prices", "region", "pricing"):
        if getattr(arguments, name.replace("-", "_")):
            raise InputError(f"--{name} requires --workload")


def add_catalogue(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the flags of the catalogue; returns their group."""
    group = parser.add_argument_group("devices of the catalogue")
    add = group.add_argument
    add("--catalogue", metavar="FILE", help="additional devices, in TOML or JSON")
    add("--prices", metavar="CSV", help="price list in SkyPilot's format, instead of the catalogue's prices")
    add("--region", help="use the prices of this region; default: the cheapest region")
    add(
        "--pricing",
        choices=PRICINGS,
        help="prices of the catalogue, or of the list, which has no reserved ones; default: on-demand",
    )
    return group


def add_threads(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the flag of the number of threads."""
    parser.add_argument("--threads", type=int, metavar="N", help=text)


def add_output(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the flag of the file to write, as the last argument of a command."""
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=text)


def add_json_output(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the flags of the file to write, and of JSON on stdout, as the last arguments of a command."""
    add = parser.add_mutually_exclusive_group().add_argument
    add("-o", "--output", type=Path, metavar="FILE", help=text)
    add(
        "--json",
        dest="output",
        action="store_const",
        const=STDOUT,
        help="print JSON instead of text, as -o - does",
    )


# Arguments of all commands that name a file to read.
_READ = (
    *("workload", "cluster", "catalogue", "prices", "model", "fit"),
    *("plan", "schemes", "initial", "policy", "check"),
)


def files_read(arguments: argparse.Namespace) -> list[str | Path]:
    """Return the files that a command reads, and names of what is built in."""
    given = (getattr(arguments, name, None) for name in _READ)
    lists = (paths if isinstance(paths, list) else [paths] for paths in given)
    return [path for paths in lists for path in paths if path is not None]


def make_problem(arguments: argparse.Namespace, goal: Goal | None = None) -> Problem:
    """Make the problem from files and flags; `goal` replaces that of the workload's file.

    What there is to note goes to ``arguments.notes``, which `print_notes` prints once nothing can be refused.
    """
    measured = Path(arguments.workload).suffix in SUFFIXES
    workload = None if measured else read_workload(arguments.workload, batch=arguments.workload_batch)
    if measured and arguments.workload_batch is not None:
        raise InputError("--workload-batch is given; measured stages have times per example")
    flags = {name: getattr(arguments, name, None) for name in Goal.__struct_fields__}
    flags = {name: value for name, value in flags.items() if value is not None}
    stated = None if measured else read_goal(arguments.workload)
    goal = msgspec.structs.replace(goal or stated or Goal(), **flags)
    cluster = _cluster(arguments, goal.whole_machines)
    count_threads(getattr(arguments, "threads", None))
    if workload is None:
        problem = Problem.from_measured(arguments.workload, cluster, goal)
    else:
        problem = Problem(workload, cluster, goal)
    notes = (_notes_on_prices(arguments, cluster), _notes_on_gradients(problem), _notes_on_workspace(problem))
    arguments.notes = tuple(chain(*notes, _notes_on_groups(problem, goal)))
    return problem


def print_notes(arguments: argparse.Namespace) -> None:
    """Print the notes of `make_problem`, unless nothing but the result is to be printed."""
    for note in () if getattr(arguments, "quiet", False) else arguments.notes:
        print_note(f"stageplan: note: {note}")


def _notes_on_prices(arguments: argparse.Namespace, cluster: Cluster) -> Iterator[str]:
    """Yield notes on prices that are zero, missing, or so low that they may be wrong."""
    source = arguments.cluster or arguments.workload
    if not arguments.device and not has_prices(source):
        yield f"{source} has no prices; each device is assumed to cost 1 $/hour"
    if _pricing(arguments) != "on-demand" and not all("@" in spec for spec in arguments.device):
        yield f"the prices of devices are {_pricing(arguments)} prices"
    usual = read_devices(arguments.catalogue, pricing=_pricing(arguments)) if arguments.prices else {}
    for type_ in cluster.types:
        known = usual[type_.name].price if type_.name in usual else None
        if type_.price == 0:
            yield f"the price of {show(type_.name)} is 0 $/hour; its devices cost nothing"
        elif known is not None and type_.price < _SUSPICIOUS * known:
            yield f"the price of {show(type_.name)} is {type_.price:g} $/hour; the catalogue's is {known:g}"


def _notes_on_gradients(problem: Problem) -> Iterator[str]:
    """Yield a note if replicas have gradients to all-reduce, and the goal does not say how often."""
    has_rates = problem.link is not None or problem.network is not None
    if problem.goal.batch is None and problem.gradients is not None and has_rates:
        yield (
            "the goal has no batch (--batch), so that the seconds in which replicas all-reduce gradients are "
            "left out"
        )


def _notes_on_workspace(problem: Problem) -> Iterator[str]:
    """Yield a note if the workspace has whole weights or gradients, and replicas may run more examples."""
    goal, profiled = problem.goal, problem.conditions
    examples = (goal.batch or 0) / (goal.microbatches or 1)
    if (profiled.zero or 0) >= 2 and problem.workspace is not None and examples > profiled.batch:
        yield (
            f"the workspace of a layer has what it gathers with ZeRO {profiled.zero}, which counts for each "
            f"{profiled.batch:g} examples; profile with --batch as many as a replica runs at a time"
        )


def _notes_on_groups(problem: Problem, goal: Goal) -> Iterator[str]:
    """Yield a note if a workload that decodes has fewer groups of sequences than stages were allowed."""
    groups, served = problem.goal.max_stages, problem.conditions
    if groups is not None and groups != goal.max_stages:
        yield (
            f"a plan has at most {groups} stage{'s' if groups > 1 else ''}, one for each group of "
            f"{served.batch:g} of {served.concurrency} sequences (profile with another --batch for more)"
        )


def _cluster(arguments: argparse.Namespace, whole_machines: bool) -> Cluster:
    if arguments.device:
        if arguments.cluster is not None:
            raise InputError(f"--cluster is {arguments.cluster}; it must not be given with --device")
        devices = read_catalogue(arguments, whole_machines)
        _check_prices(arguments, devices)
        return make_cluster(arguments.device, devices)
    for name in ("catalogue", "prices", "region", "pricing"):
        if getattr(arguments, name):
            raise InputError(f"--{name} requires --device; at least one device must be given")
    if arguments.cluster is not None:
        return read_cluster(arguments.cluster)
    try:
        return read_cluster(arguments.workload)
    except ValueError as error:
        raise InputError(f"{error}, or --cluster or --device must be given") from None


def _check_prices(arguments: argparse.Namespace, devices: Mapping[str, Device]) -> None:
    """Refuse a device that has no price, and say of which kind."""
    pricing = _pricing(arguments)
    for spec in arguments.device:
        device = devices.get(spec.partition(":")[0])
        if "@" in spec or device is None or device.price is not None:
            continue
        others = "" if arguments.prices else ", or a price list (--prices)"
        others += "" if pricing == "on-demand" else ", or --pricing on-demand"
        raise InputError(
            f"device {device.name} has no {pricing} price in {arguments.prices or 'the catalogue'}; "
            f"give one as in {spec}@1.50{others}"
        )


def read_catalogue(arguments: argparse.Namespace, whole_machines: bool = False) -> dict[str, Device]:
    """Read the catalogue that the flags describe."""
    return read_devices(
        arguments.catalogue,
        prices=arguments.prices,
        region=arguments.region,
        pricing=_pricing(arguments),
        whole_machines=whole_machines,
    )


def _pricing(arguments: argparse.Namespace) -> Pricing:
    return arguments.pricing or "on-demand"
