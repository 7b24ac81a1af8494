"""A linear order of a graph whose intervals make good pipeline stages.

A graph has many topological orders, and a plan can only cut the one that it is given.  A few classical orders
are scored by their best splits, and the best of them is improved piece by piece.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple, TypeVar

import numpy as np

from .. import _core
from ..errors import InputError
from ..fields import show

Node = TypeVar("Node", bound=Hashable)
Order = list[int]
Score = tuple[float, float]
Tensors = Sequence[tuple[int, Sequence[int], float]]  # (producer, consumers, seconds)
Edges = list[tuple[int, int]]

MAX_NAMED = 8  # nodes of a cycle in an error message
MAX_TRIALS = 24  # pieces that are tried in the best order

# Priorities of a ready list, as a key of (arrival, node): the oldest, newest, first in the file.
PRIORITIES: tuple[Callable[[int, int], int], ...] = (
    lambda arrival, node: arrival,
    lambda arrival, node: -arrival,
    lambda arrival, node: node,
)


class Devices(NamedTuple):
    """Devices of one kind, each of which may hold one interval of the order."""

    number: int
    work: Sequence[float]  # finite seconds of each node, shape (n,)
    transfers: bool = True  # whether a device pays for the tensors that enter and leave it


def find_cycle(edges: Iterable[tuple[Node, Node]]) -> list[Node] | None:
    """Nodes of one cycle in the direction of its edges, each once; None where there is no cycle."""
    sorter: TopologicalSorter[Node] = TopologicalSorter()
    for before, after in edges:
        sorter.add(after, before)
    try:
        sorter.prepare()
    except CycleError as error:
        return list(error.args[1][:-1])
    return None


def refuse_cycle(edges: Iterable[tuple[Node, Node]]) -> None:
    """Raise a ValueError that names the nodes of one cycle, where there is any."""
    cycle = find_cycle(edges)
    if cycle:
        names = [show(node) for node in cycle]
        named = names if len(names) <= MAX_NAMED else [*names[:MAX_NAMED], "..."]
        around = " -> ".join([*named, names[0]])
        raise InputError(f"edges go round in a cycle of {len(names)} nodes, {around}; there must be none")


def linear_order(edges: Iterable[tuple[int, int]], tensors: Tensors, devices: Sequence[Devices]) -> Order:
    """Choose a topological order whose intervals are evenly loaded and cut little.

    Parameters
    ----------
    edges : iterable of (before, after)
        Must have no cycle.
    tensors : sequence of (producer, consumers, seconds)
        What a stage pays for each tensor that enters or leaves it.
    devices : sequence of Devices
        What orders are split over to compare them; a split may leave devices unused.

    Returns
    -------
    list of int
        The nodes in order; the same for the same arguments.
    """
    candidates = _candidates(len(devices[0].work), list(dict.fromkeys(edges)), tensors)
    if len(candidates) == 1:
        return candidates[0]
    splits = _core.OrderSplits(tensors, devices)
    return _splice(min((splits.score(order), order) for order in candidates), candidates, splits.score)


def _candidates(n: int, edges: Edges, tensors: Tensors) -> list[Order]:
    """Topological orders of the graph, and reversed ones of the reversed graph; no two are equal."""
    turned = [(n - 1 - after, n - 1 - before) for before, after in reversed(edges)]
    orders = [_ready_list(n, edges, priority) for priority in PRIORITIES]
    for priority in PRIORITIES:
        orders.append([n - 1 - node for node in reversed(_ready_list(n, turned, priority))])
    orders.append(_small_cut(n, edges, tensors))
    return [list(order) for order in dict.fromkeys(map(tuple, orders))]


def _ready_list(n: int, edges: Edges, priority: Callable[[int, int], int]) -> Order:
    """Kahn's algorithm; `priority` chooses among the nodes whose predecessors are all placed."""
    successors, waits_for = _adjacency(n, edges)
    ready = [(priority(node, node), node) for node in range(n) if waits_for[node] == 0]
    heapq.heapify(ready)
    arrival = n
    order: Order = []
    while ready:
        _, node = heapq.heappop(ready)
        order.append(node)
        for after in _release(node, successors, waits_for):
            heapq.heappush(ready, (priority(arrival, after), after))
            arrival += 1
    return order


def _small_cut(n: int, edges: Edges, tensors: Tensors) -> Order:
    """Place the ready node that adds least to the tensors in flight, the newest among equals."""
    successors, waits_for = _adjacency(n, edges)
    missing = [set(consumers) for _, consumers, _ in tensors]
    used_by: list[list[int]] = [[] for _ in range(n)]
    growth = np.zeros(n)
    for index, (producer, consumers, seconds) in enumerate(tensors):
        growth[producer] += seconds
        for consumer in consumers:
            used_by[consumer].append(index)
        if len(consumers) == 1:
            growth[consumers[0]] -= seconds
    arrival = np.where(np.asarray(waits_for) == 0, 0, -1)  # -1: not ready, or placed
    order: Order = []
    while len(order) < n:
        ready = np.flatnonzero(arrival >= 0)
        node = int(ready[np.lexsort((-arrival[ready], growth[ready]))[0]])
        order.append(node)
        arrival[node] = -1
        arrival[_release(node, successors, waits_for)] = len(order)
        for index in used_by[node]:
            missing[index].remove(node)
            if len(missing[index]) == 1:  # its last consumer will free it
                growth[next(iter(missing[index]))] -= tensors[index][2]
    return order


def _adjacency(n: int, edges: Edges) -> tuple[list[list[int]], list[int]]:
    """Successors of each node, and the number of its predecessors."""
    successors: list[list[int]] = [[] for _ in range(n)]
    waits_for = [0] * n
    for before, after in edges:
        successors[before].append(after)
        waits_for[after] += 1
    return successors, waits_for


def _release(node: int, successors: list[list[int]], waits_for: list[int]) -> list[int]:
    """Count `node` as placed, and return the nodes that waited for it alone."""
    for after in successors[node]:
        waits_for[after] -= 1
    return [after for after in successors[node] if waits_for[after] == 0]


def _splice(best: tuple[Score, Order], candidates: list[Order], score: Callable[[Order], Score]) -> Order:
    """Between positions where all candidates have placed the same nodes, take the piece that scores best."""
    start = trials = 0
    for end in _common_cuts(candidates):
        for piece in dict.fromkeys(tuple(candidate[start:end]) for candidate in candidates):
            trial = best[1][:start] + list(piece) + best[1][end:]
            if trial != best[1] and trials < MAX_TRIALS:
                trials += 1
                best = min(best, (score(trial), trial))
        start = end
    return best[1]


def _common_cuts(orders: list[Order]) -> list[int]:
    """Lengths at which the prefixes of all orders hold the same nodes."""
    positions = np.empty((len(orders), len(orders[0])), dtype=np.int64)
    for row, order in enumerate(orders):
        positions[row, order] = np.arange(len(order))
    latest = np.maximum.accumulate(positions.max(axis=0)[orders[0]])
    return [int(last) + 1 for last in np.flatnonzero(latest == np.arange(len(latest)))]
