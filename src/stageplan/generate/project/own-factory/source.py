"""Makes the network by a function of your own; its files are in the folder `own`, if it has some."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

FOLDER = Path(__file__).with_name("own")


def make(task: str, source: Mapping[str, Any]) -> nn.Module:
    """Call the function; its tensors are made on the processor, as it may need their numbers.

    Raises
    ------
    ValueError
        There is no such function, or it fails, or what it returns is no network.
    """
    name, arguments = source["factory"], source.get("arguments", {})
    function = _function(name)
    try:
        with torch.device("cpu"):
            module = function(**arguments)
    except Exception as error:  # of any class, by what the function does
        kind = type(error).__name__
        raise ValueError(f"factory is {name!r}, which fails with {arguments}: {kind}: {error}") from error
    if not isinstance(module, nn.Module):
        kind = type(module).__name__
        raise ValueError(f"factory is {name!r}, which returns {kind}; it must return a torch.nn.Module")
    module = module.float()
    if torch.get_default_device().type == "meta":
        _forget_numbers(module)
    return module


def _forget_numbers(module: nn.Module) -> None:
    """Move the tensors of a module to the meta device; shared ones stay shared, other than with `to`."""
    made: dict[Tensor, Tensor] = {}
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, tensor in tensors.items():
                if tensor is None:
                    continue
                empty = tensor.detach().to("meta")
                if isinstance(tensor, nn.Parameter):
                    empty = nn.Parameter(empty, tensor.requires_grad)
                tensors[name] = made.setdefault(tensor, empty)  # type: ignore[assignment]


def _function(name: str) -> Callable[..., Any]:
    path, _, attribute = name.partition(":")
    if FOLDER.is_dir() and str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    try:
        function: object = getattr(import_module(path), attribute, None)
    except Exception as error:  # of any class, by what the module does
        raise ValueError(f"factory is {name!r}; {path} cannot be imported: {error}") from error
    if not callable(function):
        raise ValueError(f"factory is {name!r}; {path} has no function {attribute!r}")
    return function


def call(module: nn.Module, task: str, inputs: tuple[Tensor, ...]) -> Any:
    """Run the network on inputs: tokens, images, or numbers and categories."""
    return module(*inputs)
