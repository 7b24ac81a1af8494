"""Which weights of a network several devices divide: by its own plan, or by a rule."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ..errors import InputError
from ..fields import show
from .strategies import Division
from .tensor_parallel import ATTENTION, Plan, is_transposed
from .trace import Cut, Operation, Trace, place

LISTED = 6  # modules that a note names


def own_plan(module: nn.Module, division: Division) -> Plan:
    """Read the plan that a module has, as those of transformers do; empty if it has none.

    The plan is a table ``tp_plan`` from paths to styles, in which ``*`` stands for a number; where experts
    stay whole, ``ep_plan`` takes the place of what it has for the same modules.

    Raises
    ------
    ValueError
        A plan is not a table of texts; experts are to stay whole, and it has no plan for that.
    """
    styles = _table(module, "tp_plan")
    if division.experts:
        experts = _table(module, "ep_plan")
        if not experts:
            raise InputError("it has no ep_plan, as configurations of experts have; the strategy must be tp")
        kept = {path: style for path, style in styles.items() if not _is_in(_general(path), experts)}
        styles = {**kept, **experts}
    modules, parameters = module.named_modules(), module.named_parameters()
    return Plan(
        _known(styles, (path for path, _ in modules)), _known(styles, (path for path, _ in parameters))
    )


def _table(module: nn.Module, name: str) -> Mapping[str, str]:
    styles = getattr(module, name, None) or {}
    if not isinstance(styles, Mapping) or not all(isinstance(style, str) for style in styles.values()):
        raise InputError(f"its {name} is {show(styles)}; it must be a table from paths to styles")
    return styles


def _is_in(path: str, others: Mapping[str, str]) -> bool:
    return any(path == other or path.startswith(f"{other}.") for other in others)


def _general(path: str) -> str:
    """Put ``*`` in the place of numbers."""
    return re.sub(r"\.\d+(?=\.|\Z)", ".*", path)


def _known(styles: Mapping[str, str], paths: Iterable[str]) -> dict[str, str]:
    """Styles of those paths that have one, as they are or with ``*`` in the place of numbers."""
    found = ((path, styles.get(path) or styles.get(_general(path))) for path in paths)
    return {path: style for path, style in found if style is not None}


def rule(module: nn.Module, trace: Trace, cuts: Sequence[Cut], degree: int, *, attention: bool) -> Plan:
    """Divide what a network whose own plan has no products in its blocks does in pairs of products.

    The first products of a pair are divided by columns and the second by rows, where nothing in the same
    layer reads what the first make but operations on each number alone, or attention, and then the second.
    Products are those of ``torch.nn.Linear``, or of GPT-2's class for them, that run once in a pass.  The
    heads of ``torch.nn.MultiheadAttention`` are divided.

    Parameters
    ----------
    module, trace, cuts
        The network, its pass, and its layers.
    degree
        Number of devices.
    attention
        Whether there may be attention between the products of a pair.
    """
    found = _Pairs(module, trace, cuts, attention)
    styles = dict(found.styles())
    for path, part in module.named_modules():
        if isinstance(part, nn.MultiheadAttention) and _divides(part, degree):
            styles[path] = ATTENTION
    return Plan(styles, {})


def _divides(part: Any, degree: int) -> bool:
    same = part._qkv_same_embed_dim and part.bias_k is None and not part.add_zero_attn
    return bool(same and part.num_heads % degree == 0)


def note_divided(whole: Trace, part: Trace, division: Division) -> str:
    """Note which share of the weights of a network is divided, and what is whole on each device.

    Raises
    ------
    ValueError
        Nothing is divided.
    """
    shared = {number for number, weight in whole.weights.items() if part.weights[number] != weight}
    if not shared:
        raise InputError(f"strategy {division} cannot be used: nothing was found that it divides")
    owner = {number: weight.name.rpartition(".")[0] for number, weight in whole.weights.items()}
    total = sum(weight.bytes for weight in whole.weights.values())
    share = sum(whole.weights[number].bytes for number in shared) / total
    divided = {owner[number] for number in shared}
    modules = list(dict.fromkeys(_general(path) for path in owner.values() if path not in divided))
    more = f" and {len(modules) - LISTED} more" if len(modules) > LISTED else ""
    kind = "expert" if division.experts else "tensor"
    return (
        f"{kind} parallelism divides {100 * share:.4g} % of the weights; whole on each device: "
        f"{', '.join(modules[:LISTED]) or 'none'}{more}"
    )


@dataclass
class _Group:
    """Products by columns, and the product by rows that reads what comes of them, if one does."""

    columns: set[str] = field(default_factory=set)
    row: str | None = None
    broken: bool = False


class _Pairs:
    """Pairs of products in a pass."""

    def __init__(self, module: nn.Module, trace: Trace, cuts: Sequence[Cut], attention: bool) -> None:
        self.trace, self.cuts, self.attention = trace, cuts, attention
        self.made = trace.made_with_weights()
        modules = dict(module.named_modules())
        names = {number: weight.name.rpartition(".")[0] for number, weight in trace.weights.items()}
        self.linear = {number: path for number, path in names.items() if _is_linear(modules[path])}
        self.runs: dict[str, int] = {}
        self.groups: dict[int, _Group] = {}  # value -> the products that it comes of
        for index, operation in enumerate(trace.operations):
            if operation.writes:  # a view makes nothing
                self._follow(index, operation)

    def styles(self) -> Iterator[tuple[str, str]]:
        """Yield path and style of each product of a pair."""
        for group in {id(group): group for group in self.groups.values()}.values():
            paths = (*group.columns, *([group.row] if group.row else []))
            if group.broken or group.row is None or any(self.runs[path] > 1 for path in paths):
                continue
            yield from ((path, "colwise") for path in group.columns)
            yield group.row, "rowwise"

    def _follow(self, index: int, operation: Operation) -> None:
        """Note which products the results of an operation come of."""
        read = [value for value in operation.reads if value in self.made]
        groups = [self.groups[value] for value in read if value in self.groups]
        path = self._product(operation)
        if path is not None:
            self.runs[path] = self.runs.get(path, 0) + 1
        if groups:
            group = self._merge(groups)
            inside = all(place(self.cuts, self.made[value][0]) == place(self.cuts, index) for value in read)
            if inside and group.row is None and not group.broken:
                if path is not None:
                    group.row = path
                    return
                if len(groups) == len(read) and self._passes(operation):
                    self._make(operation, group)
                    return
            group.broken = True
        if path is not None:
            self._make(operation, _Group(columns={path}))

    def _make(self, operation: Operation, group: _Group) -> None:
        self.groups |= {value: group for value, _ in operation.writes}

    def _merge(self, groups: Sequence[_Group]) -> _Group:
        """Put products together of which one value comes."""
        first = groups[0]
        for other in groups[1:]:
            if other is first:
                continue
            first.columns |= other.columns
            first.broken |= other.broken or other.row is not None
            self.groups.update((value, first) for value, group in self.groups.items() if group is other)
        return first

    def _passes(self, operation: Operation) -> bool:
        """Whether an operation works on each device's part alone."""
        attends = self.attention and operation.kind == "attention"
        return (operation.each or attends) and not operation.weights

    def _product(self, operation: Operation) -> str | None:
        """Path of the module whose product an operation is."""
        paths = {self.linear.get(number) for number in operation.weights}
        path = paths.pop() if len(paths) == 1 else None
        return path if operation.flops and not operation.each else None


def _is_linear(part: nn.Module) -> bool:
    return type(part) is nn.Linear or is_transposed(part)
