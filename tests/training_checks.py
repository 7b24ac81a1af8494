"""Checks of the training of a generated project, which run in it; see ``drive_project.py``.

Each takes a configuration and whether the mode is quick, and returns what it found.
"""

import csv
import math
import tempfile
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

import common
import data
import train


def plain_training(config, quick):
    """Compare training by default with a loop that has nothing but warm-up; count what differs."""
    made, plain = common.build(config), common.build(config)
    losses = train.train(config, made, 12)
    optimizer = train.make_optimizer(config, plain)
    expected = []
    for step in range(12):
        optimizer.param_groups[0]["lr"] = config.train.learning_rate * min(1.0, (step + 1) / 10)
        optimizer.zero_grad()
        loss = common.forward(config, plain, train.training_batch(config, step))
        loss.backward()
        expected.append(loss.item())
        optimizer.step()
    pairs = zip(made.parameters(), plain.parameters(), strict=True)
    return [losses == expected, sum(not one.equal(other) for one, other in pairs)]


def learning_rates(config, quick):
    """Return the learning rates of 12 steps."""
    optimizer = train.make_optimizer(config, common.build(config))
    return [train.set_learning_rate(config, optimizer, step, 12) for step in range(12)]


def clipped(config, quick):
    """Return the norm of the gradients before and after they were cut."""
    trainer = train.Trainer(config, common.build(config), 1)
    before = trainer.step(train.training_batch(config, 0)).gradient_norm
    squares = sum(parameter.grad.double().square().sum().item() for parameter in trainer.module.parameters())
    return [before, math.sqrt(squares)]


def interrupted(config, quick):
    """Train, once without interruption and once with; compare weights and logs but for times."""
    straight = _outcome(config)
    batch = data.batch

    def broken(config, split, index, size):
        if (split, index) == ("training", 7):
            raise RuntimeError("interrupted")
        return batch(config, split, index, size)

    data.batch = broken
    try:
        train.train_and_save(config, quick)
    except RuntimeError as error:
        interruption = str(error)
    data.batch = batch
    left = sorted(path.name for path in Path("artefacts").iterdir())
    before = len(read_log("train"))
    after = _outcome(config)
    return {
        "interruption": interruption,
        "left": left,
        "lines": before,
        "same": [one == other for one, other in zip(straight, after, strict=True)],
        "end": sorted(path.name for path in Path("artefacts").iterdir()),
    }


class Noisy(torch.nn.Module):
    """A network with dropout and normalisation by batch."""

    def __init__(self, module):
        super().__init__()
        self.inner, self.norm, self.drop = module, torch.nn.BatchNorm1d(1), torch.nn.Dropout(0.3)

    def forward(self, *inputs):
        return self.drop(self.norm(self.inner(*inputs)[:, None]))[:, 0]


def noisy(config, quick):
    """Interrupt the training of a noisy network, and compare training in parts and in whole batches."""
    build = common.build
    common.build = train.build = lambda config, device=None: Noisy(build(config, device))
    try:
        found = interrupted(config, quick)
        differences = []
        for some in (common.single(config), config):
            one, other = (train.train(in_parts(some, parts), common.build(some), 3) for parts in (1, 4))
            differences.append(max(abs(a - b) for a, b in zip(one, other, strict=True)))
        return found | {"differences": differences}
    finally:
        common.build = train.build = build


def in_parts(config, parts):
    return replace(config, train=replace(config.train, micro_batches=parts))


def _outcome(config):
    numbers = train.train_and_save(config, True)
    weights = {name: tensor.tolist() for name, tensor in common.load_tensors(common.WEIGHTS).items()}
    lines = [{k: v for k, v in line.items() if k != "examples_per_second"} for line in read_log("train")]
    return numbers, weights, lines, read_log("validation")


def read_log(name):
    path = Path("artefacts", f"{name}.csv")
    return list(csv.DictReader(path.open())) if path.exists() else []


def other_checkpoints(config, quick):
    """Return what is said about checkpoints of more steps, of another precision and of another network."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "checkpoint")
        kept = replace(config, train=replace(config.train, checkpoint_every=1))
        train.train(kept, common.build(kept), 3, path)
        scaled = replace(kept, train=replace(kept.train, precision="float16"))
        wider = replace(kept, model=replace(kept.model, width=2 * kept.model.width))
        said = []
        for other, steps in ((kept, 2), (scaled, 4), (wider, 4)):
            try:
                said.append(train.train(other, common.build(other), steps, path))
            except ValueError as error:
                said.append(str(error).replace(folder, ""))
        return said


def logged(config, quick):
    """Train, and return numbers, logs, and the metric of the weights that were kept."""
    numbers = train.train_and_save(config, quick)
    kept = train.measure_network(config, common.load_weights(config), "validation")
    board = b"".join(path.read_bytes() for path in Path("artefacts").glob("tensorboard/*"))
    tags = [tag for tag in ("train/loss", "train/gradient_norm", "validation/auc") if tag.encode() in board]
    return numbers, read_log("train"), read_log("validation"), kept[config.metric.name], tags


def scaled(config, quick):
    """Train with a scaled loss; return its factor before and after an infinite gradient, and differences.

    These are of the losses from those in float32, and whether the infinite gradient changed a weight.
    """
    trainer = train.Trainer(config, common.build(config), 20)
    losses = [step.loss for step in trainer.run()]
    exact = train.train(common.single(config), common.build(config), 20)
    difference = max(abs(one - other) for one, other in zip(losses, exact, strict=True))
    before, weights = trainer.scaler.get_scale(), [p.detach().clone() for p in trainer.module.parameters()]
    accumulate = trainer.accumulate

    def spoilt(part):
        accumulate(part)
        next(trainer.module.parameters()).grad.fill_(math.inf)

    trainer.accumulate = spoilt
    trainer.step(train.training_batch(config, 20))
    pairs = zip(weights, trainer.module.parameters(), strict=True)
    return [before, trainer.scaler.get_scale(), difference, not all(one.equal(other) for one, other in pairs)]


def unsupported(config, quick):
    """Train where PyTorch does not compute in the precision."""
    in_precision, common.in_precision = common.in_precision, lambda config: nullcontext()
    try:
        return train.train_and_save(config, quick)
    finally:
        common.in_precision = in_precision


def chosen_rows(config, quick):
    """Return which of 37 rows are for training and evaluation, and with validation for all three."""
    found = []
    for every in (0, 5):
        config = replace(config, train=replace(config.train, validate_every=every))
        for split in ("training", "validation", "evaluation"):
            random = torch.Generator().manual_seed(1)
            rows = common.rows(config, 37, split, 0, 1000, random)
            found.append(sorted(set(rows.tolist())))
    return found


def refused(config, quick):
    """Return what is said about fields of the training that are not valid."""
    right = {"steps": 3, "quick_steps": 1, "batch": 4, "learning_rate": 0.1}
    wrong = [
        {"schedule": "step"},
        {"warm_up_steps": -1},
        {"clip_norm": 0},
        {"clip_norm": "1"},
        {"validate_every": 1.5},
        {"patience": 2},
        {"checkpoint_every": True},
        {"checkpoint_parts": -1},
        {"micro_batches": 0},
        {"tensorboard": "yes"},
        {"precision": "float8"},
        {"learning_rate": -0.1},
        {"steps": None},
    ]
    said = []
    for fields in wrong:
        try:
            common._fill(common.Train, right | fields, "config.json: train")
            said.append("")
        except ValueError as error:
            said.append(str(error))
    return said
