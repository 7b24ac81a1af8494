"""Torch modules to profile: given, or made by a function that is named."""

from __future__ import annotations

import copy
import importlib
import inspect
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from math import inf
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import InputError, InputTypeError
from ..fields import first_line, show
from . import calls, torch_times
from .network import Network, Options
from .parallel_plan import note_divided, own_plan, rule
from .strategies import Division
from .tensor_parallel import Plan, divide
from .tensors import on_device_of, tensors_in
from .torch_module import QUANTISED, Note, TooLongError, Traced, trace
from .trace import Cut
from .twin import check_parts

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

MOST_OPERATIONS = 50_000  # of a forward pass of a made-up example: more where a network runs token by token

FORMS = "hf:NAME, package.module:function, or the path of an .onnx file"


class Loaded(NamedTuple):
    """A module, its arguments, and the number of examples in them."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    batch: int
    name: str
    advice: str = ""  # where it cannot run
    others: tuple[Loaded, ...] = ()  # with other made-up arguments, to try in turn where it cannot run
    shorter: Loaded | None = None  # with fewer made-up tokens, to try where it has too many operations
    notes: tuple[str, ...] = ()


def given(module: Any, example: Any, options: Options, name: str | None = None) -> Loaded:
    """Return the arguments of a module, and the size of the batch, from a user's example.

    Raises
    ------
    TypeError, ValueError
        It is not a module; there is no example.
    """
    if not isinstance(module, nn.Module):
        raise InputTypeError(f"model is {show(module)}; it must be a torch module, {FORMS}")
    check_parts(module)
    if example is None:
        raise InputError("example is None; it must be what the module is called with, a batch")
    args, kwargs = _arguments(example)
    tensors = tensors_in((args, kwargs))
    if any(tensor.is_nested for tensor in tensors):
        raise InputError("example has a nested tensor; tensors must have one shape")
    if options.mode == "prefill" and "logits_to_keep" in inspect.signature(module.forward).parameters:
        kwargs = kwargs | {"logits_to_keep": 1}  # the first new token comes of the last one's
    batch = options.batch or next((len(tensor) for tensor in tensors if tensor.dim()), 1)
    return Loaded(module, args, kwargs, batch, name or type(module).__name__)


def _arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, Mapping):  # any mapping: a tokenizer's output is not a dict
        return (), dict(example)
    if isinstance(example, Tensor):
        return (example,), {}
    if isinstance(example, (tuple, list)):
        return tuple(example), {}
    raise InputTypeError(
        f"example is {show(example)}; it must be a tensor, a tuple of arguments, or a table of named ones"
    )


def check_place(module: nn.Module, on: str) -> None:
    """Raise ValueError unless all weights of a module are where it is to run, ``"cpu"`` or ``"cuda"``."""
    place = on if on == "cpu" else f"{on}:{torch.cuda.current_device()}"
    others = {str(tensor.device) for tensor in chain(module.parameters(), module.buffers())} - {place}
    if others:
        raise InputError(
            f"model has weights on {' and '.join(sorted(others))}; "
            f"they must be on {place}, where it is to run"
        )


def made(name: str, options: Options, on: str | None) -> Loaded:
    """Call the function that ``package.module:function`` names for a module and, maybe, an example.

    The module is moved to where it is to run, if `on` says so.

    Raises
    ------
    ValueError
        There is no such function, or it does not make a module; there is no example.
    """
    module, example = _make(name, on)
    return given(module, _made_up(example, name, options), options, name)


def read(loaded: Loaded, options: Options, measured: bool) -> Network:
    """Read a module: its operations, and where its layers begin.

    Parameters
    ----------
    loaded
        The module.
    options
        How.
    measured
        Whether it has to run, and so to have the precision that is asked for.

    Raises
    ------
    ValueError
        It cannot run, or does not run layer after layer.
    """
    module = loaded.module
    own = _precision(module)
    precision = options.precision or own
    if measured and DTYPES[precision] != DTYPES[own]:
        raise InputError(f"precision is {show(precision)}, but the module is measured as it is, in {own}")
    traced, cuts, loaded = _traced(loaded, precision, options)
    network = Network(
        loaded.name,
        traced.trace,
        cuts,
        loaded.batch,
        precision,
        partial(_measure, loaded, cuts, options),
        _names(module),
        _architecture(module),
        _sequence(loaded),
        (*loaded.notes, *_notes(module, precision)),
        module.config if _architecture(module) else None,
    )
    return network._replace(divide=partial(_divide, loaded, network, options))


def _trace(
    loaded: Loaded,
    precision: str,
    options: Options,
    divide: Callable[[nn.Module, Note], None] | None = None,
    most: float = inf,
) -> Traced:
    return trace(
        loaded.module,
        loaded.args,
        loaded.kwargs,
        dtype=DTYPES[precision],
        train=options.train,
        advice=loaded.advice,
        divide=divide,
        most=most,
    )


def _traced(loaded: Loaded, precision: str, options: Options) -> tuple[Traced, list[Cut], Loaded]:
    """Trace a module and divide it into layers, on a short example where it runs token by token."""
    if loaded.shorter is None:
        return _first_traced(loaded, precision, options, inf)
    for given, times in ((loaded, 1), (loaded.shorter, 2), (loaded, 4)):
        try:
            return _first_traced(given, precision, options, times * MOST_OPERATIONS)
        except TooLongError:
            continue
    raise InputError(
        f"a pass of model {show(loaded.name)} has more than {4 * MOST_OPERATIONS:,} operations; sequence "
        f"must be given, and it is read however long that takes"
    )


def _first_traced(
    loaded: Loaded, precision: str, options: Options, most: float
) -> tuple[Traced, list[Cut], Loaded]:
    """Trace a module on the first example that it runs on, layer after layer."""
    failed: list[ValueError] = []
    for one in (loaded, *loaded.others):
        try:
            traced = _trace(one, precision, options, most=most)
            return traced, _cut(traced, options), one
        except ValueError as error:
            failed.append(error)
    raise failed[0]


def that_runs(loaded: Loaded, options: Options) -> Loaded:
    """Choose the first of several made-up examples that a module runs on, layer after layer."""
    if not loaded.others and loaded.shorter is None:
        return loaded
    return _traced(loaded, _precision(loaded.module), options)[2]


def _measure(
    loaded: Loaded, cuts: Sequence[Cut], options: Options, repeats: int, max_spread: float
) -> torch_times.Times:
    args, kwargs = on_device_of(loaded.module, (loaded.args, loaded.kwargs))
    paths = [cut.name for cut in cuts]
    return torch_times.measure(
        loaded.module, args, kwargs, paths, train=options.train, repeats=repeats, max_spread=max_spread
    )


# One of several devices ---------------------------------------------------------------------------------


def _divide(loaded: Loaded, network: Network, options: Options, division: Division) -> Network:
    """Make the part of a network that one of several devices has.

    Raises
    ------
    ValueError
        The network cannot be divided among so many.
    """
    try:
        plan, traced = _divided(loaded, network, options, division)
    except ValueError as error:
        raise InputError(f"strategy {division} cannot divide {network.name}: {error}") from error
    cuts = _cut(traced, options)
    if [cut.name for cut in cuts] != [cut.name for cut in network.cuts]:
        raise InputError(f"strategy {division} changes the layers of {network.name}; layers must be given")

    def measure(repeats: int, max_spread: float) -> torch_times.Times:
        part = loaded._replace(module=copy.deepcopy(loaded.module))
        divide(part.module, plan, division.degree, _no_note)
        return _measure(part, cuts, options, repeats, max_spread)

    note = note_divided(network.trace, traced.trace, division)
    return network._replace(trace=traced.trace, cuts=cuts, measure=measure, notes=(note,), divide=None)


def _divided(loaded: Loaded, network: Network, options: Options, division: Division) -> tuple[Plan, Traced]:
    """Find a plan that a network runs with, and trace the part of one device."""

    def run(plan: Plan) -> tuple[Plan, Traced]:
        part = partial(divide, plan=plan, degree=division.degree)
        return plan, _trace(loaded, network.precision, options, lambda twin, note: part(twin, note=note))

    def pairs(attention: bool) -> Plan:
        found = rule(loaded.module, network.trace, network.cuts, division.degree, attention=attention)
        return Plan({**found.modules, **own.modules}, own.parameters)

    own = own_plan(loaded.module, division)
    if own.has_pairs:
        return run(own)
    try:
        return run(pairs(attention=True))
    except ValueError:  # it has the number of its heads in its shapes
        return run(pairs(attention=False))


def _no_note(*_: Any, **__: Any) -> None:
    """Note nothing: the pass is measured."""


def _names(module: nn.Module) -> dict[str, str]:
    """Path of each parameter and buffer, and the first path of the same tensor."""
    first: dict[int, str] = {}
    held = (module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False))
    return {path: first.setdefault(id(tensor), path) for path, tensor in chain(*held)}


def _notes(module: nn.Module, precision: str) -> Iterator[str]:
    """Note weights that are counted in another precision than their own."""
    sizes = Counter[str]()
    for weight in module.parameters():
        if weight.is_floating_point():
            sizes[str(weight.dtype).removeprefix("torch.")] += weight.numel()
    if len(sizes) > 1:
        shares = ", ".join(
            f"{100 * size / sizes.total():.2g} % {dtype}" for dtype, size in sizes.most_common()
        )
        yield f"the weights have several precisions ({shares}); all count as {precision}"
    quantisation = getattr(getattr(module, "config", None), "quantization_config", None)
    if quantisation is not None and not any(buffer.dtype in QUANTISED for buffer in module.buffers()):
        yield f"quantization_config is left out: the weights count as {precision}"


def _architecture(module: nn.Module) -> str:
    """Class of a network of transformers."""
    return type(module).__name__ if hasattr(getattr(module, "config", None), "model_type") else ""


def _sequence(loaded: Loaded) -> int | None:
    """Tokens of an example of a network of transformers."""
    tokens = loaded.kwargs.get("input_ids")
    return tokens.shape[-1] if isinstance(tokens, Tensor) and tokens.dim() else None


def _cut(traced: Traced, options: Options) -> list[Cut]:
    if options.layers is None:
        return calls.find_cuts(*traced)
    if isinstance(options.layers, int):
        return calls.cuts_at_depth(*traced, options.layers)
    return calls.cuts_at(*traced, options.layers)


def _precision(module: nn.Module) -> str:
    """Precision of most of a module's weights, the first of `DTYPES` that it is; fp32 where it has none."""
    sizes = Counter({torch.float32: 0})
    for weight in module.parameters():
        if weight.is_floating_point():
            sizes[weight.dtype] += weight.numel()
    ((dtype, _),) = sizes.most_common(1)
    for precision, known in DTYPES.items():
        if dtype == known:
            return precision
    raise InputError(f"model has weights of {dtype}; they must be of {', '.join(DTYPES)}")


