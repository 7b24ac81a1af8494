"""ONNX files: each node's operations and bytes, counted from the shapes that the file implies.

The network is not run, so its backward pass is estimated: two products for each product, of
what its inputs need, twice the bytes, and the inputs kept.  Node by node, a layer ends where a single tensor
passes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from math import ceil, prod
from pathlib import Path
from typing import Any, NamedTuple

import onnx
from onnx import inliner

from ..errors import InputError
from ..fields import first_line, show
from ..readers.bounded import about, read_bytes
from .network import Network, Options
from .onnx_flat import Flat
from .onnx_flops import flops, kind_of
from .onnx_nodes import UnknownShapeError, node_name, qualified, unfit
from .onnx_values import BITS, Tensor
from .trace import Cut, Kernel, Operation, Trace, Weight

MOST_BYTES = 2**31 - 1  # which protobuf allows
PRECISION_BITS = {"fp32": 32, "tf32": 32, "fp16": 16, "bf16": 16}

# They only change the shape of a tensor, or move no data.
FREE = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Shape", "Size", "Dropout"}
NOTHING = Operation(0.0, 0.0, (), (), ())
UNPACKS = {"DequantizeLinear", "Reshape", "Transpose"}
GATHERS = {"Gather", "GatherElements", "GatherND", "Slice"}

Types = onnx.TensorProto
FLOATS = {Types.FLOAT, Types.FLOAT16, Types.BFLOAT16, Types.DOUBLE}
# Wider integers are shapes and indices, except 32 bits: biases of quantised products.
WEIGHTS = {type_ for type_, bits in BITS.items() if bits <= 16} | FLOATS | {Types.INT32} - {Types.BOOL}

ESTIMATED = (
    "an ONNX file has no backward pass; it is estimated as two products for each product, and twice the bytes"
)


class _Value(NamedTuple):
    """A tensor of the graph."""

    shape: tuple[int, ...]
    bytes: float


def read(path: Path, options: Options) -> Network:
    """Read an ONNX file.

    Parameters
    ----------
    path
        The file; weights beside it are not read.
    options
        How; `shape` is that of the first input, `axes` the sizes of dimensions that have names instead of
        sizes, and `batch` and `sequence` those of other first dimensions and of all the rest.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is not a valid ONNX file, or sizes are not known, or a layer is not a node.
    """
    raw = read_bytes(path, MOST_BYTES)
    with about(path), _one_line():
        model = onnx.load_model_from_string(raw)
        known: dict[str, int] = {}
        batch = _fix_sizes(model.graph, options, known)
        declared = _declared(model.graph, known)
        if model.functions:
            model = inliner.inline_local_functions(model)
        flat = Flat(model, path.parent, declared)
        precision = options.precision or _precision(flat.values.constants.values())
        graph = _Graph(flat, PRECISION_BITS.get(options.precision or ""))
        trace = graph.trace(options.train)
        cuts = graph.cuts(trace, options.layers)
        notes = [*([ESTIMATED] if options.train else []), *flat.notes, *graph.notes()]
    return Network(path.stem, trace, cuts, batch, precision, _refuse, notes=tuple(notes))


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn exceptions of protobuf and onnx, whose only common base is Exception, into one sentence."""
    try:
        yield
    except ValueError:
        raise
    except Exception as error:
        raise InputError(f"it is not a valid ONNX file: {first_line(error)}") from error


def _refuse(repeats: int, max_spread: float) -> Any:
    raise InputError("measure is given, but an ONNX file is only estimated; it must be absent")


# Sizes --------------------------------------------------------------------------------------------------


