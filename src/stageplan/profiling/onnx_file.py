"""ONNX files: each node's operations and bytes, counted from the shapes that the file implies.

Nobody runs the network, so what a backward pass would do is estimated: two products for each product, of
what its inputs need, twice the bytes, and the inputs kept.  Node by node, a layer ends where a single tensor
passes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import onnx
from onnx import inliner, shape_inference

from ..fields import first_line, show
from ..readers.bounded import about
from .network import Network, Options
from .trace import Cut, Operation, Trace, Weight

VALUE = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2}  # bytes of a floating-point value

# They give a tensor another shape, or none that moves.
FREE = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Shape", "Size", "Dropout"}
NOTHING = Operation(0.0, 0.0, (), (), ())
GATHERS = {"Gather", "GatherElements", "GatherND", "Slice"}

FLOATS = {
    onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE
}  # fmt: skip
WEIGHTS = FLOATS | {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}

ESTIMATED = (
    "an ONNX file has no backward pass; it is estimated as two products for each product, and twice the bytes"
)

Shape = tuple[int, ...]


class _Value(NamedTuple):
    """A tensor of the graph."""

    shape: Shape
    bytes: float


def read(path: Path, options: Options) -> Network:
    """Read an ONNX file.

    Parameters
    ----------
    path
        The file; weights beside it are not read.
    options
        How; `shape` is that of the first input, and `batch` and `sequence` the sizes of first and other
        dimensions that have names instead of sizes.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is not a valid ONNX file, or sizes are not known, or a layer is no node.
    """
    raw = path.read_bytes()
    with about(path), _one_line():
        model = onnx.load_model_from_string(raw)
        batch = _fix_sizes(model.graph, options)
        model = shape_inference.infer_shapes(inliner.inline_local_functions(model), data_prop=True)
        graph = _Graph(model.graph, VALUE[options.precision or "fp32"])
        trace = graph.trace(options.train)
        cuts = graph.cuts(trace, options.layers)
    notes = (ESTIMATED,) if options.train else ()
    return Network(path.stem, trace, cuts, batch, options.precision or "fp32", _refuse, notes=notes)


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn what protobuf and onnx raise, which has no common base but Exception, into one sentence."""
    try:
        yield
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"it is not a valid ONNX file: {first_line(error)}") from error


def _refuse(repeats: int, max_spread: float) -> Any:
    raise ValueError("measure is given, but an ONNX file is only estimated; it must be absent")


# Sizes --------------------------------------------------------------------------------------------------


