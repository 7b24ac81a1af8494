"""Checkpoints: all that the next step depends on. The examples of a step depend only on its number."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor

from common import load_tensors, whole

if TYPE_CHECKING:
    from train import Trainer


def save_checkpoint(trainer: Trainer, path: Path) -> None:
    """Write weights, the states of optimizer and scaler, and progress; inside of a step gradients too."""
    module, progress = trainer.module, trainer.progress
    tensors = {f"buffers/{name}": buffer for name, buffer in module.named_buffers()}
    for name, parameter in module.named_parameters():
        tensors[f"weights/{name}"] = parameter.detach()
        for key, value in trainer.optimizer.state[parameter].items():
            tensors[f"{key}/{name}"] = value
        if progress.parts and parameter.grad is not None:
            tensors[f"gradients/{name}"] = parameter.grad
    numbers = {"losses": progress.losses, "validations": progress.validations}
    numbers |= {"part": [progress.parts, progress.loss]}
    numbers |= {f"scaler/{name}": [value] for name, value in trainer.scaler.state_dict().items()}
    tensors |= {name: torch.tensor(values, dtype=torch.float64) for name, values in numbers.items()}
    with whole(path) as beside:
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, beside)


def load_checkpoint(trainer: Trainer, path: Path) -> None:
    """Restore a checkpoint.

    Raises
    ------
    OSError, ValueError
        It cannot be read, is damaged, or is of another network, of another precision or of more steps.
    """
    tensors = load_tensors(path)
    try:
        _restore(trainer, tensors)
        if len(trainer.progress.losses) > trainer.steps:
            raise RuntimeError(f"it has {len(trainer.progress.losses)} steps, of {trainer.steps}")
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"{path} is of another training; delete it to start again: {error}") from None


def _restore(trainer: Trainer, tensors: Mapping[str, Tensor]) -> None:
    module, optimizer, progress = trainer.module, trainer.optimizer, trainer.progress
    for name, buffer in module.named_buffers():
        buffer.copy_(tensors[f"buffers/{name}"])
    for name, parameter in module.named_parameters():
        parameter.data.copy_(tensors[f"weights/{name}"])
        of_it = {
            key.removesuffix(f"/{name}"): one for key, one in tensors.items() if key.endswith(f"/{name}")
        }
        gradient = of_it.pop("gradients", None)
        parameter.grad = None if gradient is None else gradient.to(parameter.device)
        optimizer.state[parameter] = {
            key: value.to(parameter.device if key != "step" else "cpu")
            for key, value in of_it.items()
            if key not in ("weights", "buffers")
        }
    state = trainer.scaler.state_dict()
    trainer.scaler.load_state_dict({k: type(v)(tensors[f"scaler/{k}"].item()) for k, v in state.items()})
    progress.losses = tensors["losses"].tolist()
    progress.validations = tensors["validations"].tolist()
    parts, progress.loss = tensors["part"].tolist()
    progress.parts = int(parts)
