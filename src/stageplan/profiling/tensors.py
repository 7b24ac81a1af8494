"""Tensors in values of any kind: arguments and outputs of modules."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Tensors in a value and in the lists, tuples, tables and dataclasses in it."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    elif _is_record(value):
        for field in fields(value):
            yield from tensors_in(getattr(value, field.name, None))


def to_meta(value: Any, dtype: torch.dtype) -> Any:
    """Put the tensors in a value on the meta device, floating-point ones in `dtype`."""

    def move(tensor: Tensor) -> Tensor:
        return torch.empty_like(tensor, device="meta", dtype=dtype if tensor.is_floating_point() else None)

    return map_tensors(value, move)


def map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Change the tensors in a value and in copies of the lists, tuples, tables and dataclasses in it."""
    if isinstance(value, Tensor):
        return function(value)
    if next(tensors_in(value), None) is None:
        return value
    if isinstance(value, (list, tuple)):
        items = [map_tensors(item, function) for item in value]
        return value._make(items) if hasattr(value, "_make") else type(value)(items)
    made = copy.copy(value)
    if isinstance(value, Mapping):
        for key, item in value.items():
            made[key] = map_tensors(item, function)
        return made
    for field in fields(value):
        if hasattr(value, field.name):  # object's own __setattr__: the dataclass may be frozen
            object.__setattr__(made, field.name, map_tensors(getattr(value, field.name), function))
    return made


def _is_record(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, type)


def on_device_of(module: nn.Module, value: Any) -> Any:
    """Put the tensors in a value where a module's weights are, floating-point ones in their precision."""
    weight = next(module.parameters(), torch.empty(0))

    def move(tensor: Tensor) -> Tensor:
        return tensor.to(weight.device, weight.dtype if tensor.is_floating_point() else tensor.dtype)

    return map_tensors(value, move)


def stored_in(value: Any) -> list[Tensor]:
    """Tensors in a value; of a sparse one, as gradients of embeddings may be, the parts that are stored."""
    stored: list[Tensor] = []
    for tensor in tensors_in(value):
        if tensor.layout is torch.sparse_coo:
            stored += (tensor._indices(), tensor._values())
        else:
            stored.append(tensor)
    return stored
