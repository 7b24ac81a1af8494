"""Strategies, memory by position, all-reduce and listed options: the options of stages, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core, listed_options
from .arguments import as_floats
from .errors import InputError, InputTypeError
from .fields import show
from .goal import Goal
from .listed_options import whole_numbers

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]

BY_COLUMN = ("sharded", "activations", "workspace", "gradients", "update")
"""Arrays by layer, or by layer and column, that a problem may have."""
BY_BATCH = ("activations", "gradients")
"""Those of them that are per example, or per iteration; they need the goal's batch."""
BY_TYPE = ("link", "network", "machine")
"""Arrays by device type that a problem may have."""
ABSENT: dict[str, Any] = dict.fromkeys(
    ("column_type", "column_degree", "column_strategy", *BY_COLUMN, *BY_TYPE, "options")
)
"""All of them, as a problem has them that does without."""


def column_fields(given: Mapping[str, Any], types: int) -> dict[str, Any]:
    """Check column_type, column_degree and column_strategy; all three None if absent."""
    names = ("column_type", "column_degree", "column_strategy")
    if all(given[name] is None for name in names):
        return dict.fromkeys(names)
    type_ = given["column_type"]
    type_ = np.arange(types) if type_ is None else whole_numbers("column_type", type_)
    if type_.ndim != 1 or type_.size == 0:
        raise InputError(f"column_type has shape {type_.shape}; it must be one device type a column")
    for t in range(types):
        if t not in type_:
            raise InputError(f"column_type has no column of type {t}; it must have one or more of each type")
    degree = np.ones(len(type_)) if given["column_degree"] is None else given["column_degree"]
    degree = whole_numbers("column_degree", degree)
    if degree.shape != type_.shape:
        raise InputError(f"column_degree has shape {degree.shape}; it must be {type_.shape}, as column_type")
    strategy = given["column_strategy"]
    strategy = _default_strategies(type_, degree) if strategy is None else _texts(strategy, len(type_))
    seen = set()
    for place, pair in enumerate(zip(type_.tolist(), strategy, strict=True)):
        if pair in seen:
            raise InputError(
                f"column_strategy[{place}] is {show(pair[1])}; it must differ from others of type {pair[0]}"
            )
        seen.add(pair)
    return {"column_type": _fixed(type_), "column_degree": _fixed(degree), "column_strategy": strategy}


def optional_arrays(given: Mapping[str, Any], layers: int, columns: int, types: int) -> dict[str, Any]:
    """Check the arrays of `BY_COLUMN` and `BY_TYPE`; None where they are absent."""
    found: dict[str, Any] = {}
    for name in BY_COLUMN:
        value = given[name]
        found[name] = None if value is None else by_column(name, value, layers, columns)
    for name in BY_TYPE:
        value = given[name]
        if value is not None:
            value = as_floats(name, [np.inf if v is None else v for v in value] if _is_list(value) else value)
            if value.shape != (types,):
                raise InputError(f"{name} has shape {value.shape}; it must be ({types},)")
            value = _fixed(value)
        found[name] = value
    return found


def by_column(name: str, value: object, layers: int, columns: int) -> Array:
    """Return an array of shape (layers, columns); one of shape (layers,) holds for all columns."""
    array = as_floats(name, value)
    if array.shape == (layers,):
        array = array[:, None]
    if array.shape not in ((layers, 1), (layers, columns)):
        raise InputError(f"{name} has shape {array.shape}; it must be ({layers},) or ({layers}, {columns})")
    return _fixed(np.broadcast_to(array, (layers, columns)))


def by_options(fields: Mapping[str, Any], goal: Goal) -> bool:
    """Whether stages are chosen among options: whether any of its arguments ask for that.

    Without a batch, `resident` has the activations, and nothing is all-reduced. A workspace that is the same
    on all types only decides whether a stage fits, whatever its devices.
    """
    asked = goal.schedule or goal.batch or goal.max_stages
    same = goal.whole_machines or goal.same_strategy or goal.same_replicas
    given = {name for name in ABSENT if fields[name] is not None}
    if given and goal.batch is None:
        given -= {*BY_BATCH, *BY_TYPE}
    if given and fields["gradients"] is None:
        given -= {*BY_TYPE}
    if "workspace" in given and workspace_of_all_types(fields) is not None:
        given.remove("workspace")
    return bool(asked or same or given) or fields["memory"].ndim == 2


def workspace_of_all_types(fields: Mapping[str, Any]) -> Array | None:
    """Return the bytes of each layer, (layers,), if they are the same on all types."""
    workspace: Array | None = fields["workspace"]
    if workspace is None or np.any(workspace != workspace[:, :1]):
        return None
    return workspace[:, 0]