def _made_up(example: Any, name: str, options: Options) -> Any:
    if example is not None:
        return example
    batch = options.examples()
    if options.shape is not None:
        return torch.rand(tuple(options.shape))
    if options.sequence is not None:
        return torch.zeros((batch, options.sequence), dtype=torch.long)
    raise InputError(f"shape is None; {show(name)} gives no example, so shape or sequence must be given")


def _make(name: str, on: str | None) -> tuple[Any, Any]:
    """Call a function, of the working directory too, for a module and, where it likes, an example."""
    package, _, function = name.partition(":")
    if not (function.isidentifier() and all(part.isidentifier() for part in package.split("."))):
        raise InputError(f"model is {show(name)}; it must be {FORMS}")
    sys.path.insert(0, os.getcwd())
    try:
        made = getattr(importlib.import_module(package), function)()
    except Exception as error:  # whatever the function does
        raise InputError(f"model is {show(name)}; it cannot be made: {first_line(error)}") from error
    finally:
        sys.path.remove(os.getcwd())
    module, example = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(module, nn.Module):
        raise InputError(f"model is {show(name)}, which gives {show(made)}; it must give a torch module")
    if on is not None:
        try:
            module.to(on)
        except Exception as error:  # of the device's memory, or of weights without values
            raise InputError(f"model is {show(name)}; it cannot run on {on}: {first_line(error)}") from error
    return module, example
