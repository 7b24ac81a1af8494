"""Recomputation: a layer keeps its inputs alone, and its backward pass runs its forward pass again.

Chen et al. 2016, arXiv:1604.06174.  It is a strategy of a device type, alone or with another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .trace import TracedLayer


def recomputed(fields: Mapping[str, Any], layer: TracedLayer, forward: Mapping[str, float]) -> dict[str, Any]:
    """Change the fields of a `Layer` to those with recomputation.

    Parameters
    ----------
    fields
        `compute`, `backward`, `activations` and `workspace` without it, and others.
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
    if kept >= layer.saved:
        return dict(fields)
    times = {
        name: {type_: seconds + forward[type_] for type_, seconds in fields[name].items()}
        for name in ("compute", "backward")
    }
    sizes = {"activations": kept, "workspace": fields["workspace"] + layer.saved - layer.always}
    return {**fields, **times, **sizes}
