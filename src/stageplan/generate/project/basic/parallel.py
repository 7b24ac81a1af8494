"""Several processes that train together, as ``torchrun`` starts them; a single one exchanges nothing.

Each computes its share of the examples of a step. The gradients are averaged over the processes, and the mean
of their losses is that of all examples.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from common import IS_FIRST, Config

__all__ = ["COUNT", "IS_FIRST", "exchanging", "mean", "mine", "of_first", "shared", "together"]

COUNT = int(os.environ.get("WORLD_SIZE", "1"))
RANK = int(os.environ.get("RANK", "0"))

T = TypeVar("T")


@contextmanager
def together(config: Config) -> Iterator[None]:
    """Connect the processes, if there are several."""
    if COUNT == 1:
        yield
        return
    backend = "gloo"
    if config.device == "cuda":
        local, devices = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        torch.cuda.set_device(local % devices)
        backend = "nccl" if int(os.environ.get("LOCAL_WORLD_SIZE", "1")) <= devices else "gloo"
    dist.init_process_group(backend)
    try:
        yield
    finally:
        dist.destroy_process_group()


def shared(module: nn.Module) -> nn.Module:
    """Return the network whose gradients are averaged over all processes."""
    return module if COUNT == 1 else DistributedDataParallel(module)


def exchanging(module: nn.Module, now: bool) -> AbstractContextManager[None]:
    """Average the gradients of a backward pass over all processes now, or with those of a later one."""
    return nullcontext() if now or COUNT == 1 else module.no_sync()  # type: ignore[operator]


def mine(parts: Sequence[T]) -> Sequence[T]:
    """Return the share of this process of the parts of something."""
    share = len(parts) // COUNT
    return parts[RANK * share : (RANK + 1) * share]


def mean(value: float) -> float:
    """Mean of a number over all processes."""
    if COUNT == 1:
        return value
    number = _tensor(value)
    dist.all_reduce(number)
    return number.item() / COUNT


def of_first(value: float) -> float:
    """Return the number of the first process."""
    if COUNT == 1:
        return value
    number = _tensor(value)
    dist.broadcast(number, 0)
    return number.item()


def _tensor(value: float) -> torch.Tensor:
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    return torch.tensor(value, dtype=torch.float64, device=device)
