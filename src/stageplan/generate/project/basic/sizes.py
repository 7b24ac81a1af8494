"""Estimates the memory that training needs and that the device has, without allocating the network."""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from common import Config, as_tuple, build, run
from train import training_batch

TRAINED = 4  # tensors of the size of a parameter: itself, its gradient, and two averages of the optimizer


def sizes(config: Config, quick: bool) -> dict[str, float]:
    """Count parameters and bytes on the meta device, which allocates nothing."""
    module = build(config, device="meta")
    weights = sum(_bytes(parameter) for parameter in module.parameters())
    return {
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "training_bytes": TRAINED * weights + _activation_bytes(config, module),
        "device_bytes": _device_bytes(config),
    }


def _activation_bytes(config: Config, module: nn.Module) -> int:
    """Bytes of the activations of a part of a batch, which are kept for the backward pass."""
    passed: list[int] = []
    for part in module.modules():
        if not list(part.children()):
            part.register_forward_hook(lambda *seen: passed.extend(map(_bytes, as_tuple(seen[-1]))))
    inputs, _ = training_batch(config, 0)
    module(*(tensor.to("meta") for tensor in inputs))
    return sum(passed) // config.train.micro_batches


def _device_bytes(config: Config) -> int:
    if config.device == "cuda":
        return torch.cuda.get_device_properties(0).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


if __name__ == "__main__":
    run("sizes", sizes)
