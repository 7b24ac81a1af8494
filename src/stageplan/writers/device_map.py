"""Hugging Face: a ``device_map`` from module to device, which runs one stage after another."""

from __future__ import annotations

import json

from .defaults import Default, balanced, even, to_bounds
from .limits import Limits
from .partition import Partition, Written

LIMITS = Limits(adjacent=False, replicas="one", pipelines=False)


def write(partition: Partition) -> Written:
    """Return the map, one device for each stage, and its JSON.

    Layers that share weights are placed on one device, that of the first: on several, each device would have
    its own copy, and training would make the copies differ.  There is one process; a rank is a device.
    """
    mapped = {
        path: device
        for name, modules, device in zip(
            partition.layers, partition.modules, placement(partition), strict=True
        )
        for path in (name, *modules)
    }
    moved = [
        f"{partition.layers[layer]} is placed with {partition.layers[tie[0]]}, whose weights it shares"
        for tie in partition.parted_ties()
        for layer in tie[1:]
    ]
    return Written(mapped, json.dumps(mapped, indent=2) + "\n", partition.ranks(), "; ".join(moved))


def placement(partition: Partition) -> list[int]:
    """Device of each layer: its stage, or that of the first layer with which it shares weights."""
    devices = partition.placement()
    for tie in partition.parted_ties():
        for layer in tie:
            devices[layer] = devices[tie[0]]
    return devices


def default(partition: Partition) -> Default:
    """Balance by parameters, much as ``device_map="balanced"``; by layers if the plan has no parameters."""
    if any(partition.parameters):
        return Default("balanced by parameters", balanced(partition.parameters, len(partition.stages)))
    return Default("even by layers", to_bounds(even(len(partition.layers), len(partition.stages))))
