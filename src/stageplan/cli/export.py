"""``stageplan export`` and ``devices``: configurations of runtimes, and the catalogue of devices."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from .. import plan_file
from ..catalogue import device_table
from ..device import Device
from ..errors import InputError
from ..fields import sentence, show
from ..output import (
    STDOUT,
    check_not_read,
    check_output,
    deliver,
    print_note,
    print_out,
    write_and_print,
    write_whole,
)
from ..readers.bounded import about
from ..suggestions import did_you_mean
from ..units import keep_strategies
from ..writers import RUNTIMES, Export, export, export_saved
from .problem import (
    add_catalogue,
    add_hardware,
    add_json_output,
    add_output,
    files_read,
    make_problem,
    print_notes,
    read_catalogue,
    refuse_hardware,
)
from .status import FEASIBLE, NO_PLAN, exit_statuses


def add_export(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``export``."""
    parser.set_defaults(run=_export)
    parser.epilog = exit_statuses(
        "the configuration is printed or written", "the plan is not feasible; nothing is exported"
    )
    add = parser.add_argument
    add("plan", type=Path, metavar="PLAN", help="a plan in JSON, as plan -o writes it")
    add("--to", choices=RUNTIMES, metavar="RUNTIME", required=True, help=", ".join(RUNTIMES))
    add(
        "--script",
        action="store_true",
        help="with --to torch: a script for torchrun that trains or runs your module in the plan's stages",
    )
    add("--workload", help="the plan's workload: compare with the runtime's default partition")
    add_hardware(parser)
    add_output(
        parser,
        "write the configuration, and FILE.ranks.json with the stage, replica and device type of each rank "
        "(part of the file itself with json); - for stdout",
    )


def _export(arguments: argparse.Namespace) -> int:
    output: Path | None = arguments.output
    if arguments.script and arguments.to != "torch":
        raise InputError(f"--script requires --to torch; it is given with --to {arguments.to}")
    ranks = _ranks_file(output, arguments.to)
    check_output("--output", output)
    check_output("--output", ranks)
    check_not_read("the table of ranks", ranks, files_read(arguments))
    saved = plan_file.read_plan(arguments.plan)
    with about(arguments.plan):
        exported = _exported(arguments, saved)
    if exported is None:
        print_note(sentence(f"stageplan: {arguments.plan}: the plan is not feasible; it is not exported"))
        return NO_PLAN
    if output is None or output == STDOUT:
        print_out(exported.text.rstrip("\n"))
        print_note(exported.remarks)
        return FEASIBLE
    if ranks is not None:
        write_whole(ranks, lambda stream: stream.write(exported.rank_table().encode()))
    write_and_print(output, lambda stream: stream.write(exported.text.encode()), exported.remarks)
    return FEASIBLE


def _ranks_file(output: Path | None, to: str) -> Path | None:
    """Path of the rank table for a file; None if the file has the ranks, or is a device or a pipe."""
    if output is None or output == STDOUT or to == "json" or (output.exists() and not output.is_file()):
        return None
    return output.with_name(f"{output.name}.ranks.json")


def _exported(arguments: argparse.Namespace, saved: plan_file.SavedPlan) -> Export | None:
    """Convert a plan; with its workload, compare it too. None if it is not feasible."""
    if arguments.workload is not None:
        strategies = {(stage.type, stage.strategy) for stage in saved.stages}
        problem = keep_strategies(make_problem(arguments, saved.goal), strategies)
        plan = plan_file.restore(problem, saved)
        exported = export(plan, arguments.to, script=arguments.script) if plan.feasible else None
        print_notes(arguments)
        return exported
    refuse_hardware(arguments)
    if not saved.feasible:
        return None
    return export_saved(saved, arguments.to, script=arguments.script)


def add_devices(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``devices``."""
    parser.set_defaults(run=_devices)
    parser.epilog = exit_statuses("the list is printed or written")
    parser.add_argument(
        "--fit",
        metavar="MEASURED",
        help="fit a device's efficiency, and its seconds a kernel, to kernels measured on it (JSON or TOML: "
        "device, precision, and kernels with flops, bytes and seconds); list that device alone",
    )
    add_catalogue(parser)
    add_json_output(parser, "write JSON, which --catalogue reads; - for stdout")


def _devices(arguments: argparse.Namespace) -> int:
    check_output("--output", arguments.output)
    devices = read_catalogue(arguments)
    if arguments.fit is not None:
        devices = _fitted(arguments.fit, devices)
    deliver(arguments.output, device_table(devices), {"devices": list(devices.values())})
    return FEASIBLE


def _fitted(path: str, devices: Mapping[str, Device]) -> dict[str, Device]:
    """Fit the device that measured kernels are of."""
    from ..profiling.fit_efficiency import fit_efficiency, read_measured

    measured = read_measured(path)
    with about(Path(path)):
        if measured.device not in devices:
            known = f"{', '.join(devices)}{did_you_mean(measured.device, devices)}"
            raise InputError(f"device is {show(measured.device)}; it must be one of {known}")
        fit = fit_efficiency(devices[measured.device], measured)
    print_note(
        f"fitted to {len(measured.kernels)} kernels in {measured.precision}: estimates are "
        f"{fit.median_error:.1%} off (median), at most {fit.worst_error:.1%}"
    )
    return {fit.device.name: fit.device}
