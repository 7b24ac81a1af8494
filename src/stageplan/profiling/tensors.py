"""Tensors in values of any kind: arguments and outputs of modules."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

PLAIN = {type(None), bool, int, float, str, torch.dtype, torch.device}  # most values: the fastest check


def tensors_in(value: Any) -> list[Tensor]:
    """List the tensors in a value and in the lists, tuples, tables and dataclasses in it."""
    found: list[Tensor] = []
    _find(value, found)
    return found


def _find(value: Any, found: list[Tensor]) -> None:
    if isinstance(value, Tensor):
        found.append(value)
    elif type(value) in PLAIN:
        return
    elif isinstance(value, (list, tuple)):
        for item in value:
            _find(item, found)
    elif isinstance(value, (dict, Mapping)):
        for item in value.values():
            _find(item, found)
    elif is_dataclass(value) and not isinstance(value, type):
        for item in _fields(value).values():
            _find(item, found)


def to_meta(value: Any, dtype: torch.dtype) -> Any:
    """Put the tensors in a value on the meta device, floating-point ones in `dtype`."""

    def move(tensor: Tensor) -> Tensor:
        return torch.empty_like(tensor, device="meta", dtype=dtype if tensor.is_floating_point() else None)

    return map_tensors(value, move)


def map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Change the tensors in a value and in copies of the lists, tuples, tables and dataclasses in it."""
    if isinstance(value, Tensor):
        return function(value)
    if not tensors_in(value):
        return value
    if isinstance(value, (list, tuple)):
        items = [map_tensors(item, function) for item in value]
        return value._make(items) if hasattr(value, "_make") else type(value)(items)
    made = copy.copy(value)
    if isinstance(value, Mapping):
        for key, item in value.items():
            made[key] = map_tensors(item, function)
        return made
    for name, item in _fields(value).items():
        object.__setattr__(made, name, map_tensors(item, function))  # the dataclass may be frozen
    return made


def _fields(value: Any) -> dict[str, Any]:
    """Fields of a dataclass that have values; read without its own attribute access, which may raise."""
    found = {}
    for field in fields(value):
        with suppress(AttributeError):
            found[field.name] = object.__getattribute__(value, field.name)
    return found


def on_device_of(module: nn.Module, value: Any) -> Any:
    """Put the tensors in a value where a module's weights are, floating-point ones in their precision."""
    weight = next(module.parameters(), torch.empty(0))

    def move(tensor: Tensor) -> Tensor:
        return tensor.to(weight.device, weight.dtype if tensor.is_floating_point() else tensor.dtype)

    return map_tensors(value, move)


def stored_in(value: Any) -> list[Tensor]:
    """List the tensors in a value; of a sparse one, as gradients may be, the parts that are stored."""
    tensors = tensors_in(value)
    if not any(tensor.is_sparse for tensor in tensors):
        return tensors
    parts = ([t._indices(), t._values()] if t.is_sparse else [t] for t in tensors)
    return list(chain.from_iterable(parts))
