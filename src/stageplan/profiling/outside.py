"""Parameters and buffers that no layer uses or has in its module, and the layer that each is placed with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from .network import Network
from .trace import Trace, TracedLayer

LISTED = 6  # modules that a note names
SMALL = 1e-3  # a share of the weights, such as that of a mask token, that is too small for a note


def add_unused(trace: Trace, layers: Sequence[TracedLayer]) -> None:
    """Add the weights that no operation uses, and all buffers, to the layers that they are placed with."""
    paths = [layer.name for layer in layers]
    used = {number for operation in trace.operations for number in operation.weights}
    for number in trace.weights.keys() - used:
        for layer in layers:
            layer.weights.discard(number)
        layers[_layer_of(trace.weights[number].name, paths)].unused.add(number)
    for name, bytes_ in trace.buffers.items():
        layers[_layer_of(name, paths)].buffers += bytes_


def note_unused(trace: Trace, layers: Sequence[TracedLayer]) -> list[str]:
    """Note which share of the weights is not used, and which modules have them; nothing if it is small."""
    paths = [layer.name for layer in layers]
    unused = [trace.weights[number] for number in sorted(set().union(*(layer.unused for layer in layers)))]
    total = sum(weight.bytes for weight in trace.weights.values())
    share = sum(weight.bytes for weight in unused) / total if total else 0.0
    if share < SMALL:
        return []
    modules = list(dict.fromkeys(_outermost(weight.name, paths) for weight in unused))
    more = f" and {len(modules) - LISTED} more" if len(modules) > LISTED else ""
    return [
        f"{100 * share:.3g} % of the weights do not run on this example "
        f"({', '.join(modules[:LISTED])}{more}); they count as memory, and their time is left out"
    ]


def modules_outside(network: Network, layers: Sequence[TracedLayer]) -> list[list[str]]:
    """List, by layer, the paths of modules, parameters and buffers that are placed with it.

    A weight is placed with the first layer that has or uses it, and one that is not used with the layer
    whose path is nearest, the first of several.  The outermost module without layers is named for all that
    is in it.
    """
    paths = [layer.name for layer in layers]
    numbers = {weight.name: number for number, weight in network.trace.weights.items()}
    users: dict[int, int] = {}
    for index, layer in enumerate(layers):
        for number in layer.weights:
            users.setdefault(number, index)
    used: dict[str, int] = {}
    unused: dict[str, int] = {}
    for path, weight in network.names.items():
        if any(_is_in(path, layer) for layer in paths):
            continue
        module, user = _outermost(path, paths), users.get(numbers.get(weight, -1))
        if user is None:
            unused.setdefault(module, _nearest(module, paths))
        else:
            used.setdefault(module, user)
    placed: list[list[str]] = [[] for _ in layers]
    for module, index in (unused | used).items():
        placed[index].append(module)
    return placed


def _is_in(path: str, module: str) -> bool:
    return path == module or path.startswith(f"{module}.")


def _outermost(path: str, layers: Sequence[str]) -> str:
    """Path of the outermost module around a tensor that has no layer in it, or of the tensor."""
    parts = path.split(".")
    modules = (".".join(parts[:depth]) for depth in range(1, len(parts)))
    return next((module for module in modules if not any(_is_in(layer, module) for layer in layers)), path)


def _layer_of(path: str, layers: Sequence[str]) -> int:
    """Index of the layer that a tensor is in, or else of the one nearest to its outermost module."""
    inside = (index for index, layer in enumerate(layers) if _is_in(path, layer))
    index = next(inside, None)
    return _nearest(_outermost(path, layers), layers) if index is None else index


def _nearest(path: str, layers: Sequence[str]) -> int:
    """Index of the layer that has most of a path in common."""
    parts = path.split(".")
    common = [_common(parts, layer.split(".")) for layer in layers]
    return common.index(max(common))


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Count the parts with which both begin."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
