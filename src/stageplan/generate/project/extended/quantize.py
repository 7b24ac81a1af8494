"""Quantises the trained weights to 8-bit integers, a quarter of the size, and measures the loss of quality.

Each row of a weight has a scale of its own, which makes its largest number 127. Rows are scaled back whenever
they are used, so it is memory that this saves, not time. Weights of one dimension stay as they are.
"""

from __future__ import annotations

import loading

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from common import ARTEFACTS, WEIGHTS, Config, build, load_tensors, load_weights, run, whole
from evaluate import measure_network, quality_loss

QUANTIZED = ARTEFACTS / "model-int8.safetensors"
LARGEST = 127


class Rows(nn.Module):
    """A weight as 8-bit integers and a scale for each row."""

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Quantise."""
        largest = weight.abs().amax(tuple(range(1, weight.dim())), keepdim=True)
        scale = largest.clamp_min(torch.finfo(weight.dtype).tiny) / LARGEST
        return (weight / scale).round().to(torch.int8), scale

    def forward(self, numbers: Tensor, scale: Tensor) -> Tensor:
        """Scale back."""
        return numbers * scale


def quantized(module: nn.Module) -> nn.Module:
    """Quantise all weights of two or more dimensions; for inference only."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    for layer in list(module.modules()):
        for name, parameter in list(layer.named_parameters(recurse=False)):
            if parameter.dim() > 1:
                parametrize.register_parametrization(layer, name, Rows())
    return module.eval()


def load_quantized(config: Config, path: Path = QUANTIZED) -> nn.Module:
    """Build the network with the quantised weights of a file."""
    module = quantized(build(config))
    module.load_state_dict(load_tensors(path))
    return module


def quantize(config: Config, quick: bool) -> dict[str, float]:
    """Quantise the trained network, write it, read it back and measure it."""
    trained = load_weights(config)
    before = measure_network(config, trained)
    state = {name: tensor.cpu().contiguous() for name, tensor in quantized(trained).state_dict().items()}
    with whole(QUANTIZED) as beside:
        save_file(state, beside)
    numbers = measure_network(config, load_quantized(config))
    sizes = QUANTIZED.stat().st_size / WEIGHTS.stat().st_size
    return numbers | {"quality_loss": quality_loss(config, before, numbers), "size": sizes}


if __name__ == "__main__":
    run("quantize", quantize)
