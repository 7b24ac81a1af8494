"""Profiles of PipeDream (Narayanan et al., 2019): a text of nodes, then of edges.

A node is ``node11 -- Conv2d(3, 64, ...) -- forward_compute_time=MS, backward_compute_time=MS,
activation_size=BYTES, parameter_size=BYTES``, an edge a tab and ``node11 -- node12``.  Times are of one
minibatch on one V100.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import inf
from typing import NamedTuple

from ..errors import InputError
from ..fields import show
from ..workload import MAX_LAYERS, Layer, Tensor, Workload
from .order import Devices, linear_order, refuse_cycle

TYPE = "v100"

# The order of the layers is chosen for transfers at the 10 Gbit/s of PipeDream's own network.
ORDER_BANDWIDTH = 1.25e9
ORDER_DEVICES = 8

_NODE = re.compile(
    r"(?P<id>\S+) -- (?P<description>.*) -- forward_compute_time=(?P<forward>[^,]*), "
    r"backward_compute_time=(?P<backward>[^,]*), activation_size=(?P<activation>[^,]*), "
    r"parameter_size=(?P<parameter>\S*)( -- stage_id=\d+)?"
)
_EDGE = re.compile(r"(\S+) -- (\S+)")
_KIND = re.compile(r"\w*")


class _Node(NamedTuple):
    description: str
    seconds: float
    activation: float
    parameter: float

    @property
    def is_input(self) -> bool:
        return self.description.startswith("Input")


def recognizes(text: str) -> bool:
    """Whether a text looks like a profile, valid or not."""
    return re.search(r"^\S+ -- .* -- forward_compute_time=", text, re.MULTILINE) is not None


def read_workload(text: str, name: str) -> Workload:
    """Workload of a profile: a layer for each node but the inputs, a tensor for each node that others use.

    A layer's time is the sum of forward and backward, its memory parameters and activation; a tensor holds
    the activation, and the gradient of the same size that comes back.  The minibatch counts as one example.

    Parameters
    ----------
    text : str
        The whole profile.
    name : str
        Name of the workload.

    Raises
    ------
    ValueError
        A line cannot be read, or the nodes and edges do not form an acyclic graph.
    """
    nodes, edges = _parse(text)
    refuse_cycle(edges)
    ids = [id_ for id_, node in nodes.items() if not node.is_input]
    if not 1 <= len(ids) <= MAX_LAYERS:
        raise InputError(f"it has {len(ids)} nodes besides the inputs; it must have 1 to {MAX_LAYERS}")
    consumers: dict[str, list[str]] = {}
    for source, target in edges:
        if not nodes[source].is_input and not nodes[target].is_input:
            consumers.setdefault(source, []).append(target)
    tensors = tuple(
        Tensor(producer=source, consumers=tuple(targets), bytes=2 * nodes[source].activation)
        for source, targets in consumers.items()
    )
    layers = tuple(_layer(ids[index], nodes[ids[index]]) for index in _order(ids, nodes, tensors))
    return Workload(name=name, layers=layers, tensors=tensors)


def _layer(id_: str, node: _Node) -> Layer:
    kind = _KIND.match(node.description)
    return Layer(
        name=id_,
        kind=kind.group() if kind else "",
        compute={TYPE: node.seconds},
        memory=node.parameter + node.activation,
        parameters=node.parameter,
    )


def _order(ids: list[str], nodes: dict[str, _Node], tensors: tuple[Tensor, ...]) -> list[int]:
    index = {id_: place for place, id_ in enumerate(ids)}
    transfers = [
        (
            index[tensor.producer],
            [index[consumer] for consumer in tensor.consumers],
            tensor.bytes / ORDER_BANDWIDTH,
        )
        for tensor in tensors
    ]
    edges = [(producer, consumer) for producer, consumers, _ in transfers for consumer in consumers]
    return linear_order(edges, transfers, [Devices(ORDER_DEVICES, [nodes[id_].seconds for id_ in ids])])


def _parse(text: str) -> tuple[dict[str, _Node], list[tuple[str, str]]]:
    """Nodes by id, and edges, each once (a node that uses another twice has two)."""
    nodes: dict[str, _Node] = {}
    edges: dict[tuple[str, str], int] = {}
    for number, line in _lines(text):
        if node := _NODE.fullmatch(line):
            if node["id"] in nodes:
                raise InputError(
                    f"line {number}: the id {show(node['id'])} is taken; each node must have its own"
                )
            nodes[node["id"]] = _node(node, number)
        elif edge := _EDGE.fullmatch(line):
            edges.setdefault((edge[1], edge[2]), number)
        else:
            raise InputError(f"line {number} is {show(line)}; it must be a node or an edge")
    for (source, target), number in edges.items():
        _check_edge(source, target, nodes, number)
    return nodes, list(edges)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, line.strip()


def _node(match: re.Match[str], number: int) -> _Node:
    milliseconds = _number(match, "forward", number) + _number(match, "backward", number)
    return _Node(
        description=match["description"],
        seconds=milliseconds / 1000,
        activation=_number(match, "activation", number),
        parameter=_number(match, "parameter", number),
    )


def _number(match: re.Match[str], field: str, number: int) -> float:
    """Return a field's number, or the sum of its list ``[a; b]``."""
    text = match[field]
    try:
        parts = [float(part) for part in text.removeprefix("[").removesuffix("]").split(";")]
    except ValueError:
        parts = [-inf]
    if not all(0 <= part < inf for part in parts):
        allowed = "a number, 0 or more and finite" + (", or a list of them" if field == "activation" else "")
        raise InputError(f"line {number}: the {field} field is {show(text)}; it must be {allowed}")
    return sum(parts)


def _check_edge(source: str, target: str, nodes: dict[str, _Node], number: int) -> None:
    if source == target:
        raise InputError(
            f"line {number}: the edge leads from {show(source)} to itself; it must lead to another node"
        )
    for end in (source, target):
        if end not in nodes:
            raise InputError(f"line {number}: the edge names {show(end)}; it must name a node of the file")
