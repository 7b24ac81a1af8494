"""Layers of the network, for a planner and for stages: those that it is written in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import network
from common import Config, build
from sequence import build_sequence


def layer_names(config: Config) -> list[str]:
    """Return the names of the layers in order."""
    return [name for name, _ in network.layers(config.model)]


def build_layers(
    config: Config, inputs: tuple[Tensor, ...], device: str | None = None
) -> list[tuple[str, nn.Module]]:
    """Build all layers in order; each takes the outputs of the one before, the first one the inputs."""
    return list(build(config, device).named_children())


def build_stage(config: Config, names: tuple[str, ...], inputs: tuple[Tensor, ...]) -> nn.Module:
    """Build the stage of the layers with the given names; its children are these layers."""
    with torch.device("cpu"):
        stage = build_sequence(network.layers(config.model), network.TIES, config.seed, names)
    return stage.to(config.device)


def tensors_of(stage: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a stage, by the names that they have in the network."""
    return dict(stage.named_parameters())
