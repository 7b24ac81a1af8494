"""A network of your own: what `source.py` makes, with the task's inputs and outputs; loss and answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

import source


@dataclass(frozen=True)
class Model:
    """What `source.py` needs to make the network, the task, and the sizes of examples.

    `tokens`, `vocabulary` and the token `padding` are of texts; `channels`, `rows` and `columns` of images;
    `numbers` and `categories` of rows, with `vocabulary` values each; `classes` of texts and images.
    """

    task: str
    source: dict[str, Any] = field(default_factory=dict)
    tokens: int = 0
    vocabulary: int = 0
    padding: int = 0
    channels: int = 0
    rows: int = 0
    columns: int = 0
    numbers: int = 0
    categories: int = 0
    classes: int = 0


class Network(nn.Module):
    """The network as the other files use it: from the inputs of examples to one tensor of scores."""

    def __init__(self, task: str, module: nn.Module) -> None:
        super().__init__()
        self.task, self.module = task, module

    def forward(self, *inputs: Tensor) -> Tensor:
        """From the inputs to scores: of tokens and classes in the last dimension, of clicks one for each."""
        outputs = source.call(self.module, self.task, inputs)
        outputs = getattr(outputs, "logits", outputs)
        if not isinstance(outputs, Tensor):
            raise ValueError(f"it returns {type(outputs).__name__}; it must return a tensor, or have logits")
        return outputs.flatten() if self.task == "click-through-rate" else outputs


def build(model: Model, seed: int) -> nn.Module:
    """Build the network with initial weights: those that it comes with, or random ones."""
    torch.manual_seed(seed)
    return Network(model.task, source.make(model.task, model.source))


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy in nats, of tokens, classes or clicks."""
    if targets.is_floating_point():
        return binary_cross_entropy_with_logits(outputs, targets)
    return cross_entropy(outputs.flatten(0, -2), targets.flatten())


def answer(predict: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Return the most likely class, the most likely next token, or the chance of a click."""
    outputs = predict(*inputs)
    if outputs.dim() == 1:
        return outputs.sigmoid()
    return (outputs[:, -1] if outputs.dim() == 3 else outputs).argmax(-1)
