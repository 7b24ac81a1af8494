"""Layers as modules: the calls of a pass, divided between one module and the next.

From the whole network down, a module is opened into the modules that it calls while they run one after
another; the items of a list of like modules (the blocks of a decoder, say) stay whole, and so does a module
whose input is used again after its first part: a block with a residual connection.  A small module that runs
again after others, as a norm of several inputs, is part of the layers around it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..errors import InputError
from ..fields import show
from .trace import Cut, Trace

SMALL = 0.01  # a share of the weights of a module, such as that of a norm, that makes no layer of its own


class Call(NamedTuple):
    """A module's run."""

    path: str  # in the whole module, dots between names
    kind: str  # its class
    parent: int | None  # the call that it is part of
    list: str | None  # path of the list that it is an item of
    start: int  # its first operation
    weights: tuple[int, ...]
    size: int  # number of elements of its weights
    embeds: bool  # whether it contains an embedding
    end: int = 0  # after its last operation


def find_cuts(trace: Trace, calls: Sequence[Call]) -> list[Cut]:
    """Divide a pass into layers: blocks, and the modules before and after them.

    Raises
    ------
    ValueError
        The modules do not run one after another.
    """
    tree = _Tree(trace, calls)
    layers = list(tree.open(0))
    if len(layers) == 1 and (again := tree.repeated(0)) is not None:
        raise InputError(
            f"layers cannot be told: module {show(again)} runs again after others; its layers must be given"
        )
    return _cuts(layers, tree)


def cuts_at(trace: Trace, calls: Sequence[Call], paths: Sequence[str]) -> list[Cut]:
    """Cut a pass where given modules begin.

    Raises
    ------
    ValueError
        A path is not of a module that runs, is in another one, or runs again after others.
    """
    first: dict[str, int] = {}
    for index, call in enumerate(calls):
        first.setdefault(call.path, index)
    for place, path in enumerate(paths):
        if path not in first:
            raise InputError(f"layers[{place}] is {show(path)}; it must be the path of a module that runs")
        for other in paths[:place]:
            if path == other or path.startswith(f"{other}.") or other.startswith(f"{path}."):
                raise InputError(f"layers[{place}] is {show(path)}; it must not overlap with {show(other)}")
    chosen = [index for index, call in enumerate(calls) if call.path in set(paths)]
    return _cuts(_first_runs(chosen, calls), _Tree(trace, calls))


def cuts_at_depth(trace: Trace, calls: Sequence[Call], depth: int) -> list[Cut]:
    """Cut a pass where the modules at a depth begin, or those above it that call no others with weights.

    Raises
    ------
    ValueError
        One of them runs again after others.
    """
    tree = _Tree(trace, calls)
    return _cuts(_first_runs(list(tree.at_depth(0, depth)), calls), tree)


def _first_runs(chosen: Sequence[int], calls: Sequence[Call]) -> list[int]:
    """Take the first run of each module; its other runs must follow it."""
    first: dict[str, int] = {}
    for index in chosen:
        path = calls[index].path
        if path in first and path != next(reversed(first)):
            raise InputError(
                f"layers has {show(path)}, which runs again after others; layers must run one after another"
            )
        first.setdefault(path, index)
    return list(first.values())


class _Tree:
    """The calls of modules with weights, and who calls whom."""

    def __init__(self, trace: Trace, calls: Sequence[Call]) -> None:
        self.calls = calls
        self.trace = trace
        self.made = trace.made_with_weights()
        self.children: list[list[int]] = [[] for _ in calls]
        for index, call in enumerate(calls):
            if call.parent is not None and call.weights:
                self.children[call.parent].append(index)
        self.runs = Counter(call.path for call in calls)
        items: dict[str, dict[str, Call]] = {}
        for call in calls:
            if call.list is not None and call.weights:
                items.setdefault(call.list, {})[call.path] = call
        self.items = {path: list(found.values()) for path, found in items.items() if len(found) > 1}

    def open(self, index: int, outermost: bool = True) -> Iterator[int]:
        """Find the layers of a call: itself, or those of the modules that it calls."""
        if not self._opens(index, outermost):
            yield index
            return
        parts = self._parts(index)
        for child in parts:
            yield from self.open(child, outermost and len(parts) == 1)

    def at_depth(self, index: int, depth: int) -> Iterator[int]:
        """Find the calls at a depth below a call."""
        if depth == 0 or not self.children[index]:
            yield index
            return
        for child in self.children[index]:
            yield from self.at_depth(child, depth - 1)

    def repeated(self, index: int) -> str | None:
        """Path of a module, not a small one, that a call runs again after others, if any."""
        parts = (self.calls[child] for child in self._parts(index))
        return next((part.path for part in parts if self.runs[part.path] > 1), None)

    def _parts(self, index: int) -> list[int]:
        """Find the modules that a call runs, without the small ones that run again."""
        most = SMALL * self.calls[index].size
        children = self.children[index]
        return [
            child
            for child in children
            if self.runs[self.calls[child].path] == 1 or self.calls[child].size > most
        ]

    def _opens(self, index: int, outermost: bool) -> bool:
        call = self.calls[index]
        if not self._parts(index) or self.repeated(index) is not None:
            return False
        if outermost:
            return True
        has_list = any(path == call.path or path.startswith(f"{call.path}.") for path in self.items)
        return has_list and not self._is_repeated(call) and not self._is_residual(index)

    def _is_repeated(self, call: Call) -> bool:
        """Whether a call is of an item of a list, most of whose items are of one class and about one size."""
        items = self.items.get(call.list, []) if call.list is not None else []
        if not items:
            return False
        kind, _ = Counter(item.kind for item in items).most_common(1)[0]
        sizes = sorted(item.size for item in items if item.kind == kind)
        typical = sizes[len(sizes) // 2]
        return 2 * sum(abs(size - typical) <= 0.1 * typical for size in sizes) > len(items)

    def is_block(self, index: int) -> bool:
        """Whether a call is of a list item that has submodules."""
        return self.calls[index].list in self.items and bool(self.children[index])

    def _is_residual(self, index: int) -> bool:
        """Whether an input of a call that its first part reads is also read after that part."""
        call, first = self.calls[index], self.calls[self.children[index][0]]
        return bool(self._given(call, call.start, first.end) & self._given(call, first.end, call.end))

    def _given(self, call: Call, start: int, end: int) -> set[int]:
        """Values made before a call that some of its operations read."""
        read = {value for operation in self.trace.operations[start:end] for value in operation.reads}
        return {value for value in read if value in self.made and self.made[value][0] < call.start}


# Kinds --------------------------------------------------------------------------------------------------


def _cuts(layers: Sequence[int], tree: _Tree) -> list[Cut]:
    """Layers with weights; calls without join the previous layer. If none has weights, all is one layer."""
    layers = [index for index in layers if tree.calls[index].weights] or list(layers[:1])
    blocks = [place for place, index in enumerate(layers) if tree.is_block(index)]
    return [
        Cut(call.path or call.kind, _kind(call, place, blocks), call.start, call.weights)
        for place, call in enumerate(tree.calls[index] for index in layers)
    ]


def _kind(call: Call, place: int, blocks: Sequence[int]) -> str:
    """Return the kind of a layer: embedding, stem, block, norm, head, or the name of its class."""
    if place in blocks:
        return "block"
    behind = bool(blocks) and place > blocks[-1]
    if call.embeds and not behind:
        return "embedding"
    if "norm" in call.kind.lower():
        return "norm"
    if behind:
        return "head"
    return "stem" if blocks and place < blocks[0] else call.kind.lower()
