"""The neural network: layers in pipeline order, the tensors between them, and which of them share weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from math import inf
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from .errors import InputError
from .fields import (
    FINITE,
    Bytes,
    Count,
    Fraction,
    FrozenDict,
    Name,
    Seconds,
    Text,
    check_fields,
    not_negative,
    positive,
    printable,
    sentence,
    show,
)

__all__ = ["MAX_LAYERS", "MAX_NOTES", "Conditions", "FrozenDict", "Layer", "Mode", "Tensor", "Workload"]

MAX_LAYERS = 4096
MAX_NOTES = 100

Mode = Literal["train", "inference", "prefill", "decode"]
SERVING: tuple[Mode, ...] = ("prefill", "decode")
"""Modes of language models that are served: they read prompts, and decode token by token."""
TypeName = Annotated[str, Meta(min_length=1)]
LayerName = Annotated[str, Meta(min_length=1, description="the name of a layer")]
SecondsByType = Annotated[
    Seconds | Mapping[TypeName, Seconds],
    Meta(description="0 or more seconds and finite, or a table of that by device type"),
]
BytesByType = Annotated[
    Bytes | Mapping[TypeName, Bytes],
    Meta(description="0 or more bytes and finite, or a table of that by device type"),
]
FractionByType = Annotated[
    Fraction | Mapping[TypeName, Fraction],
    Meta(description="a fraction from 0 to 1, or a table of that by device type"),
]


def most(value: float | Mapping[str, float]) -> float:
    """Return a number that may be a table by device type, or the largest of the table."""
    return max(value.values(), default=0.0) if isinstance(value, Mapping) else value


class Layer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A layer: the unit of placement.

    Tables by device type may have entries for strategies of a type, such as ``"a100"`` and ``"a100/tp4"``; a
    type has the strategies for which layers have `compute` times. If another table has no entry for a
    strategy, that of its type counts.

    Parameters
    ----------
    name : str
        Unique in its workload.
    compute : mapping of str to float or None
        Seconds on each device type, and under each of its strategies; None or inf if it cannot run the layer.
    kind : str
        Kind of the layer, e.g. ``"Conv2d"``; a device type may have a speed for each kind.
    send, receive : float or mapping of str to float
        Seconds to send the layer's output, and to receive its input: the same on all types, or by type.
    compute_parallel : float or mapping of str to float
        Parallel fraction of the compute time: the part that is divided among the devices of a stage.
    memory : float or mapping of str to float
        Resident bytes on each device while a stage with this layer runs.
    sharded : float or mapping of str to float
        Further bytes, which are divided among the replicas of a stage.
    workspace : float or mapping of str to float
        Further bytes only while the layer itself runs the workload's batch: the largest in a stage counts. If
        the goal has a batch, they count for the examples that a replica runs at a time.
    gradients : float or mapping of str to float
        Bytes of each device that the replicas of a stage all-reduce once per iteration, if the goal has a
        batch and the device types have a `link` or a `network`.
    update : float or mapping of str to float
        Seconds of the optimiser per iteration.
    backward : mapping of str to float
        Seconds of the backward pass on each device type, if known; `compute` includes them.
    prefill : mapping of str to float
        Of a workload that decodes, the seconds in which the layer reads the context of one sequence on each
        device type, if known: what a sequence waits for before its first token.
    spread : float
        Relative spread of repeated measurements of its time; 0 if it was not measured.
    flops : float
        Floating-point operations of the forward pass; a multiplication and an addition are two.
    parameters : float
        Bytes of its weights; shared weights count in the first of their layers.
    activations : float or mapping of str to float
        Further bytes, which the forward pass of the workload's batch stores for the backward pass. If the
        goal has a batch, they count for each example in flight, and otherwise for the workload's batch.
    modules : sequence of str
        Paths of modules, parameters and buffers that are placed with the layer and are not in the module of
        its name, such as an embedding under a second name.

    Raises
    ------
    TypeError, ValueError
        A field has a wrong type, or a value that is not allowed.
    """

    name: Name
    compute: Annotated[
        Mapping[TypeName, Annotated[float, Meta(ge=0)] | None],
        Meta(
            min_length=1,
            description="a table from each device type to 0 or more seconds, null or inf if it cannot run it",
        ),
    ]
    kind: Text = ""
    send: SecondsByType = 0.0
    receive: SecondsByType = 0.0
    compute_parallel: FractionByType = 1.0
    memory: BytesByType = 0.0
    sharded: BytesByType = 0.0
    workspace: BytesByType = 0.0
    gradients: BytesByType = 0.0
    update: SecondsByType = 0.0
    backward: Annotated[
        Mapping[TypeName, Seconds],
        Meta(description="a table from device types to 0 or more seconds and finite"),
    ] = msgspec.field(default_factory=dict)
    prefill: Annotated[
        Mapping[TypeName, Seconds],
        Meta(description="a table from device types to 0 or more seconds and finite"),
    ] = msgspec.field(default_factory=dict)
    spread: Annotated[float, Meta(ge=0, le=FINITE, description="a fraction, 0 or more and finite")] = 0.0
    flops: Annotated[float, not_negative("operations")] = 0.0
    parameters: Bytes = 0.0
    activations: BytesByType = 0.0
    modules: Annotated[tuple[Name, ...], Meta(description="a list of paths of modules")] = ()

    def __post_init__(self) -> None:
        check_fields(self, f"layer {show(self.name)}")
        compute = FrozenDict({type_: None if time == inf else time for type_, time in self.compute.items()})
        force_setattr(self, "compute", compute)
        if all(time is None for time in compute.values()):
            raise InputError(
                f"compute is {show(self.compute)}; it must have a finite time for 1 device type or more "
                f"(layer {show(self.name)})"
            )

    def __str__(self) -> str:
        times = ", ".join(
            f"{type_} {'cannot run it' if time is None else f'{time:.4g} s'}"
            for type_, time in self.compute.items()
        )
        kind = f" ({self.kind})" if self.kind else ""
        return printable(f"Layer {self.name!r}{kind}: {times}; {most(self.memory):.4g} bytes of memory.")


