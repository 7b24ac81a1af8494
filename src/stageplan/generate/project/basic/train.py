"""Trains the network and writes its weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import data
from common import ARTEFACTS, Batch, Config, build, forward, load_tensors, run, save_weights, whole
from first_inference import check_speed

CHECKPOINT = ARTEFACTS / "checkpoint.safetensors"
WARM_UP = 10  # steps
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
        Kept every `train.checkpoint_every` steps; where it is there, training goes on from it.

    Returns
    -------
    list of float
        The loss before each step.
    """
    optimizer = make_optimizer(config, module)
    losses = [] if checkpoint is None else load_checkpoint(module, optimizer, checkpoint)
    for step in range(len(losses), steps):
        warm_up(config, optimizer, step)
        losses.append(train_step(config, module, optimizer, training_batch(config, step)))
        if checkpoint is not None and (step + 1) % config.train.checkpoint_every == 0:
            save_checkpoint(module, optimizer, losses, checkpoint)
    return losses


def make_optimizer(config: Config, module: nn.Module) -> torch.optim.Optimizer:
    """Make the optimizer of a network, or of a stage of it."""
    return torch.optim.AdamW(
        module.parameters(),
        lr=config.train.learning_rate,
        weight_decay=config.train.weight_decay,
        eps=EPSILON,
    )


def warm_up(config: Config, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Set the learning rate of a step, with a warm-up at the beginning."""
    for group in optimizer.param_groups:
        group["lr"] = config.train.learning_rate * min(1.0, (step + 1) / WARM_UP)


def training_batch(config: Config, step: int) -> Batch:
    """Return the examples of a step."""
    return data.batch(config, "training", step, config.train.batch)


def train_step(config: Config, module: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> float:
    """Update the weights once, with gradients accumulated over parts of the batch; return the loss before."""
    optimizer.zero_grad()
    loss = 0.0
    for part in split(batch, config.train.micro_batches):
        part_loss = forward(config, module, part) / config.train.micro_batches
        part_loss.backward()
        loss += part_loss.item()
    optimizer.step()
    return loss


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


# Checkpoints hold everything the next step depends on; the examples of a step depend only on its number.


def save_checkpoint(
    module: nn.Module, optimizer: torch.optim.Optimizer, losses: list[float], path: Path
) -> None:
    """Write the weights, the state of the optimizer and the losses so far."""
    tensors = {f"weights/{name}": parameter.detach() for name, parameter in module.named_parameters()}
    for name, parameter in module.named_parameters():
        for key, value in optimizer.state[parameter].items():
            tensors[f"{key}/{name}"] = value
    tensors["losses"] = torch.tensor(losses, dtype=torch.float64)
    with whole(path) as beside:
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, beside)


def load_checkpoint(module: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> list[float]:
    """Restore a checkpoint, if there is one, and return the losses up to it."""
    if not path.exists():
        return []
    tensors = load_tensors(path)
    for name, parameter in module.named_parameters():
        parameter.data.copy_(tensors[f"weights/{name}"])
        optimizer.state[parameter] = _state_of(parameter, tensors, name)
    return [float(loss) for loss in tensors["losses"]]


def _state_of(parameter: nn.Parameter, tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    keys = (key.removesuffix(f"/{name}") for key in tensors if key.endswith(f"/{name}"))
    return {
        key: tensors[f"{key}/{name}"].to(parameter.device if key != "step" else "cpu")
        for key in keys
        if key != "weights"
    }


# The command --------------------------------------------------------------------------------------------


def train_and_save(config: Config, quick: bool) -> dict[str, float]:
    """Train from the start, and write the weights."""
    module = build(config)
    check_speed(config, module)
    steps = config.train.quick_steps if quick else config.train.steps
    losses = train(config, module, steps, CHECKPOINT if config.train.checkpoint_every else None)
    save_weights(module)
    CHECKPOINT.unlink(missing_ok=True)  # no longer needed: the next training starts from the beginning
    end = losses[-max(5, len(losses) // 10) :]  # the mean of several, since batches differ in difficulty
    first, last = losses[0], sum(end) / len(end)
    return {"steps": len(losses), "first_loss": first, "last_loss": last, "loss_fall": 1 - last / first}


if __name__ == "__main__":
    run("train", train_and_save)
