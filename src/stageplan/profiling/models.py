"""Networks of any kind, identified by their names: modules, configurations, ONNX files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..fields import show
from .network import Network, Options

if TYPE_CHECKING:
    import torch

    from .modules import Loaded

HUGGING_FACE = "hf:"


def read_model(
    model: torch.nn.Module | str | os.PathLike[str], example: Any, options: Options, *, on: str | None
) -> Network:
    """Read a network.

    Parameters
    ----------
    model, example
        As of `stageplan.profile`.
    options
        How.
    on
        Where it is to run, ``"cpu"`` or ``"cuda"``; None where it is not run, and needs no values.

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
        if options.axes:
            raise InputError("axes is given, but model is not an ONNX file, whose dimensions it sizes")
        loaded = load(model, example, options, on=on)
        from . import modules

        with _quiet(name):
            return modules.read(loaded, options, measured=on is not None)
    if example is not None:
        raise InputError(f"example is given, but model is {show(name)}; an example goes with a module")
    with _needs("onnx"):
        from . import onnx_file
    return onnx_file.read(Path(name), options)


def load(
    model: torch.nn.Module | str | os.PathLike[str], example: Any, options: Options, *, on: str | None
) -> Loaded:
    """Make the module of a network, and its arguments; as `read_model`, without ONNX files.

    A module that is given is not moved, and so must be where it is to run.
    """
    with _needs("torch"):
        from . import modules
    if not isinstance(model, (str, os.PathLike)):
        if options.serves:
            with _needs("transformers"):
                from . import huggingface
            example = huggingface.tokens_for(model, example, options)
        loaded = modules.given(model, example, options)
        if on is not None:
            modules.check_place(loaded.module, on)
        return loaded
    name = os.fspath(model)
    if example is not None:
        raise InputError(f"example is given, but model is {show(name)}; an example goes with a module")
    if not name.startswith(HUGGING_FACE):
        if Path(name).name == "config.json":
            raise InputError(f"model is {show(name)}; a configuration is given as {HUGGING_FACE}{name}")
        return modules.made(name, options, on)
    with _needs("transformers"):
        from . import huggingface
    return huggingface.load(name.removeprefix(HUGGING_FACE), options, on)


def load_that_runs(model: torch.nn.Module | str | os.PathLike[str], example: Any, options: Options) -> Loaded:
    """As `load`, on the processor, with the example that `read_model` takes."""
    loaded = load(model, example, options, on="cpu")
    from . import modules

    return modules.that_runs(loaded, options)


def _quiet(name: str | None) -> AbstractContextManager[None]:
    """Keep transformers from logging, if it made the network."""
    if name is None or not name.startswith(HUGGING_FACE):
        return nullcontext()
    from . import huggingface

    return huggingface.quiet()


@contextmanager
def _needs(extra: str) -> Iterator[None]:
    """Say which extra to install where a library is absent."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ImportError(
            f'{error.name} is needed to read this model; pip install "stageplan[{extra}]" installs it'
        ) from error
