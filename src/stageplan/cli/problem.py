"""Arguments that commands share, and the problem that they make."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from ..catalogue import make_cluster
from ..cluster import Cluster
from ..device import Device
from ..goal import Goal
from ..problem import Problem
from ..readers import read_cluster, read_devices, read_goal, read_workload

_GOAL_NUMBERS = {
    "examples": ("N", "examples to process"),
    "min_throughput": ("X", "least examples/s"),
    "max_duration": ("SECONDS", "most seconds for all examples"),
    "max_cost": ("$", "most that processing all examples may cost"),
    "max_price": ("$/H", "most that the devices may cost an hour"),
}


def add_problem(parser: argparse.ArgumentParser) -> None:
    """Add what a problem is made of: a workload, its hardware and a goal."""
    parser.add_argument("workload", metavar="WORKLOAD", help="a file, or the name of a built-in example")
    add_hardware(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="default: the cores that may be used")
    add = parser.add_argument_group("goal (default: what the workload's file asks for)").add_argument
    add("--objective", choices=("cost", "throughput"), help="the cheapest plan, or the fastest")
    for name, (metavar, text) in _GOAL_NUMBERS.items():
        add(f"--{name.replace('_', '-')}", type=float, metavar=metavar, help=text)
    add("--merge", choices=("adjacent", "type"), help="layers of a stage: neighbours, or all of a type")
    add("--split", action=argparse.BooleanOptionalAction, help="several stages may have the same type")
    add("--overlap", action=argparse.BooleanOptionalAction, help="stages transfer while they compute")
    add("--max-devices-per-stage", type=int, metavar="K", help="most devices that share a stage")


def add_hardware(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a cluster, or of the devices that stand for one."""
    parser.add_argument("--cluster", help="a file or a built-in example; default: the workload's own")
    parser.add_argument("--batch", type=float, metavar="B", help="examples that the workload's times are of")
    add_catalogue(parser).add_argument(
        "--device",
        action="append",
        metavar="NAME[:COUNT][@PRICE]",
        help="instead of a cluster: so many devices of a type, at so many $/hour each; once for each type",
    )


def add_catalogue(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the flags of the catalogue; returns their group."""
    group = parser.add_argument_group("devices of the catalogue")
    add = group.add_argument
    add("--devices", metavar="FILE", help="a catalogue of one's own, besides the built-in one")
    add("--prices", metavar="CSV", help="a price list of SkyPilot's form instead of the catalogue's prices")
    add("--region", help="prices of this region; default: the cheapest of all")
    add("--spot", action="store_true", help="spot prices of the list, not those on demand")
    return group


def add_output(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the flag of the file to write, as the last argument of a command."""
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=text)


def make_problem(arguments: argparse.Namespace, goal: Goal | None = None) -> Problem:
    """Make the problem of the files and flags; a goal given here stands for the one of the workload."""
    workload = read_workload(arguments.workload, batch=arguments.batch)
    flags = {name: getattr(arguments, name, None) for name in Goal.__struct_fields__}
    flags = {name: value for name, value in flags.items() if value is not None}
    goal = msgspec.structs.replace(goal or read_goal(arguments.workload) or Goal(), **flags)
    return Problem(workload, _cluster(arguments), goal)


def _cluster(arguments: argparse.Namespace) -> Cluster:
    if arguments.device:
        if arguments.cluster is not None:
            raise ValueError(f"--cluster is {arguments.cluster}; it must not be given with --device")
        return make_cluster(arguments.device, read_catalogue(arguments))
    for name in ("devices", "prices", "region", "spot"):
        if getattr(arguments, name):
            raise ValueError(f"--{name} goes with --device; at least one device must be given")
    if arguments.cluster is not None:
        return read_cluster(arguments.cluster)
    try:
        return read_cluster(arguments.workload)
    except ValueError as error:
        raise ValueError(f"{error}, or --cluster or --device must be given") from None


def read_catalogue(arguments: argparse.Namespace) -> dict[str, Device]:
    """Read the devices that can be named, by their names."""
    return read_devices(
        arguments.devices, prices=arguments.prices, region=arguments.region, spot=arguments.spot
    )
