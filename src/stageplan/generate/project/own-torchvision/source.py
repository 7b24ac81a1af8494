"""Makes the network by torchvision, by its name, with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torchvision
from torch import Tensor, nn


def make(task: str, source: Mapping[str, Any]) -> nn.Module:
    """Build the network.

    Raises
    ------
    ValueError
        torchvision has no network of this name.
    """
    try:
        module: nn.Module = torchvision.models.get_model(
            source["torchvision"], weights=None, **source["arguments"]
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"torchvision is {source['torchvision']!r}: {error}") from None
    return module


def call(module: nn.Module, task: str, inputs: tuple[Tensor, ...]) -> Any:
    """Run the network on images."""
    return module(*inputs)
