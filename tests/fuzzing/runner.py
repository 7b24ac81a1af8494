"""Runs inputs in worker processes with limits, judges what happens, and keeps inputs that fail."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import resource
import select
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, NoReturn

from .judge import complaint, place

CPU_SECONDS = 10  # of an input, over all threads
MEMORY = 2 * 2**30  # bytes of address space that an input may add
WALL_SECONDS = 300  # without CPU time: a deadlock
BATCH = 500  # inputs of a worker process
KEPT = 5  # failures of one kind that are kept


class Target(NamedTuple):
    """A reader or an entry point.

    Attributes
    ----------
    share : float
        Its part of the inputs, relative to the other targets'.
    make : callable
        Makes an input with a generator of random numbers.
    run : callable
        Runs an input in an empty working directory; it raises what the entry point raises, or `OutcomeError`.
    """

    name: str
    share: float
    make: Callable[[Random], bytes]
    run: Callable[[bytes], object]


class OutcomeError(Exception):
    """An outcome that is not allowed and not an exception, such as two lines on stderr."""


@dataclass
class Row:
    """What became of the inputs of a target."""

    name: str
    accepted: int = 0
    refused: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def inputs(self) -> int:
        """Number of inputs that were run."""
        return self.accepted + self.refused + self.failures.total()


def make_input(target: Target, seed: int, index: int) -> bytes:
    """Make an input, the same for the same seed and index."""
    return target.make(Random(f"{seed} {target.name} {index}"))


def fuzz(target: Target, seed: int, indices: range, folder: Path, row: Row) -> None:
    """Run inputs of a target and add their outcomes to a row; inputs that fail are kept in a folder."""
    while indices:
        end = indices.start
        for index, outcome in _worker(target, seed, indices[:BATCH]):
            end = index + 1
            _count(target, seed, index, outcome, folder, row)
        indices = range(max(end, indices.start + 1), indices.stop)


def _count(target: Target, seed: int, index: int, outcome: dict[str, Any], folder: Path, row: Row) -> None:
    row.seconds += outcome.get("seconds", 0.0)
    failure = outcome.get("failure")
    if failure is None:
        row.accepted += outcome["accepted"]
        row.refused += not outcome["accepted"]
        return
    row.failures[failure] += 1
    if row.failures[failure] <= KEPT:
        folder.mkdir(parents=True, exist_ok=True)
        kept = {"target": target.name, "seed": seed, "index": index, "failure": failure}
        kept["trace"] = outcome.get("trace", "")
        kept["input"] = base64.b64encode(make_input(target, seed, index)).decode()
        (folder / f"{target.name}-{seed}-{index}.json").write_text(json.dumps(kept, indent=1))


# The worker process -------------------------------------------------------------------------------------


def _worker(target: Target, seed: int, indices: range) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (index, outcome) of inputs that a child process runs, up to one that ends the process."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        _work(target, seed, indices, writing)
    os.close(writing)
    done = 0
    with os.fdopen(reading) as stream:
        while select.select([stream], [], [], WALL_SECONDS)[0] and (line := stream.readline()):
            yield indices[done], json.loads(line)
            done += 1
        if done < len(indices):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    status = os.waitpid(process, 0)[1]
    if done < len(indices):
        yield indices[done], {"failure": _death(status)}


def _death(status: int) -> str:
    if not os.WIFSIGNALED(status):
        return f"the process ends with status {os.waitstatus_to_exitcode(status)}"
    number = os.WTERMSIG(status)
    if number == signal.SIGPROF:
        return f"hangs: more than {CPU_SECONDS} s of CPU time"
    return f"the process dies of {signal.Signals(number).name}"


def _work(target: Target, seed: int, indices: range, writing: int) -> NoReturn:
    """Run inputs in this process and write an outcome a line; never returns."""
    limit_memory()
    with os.fdopen(writing, "w", buffering=1) as stream, open(os.devnull, "w") as null:
        os.dup2(null.fileno(), 1)
        os.dup2(null.fileno(), 2)
        for index in indices:
            data = make_input(target, seed, index)
            began = time.process_time()
            outcome = run(target, data)
            outcome["seconds"] = time.process_time() - began
            stream.write(json.dumps(outcome) + "\n")
    os._exit(0)


def limit_memory() -> None:
    """Limit the address space of this process to `MEMORY` more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, resource.RLIM_INFINITY))


def run(target: Target, data: bytes) -> dict[str, Any]:
    """Run an input and judge its outcome: ``accepted``, or ``failure`` and ``trace``."""
    with tempfile.TemporaryDirectory(prefix="stageplan-fuzz-") as folder, contextlib.chdir(folder):
        _allow(CPU_SECONDS)
        try:
            accepted = target.run(data)
            _allow(0)
            return {"accepted": accepted is not False}
        except BaseException as error:
            _allow(0)
            failure = str(error) if isinstance(error, OutcomeError) else complaint(error)
            if failure is None:
                return {"accepted": False}
            trace = "".join(traceback.format_exception(error, limit=-12))[-8000:]
            where = "" if isinstance(error, OutcomeError) else f" at {place(error)}"
            return {"failure": f"{failure}{where}", "trace": trace}


def _allow(seconds: float) -> None:
    """End the process after this much CPU time from now; 0: never."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


# Runs ---------------------------------------------------------------------------------------------------


def fuzz_all(
    targets: Sequence[Target], seed: int, *, inputs: int = 0, minutes: float = 0.0, folder: Path
) -> list[Row]:
    """Run a number of inputs, or for some minutes, shared out among targets."""
    rows = [Row(target.name) for target in targets]
    total = sum(target.share for target in targets)
    done, step = 0, inputs or 2000
    began = time.monotonic()
    while True:
        for target, row in zip(targets, rows, strict=True):
            part = target.share / total
            first, last = (round(part * count) for count in (done, done + step))
            fuzz(target, seed, range(first, max(last, first + 1)), folder, row)
        done += step
        if time.monotonic() - began >= 60 * minutes:
            return rows


def replay(targets: Iterable[Target], file: Path) -> dict[str, Any]:
    """Run an input that was kept again, in this process."""
    kept = json.loads(file.read_text())
    target = next(target for target in targets if target.name == kept["target"])
    limit_memory()
    return run(target, base64.b64decode(kept["input"]))


def table(rows: Sequence[Row]) -> str:
    """Format the outcomes by target, then the failures by kind."""
    lines = [f"{'target':<18}{'inputs':>8}{'accepted':>10}{'refused':>9}{'failures':>10}{'CPU s':>8}"]
    whole = Row("all")
    for row in rows:
        whole.accepted, whole.refused = whole.accepted + row.accepted, whole.refused + row.refused
        whole.failures.update({f"{row.name}: {kind}": count for kind, count in row.failures.items()})
        whole.seconds += row.seconds
    for row in (*rows, whole):
        lines.append(
            f"{row.name:<18}{row.inputs:>8}{row.accepted:>10}{row.refused:>9}"
            f"{row.failures.total():>10}{row.seconds:>8.1f}"
        )
    counts = [f"{count:>6}  {_printable(kind)}" for kind, count in whole.failures.most_common()]
    return "\n".join([*lines, *counts])


def _printable(text: str) -> str:
    return re.sub(r"[^ -~]", "?", text)[:300]
