"""Workloads from networks: their layers, estimated for devices or measured on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ..arguments import as_tuple, check_choice, check_number
from ..catalogue import check_catalogue
from ..cluster import FULL, SELECTIVE
from ..device import Device
from ..errors import InputError, InputTypeError
from ..fields import show
from ..output import compose, table
from ..readers import read_devices
from ..suggestions import did_you_mean
from ..workload import Layer, Mode, Tensor, Workload, most
from .attention_core import Core, layer_cores, note_cores
from .columns import Column, Seconds, divided, exchange, merge, note_offers, offers
from .fusion import fused
from .kv_cache import NUMBER
from .machine import PLACES, check_measured, note_measured
from .memory import MOST_ZERO, OPTIMIZERS, Training, memory, note_shared, training
from .models import read_model
from .network import MODES, PRECISIONS, Network, Options
from .outside import add_unused, modules_outside, note_unused
from .recompute import Again, of_core, of_layer, recomputed
from .serving import Served, add_caches, read_prompt, served, weights_alone
from .strategies import Division, parse, strategy_name
from .trace import Kernels, TracedLayer

if TYPE_CHECKING:
    import torch
    from rich.console import Group

__all__ = ["profile"]

Array = npt.NDArray[np.float64]
Further = Sequence[Mapping[str, Any]]  # fields of each layer

# Autograd starts operations of the backward pass without the modules' Python code: in about half the time.
BACKWARD_LAUNCH = 0.5


class How(NamedTuple):
    """Devices to estimate times for, a name and, where it is known, the device to measure, and how."""

    types: Sequence[Device]
    measure: str | None
    measured: Device | None
    mode: Mode
    graphs: bool
    repeats: int
    max_spread: float


def profile(
    model: torch.nn.Module | str | os.PathLike[str],
    example: Any = None,
    *,
    devices: Iterable[str | Device] = (),
    catalogue: Mapping[str, Device] | None = None,
    measure: str | None = None,
    on: Literal["cpu", "cuda"] | None = None,
    mode: Mode = "train",
    precision: str | None = None,
    batch: int | None = None,
    sequence: int | None = None,
    shape: Sequence[int] | None = None,
    axes: Mapping[str, int] | None = None,
    layers: Sequence[str] | int | None = None,
    graphs: bool = False,
    repeats: int = 40,
    max_spread: float = 0.05,
    optimizer: str | None = None,
    zero: int | None = None,
    strategies: Sequence[str] = (),
    context: int | None = None,
    concurrency: int | None = None,
    kv_cache: str | None = None,
) -> Workload:
    """Make a workload of a network: its layers, their times, operations and bytes, the tensors between them.

    Parameters
    ----------
    model
        A torch module, which is left as it is; or a text: ``"hf:NAME"`` for a configuration of transformers
        (``"hf:gpt2"``, ``"hf:meta-llama/Llama-2-70b-hf"``, ``"hf:bert"``, ``"hf:folder/config.json"``;
        nothing is downloaded), ``"package.module:function"`` for what a function returns (a module, or a
        module and an example; this imports and runs that code), or the path of an ONNX file.
    example
        What the module is called with, a batch: a tensor, a tuple of arguments, or a table of named ones.
    devices
        Device types to estimate times for: names of the catalogue, or `Device`.
    catalogue
        Default: the built-in one, as `read_devices` gives it.
    measure
        Measure the layers on this machine, under this name: the same as `on`, or the name of a device of the
        catalogue that has this machine's name among its `hardware_names`.  Times on `devices` are then the
        measured ones times the ratio of the estimates, for which the catalogue must have this name.
    on : {"cpu", "cuda"}, optional
        Where to measure: on one thread of the processor (default), or on the GPU.  A module that is given
        must be there.
    mode : {"train", "inference", "prefill", "decode"}
        Forward and backward pass, or forward pass alone.
    precision : {"fp32", "tf32", "fp16", "bf16"}
        Of arithmetic and of weights; default: that of the network's weights.
    batch
        Examples in a batch; default: the first dimension of the example, or 1; 2 where statistics of a batch
        need them.
    sequence
        Tokens of an example, where the example is made up; default: 512 or the most that the network takes,
        and fewer, with a note, where these are more than 50,000 operations.
    shape
        Of the whole batch, where it is made up of numbers.
    axes
        Sizes of the dimensions of an ONNX file's inputs that have none, by name; one without a name is
        ``"INPUT:PLACE"``, as ``"tokens:1"``.
    layers
        Paths of the modules (of an ONNX file: names of the nodes) that begin a layer, or a depth; default:
        the blocks of the network, and the layers before and after them.
    graphs
        Whether operations run as a captured graph, so that estimates leave out `Device.launch_seconds`;
        else each is started by the host (eager execution).
    repeats
        Most passes to measure; it ends early where they repeat well.
    max_spread
        Largest spread of repeats, as a fraction of the time: the mean over layers, each by its time.
    optimizer : {"adam", "adam8bit", "momentum", "sgd"}
        Whose state is in memory where the network trains; default: Adam.
    zero : {0, 1, 2, 3}
        Stage of ZeRO: what the replicas of a stage divide among them, namely nothing (default), the
        optimizer's state, the gradients too, and the weights too.
    strategies
        Of each device type, besides the plain one; plans then choose for each stage.  ``"recompute"``: layers
        keep their inputs alone and run again for their backward pass.  ``"selective"``: they do so for the
        scores of their attention alone, unless its kernel keeps none.  ``"tp=2,4"``: as many devices of a
        machine divide the products of each layer (tensor parallelism).  ``"ep=2,4"``: the same, but each has
        whole experts of a mixture.  Recomputation goes with each of the others too.
    context
        Tokens of a sequence that a language model is served: with mode ``"prefill"`` those of a prompt, which
        is read in one pass; with ``"decode"`` the earlier ones that each new token attends to.
    concurrency
        Sequences that are served at a time, by all replicas together: their keys and values are in memory,
        and replicas divide them; default: `batch`.  With mode ``"decode"`` a step decodes `batch` of them, by
        default all.  A pipeline needs as many groups as it has stages, each with a `batch` of
        ``concurrency / stages``.
    kv_cache : {"fp32", "tf32", "fp16", "bf16", "fp8", "int8", "int4"}
        Precision of keys and values; default: that of the network.

    Returns
    -------
    Workload
        Its layers are named by their modules.  Times are of a batch, of forward and, where it trains,
        backward pass, without the optimizer's step.  Its `notes` say what was assumed or left out.

    Raises
    ------
    ImportError
        torch, transformers or onnx is needed and not installed.
    OSError
        A file cannot be read.
    TypeError, ValueError
        An argument is not as it has to be; layers do not run one after another; measurements do not repeat
        within `max_spread`.

    Notes
    -----
    An estimate adds up the operations of a layer, each by the roofline of the device, `Device.seconds`, from
    its FLOPs and the bytes of its inputs and outputs; attention is one operation.  A pass of a layer takes at
    least the time in which the host starts its operations, one after another.  FLOPs are exact for products,
    convolutions and attention (causal attention works on each token's past alone); an elementwise operator
    counts as one for each number that it makes, a sum as one for each number that it reads, a norm as five
    for each number.

    The memory of a layer is that of its weights and buffers and, where it trains, of the weights' gradients
    and the optimizer's state, of 4-byte numbers and of a copy of weights that have 2 bytes each: with Adam
    16 bytes a parameter in all.  What `zero` divides is in `sharded` instead.  Activations are what the
    forward pass of the batch keeps for the backward pass, the network's outputs among them; a tensor that
    several layers keep counts in the first.  The workspace is the most bytes of other values, or of
    gradients of values, that are needed at a time; with `zero` 2 or 3 also the layer's own gradients and
    weights, which are whole while it runs.  Gradients that replicas all-reduce are those of the weights, and
    half as much again with `zero` 3, where the weights are exchanged twice.

    Where a language model is served, products of the same value run as one, and so do all operations between
    two products.  Where it decodes, an example is one token of one sequence, so that examples/s of a plan are
    tokens/s.  A step reads the weights once, whatever its batch, and the keys and values of each sequence; it
    is a captured graph, without `Device.launch_seconds`.  `Layer.compute_parallel` is the part of it that
    more replicas take less time for: what is not reading weights or starting kernels.  A cache of keys and
    values has, for each token, those of the heads that groups of queries share, or the latent vector of
    latent attention; windows bound the tokens.  It is in `Layer.sharded`, as replicas divide the sequences.
    `Layer.prefill` is the time of the pass over one prompt of `context` tokens, and the workspace is that of
    a step or of this pass, the larger.

    Of experts that tokens choose, a pass reads those that have a token: with uniform routing of n tokens to k
    of E experts each, ``E (1 - (1 - k / E)^n)`` on average.

    Buffers of integers or of 8 bits, with two dimensions or more, count as quantised weights.
    Weights that do not run on the example, as a tower for images where it has text alone, have no gradients;
    they are memory of the layer that they are placed with, and a note says which they are.

    Of tensor and expert parallelism, times and bytes are those of one device: its part of a network is
    traced, or measured, as the whole one is.  What is divided is in the plan of a configuration of
    transformers, or in the ``tp_plan`` that a module has, a table from paths to the same styles.  If blocks
    have none there, pairs of `torch.nn.Linear` are divided, the first ones by columns and the next by rows,
    if between them are operations on each number alone or attention, and the heads of
    `torch.nn.MultiheadAttention`.  All
    else is whole on each device, and a note says what.  All-reduces over the link of a machine are added, one
    for the gradient of each tensor that products read.  A degree must divide the heads; heads of keys and
    values that are fewer than devices are copied.  Experts have even shares of the tokens.  Devices are of
    one machine: a device type has no strategy of more.

    What a network does may depend on values: masks, sizes and the like follow from the example and from
    constants.  What it chooses by its weights, such as the experts of a token, is spread evenly over all
    choices.  Other questions about values are refused.

    A tensor is counted twice where the network trains: its gradient comes back.  What depends on the inputs
    alone, as a mask does, passes between no layers: each stage can make it.

    Examples
    --------
    >>> import torch
    >>> import stageplan as sp
    >>> module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> workload = sp.profile(module, torch.ones(16, 4), devices=["a100-80g", "t4"], layers=1)
    >>> [layer.name for layer in workload.layers]
    ['0', '2']
    >>> workload.layers[0].flops, workload.layers[0].parameters
    (1152.0, 160.0)
    """
    check_choice("mode", mode, MODES)
    if precision is not None:
        check_choice("precision", precision, PRECISIONS)
    asked = parse(strategies, mode)
    counts = {"batch": batch, "sequence": sequence, "context": context, "concurrency": concurrency}
    for name, value in counts.items():
        if value is not None:
            check_number(name, value, minimum=1, whole=True)
    check_number("repeats", repeats, minimum=2, whole=True)
    check_number("max_spread", max_spread, above=0)
    if optimizer is not None:
        check_choice("optimizer", optimizer, OPTIMIZERS)
    if zero is not None:
        check_number("zero", zero, minimum=0, maximum=MOST_ZERO, whole=True)
    trains = training(mode, optimizer, zero)
    if kv_cache is not None:
        check_choice("kv_cache", kv_cache, tuple(NUMBER))
    serves = served(mode, context, concurrency, batch, kv_cache, sequence, shape)
    if serves is not None and measure is not None:
        raise InputError(f"measure is {show(measure)}; it must be absent where mode is {mode!r}")
    _check_shape(shape)
    for name, size in (axes or {}).items():
        check_number(f"axes[{show(name)}]", size, minimum=1, whole=True)
    _check_layers(layers)
    types, measured = _devices(devices, measure, on, read_devices() if catalogue is None else catalogue)
    options = Options(mode, precision, batch, sequence, shape, layers, axes)
    if serves is not None:
        options = options._replace(batch=serves.batch, sequence=serves.tokens)
    network = read_model(model, example, options, on=None if measure is None else on or "cpu")
    prompts = None if serves is None or mode != "decode" else read_prompt(model, options, serves)
    notes = [*network.notes, *network.trace.notes()]
    if len(asked.divisions) > 1:
        notes += note_offers(types if measured is None else [*types, measured], asked.divisions)
    how = How(types, measure, measured, mode, graphs, repeats, max_spread)
    whole: list[TracedLayer] = []
    spread = np.zeros(len(network.cuts))
    columns: list[Column] = []
    for division in asked.divisions:
        part = _part(network, division, serves)
        traced = part.trace.layers(part.cuts)
        add_unused(part.trace, traced)
        cached = [] if serves is None else add_caches(part, traced, serves, division.degree)
        seconds, apart = _seconds(how, part, traced, division)
        further: Further = [{} for _ in traced]
        if prompts is not None and serves is not None:
            prompt = _part(prompts, division, serves)
            further = _of_decoding(how, part, traced, prompt, serves, division, seconds)
        plain = _fields(part, traced, trains, seconds, further)
        columns.append(Column(strategy_name(division), plain))
        if FULL in asked.recompute:
            forward = {name: busy.forward for name, busy in seconds.items()}
            more = _recomputed(plain, [of_layer(layer) for layer in traced], forward)
            columns.append(Column(strategy_name(division, FULL), more))
        if SELECTIVE in asked.recompute:
            cores = layer_cores(part.trace, part.cuts)
            forward = _core_seconds(how, part, traced, cores, seconds)
            more = _recomputed(plain, [of_core(*each) for each in zip(traced, cores, strict=True)], forward)
            columns.append(Column(strategy_name(division, SELECTIVE), more))
            notes += note_cores(cores)
        if division.degree == 1:
            whole, spread = traced, apart
            notes += [*note_unused(network.trace, traced), *cached]
        else:
            notes += part.notes
    if measure is not None:
        notes.append(note_measured(measure, on or "cpu"))
    notes += note_shared(whole, network, trains)
    return _workload(network, whole, trains, serves, columns, spread, list(dict.fromkeys(notes)))


def _part(network: Network, division: Division, serves: Served | None) -> Network:
    """Make the part of a network that one device has; one that is served runs as runtimes run it."""
    part = divided(network, division)
    return part if serves is None else part._replace(trace=fused(part.trace, part.cuts))


def _check_shape(shape: Sequence[int] | None) -> None:
    if shape is None:
        return
    sizes = shape if isinstance(shape, (list, tuple)) else ()
    if not sizes or not all(isinstance(size, int) and size >= 1 for size in sizes):
        raise InputError(f"shape is {show(shape)}; it must be a list of whole numbers, 1 or more")


def _check_layers(layers: object) -> None:
    if layers is None:
        return
    if isinstance(layers, int):
        check_number("layers", layers, minimum=1, whole=True)
    elif isinstance(layers, str) or not isinstance(layers, Sequence) or not layers:
        raise InputTypeError(f"layers is {show(layers)}; it must be a list of paths, or a depth")


def _devices(
    devices: Iterable[str | Device], measure: str | None, on: str | None, catalogue: Mapping[str, Device]
) -> tuple[list[Device], Device | None]:
    """Devices to estimate for, and the one that is measured, where it is known."""
    check_catalogue("catalogue", catalogue)
    types = [_device(device, catalogue) for device in as_tuple("devices", devices, "a list")]
    if on is not None:
        check_choice("on", on, PLACES)
    if measure is None:
        if on is not None:
            raise InputError(f"on is {show(on)}, which says where to measure; measure must be given too")
        if not types:
            raise InputError("device is missing; at least one device, or measure, must be given")
        return types, None
    known = {**catalogue} | {type_.name: type_ for type_ in types}
    check_measured(measure, on or "cpu", known)
    if types and measure not in known:
        raise InputError(
            f"measure is {show(measure)}, and the catalogue has no device of that name; it must have one, "
            f"because times of other devices are the measured ones times the ratio of two estimates"
        )
    return types, known.get(measure)


def _device(device: str | Device, catalogue: Mapping[str, Device]) -> Device:
    if isinstance(device, Device):
        return device
    if not isinstance(device, str) or device not in catalogue:
        known = f"{', '.join(catalogue)}{did_you_mean(device, catalogue)}"
        raise InputError(f"device is {show(device)}; it must be one of {known}")
    return catalogue[device]


# Times --------------------------------------------------------------------------------------------------


def _seconds(
    how: How, network: Network, layers: Sequence[TracedLayer], division: Division
) -> tuple[dict[str, Seconds], Array]:
    """Estimate or measure the layers on each device that has a strategy; and the spread of measurements."""
    estimate = partial(_estimate, layers, precision=network.precision, mode=how.mode, graphs=how.graphs)
    known = {type_.name: type_ for type_ in how.types}
    seconds = {name: estimate(type_) for name, type_ in known.items()}
    spread = np.zeros(len(layers))
    if how.measure is not None:
        times = network.measure(how.repeats, how.max_spread)
        here, spread = Seconds(times.forward, times.backward), times.spread
        if how.types and how.measured is not None:
            base = estimate(how.measured)
            seconds = {name: _carry(here, base, other) for name, other in seconds.items()}
        seconds = {how.measure: here} | {
            name: other for name, other in seconds.items() if name != how.measure
        }
    if division.degree == 1:
        return seconds, spread
    if how.measure is not None and how.measured is not None:
        known[how.measure] = how.measured
    return {
        name: exchange(layers, known[name], division.degree, busy)
        for name, busy in seconds.items()
        if offers(known[name], division)
    }, spread


def _estimate(
    layers: Sequence[TracedLayer], device: Device, precision: str, mode: Mode, graphs: bool
) -> Seconds:
    if precision not in device.peak:
        known = ", ".join(each for each in PRECISIONS if each in device.peak) or "none that networks have"
        raise InputError(f"precision is {show(precision)}; it must be one that {device.name} has: {known}")
    launch = 0.0 if graphs or mode == "decode" else device.launch_seconds

    def add_up(kernels: Kernels, launch: float) -> float:
        busy = 0.0
        for (flops, bytes_, kind), count in kernels.items():
            busy += count * device.seconds(flops, bytes_, precision, kind, train=mode == "train")
        return max(busy, launch * kernels.total())  # the host runs ahead of the device

    return Seconds(
        np.array([add_up(layer.forward, launch) for layer in layers]),
        np.array([add_up(layer.backward, BACKWARD_LAUNCH * launch) for layer in layers]),
    )


def _carry(here: Seconds, base: Seconds, other: Seconds) -> Seconds:
    """Measured times, times the ratio of two estimates; the measured ones where the first estimate is 0."""
    forward, backward = (
        measured * np.divide(there, known, out=np.ones_like(known), where=known > 0)
        for measured, known, there in zip(here, base, other, strict=True)
    )
    return Seconds(forward, backward)


def _of_decoding(
    how: How,
    step: Network,
    layers: Sequence[TracedLayer],
    prompt: Network,
    serves: Served,
    division: Division,
    seconds: Mapping[str, Seconds],
) -> list[dict[str, Any]]:
    """Fields of layers that decode: the fraction of a step that replicas divide, and the time of a prompt.

    The workspace of the layers becomes that of a prompt where it is larger.
    """
    reading = prompt.trace.layers(prompt.cuts)
    add_caches(prompt, reading, serves.prompt, division.degree)
    for layer, other in zip(layers, reading, strict=True):
        layer.workspace = max(layer.workspace, other.workspace)
    waits, _ = _seconds(how._replace(mode="prefill"), prompt, reading, division)
    alone, _ = _seconds(how, step, weights_alone(step, layers), division)
    fields: list[dict[str, Any]] = []
    for index in range(len(layers)):
        times = {name: float(other.forward[index]) for name, other in waits.items()}
        fractions = {
            name: _divided_fraction(float(alone[name].forward[index]), float(whole.forward[index]))
            for name, whole in seconds.items()
        }
        fields.append({"compute_parallel": fractions, "prefill": times})
    return fields


def _core_seconds(
    how: How,
    network: Network,
    layers: Sequence[TracedLayer],
    cores: Sequence[Core],
    seconds: Mapping[str, Seconds],
) -> dict[str, Array]:
    """Seconds of a forward pass of the cores of attention: the estimated share of that of the layers."""
    devices = {type_.name: type_ for type_ in how.types}
    if how.measure is not None and how.measured is not None:
        devices[how.measure] = how.measured
    parts = [TracedLayer("", "", set(), forward=core.forward) for core in cores]

    def share(name: str) -> Array:
        if name in devices:
            part, whole = (
                _estimate(each, devices[name], network.precision, how.mode, how.graphs).forward
                for each in (parts, layers)
            )
        else:  # measured, and not in the catalogue: of the bytes that are moved
            part, whole = (np.array([layer.moved for layer in each]) for each in (parts, layers))
        return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)

    return {name: share(name) * busy.forward for name, busy in seconds.items()}


def _divided_fraction(alone: float, whole: float) -> float:
    return max(0.0, 1 - alone / whole) if whole > 0 else 1.0


# Workload -----------------------------------------------------------------------------------------------


def _fields(
    network: Network,
    layers: Sequence[TracedLayer],
    trains: Training | None,
    seconds: Mapping[str, Seconds],
    further: Further,
) -> list[dict[str, Any]]:
    """Fields of the layers under a strategy."""
    plain = []
    for index, layer in enumerate(layers):
        forward = {type_: float(s.forward[index]) for type_, s in seconds.items()}
        backward = {type_: float(s.backward[index]) for type_, s in seconds.items()}
        plain.append(
            {
                "compute": {type_: forward[type_] + backward[type_] for type_ in seconds},
                "backward": backward if trains else {},
                "activations": layer.saved,
                **memory(layer, network, trains)._asdict(),
                **further[index],
            }
        )
    return plain


def _recomputed(
    plain: Sequence[Mapping[str, Any]], again: Sequence[Again], forward: Mapping[str, Array]
) -> list[dict[str, Any]]:
    """Fields of the layers where they, or parts of them, run again; seconds of a forward pass of these."""
    seconds = [{name: float(each[index]) for name, each in forward.items()} for index in range(len(plain))]
    return [recomputed(*each) for each in zip(plain, again, seconds, strict=True)]


def _workload(
    network: Network,
    traced: Sequence[TracedLayer],
    trains: Training | None,
    serves: Served | None,
    columns: Sequence[Column],
    spread: Array,
    notes: Sequence[str],
) -> Workload:
    trace, cuts = network.trace, network.cuts
    modules = modules_outside(network, traced)
    counted: set[int] = set()  # weights of the layers so far
    layers = []
    for index, (layer, fields) in enumerate(zip(traced, merge(columns), strict=True)):
        new = (layer.weights | layer.unused) - counted
        counted |= new
        layers.append(
            Layer(
                name=layer.name,
                kind=layer.kind,
                spread=float(spread[index]),
                flops=layer.flops,
                parameters=sum(trace.weights[weight].bytes for weight in new),
                **fields,
                modules=tuple(modules[index]),
            )
        )
    return Workload(
        name=network.name,
        layers=tuple(layers),
        tensors=tuple(
            Tensor(
                producer=traced[producer].name,
                consumers=tuple(traced[consumer].name for consumer in consumers),
                bytes=bytes_ * (2 if trains else 1),
            )
            for (producer, consumers), bytes_ in trace.tensors(cuts).items()
        ),
        ties=trace.ties(traced, cuts),
        batch=network.batch,
        architecture=network.architecture,
        mode="train" if trains else serves.mode if serves else "inference",
        precision=network.precision,
        optimizer=trains.optimizer if trains else "",
        zero=trains.zero if trains else None,
        sequence=network.sequence,
        context=serves.context if serves else None,
        concurrency=serves.concurrency if serves else None,
        kv_cache=(serves.precision or network.precision) if serves else None,
        notes=tuple(notes),
    )


# Tables -------------------------------------------------------------------------------------------------


def layer_table(workload: Workload) -> Group:
    """Table of the layers of a workload, as text."""
    types = list(dict.fromkeys(type_ for layer in workload.layers for type_ in layer.compute))
    spread = any(layer.spread for layer in workload.layers)
    sharded = any(most(layer.sharded) for layer in workload.layers)
    sizes = ("memory", *(["sharded"] if sharded else []), "workspace", "kept")
    head = ("layer", "kind", "parameters", "forward", *sizes, *types, *(["spread"] if spread else []))
    rows = [head]
    for layer in workload.layers:
        times = (layer.compute.get(type_) for type_ in types)
        row = [layer.name, layer.kind, f"{layer.parameters / 1e6:.4g} MB", f"{layer.flops / 1e9:.4g} GFLOP"]
        held = (layer.memory, *([layer.sharded] if sharded else []), layer.workspace, layer.activations)
        row += [f"{most(bytes_) / 1e6:.4g} MB" for bytes_ in held]
        row += ["-" if time is None else f"{time * 1e3:.4g} ms" for time in times]
        rows.append((*row, *([f"{layer.spread:.1%}"] if spread else [])))
    return compose(table(rows, left=(0, 1)), str(workload))
