"""``stageplan profile``: a workload of a network itself."""

from __future__ import annotations

import argparse
from pathlib import Path

from .output import check_output, deliver, print_out
from .profile import layer_table, profile
from .readers import read_devices
from .readers.network import MODES, PRECISIONS
from .workload_file import to_document, write_workload


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add(
        "model",
        metavar="MODEL",
        help="hf:NAME (a network of transformers, by name, model type or config.json), an .onnx file, or "
        "package.module:function (which gives a torch module, and an example if it likes)",
    )
    add("--mode", choices=MODES, default="train", help="default: %(default)s")
    add("--precision", choices=PRECISIONS, help="of weights and arithmetic; default: the module's, or fp32")
    add("--batch", type=int, metavar="B", help="examples in a batch; default: 1")
    add("--sequence", type=int, metavar="N", help="tokens of an example; default: 512, or the most it takes")
    add("--input", type=_shape, metavar="BxCxHxW", help="shape of a batch of images or the like")
    add("-o", "--output", type=Path, metavar="FILE", help="write the workload, TOML or JSON; - for stdout")
    cut = parser.add_mutually_exclusive_group().add_argument
    cut("--layers", metavar="PATH,...", help="modules (ONNX: nodes) that begin a layer; default: blocks")
    cut("--depth", type=int, metavar="N", help="or all modules so deep")
    group = parser.add_argument_group("times (at least one device, or --measure)").add_argument
    group(
        "--device", action="append", default=[], metavar="NAME", help="estimate for a device; once for each"
    )
    group("--devices", metavar="FILE", help="a catalogue of one's own, besides the built-in one")
    group(
        "--measure",
        metavar="NAME",
        help="measure on this machine, a device NAME; times of other devices are carried over from it",
    )
    group("--repeats", type=int, default=40, metavar="N", help="most passes to measure; default: %(default)s")
    group(
        "--max-spread",
        type=float,
        default=0.05,
        metavar="F",
        help="refuse repeats that are further apart than this fraction; default: %(default)s",
    )


def _shape(text: str) -> tuple[int, ...]:
    sizes = text.split("x")
    if not all(size.isdecimal() and int(size) for size in sizes):
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be whole numbers as 1x3x224x224")
    return tuple(map(int, sizes))


def run(arguments: argparse.Namespace) -> None:
    """Profile, print a table of the layers, and write the workload."""
    check_output(arguments.output)
    workload = profile(
        arguments.model,
        devices=arguments.device,
        catalogue=read_devices(arguments.devices),
        measure=arguments.measure,
        mode=arguments.mode,
        precision=arguments.precision,
        batch=arguments.batch,
        sequence=arguments.sequence,
        shape=arguments.input,
        layers=arguments.layers.split(",") if arguments.layers else arguments.depth,
        repeats=arguments.repeats,
        max_spread=arguments.max_spread,
    )
    output: Path | None = arguments.output
    if output is None or str(output) == "-":
        deliver(output, layer_table(workload), to_document(workload))
    else:
        write_workload(workload, output)
        print_out(layer_table(workload))
