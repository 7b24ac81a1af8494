"""Twins of torch modules: copies on the meta device, where tensors have no values, and need no memory."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..errors import InputError
from ..fields import first_line, show
from .tensors import tensors_in, to_meta


def check_parts(module: nn.Module) -> None:
    """Raise ValueError where a module has parts that are scripted, or that have no size yet."""
    for path, part in module.named_modules():
        where = f"module {show(path)}" if path else "it"
        if isinstance(part, torch.jit.ScriptModule):
            raise InputError(
                f"model cannot be read: {where} is scripted or traced, and hides its parts; "
                f"the module that it was made from must be given"
            )
        if any(map(is_lazy, chain(part._parameters.values(), part._buffers.values()))):
            raise InputError(
                f"model cannot be read: {where} has parameters of unknown size; "
                f"it must run once before it is profiled"
            )


def make_twin(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Copy a module without its values, onto the meta device.

    Raises
    ------
    ValueError
        It has attributes that cannot be copied.
    """
    memo: dict[int, Any] = {}
    try:
        held = {id(value): value for part in module.modules() for value in vars(part).values()}
        for tensor in tensors_in(list(held.values())):  # parameters and buffers too
            memo[id(tensor)] = _empty(tensor, dtype)
        return copy.deepcopy(module, memo)
    except Exception as error:  # whatever an attribute does
        raise InputError(f"model cannot be copied{_culprit(module, memo)}: {first_line(error)}") from error


def _culprit(module: nn.Module, memo: Mapping[int, Any]) -> str:
    """Name the attribute that keeps a module from being copied, if it is a single one."""
    for path, part in module.named_modules():
        for name, value in vars(part).items():
            if name.startswith("_") and name in vars(nn.Module()):
                continue
            try:
                copy.deepcopy(value, dict(memo))
            except Exception:
                return f" with attribute {show(f'{path}.{name}' if path else name)}, which must be left out"
    return ""


def _empty(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    with torch.no_grad():
        twin = to_meta(tensor.detach(), dtype)
    return nn.Parameter(twin, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else twin
