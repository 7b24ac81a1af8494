"""Trains the network and writes its weights.

``torchrun --nproc-per-node 2 train.py`` trains in two processes, with the same losses to rounding.
"""

from __future__ import annotations

from loading import loading

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

import data
import parallel
from checkpoint import load_checkpoint, save_checkpoint
from common import (
    ARTEFACTS,
    Batch,
    Config,
    build,
    check_precision,
    forward,
    load_weights,
    run,
    save_weights,
    seed_dropout,
)
from evaluate import margin, measure_network
from first_inference import check_speed
from logs import Log

CHECKPOINT = ARTEFACTS / "checkpoint.safetensors"
BEST = ARTEFACTS / "best.safetensors"
EPSILON = 1e-6  # far above rounding errors of gradients, which with the usual 1e-8 would become steps


def train(config: Config, module: nn.Module, steps: int, checkpoint: Path | None = None) -> list[float]:
    """Train a network for a number of steps.

    Parameters
    ----------
    config : Config
        How to train.
    module : torch.nn.Module
        The network.
    steps : int
        Updates of its weights.
    checkpoint : pathlib.Path, optional
        Kept as often as the configuration says; where it is there, training goes on from it.

    Returns
    -------
    list of float
        The loss before each step.
    """
    trainer = Trainer(config, module, steps, checkpoint)
    for _ in trainer.run():
        pass
    return trainer.progress.losses


@dataclass
class Progress:
    """The loss before each step, the metric at each validation, and what was done of the next step.

    Of that, `parts` of its batch are done, and `loss` is what they contribute to its loss.
    """

    losses: list[float] = field(default_factory=list)
    validations: list[float] = field(default_factory=list)
    parts: int = 0
    loss: float = 0.0


class Step(NamedTuple):
    """An update of the weights: its number, from 1, and what it was made with."""

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float


class Trainer:
    """Trains a network for a number of steps; what was done so far is its progress."""

    def __init__(self, config: Config, module: nn.Module, steps: int, checkpoint: Path | None = None) -> None:
        self.config, self.module, self.steps, self.checkpoint = config, module, steps, checkpoint
        self.optimizer = make_optimizer(config, module)
        scaled = config.train.precision == "float16"  # whose smallest gradients would be 0
        self.scaler = torch.amp.GradScaler(torch.device(config.device).type, enabled=scaled)
        self.progress = Progress()
        if checkpoint is not None and checkpoint.exists():
            load_checkpoint(self, checkpoint)
            if parallel.COUNT > 1 and self.progress.parts:  # other processes have other parts of a batch
                self.progress.parts, self.progress.loss = 0, 0.0
        self.shared = parallel.shared(module)

    def run(self) -> Iterator[Step]:
        """Train to the end, and give each step before its checkpoint is kept."""
        while len(self.progress.losses) < self.steps:
            yield self.step(training_batch(self.config, len(self.progress.losses)))
            self._keep_checkpoint(self.config.train.checkpoint_every, len(self.progress.losses))

    def step(self, batch: Batch) -> Step:
        """Update the weights once, with gradients accumulated over parts of the batch.

        Raises
        ------
        ValueError
            The loss is not finite, or the batch cannot be divided into the parts.
        """
        progress, settings = self.progress, self.config.train
        number = len(progress.losses) + 1
        rate = set_learning_rate(self.config, self.optimizer, number - 1, self.steps)
        self.module.train(not settings.exact)
        if not progress.parts:
            self.optimizer.zero_grad()
        for part in parallel.mine(split(batch, parallel.COUNT * settings.micro_batches))[progress.parts :]:
            self.accumulate(part)
        norm = self.update()
        loss = parallel.mean(progress.loss)
        if not math.isfinite(loss):
            raise ValueError(f"the loss of step {number} is {loss}; it must be finite")
        progress.losses.append(loss)
        progress.parts, progress.loss = 0, 0.0
        return Step(number, loss, rate, norm)

    def accumulate(self, part: Batch) -> None:
        """Add the gradients of a part of a batch."""
        progress, parts = self.progress, self.config.train.micro_batches
        seed_dropout(self.config, len(progress.losses), progress.parts, parallel.RANK)
        with parallel.exchanging(self.shared, progress.parts == parts - 1):
            loss = forward(self.config, self.shared, part) / parts
            self.scaler.scale(loss).backward()
        progress.loss += loss.item()
        progress.parts += 1
        if parallel.COUNT == 1 and progress.parts < parts:
            self._keep_checkpoint(self.config.train.checkpoint_parts, progress.parts)

    def update(self) -> float:
        """Update the weights by the gradients, cut to their greatest norm; return the norm before."""
        self.scaler.unscale_(self.optimizer)
        greatest = self.config.train.clip_norm or math.inf
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), greatest)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return norm.item()

    def _keep_checkpoint(self, every: int, number: int) -> None:
        if self.checkpoint is not None and parallel.IS_FIRST and _is_due(every, number):
            save_checkpoint(self, self.checkpoint)