class Tensor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An output of a layer that other layers, earlier or later ones, use.

    Parameters
    ----------
    producer : str
        Name of the layer that computes it.
    consumers : sequence of str
        Names of the layers that use it.
    bytes : float
        Its size.

    Raises
    ------
    TypeError, ValueError
        A field has a wrong type, or a value that is not allowed.
    """

    producer: LayerName
    consumers: Annotated[
        tuple[LayerName, ...], Meta(min_length=1, description="a list of the names of 1 layer or more")
    ]
    bytes: Bytes

    def __post_init__(self) -> None:
        owner = f"tensor of {show(self.producer)}"
        check_fields(self, owner)
        for index, consumer in enumerate(self.consumers):
            if consumer == self.producer:
                raise InputError(
                    f"consumers[{index}] is {show(consumer)}; it must not be the producer ({owner})"
                )
        _refuse_repeats("consumers", self.consumers, owner)

    def __str__(self) -> str:
        return printable(
            f"Tensor from {self.producer!r} to {', '.join(self.consumers)}: {self.bytes:.4g} bytes."
        )


class Conditions(Struct, frozen=True, kw_only=True):
    """Conditions of the times and sizes of a workload; None and "" if unknown. Fields as in `Workload`."""

    architecture: str = ""
    mode: Mode | None = None
    precision: str | None = None
    batch: float = 1.0
    sequence: int | None = None
    optimizer: str = ""
    zero: int | None = None
    context: int | None = None
    concurrency: int | None = None
    kv_cache: str | None = None

    @property
    def served(self) -> bool:
        """Whether they are those of a language model that is served, whose sequences are known."""
        return self.mode in SERVING and self.context is not None and self.concurrency is not None

    @property
    def groups(self) -> int | None:
        """Groups that the sequences are divided in which are decoded; None where none are."""
        if self.mode != "decode" or self.concurrency is None:
            return None
        return max(1, int(self.concurrency // self.batch))


class Workload(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A neural network to be placed.

    Parameters
    ----------
    name : str
        Name of the workload.
    layers : sequence of Layer
        In pipeline order; at most `MAX_LAYERS`.
    tensors : sequence of Tensor
        Data passed between layers; a tensor may be passed backwards, such as a gradient.
    ties : sequence of sequence of str
        Groups of layers that share weights: they should be in one stage, or their copies be kept equal.
    batch : float
        Number of examples that the times, operations and tensors are for.  Memory is not divided by it.
    architecture : str
        Class of the network in transformers, such as ``"LlamaForCausalLM"``; ``""`` if it has none.
    mode : {"train", "inference", "prefill", "decode"}, optional
        Whether the times and memory are those of training, of inference, of reading the prompts of sequences
        that are served, or of decoding one token of each of them.
    precision : str, optional
        Of weights and arithmetic, such as ``"bf16"``.
    sequence : int, optional
        Tokens of an example.
    optimizer : str
        Whose state is in memory, such as ``"adam"``; ``""`` if unknown or if the network does not train.
    zero : int, optional
        Stage of ZeRO, 0 to 3: what the replicas of a stage divide among them (`Layer.sharded`).
    context, concurrency : int, optional
        Tokens of each sequence that is served, and sequences served at a time, by all replicas together.  A
        workload that decodes has `batch` of them in each step, and divides them in ``concurrency / batch``
        groups, each of which is in another stage of a pipeline: plans have at most as many stages.
    kv_cache : str, optional
        Precision of the keys and values of sequences that are served, such as ``"fp8"``.
    notes : sequence of str
        What was assumed or left out when the workload was made, a sentence each; at most `MAX_NOTES`.  Line
        ends and control characters are escaped, and the middle of a very long note is left out.

    Raises
    ------
    TypeError, ValueError
        A field has a wrong type, or a value that is not allowed.
    """

    name: Name
    layers: Annotated[
        tuple[Layer, ...],
        Meta(min_length=1, max_length=MAX_LAYERS, description=f"a list of 1 to {MAX_LAYERS} layers"),
    ]
    tensors: Annotated[tuple[Tensor, ...], Meta(description="a list of tensors")] = ()
    ties: Annotated[
        tuple[Annotated[tuple[LayerName, ...], Meta(min_length=2)], ...],
        Meta(description="a list of groups, each a list of the names of 2 layers or more"),
    ] = ()
    batch: Annotated[float, positive("examples")] = 1.0
    architecture: Text = ""
    mode: Mode | None = None
    precision: Name | None = None
    sequence: Count | None = None
    optimizer: Text = ""
    zero: Annotated[int, Meta(ge=0, le=3, description="0, 1, 2 or 3")] | None = None
    context: Count | None = None
    concurrency: Count | None = None
    kv_cache: Name | None = None
    notes: Annotated[
        tuple[Name, ...], Meta(max_length=MAX_NOTES, description=f"a list of 0 to {MAX_NOTES} sentences")
    ] = ()

    def __post_init__(self) -> None:
        owner = f"workload {show(self.name)}"
        check_fields(self, owner)
        force_setattr(self, "notes", tuple(map(sentence, self.notes)))
        known = {layer.name for layer in self.layers}
        if len(known) < len(self.layers):
            _refuse_repeats("layers", [layer.name for layer in self.layers], owner, ".name")
        for index, tensor in enumerate(self.tensors):
            _require_known(f"tensors[{index}].producer", tensor.producer, known, owner)
            for place, consumer in enumerate(tensor.consumers):
                _require_known(f"tensors[{index}].consumers[{place}]", consumer, known, owner)
        for index, tie in enumerate(self.ties):
            for place, name in enumerate(tie):
                _require_known(f"ties[{index}][{place}]", name, known, owner)
            _refuse_repeats(f"ties[{index}]", tie, owner)

    def __str__(self) -> str:
        kinds = Counter(layer.kind for layer in self.layers if layer.kind).most_common(4)
        named = f" ({', '.join(f'{count} {kind}' for kind, count in kinds)})" if kinds else ""
        types = dict.fromkeys(type_ for layer in self.layers for type_ in layer.compute)
        times = ", ".join(f"{type_} {self._seconds(type_)}" for type_ in types)
        memory = sum(most(layer.memory) for layer in self.layers)
        moved = sum(tensor.bytes for tensor in self.tensors)
        notes = f" Notes: {len(self.notes)}." if self.notes else ""
        return printable(
            f"Workload {self.name!r}: {len(self.layers)} layers{named} of {memory:.4g} bytes in all, "
            f"{len(self.tensors)} tensors of {moved:.4g} bytes, {len(self.ties)} groups of shared weights; "
            f"all layers on one device, a batch of {self.batch:g}: {times}.{notes}"
        )

    def __repr__(self) -> str:
        types = ", ".join(dict.fromkeys(type_ for layer in self.layers for type_ in layer.compute))
        return printable(f"<Workload {self.name}: {len(self.layers)} layers with times on {types}>")

    @property
    def conditions(self) -> Conditions:
        """The conditions of its times and sizes."""
        fields = Conditions.__struct_fields__
        return Conditions(**{field: getattr(self, field) for field in fields})

    def _seconds(self, type_: str) -> str:
        times = [layer.compute.get(type_) for layer in self.layers]
        known = [time for time in times if time is not None]
        missing = f" ({len(times) - len(known)} layers without a time)" if len(known) < len(times) else ""
        return f"{sum(known):.4g} s{missing}"


def _require_known(where: str, name: str, known: set[str], owner: str) -> None:
    if name not in known:
        raise InputError(f"{where} is {show(name)}; it must be the name of a layer ({owner})")


def _refuse_repeats(where: str, names: Iterable[str], owner: str, part: str = "") -> None:
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if first.setdefault(name, index) != index:
            earlier = f"{where}[{first[name]}]{part}"
            raise InputError(
                f"{where}[{index}]{part} is {show(name)}; it must differ from {earlier}, the same ({owner})"
            )
