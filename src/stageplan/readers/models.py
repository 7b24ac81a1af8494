"""Networks of any kind, told by how they are named: modules, configurations of transformers, ONNX files."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..fields import show
from .trace import Cut, Trace

if TYPE_CHECKING:
    import torch

    from .torch_times import Times

PREFIX = "hf:"
FORMS = "hf:NAME, package.module:function"

Mode = Literal["train", "inference"]
PRECISIONS = ("fp32", "tf32", "fp16", "bf16")


class Options(NamedTuple):
    """How a network is read, as in `stageplan.profile`."""

    mode: Mode
    precision: str | None
    batch: int | None
    sequence: int | None
    shape: Sequence[int] | None
    layers: Sequence[str] | int | None

    @property
    def train(self) -> bool:
        """Whether there is a backward pass."""
        return self.mode == "train"


class Network(NamedTuple):
    """A network, read; `measure` measures its layers: (repeats, max_spread) -> times."""

    name: str
    trace: Trace
    cuts: list[Cut]
    batch: int
    precision: str
    measure: Callable[[int, float], Times]


class Example(NamedTuple):
    """What a module is called with, and how many examples that is."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    batch: int


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
    if name is not None and name.endswith(".onnx"):
        with needs("onnx"):
            from . import onnx_file
        trace, cuts, batch = onnx_file.read(Path(name), options)
        return Network(Path(name).stem, trace, cuts, batch, options.precision or "fp32", _refuse_onnx)
    with needs("torch"):
        from . import torch_module
    if name is None:
        if not isinstance(model, torch_module.nn.Module):
            raise TypeError(f"model is {show(model)}; it must be a torch module, a path, or {FORMS}")
        return _trace(model, _given(example, options), options, measured)
    if example is not None:
        raise ValueError(f"example is given, but model is {show(name)}; an example goes with a module")
    if name.startswith(PREFIX):
        with needs("transformers"):
            from . import huggingface
        precision = options.precision or "fp32"
        device = str(torch_module.torch.get_default_device()) if measured else "meta"
        module = huggingface.build(name.removeprefix(PREFIX), torch_module.DTYPES[precision], device)
        made = huggingface.example(module, _batch(options), options.sequence, options.shape)
        return _trace(module, _given(made, options), options, measured, name.removeprefix(PREFIX))
    module, example = _call(name)
    return _trace(module, _given(_made_up(example, name, options), options), options, measured, name)


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Say which extra to install where a library is absent."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ImportError(
            f'{error.name} is needed to read this model; pip install "stageplan[{extra}]" installs it'
        ) from error


def _trace(
    module: torch.nn.Module, example: Example, options: Options, measured: bool, name: str | None = None
) -> Network:
    from . import calls, torch_module, torch_times

    own = torch_module.precision_of(module)
    precision = options.precision or own
    if measured and torch_module.DTYPES[precision] != torch_module.DTYPES[own]:
        raise ValueError(f"precision is {show(precision)}, but the module is measured as it is, in {own}")
    traced = torch_module.trace(
        module, example.args, example.kwargs, dtype=torch_module.DTYPES[precision], train=options.train
    )
    if options.layers is None:
        cuts = calls.find_cuts(*traced)
    elif isinstance(options.layers, int):
        cuts = calls.cuts_at_depth(*traced, options.layers)
    else:
        cuts = calls.cuts_at(*traced, options.layers)

    def measure(repeats: int, max_spread: float) -> Times:
        args, kwargs = torch_module.on_device_of(module, (example.args, dict(example.kwargs)))
        return torch_times.measure(
            module,
            args,
            kwargs,
            [cut.name for cut in cuts],
            train=options.train,
            repeats=repeats,
            max_spread=max_spread,
        )

    return Network(name or type(module).__name__, traced.trace, cuts, example.batch, precision, measure)


def _given(example: Any, options: Options) -> Example:
    """What a module is called with, of an example as a user gives it."""
    from .torch_module import Tensor, tensors_in

    if example is None:
        raise ValueError("example is None; it must be what the module is called with, a batch")
    sizes = [len(tensor) for tensor in tensors_in(example) if tensor.dim()]
    batch = options.batch or next(iter(sizes), 1)
    if isinstance(example, Mapping):
        return Example((), example, batch)
    return Example((example,) if isinstance(example, Tensor) else tuple(example), {}, batch)


def _batch(options: Options) -> int:
    """Batch of an example that is made up."""
    if options.shape is None:
        return options.batch or 1
    if options.batch is not None and options.batch != options.shape[0]:
        raise ValueError(f"batch is {options.batch}; it must be the first of shape, {options.shape[0]}, or absent")
    return options.shape[0]


def _made_up(example: Any, name: str, options: Options) -> Any:
    from .torch_module import torch

    if example is not None:
        return example
    if options.shape is not None:
        return torch.rand(tuple(options.shape))
    if options.sequence is not None:
        return torch.zeros((_batch(options), options.sequence), dtype=torch.long)
    raise ValueError(f"shape is None; {show(name)} gives no example, so shape or sequence must be given")


def _call(name: str) -> tuple[torch.nn.Module, Any]:
    """Module, and example if any, that a function gives; it is looked for in the working directory as well."""
    from .torch_module import nn

    package, _, function = name.partition(":")
    if not (function.isidentifier() and all(part.isidentifier() for part in package.split("."))):
        raise ValueError(f"model is {show(name)}; it must be {FORMS}, or the path of an .onnx file")
    sys.path.insert(0, os.getcwd())
    try:
        made = getattr(importlib.import_module(package), function)()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"model is {show(name)}; it cannot be made: {error}") from error
    finally:
        sys.path.remove(os.getcwd())
    module, example = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(module, nn.Module):
        raise ValueError(f"model is {show(name)}, which gives {show(made)}; it must give a torch module")
    return module, example


def _refuse_onnx(repeats: int, max_spread: float) -> Times:
    raise ValueError("measure is not for ONNX files, which are estimated; it must be absent")
