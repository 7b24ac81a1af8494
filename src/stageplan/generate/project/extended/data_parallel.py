"""Trains in processes that share the examples of a batch, by torchrun, and compares with one process."""

from __future__ import annotations

import loading

import csv
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from common import ARTEFACTS, Config, build, load_weights, run, settings, single, whole, write_json
from common import WEIGHTS as MADE
from evaluate import judge, measure_network
from logs import path_of
from train import train

WEIGHTS = ARTEFACTS / "model-data-parallel.safetensors"
CONFIG = "config.json"
COMPARED = 5  # steps; later, differences of rounding have grown


def data_parallel(config: Config, quick: bool) -> dict[str, float]:
    """Compare some steps with one process, and, unless quick, train for the full length."""
    processes, few = settings("data-parallel")["processes"], compared(config)
    losses = train_by_torchrun(few, processes)
    alone = train(few, build(few), COMPARED)
    return {
        "processes": processes,
        "compared_steps": len(losses),
        "largest_loss_difference": max(abs(a - b) for a, b in zip(losses, alone, strict=True)),
        **({} if quick else _trained(config, processes)),
    }


def compared(config: Config) -> Config:
    """Return the configuration for the steps that are compared, in float32."""
    exact = single(config)
    plain = replace(
        exact.train,
        steps=COMPARED,
        validate_every=0,
        patience=0,
        checkpoint_every=0,
        checkpoint_parts=0,
        tensorboard=False,
    )
    return replace(exact, train=plain)


def _trained(config: Config, processes: int) -> dict[str, float]:
    """Train for the full length, and compare the result with its threshold."""
    losses = train_by_torchrun(config, processes, WEIGHTS)
    module = load_weights(config, WEIGHTS)
    numbers = measure_network(config, module)
    last = {"steps": len(losses), "last_loss": losses[-1]}
    return last | numbers | {"margin": judge(config, module, numbers, quick=False).margin}


def train_by_torchrun(config: Config, processes: int, weights: Path | None = None) -> list[float]:
    """Run train.py in a folder of its own, where it writes, with links to the other files of the project.

    Parameters
    ----------
    config : Config
        How to train.
    processes : int
        Number of processes.
    weights : pathlib.Path, optional
        Where to put the weights.

    Returns
    -------
    list of float
        The loss before each step.

    Raises
    ------
    RuntimeError
        The training failed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in Path.cwd().iterdir():
            if path.name not in (CONFIG, str(ARTEFACTS)):
                (folder / path.name).symlink_to(path)
        unlimited = replace(config, infer=replace(config.infer, max_latency=None, min_throughput=None))
        write_json(folder / CONFIG, asdict(unlimited))
        _run_torchrun(folder, processes)
        if weights is not None:
            with whole(weights) as beside:
                shutil.copyfile(folder / MADE, beside)
        with (folder / path_of("train")).open(newline="") as stream:
            return [float(row["loss"]) for row in csv.DictReader(stream)]


def _run_torchrun(folder: Path, processes: int) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    variables = {"OMP_NUM_THREADS": "1"}
    if sys.platform == "linux":
        variables["GLOO_SOCKET_IFNAME"] = "lo"  # all processes are on this machine
    done = subprocess.run(
        [*torchrun, "--nproc-per-node", str(processes), "train.py"],
        cwd=folder,
        env=variables | os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it printed nothing"]
        reason = next((line for line in lines if line.startswith("train: ")), lines[-1])
        raise RuntimeError(f"torchrun ended with exit status {done.returncode}: {reason}")


if __name__ == "__main__":
    run("data_parallel", data_parallel)
