"""Cores of attention: the scores of queries and keys, and what follows up to the product with the values.

An attention that is one kernel keeps no scores and is not a core; one of separate operations keeps them.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .trace import Cut, Kernel, Kernels, Operation, Trace, place


class Core(NamedTuple):
    """What the cores of attention of a layer keep for the backward pass, and their forward pass."""

    kept: float  # bytes
    forward: Kernels


def layer_cores(trace: Trace, cuts: Sequence[Cut]) -> list[Core]:
    """Add up the cores of each layer: those that lie in it as a whole."""
    forward: list[Kernels] = [Counter() for _ in cuts]
    makers: dict[int, int] = {}  # layer that makes a value within a core
    for core in attention_cores(trace.operations):
        layer = place(cuts, core[0])
        if layer != place(cuts, core[-1]):
            continue
        operations = [trace.operations[index] for index in core]
        forward[layer].update(Kernel(each.flops, each.bytes, each.kind) for each in operations)
        makers.update((value, layer) for each in operations[:-1] for value, _ in each.writes)
    kept = [0.0] * len(cuts)
    for storage, bytes_ in {storage: bytes_ for (_, storage), bytes_ in trace.saved.items()}.items():
        layer = makers.get(trace.values.get(storage, -1), -1)
        if layer >= 0 and storage not in trace.always:
            kept[layer] += bytes_
    return [Core(*each) for each in zip(kept, forward, strict=True)]


def note_cores(cores: Sequence[Core]) -> list[str]:
    """Note that recomputation of cores changes nothing, where no layer keeps anything of one."""
    if any(core.kept for core in cores):
        return []
    return ["strategy selective keeps as much as without it: no attention here keeps its scores"]


def attention_cores(operations: Sequence[Operation]) -> list[list[int]]:
    """Find the operations from a product without weights to the next one that reads what comes of it.

    Parameters
    ----------
    operations
        A forward pass, in order.

    Returns
    -------
    list of list of int
        Of each core the places of its operations, in order: first the product of queries and keys, last that
        with the values.
    """
    readers: dict[int, list[int]] = defaultdict(list)  # of each value
    for index, operation in enumerate(operations):
        for value in operation.reads:
            readers[value].append(index)
    found = (_core(operations, readers, index) for index, op in enumerate(operations) if _joins(op))
    return [core for core in found if core]


def _core(operations: Sequence[Operation], readers: Mapping[int, list[int]], first: int) -> list[int]:
    """Follow what comes of a product to the next one; empty where it has weights or is not there."""
    core: list[int] = []
    ahead = [first]
    while ahead:
        index = heapq.heappop(ahead)
        if core and index == core[-1]:
            continue
        core.append(index)
        operation = operations[index]
        if index != first and operation.product:
            return core if _joins(operation) else []
        for value, _ in operation.writes:
            for reader in readers.get(value, ()):
                heapq.heappush(ahead, reader)
    return []


def _joins(operation: Operation) -> bool:
    """Whether it multiplies values alone, and is not an attention as a whole."""
    return operation.product and not operation.weights and operation.kind != "attention"
