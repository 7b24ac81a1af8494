"""Hugging Face: a ``device_map`` from module to device; it places layers, and runs stage after stage."""

from __future__ import annotations

import json

from .defaults import Default, balanced, even, to_bounds
from .split import Split, Written


def write(split: Split) -> Written:
    """Return the map, a device a stage, and its JSON.

    Layers that share weights get one device, that of the first: else each device would have weights of its
    own, and training would part them.
    """
    if split.replicas() > 1:
        raise ValueError(
            f"its stages have {split.replicas()} devices; the runtime must have one device a stage"
        )
    mapped = dict(zip(split.layers, placement(split), strict=True))
    moved = [
        f"{split.layers[layer]} is placed with {split.layers[tie[0]]}, whose weights it shares"
        for tie in split.parted_ties()
        for layer in tie[1:]
    ]
    return Written(mapped, json.dumps(mapped, indent=2) + "\n", "; ".join(moved))


def placement(split: Split) -> list[int]:
    """Device of each layer: the number of its stage, or of that of the layer it shares weights with."""
    device_of = {layer: device for device, stage in enumerate(split.stages) for layer in stage.layers}
    for tie in split.parted_ties():
        device_of |= dict.fromkeys(tie, device_of[tie[0]])
    return [device_of[layer] for layer in range(len(split.layers))]


def default(split: Split) -> Default:
    """Balance by parameters, about as ``device_map="balanced"`` does, or by layers if they are not known."""
    if any(split.parameters):
        return Default("balanced by parameters", balanced(split.parameters, len(split.stages)))
    return Default("even by layers", to_bounds(even(len(split.layers), len(split.stages))))
