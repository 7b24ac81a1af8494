"""One pass of a network, operation by operation, independent of hardware.

A reader fills a `Trace`; `Trace.layers` adds the operations up between given cuts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from ..device import Kind

MOST_NAMED = 20  # operators in a note


class Kernel(NamedTuple):
    """Work of an operation on a device."""

    flops: float
    bytes: float  # read from and written to memory
    kind: Kind = ""


Kernels = Counter[Kernel]  # how often each occurs


class Operation(NamedTuple):
    """An operation of the forward pass: a kernel, and the values that it reads and writes, by number."""

    flops: float
    bytes: float  # read from and written to memory
    reads: tuple[int, ...]
    writes: tuple[tuple[int, float], ...]  # (value, bytes)
    weights: tuple[int, ...]  # which it reads
    kind: Kind = ""
    each: bool = False  # whether it makes each number of numbers at the same place alone
    product: bool = False  # whether it multiplies matrices, convolves or attends


class Reduce(NamedTuple):
    """An all-reduce among the devices that share a layer."""

    operation: int  # the operation of the forward pass that it follows, or whose backward pass it belongs to
    bytes: float
    backward: bool


class Weight(NamedTuple):
    """A tensor of parameters."""

    name: str
    bytes: float
    trained: bool


class Cut(NamedTuple):
    """Where a layer begins."""

    name: str
    kind: str
    start: int  # its first operation
    weights: tuple[int, ...]  # that belong to it, used or not


@dataclass
class TracedLayer:
    """A layer's operations and bytes, of a whole batch."""

    name: str
    kind: str
    weights: set[int]
    forward: Kernels = field(default_factory=Counter)
    backward: Kernels = field(default_factory=Counter)
    saved: float = 0.0  # bytes that the forward pass keeps for the backward pass, and no layer before it
    always: float = 0.0  # of them, what is kept even if the layer is computed again
    inputs: float = 0.0  # bytes that it takes over from layers before it, and no layer between
    workspace: float = 0.0  # most bytes of values, or of their gradients, that are needed at a time
    unused: set[int] = field(default_factory=set)  # weights that are not used, and are placed with it
    buffers: float = 0.0  # bytes that are placed with it
    cache: float = 0.0  # bytes of keys and values of earlier tokens
    forward_reduces: Counter[float] = field(default_factory=Counter)  # bytes, and how often each occurs
    backward_reduces: Counter[float] = field(default_factory=Counter)

    @property
    def flops(self) -> float:
        """Floating-point operations of the forward pass."""
        return sum(kernel.flops * count for kernel, count in self.forward.items())

    @property
    def moved(self) -> float:
        """Bytes that the forward pass reads and writes."""
        return sum(kernel.bytes * count for kernel, count in self.forward.items())