def resident(fields: Mapping[str, Any], goal: Goal) -> dict[str, Array | None]:
    """Return memory and workspace as they count with this goal.

    Without a batch, the activations of the workload's batch stay in memory. Stages of all layers of a type
    (merge ``"type"``) have the workspaces of all their layers, if those are the same on all types.
    """
    memory: Array = fields["memory"]
    workspace: Array | None = fields["workspace"]
    if goal.batch is None and fields["activations"] is not None:
        memory = _sum_of(memory, fields["activations"] * fields["conditions"].batch)
    if goal.merge == "type" and (by_layer := workspace_of_all_types(fields)) is not None:
        memory, workspace = _sum_of(memory, by_layer[:, None]), None
    return {"memory": memory, "workspace": workspace}


def _sum_of(memory: Array, more: Array) -> Array:
    """Add bytes of shape (layers, columns) to memory, which keeps its shape if that is possible."""
    if memory.ndim == 1 and np.all(more == more[:, :1]):
        return _fixed(memory + more[:, 0])
    return _fixed(memory.reshape(len(memory), -1) + more)


def check_together(fields: Mapping[str, Any], goal: Goal) -> None:
    """Raise ValueError where one of these needs another one that is absent."""
    check_batch(fields, goal, "update")
    if goal.whole_machines and fields["machine"] is None:
        raise InputError(
            "whole_machines is True; machine must be given, the devices of a machine of each type"
        )


def check_batch(fields: Mapping[str, Any], goal: Goal, name: str) -> None:
    """Raise ValueError where there is an array of this name, but no batch."""
    if goal.batch is None and fields[name] is not None and np.any(fields[name]):
        raise InputError(f"batch is absent; it must be given where there are {name}")


def lower(fields: Mapping[str, Any], goal: Goal, types: int) -> _core.Columns:
    """Make what the core takes."""
    compute = fields["compute"]
    layers, columns = compute.shape
    core = _core.Columns()
    type_ = fields["column_type"]
    core.type = list(range(types)) if type_ is None else type_.tolist()
    core.degree = [1] * columns if fields["column_degree"] is None else fields["column_degree"].tolist()
    strategies = fields["column_strategy"] or ("",) * columns
    core.strategy = [sorted(set(strategies)).index(name) for name in strategies]
    for name in ("compute", "send", "receive", "compute_parallel"):
        setattr(core, name, fields[name])
    memory = fields["memory"]
    core.memory = np.broadcast_to(memory.reshape(layers, -1), (layers, columns))
    for name in BY_COLUMN:
        known = fields[name] is not None and (name not in BY_BATCH or goal.batch is not None)
        setattr(core, name, fields[name] if known else np.zeros((layers, columns)))
    if fields["workspace"] is not None and goal.batch is not None:
        core.workspace = fields["workspace"] / fields["conditions"].batch
    link = np.full(types, np.inf) if fields["link"] is None else fields["link"]
    core.link = link
    core.network = link if fields["network"] is None else fields["network"]
    core.machine = np.full(types, np.inf) if fields["machine"] is None else fields["machine"]
    core.schedule, core.microbatches = goal.schedule or "", goal.microbatches or 1
    core.batch = float(goal.batch or 1)
    if goal.max_stages is not None:
        core.max_stages = goal.max_stages
    core.whole_machines = goal.whole_machines
    core.same_strategy, core.same_replicas = goal.same_strategy, goal.same_replicas
    core.equal_shares = goal.equal_shares
    if fields["options"] is not None:
        listed_options.lower(core, fields["options"])
    return core


def fastest_columns(fields: Mapping[str, Any], types: int) -> dict[str, Array]:
    """Describe each layer to policies: its times on the fastest column of each type, (layers, types)."""
    compute, type_ = fields["compute"], fields["column_type"]
    names = ("compute", "send", "receive", "compute_parallel")
    if type_ is None:
        return {name: fields[name] for name in names}
    found = {name: np.empty((len(compute), types)) for name in names}
    layers = np.arange(len(compute))
    for t in range(types):
        own = np.flatnonzero(type_ == t)
        fastest = own[np.argmin(compute[:, own], axis=1)]
        for name in names:
            found[name][:, t] = fields[name][layers, fastest]
    return found


def _default_strategies(type_: npt.NDArray[Any], degree: npt.NDArray[Any]) -> tuple[str, ...]:
    """Name columns after their degree, followed by a number if several of a type have it."""
    names: list[str] = []
    for t, g in zip(type_.tolist(), degree.tolist(), strict=True):
        name = base = "" if g == 1 else f"tp{g}"
        taken = {other for other, u in zip(names, type_, strict=False) if u == t}
        number = 1
        while name in taken:
            number += 1
            name = f"{base or 'tp1'}-{number}"
        names.append(name)
    return tuple(names)


def _texts(values: Any, count: int) -> tuple[str, ...]:
    if not isinstance(values, (list, tuple)) or not all(isinstance(value, str) for value in values):
        raise InputTypeError(f"column_strategy is {show(values)}; it must be a list of texts")
    if len(values) != count:
        raise InputError(f"column_strategy has {len(values)} texts; it must have {count}")
    return tuple(values)


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple))


def _fixed(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array = np.array(values, order="C")
    array.flags.writeable = False
    return array
