"""Floating-point operations of products: of matrices, convolutions, recurrences and attention in ONNX nodes.

A multiplication and an addition are two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log2, prod
from typing import Any

from .onnx_nodes import MICROSOFT, Shape, ShapeOf, attribute, input_of, past_tokens


def _product(node: Any, shape: ShapeOf) -> float:
    """Matrix product: twice the inner dimension, for each number of the result."""
    axis = -2 if attribute(node, "transA", 0) else -1
    return 2.0 * prod(shape(node.output[0])) * shape(node.input[0])[axis]


def _convolution(node: Any, shape: ShapeOf, weight: int = 1) -> float:
    return 2.0 * prod(shape(node.output[0])) * prod(shape(node.input[weight])[1:])


def _quantised_convolution(node: Any, shape: ShapeOf) -> float:
    return _convolution(node, shape, weight=3)


def _transposed_convolution(node: Any, shape: ShapeOf) -> float:
    return 2.0 * prod(shape(node.input[0])) * prod(shape(node.input[1])[1:])


def _recurrence(node: Any, shape: ShapeOf) -> float:
    """Each step multiplies the input and the state by their weights, of all gates and directions."""
    steps = prod(shape(node.input[0])[:2])
    return 2.0 * steps * sum(prod(shape(name)) for name in node.input[1:3])


def _attention(node: Any, shape: ShapeOf) -> float:
    """Multiply queries by current and past keys, and the result by values."""
    query, key, out = (shape(name) for name in (*node.input[:2], node.output[0]))
    return 2.0 * (key[-2] + past_tokens(node, 4, shape)) * (prod(query) + prod(out))


def _einsum(node: Any, shape: ShapeOf) -> float:
    """Two operations for every combination of its indices."""
    terms = attribute(node, "equation", b"").decode().replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, name in zip(terms, node.input, strict=False):
        given = shape(name)
        before, dots, behind = term.partition("...")
        between = given[len(before) : len(given) - len(behind)] if dots else ()
        letters = [*before, *(f"{-place}" for place in range(len(between), 0, -1)), *behind]
        for letter, size in zip(letters, given, strict=False):
            sizes[letter] = max(size, sizes.get(letter, 0))
    return 2.0 * prod(sizes.values())


def _fourier(node: Any, shape: ShapeOf) -> float:
    """5 n log n for each transform of n complex numbers, as is usual."""
    made = shape(node.output[0])
    length = max(shape(node.input[0])[1:-1], default=1)
    return 2.5 * prod(made) * log2(max(length, 2))


# Products of ONNX Runtime's operators (its document ContribOperators.md) -----------------------------------


def _narrow_product(node: Any, shape: ShapeOf) -> float:
    """Multiply by a packed matrix, whose number of columns is an attribute."""
    return float(2 * prod(shape(node.input[0])) * attribute(node, "N", 0))


def _projected_attention(node: Any, shape: ShapeOf) -> float:
    """Attention whose queries, keys and values are products of one input."""
    given, weight = shape(node.input[0]), shape(node.input[1])
    past = past_tokens(node, 8 if node.op_type == "QAttention" else 4, shape)
    batch, tokens = given[:2]
    query, _, value = projected_sizes(node, weight)
    return 2.0 * batch * tokens * (prod(weight) + (tokens + past) * (query + value))


def projected_sizes(node: Any, weight: Shape) -> Sequence[int]:
    """Widths of queries, keys and values that are products with one matrix."""
    third = weight[-1] // 3
    return attribute(node, "qkv_hidden_sizes", None) or (third, third, third)


def _headed_attention(node: Any, shape: ShapeOf) -> float:
    """Attention of queries, keys and values that may be packed into one tensor."""
    query, keys = shape(node.input[0]), shape(input_of(node, 1) or node.input[0])
    tokens, width = query[1], prod(attended(node, shape)[2:])
    known = keys[2] if len(keys) == 4 else keys[1]
    wide = query[2] if len(query) == 3 else width
    past = past_tokens(node, 6, shape)
    return 2.0 * query[0] * tokens * (known + past) * (wide + width)


def attended(node: Any, shape: ShapeOf) -> Shape:
    """Shape of the output of MultiHeadAttention."""
    query, value = shape(node.input[0]), input_of(node, 2)
    if len(query) == 5:  # queries, keys and values in one: tokens, heads, 3, head size
        return (*query[:2], query[2] * query[4])
    if not value:
        return query
    given = shape(value)
    return (*query[:2], given[1] * given[3] if len(given) == 4 else given[2])


def _grouped_attention(node: Any, shape: ShapeOf) -> float:
    """Attention of many heads of queries and few of keys and values."""
    batch, tokens, width = grouped(node, shape)
    return 4.0 * batch * tokens * (tokens + past_tokens(node, 3, shape)) * width


def grouped(node: Any, shape: ShapeOf) -> Shape:
    """Shape of the output of GroupQueryAttention."""
    batch, tokens, width = shape(node.input[0])
    heads, groups = attribute(node, "num_heads", 1), attribute(node, "kv_num_heads", 1)
    return (batch, tokens, width if input_of(node, 1) else width * heads // (heads + 2 * groups))


def _experts(node: Any, shape: ShapeOf) -> float:
    """Each token passes through some of the experts, which are two or three matrices each."""
    tokens = prod(shape(node.input[0])[:-1])
    matrices = [shape(name)[1:] for name in (input_of(node, place) for place in (2, 4, 6)) if name]
    return float(2 * tokens * attribute(node, "k", 1) * sum(map(prod, matrices)))


def _quantised_experts(node: Any, shape: ShapeOf) -> float:
    """As experts, whose weights are of a few bits each, packed into bytes."""
    tokens = prod(shape(node.input[0])[:-1])
    packed = [shape(name)[1:] for name in (input_of(node, place) for place in (2, 5, 8)) if name]
    weights = sum(map(prod, packed)) * 8 / attribute(node, "expert_weight_bits", 4)
    return float(2 * tokens * attribute(node, "k", 1) * weights)


PRODUCTS: dict[tuple[str, str], Callable[[Any, ShapeOf], float]] = {
    ("", "MatMul"): _product,
    ("", "MatMulInteger"): _product,
    ("", "Gemm"): _product,
    ("", "QLinearMatMul"): _product,
    ("", "Conv"): _convolution,
    ("", "DeformConv"): _convolution,
    ("", "ConvInteger"): _convolution,
    ("", "QLinearConv"): _quantised_convolution,
    ("", "ConvTranspose"): _transposed_convolution,
    ("", "LSTM"): _recurrence,
    ("", "GRU"): _recurrence,
    ("", "RNN"): _recurrence,
    ("", "Attention"): _attention,
    ("", "Einsum"): _einsum,
    ("", "DFT"): _fourier,
    (MICROSOFT, "FusedMatMul"): _product,
    (MICROSOFT, "TransposeMatMul"): _product,
    (MICROSOFT, "FusedGemm"): _product,
    (MICROSOFT, "GemmFastGelu"): _product,
    (MICROSOFT, "QGemm"): _product,
    (MICROSOFT, "MatMulInteger16"): _product,
    (MICROSOFT, "MatMulIntegerToFloat"): _product,
    (MICROSOFT, "DynamicQuantizeMatMul"): _product,
    (MICROSOFT, "MatMulNBits"): _narrow_product,
    (MICROSOFT, "MatMulBnb4"): _narrow_product,
    (MICROSOFT, "FusedConv"): _convolution,
    (MICROSOFT, "DynamicQuantizeLSTM"): _recurrence,
    (MICROSOFT, "Attention"): _projected_attention,
    (MICROSOFT, "QAttention"): _projected_attention,
    (MICROSOFT, "MultiHeadAttention"): _headed_attention,
    (MICROSOFT, "GroupQueryAttention"): _grouped_attention,
    (MICROSOFT, "MoE"): _experts,
    (MICROSOFT, "QMoE"): _quantised_experts,
}
