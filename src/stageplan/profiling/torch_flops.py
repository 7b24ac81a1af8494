"""Floating-point operations of torch's own operators, counted as those of ONNX nodes are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log2, prod
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from ..device import Kind
from .tensors import tensors_in

aten = torch.ops.aten

NORM = 5  # for each number of a normalisation: two sums, a difference, a power, a quotient
INTERPOLATED = 8  # for each number between four others: products and sums


def flops(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> tuple[float, bool]:
    """Count the floating-point operations of a call.

    Parameters
    ----------
    func
        The operator, an overload of torch.ops.
    args, kwargs, result
        Its arguments and outputs.

    Returns
    -------
    count, known
        False for an operator without a formula: one for each number that it makes.
    """
    packet = func.overloadpacket
    if packet in PRODUCTS:
        return float(PRODUCTS[packet](*args)), True
    if (formula := flop_registry.get(packet)) is not None:
        return formula(*args, **kwargs, out_val=result) * _attended(func, args, kwargs), True
    made = next((tensor.numel() for tensor in tensors_in(result)), 0)
    read = next((tensor.numel() for tensor in tensors_in(args)), 0)
    name = func.name().partition("::")[2].partition(".")[0].removesuffix("_")
    if not func.name().startswith(("aten::", "prims::")):
        return float(made), made == 0
    forward = name.removesuffix("_data").removesuffix("_backward")
    if func.is_view or torch.Tag.view_copy in func.tags or forward in MOVES:
        return 0.0, True
    if torch.Tag.reduction in func.tags or forward in SUMS:
        return float(max(read, made)), True
    if forward in POOLS:
        return float(made * (prod(args[1]) if forward == name else 1)), True
    each = NORM if forward in NORMS else INTERPOLATED if forward in INTERPOLATIONS else 1
    return float(each * made), each > 1 or _is_elementwise(func, forward)


def _is_elementwise(func: Any, forward: str) -> bool:
    """Whether an operator, or the one whose gradient it is, is element-wise."""
    if torch.Tag.pointwise in func.tags or forward in ELEMENTWISE:
        return True
    packet = getattr(aten, forward, None)
    return packet is not None and any(
        torch.Tag.pointwise in getattr(packet, overload).tags for overload in packet.overloads()
    )


def kind_of(func: Any) -> Kind:
    """Which efficiency of a device is that of an operator."""
    name = func.name()
    if "attention" in name:
        return "attention"
    return "convolution" if "convolution" in name else ""


def is_product(func: Any) -> bool:
    """Whether an operator multiplies matrices, convolves or attends."""
    return func.overloadpacket in PRODUCTS or func.overloadpacket in flop_registry


def is_each(func: Any) -> bool:
    """Whether an operator makes each number of numbers at the same place alone, or copies it."""
    name = func.name().partition("::")[2].partition(".")[0].removesuffix("_")
    return torch.Tag.pointwise in func.tags or name in COPIES


def passes(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """How often an operator reads its inputs: a batch norm that trains does for its sums, and once more."""
    given = _named(func, args, kwargs)
    trains = given.get("training", given.get("train", False))
    return 2 if "batch_norm" in func.name() and trains else 1


def _named(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    names = (argument.name for argument in func._schema.arguments)
    return dict(zip(names, args, strict=False), **kwargs)


def _attended(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> float:
    """Fraction of the pairs of tokens that attention works on: where it is causal, each token's past."""
    given = _named(func, args, kwargs)
    if not given.get("is_causal", False):
        return 1.0
    query, key = given["query"].shape[-2], given["key"].shape[-2]
    past = min(query, key)
    return float((past * (past + 1) / 2 + (query - past) * key) / (query * key))


# Products that torch's own counter passes over ------------------------------------------------------------


def _grouped(left: Tensor, right: Tensor, *_: Any) -> float:
    """Multiply each row of one input by its own matrix of the other."""
    times = left.shape[0] if left.dim() == right.dim() == 3 else 1
    return float(2 * times * left.shape[-2] * left.shape[-1] * right.shape[-1])


def _trilinear(*args: Any) -> float:
    """Multiply three tensors, each with some dimensions of size 1 inserted, and sum."""
    shapes = []
    for tensor, expanded in zip(args[:3], args[3:6], strict=True):
        shape = list(tensor.shape)
        for dimension in expanded:
            shape.insert(dimension, 1)
        shapes.append(shape)
    sizes: list[int] = [max(column) for column in zip(*shapes, strict=True)]
    return 3.0 * prod(sizes)


def _fourier(tensor: Tensor, dimensions: Sequence[int], *_: Any) -> float:
    """5 n log n for each transform of n complex numbers, as is usual, and half for real ones."""
    length = prod(tensor.shape[dimension] for dimension in dimensions)
    return (5 if tensor.is_complex() else 2.5) * tensor.numel() * log2(max(length, 2))


