"""The part of one device, where several divide a network: tensor and expert parallelism.

Products of a block are divided by columns, then by rows, with one all-reduce behind them (Shoeybi et al.
2019, arXiv:1909.08053, section 3).  The styles of plans are those of transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InputError
from ..fields import show
from .torch_module import Note

ATTENTION = "attention"  # style of torch's own module for attention, whose heads are divided
COLUMNS = {"colwise", "colwise_rep", "colwise_gather_output", "packed_colwise"}
ROWS = {"rowwise", "rowwise_rep", "rowwise_split_input", "packed_rowwise"}
EMBEDDINGS = {"embedding_rowwise": 0, "embedding_colwise": 1}
GATHERED = {"colwise_rep", "colwise_gather_output", "embedding_colwise"}
SPLIT = {"rowwise_rep", "rowwise_split_input"}
WHOLE_EXPERTS = "grouped_gemm"
# Which do nothing of their own that takes time, or stands by itself.
OTHERS = {
    "all_reduce",
    "ep_dispatch_experts",
    "local_params",
    "mla_kv_a_proj",
    "moe_identity_expert",
    "moe_tp_experts",
    "replicate",
    "replicated_with_grad_allreduce",
}
STYLES = {ATTENTION, WHOLE_EXPERTS, *COLUMNS, *ROWS, *EMBEDDINGS, *OTHERS}
KEYS = {"k_proj", "v_proj"}  # names of projections to the heads that groups of queries share


class Plan(NamedTuple):
    """Styles of modules and of parameters, by path; a parameter has that of its module too."""

    modules: Mapping[str, str]
    parameters: Mapping[str, str]

    @property
    def has_pairs(self) -> bool:
        """Whether it divides more than embeddings, and products whose results are gathered."""
        return not {*self.modules.values(), *self.parameters.values()} <= {*EMBEDDINGS, *GATHERED}


def divide(module: nn.Module, plan: Plan, degree: int, note: Note) -> None:
    """Make a module the part of one device.

    The part has the sizes of a device's weights and values, not their numbers: what it gets from other
    devices is made up.  Sizes that `degree` does not divide are rounded up, which is the part of the fullest
    device.  Heads of keys and values that are fewer than devices have copies, as in vLLM and Megatron.

    Parameters
    ----------
    module
        Changes; on any device.
    plan
        What is divided; the rest is whole on each device.
    degree
        Number of devices.
    note
        Called for each all-reduce; a gather or an all-to-all passes half the bytes of one.

    Raises
    ------
    ValueError
        The plan has an unknown style; the heads, or the experts, cannot be divided.
    """
    unknown = {*plan.modules.values(), *plan.parameters.values()} - STYLES
    if unknown:
        raise InputError(f"its plan has {show(min(unknown))}; styles are {', '.join(sorted(STYLES))}")
    modules = dict(module.named_modules())
    sizes = dict(_shared_heads(modules, plan, degree))
    divided = _divide_weights(modules, plan, degree, sizes)
    for path, part in modules.items():
        style = plan.modules.get(path)
        if style is None and isinstance(part, nn.Embedding) and id(part.weight) in divided:
            style = "embedding_rowwise"  # it has the weights of a head
        if style is not None:
            _change(part, style, degree, module, note)


# Weights ------------------------------------------------------------------------------------------------


def _divide_weights(
    modules: Mapping[str, Any], plan: Plan, degree: int, sizes: Mapping[str, int]
) -> set[int]:
    """Divide parameters, and return the numbers, by ``id``, of the new ones."""
    parts: dict[int, nn.Parameter] = {}
    owners: list[tuple[nn.Module, str, int]] = []
    for path, part in modules.items():
        for name, weight in part.named_parameters(recurse=False):
            owners.append((part, name, id(weight)))
            full = f"{path}.{name}" if path else name
            style = plan.parameters.get(full) or plan.modules.get(path)
            dimension = None if style is None else _dimension(style, weight, part)
            if dimension is None or id(weight) in parts:
                continue
            if style == WHOLE_EXPERTS:
                _divide_experts(part, len(weight), degree, full)
            size = sizes.get(path, -(-weight.shape[dimension] // degree))
            if is_transposed(part) and style in COLUMNS:
                part.nf = size
            own = weight.detach().narrow(dimension, 0, size).clone()
            parts[id(weight)] = nn.Parameter(own, weight.requires_grad)
    for part, name, number in owners:
        if number in parts:
            part.register_parameter(name, parts[number])
    return {id(part) for part in parts.values()}


def is_transposed(part: Any) -> bool:
    """Whether a module is a product of transformers whose weights have a row for each input."""
    return type(part).__name__ == "Conv1D" and hasattr(part, "nf")


def _dimension(style: str, weight: Tensor, part: nn.Module) -> int | None:
    """Which dimension of a parameter a style divides; None for none."""
    if weight.dim() == 0:
        return None
    if is_transposed(part) and weight.dim() == 2:
        return 1 if style in COLUMNS else 0 if style in ROWS else None
    if style in EMBEDDINGS:
        return EMBEDDINGS[style]
    if style in COLUMNS:
        return max(weight.dim() - 2, 0)
    if style in ROWS:
        return weight.dim() - 1 if weight.dim() > 1 else None
    if style in (ATTENTION, WHOLE_EXPERTS):
        return 0
    return None


def _divide_experts(part: Any, experts: int, degree: int, path: str) -> None:
    if experts % degree:
        raise InputError(f"{path} has {experts} experts; the number of devices must divide them")
    if hasattr(part, "num_experts"):
        part.num_experts = experts // degree


def _shared_heads(modules: Mapping[str, Any], plan: Plan, degree: int) -> Any:
    """Check that heads can be divided; yield the path and the size of projections to copies of a head."""
    for path, style in plan.modules.items():
        part, (above, _, name) = modules[path], path.rpartition(".")
        attention = modules[above]
        size, width = getattr(attention, "head_dim", None), getattr(part, "out_features", None)
        if style not in COLUMNS or not isinstance(size, int) or not width or width % size:
            continue
        heads = width // size
        if heads % degree == 0:
            continue
        if name not in KEYS or degree % heads:
            raise InputError(f"{path} has {heads} heads; the number of devices must divide them")
        groups = getattr(attention, "num_key_value_groups", None)
        if name == "k_proj" and groups is not None:
            attention.num_key_value_groups = groups * heads // degree
        yield path, size


# Modules ------------------------------------------------------------------------------------------------


def _change(part: Any, style: str, degree: int, network: Any, note: Note) -> None:
    """Make the forward of a module do what a device does around its part of it."""
    if style == "embedding_rowwise":
        part.padding_idx = None  # only one device has it
    if style == ATTENTION:
        part.forward = _attention(part, degree, note)
    elif style == "ep_dispatch_experts":
        part.forward = _experts(part, degree, note)
    else:
        part.forward = _around(part, style, degree, network, note)


def _around(part: Any, style: str, degree: int, network: Any, note: Note) -> Callable[..., Any]:
    forward = part.forward

    def run(*args: Any, **named: Any) -> Any:
        if style in COLUMNS:
            note(_first(args, named), backward=True)
        elif style == "moe_tp_experts":
            for tensor in (args[0], *args[2:3]):  # tokens, and the weights of their routes
                note(tensor, backward=True)
        elif style in SPLIT:
            note(args[0], 0.5, backward=True)
            args = (args[0][..., : part.weight.shape[-1]], *args[1:])
        elif style == "embedding_rowwise":
            args = (args[0] % len(part.weight), *args[1:])
        elif style == "replicated_with_grad_allreduce":
            for weight in part.parameters(recurse=False):
                note(weight, backward=True)
        made = forward(*args, **named)
        if style in GATHERED:
            made = _gather(made, -1, _width(part))
            note(made, 0.5)
        elif style in ROWS or style in ("embedding_rowwise", "moe_tp_experts", "all_reduce"):
            note(made)
        elif style == "mla_kv_a_proj":  # its rotated keys are read by the heads of all devices
            note(made, network.config.get_text_config().qk_rope_head_dim / made.shape[-1], backward=True)
        return made

    return run


def _first(args: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    """Return the first argument of a call."""
    return args[0] if args else next(iter(named.values()))


def _width(part: Any) -> int:
    return int(part.embedding_dim if isinstance(part, nn.Embedding) else part.out_features)


class _Gather(torch.autograd.Function):
    """Gather the parts of all devices along a dimension; its gradient is a device's own part."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, dimension: int, size: int) -> Tensor:
        ctx.dimension, ctx.size = dimension, own.shape[dimension]
        return torch.cat([own] * -(-size // ctx.size), dimension).narrow(dimension, 0, size)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return gradient.narrow(ctx.dimension, 0, ctx.size), None, None


def _gather(own: Tensor, dimension: int, size: int) -> Tensor:
    gathered: Tensor = _Gather.apply(own, dimension, size)  # type: ignore[no-untyped-call]
    return gathered


def _experts(part: Any, degree: int, note: Note) -> Callable[..., Tensor]:
    """Run whole experts on their part of the routes, which are taken to be even.

    In training each device sends the tokens of its part of the batch to their experts and back, all-to-all,
    and gathers the results; in inference each has all tokens, and the results are added up.
    """
    forward, experts = part.forward, getattr(part, "num_experts", 1)

    def run(hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        tokens, routes = index.shape
        own = -(-tokens // degree)
        chosen = (index.flatten()[: own * routes] % experts).unsqueeze(-1)
        ones = torch.ones_like(chosen, dtype=weights.dtype)
        if not torch.is_grad_enabled():
            results = forward(hidden.repeat_interleave(routes, 0)[: own * routes], chosen, ones)
            results = results * weights.flatten()[: own * routes, None].to(results.dtype)
            place = torch.arange(own * routes, device=hidden.device) % tokens
            made = hidden.new_zeros(hidden.shape).index_add(0, place, results)
            note(made)
            return made
        note(hidden, 0.5, backward=True)
        sent = hidden[:own].repeat_interleave(routes, 0)
        results = forward(sent, chosen, ones)
        for tensor in (sent, results):
            note(tensor, 0.5)
            note(tensor, 0.5, backward=True)
        summed = (results.view(own, routes, -1) * weights[:own].unsqueeze(-1).to(results.dtype)).sum(1)
        made = _gather(summed, 0, tokens)
        note(made, 0.5)
        return made

    return run


def _attention(part: nn.MultiheadAttention, degree: int, note: Note) -> Callable[..., Any]:
    """Attend with a part of the heads of torch's own module, masks left out."""
    heads = part.num_heads // degree
    whole = part.out_proj.weight
    own = whole.detach()[:, : part.embed_dim // degree].clone()
    part.out_proj.weight = nn.Parameter(own, whole.requires_grad)

    def run(
        query: Tensor, key: Tensor, value: Tensor, *_: Any, need_weights: bool = True, **__: Any
    ) -> tuple[Tensor, None]:
        for tensor in (query, key, value):
            note(tensor, backward=True)
        biases: Any = (None,) * 3 if part.in_proj_bias is None else part.in_proj_bias.chunk(3)
        weights = part.in_proj_weight.chunk(3)
        parts = []
        for tensor, weight, bias in zip((query, key, value), weights, biases, strict=True):
            product = functional.linear(tensor, weight, bias)
            made = product.view(*product.shape[:-1], heads, part.head_dim)
            parts.append(made.transpose(-3, -2) if part.batch_first else made.movedim(0, -2))
        if need_weights:
            scores = torch.softmax(parts[0] @ parts[1].transpose(-2, -1) * part.head_dim**-0.5, -1)
            attended = functional.dropout(scores, part.dropout, part.training) @ parts[2]
        else:
            dropped = part.dropout if part.training else 0.0
            attend = functional.scaled_dot_product_attention
            attended = attend(parts[0], parts[1], parts[2], dropout_p=dropped)
        attended = attended.transpose(-3, -2) if part.batch_first else attended.movedim(-2, 0)
        made = part.out_proj(attended.flatten(-2))
        note(made)
        return made, None

    return run