def _fix_sizes(graph: Any, options: Options) -> int:
    """Give the inputs' dimensions that have no size one, and return that of the first, the batch."""
    weights = {weight.name for weight in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if not inputs:
        raise ValueError("it has no inputs; its batch cannot be told")
    known: dict[str, int] = {}
    for place, value in enumerate(inputs):
        shape = options.shape if place == 0 else None
        dimensions = value.type.tensor_type.shape.dim
        if shape is not None and len(shape) != len(dimensions):
            given = show(tuple(shape))
            raise ValueError(
                f"shape is {given}; it must have {len(dimensions)} sizes, as input {show(value.name)}"
            )
        for axis, dimension in enumerate(dimensions):
            size = shape[axis] if shape is not None else _size(dimension, axis, value.name, options, known)
            if dimension.dim_param:
                known.setdefault(dimension.dim_param, size)
            dimension.dim_value = size
    del graph.value_info[:]  # what it says of values in between may still have names
    return _batch(inputs[0], options.batch)


def _batch(first: Any, given: int | None) -> int:
    """Count the examples of a batch: the first size of the first input; another one cannot be given."""
    dimensions = first.type.tensor_type.shape.dim
    if not dimensions:
        return given or 1
    size = int(dimensions[0].dim_value)
    if given not in (None, size):
        raise ValueError(f"batch is {given}; it must be {size}, as input {show(first.name)} has, or absent")
    return size


def _size(dimension: Any, axis: int, name: str, options: Options, known: Mapping[str, int]) -> int:
    if dimension.dim_value:
        return int(dimension.dim_value)
    if dimension.dim_param in known:
        return known[dimension.dim_param]
    size = options.examples() if axis == 0 else options.sequence
    if size is None:
        called = dimension.dim_param or axis
        raise ValueError(
            f"input {show(name)} has no size for dimension {show(called)}; shape or sequence must be given"
        )
    return size


# Counting -----------------------------------------------------------------------------------------------


class _Graph:
    """A graph whose shapes are known."""

    def __init__(self, graph: Any, value_bytes: int) -> None:
        constants = [node for node in graph.node if node.op_type == "Constant"]
        self.nodes = [node for node in graph.node if node.op_type != "Constant"]
        self.value_bytes = value_bytes
        self.values: dict[str, _Value] = {}
        self.number: dict[str, int] = {}  # of each value that a node makes
        self.weights: list[Weight] = []
        self.vectors: set[int] = set()  # the weights that are vectors
        self.held: dict[str, tuple[int, ...]] = {}  # weights that a constant is made of
        for value in (*graph.input, *graph.value_info, *graph.output):
            self._add_value(value.name, value.type.tensor_type)
        for weight in graph.initializer:
            self._add_constant(weight.name, weight)
        for node in constants:
            self._add_constant(node.output[0], _attribute(node, "value", onnx.TensorProto()))

    def _add_value(self, name: str, type_: Any) -> None:
        dimensions = type_.shape.dim if type_.HasField("shape") else None
        if dimensions is not None and all(dimension.HasField("dim_value") for dimension in dimensions):
            shape = tuple(dimension.dim_value for dimension in dimensions)
            self.values[name] = _Value(shape, prod(shape) * self._size(type_.elem_type))

    def _add_constant(self, name: str, tensor: Any) -> None:
        shape = tuple(tensor.dims)
        self.values[name] = _Value(shape, prod(shape) * self._size(tensor.data_type))
        self.held[name] = ()
        if tensor.data_type in WEIGHTS and prod(shape) > 1:
            self.held[name] = (len(self.weights),)
            if sum(size > 1 for size in shape) < 2:
                self.vectors.add(len(self.weights))
            self.weights.append(Weight(name, self.values[name].bytes, tensor.data_type in FLOATS))

    def _size(self, type_: int) -> int:
        if type_ in FLOATS or not type_:
            return self.value_bytes
        return int(onnx.helper.tensor_dtype_to_np_dtype(type_).itemsize)

    def trace(self, train: bool) -> Trace:
        """Count what each node does."""
        trace = Trace(operations=[self._operation(node) for node in self.nodes])
        used = {weight for operation in trace.operations for weight in operation.weights}
        trace.weights = {weight: self.weights[weight] for weight in sorted(used)}
        if train:
            _add_backward(trace)
        return trace

    def _operation(self, node: Any) -> Operation:
        if any(attribute.HasField("g") for attribute in node.attribute):
            raise ValueError(
                f"node {show(_name(node))} is a {node.op_type}, whose operations cannot be counted"
            )
        inputs = [name for name in dict.fromkeys(node.input) if name]
        outputs = [name for name in node.output if name]
        weights = tuple(weight for name in inputs for weight in self.held.get(name, ()))
        if inputs and all(name in self.held for name in inputs):  # made once, before the first example
            self.held.update((name, weights) for name in outputs)
            return NOTHING
        return Operation(
            FLOPS[node.op_type](self, node) if node.op_type in FLOPS else 0.0,
            self._moved(node.op_type, inputs, outputs),
            tuple(self.number[name] for name in inputs if name in self.number),
            tuple((self.number.setdefault(name, len(self.number)), self._bytes(name)) for name in outputs),
            tuple(self._copy(weight) for weight in weights),
        )

    def _copy(self, weight: int) -> int:
        """Copy a vector for each of its uses: exporters make one of those that have equal values."""
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

    def shape(self, name: str, node: Any) -> Shape:
        """Shape of a value that a node needs to be counted."""
        if name not in self.values:
            where = f"node {show(_name(node))} has {show(name)}"
            raise ValueError(f"{where} of unknown shape; its operations cannot be counted")
        return self.values[name].shape

    def cuts(self, trace: Trace, layers: Sequence[str] | int | None) -> list[Cut]:
        """Cut at given nodes, or where names change at a depth, or where a single tensor passes on."""
        if layers is None:
            starts = _single_tensors(trace)
        elif isinstance(layers, int):
            starts = self._changes(layers)
        else:
            starts = self._places(layers)
        ends = [*starts[1:], len(self.nodes)]
        cuts = [self._cut(trace, start, end) for start, end in zip(starts, ends, strict=True)]
        return [cut for cut in cuts if cut.weights and (layers is not None or self._is_layer(cut))]

    def _cut(self, trace: Trace, start: int, end: int) -> Cut:
        operations = trace.operations[start:end]
        weights = dict.fromkeys(weight for operation in operations for weight in operation.weights)
        largest = max(range(len(operations)), key=lambda place: (operations[place].flops, -place))
        kind = self.nodes[start + largest].op_type.lower()
        first = next((place for place, operation in enumerate(operations) if operation.writes), 0)
        return Cut(_name(self.nodes[start + first]), kind, start, tuple(weights))

    def _is_layer(self, cut: Cut) -> bool:
        """Whether a layer has more than vectors, as a norm has; else it joins the one before."""
        return not self.vectors.issuperset(cut.weights)

    def _changes(self, depth: int) -> list[int]:
        """Nodes before which the first parts of the name change."""
        parts = ["/".join(_name(node).strip("/").split("/")[:depth]) for node in self.nodes]
        return [place for place, part in enumerate(parts) if place == 0 or part != parts[place - 1]]

    def _places(self, layers: Sequence[str]) -> list[int]:
        names = {_name(node): place for place, node in enumerate(self.nodes)}
        for index, layer in enumerate(layers):
            if layer not in names:
                raise ValueError(f"layers[{index}] is {show(layer)}; it must be the name of a node")
        return sorted({names[layer] for layer in layers})


def _name(node: Any) -> str:
    """Name of a node, or of what it makes where it has none."""
    return str(node.name or node.output[0])


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
            trace.backward.append((index, products * operation.flops, 2 * operation.bytes))
            if operation.bytes:
                trace.saved.update({(index, value): made[value][1] for value in kept})


# Floating-point operations ------------------------------------------------------------------------------


def _attribute(node: Any, name: str, default: Any) -> Any:
    found = (onnx.helper.get_attribute_value(item) for item in node.attribute if item.name == name)
    return next(found, default)


def _product(graph: _Graph, node: Any) -> float:
    """Matrix product: as many operations for each number as the rows of the left one are long, twice."""
    axis = -2 if _attribute(node, "transA", 0) else -1
    return 2.0 * prod(graph.shape(node.output[0], node)) * graph.shape(node.input[0], node)[axis]


def _convolution(graph: _Graph, node: Any, weight: int = 1) -> float:
    kernel = graph.shape(node.input[weight], node)
    return 2.0 * prod(graph.shape(node.output[0], node)) * prod(kernel[1:])


def _transposed_convolution(graph: _Graph, node: Any) -> float:
    kernel = graph.shape(node.input[1], node)
    return 2.0 * prod(graph.shape(node.input[0], node)) * prod(kernel[1:])


def _recurrence(graph: _Graph, node: Any) -> float:
    """Each step multiplies the input and the state by their weights, of all gates and directions."""
    steps = prod(graph.shape(node.input[0], node)[:2])
    return 2.0 * steps * sum(prod(graph.shape(name, node)) for name in node.input[1:3])


def _attention(graph: _Graph, node: Any) -> float:
    """Multiply queries by keys, and what comes of it by values."""
    query, key, out = (graph.shape(name, node) for name in (*node.input[:2], node.output[0]))
    return 2.0 * key[-2] * (prod(query) + prod(out))


def _einsum(graph: _Graph, node: Any) -> float:
    """Every combination of its letters, twice."""
    terms = _attribute(node, "equation", b"").decode().replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, name in zip(terms, node.input, strict=True):
        if "." in term:
            raise ValueError(f"node {show(_name(node))} has an ellipsis; its operations cannot be counted")
        sizes |= dict(zip(term, graph.shape(name, node), strict=True))
    return 2.0 * prod(sizes.values())


FLOPS: dict[str, Callable[[_Graph, Any], float]] = {
    "MatMul": _product,
    "MatMulInteger": _product,
    "Gemm": _product,
    "QLinearMatMul": _product,
    "Conv": _convolution,
    "ConvInteger": _convolution,
    "QLinearConv": lambda graph, node: _convolution(graph, node, weight=3),
    "ConvTranspose": _transposed_convolution,
    "LSTM": _recurrence,
    "GRU": _recurrence,
    "RNN": _recurrence,
    "Attention": _attention,
    "Einsum": _einsum,
}