PRODUCTS: dict[Any, Callable[..., float]] = {
    aten._grouped_mm: _grouped,
    aten._int_mm: lambda left, right, *_: 2 * left.numel() * right.shape[1],
    aten._weight_int8pack_mm: lambda left, right, *_: 2 * left.shape[0] * right.numel(),
    aten.mv: lambda matrix, *_: 2 * matrix.numel(),
    aten.addmv: lambda _, matrix, *__: 2 * matrix.numel(),
    aten.addbmm: lambda _, left, right, *__: 2 * left.numel() * right.shape[-1],
    aten.addr: lambda _, left, right, *__: 2 * left.numel() * right.numel(),
    aten.dot: lambda left, *_: 2 * left.numel(),
    aten.vdot: lambda left, *_: 2 * left.numel(),
    aten.linalg_solve_triangular: lambda left, right, *_: left.shape[-1] * right.numel(),
    aten._trilinear: _trilinear,
    aten._cdist_forward: lambda left, right, *_: 3 * left.numel() * right.shape[-2],
    aten._euclidean_dist: lambda left, right, *_: 2 * left.numel() * right.shape[-2],
    aten._fft_c2c: _fourier,
    aten._fft_r2c: _fourier,
    aten._fft_c2r: _fourier,
}

# Other operators, with or without a `_` behind their names, and their gradients ----------------------------

ELEMENTWISE = {
    "floor_divide",
    "glu",
    "hardswish",
    "log_sigmoid",
    "log_sigmoid_forward",
    "native_dropout",
    "polar",
    "rrelu_with_noise",
}
COPIES = {"_to_copy", "cat", "clone", "copy", "native_dropout"}
SUMS = {
    "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "_embedding_bag", "_is_all_true", "_is_any_true",
    "_unique2", "adaptive_max_pool2d",
    "adaptive_max_pool3d", "binary_cross_entropy", "bincount", "bucketize", "cummax", "cummin",
    "cumprod", "cumsum", "dist", "histc", "huber_loss", "index_add", "index_reduce", "isin", "kthvalue",
    "logcumsumexp", "median", "mode", "mse_loss", "multinomial", "nll_loss", "nll_loss2d",
    "nll_loss2d_forward", "nll_loss_forward", "scatter_add", "scatter_reduce", "searchsorted",
    "segment_reduce", "smooth_l1_loss", "sort", "topk", "trace", "unique_consecutive"
}  # fmt: skip
POOLS = {"avg_pool2d", "avg_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices"}
NORMS = {
    "_batch_norm_with_update", "_fused_rms_norm", "_log_softmax", "_masked_softmax",
    "_native_batch_norm_legit", "_native_batch_norm_legit_functional",
    "_native_batch_norm_legit_no_training", "_safe_softmax", "_softmax", "_weight_norm_interface",
    "cudnn_batch_norm", "miopen_batch_norm", "native_batch_norm", "native_group_norm",
    "native_layer_norm", "renorm"
}  # fmt: skip
INTERPOLATIONS = {
    "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa", "grid_sampler_2d", "grid_sampler_3d",
    "upsample_bicubic2d", "upsample_bilinear2d", "upsample_linear1d", "upsample_trilinear3d"
}  # fmt: skip
MOVES = {
    "_assert_async", "_local_scalar_dense", "_to_copy", "_unsafe_index", "_unsafe_index_put",
    "_unsafe_masked_index", "_unsafe_view", "affine_grid_generator", "arange", "as_strided",
    "as_strided_scatter", "bernoulli", "cat", "channel_shuffle", "clone", "col2im", "complex",
    "constant_pad_nd", "copy", "detach", "diag_embed", "diagonal", "diagonal_scatter", "embedding",
    "embedding_dense", "empty", "empty_like", "empty_permuted", "empty_strided", "exponential", "eye",
    "fill", "flip", "full", "full_like", "gather", "im2col", "index", "index_copy", "index_fill",
    "index_put", "index_select", "lift", "lift_fresh", "linspace", "masked_fill", "masked_scatter",
    "masked_select", "max_unpool2d", "max_unpool3d", "new_empty", "new_empty_strided", "new_full",
    "new_ones", "new_zeros", "nonzero", "normal", "normal_functional", "ones", "ones_like",
    "pixel_shuffle", "pixel_unshuffle", "rand", "rand_like", "randint", "randint_like", "randn",
    "randn_like", "random", "randperm", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d",
    "repeat", "repeat_interleave", "replication_pad1d", "replication_pad2d", "replication_pad3d",
    "resize", "roll", "rot90", "scalar_tensor", "scatter", "select", "select_scatter", "set", "slice",
    "slice_scatter", "split", "squeeze", "stack", "take", "transpose", "tril", "tril_indices", "triu",
    "triu_indices", "unfold", "uniform", "unsafe_split", "unsafe_split_with_sizes", "unsqueeze",
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "zero", "zeros", "zeros_like"
}  # fmt: skip
