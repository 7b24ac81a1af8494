"""Layers of the network, for a planner and for stages: its blocks."""

from __future__ import annotations

import loading

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

import data
from blocks import divide
from common import Config, build, run
from sequence import Sequence


def layer_names(config: Config) -> list[str]:
    """Return the names of the layers in order."""
    inputs, _ = data.batch(config, "training", 0, 2)
    return [name for name, _ in build_layers(config, inputs, "meta")]


def build_layers(
    config: Config, inputs: tuple[Tensor, ...], device: str | None = None
) -> list[tuple[str, nn.Module]]:
    """Build all layers in order; each takes the outputs of the one before, the first one the inputs.

    They take examples as many as those given, and run in the mode of the training. On the device ``"meta"``
    they only give the shapes of their outputs: operations may make tensors on a device of their own.

    Raises
    ------
    ValueError
        The network cannot be divided.
    """
    module = build(config).train(not config.train.exact)
    layers = divide(module, tuple(tensor.to(config.device) for tensor in inputs))
    return [(name, Shapes(layer)) for name, layer in layers] if device == "meta" else layers


class Shapes(nn.Module):
    """A layer without numbers."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.leaving: Any = layer.leaving

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs on the meta device."""
        return tuple(torch.empty(one.shape, dtype=one.dtype, device="meta") for one in self.leaving)


def build_stage(config: Config, names: tuple[str, ...], inputs: tuple[Tensor, ...]) -> nn.Module:
    """Build the stage of the layers with the given names; its children are these layers."""
    return Sequence(OrderedDict((n, layer) for n, layer in build_layers(config, inputs) if n in names))


def tensors_of(stage: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a stage, by the names that they have in the network."""
    found: dict[str, Tensor] = {}
    for layer in stage.children():
        held: Mapping[str, Tensor] = layer.state_names  # type: ignore[assignment]
        known = {id(tensor) for tensor in found.values()}
        found |= {name: tensor for name, tensor in held.items() if id(tensor) not in known}
    return found


def division(config: Config, quick: bool) -> dict[str, float]:
    """Count the layers."""
    return {"layers": len(layer_names(config))}


if __name__ == "__main__":
    run("division", division)
