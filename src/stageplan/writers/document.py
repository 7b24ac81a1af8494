"""JSON for any other runtime: the layers of each stage by name, its bounds, and the ranks."""

from __future__ import annotations

import json

from .defaults import Default, even, to_bounds
from .limits import Limits
from .partition import Partition, Written

LIMITS = Limits(adjacent=False, replicas="any", any_strategy=True, schedules=("gpipe", "1f1b"))


def write(partition: Partition) -> Written:
    """Return stages, ranks, ties that are cut, and bounds if stages are runs of adjacent layers."""
    try:
        bounds: list[int] | None = list(partition.bounds())
    except ValueError:
        bounds = None
    stages = [
        {
            "layers": [partition.layers[i] for i in stage.layers],
            "type": stage.type,
            "devices": stage.devices,
            "replicas": stage.replicas,
            "strategy": stage.strategy,
        }
        for stage in partition.stages
    ]
    goal = partition.goal
    ties = [[partition.layers[i] for i in tie] for tie in partition.parted_ties()]
    ranks = partition.ranks()
    document = {
        "stages": stages,
        "bounds": bounds,
        "schedule": goal.schedule,
        "microbatches": goal.microbatches,
        "batch": goal.batch,
        "parted_ties": ties,
        "ranks": [rank._asdict() for rank in ranks],
    }
    return Written(document, json.dumps(document, indent=2) + "\n", ranks)


def default(partition: Partition) -> Default:
    """As evenly as possible by layers, as no runtime is known."""
    return Default("even by layers", to_bounds(even(len(partition.layers), len(partition.stages))))
