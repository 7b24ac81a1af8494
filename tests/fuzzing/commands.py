"""Targets that are command lines: arguments are mutated, and a file that they name."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import unicodedata
from pathlib import Path
from random import Random
from typing import Any

from stageplan import cli

from . import examples
from .judge import sentence_complaint
from .mutate import TEXTS, mutate_arguments, mutate_bytes, mutate_document, to_bytes
from .runner import OutcomeError, Target

PATIENCE = 2.0  # seconds of CPU time until Ctrl-C, for searches that do not end by themselves

_SHORT = ["--max-generations", "2", "--population", "8", "--threads", "1"]
_LINES: tuple[list[str], ...] = (
    ["plan", "net.toml", "--cluster", "types.toml", *_SHORT],
    ["plan", "net.toml", "--method", "exact", "--max-work", "1000000", "-o", "made.json"],
    [
        "plan",
        "net.toml",
        "--method",
        "reinforce",
        "--policy",
        "policy.npz",
        *_SHORT,
        "--save-policy",
        "p.npz",
    ],
    ["plan", "net.toml", "--method", "genetic", "--initial", "plan.json", "--seed", "3", *_SHORT, "-o", "-"],
    ["plan", "ctr", "--objective", "throughput", "--max-price", "20", "--max-cost", "9", *_SHORT],
    [
        "plan",
        "net.toml",
        "--device",
        "slow:4@1",
        "--device",
        "fast@2",
        "--catalogue",
        "devices.toml",
        *_SHORT,
    ],
    ["plan", "graph.json", "--max-runtime", "0.2", "--split", "--no-overlap", "--merge", "type"],
    [
        "plan",
        "graph.txt",
        "--device",
        "v100",
        "--catalogue",
        "devices.toml",
        "--workload-batch",
        "4",
        "--examples",
        "100",
        *_SHORT,
    ],
    ["plan", "shared.toml", "--cluster", "types.toml", "--whole-machines", "--same-strategy", *_SHORT],
    ["plan", "shared.toml", "--schedule", "gpipe", "--microbatches", "4", "--batch", "8", *_SHORT],
    ["score", "shared.toml", "schemes.npy", "--same-replicas", "--max-stages", "3", "-o", "-"],
    ["pareto", "net.toml", "--points", "3", "--against", "price", "--max-runtime", "0.5"],
    ["pareto", "net.toml", "--gap", "0.1", "--max-throughput", "900", "-o", "front.json"],
    ["score", "net.toml", "plan.json", "-o", "-"],
    ["score", "net.toml", "schemes.npy", "--target", "100", "-o", "scores.npz"],
    ["export", "plan.json", "--to", "json"],
    [
        "export",
        "plan.json",
        "--to",
        "torch",
        "--workload",
        "net.toml",
        "--cluster",
        "types.toml",
        "-o",
        "made.py",
    ],
    ["export", "plan.json", "--to", "device-map"],
    ["report", "plan.json", "-o", "report.html", "--trace", "trace.json"],
    ["report", "plan.json", "--workload", "net.toml", "--cluster", "types.toml", "-o", "-"],
    ["devices", "--catalogue", "devices.toml", "--prices", "prices.csv", "--region", "east-1", "--spot"],
    ["devices", "-o", "-"],
    ["profile", "net.onnx", "--device", "t4", "--mode", "inference", "--batch", "2", "-o", "w.toml"],
    ["profile", "hf:config.json", "--device", "t4", "--sequence", "4", "--layers", "bert"],
    ["generate", "spec.toml", "-o", "made", "--step", "environment", "--mode", "quick"],
    ["test", "made", "--mode", "infer"],
    ["schema", "workload"],
    ["info"],
)
_OTHERS = tuple(
    sorted({argument for line in _LINES for argument in line} | {"--help", "--version", "--", "@x", "-"})
)


def _documents() -> dict[str, Any]:
    # A target that has no such environment: no command of a specification may install anything.
    spec = examples.SPEC | {"target": "local", "environment": {"reuse": "/nonexistent"}, "data": {}}
    return {
        "net.toml": examples.NET, "shared.toml": examples.SHARED, "types.toml": examples.TYPES,
        "devices.toml": examples.DEVICES,
        "graph.json": examples.GRAPH, "plan.json": examples.plan(), "spec.toml": spec,
        "config.json": examples.CONFIGURATIONS[0],
    }  # fmt: skip


def _bytes() -> dict[str, bytes]:
    return {
        "prices.csv": examples.PRICES, "graph.txt": examples.PIPEDREAM, "policy.npz": examples.policy(),
        "schemes.npy": examples.schemes(), "net.onnx": examples.network().SerializeToString(),
    }  # fmt: skip


def _make(rng: Random) -> bytes:
    argv = rng.choice(_LINES)
    named = [argument.removeprefix("hf:") for argument in argv]
    changed = {}
    if rng.random() < 0.5:
        for file, document in _documents().items():
            if file in named and file != "spec.toml":
                mutated = (
                    mutate_document(rng, document) if rng.random() < 0.4 else _named_badly(rng, document)
                )
                changed[file] = to_bytes(rng, mutated, _form(file))
        for file, data in _bytes().items():
            if file in named:
                changed[file] = mutate_bytes(rng, data, [data])
    if not changed or rng.random() < 0.3:
        argv = mutate_arguments(rng, argv, _OTHERS)
    files = {file: base64.b64encode(data).decode() for file, data in changed.items()}
    return json.dumps({"argv": argv, "files": files}).encode()


def _form(file: str) -> str:
    return file.rpartition(".")[2]


def _named_badly(rng: Random, document: Any) -> Any:
    """Return a document whose names have characters that a terminal obeys."""
    text = json.dumps(document)
    old = rng.choice(("slow", "fast", "net", "n1", "types"))
    new = json.dumps(old + rng.choice(TEXTS[:13]))[1:-1]
    return json.loads(text.replace(old, new))


def _run(data: bytes) -> object:
    made = json.loads(data)
    for file, document in _documents().items():
        Path(file).write_bytes(to_bytes(Random(1), document, _form(file)))
    for file, content in _bytes().items():
        Path(file).write_bytes(content)
    for file, encoded in made["files"].items():
        Path(file).write_bytes(base64.b64decode(encoded))
    out, err = (
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8"),
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8"),
    )
    argv = made["argv"]
    # Profiles end by themselves; Ctrl-C while torch is imported may print a traceback of its own.
    searches = argv[:1] != ["profile"]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _impatient(searches):
        try:
            status = cli.main(argv)
        except SystemExit as error:
            status = int(error.code or 0)  # --help and --version
    return _judged(status, *(stream.buffer.getvalue().decode() for stream in (_flushed(out), _flushed(err))))


def _flushed(stream: io.TextIOWrapper) -> Any:
    stream.flush()
    return stream


def _judged(status: int, out: str, err: str) -> bool:
    """Return whether a command was accepted; raises OutcomeError where its outcome is not allowed."""
    if "Traceback" in err:
        raise OutcomeError("a traceback on stderr")
    for name, text in (("stdout", out), ("stderr", err)):
        for character in text:
            if unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Cs") and character not in "\n\t":
                raise OutcomeError(f"{name} has the control character {character!a}")
    if status not in (0, 1, 2, 130):
        raise OutcomeError(f"exit status {status}")
    if status == 2:
        if out or not err.startswith("stageplan: error: ") or not err.endswith("\n"):
            raise OutcomeError("exit status 2 without one sentence on stderr")
        if (reason := sentence_complaint(err[:-1])) is not None:
            raise OutcomeError(f"exit status 2 with {reason}")
    if status == 1 and not (out or err):
        raise OutcomeError("exit status 1 without a word")
    return status != 2


@contextlib.contextmanager
def _impatient(searches: bool) -> Any:
    """Send Ctrl-C after a while to a command that searches."""
    signal.signal(signal.SIGVTALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE if searches else 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


# The environment ----------------------------------------------------------------------------------------


def _make_variable(rng: Random) -> bytes:
    values = (*TEXTS[:30], "avx2", "avx512", "baseline", "AVX2", "avx2,baseline")
    return rng.choice(values).replace("\0", "").encode("utf-8", "surrogatepass")[:10_000]


def _run_variable(data: bytes) -> object:
    environment = os.environ | {"STAGEPLAN_ISA": os.fsdecode(data), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-m", "stageplan", "info"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return _judged(done.returncode, done.stdout, done.stderr)


COMMANDS = (
    Target("command", 6, _make, _run),
    Target("variable", 0.03, _make_variable, _run_variable),
)
