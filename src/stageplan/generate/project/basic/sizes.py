"""Predicts the memory that training and inference need, and gives that of the device, without allocating it.

Both run once with tensors that have shapes and no content. Main memory includes what PyTorch and this code
occupy themselves, as a limit of the system does.
"""

from __future__ import annotations

from loading import loading

import os
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import data
from common import Config, build, forward, in_precision, peak_memory, run
from train import split, training_batch

STATES = 2  # averages that the optimizer keeps of each gradient
UPDATE = 2  # tensors of the size of a parameter that the optimizer makes while it updates it


def sizes(config: Config, quick: bool) -> dict[str, float]:
    """Count the bytes of the largest step of a training, and of a request."""
    batch = training_batch(config, 0)
    parts = split(batch, config.train.micro_batches)[:2]  # the second adds to the gradients of the first
    requested, _ = data.batch(config, "evaluation", 0, config.infer.batch)
    with loading():  # which may load PyTorch's compiler, as the first optimizer does
        module = build(config, device="meta")
    with FakeTensorMode(allow_non_fake_inputs=True):
        without_content(module)
        inferring = most_bytes(module, lambda: _infer(config, module, requested))
        training = most_bytes(module, lambda: [forward(config, module, part).backward() for part in parts])
    parameters = [parameter.nbytes for parameter in module.parameters()]
    updating = sum(parameters) + UPDATE * max(parameters)  # the gradients, and the update of one parameter
    kept = (1 + STATES) * sum(parameters) + sum(tensor.nbytes for tensor in (*batch[0], batch[1]))
    # This process has loaded everything and computed nothing. What a driver occupies on a GPU is not known.
    framework = peak_memory() if config.device == "cpu" else 0
    return {
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "framework_bytes": framework,
        "training_bytes": framework + kept + max(training, updating),
        "inference_bytes": framework + sum(parameters) + inferring,
        "device_bytes": _device_bytes(config),
    }


def without_content(module: nn.Module) -> None:
    """Replace all tensors of a module by such as the current mode makes for the processor."""
    made: dict[Tensor, Tensor] = {}  # shared ones stay shared
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = made.setdefault(tensor, _like(tensor))  # type: ignore[assignment]


def _like(tensor: Tensor) -> Tensor:
    empty = torch.empty(tensor.shape, dtype=tensor.dtype)
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def _infer(config: Config, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    with torch.no_grad(), in_precision(config):
        module(*inputs)


def most_bytes(module: nn.Module, work: Callable[[], object]) -> int:
    """Return the most bytes that tensors occupy at a time during some work, without those of the module."""
    live = _Live(tensor for tensors in (module.parameters(), module.buffers()) for tensor in tensors)
    with live:
        work()
    return live.most


class _Live(TorchDispatchMode):
    """Counts the bytes of the tensors that were made and are still referenced."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self.now = self.most = 0
        self.seen = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        outputs = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(outputs):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return outputs

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self.seen:
            self.seen.add(storage._cdata)
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._remove, storage._cdata, storage.nbytes())

    def _remove(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.now -= size


def _device_bytes(config: Config) -> int:
    if config.device == "cuda":
        return torch.cuda.get_device_properties(0).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


if __name__ == "__main__":
    run("sizes", sizes)
