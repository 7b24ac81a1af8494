"""What identifies a problem, in files that belong to one."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import Any

import msgspec
import numpy as np

from . import strategies
from .problem import Problem

_ARRAYS = (
    "compute", "send", "receive", "compute_parallel", "transfer_parallel", "memory", "price", "limit",
    "capacity", "bandwidth",
)  # fmt: skip
_REST = ("tensors", "fixed_price", "layer_kinds", "type_names", "goal")


def digest_of(problem: Problem) -> str:
    """Return a hash of all that a plan depends on."""
    values: dict[str, Any] = {
        name: getattr(problem, name) for name in (*_ARRAYS, *_REST, *strategies.ABSENT) if name != "options"
    }
    if problem.options is not None:
        values |= {f"options {f.name}": getattr(problem.options, f.name) for f in fields(problem.options)}
    if problem.plan_cost is not None:
        values["plan_cost"] = problem.plan_cost.content()
    return digest(values)


def digest(values: dict[str, Any]) -> str:
    """Return a hash of arrays and plain values, by name."""
    seen = hashlib.sha256()
    for name, value in values.items():
        if isinstance(value, np.ndarray):
            kind, content = f"{value.dtype.str} {value.shape}", value.tobytes()
        else:
            content = msgspec.msgpack.encode(value)
            kind = str(len(content))
        seen.update(f"{name} {kind}\n".encode() + content)
    return seen.hexdigest()
