"""Removes hidden channels and heads of the trained network, trains what is left, and exports that.

Hidden channels are those between two layers that nothing else uses: outputs of one product or convolution
that go through activations and norms, channel by channel, into the next one. They are found in the traced
network, so that a network of one's own is pruned too. Tensors get smaller, and with them time and memory.
"""

from __future__ import annotations

import loading

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from common import Config, load_weights, run, settings
from export import Service, trace
from train import Trainer, training_batch
from variants import export_variant, parameters_of

aten = torch.ops.aten
LAYERS = (aten.linear.default, aten.conv2d.default)
NORMS = (aten.group_norm.default, aten.batch_norm.default)
INPUTS = ("in_features", "in_channels")  # names of the sizes of a layer
OUTPUTS = ("out_features", "out_channels", "num_channels", "num_features")
# What is computed for each number alone.
POINTWISE = {
    aten.gelu, aten.silu, aten.silu_, aten.relu, aten.relu_, aten.relu6, aten.leaky_relu, aten.leaky_relu_,
    aten.elu, aten.elu_, aten.mish, aten.hardswish, aten.hardswish_, aten.hardtanh, aten.hardtanh_,
    aten.sigmoid, aten.tanh, aten.softplus, aten.dropout,
}  # fmt: skip


@dataclass(frozen=True)
class Hidden:
    """Names of the layers before and behind hidden channels, and of the norms between them."""

    before: str
    behind: str
    norms: tuple[str, ...]


class Plain(nn.Module):
    """The network as it is, without a precision, so that all that it computes is in one graph."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Any:
        """From inputs to outputs."""
        return self.module(*inputs)


def channels(config: Config, quick: bool) -> dict[str, float]:
    """Remove channels, train a quarter as long as before, export and measure."""
    module = load_weights(config)
    whole, fraction = parameters_of(module), settings("prune-channels")["channels"]
    removed = remove(config, module, fraction)
    if not removed:
        raise ValueError("the network has no hidden channels that could be removed")
    first = config.train.quick_steps if quick else config.train.steps
    trainer = Trainer(config, module, steps=-(-first // 4))
    for step in range(first, first + trainer.steps):  # batches not used for training before
        trainer.step(training_batch(config, step))
    numbers = export_variant(config, "pruned", Service(config, module))
    return numbers | {"removed": removed, "parameters": parameters_of(module) / whole}


def remove(config: Config, module: nn.Module, fraction: float) -> int:
    """Remove a fraction of all hidden channels and heads, those with the smallest weights; count them."""
    removed = 0
    for hidden in find(config, module):
        removed += _remove_channels(module, hidden, fraction)
    for block in module.modules():
        if hasattr(block, "queries_keys_values") and hasattr(block, "after_attention"):
            removed += _remove_heads(block, fraction)
    return removed


# Channels -----------------------------------------------------------------------------------------------


def find(config: Config, module: nn.Module) -> list[Hidden]:
    """Find hidden channels in the traced network."""
    training = module.training
    program = trace(config, Plain(module).eval())
    module.train(training)
    names = program.graph_signature.inputs_to_parameters
    found = (_follow(module, node, names) for node in program.graph.nodes if node.target in LAYERS)
    return [hidden for hidden in found if hidden is not None]


def _follow(module: nn.Module, node: Node, names: dict[str, str]) -> Hidden | None:
    """Follow the outputs of a layer to the next one; None where they are used otherwise."""
    before = _layer(module, node, names)
    norms: list[str] = []
    while before is not None and len(node.users) == 1:
        user = next(iter(node.users))
        if user.args[0] is not node:
            return None
        if user.target in LAYERS:
            behind = _layer(module, user, names)
            return None if behind is None else Hidden(before, behind, tuple(norms))
        if user.target in NORMS:
            norm = _owner(user, names)
            if norm is None:
                return None
            norms.append(norm)
        elif getattr(user.target, "overloadpacket", None) not in POINTWISE:
            return None
        node = user
    return None


def _layer(module: nn.Module, node: Node, names: dict[str, str]) -> str | None:
    """Return the name of a layer whose weights nothing else uses."""
    name = _owner(node, names)
    if name is None:
        return None
    layer, weight = module.get_submodule(name), node.args[1]
    alone = isinstance(weight, Node) and len(weight.users) == 1
    plain = isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)
    return name if alone and plain else None


def _owner(node: Node, names: dict[str, str]) -> str | None:
    """Return the name of the module whose weight a node uses."""
    for argument in node.args[1:]:
        if isinstance(argument, Node) and names.get(argument.name, "").endswith(".weight"):
            return names[argument.name].removeprefix("module.").removesuffix(".weight")
    return None


def _remove_channels(module: nn.Module, hidden: Hidden, fraction: float) -> int:
    before, behind = module.get_submodule(hidden.before), module.get_submodule(hidden.behind)
    norms = [module.get_submodule(name) for name in hidden.norms]
    groups = max((norm.num_groups for norm in norms if isinstance(norm, nn.GroupNorm)), default=1)
    weights = before.get_parameter("weight").flatten(1).norm(dim=1)
    weights = weights * behind.get_parameter("weight").transpose(0, 1).flatten(1).norm(dim=1)
    kept = _kept(weights, groups, fraction)
    _keep(before, 0, kept, ("weight", "bias"))
    _keep(behind, 1, kept, ("weight",))
    for norm in norms:
        _keep(norm, 0, kept, ("weight", "bias", "running_mean", "running_var"))
    return len(weights) - len(kept)


def _kept(weights: Tensor, groups: int, fraction: float) -> Tensor:
    """Choose the channels that stay, as many in each group of a norm: those with the largest weights."""
    by_group = weights.detach().unflatten(0, (groups, -1))
    count = max(1, round(by_group.shape[1] * (1 - fraction)))
    chosen = by_group.topk(count, 1).indices.sort(1).values
    return (chosen + torch.arange(groups, device=chosen.device)[:, None] * by_group.shape[1]).flatten()


def _keep(layer: nn.Module, place: int, kept: Tensor, names: tuple[str, ...]) -> None:
    """Leave some channels of a layer's tensors, at their outputs (place 0) or inputs (1)."""
    for name in names:
        tensor = getattr(layer, name, None)
        if isinstance(tensor, nn.Parameter):
            setattr(layer, name, nn.Parameter(tensor.detach().index_select(place, kept)))
        elif isinstance(tensor, Tensor):
            setattr(layer, name, tensor.index_select(place, kept))
    for size in INPUTS if place else OUTPUTS:
        if hasattr(layer, size):
            setattr(layer, size, len(kept))


# Heads --------------------------------------------------------------------------------------------------


def _remove_heads(block: nn.Module, fraction: float) -> int:
    """Remove heads of a block of the built-in transformers."""
    mix, after = block.get_submodule("queries_keys_values"), block.get_submodule("after_attention")
    heads = int(block.heads)  # type: ignore[arg-type]
    by_head = after.get_parameter("weight").detach().unflatten(1, (heads, -1))
    size = by_head.shape[2]
    kept = _kept(by_head.norm(dim=(0, 2)), 1, fraction)
    columns = (kept[:, None] * size + torch.arange(size, device=kept.device)).flatten()
    rows = (torch.arange(3, device=kept.device)[:, None] * heads * size + columns).flatten()
    _keep(mix, 0, rows, ("weight", "bias"))
    _keep(after, 1, columns, ("weight",))
    block.heads = len(kept)
    return heads - len(kept)


if __name__ == "__main__":
    run("channels", channels)
