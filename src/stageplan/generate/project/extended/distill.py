"""Trains a smaller network to give the outputs of the trained one, exports it, and measures its quality."""

from __future__ import annotations

import loading

from dataclasses import fields, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, kl_div

import network
from common import Batch, Config, build, in_precision, load_weights, on_device, run, settings
from export import Service
from train import make_optimizer, set_learning_rate, training_batch
from variants import export_variant, parameters_of


def distill(config: Config, quick: bool) -> dict[str, float]:
    """Train the student as long as the teacher was trained, and export it."""
    teacher = load_weights(config).eval()
    small = replace(config, model=student_of(config))
    student = begun(build(small), teacher)
    losses = teach(small, student, teacher, config.train.quick_steps if quick else config.train.steps)
    numbers = export_variant(config, "distilled", Service(config, student))
    share = parameters_of(student) / parameters_of(teacher)
    return numbers | {"last_loss": losses[-1], "parameters": share}


def student_of(config: Config) -> network.Model:
    """Return the sizes of the student: as asked for, else half the layers; of a single one, half the width.

    Raises
    ------
    ValueError
        The network has no such sizes, or its heads do not divide the width.
    """
    model, asked = config.model, settings("distill")
    known = {field.name for field in fields(model)}
    if not {"layers", "width"} <= known:
        raise ValueError("network.Model has no layers and width; distill.py makes a student by these")
    layers, width, unit = model.layers, model.width, getattr(model, "heads", getattr(network, "GROUPS", 1))
    narrower = max(unit, width // 2 // unit * unit) if layers == 1 else width
    chosen = {"layers": asked["layers"] or max(1, layers // 2), "width": asked["width"] or narrower}
    if chosen["width"] % unit:
        raise ValueError(f"width of the student is {chosen['width']}; it must be a multiple of {unit}")
    return replace(model, **chosen)


def begun(student: nn.Module, teacher: nn.Module) -> nn.Module:
    """Let the student begin with the teacher's weights of the same names and shapes."""
    state, known = student.state_dict(), teacher.state_dict()
    shared = [name for name in state if name in known and known[name].shape == state[name].shape]
    student.load_state_dict(state | {name: known[name] for name in shared})
    return student


def teach(config: Config, student: nn.Module, teacher: nn.Module, steps: int) -> list[float]:
    """Train the student on the targets and on the teacher's outputs, both alike; return the losses."""
    optimizer, losses = make_optimizer(config, student), []
    for step in range(steps):
        set_learning_rate(config, optimizer, step, steps)
        student.train()
        optimizer.zero_grad()
        loss = _loss(config, student, teacher, on_device(config, training_batch(config, step)))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def _loss(config: Config, student: nn.Module, teacher: nn.Module, batch: Batch) -> Tensor:
    inputs, targets = batch
    with in_precision(config):
        with torch.no_grad():
            wanted = teacher(*inputs).float()
        outputs = student(*inputs).float()
    return (network.loss(outputs, targets) + _distance(config, outputs, wanted)) / 2


def _distance(config: Config, outputs: Tensor, wanted: Tensor) -> Tensor:
    """How far the student's chances are from the teacher's, both softened by the temperature."""
    heat = settings("distill")["temperature"]
    if config.task == "click-through-rate":
        return heat**2 * binary_cross_entropy_with_logits(outputs / heat, (wanted / heat).sigmoid())
    chances, soft = ((scores / heat).flatten(0, -2).log_softmax(-1) for scores in (wanted, outputs))
    return heat**2 * kl_div(soft, chances, reduction="batchmean", log_target=True)


if __name__ == "__main__":
    run("distill", distill)