@dataclass
class Trace:
    """One forward pass, and one backward pass where there is one, of a batch.

    Attributes
    ----------
    operations
        The forward pass, in order.
    backward : list of (operation, kernel)
        Kernels of the backward pass, and the operation of the forward pass that each belongs to.
    saved : dict of (operation, storage) to bytes
        What an operation keeps for the backward pass; a storage may be kept by several.
    always : set of int
        Storages that are kept whatever is computed again: the network's outputs, and what comes of its inputs
        alone.
    values : dict of storage to int
        The number of the value that a storage of `saved` holds, if an operation has made it.
    reduces
        All-reduces, where the pass is that of one of the devices that share a network.
    weights
        By number: parameters, and buffers that hold quantised weights.
    buffers : dict of str to bytes
        The other buffers, by name.
    uncounted : dict of str to (count, bytes)
        Operators without a formula for their FLOPs: how often they run, and what they move.
    """

    operations: list[Operation] = field(default_factory=list)
    backward: list[tuple[int, Kernel]] = field(default_factory=list)
    saved: dict[tuple[int, int], float] = field(default_factory=dict)
    always: set[int] = field(default_factory=set)
    values: dict[int, int] = field(default_factory=dict)
    reduces: list[Reduce] = field(default_factory=list)
    weights: dict[int, Weight] = field(default_factory=dict)
    buffers: dict[str, float] = field(default_factory=dict)
    uncounted: dict[str, tuple[int, float]] = field(default_factory=dict)

    def note_uncounted(self, operator: str, bytes_: float) -> None:
        """Note an operation without a formula for its FLOPs."""
        count, moved = self.uncounted.get(operator, (0, 0.0))
        self.uncounted[operator] = (count + 1, moved + bytes_)

    def notes(self) -> Iterator[str]:
        """Note which operators have no formula, and how much of all bytes they move."""
        if not self.uncounted:
            return
        counts = {
            name: "once" if count == 1 else f"{count} times" for name, (count, _) in self.uncounted.items()
        }
        named = [f"{name} ({times})" for name, times in counts.items()]
        listed = ", ".join([*named[:MOST_NAMED], *(["and others"] if len(named) > MOST_NAMED else [])])
        moved = sum(operation.bytes for operation in self.operations)
        moved += sum(kernel.bytes for _, kernel in self.backward)
        share = sum(bytes_ for _, bytes_ in self.uncounted.values()) / (moved or 1)
        yield (
            f"no FLOPs formula for {listed}, which move {share:.1%} of all bytes: counted as one FLOP for "
            f"each number that they make"
        )

    def layers(self, cuts: Sequence[Cut]) -> list[TracedLayer]:
        """Sum up the operations between cuts; those before the first belong to the first layer.

        A weight that no layer has belongs to those that use it.
        """
        layers = [TracedLayer(cut.name, cut.kind, set(cut.weights)) for cut in cuts]
        owned = set().union(*(layer.weights for layer in layers))
        needed = self.needed_bytes()
        for index, operation in enumerate(self.operations):
            layer = layers[place(cuts, index)]
            layer.weights.update(weight for weight in operation.weights if weight not in owned)
            if operation.flops or operation.bytes:
                layer.forward[Kernel(operation.flops, operation.bytes, operation.kind)] += 1
            layer.workspace = max(layer.workspace, needed[index])
        for index, kernel in self.backward:
            layers[place(cuts, index)].backward[kernel] += 1
        for reduce in self.reduces:
            layer = layers[place(cuts, reduce.operation)]
            (layer.backward_reduces if reduce.backward else layer.forward_reduces)[reduce.bytes] += 1
        self._add_saved(layers, cuts)
        self._add_inputs(layers, cuts)
        return layers

    def _add_saved(self, layers: Sequence[TracedLayer], cuts: Sequence[Cut]) -> None:
        first: dict[int, tuple[int, float]] = {}  # storage -> (operation that keeps it first, bytes)
        for (index, storage), bytes_ in self.saved.items():
            first[storage] = min(first.get(storage, (index, bytes_)), (index, bytes_))
        for storage, (index, bytes_) in first.items():
            layer = layers[place(cuts, index)]
            layer.saved += bytes_
            layer.always += bytes_ if storage in self.always else 0.0

    def _add_inputs(self, layers: Sequence[TracedLayer], cuts: Sequence[Cut]) -> None:
        made, taken = self.made_with_weights(), set()
        for index, operation in enumerate(self.operations):
            for value in operation.reads:
                if value in made and value not in taken and place(cuts, made[value][0]) < place(cuts, index):
                    taken.add(value)
                    layers[place(cuts, index)].inputs += made[value][1]

    def needed_bytes(self) -> list[float]:
        """Bytes of values that are needed while each operation runs: made by then, and read then or later.

        In the backward pass the gradient of a value is needed exactly where the value is in the forward pass.
        Where there is one, the values are those that depend on weights, which have gradients.
        """
        values = self.made_with_weights() if self.backward else self._made()
        last = {value: index for value, (index, _) in values.items()}
        for index, operation in enumerate(self.operations):
            last.update((value, index) for value in operation.reads if value in values)
        change = [0.0] * (len(self.operations) + 1)
        for value, (index, bytes_) in values.items():
            change[index] += bytes_
            change[last[value] + 1] -= bytes_
        return list(accumulate(change[:-1]))

    def _made(self) -> dict[int, tuple[int, float]]:
        """(Operation that makes it, bytes) of each value."""
        return {
            value: (index, bytes_)
            for index, operation in enumerate(self.operations)
            for value, bytes_ in operation.writes
        }

    def ties(self, layers: Sequence[TracedLayer], cuts: Sequence[Cut]) -> tuple[tuple[str, ...], ...]:
        """Group the layers that have or use the same weights."""
        users: dict[int, dict[int, None]] = defaultdict(dict)
        for index, layer in enumerate(layers):
            for weight in layer.weights:
                users[weight][index] = None
        for index, operation in enumerate(self.operations):
            for weight in operation.weights:
                users[weight][place(cuts, index)] = None
        groups = {tuple(sorted(group)) for group in users.values() if len(group) > 1}
        return tuple(tuple(layers[index].name for index in group) for group in sorted(groups))

    def made_with_weights(self) -> dict[int, tuple[int, float]]:
        """(Operation that makes it, bytes) of each value that depends on weights.

        What depends on the inputs alone, such as a mask, every stage can make for itself.
        """
        made: dict[int, tuple[int, float]] = {}
        for index, operation in enumerate(self.operations):
            if operation.weights or any(value in made for value in operation.reads):
                for value, bytes_ in operation.writes:
                    made[value] = (index, bytes_)
        return made

    def tensors(self, cuts: Sequence[Cut]) -> dict[tuple[int, tuple[int, ...]], float]:
        """Bytes that pass from a layer to others, by (producer, consumers in order)."""
        made = self.made_with_weights()
        consumers: dict[int, set[int]] = defaultdict(set)
        for index, operation in enumerate(self.operations):
            for value in operation.reads:
                if value in made and place(cuts, made[value][0]) != place(cuts, index):
                    consumers[value].add(place(cuts, index))
        passed: dict[tuple[int, tuple[int, ...]], float] = defaultdict(float)
        for value in sorted(consumers):
            index, bytes_ = made[value]
            passed[place(cuts, index), tuple(sorted(consumers[value]))] += bytes_
        return dict(passed)


def place(cuts: Sequence[Cut], operation: int) -> int:
    """Index of the layer that an operation belongs to."""
    return max(0, bisect_right(cuts, operation, key=lambda cut: cut.start) - 1)
