"""Trains with checkpoints in a process that is killed half-way, resumes from the last one, and compares.

It is killed inside of a step, after one of two parts of a batch. To have train.py keep checkpoints, give
`train.checkpoint_every` in config.json a number of steps, or `train.checkpoint_parts` one of parts: run again
after it was killed, it goes on.
"""

from __future__ import annotations

import loading

import os
import signal
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
import torch.multiprocessing

from common import Batch, Config, build, load_tensors, run, settings
from train import Trainer, train


def resume(config: Config, quick: bool) -> dict[str, float]:
    """Train once without interruption, and once killed and resumed; all weights must be bit-identical."""
    every = settings("checkpoint")["every"]
    parts = 2 if config.train.batch % 2 == 0 else 1
    divided = replace(config, train=replace(config.train, micro_batches=parts))
    kept = replace(divided, train=replace(divided.train, checkpoint_every=every, checkpoint_parts=1))
    steps = 3 * every
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, "checkpoint.safetensors")
        _train_and_be_killed(kept, steps, 2 * every - 1, checkpoint)
        done = int(load_tensors(checkpoint)["part"][0])
        resumed = build(kept)
        losses = train(kept, resumed, steps, checkpoint)
    straight = build(divided)
    expected = train(divided, straight, steps)
    pairs = zip(resumed.parameters(), straight.parameters(), strict=True)
    return {
        "steps": len(losses),
        "resumed_inside_a_step": float(0 < done < parts),
        "differing_tensors": sum(not torch.equal(one, other) for one, other in pairs),
        "differing_losses": sum(one != other for one, other in zip(losses, expected, strict=True)),
    }


def _train_and_be_killed(config: Config, steps: int, last: int, checkpoint: Path) -> None:
    """Train in another process, which dies after its last step and the first part of the next one.

    It is forked, where the system can, for then it has PyTorch loaded; no threads have been started yet.
    """
    method = "fork" if "fork" in torch.multiprocessing.get_all_start_methods() else "spawn"
    context = torch.multiprocessing.get_context(method)
    process = context.Process(target=_train_and_die, args=(config, steps, last, checkpoint))
    process.start()
    process.join()
    if process.exitcode != -signal.SIGKILL or not checkpoint.exists():
        raise RuntimeError(f"the training to be interrupted ended with exit status {process.exitcode}")


def _train_and_die(config: Config, steps: int, last: int, checkpoint: Path) -> None:
    torch.set_num_threads(config.threads)
    trainer = _Mortal(config, build(config), steps, checkpoint)
    trainer.last = last
    for _ in trainer.run():
        pass


class _Mortal(Trainer):
    """Dies after the first part of the step after the last one."""

    last: int

    def accumulate(self, part: Batch) -> None:
        super().accumulate(part)
        if len(self.progress.losses) == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    run("resume", resume)