def _fix_sizes(graph: Any, options: Options, known: dict[str, int]) -> int:
    """Set the inputs' dimensions that have no size, and return that of the first, the batch."""
    weights = {weight.name for weight in graph.initializer}
    weights |= {weight.values.name for weight in graph.sparse_initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if not inputs:
        raise InputError("it has no inputs, so its batch size is not known")
    _check_axes(options.axes or {}, inputs)
    for place, value in enumerate(inputs):
        _fix_input(value, options.shape if place == 0 else None, options, known)
    return _batch(inputs[0], options.batch)


def _check_axes(axes: Mapping[str, int], inputs: Sequence[Any]) -> None:
    """Raise ValueError unless each name in a table is that of a dimension without a size."""
    free: dict[str, None] = {}
    for value in inputs:
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if dimension.dim_value <= 0:
                free[dimension.dim_param or _placed(value.name, axis)] = None
    for name in axes:
        if name not in free:
            known = f"one of {', '.join(map(show, free))}" if free else "absent: all dimensions have sizes"
            raise InputError(f"axes has {show(name)}; it must be {known}")


def _placed(name: str, axis: int) -> str:
    """Name of a dimension without one: that of its input, and its place."""
    return f"{name}:{axis}"


def _fix_input(value: Any, shape: Sequence[int] | None, options: Options, known: dict[str, int]) -> None:
    called = show(value.name)
    kind = value.type.WhichOneof("value") or "type that is absent"
    if kind == "optional_type":
        kept = onnx.TypeProto()
        kept.CopyFrom(value.type.optional_type.elem_type)
        value.type.CopyFrom(kept)
        kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise InputError(f"input {called} is a {kind.replace('_', ' ')}; it must be a tensor")
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        if shape is None:
            raise InputError(f"input {called} has no shape; shape must be given, for the first input alone")
        tensor.shape.dim.extend(onnx.TensorShapeProto.Dimension() for _ in shape)
    dimensions = tensor.shape.dim
    if shape is not None and len(shape) != len(dimensions):
        raise InputError(
            f"shape is {show(tuple(shape))}; it must have {len(dimensions)} sizes, as input {called}"
        )
    for axis, dimension in enumerate(dimensions):
        size = shape[axis] if shape is not None else _size(dimension, axis, value.name, options, known)
        if dimension.dim_param:
            known.setdefault(dimension.dim_param, size)
        dimension.dim_value = size


def _declared(graph: Any, known: Mapping[str, int]) -> dict[str, Tensor]:
    """Shapes that the file says values have, where names in them stand for sizes that are known."""
    declared = {}
    for value in (*graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        sizes = [d.dim_value or known.get(d.dim_param, 0) for d in tensor.shape.dim]
        if value.type.HasField("tensor_type") and tensor.HasField("shape") and min(sizes, default=1) > 0:
            declared[value.name] = Tensor(tensor.elem_type, tuple(sizes))
    return declared


def _precision(constants: Iterable[Tensor]) -> str:
    """Precision of most weights; fp32 where they have another."""
    sizes: Counter[int] = Counter()
    for tensor in constants:
        if tensor.type in FLOATS:
            sizes[tensor.type] += prod(tensor.shape)
    most = max(sizes, key=lambda type_: sizes[type_], default=Types.FLOAT)
    return "fp16" if most == Types.FLOAT16 else "bf16" if most == Types.BFLOAT16 else "fp32"


def _batch(first: Any, given: int | None) -> int:
    """Count the examples of a batch: the first size of the first input; another one cannot be given."""
    dimensions = first.type.tensor_type.shape.dim
    if not dimensions:
        return given or 1
    size = int(dimensions[0].dim_value)
    if given not in (None, size):
        raise InputError(f"batch is {given}; it must be {size}, as input {show(first.name)} has, or absent")
    return size


def _size(dimension: Any, axis: int, name: str, options: Options, known: Mapping[str, int]) -> int:
    if dimension.dim_value > 0:
        return int(dimension.dim_value)
    if dimension.dim_param in known:
        return known[dimension.dim_param]
    called = dimension.dim_param or _placed(name, axis)
    if options.axes is not None and called in options.axes:
        return options.axes[called]
    size = options.examples() if axis == 0 else options.sequence
    if size is None:
        raise InputError(
            f"input {show(name)} has no size for dimension {show(dimension.dim_param or axis)}; shape, "
            f"sequence or axes must be given, the last with {show(called)}"
        )
    return size


# Counting -----------------------------------------------------------------------------------------------


class _Graph:
    """A flat graph, and what its nodes do."""

    def __init__(self, flat: Flat, float_bits: int | None) -> None:
        self.flat = flat
        self.nodes = flat.nodes
        self.names = _unique_names(flat)
        self.float_bits = float_bits  # of each floating-point number; None: as in the file
        self.values = {
            name: _Value(tensor.shape, self._size(tensor)) for name, tensor in flat.values.tensors.items()
        }
        self.number: dict[str, int] = {}  # of each value that a node makes
        self.weights: list[Weight] = []
        self.vectors: set[int] = set()  # the weights that are vectors
        self.held: dict[str, tuple[int, ...]] = {}  # weights that a constant is made of
        self.unsized: dict[str, str] = {}  # values whose size is not known, and the node that makes each
        self.unused: list[Weight] = []
        for name, tensor in flat.values.constants.items():
            self._add_constant(name, tensor)

    def _add_constant(self, name: str, tensor: Tensor) -> None:
        self.held[name] = ()
        if tensor.type in WEIGHTS and prod(tensor.shape) > 1:
            self.held[name] = (len(self.weights),)
            if sum(size > 1 for size in tensor.shape) < 2:
                self.vectors.add(len(self.weights))
            self.weights.append(Weight(name, self.values[name].bytes, tensor.type in FLOATS))

    def _size(self, tensor: Tensor) -> float:
        is_float = tensor.type in FLOATS or not tensor.type
        bits = self.float_bits if is_float and self.float_bits else BITS.get(tensor.type, 32)
        return float(ceil(prod(tensor.shape) * bits / 8))

    def trace(self, train: bool) -> Trace:
        """Count what each node does."""
        trace = Trace()
        trace.operations += [self._operation(node, trace) for node in self.nodes]
        used = {weight for operation in trace.operations for weight in operation.weights}
        trace.weights = {weight: self.weights[weight] for weight in sorted(used)}
        names = {weight.name for weight in trace.weights.values()}
        self.unused = [weight for weight in self.weights if weight.name not in names]
        if train:
            _add_backward(trace)
        return trace

    def _operation(self, node: Any, trace: Trace) -> Operation:
        inputs = [name for name in dict.fromkeys(node.input) if name]
        outputs = [name for name in node.output if name]
        weights = tuple(weight for name in inputs for weight in self.held.get(name, ()))
        if inputs and all(name in self.held for name in inputs):  # made once, before the first example
            self.held.update((name, weights) for name in outputs)
            self._keep_packed(node)
            return NOTHING
        (count, known), moved = self._flops(node), self._moved(node.op_type, inputs, outputs)
        if not known:
            trace.note_uncounted(qualified(node), moved)
        self.unsized.update((name, node_name(node)) for name in outputs if name not in self.values)
        return Operation(
            count,
            moved,
            tuple(self.number[name] for name in inputs if name in self.number),
            tuple((self.number.setdefault(name, len(self.number)), self._bytes(name)) for name in outputs),
            tuple(self._copy(weight) for weight in weights),
            kind_of(node),
        )

    def _keep_packed(self, node: Any) -> None:
        """Count quantised weights at their packed size: runtimes unpack them within the product."""
        whole, made = node.input[0], node.output[0]
        if node.op_type in UNPACKS and made in self.values:
            value = self.values[made]
            self.values[made] = value._replace(bytes=min(value.bytes, self._bytes(whole)))

    def _flops(self, node: Any) -> tuple[float, bool]:
        try:
            return flops(node, self.flat.values.shape)
        except UnknownShapeError as error:
            raise InputError(f"node {show(node_name(node))} cannot be counted; {error}") from None
        except (ArithmeticError, LookupError, TypeError, ValueError):
            raise InputError(unfit(node)) from None

    def _copy(self, weight: int) -> int:
        """Copy a vector for each of its uses: exporters merge vectors of equal values."""
        if weight in self.vectors:
            self.weights.append(self.weights[weight])
            self.vectors.add(len(self.weights) - 1)
            return len(self.weights) - 1
        return weight

    def _bytes(self, name: str) -> float:
        return self.values[name].bytes if name in self.values else 0.0

    def _moved(self, kind: str, inputs: Sequence[str], outputs: Sequence[str]) -> float:
        if kind in FREE:
            return 0.0
        written = sum(map(self._bytes, outputs))
        return 2 * written if kind in GATHERS else written + sum(map(self._bytes, inputs))

    def notes(self) -> Iterator[str]:
        """Note what was not counted, or not exactly."""
        if self.flat.values.has_sparse:
            yield "sparse weights are counted as dense ones, as runtimes keep them"
        if self.unused:
            total = sum(weight.bytes for weight in self.unused)
            yield (
                f"{len(self.unused)} weights of {total:.4g} bytes are left out, for no node reads them; the "
                f"first is {show(self.unused[0].name)}"
            )
        if self.unsized:
            value, node = next(iter(self.unsized.items()))
            yield (
                f"sizes of {len(self.unsized)} values depend on numbers, the first is {show(value)} of node "
                f"{show(node)}: they are counted as empty"
            )

    def cuts(self, trace: Trace, layers: Sequence[str] | int | None) -> list[Cut]:
        """Cut at given nodes, or where names change at a depth, or where a single tensor passes on."""
        if not self.nodes:
            raise InputError("it has no nodes; a network to be placed must have some")
        if layers is None:
            starts = _single_tensors(trace)
        elif isinstance(layers, int):
            starts = self._changes(layers)
        else:
            starts = self._places(layers)
        starts = [start for start in starts if not self._is_inside(start)]
        ends = [*starts[1:], len(self.nodes)]
        cuts = [self._cut(trace, start, end) for start, end in zip(starts, ends, strict=True)]
        held = [cut for cut in cuts if cut.weights]
        large = [cut for cut in held if layers is not None or self._is_layer(cut)]
        return large or held[:1] or cuts[:1]

    def _is_inside(self, place: int) -> bool:
        """Whether a node is in a loop, after its first node: a loop cannot be cut."""
        loops = self.flat.loops
        return place > 0 and loops[place] != "" and loops[place] == loops[place - 1]

    def _cut(self, trace: Trace, start: int, end: int) -> Cut:
        operations = trace.operations[start:end]
        weights = dict.fromkeys(weight for operation in operations for weight in operation.weights)
        largest = max(range(len(operations)), key=lambda place: (operations[place].flops, -place))
        kind = self.nodes[start + largest].op_type.lower()
        first = next((place for place, operation in enumerate(operations) if operation.writes), 0)
        place = start + first
        while self._is_inside(place):
            place -= 1
        return Cut(self.names[place], kind, start, tuple(weights))

    def _is_layer(self, cut: Cut) -> bool:
        """Whether a layer has weights other than vectors, unlike a norm; else it joins the previous one."""
        return not self.vectors.issuperset(cut.weights)

    def _changes(self, depth: int) -> list[int]:
        """Nodes before which the first parts of the name change."""
        parts = ["/".join(name.strip("/").split("/")[:depth]) for name in self.names]
        return [place for place, part in enumerate(parts) if place == 0 or part != parts[place - 1]]

    def _places(self, layers: Sequence[str]) -> list[int]:
        places = {name: place for place, name in enumerate(self.names) if not self._is_inside(place)}
        for index, layer in enumerate(layers):
            if layer not in places:
                called = [name for name in places if name.startswith(f"{layer}:")]
                rest = f"one of {', '.join(map(show, called[:9]))}" if called else "the name of a node"
                raise InputError(f"layers[{index}] is {show(layer)}; it must be {rest}")
        return sorted({places[layer] for layer in layers})


def _unique_names(flat: Flat) -> list[str]:
    """Name nodes, the first of a loop as the loop; outputs distinguish nodes of the same name."""
    names = [node_name(node) for node in flat.nodes]
    for place, loop in enumerate(flat.loops):
        if loop and (place == 0 or flat.loops[place - 1] != loop):
            names[place] = loop
    count = Counter(names)
    made = (next(filter(None, node.output), place) for place, node in enumerate(flat.nodes))
    return [f"{name}:{what}" if count[name] > 1 else name for name, what in zip(names, made, strict=True)]


def _single_tensors(trace: Trace) -> list[int]:
    """Operations before which a single tensor that depends on weights passes on, and the first."""
    made = trace.made_with_weights()
    last: dict[int, int] = {}  # the operation that reads a value last
    for index, operation in enumerate(trace.operations):
        for value in operation.reads:
            last[value] = index
    change = [0] * (len(trace.operations) + 1)
    for value, (index, _) in made.items():
        if last.get(value, -1) > index:
            change[index + 1] += 1
            change[last[value] + 1] -= 1
    alive = list(accumulate(change))
    return [0, *(index for index in range(1, len(trace.operations)) if alive[index] == 1)]


def _add_backward(trace: Trace) -> None:
    """Estimate the backward pass: a product for each input that needs a gradient, twice the bytes."""
    made = trace.made_with_weights()
    for index, operation in enumerate(trace.operations):
        kept = [value for value in operation.reads if value in made]
        trained = [weight for weight in operation.weights if trace.weights[weight].trained]
        if kept or trained:
            products = min(2, len(kept) + len(trained))
            kernel = Kernel(products * operation.flops, 2 * operation.bytes, operation.kind)
            trace.backward.append((index, kernel))
            if operation.bytes:
                trace.saved.update({(index, value): made[value][1] for value in kept})
                trace.values.update({value: value for value in kept})
