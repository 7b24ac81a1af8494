"""Makes the network by timm, by its name, with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
from torch import Tensor, nn


def make(task: str, source: Mapping[str, Any]) -> nn.Module:
    """Build the network.

    Raises
    ------
    ValueError
        timm has no network of this name.
    """
    try:
        module: nn.Module = timm.create_model(source["timm"], pretrained=False, **source["arguments"])
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"timm is {source['timm']!r}: {error}") from None
    return module


def call(module: nn.Module, task: str, inputs: tuple[Tensor, ...]) -> Any:
    """Run the network on images."""
    return module(*inputs)
