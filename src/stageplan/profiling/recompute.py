"""Recomputation: what the forward pass does not keep, the backward pass computes again.

Of a whole layer, which keeps its inputs alone (Chen et al. 2016, arXiv:1604.06174), or of the cores of its
attention (selective; Korthikanti et al. 2022, arXiv:2205.05198, section 5).  Both are strategies of a device
type, alone or with another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .attention_core import Core
from .trace import TracedLayer


class Again(NamedTuple):
    """Bytes that a layer keeps where it recomputes, and that it makes again for its backward pass."""

    kept: float
    made: float


def of_layer(layer: TracedLayer) -> Again:
    """Of a whole layer."""
    return Again(layer.inputs + layer.always, layer.saved - layer.always)


def of_core(layer: TracedLayer, core: Core) -> Again:
    """Of the cores of its attention."""
    return Again(layer.saved - core.kept, core.kept)


def recomputed(fields: Mapping[str, Any], again: Again, forward: Mapping[str, float]) -> dict[str, Any]:
    """Change the fields of a `Layer` to those with recomputation.

    Parameters
    ----------
    fields
        `compute`, `backward`, `activations` and `workspace` without it, and others.
    again
        What it keeps, and what it makes again.
    forward
        Seconds of the forward pass of what is made again, by device type.

    Returns
    -------
    dict
        The same fields.  A layer that would keep as much as without recomputation runs as it does without.
    """
    if again.kept >= fields["activations"]:
        return dict(fields)
    times = {
        name: {type_: seconds + forward[type_] for type_, seconds in fields[name].items()}
        for name in ("compute", "backward")
    }
    sizes = {"activations": again.kept, "workspace": fields["workspace"] + again.made}
    return {**fields, **times, **sizes}
