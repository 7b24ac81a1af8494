"""The row of a result in tables of results: its columns and their types."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from .solve import Result

TYPES = {
    "problem": "string", "objective": "string", "examples": "float64", "min_throughput": "float64",
    "max_duration": "float64", "max_cost": "float64", "max_price": "float64", "overlap": "bool",
    "merge": "string", "split": "bool", "max_devices_per_stage": "int64", "schedule": "string",
    "microbatches": "int64", "batch": "int64", "max_stages": "int64", "whole_machines": "bool",
    "same_strategy": "bool", "same_replicas": "bool", "fixed_price": "float64", "method": "string",
    "seed": "uint64", "status": "string", "cost": "float64", "throughput": "float64", "price": "float64",
    "violation": "float64", "bound": "float64", "gap": "float64", "stages": "int64", "devices": "int64",
    "evaluations": "int64", "generations": "int64", "work": "int64", "scheme": "list<int8>",
    "error": "string",
}  # fmt: skip
"""Type of each column, in their order."""


def row_of(result: Result) -> dict[str, Any]:
    """Return a result as one row; None for no limit, and for numbers that are infinite."""
    plan = result.plan
    row = {
        "problem": plan.problem.name,
        **msgspec.structs.asdict(plan.problem.goal),
        "fixed_price": plan.problem.fixed_price,
        **{name: getattr(result, name) for name in ("method", "seed", "status")},
        **{name: getattr(plan, name) for name in ("cost", "throughput", "price", "violation")},
        **{name: getattr(result, name) for name in ("bound", "gap")},
        "stages": len(plan.stages),
        "devices": sum(stage.devices for stage in plan.stages),
        **{name: getattr(result, name) for name in ("evaluations", "generations", "work")},
        "scheme": plan.scheme.tolist(),
        "error": None,
    }
    return {name: None if row[name] == math.inf else row[name] for name in TYPES}
