"""The row of a result in tables of results: its columns and their types."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from .fields import fields_of
from .goal import Goal

if TYPE_CHECKING:
    from .result import Result

_PLAIN = {bool: "bool", int: "int64", float: "float64"}


def _type_of(annotation: Any) -> str | None:
    """Return the type of the column of a field; None for a text."""
    return _PLAIN.get(annotation) or next(filter(None, map(_type_of, get_args(annotation))), None)


TYPES = {
    "problem": "string",
    **{field.name: _type_of(field.type) or "string" for field in fields_of(Goal)},
    "fixed_price": "float64", "method": "string", "seed": "uint64", "status": "string",
    "cost": "float64", "throughput": "float64", "price": "float64", "violation": "float64",
    "bound": "float64", "gap": "float64", "stages": "int64", "devices": "int64",
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
