"""Exports the trained network with weights in bfloat16, half the size, and measures the loss of quality."""

from __future__ import annotations

import loading

import torch
from torch import Tensor, nn

from common import Config, load_weights, run
from variants import export_variant


class Half(nn.Module):
    """The network with weights, inputs and everything between in bfloat16, and outputs in float32."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module.to(torch.bfloat16)

    def forward(self, *inputs: Tensor) -> Tensor:
        """From inputs to outputs."""
        return self.module(*(_half(tensor) for tensor in inputs)).float()


def _half(tensor: Tensor) -> Tensor:
    return tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor


def bfloat16(config: Config, quick: bool) -> dict[str, float]:
    """Export, read back and measure."""
    return export_variant(config, "bfloat16", Half(load_weights(config)))


if __name__ == "__main__":
    run("bfloat16", bfloat16)
