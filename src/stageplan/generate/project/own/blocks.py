"""Divides a network into layers: its operations in order, cut between blocks that run one after the other.

The operations are those that ``torch.export`` finds for examples of one shape. A layer takes all that later
layers use, not its neighbour's output alone: a mask of the first layer, say, is passed on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export.graph_signature import InputKind, InputSpec
from torch.fx import Graph, GraphModule, Node

CHAINS = (nn.ModuleList, nn.Sequential)


class Part(NamedTuple):
    """A layer: its name, the first of its operations, and the first behind it."""

    name: str
    begin: int
    end: int


class Traced:
    """The operations of a network in order, and what they depend on.

    Parameters
    ----------
    module : torch.nn.Module
        The network, in the mode in which the layers are to run.
    inputs : tuple of torch.Tensor
        Examples of the shape that the layers are to take.

    Raises
    ------
    ValueError
        Its operations depend on the examples' values.
    """

    def __init__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        try:
            program = torch.export.export(module, inputs)
        except Exception as error:  # of any class, by what the network does
            reason = str(error).strip().partition("\n")[0]
            raise ValueError(
                f"the network cannot be divided into stages: torch.export fails: {reason}"
            ) from None
        self.module, self.state = module, program.state_dict | program.constants
        specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
        nodes = list(program.graph.nodes)
        self.specs = {node: specs[node.name] for node in nodes if node.op == "placeholder"}
        self.inputs = [node for node, spec in self.specs.items() if spec.kind == InputKind.USER_INPUT]
        self.output: Any = nodes[-1].args[0][-1]
        self.nodes = [node for node in nodes if node.op == "call_function" and not _is_check(node)]
        self.place = {node: index for index, node in enumerate(self.nodes)}
        self.last_use = {node: max(self._uses(node), default=-1) for node in [*self.inputs, *self.nodes]}
        self.last_use[self.output] = len(self.nodes)
        self.constant, self.learned, self.before = set[Node](), set[Node](), dict[Node, int]()
        self._follow()

    def _uses(self, node: Node) -> Iterator[int]:
        return (self.place[user] for user in node.users if user in self.place)

    def _follow(self) -> None:
        """Find which values depend on no input, which on weights, and which operations each depends on."""
        mutated = _changed_by(self.nodes)
        for node, spec in self.specs.items():
            kept = spec.kind == InputKind.CONSTANT_TENSOR or spec.persistent is False
            if kept and node not in mutated:
                self.constant.add(node)
            if spec.kind == InputKind.PARAMETER:
                self.learned.add(node)
        for node in self.nodes:
            read = node.all_input_nodes
            if self.constant.issuperset(read) and node not in mutated and not _is_random(node):
                self.constant.add(node)
            if not self.learned.isdisjoint(read):
                self.learned.add(node)
            self.before[node] = 1 << self.place[node]
            for one in read:
                self.before[node] |= self.before.get(one, 0)

    def passing(self, cut: int) -> list[Node]:
        """Return the values that are known before an operation and used by it or later ones, in order."""
        known = [*self.inputs, *self.nodes[:cut]]
        return [node for node in known if node not in self.constant and self.last_use[node] >= cut]

    def width(self, cut: int) -> int:
        """Count the values that depend on weights and pass a cut."""
        return len(self.learned.intersection(self.passing(cut)))

    def is_possible(self, cut: int) -> bool:
        """Whether layers may be cut here: what passes are tensors, which nothing changes behind the cut."""
        passing = self.passing(cut)
        if not _changed_by(self.nodes[cut:]).isdisjoint(passing) or not all(
            isinstance(n.meta["val"], Tensor) for n in passing
        ):
            return False
        names = names_of(self.module)
        shared = (node for node, spec in self.specs.items() if len(names.get(spec.target or "", "")) == 1)
        return not any(min(uses) < cut <= max(uses) for n in shared if (uses := list(self._uses(n))))


def _is_check(node: Node) -> bool:
    return node.target == torch.ops.aten._assert_tensor_metadata.default


def _is_random(node: Node) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def _changed_by(nodes: Iterable[Node]) -> set[Any]:
    """Return the values that operations change in place."""
    schemas = ((node, getattr(node.target, "_schema", None)) for node in nodes)
    return {node.args[0] for node, schema in schemas if schema is not None and schema.is_mutable}


def path_of(node: Node) -> str:
    """Return the path of the module that an operation belongs to."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return stack[-1][0] if stack else ""


