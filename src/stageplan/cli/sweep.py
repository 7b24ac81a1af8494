"""``stageplan sweep``: plan many set-ups, and read their rows."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module, resources
from pathlib import Path
from typing import Any

from .. import interrupts
from ..errors import InputError
from ..output import STDOUT, check_output, deliver, print_out, status_line
from ..sweeps.results import SweepResults
from ..sweeps.run import sweep
from ..sweeps.store import FORMATS
from ..sweeps.sweep_file import read_sweep
from .problem import add_threads
from .status import FEASIBLE, NO_PLAN, exit_statuses
from .verbosity import add_verbosity, logged

_SHARD = re.compile(r"([1-9]\d{0,9})/([1-9]\d{0,9})")
_ACTIONS = ("merge", "front")


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``sweep``."""
    parser.set_defaults(run=_sweep)
    parser.epilog = exit_statuses(
        "all set-ups of the sweep, or of its shard, have rows, whether they are feasible or not",
        "set-ups could not be solved (their rows say why) or, with --status, chunks are missing",
        "; the chunks that are complete are kept, and --resume continues",
    )
    parser.usage = (
        "stageplan sweep SWEEP.toml -o DIR [options]\n"
        "       stageplan sweep merge DIR -o FILE\n"
        "       stageplan sweep front DIR [--against cost|price] [-o FILE]\n"
        "       stageplan sweep --example > sweep.toml"
    )
    add = parser.add_argument
    add("sweep", nargs="?", metavar="SWEEP.toml", help="the axes of the sweep; or merge, or front")
    add("directory", nargs="?", type=Path, metavar="DIR", help="of merge and front: the directory of a sweep")
    add("--example", action="store_true", help="print an example of a sweep's file")
    add("--status", action="store_true", help="count the rows in the directory, without running anything")
    add("--resume", action="store_true", help="continue in a directory with chunks of this sweep, or begin")
    add("--shard", metavar="I/N", help="run the I-th of N parts, beside other runs in the same directory")
    add("--workers", type=int, metavar="N", help="processes on this machine; default: this one alone")
    add("--dask", metavar="ADDRESS", help="run on the workers of a Dask scheduler, as tcp://host:8786")
    add_threads(parser, "of each worker; default: 1, without workers all available cores")
    add("--slurm", type=int, metavar="N", help="print the script of a Slurm array of N tasks")
    add("--rows", choices=FORMATS, help="format of the rows; default: parquet if pyarrow is installed")
    add("--json", action="store_true", help="print JSON instead of text; of a run, --status and front")
    add("--against", choices=("cost", "price"), default="cost", help="of front: the axis besides throughput")
    add_verbosity(parser)
    add(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="directory of the sweep; of merge: a file; of front: a file of JSON",
    )


def _sweep(arguments: argparse.Namespace) -> int:
    if arguments.example:
        file = resources.files("stageplan") / "data" / "sweep.toml"
        print_out(file.read_text(encoding="utf-8").rstrip("\n"))
        return FEASIBLE
    if arguments.sweep in _ACTIONS:
        return _act(arguments)
    if arguments.directory is not None:
        raise InputError(f"DIR is {arguments.directory}; it requires merge or front before it")
    if arguments.output is None:
        raise InputError("--output is missing; it must be the directory of the sweep")
    if arguments.status:
        return _status(arguments)
    if arguments.sweep is None:
        raise InputError("SWEEP.toml is missing; stageplan sweep --example prints one")
    return _print_script(arguments) if arguments.slurm is not None else _run(arguments)


def _act(arguments: argparse.Namespace) -> int:
    """Merge the rows of a directory, or find the front over them."""
    if arguments.directory is None:
        raise InputError(f"DIR is missing; {arguments.sweep} must have the directory of a sweep")
    results = SweepResults.open(arguments.directory)
    if arguments.sweep == "front":
        check_output("--output", arguments.output)
        if arguments.output is not None and arguments.output.suffix in (".parquet", ".csv", ".jsonl"):
            raise InputError(f"--output is {arguments.output}; a front is written as JSON, to a file .json")
        front = results.front(arguments.against)
        if arguments.output is not None and arguments.json:
            raise InputError("--json prints a front and --output writes it; only one of them must be given")
        deliver(STDOUT if arguments.json else arguments.output, front, front.to_dict())
        return FEASIBLE if front.rows else NO_PLAN
    if arguments.output is None:
        raise InputError("--output is missing; it must be the file to write")
    check_output("--output", arguments.output)
    results.merge(arguments.output)
    print_out(f"wrote {sum(results.statuses.values()):,} rows to {arguments.output}")
    return FEASIBLE


