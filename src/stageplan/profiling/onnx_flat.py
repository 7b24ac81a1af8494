"""Flattened ONNX graphs: the nodes that run, in order, with the known properties of their values.

Where small values decide which branch of an If runs, or how many rounds a Loop or Scan has, the nodes in it
stand in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..errors import InputError
from ..fields import show
from .onnx_flops import flops
from .onnx_nodes import attribute, domain, node_name, unfit
from .onnx_values import BITS, Tensor, Values

MOST_NODES = 50_000  # once the rounds of loops follow one another


class Flat:
    """A flattened graph.

    Attributes
    ----------
    nodes
        In the order in which they run.
    loops : list of str
        Of each node, the outermost Loop or Scan that it is in, or ``""``.
    values : Values
        What is known of what they read and make.
    notes : dict of str to None
        What was assumed, a sentence each.
    """

    def __init__(self, model: Any, folder: Path, declared: Mapping[str, Tensor]) -> None:
        self.nodes: list[Any] = []
        self.loops: list[str] = []
        self.values = Values(model, folder, declared)
        self.notes: dict[str, None] = {}
        self._made: set[str] = set()
        self._loop = ""
        self._rounds = 0
        for value in model.graph.input:
            self.values.add_type(value.name, value.type)
        self._run(model.graph, _Names("", "", {}))

    def _run(self, graph: Any, names: _Names) -> None:
        """Add the contents of a graph, or of one in a node."""
        for constant in graph.initializer:
            self.values.add_constant(names.define_constant(constant.name), constant)
        for sparse in graph.sparse_initializer:
            self.values.add_sparse(names.define_constant(sparse.values.name), sparse)
        for node in graph.node:
            self._visit(node, names)

    def _visit(self, original: Any, names: _Names) -> None:
        if original.op_type in self.BODIES and not domain(original):
            try:
                self.BODIES[original.op_type](self, original, names)
            except (AttributeError, LookupError, TypeError):
                raise InputError(unfit(original)) from None
            return
        if any(item.type in (item.GRAPH, item.GRAPHS) for item in original.attribute):
            raise InputError(
                f"node {show(node_name(original))} is of type {original.op_type}, with a graph of its own, "
                f"whose operations cannot be counted; such graphs are read of If, Loop and Scan alone"
            )
        if original.op_type == "Constant" and not domain(original):
            self.values.add_constant_node(original, names.define_constant(original.output[0]))
        else:
            node = names.rename(original)
            self._emit(node)
            self.values.add_outputs(node)

    def _emit(self, node: Any) -> None:
        if len(self.nodes) == MOST_NODES:
            raise InputError(f"it has more than {MOST_NODES} nodes, with the rounds of its loops")
        for name in filter(None, node.output):
            if name in self._made:
                raise InputError(f"{show(name)} is made by two nodes; names of values must be unique")
            self._made.add(name)
        self.nodes.append(node)
        self.loops.append(self._loop)

    # Graphs in nodes ------------------------------------------------------------------------------------

    def _if(self, original: Any, names: _Names) -> None:
        """Add the branch that runs, or where that is not known, one of two with the same cost."""
        node = names.rename(original)
        condition = self.values.value(node.input[0])
        branches = [attribute(node, name, None) for name in ("then_branch", "else_branch")]
        if None in branches:
            raise InputError(f"node {show(node_name(node))} is an If without two branches")
        if condition is not None and condition.size == 1:
            chosen = branches[0 if bool(condition.item()) else 1]
            names.alias(original.output, self._branch(original, chosen, names))
            return
        start = len(self.nodes)
        first = self._branch(original, branches[0], names, "then/")
        middle = len(self.nodes)
        second = self._branch(original, branches[1], names, "else/")
        costs = self._cost(start, middle, first), self._cost(middle, len(self.nodes), second)
        if not all(abs(a - b) <= 0.01 * max(a, b) for a, b in zip(*costs, strict=False)):
            raise InputError(
                f"node {show(node_name(node))} is an If whose branches cost {costs[0][0]:.4g} and "
                f"{costs[1][0]:.4g} FLOPs, with weights of {costs[0][1]:.4g} and {costs[1][1]:.4g} bytes; "
                f"which one runs is not known"
            )
        keep_first = all(name in self.values.tensors for name in first)
        dropped = slice(middle, None) if keep_first else slice(start, middle)
        del self.nodes[dropped], self.loops[dropped]
        names.alias(original.output, first if keep_first else second)

    def _branch(self, original: Any, branch: Any, names: _Names, mark: str = "") -> list[str]:
        inner = names.inside(original, mark)
        self._run(branch, inner)
        return [inner.of(value.name) for value in branch.output]

    def _cost(self, start: int, end: int, outputs: Sequence[str]) -> tuple[float, float]:
        """FLOPs, and bytes of the constants that are read, of some nodes."""
        nodes = self.nodes[start:end]
        names = {*outputs, *(name for node in nodes for name in node.input)}
        total = sum(flops(node, self.values.shape)[0] for node in nodes)
        held = [self.values.constants[name] for name in names & self.values.constants.keys()]
        return total, float(sum(prod(tensor.shape) * BITS.get(tensor.type, 32) / 8 for tensor in held))

    def _loop_node(self, original: Any, names: _Names) -> None:
        """Add the rounds of a Loop, one after the other."""
        node = names.rename(original)
        body, called = attribute(node, "body", None), show(node_name(node))
        count, condition, *state = [*node.input, ""] if len(node.input) == 1 else node.input
        rounds = self.values.value(count) if count else None
        begins = self.values.value(condition) if condition else np.array(True)
        if rounds is None or rounds.size != 1 or begins is None or begins.size != 1:
            raise InputError(f"node {called} is a Loop; how many rounds it runs is not known")
        total = int(rounds.item()) if begins.item() else 0
        scanned: list[list[str]] = [[] for _ in body.output[1 + len(state) :]]
        for number, inner in self._each_round(original, names, total):
            counter, goes_on = inner.define(body.input[0].name), inner.define(body.input[1].name)
            self.values.add_constant(counter, numpy_helper.from_array(np.array(number), counter))
            self.values.add_constant(goes_on, numpy_helper.from_array(np.array(True), goes_on))
            inner.alias([value.name for value in body.input[2:]], state)
            self._run(body, inner)
            ends, *results = (inner.of(value.name) for value in body.output)
            state, made = results[: len(state)], results[len(state) :]
            for values, name in zip(scanned, made, strict=False):
                values.append(name)
            more = self.values.value(ends)
            if more is None:
                self.notes.setdefault(f"Loop {called} may end early; all its {total} rounds are counted")
            elif not more.all():
                break
        outputs = [self._stack(node.output[len(state) + i], values, 0) for i, values in enumerate(scanned)]
        names.alias(original.output, [*state, *outputs])

    def _scan(self, original: Any, names: _Names) -> None:
        """Add the rounds of a Scan, one after the other."""
        node = names.rename(original)
        body, called = attribute(node, "body", None), show(node_name(node))
        if self.values.opsets.get("", 1) < 9:
            raise InputError(
                f"node {called} is a Scan of opset {self.values.opsets.get('', 1)}; 9 or more can be read"
            )
        width = attribute(node, "num_scan_inputs", 0)
        split = len(node.input) - width
        state, inputs = list(node.input[:split]), node.input[split:]
        axes = attribute(node, "scan_input_axes", [0] * width)
        try:
            total = min(self.values.shape(name)[axis] for name, axis in zip(inputs, axes, strict=False))
        except ValueError as error:
            raise InputError(f"node {called} is a Scan; {error}") from None
        scanned: list[list[str]] = [[] for _ in body.output[split:]]
        for number, inner in self._each_round(original, names, total):
            inner.alias([value.name for value in body.input[:split]], state)
            for value, name, axis in zip(body.input[split:], inputs, axes, strict=False):
                self._slice(inner.define(value.name), name, axis, number)
            self._run(body, inner)
            results = [inner.of(value.name) for value in body.output]
            state = results[:split]
            for values, name in zip(scanned, results[split:], strict=False):
                values.append(name)
        directions = attribute(node, "scan_output_axes", [0] * len(scanned))
        outputs = [
            self._stack(node.output[split + i], values, directions[i]) for i, values in enumerate(scanned)
        ]
        names.alias(original.output, [*state, *outputs])

    def _each_round(self, original: Any, names: _Names, total: int) -> Iterator[tuple[int, _Names]]:
        """Count the rounds of a loop, and note the outermost loop that nodes are in."""
        loop, self._loop = self._loop, self._loop or node_name(names.rename(original))
        try:
            for number in range(total):
                self._rounds += 1
                if self._rounds > MOST_NODES:
                    raise InputError(f"its loops have more than {MOST_NODES} rounds")
                yield number, names.inside(original, number=f"{number}/")
        finally:
            self._loop = loop

    def _slice(self, name: str, whole: str, axis: int, number: int) -> None:
        shape = list(self.values.shape(whole))
        del shape[axis]
        self._emit(helper.make_node("Gather", [whole], [name], name=f"{name}/slice"))
        self.values.set(name, Tensor(self.values.tensors[whole].type, tuple(shape)))

    def _stack(self, name: str, values: Sequence[str], axis: int) -> str:
        """Add the node that joins the outputs of all rounds; returns the name of its output."""
        if name:
            self._emit(helper.make_node("ConcatFromSequence", values, [name], name=f"{name}/stack"))
            if values and all(value in self.values.tensors for value in values):
                shape = list(self.values.shape(values[0]))
                shape.insert(axis if axis >= 0 else len(shape) + 1 + axis, len(values))
                self.values.set(name, Tensor(self.values.tensors[values[0]].type, tuple(shape)))
        return name

    BODIES: Mapping[str, Callable[[Flat, Any, _Names], None]] = {
        "If": _if,
        "Loop": _loop_node,
        "Scan": _scan,
    }


class _Names:
    """Names of a graph's values, and what they are in the flat graph."""

    def __init__(self, prefix: str, home: str, known: Mapping[str, str]) -> None:
        self._prefix = prefix  # of what the graph makes
        self._home = home  # of its constants, which all rounds of a loop share
        self._known = dict(known)

    def of(self, name: str) -> str:
        """Name of a value in the flat graph."""
        return self._known.get(name, name)

    def define(self, name: str) -> str:
        """Name an output of a node, or an input of the graph."""
        self._known[name] = f"{self._prefix}{name}" if name else ""
        return self._known[name]

    def define_constant(self, name: str) -> str:
        """Name a constant."""
        self._known[name] = f"{self._home}{name}"
        return self._known[name]

    def rename(self, original: Any) -> Any:
        """Copy a node, with the names of the flat graph."""
        node = onnx.NodeProto()
        node.CopyFrom(original)
        node.input[:] = map(self.of, original.input)
        node.output[:] = map(self.define, original.output)
        node.name = f"{self._prefix}{original.name}" if original.name else ""
        return node

    def alias(self, names: Iterable[str], values: Iterable[str]) -> None:
        """Map names to values of the flat graph."""
        self._known.update(zip(names, values, strict=False))

    def inside(self, original: Any, branch: str = "", number: str = "") -> _Names:
        """Names in a graph of a node: a branch, or a round of a loop."""
        part = f"{next(filter(None, original.output), original.name)}/{branch}"
        return _Names(f"{self._prefix}{part}{number}", f"{self._home}{part}", self._known)