# Where to cut -------------------------------------------------------------------------------------------


def parts_of(traced: Traced) -> list[Part]:
    """Find the layers of a network.

    Blocks are the modules of a list or a sequence of modules that each depend on the one before. A block is
    cut between its own blocks where no more values pass than between the outer ones.

    Raises
    ------
    ValueError
        It is no chain of blocks.
    """
    outer, inner = _cuts(traced)
    least = min((traced.width(cut) for cut in outer if cut), default=0)
    cuts = outer | {cut: path for cut, path in inner.items() if traced.width(cut) <= least}
    begins = [0]
    for cut in sorted(cuts):
        if _weighted(traced, begins[-1], cut) and _weighted(traced, cut, len(traced.nodes)):
            begins.append(cut)
    if len(begins) < 2:
        raise ValueError(
            "the network cannot be divided into stages: it is no chain of blocks, a list or sequence of "
            "modules that each take what the one before gives"
        )
    return _named(traced, begins, cuts)


def _cuts(traced: Traced) -> tuple[dict[int, str], dict[int, str]]:
    """Return the possible cuts between outer and inner blocks, with the paths of the blocks behind them."""
    outer, inner = dict[int, str](), dict[int, str]()
    outermost: list[str] = []
    for path, chain in traced.module.named_modules():
        if isinstance(chain, CHAINS) and (found := _between(traced, path, chain)):
            is_inner = any(path.startswith(f"{one}.") for one in outermost)
            cuts = inner if is_inner else outer
            cuts |= {cut: path for cut, path in found.items() if cut not in cuts}
            outermost += [] if is_inner else [path]
    return outer, {cut: path for cut, path in inner.items() if cut not in outer}


def _between(traced: Traced, path: str, chain: nn.Module) -> dict[int, str]:
    """Return the possible cuts at the blocks of a chain: before, between and behind them."""
    paths = [f"{path}.{name}" for name, _ in chain.named_children()]
    blocks = [(path, places) for path in paths if (places := _places(traced, path))]
    cuts = {}
    for (_, one), (following_path, following) in pairwise(blocks):
        depends = any(traced.before[traced.nodes[i]] >> one[-1] & 1 for i in following)
        if one[-1] < following[0] and depends and traced.is_possible(following[0]):
            cuts[following[0]] = following_path
    ends = {blocks[-1][1][-1] + 1: "", blocks[0][1][0]: blocks[0][0]} if cuts else {}
    inside = {cut: path for cut, path in ends.items() if cut < len(traced.nodes)}
    return cuts | {cut: path for cut, path in inside.items() if traced.is_possible(cut)}


def _places(traced: Traced, path: str) -> list[int]:
    """Return the places of the operations of a module, in order."""
    return [i for i, node in enumerate(traced.nodes) if f"{path_of(node)}.".startswith(f"{path}.")]


def _weighted(traced: Traced, begin: int, end: int) -> list[Node]:
    """Return the operations in a range that use weights."""
    weights = {node for node, spec in traced.specs.items() if spec.kind == InputKind.PARAMETER}
    return [node for node in traced.nodes[begin:end] if not weights.isdisjoint(node.all_input_nodes)]


def _named(traced: Traced, begins: list[int], paths: dict[int, str]) -> list[Part]:
    """Name each layer by its block, or by the module of its first operation with weights."""
    parts: list[Part] = []
    for begin, end in pairwise([*begins, len(traced.nodes)]):
        path = paths.get(begin) or path_of(_weighted(traced, begin, end)[0])
        name = path.removeprefix("module.").replace(".", "/")
        again = sum(part.name.partition("#")[0] == name for part in parts)
        parts.append(Part(f"{name}#{again}" if again else name, begin, end))
    return parts