def _status(arguments: argparse.Namespace) -> int:
    results = SweepResults.open(arguments.output)
    _print(arguments, results)
    return FEASIBLE if results.complete and not results.failed else NO_PLAN


def _print(arguments: argparse.Namespace, results: SweepResults) -> None:
    deliver(STDOUT if arguments.json else None, results, results.to_dict())


def _run(arguments: argparse.Namespace) -> int:
    shard = None if arguments.shard is None else _shard(arguments.shard)
    made = read_sweep(arguments.sweep)
    with _executor(arguments) as executor, logged(arguments), _status_line(arguments) as update:
        results = sweep(
            made,
            arguments.output,
            executor=executor,
            workers=arguments.workers,
            threads=arguments.threads,
            shard=shard,
            resume=arguments.resume,
            rows=arguments.rows,
            callback=None if update is None else _Line(update),
        )
    _print(arguments, results)
    if results.interrupted:
        return interrupts.exit_status()
    return NO_PLAN if results.failed else FEASIBLE


@contextmanager
def _status_line(arguments: argparse.Namespace) -> Iterator[Callable[[str], object] | None]:
    if arguments.quiet or arguments.verbose:
        yield None
    else:
        with status_line("begins") as update:
            yield update


class _Line:
    """A callback that shows how far a sweep is, and how fast it goes since the first chunk of this run."""

    def __init__(self, update: Callable[[str], object]) -> None:
        self._update, self._began = update, time.monotonic()
        self._first: tuple[float, int] | None = None

    def __call__(self, results: SweepResults) -> None:
        now, set_ups = time.monotonic(), sum(results.statuses.values())
        then, before = self._first = self._first or (now, set_ups)
        rate = f"; {(set_ups - before) / (now - then):,.0f} set-ups/s" if now > then else ""
        self._update(
            f"{now - self._began:.1f} s: {results.done:,} of {results.chunks:,} chunks, "
            f"{set_ups:,} set-ups, {results.failed:,} failed{rate}"
        )


def _shard(text: str) -> tuple[int, int]:
    match = _SHARD.fullmatch(text)
    if match is None:
        raise InputError(f"--shard is {text}; it must be I/N, as 1/8 to 8/8")
    index, of = int(match[1]), int(match[2])
    if index > of:
        raise InputError(f"--shard is {text}; it must be I/N with I at most N, as 1/8 to 8/8")
    return index, of


@contextmanager
def _executor(arguments: argparse.Namespace) -> Iterator[Any]:
    """Connect to a Dask scheduler, if one is given."""
    if arguments.dask is None:
        yield None
        return
    try:
        client_of: Any = import_module("distributed").Client
    except ImportError:
        raise ImportError("--dask requires Dask: pip install distributed") from None
    with client_of(arguments.dask, timeout=30) as client:
        yield client


def _print_script(arguments: argparse.Namespace) -> int:
    """Print a script whose array tasks are the shards of a sweep."""
    tasks = arguments.slurm
    if tasks < 1:
        raise InputError(f"--slurm is {tasks}; it must be a number of tasks, at least 1")
    name = re.sub(r"[^\w.-]+", "-", read_sweep(arguments.sweep).name)
    run = [sys.executable, "-m", "stageplan", "sweep", str(Path(arguments.sweep).absolute())]
    run += ["--output", str(arguments.output.absolute())]
    print_out(f"""#!/bin/sh
#SBATCH --job-name={name}
#SBATCH --array=1-{tasks}
#SBATCH --cpus-per-task=1
#SBATCH --requeue
# A task that is run again continues where it ended.
exec {shlex.join(run)} \\
    --shard "${{SLURM_ARRAY_TASK_ID}}/{tasks}" --threads "${{SLURM_CPUS_PER_TASK:-1}}\"""")
    return FEASIBLE
