"""Networks of any kind, told by what they are called: modules, configurations, ONNX files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..fields import show
from .network import Network, Options

if TYPE_CHECKING:
    import torch

    from .modules import Loaded

HUGGING_FACE = "hf:"


def read_model(
    model: torch.nn.Module | str | os.PathLike[str], example: Any, options: Options, *, measured: bool
) -> Network:
    """Read a network.

    Parameters
    ----------
    model, example
        As of `stageplan.profile`.
    options
        How.
    measured
        Whether it has to run, and so to have values.

    Raises
    ------
    ImportError
        A library is needed and not installed.
    OSError
        A file cannot be read.
    TypeError, ValueError
        The model or an option is not as it has to be.
    """
    name = os.fspath(model) if isinstance(model, (str, os.PathLike)) else None
    if name is None or not name.endswith(".onnx"):
        loaded = load(model, example, options, measured=measured)
        from . import modules

        return modules.read(loaded, options, measured)
    if example is not None:
        raise ValueError(f"example is given, but model is {show(name)}; an example goes with a module")
    with _needs("onnx"):
        from . import onnx_file
    return onnx_file.read(Path(name), options)


def load(
    model: torch.nn.Module | str | os.PathLike[str], example: Any, options: Options, *, measured: bool
) -> Loaded:
    """Make the module of a network, and what it is called with; as `read_model`, but for ONNX files."""
    with _needs("torch"):
        from . import modules
    if not isinstance(model, (str, os.PathLike)):
        return modules.given(model, example, options)
    name = os.fspath(model)
    if example is not None:
        raise ValueError(f"example is given, but model is {show(name)}; an example goes with a module")
    if not name.startswith(HUGGING_FACE):
        return modules.made(name, options)
    with _needs("transformers"):
        from . import huggingface
    return huggingface.load(name.removeprefix(HUGGING_FACE), options, measured)


@contextmanager
def _needs(extra: str) -> Iterator[None]:
    """Say which extra to install where a library is absent."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ImportError(
            f'{error.name} is needed to read this model; pip install "stageplan[{extra}]" installs it'
        ) from error
