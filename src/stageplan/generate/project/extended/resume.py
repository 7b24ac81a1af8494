"""Trains with checkpoints in a process that is killed half-way, resumes from the last one, and compares.

To have train.py keep checkpoints, give `train.checkpoint_every` in config.json a number of steps: run again
after it was killed, it goes on.
"""

from __future__ import annotations

import os
import signal
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
import torch.multiprocessing

from common import Config, build, run, settings
from train import train


def resume(config: Config, quick: bool) -> dict[str, float]:
    """Train once without interruption, and once killed and resumed; all weights must be bit-identical."""
    every = settings("checkpoint")["every"]
    kept = replace(config, train=replace(config.train, checkpoint_every=every))
    steps = 3 * every
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, "checkpoint.safetensors")
        _train_and_be_killed(kept, 2 * every - 1, checkpoint)
        resumed = build(kept)
        losses = train(kept, resumed, steps, checkpoint)
    straight = build(config)
    expected = train(config, straight, steps)
    pairs = zip(resumed.parameters(), straight.parameters(), strict=True)
    return {
        "steps": len(losses),
        "differing_tensors": sum(not torch.equal(one, other) for one, other in pairs),
        "differing_losses": sum(one != other for one, other in zip(losses, expected, strict=True)),
    }


def _train_and_be_killed(config: Config, steps: int, checkpoint: Path) -> None:
    """Train in another process, which dies after a number of steps that is between two checkpoints.

    It is forked, where the system can, for then it has PyTorch loaded; no threads have been started yet.
    """
    method = "fork" if "fork" in torch.multiprocessing.get_all_start_methods() else "spawn"
    context = torch.multiprocessing.get_context(method)
    process = context.Process(target=_train_and_die, args=(config, steps, checkpoint))
    process.start()
    process.join()
    if process.exitcode != -signal.SIGKILL or not checkpoint.exists():
        raise RuntimeError(f"the training to be interrupted ended with exit status {process.exitcode}")


def _train_and_die(config: Config, steps: int, checkpoint: Path) -> None:
    torch.set_num_threads(config.threads)
    train(config, build(config), steps, checkpoint)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    run("resume", resume)
