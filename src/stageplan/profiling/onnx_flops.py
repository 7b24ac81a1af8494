"""Floating-point operations of ONNX nodes, by operator and domain.

Products count exactly, a multiplication and an addition as two.  An elementwise operator counts as one for
each number that it makes, a sum as one for each number that it reads, one that only moves numbers as none.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from ..device import Kind
from .onnx_nodes import MICROSOFT, ShapeOf, UnknownShapeError, attribute, domain
from .onnx_products import PRODUCTS

NORM = 5  # for each number of a normalisation: two sums, a difference, a power, a quotient
INTERPOLATED = 8  # for each number between four others: products and sums


def flops(node: Any, shape: ShapeOf) -> tuple[float, bool]:
    """Count a node's floating-point operations.

    Parameters
    ----------
    node
        Of a graph.
    shape
        Gives the shape of a value, or raises UnknownShapeError.

    Returns
    -------
    count, known
        False for an operator without a formula: one for each number that it makes.

    Raises
    ------
    UnknownShapeError
        The shape of a factor of a product is not known.
    """
    key = domain(node), node.op_type
    if key in PRODUCTS:
        return float(PRODUCTS[key](node, shape)), True
    kind = node.op_type if key[0] in ("", MICROSOFT) else ""
    known = kind in MOVES or kind in ELEMENTWISE or kind in SUMS or kind in OTHERS
    try:
        return _simple(kind, node, shape), known
    except UnknownShapeError:  # values whose sizes are not known are noted as such
        return 0.0, known


def kind_of(node: Any) -> Kind:
    """Which efficiency of a device is that of a node."""
    if "Attention" in node.op_type:
        return "attention"
    return "convolution" if "Conv" in node.op_type else ""


def _simple(kind: str, node: Any, shape: ShapeOf) -> float:
    if kind in MOVES:
        return 0.0
    if kind in SUMS:
        return float(prod(shape(node.input[0])))
    each = OTHERS[kind](node) if kind in OTHERS else 1
    return float(each * sum(prod(shape(name)) for name in node.output[:1] if name))


def _of_pool(node: Any) -> int:
    return prod(attribute(node, "kernel_shape", [1]))


def _of_interpolation(node: Any) -> int:
    return 0 if attribute(node, "mode", b"nearest") == b"nearest" else INTERPOLATED


# The same names mean the same in ONNX's and in ONNX Runtime's domain.
ELEMENTWISE = {
    "Abs", "Acos", "Acosh", "Add", "AffineGrid", "And", "Asin", "Asinh", "Atan", "Atanh", "Bernoulli",
    "BiasAdd", "BiasGelu", "BiasSplitGelu", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr",
    "BitwiseXor", "BlackmanWindow", "Ceil", "Celu", "Clip", "Cos", "Cosh", "DequantizeLinear", "Div",
    "DynamicQuantizeLinear", "Elu", "Equal", "Erf", "Exp", "FastGelu", "Floor", "Gelu", "Greater",
    "GreaterOrEqual", "HammingWindow", "HannWindow", "HardSigmoid", "HardSwish", "IsInf", "IsNaN",
    "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not",
    "Or", "PRelu", "Pow", "QLinearAdd", "QLinearLeakyRelu", "QLinearMul", "QLinearSigmoid",
    "QLinearWhere", "QuantizeLinear", "QuickGelu", "Reciprocal", "Relu", "RotaryEmbedding", "Round",
    "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sub", "Sum",
    "SwiGLU", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Where", "Xor"
}  # fmt: skip
SUMS = {
    "ArgMax", "ArgMin", "CumProd", "CumSum", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool",
    "Multinomial", "NegativeLogLikelihoodLoss", "NonMaxSuppression", "QLinearGlobalAveragePool",
    "QLinearReduceMean", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax",
    "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "SoftmaxCrossEntropyLoss",
    "TopK", "Unique"
}  # fmt: skip
NORMS = {
    "BatchNormalization", "EmbedLayerNormalization", "GroupNorm", "GroupNormalization", "Hardmax",
    "InstanceNormalization", "LRN", "LayerNormalization", "LogSoftmax", "LpNormalization",
    "MeanVarianceNormalization", "QLinearSoftmax", "RMSNormalization", "SimplifiedLayerNormalization",
    "SkipGroupNorm", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "Softmax"
}  # fmt: skip
OTHERS: dict[str, Callable[[Any], int]] = {  # operations for each number that is made
    **dict.fromkeys(NORMS, lambda _: NORM),
    **dict.fromkeys(("AveragePool", "LpPool", "MaxPool", "QLinearAveragePool"), _of_pool),
    **dict.fromkeys(("Resize", "Upsample"), _of_interpolation),
    **dict.fromkeys(("GridSample", "RoiAlign"), lambda _: INTERPOLATED),
}
MOVES = {
    "BitCast", "Cast", "CastLike", "CenterCropPad", "Col2Im", "Compress", "Concat",
    "ConcatFromSequence", "ConstantOfShape", "DepthToSpace", "Dropout", "Expand", "EyeLike", "Flatten",
    "Gather", "GatherBlockQuantized", "GatherElements", "GatherND", "Identity", "MaxUnpool", "NonZero",
    "OneHot", "Optional", "OptionalGetElement", "OptionalHasElement", "Pad", "QLinearConcat",
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Range", "Reshape",
    "ReverseSequence", "Scatter", "ScatterElements", "ScatterND", "SequenceAt", "SequenceConstruct",
    "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength", "Shape", "Size", "Slice",
    "SpaceToDepth", "Split", "SplitToSequence", "Squeeze", "TensorScatter", "Tile", "Transpose",
    "Trilu", "Unsqueeze"
}  # fmt: skip