def _is_due(every: int, number: int) -> bool:
    return every > 0 and number % every == 0


def make_optimizer(config: Config, module: nn.Module) -> torch.optim.Optimizer:
    """Make the optimizer of a network, or of a stage of it."""
    with loading():  # the first optimizer of a process loads PyTorch's compiler
        return torch.optim.AdamW(
            module.parameters(),
            lr=config.train.learning_rate,
            weight_decay=config.train.weight_decay,
            eps=EPSILON,
        )


def set_learning_rate(config: Config, optimizer: torch.optim.Optimizer, step: int, steps: int) -> float:
    """Set the learning rate of a step, by the schedule of that many steps; return it."""
    rate = config.train.learning_rate * _scheduled(config, step, steps)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


def _scheduled(config: Config, step: int, steps: int) -> float:
    """Fraction of the learning rate: it rises at the beginning, and then stays or falls, nearly to 0."""
    warm_up = config.train.warm_up_steps
    if step < warm_up:
        return (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[
        config.train.schedule
    ]


def training_batch(config: Config, step: int) -> Batch:
    """Return the examples of a step."""
    return data.batch(config, "training", step, config.train.batch)


def split(batch: Batch, parts: int) -> list[Batch]:
    """Divide a batch into equal parts.

    Raises
    ------
    ValueError
        The parts would differ in size, and the mean of their losses from that of the batch.
    """
    inputs, targets = batch
    if len(targets) % parts:
        raise ValueError(f"a batch of {len(targets)} cannot be divided into {parts} equal parts")
    pieces = [tensor.chunk(parts) for tensor in inputs]
    return [(tuple(piece[i] for piece in pieces), part) for i, part in enumerate(targets.chunk(parts))]


# Validation on the way ----------------------------------------------------------------------------------


def _validate(trainer: Trainer) -> dict[str, float]:
    """Measure the network on examples for validation, and keep its weights where they are the best so far."""
    config, progress = trainer.config, trainer.progress
    numbers = measure_network(config, trainer.module, "validation")
    progress.validations.append(parallel.of_first(numbers[config.metric.name]))
    if _best(config, progress) == len(progress.validations) - 1 and parallel.IS_FIRST:
        save_weights(trainer.module, BEST)
    return numbers


def _best(config: Config, progress: Progress) -> int:
    """Return the first of the best validations."""
    best = 0
    for index, value in enumerate(progress.validations):
        if margin(config, value, progress.validations[best]) > 0:
            best = index
    return best


# The command --------------------------------------------------------------------------------------------


def train_and_save(config: Config, quick: bool) -> dict[str, float]:
    """Train, and write the weights: the last or, where there is validation on the way, the best ones."""
    with parallel.together(config):
        check_precision(config)
        module = build(config)
        check_speed(config, module)
        steps = config.train.quick_steps if quick else config.train.steps
        trainer = Trainer(config, module, steps, CHECKPOINT if _keeps_checkpoints(config) else None)
        with Log(config, len(trainer.progress.losses)) as log:
            _train_with(log, trainer)
        if parallel.IS_FIRST:
            if config.train.validate_every:
                module = load_weights(config, BEST)
            save_weights(module)
            for file in (CHECKPOINT, BEST):  # no longer needed: the next training starts from the beginning
                file.unlink(missing_ok=True)
    return _summary(trainer)


def _keeps_checkpoints(config: Config) -> bool:
    return config.train.checkpoint_every > 0 or config.train.checkpoint_parts > 0


def _train_with(log: Log, trainer: Trainer) -> None:
    """Train to the end, or until validations no longer improve."""
    config, progress, settings = trainer.config, trainer.progress, trainer.config.train
    begin = time.perf_counter()
    for step in trainer.run():
        seconds = time.perf_counter() - begin
        log.add("train", step._asdict() | {"examples_per_second": settings.batch / seconds})
        if settings.validate_every and (
            step.step == trainer.steps or _is_due(settings.validate_every, step.step)
        ):
            log.add("validation", {"step": step.step, **_validate(trainer)})
            since_best = len(progress.validations) - 1 - _best(config, progress)
            if settings.patience and since_best >= settings.patience:
                break
        begin = time.perf_counter()


def _summary(trainer: Trainer) -> dict[str, float]:
    config, progress = trainer.config, trainer.progress
    losses = progress.losses
    end = losses[-max(5, len(losses) // 10) :]  # the mean of several, since batches differ in difficulty
    first, last = losses[0], sum(end) / len(end)
    numbers = {"steps": len(losses), "first_loss": first, "last_loss": last, "loss_fall": 1 - last / first}
    if not progress.validations:
        return numbers
    best = _best(config, progress)
    return numbers | {
        "validations": len(progress.validations),
        "best_step": min((best + 1) * config.train.validate_every, len(losses)),
        "best_metric": progress.validations[best],
        "stopped_early": float(len(losses) < trainer.steps),
    }


if __name__ == "__main__":
    run("train", train_and_save)
