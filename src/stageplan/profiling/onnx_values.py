"""Known properties of the values of an ONNX graph: types and shapes, and the numbers of small ones.

Types are inferred by onnx, node after node; small values, such as shapes that a graph computes, are computed
by its reference implementation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from ..errors import InputError
from ..fields import first_line, show
from .onnx_nodes import Shape, UnknownShapeError, attribute, domain, node_name, qualified, unfit
from .onnx_shapes import output_shapes

SMALL = 1024  # numbers of a value that is computed
SHAPE_SIZE = 64  # numbers of a constant beside the file that may say a shape
MOST_NUMBERS = 2**60  # of a tensor

# Bits of a number, as the name of its type says; small ones are packed.
BITS = {
    number: int((re.findall(r"\d+", name) or [{"DOUBLE": 64, "BOOL": 8, "STRING": 64}.get(name, 32)])[0])
    for name, number in onnx.TensorProto.DataType.items()
}


class Tensor(NamedTuple):
    """A value's type and shape."""

    type: int  # as in onnx.TensorProto
    shape: Shape


class Values:
    """Values of a graph, by name.

    Attributes
    ----------
    tensors : dict of str to Tensor
        Those whose shapes are known.
    constants : dict of str to Tensor
        Initialisers and outputs of Constant nodes.
    reasons : dict of str to str
        Why the shape of a value is not known.
    has_sparse : bool
        Whether one of the constants is sparse.
    """

    def __init__(self, model: Any, folder: Path, declared: Mapping[str, Tensor]) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.constants: dict[str, Tensor] = {}
        self.reasons: dict[str, str] = {}
        self.has_sparse = False
        self.opsets = {domain(opset): opset.version for opset in model.opset_import}
        self._ir_version = model.ir_version
        self._folder = folder
        self._declared = declared
        self._types: dict[str, Any] = {}  # onnx.TypeProto of each value, where anything is known
        self._data: dict[str, Any] = {}  # onnx.TensorProto of small values
        self._evaluators: dict[bytes, ReferenceEvaluator] = {}  # by node

    def shape(self, name: str) -> Shape:
        """Shape of a value; UnknownShapeError, with the reason, where it is not known."""
        if name not in self.tensors:
            raise UnknownShapeError(f"the shape of {show(name)} is not known{self._because(name)}")
        return self.tensors[name].shape

    def _because(self, name: str) -> str:
        return f": {self.reasons[name]}" if name in self.reasons else ""

    def add_type(self, name: str, type_: Any) -> None:
        """Add a value of a type, an onnx.TypeProto, with what that says of its shape."""
        self._types[name] = type_
        tensor = type_.tensor_type
        shape = tuple(dimension.dim_value for dimension in tensor.shape.dim)
        known = all(d.HasField("dim_value") and d.dim_value >= 0 for d in tensor.shape.dim)
        if type_.HasField("tensor_type") and tensor.HasField("shape") and known:
            self.tensors[name] = Tensor(tensor.elem_type, _checked(name, shape))

    def set(self, name: str, tensor: Tensor) -> None:
        """Add a tensor of a known shape."""
        self.add_type(name, helper.make_tensor_type_proto(tensor.type, tensor.shape))

    def add_constant(self, name: str, tensor: Any, type_: int = 0) -> None:
        """Add a dense or sparse tensor, which has the type of its numbers; only once if it is repeated."""
        if name in self.constants:
            return
        dims = tuple(tensor.dims)
        if any(size < 0 for size in dims):
            raise InputError(f"tensor {show(name)} has shape {show(dims)}; sizes must be 0 or more")
        self.constants[name] = Tensor(type_ or tensor.data_type, dims)
        self.set(name, self.constants[name])
        if not type_ and prod(dims) <= SMALL and self._has_values(name, tensor):
            self._keep(name, tensor)

    def _has_values(self, name: str, tensor: Any) -> bool:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            return True
        try:
            return prod(tensor.dims) <= SHAPE_SIZE and _read_values(tensor, self._folder)
        except (OSError, ValueError, KeyError) as error:
            self.reasons[name] = (
                f"the values of {show(name)}, beside the file, cannot be read: {first_line(error)}"
            )
            return False

    def _keep(self, name: str, tensor: Any) -> None:
        kept = onnx.TensorProto()
        kept.CopyFrom(tensor)
        kept.name = name
        self._data[name] = kept

    def value(self, name: str) -> Any:
        """Return a small value as an array, or None where it is not known."""
        try:
            return numpy_helper.to_array(self._data[name]) if name in self._data else None
        except Exception:  # onnx's exceptions for bytes that do not fit the shape have no common base
            return None

    def add_sparse(self, name: str, sparse: Any) -> None:
        """Add a sparse constant, as if it were dense."""
        self.add_constant(name, sparse, sparse.values.data_type)
        self.has_sparse = True

    def add_constant_node(self, node: Any, name: str) -> None:
        """Add the output of a Constant node."""
        value, sparse = attribute(node, "value", None), attribute(node, "sparse_value", None)
        if sparse is not None:
            self.add_sparse(name, sparse)
            return
        if value is None:  # value_int, value_floats and so on
            given = next((helper.get_attribute_value(item) for item in node.attribute), 0)
            listed = given if isinstance(given, (list, tuple)) else [given]
            is_float = any(isinstance(item, float) for item in listed)
            value = numpy_helper.from_array(np.array(given, np.float32 if is_float else None), name)
        self.add_constant(name, value)

    def add_outputs(self, node: Any) -> None:
        """Infer the outputs of a node, and compute them if they are small and its inputs are known."""
        for name, type_ in self._infer(node).items():
            self.add_type(name, type_)
        for name in filter(None, node.output):
            if name not in self.tensors and name in self._declared:
                self.set(name, self._declared[name])
                self.reasons.pop(name, None)
            if name not in self.tensors:
                self.reasons.setdefault(name, self._reason(node))
        self._evaluate(node)

    def _reason(self, node: Any) -> str:
        """Say why the shapes of a node's outputs are not known: those of its inputs are not, or it is."""
        before = (self.reasons[name] for name in node.input if name in self.reasons)
        what = f"node {show(node_name(node))}, {node.op_type}, makes what depends on numbers"
        return next(before, what)

    def _infer(self, node: Any) -> dict[str, Any]:
        """Types of a node's outputs; where they are not known, the reason is noted."""
        read = [name for name in node.input if name]
        if (outputs := self._contrib(node)) is not None:
            return outputs
        try:
            schema = onnx.defs.get_schema(node.op_type, self.opsets.get(domain(node), 1), domain(node))
            return shape_inference.infer_node_outputs(
                schema,
                node,
                {name: self._types[name] for name in read},
                {name: self._data[name] for name in read if name in self._data},
                opset_imports=[helper.make_opsetid(*opset) for opset in self.opsets.items()],
                ir_version=self._ir_version,
            )
        except KeyError:
            unknown = next(name for name in read if name not in self._types)
            reason = self.reasons.get(unknown, f"nothing says what {show(unknown)} is")
        except onnx.defs.SchemaError:
            reason = f"{qualified(node)} (node {show(node_name(node))}) is not an operator that is known"
        except Exception as error:  # onnx's exceptions have no common base
            reason = f"node {show(node_name(node))}, {node.op_type}: {first_line(error)}"
        self.reasons.update((name, reason) for name in node.output)
        return {}

    def _contrib(self, node: Any) -> dict[str, Any] | None:
        """Types of the outputs of an operator that onnx has no rule for, but stageplan has."""
        try:
            shapes = output_shapes(node, self.shape)
        except UnknownShapeError:
            return {}
        except Exception:  # of whatever does not fit the operator
            self.reasons.update((name, unfit(node)) for name in node.output)
            return {}
        if shapes is None:
            return None
        type_ = self.tensors[node.input[0]].type
        type_ = type_ if BITS.get(type_, 32) > 8 or "QLinear" in node.op_type else onnx.TensorProto.FLOAT
        named = zip(node.output, shapes, strict=False)
        return {name: helper.make_tensor_type_proto(type_, shape) for name, shape in named if name}

    def _evaluate(self, node: Any) -> None:
        """Compute a node's outputs, where its inputs are known and all is small."""
        small = [name in self.tensors and prod(self.tensors[name].shape) <= SMALL for name in node.output]
        if domain(node) or not node.input or not all(small):
            return
        if node.op_type in ("Shape", "Size"):
            known = {node.input[0]: None} if node.input[0] in self.tensors else {}
        else:
            known = {name: self._data.get(name) for name in node.input if name}
            if not all(known.values()):
                return
        if not known:
            return
        try:
            for name, value in zip(filter(None, node.output), self._compute(node), strict=False):
                self._keep(name, numpy_helper.from_array(np.asarray(value), name))
        except Exception:  # whatever the reference implementation does not do: the value stays unknown
            return

    def _compute(self, node: Any) -> list[Any]:
        if node.op_type in ("Shape", "Size"):
            shape = self.tensors[node.input[0]].shape
            part = shape[attribute(node, "start", 0) : attribute(node, "end", len(shape))]
            return [np.array(part if node.op_type == "Shape" else prod(shape), np.int64)]
        values = {str(place): self.value(name) for place, name in enumerate(node.input) if name}
        return list(self._evaluator(node).run(None, values))

    def _evaluator(self, node: Any) -> ReferenceEvaluator:
        """Return the evaluator of nodes like this one, whatever their names: rounds of a loop share it."""
        plain = onnx.NodeProto(op_type=node.op_type, attribute=node.attribute)
        plain.input.extend(str(place) if name else "" for place, name in enumerate(node.input))
        plain.output.extend(f"y{place}" if name else "" for place, name in enumerate(node.output))
        key = plain.SerializeToString(deterministic=True)
        if key not in self._evaluators:
            inputs = [helper.make_empty_tensor_value_info(name) for name in plain.input if name]
            outputs = [helper.make_empty_tensor_value_info(name) for name in plain.output if name]
            opsets = [helper.make_opsetid(*opset) for opset in self.opsets.items()]
            graph = helper.make_graph([plain], "flat", inputs, outputs)
            self._evaluators[key] = ReferenceEvaluator(helper.make_model(graph, opset_imports=opsets))
        return self._evaluators[key]


def _read_values(tensor: Any, folder: Path) -> bool:
    """Read the values of a small tensor from the file that has them, beside the ONNX file."""
    where = {entry.key: entry.value for entry in tensor.external_data}
    path = folder / where["location"]
    size = math.ceil(prod(tensor.dims) * BITS[tensor.data_type] / 8)
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        raise InputError(f"there is no file {show(where['location'])}")
    with path.open("rb") as stream:
        stream.seek(int(where.get("offset", 0)))
        raw = stream.read(size)
    if len(raw) < size:
        raise InputError(f"the file {show(where['location'])} is too short")
    tensor.raw_data = raw
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]
    return True


def _checked(name: str, shape: Shape) -> Shape:
    if prod(shape) > MOST_NUMBERS:
        raise InputError(f"{show(name)} has shape {show(shape)}; it must have 2**60 numbers or fewer")
    return shape
