"""``stageplan export`` and ``devices``: plans for runtimes, and the catalogue."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .. import plan_file
from ..catalogue import device_table
from ..output import check_output, deliver, print_out, write_and_print
from ..writers import RUNTIMES, Export, export, write
from ..writers.split import Split
from .problem import add_catalogue, add_hardware, add_output, make_problem, read_catalogue
from .status import FEASIBLE, about, status_of


def add_export(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``export``."""
    parser.set_defaults(run=_export)
    add = parser.add_argument
    add("plan", type=Path, metavar="PLAN", help="a plan's JSON, as plan -o writes it")
    add("--to", choices=RUNTIMES, required=True, help="the runtime")
    add("--workload", help="what the plan is of: then the runtime's own split is compared with the plan's")
    add_hardware(parser)
    add_output(parser, "write what the runtime takes; - for stdout")


def _export(arguments: argparse.Namespace) -> int:
    output: Path | None = arguments.output
    check_output("--output", output)
    saved = plan_file.read_plan(arguments.plan)
    with about(arguments.plan):
        exported, feasible = _exported(arguments, saved)
    remarks = exported.remarks if feasible else f"note: the plan breaks limits\n{exported.remarks}".rstrip()
    if output is None or str(output) == "-":
        print_out(exported.text.rstrip("\n"))
        print(remarks, file=sys.stderr, end="\n" if remarks else "")
    else:
        write_and_print(output, lambda stream: stream.write(exported.text.encode()), remarks)
    return status_of(feasible)


def _exported(arguments: argparse.Namespace, saved: plan_file.SavedPlan) -> tuple[Export, bool]:
    """(Export, whether the plan is feasible); with the workload, beside the runtime's own split."""
    if arguments.workload is not None:
        plan = plan_file.restore(make_problem(arguments, saved.goal), saved)
        return export(plan, arguments.to), plan.feasible
    for name in ("cluster", "device", "batch", "devices", "prices", "region", "spot"):
        if getattr(arguments, name):
            raise ValueError(f"--{name} goes with --workload; it must be given")
    return Export(arguments.to, *write(Split.of_saved(saved), arguments.to)), saved.feasible


def add_devices(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``devices``."""
    parser.set_defaults(run=_devices)
    add_catalogue(parser)
    add_output(parser, "write JSON; - for stdout")


def _devices(arguments: argparse.Namespace) -> int:
    check_output("--output", arguments.output)
    devices = read_catalogue(arguments)
    deliver(arguments.output, device_table(devices), {"devices": list(devices.values())})
    return FEASIBLE
