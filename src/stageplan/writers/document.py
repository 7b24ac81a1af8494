"""JSON for any other runtime: the layers of each stage by name, and where each stage begins."""

from __future__ import annotations

import json

from .defaults import Default, even, to_bounds
from .split import Split, Written


def write(split: Split) -> Written:
    """Return stages, ties that are parted, and bounds where stages are runs of neighbours."""
    try:
        bounds: list[int] | None = list(split.bounds())
    except ValueError:
        bounds = None
    stages = [
        {"layers": [split.layers[i] for i in stage.layers], "type": stage.type, "devices": stage.devices}
        for stage in split.stages
    ]
    ties = [[split.layers[i] for i in tie] for tie in split.parted_ties()]
    document = {"stages": stages, "bounds": bounds, "parted_ties": ties}
    return Written(document, json.dumps(document, indent=2) + "\n")


def default(split: Split) -> Default:
    """As even as can be by layers: there is no runtime that would have a rule of its own."""
    return Default("even by layers", to_bounds(even(len(split.layers), len(split.stages))))
