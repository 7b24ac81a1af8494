"""Output shapes of ONNX nodes that onnx cannot infer: mostly of ONNX Runtime's own operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from ..errors import InputError
from .onnx_nodes import MICROSOFT, Shape, ShapeOf, attribute, domain, past_tokens
from .onnx_products import attended, grouped, projected_sizes


def output_shapes(node: Any, shape: ShapeOf) -> list[Shape] | None:
    """Shapes of a node's first outputs, if onnx has no rule for it but this module has; else None.

    Raises
    ------
    UnknownShapeError
        The shape of an input is not known.
    """
    key = domain(node), node.op_type
    if key in LIKE_FIRST:
        return [shape(node.input[0])] * len(node.output)
    return OUTPUTS[key](node, shape) if key in OUTPUTS else None


def _multiplied(left: int, right: int) -> Callable[[Any, ShapeOf], list[Shape]]:
    """Rule of a matrix product of two inputs."""

    def rule(node: Any, shape: ShapeOf) -> list[Shape]:
        if attribute(node, "transBatchA", 0) or attribute(node, "transBatchB", 0):
            raise InputError("batches are transposed")
        a, b = _matrices(shape(node.input[left]), shape(node.input[right]))
        rows = a[-1] if attribute(node, "transA", 0) else a[-2]
        columns = b[-2] if attribute(node, "transB", 0) else b[-1]
        return [(*np.broadcast_shapes(a[:-2], b[:-2]), rows, columns)]

    return rule


def _matrices(a: Shape, b: Shape) -> tuple[Shape, Shape]:
    if min(len(a), len(b)) < 2:
        raise InputError("a factor is a vector")
    return a, b


def _broadcast(left: int, right: int) -> Callable[[Any, ShapeOf], list[Shape]]:
    """Rule of an element-wise operator on two inputs."""

    def rule(node: Any, shape: ShapeOf) -> list[Shape]:
        return [np.broadcast_shapes(shape(node.input[left]), shape(node.input[right]))]

    return rule


def _as(kind: str, inputs: int) -> Callable[[Any, ShapeOf], list[Shape]]:
    """Rule of an operator whose output is that of one of ONNX's own on its first inputs."""

    def rule(node: Any, shape: ShapeOf) -> list[Shape]:
        names, schema = node.input[:inputs], onnx.defs.get_schema(kind, 11)
        types = {
            name: onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, shape(name)) for name in names
        }
        plain = onnx.helper.make_node(kind, names, node.output[:1])
        plain.attribute.extend(item for item in node.attribute if item.name in schema.attributes)
        made = onnx.shape_inference.infer_node_outputs(schema, plain, types)[node.output[0]].tensor_type
        return [tuple(dimension.dim_value for dimension in made.shape.dim)]

    return rule


def _joined(node: Any, shape: ShapeOf) -> list[Shape]:
    """Rule of QLinearConcat, whose inputs have a scale and a zero point each."""
    axis, shapes = attribute(node, "axis", 0), [shape(name) for name in node.input[2::3]]
    joined = list(shapes[0])
    joined[axis] = sum(part[axis] for part in shapes)
    return [tuple(joined)]


def _projected(node: Any, shape: ShapeOf) -> list[Shape]:
    """Rule of attention with a product before it: its output, and the keys and values for later."""
    batch, tokens = shape(node.input[0])[:2]
    width = projected_sizes(node, shape(node.input[1]))[2]
    heads = attribute(node, "num_heads", 1)
    known = tokens + past_tokens(node, 8 if node.op_type == "QAttention" else 4, shape)
    return [(batch, tokens, width), (2, batch, heads, known, width // heads)]


def _grouped_outputs(node: Any, shape: ShapeOf) -> list[Shape]:
    """Rule of GroupQueryAttention: its output, and the keys and the values for later."""
    batch, tokens, width = grouped(node, shape)
    size = width // attribute(node, "num_heads", 1)
    kept = (batch, attribute(node, "kv_num_heads", 1), tokens + past_tokens(node, 3, shape), size)
    return [(batch, tokens, width), kept, kept]


OUTPUTS: dict[tuple[str, str], Callable[[Any, ShapeOf], list[Shape]]] = {
    (MICROSOFT, "FusedMatMul"): _multiplied(0, 1),
    (MICROSOFT, "TransposeMatMul"): _multiplied(0, 1),
    (MICROSOFT, "FusedGemm"): _multiplied(0, 1),
    (MICROSOFT, "GemmFastGelu"): _multiplied(0, 1),
    (MICROSOFT, "MatMulInteger16"): _multiplied(0, 1),
    (MICROSOFT, "MatMulIntegerToFloat"): _multiplied(0, 1),
    (MICROSOFT, "DynamicQuantizeMatMul"): _multiplied(0, 1),
    (MICROSOFT, "QGemm"): _multiplied(0, 3),
    (MICROSOFT, "MatMulNBits"): lambda node, shape: [(*shape(node.input[0])[:-1], attribute(node, "N", 0))],
    (MICROSOFT, "MatMulBnb4"): lambda node, shape: [(*shape(node.input[0])[:-1], attribute(node, "N", 0))],
    (MICROSOFT, "FusedConv"): _as("Conv", 2),
    (MICROSOFT, "QLinearAveragePool"): _as("AveragePool", 1),
    (MICROSOFT, "QLinearConcat"): _joined,
    (MICROSOFT, "QLinearAdd"): _broadcast(0, 3),
    (MICROSOFT, "QLinearMul"): _broadcast(0, 3),
    (MICROSOFT, "Attention"): _projected,
    (MICROSOFT, "QAttention"): _projected,
    (MICROSOFT, "MultiHeadAttention"): lambda node, shape: [attended(node, shape)],
    (MICROSOFT, "GroupQueryAttention"): _grouped_outputs,
    (MICROSOFT, "EmbedLayerNormalization"): lambda node, shape: [
        (*shape(node.input[0]), shape(node.input[2])[-1]),
        shape(node.input[0])[:1],
    ],
    (MICROSOFT, "QLinearGlobalAveragePool"): lambda node, shape: [
        (*shape(node.input[0])[:2], *[1] * (len(shape(node.input[0])) - 2))
    ],
}

LIKE_FIRST = {
    ("", "GroupNormalization"),
    ("", "MeanVarianceNormalization"),
    ("", "SimplifiedLayerNormalization"),  # in ONNX's own domain as ONNX Runtime writes it
}
LIKE_FIRST |= {(MICROSOFT, name) for name in (
    "BiasAdd", "BiasGelu", "DequantizeLinear", "FastGelu", "Gelu", "GroupNorm", "MoE",
    "QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax", "QMoE", "QuantizeLinear", "QuickGelu",
    "RotaryEmbedding", "SimplifiedLayerNormalization", "SkipGroupNorm", "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization"
)}  # fmt: skip
