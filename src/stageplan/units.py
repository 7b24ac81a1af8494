"""Smaller problems: layers that plans must not part are one layer, and strategies are left out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from .goal import Goal
from .plan_cost import refuse_plan_cost
from .problem import Problem

Array = npt.NDArray[Any]

_SUMMED = ("sharded", "activations", "gradients", "update", "backward", "prefill")
_BY_COLUMN = ("compute", "send", "receive", "compute_parallel", "workspace", *_SUMMED)


def merge_layers(problem: Problem, begins: Sequence[int]) -> Problem:
    """Make the problem whose layers are runs of layers of another one: a stage of them costs the same.

    Parameters
    ----------
    problem
        Without listed options.
    begins
        The first layer of each run, in order; the first is 0.

    Returns
    -------
    Problem
        A scheme of it is a scheme of `problem` by `expand_scheme`.
    """
    refuse_plan_cost(problem, "it would see runs of layers, which the runtime does not divide, as layers")
    fields, starts = problem._fields(), np.asarray(begins)
    ends = [*begins[1:], problem.n_layers]
    last = np.array(ends) - 1
    compute = fields["compute"]
    parallel = np.where(np.isinf(compute), 0.0, compute) * fields["compute_parallel"]
    fields["compute"] = np.add.reduceat(compute, starts, axis=0)
    fields["compute_parallel"] = _ratio(np.add.reduceat(parallel, starts, axis=0), fields["compute"])
    fields["send"], fields["receive"] = fields["send"][last], fields["receive"][starts]
    fields["memory"] = np.add.reduceat(fields["memory"], starts, axis=0)
    for name in _SUMMED:
        if fields[name] is not None:
            fields[name] = np.add.reduceat(fields[name], starts, axis=0)
    if fields["workspace"] is not None:
        fields["workspace"] = np.maximum.reduceat(fields["workspace"], starts, axis=0)
    runs = list(pairwise((*begins, problem.n_layers)))
    unit_of = np.repeat(np.arange(len(runs)), [b - a for a, b in runs]).tolist()
    fields["tensors"] = tuple(
        (unit_of[producer], others, size)
        for producer, consumers, size in problem.tensors
        if (others := tuple(sorted({unit_of[c] for c in consumers} - {unit_of[producer]})))
    )
    ties = (tuple(sorted({unit_of[layer] for layer in tie})) for tie in problem.ties)
    fields["ties"] = tuple(tie for tie in ties if len(tie) > 1)
    for name in ("layer_names", "layer_kinds"):
        fields[name] = tuple(fields[name][a] for a in begins)
    fields["layer_modules"] = tuple(tuple(chain(*problem.layer_modules[a:b])) for a, b in runs)
    fields["parameters"] = tuple(sum(problem.parameters[a:b]) for a, b in runs)
    return _made(fields, problem.goal)


def _made(fields: dict[str, Any], goal: Goal) -> Problem:
    for value in fields.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return Problem._of(fields, goal)


def _ratio(part: Array, whole: Array) -> Array:
    """Divide, where the result is a number; 1 elsewhere."""
    divides = (whole > 0) & np.isfinite(whole)
    return np.minimum(np.divide(part, whole, out=np.ones_like(whole), where=divides), 1.0)


def expand_scheme(scheme: npt.NDArray[np.int8], begins: Sequence[int], layers: int) -> npt.NDArray[np.int8]:
    """Make a scheme of all layers from one of merged layers."""
    return np.repeat(scheme, [b - a for a, b in pairwise((*begins, layers))], axis=-1)


def keep_columns(problem: Problem, kept: Sequence[bool]) -> Problem:
    """Make the problem with some of its columns; a type without any of them cannot run a layer.

    Parameters
    ----------
    problem
        With strategies, and without listed options.
    kept
        Whether to keep each column.

    Returns
    -------
    Problem
    """
    refuse_plan_cost(problem, "it would see other numbers of columns, without those the runtime lacks")
    fields = problem._fields()
    type_ = fields["column_type"]
    usable = np.array(kept)
    for t in set(range(problem.n_types)) - set(type_[usable].tolist()):
        column = int(np.flatnonzero(type_ == t)[0])
        fields["compute"] = np.where(np.arange(len(type_)) == column, np.inf, fields["compute"])
        usable[column] = True
    for name in (*_BY_COLUMN, *(["memory"] if fields["memory"].ndim == 2 else [])):
        if fields[name] is not None:
            fields[name] = fields[name][:, usable]
    for name in ("column_type", "column_degree"):
        fields[name] = fields[name][usable]
    named = zip(fields["column_strategy"], usable, strict=True)
    fields["column_strategy"] = tuple(strategy for strategy, use in named if use)
    return _made(fields, problem.goal)


def keep_strategies(problem: Problem, used: Collection[tuple[str, str]]) -> Problem:
    """Make the problem whose stages have one of some strategies, given as (type, strategy).

    Types that are not among them keep all of theirs.
    """
    if problem.column_type is None or problem.column_strategy is None:
        return problem
    types = {type_ for type_, _ in used}
    names = (problem.type_names[t] for t in problem.column_type)
    columns = zip(names, problem.column_strategy, strict=True)
    kept = [name not in types or (name, strategy) in used for name, strategy in columns]
    return problem if all(kept) else keep_columns(problem, kept)