# The layers ---------------------------------------------------------------------------------------------


def names_of(module: nn.Module) -> dict[str, list[str]]:
    """Return for the name of each parameter and buffer all names that the same tensor has."""
    by_tensor: dict[int, list[str]] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        by_tensor.setdefault(id(tensor), []).append(name)
    return {name: names for names in by_tensor.values() for name in names}


def divide(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[tuple[str, nn.Module]]:
    """Divide a network; its layers have its tensors, and each takes the outputs of the one before.

    A layer has the attributes `state_names`, its tensors by their names in the network, and `leaving`, its
    outputs without numbers. A tensor with several names has another one in each layer. Those that no
    operation uses are in the last layer.

    Raises
    ------
    ValueError
        The network cannot be divided.
    """
    traced = Traced(module, inputs)
    tensors, names = module.state_dict(keep_vars=True), names_of(module)
    parts, used = parts_of(traced), set[str]()
    layers: list[tuple[str, nn.Module]] = []
    for part in parts:
        held: dict[str, Any] = {}
        graph = _graph(traced, part, held)
        layer = GraphModule(held, graph, "Layer")
        layer.leaving = [node.meta["val"] for node in _leaving(traced, part)]
        layer.state_names = {}
        for name in _state_names(traced, held, names):
            free = [one for one in names[name] if one not in used] or [name]
            layer.state_names[free[0]] = tensors[name]
            used.add(free[0])
        layers.append((part.name, layer))
    last = layers[-1][1]
    seen = {id(tensors[name]) for name in used}
    for name, tensor in tensors.items():
        if id(tensor) not in seen:
            _hold(last, f"unused_{name.replace('.', '_')}", tensor)
            last.state_names[name] = tensor  # type: ignore[index,operator,union-attr]
    return layers


def _state_names(traced: Traced, held: Iterable[str], names: dict[str, list[str]]) -> list[str]:
    targets = (spec.target for node, spec in traced.specs.items() if node.name in held)
    return [target for target in targets if target in names]


def _hold(layer: nn.Module, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, nn.Parameter):
        layer.register_parameter(name, tensor)
    else:
        layer.register_buffer(name, tensor)


def _graph(traced: Traced, part: Part, held: dict[str, Any]) -> Graph:
    """Make the graph of a layer, and note the tensors of the network that it holds."""
    graph = Graph()
    made: dict[Node, Node] = {}

    def value(node: Node) -> Node:
        """Return a value in the graph: one that has been made, one that is held, or a constant."""
        if node not in made:
            spec = traced.specs.get(node)
            if spec is None:
                made[node] = graph.node_copy(node, value)
            else:
                held[node.name] = _tensor(traced, spec)
                made[node] = graph.get_attr(node.name)
        return made[node]

    for node in traced.passing(part.begin) if part.begin else traced.inputs:
        made[node] = graph.placeholder(node.name)
    for node in traced.nodes[part.begin : part.end]:
        if node not in traced.constant:
            made[node] = graph.node_copy(node, value)
    leaving = [value(node) for node in _leaving(traced, part)]
    graph.output(leaving[0] if len(leaving) == 1 else tuple(leaving))
    return graph


def _leaving(traced: Traced, part: Part) -> list[Node]:
    """Return the outputs of a layer."""
    return [traced.output] if part.end == len(traced.nodes) else traced.passing(part.end)


def _tensor(traced: Traced, spec: InputSpec) -> Tensor:
    """Return the network's own tensor for an input of the graph."""
    name = spec.target or ""
    parent, _, last = name.rpartition(".")
    if spec.kind == InputKind.CONSTANT_TENSOR:
        return traced.state[name]
    return getattr(traced.module.get_submodule(parent), last)
