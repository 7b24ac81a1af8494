"""Recomputation: a layer keeps its inputs alone, and its backward pass runs its forward pass again.

Chen et al. 2016, arXiv:1604.06174.  It is a strategy of a device type, which takes one device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..cluster import RECOMPUTE
from .trace import TracedLayer

STRATEGIES = (RECOMPUTE,)


def with_recompute(
    fields: Mapping[str, Any], layer: TracedLayer, forward: Mapping[str, float]
) -> dict[str, Any]:
    """Add the strategy to the fields of a `Layer`.

    Parameters
    ----------
    fields
        `compute`, `backward`, `activations` and `workspace` without the strategy.
    layer
        What it keeps, and what it takes over.
    forward
        Seconds of its forward pass by device type.

    Returns
    -------
    dict
        The same fields.  A layer that would keep as much as without recomputation runs as it does without.
    """
    kept = layer.inputs + layer.always
    again = kept < layer.saved
    times = {name: fields[name] | _named(fields[name], forward, again) for name in ("compute", "backward")}
    if not again:
        return {**fields, **times}
    sizes = {"activations": kept, "workspace": fields["workspace"] + layer.saved - layer.always}
    return {
        **fields,
        **times,
        **{
            name: dict.fromkeys(forward, fields[name]) | {_name(type_): size for type_ in forward}
            for name, size in sizes.items()
        },
    }


def _named(times: Mapping[str, float], forward: Mapping[str, float], again: bool) -> dict[str, float]:
    """Seconds under the strategy."""
    return {_name(type_): time + (forward[type_] if again else 0.0) for type_, time in times.items()}


def _name(type_: str) -> str:
    return f"{type_}/{RECOMPUTE}"
