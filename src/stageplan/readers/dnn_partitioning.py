"""Instances of dnn-partitioning (Tarnawski et al., 2020): a graph, its devices and its goal in one JSON file.

Each device holds one set of nodes, and the largest load counts.  Its "FPGA" is any accelerator.  Times are in
one unnamed unit, read as seconds; a tensor's size is the time of its transfer, so the bandwidth is 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from ..cluster import Cluster, DeviceType
from ..errors import InputError
from ..fields import FINITE, Bytes, Capacity, DeviceLimit, Text, check_fields, fields_of, show
from ..goal import Goal
from ..workload import MAX_LAYERS, Layer, Tensor, Workload
from .documents import build
from .order import Devices, find_cycle, linear_order, refuse_cycle

MAX_NODES = 16 * MAX_LAYERS

Time = Annotated[float, Meta(ge=0, le=FINITE, description="a time, 0 or more and finite")]
Flag = Annotated[Annotated[int, Meta(ge=0, le=1)] | bool, Meta(description="0, 1, true or false")]
Id = Annotated[int, Meta(description="the whole number of a node")]


class _Node(Struct, frozen=True, kw_only=True, rename="camel"):
    id: Id
    name: Text = ""
    supported_on_fpga: Flag = True
    cpu_latency: Time
    fpga_latency: Time
    is_backward_node: Flag = False
    color_class: Annotated[int | None, Meta(description="a whole number")] = None
    size: Bytes = 0.0

    @property
    def owner(self) -> str:
        """What it is called in error messages."""
        return f"node {show(self.id)}"

    @property
    def group(self) -> tuple[str, int]:
        """What it is merged by."""
        return ("node", self.id) if self.color_class is None else ("class", self.color_class)


class _Edge(Struct, frozen=True, kw_only=True, rename="camel"):
    source_id: Id
    dest_id: Id
    cost: Time
    owner: ClassVar[str] = "edge"


class _Devices(Struct, frozen=True, kw_only=True):
    accelerators: DeviceLimit = field(name="maxFPGAs")
    cpus: DeviceLimit = field(name="maxCPUs")
    capacity: Capacity = field(name="maxSizePerFPGA")
    owner: ClassVar[str] = "devices"


S = TypeVar("S", _Node, _Edge, _Devices)


class _Graph(NamedTuple):
    nodes: dict[int, _Node]
    edges: list[_Edge]


def recognizes(document: dict[str, Any]) -> bool:
    """Whether a JSON document looks like an instance, valid or not."""
    return "nodes" in document and "edges" in document


def read_workload(document: dict[str, Any], name: str) -> Workload:
    """Workload of an instance: a layer for each colour class, a tensor for each node that other layers use.

    Nodes of a class are merged, a forward node and its backward twin for one, and so are layers that need
    each other's output, which no contiguous plan could part.  A layer takes the name of its first node.

    Parameters
    ----------
    document : dict
        The decoded JSON.
    name : str
        Name of the workload.

    Raises
    ------
    ValueError
        A field is wrong, or the nodes and edges do not form an acyclic graph.
    """
    devices, graph = _devices(document), _graph(document)
    pairs = _precedence(graph)
    layer_of = _merge(graph, pairs)
    members: list[list[_Node]] = [[] for _ in set(layer_of.values())]
    for node in graph.nodes.values():
        members[layer_of[node.id]].append(node)
    transfers = _transfers(graph, layer_of)
    order = linear_order(_between(pairs, layer_of), transfers, _order_devices(devices, members))
    names = _names(members)
    place = {layer: index for index, layer in enumerate(order)}
    return Workload(
        name=name,
        layers=tuple(_layer(names[layer], members[layer]) for layer in order),
        tensors=tuple(
            Tensor(
                producer=names[producer],
                consumers=tuple(names[consumer] for consumer in sorted(consumers, key=place.__getitem__)),
                bytes=cost,
            )
            for producer, consumers, cost in transfers
        ),
    )


def read_cluster(document: dict[str, Any], name: str) -> Cluster:
    """Cluster of an instance: ``accelerator`` and ``cpu``, at $1/hour each since it has no prices."""
    devices = _devices(document)
    accelerator = DeviceType(
        name="accelerator", price=1.0, limit=devices.accelerators, capacity=devices.capacity, bandwidth=1.0
    )
    cpu = DeviceType(name="cpu", price=1.0, limit=devices.cpus)
    return Cluster(name=name, types=(accelerator, cpu))


def read_goal() -> Goal:
    """Goal of every instance: the least largest load, one stage a device, transfers added to compute."""
    return Goal(objective="throughput", examples=1, split=True, overlap=False, max_devices_per_stage=1)


def _devices(document: dict[str, Any]) -> _Devices:
    return _build(_Devices, document, "")


def _build_all(struct: type[S], documents: list[Any], where: str) -> list[S]:
    """Build structs all at once if they are valid, else one by one, to name the wrong field."""
    try:
        return msgspec.convert(documents, list[struct])  # type: ignore[valid-type]
    except msgspec.ValidationError:
        return [_build(struct, item, f"{where}[{index}]") for index, item in enumerate(documents)]


def _build(struct: type[S], document: Any, where: str) -> S:
    """Build a struct from its fields; an instance may have others."""
    if isinstance(document, dict):
        known = {known.encode_name for known in fields_of(struct)}
        document = {key: value for key, value in document.items() if key in known}
    built = build(struct, document, where)
    try:
        check_fields(built, built.owner)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}.{error}" if where else str(error)) from None
    return built


def _graph(document: dict[str, Any]) -> _Graph:
    for key in ("nodes", "edges"):
        if not isinstance(document[key], list):
            raise InputError(f"{key} is {show(document[key])}; it must be a list")
    if not 1 <= len(document["nodes"]) <= MAX_NODES:
        raise InputError(f"nodes has {len(document['nodes'])} items; it must have 1 to {MAX_NODES}")
    nodes: dict[int, _Node] = {}
    for index, node in enumerate(_build_all(_Node, document["nodes"], "nodes")):
        if node.id in nodes:
            raise InputError(f"nodes[{index}].id is {show(node.id)}; it must differ from the ids before it")
        nodes[node.id] = node
    edges = _build_all(_Edge, document["edges"], "edges")
    _check_edges(nodes, edges)
    return _Graph(nodes, edges)


def _check_edges(nodes: dict[int, _Node], edges: list[_Edge]) -> None:
    costs: dict[int, float] = {}
    for index, edge in enumerate(edges):
        for key, end in (("sourceId", edge.source_id), ("destId", edge.dest_id)):
            if end not in nodes:
                raise InputError(f"edges[{index}].{key} is {show(end)}; it must be the id of a node")
        if edge.source_id == edge.dest_id:
            raise InputError(
                f"edges[{index}].destId is {show(edge.dest_id)}; it must differ from the sourceId"
            )
        cost = costs.setdefault(edge.source_id, edge.cost)
        if cost != edge.cost:
            raise InputError(
                f"edges[{index}].cost is {edge.cost}; "
                f"it must be {cost}, as on the other edges of node {show(edge.source_id)}"
            )
    refuse_cycle((edge.source_id, edge.dest_id) for edge in edges)


def _merge(graph: _Graph, pairs: list[tuple[int, int]]) -> dict[int, int]:
    """Return the layer of each node, numbered in the order of the file."""
    group_of = _groups(graph)
    count = len(set(group_of.values()))
    if count > MAX_LAYERS:
        raise InputError(f"nodes make {count} layers; they must make at most {MAX_LAYERS}")
    while cycle := find_cycle(_between(pairs, group_of)):
        merged = set(cycle)
        group_of = {id_: cycle[0] if group in merged else group for id_, group in group_of.items()}
    number = {group: index for index, group in enumerate(dict.fromkeys(group_of.values()))}
    return {id_: number[group] for id_, group in group_of.items()}


def _groups(graph: _Graph) -> dict[int, Any]:
    return {id_: node.group for id_, node in graph.nodes.items()}


def _precedence(graph: _Graph) -> list[tuple[int, int]]:
    """Return pairs of nodes, the first of which has to stand earlier in the pipeline unless they are merged.

    A gradient runs against the pipeline, so an edge between backward nodes is reversed; but some files
    write the backward half in the direction of the forward half.  An edge from the forward half to the
    backward half does not constrain the pipeline: all forward work precedes all backward work.
    """
    forward, group_of = _half(graph, backward=False), _groups(graph)
    backward = _half(graph, backward=True)
    if set(_between(forward, group_of)).isdisjoint(_between(backward, group_of)):
        backward = [(after, before) for before, after in backward]
    return forward + backward


def _half(graph: _Graph, *, backward: bool) -> list[tuple[int, int]]:
    """Edges whose two nodes are both backward nodes, or both not."""
    return [
        (edge.source_id, edge.dest_id)
        for edge in graph.edges
        if graph.nodes[edge.source_id].is_backward_node == backward
        and graph.nodes[edge.dest_id].is_backward_node == backward
    ]


def _between(edges: Iterable[tuple[int, int]], group_of: dict[int, Any]) -> list[tuple[Any, Any]]:
    """Edges between different groups, as edges of groups."""
    return [(group_of[a], group_of[b]) for a, b in edges if group_of[a] != group_of[b]]


def _transfers(graph: _Graph, layer_of: dict[int, int]) -> list[tuple[int, list[int], float]]:
    """(layer, other layers that use it, cost) of each node whose output leaves its layer."""
    found: dict[int, tuple[int, list[int], float]] = {}
    for edge in graph.edges:
        producer, consumer = layer_of[edge.source_id], layer_of[edge.dest_id]
        if producer != consumer:
            _, consumers, _ = found.setdefault(edge.source_id, (producer, [], edge.cost))
            if consumer not in consumers:
                consumers.append(consumer)
    return list(found.values())


def _order_devices(devices: _Devices, members: list[list[_Node]]) -> list[Devices]:
    """Devices to choose the order for; a layer that one cannot run gets a prohibitive time there."""
    on_cpu = [sum(node.cpu_latency for node in nodes) for nodes in members]
    on_accelerator = [_accelerator_time(nodes) for nodes in members]
    prohibitive = 1000 * (1 + sum(on_cpu) + sum(time for time in on_accelerator if time is not None))
    work = [prohibitive if time is None else time for time in on_accelerator]
    return [Devices(devices.accelerators, work), Devices(devices.cpus, on_cpu, transfers=False)]


def _accelerator_time(nodes: list[_Node]) -> float | None:
    return sum(node.fpga_latency for node in nodes) if all(node.supported_on_fpga for node in nodes) else None


def _names(members: list[list[_Node]]) -> list[str]:
    """Name of the first node of each layer, with its id where the name is missing or not unique."""
    first = [nodes[0] for nodes in members]
    uses = Counter(node.name for node in first)
    return [f"{node.name}#{node.id}" if not node.name or uses[node.name] > 1 else node.name for node in first]


def _layer(name: str, nodes: list[_Node]) -> Layer:
    return Layer(
        name=name,
        compute={"accelerator": _accelerator_time(nodes), "cpu": sum(node.cpu_latency for node in nodes)},
        memory=sum(node.size for node in nodes),
    )
