"""Networks that are layers in order: built as a whole, or the layers of a stage."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Sequence(nn.Sequential):
    """Named layers in order, of the network or of a stage; some have more than one output."""

    def forward(self, *inputs: Tensor) -> Any:
        """Run the layers one after the other."""
        for layer in self:
            outputs = layer(*inputs)
            inputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return outputs


def build_sequence(
    layers: Iterable[tuple[str, Callable[[], nn.Module]]],
    ties: Iterable[tuple[str, str]],
    seed: int,
    names: tuple[str, ...] | None = None,
) -> Sequence:
    """Build the network, or the stage of the layers with the given names, with initial weights.

    Every layer draws its weights from a seed of its own, so that a stage starts as the network does.

    Parameters
    ----------
    layers : iterable of (str, callable)
        Names in order, each with a function that builds the layer.
    ties : iterable of (str, str)
        Shared parameters: the owner's name, and the name of its second use.
    seed : int
        Seed of the network.
    names : tuple of str, optional
        Layers of a stage; default: all.
    """
    makers = dict(layers)

    def make(name: str) -> nn.Module:
        torch.manual_seed(_seed_of_layer(seed, name))
        return makers[name]()

    chosen = OrderedDict((name, make(name)) for name in makers if names is None or name in names)
    stage = Sequence(chosen)
    for owner, sharer in ties:
        layer, parameter = owner.split(".", 1)
        if sharer.split(".")[0] in chosen:
            first = chosen[layer] if layer in chosen else make(layer)
            _set_parameter(stage, sharer, first.get_parameter(parameter))
    return stage


def _set_parameter(module: nn.Module, path: str, parameter: nn.Parameter) -> None:
    parent, name = path.rsplit(".", 1)
    setattr(module.get_submodule(parent), name, parameter)


def _seed_of_layer(seed: int, name: str) -> int:
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
