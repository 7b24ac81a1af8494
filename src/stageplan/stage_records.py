"""What a stage's cost may depend on, as arrays: sums and maxima over layers, bytes, the fields of types."""

from __future__ import annotations

import keyword
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _core
from .arguments import as_floats, as_tuple, check_number
from .errors import InputError, InputTypeError
from .fields import show
from .listed_options import Ints

if TYPE_CHECKING:
    from .problem import Problem

Array = npt.NDArray[np.float64]

STAGE = (
    "first", "last", "layers", "total", "type", "strategy", "column", "degree", "replicas", "devices",
    "share", "batch", "microbatches", "in_bytes", "out_bytes",
)  # fmt: skip
"""Fields of the record of a stage."""
PLACES = ("sum", "max", "first", "last")
"""Fields of the record of its layers."""
_LAYERS = (
    "compute", "send", "receive", "compute_parallel", "memory", "sharded", "activations", "workspace",
    "gradients", "update", "parameters",
)  # fmt: skip
_TYPES = ("price", "limit", "capacity", "bandwidth", "transfer_parallel", "link", "network", "machine")
_MOST_DEVICES = 256  # of a stage, unless the goal says how many


@dataclass(frozen=True, eq=False)
class Records:
    """The arrays that records of stages are read from.

    Attributes
    ----------
    layer_fields, type_fields : tuple of str
        Names of the numbers of layers and of types.
    high, low : ndarray of float64, shape (L + 1, C, A)
        Sums over the layers before each one, without infinite numbers, and what their rounding lost.
    infinite : ndarray of int64, shape (L + 1, C, A)
        How many of these numbers are infinite.
    maxima : ndarray of float64, shape (levels, L, C, A)
        Maxima of 2^level layers from each one on.
    unsupported : ndarray of int64, shape (L + 1, C)
        How many of the layers before each one a column cannot run.
    types : ndarray of float64, shape (T, D)
        The numbers of the types.
    in_bytes, out_bytes : ndarray of float64, shape (stages,)
        Bytes of the tensors that enter and leave each stage, per example.
    """

    layer_fields: tuple[str, ...]
    type_fields: tuple[str, ...]
    high: Array
    low: Array
    infinite: npt.NDArray[np.int64]
    maxima: Array
    unsupported: npt.NDArray[np.int64]
    types: Array
    in_bytes: Array
    out_bytes: Array


@dataclass(frozen=True, eq=False)
class Choices:
    """What a stage of each type may be, by devices: columns and replicas.

    Attributes
    ----------
    begin : ndarray of int64, shape (T + 1,)
        Where those of each type begin.
    column, degree, strategy, replicas, devices : ndarray of int32, shape (K,)
        Of each choice.
    group : ndarray of int32, shape (K,)
        Of choices of different groups, none replaces another.
    share : ndarray of float64, shape (K,)
        Fraction of an example's work, with a schedule of a microbatch's, that the fullest replica does.
    """

    begin: npt.NDArray[np.int64]
    column: Ints
    degree: Ints
    strategy: Ints
    replicas: Ints
    devices: Ints
    group: Ints
    share: Array


def make_records(problem: Problem, layers: Mapping[str, Any], types: Mapping[str, Any]) -> Records:
    """Sum up the arrays of a problem and the caller's own.

    Raises
    ------
    ValueError, TypeError
        Naming the array of the caller, and what is allowed.
    """
    columns = _columns(problem)
    names = _names("layers", layers, _LAYERS)
    values = np.stack(
        [
            *(_by_column(getattr(problem, name), problem, columns) for name in _LAYERS),
            *(_own_layers(name, values, problem, columns) for name, values in layers.items()),
        ],
        axis=-1,
    )
    high, low = _prefix_sums(np.where(np.isinf(values), 0.0, values))
    unsupported = np.isinf(problem.compute)
    into, out = _bytes(problem)
    return Records(
        layer_fields=names,
        type_fields=_names("types", types, _TYPES),
        high=high,
        low=low,
        infinite=_counts(np.isinf(values)),
        maxima=_maxima(values),
        unsupported=_counts(unsupported),
        types=_types(problem, types),
        in_bytes=into,
        out_bytes=out,
    )


def make_choices(problem: Problem, replicas: Sequence[int] | None) -> Choices:
    """List columns and replicas of the stages of each type, as the built-in cost has them.

    Raises
    ------
    ValueError, TypeError
        `replicas` are not whole numbers from 1 on.
    """
    allowed = None
    if replicas is not None:
        allowed = sorted(set(as_tuple("replicas", replicas, "a sequence of whole numbers")))
        for number in allowed:
            check_number("replicas", number, minimum=1, maximum=_core.MAX_DEVICES, whole=True)
    columns = _columns(problem)
    degree = np.ones(len(columns), np.int32) if problem.column_degree is None else problem.column_degree
    names = problem.column_strategy or ("",) * len(columns)
    strategy = [list(dict.fromkeys(names)).index(name) for name in names]
    rows = [
        (t, int(degree[c]) * r, c, r)
        for c, t in enumerate(columns.tolist())
        for r in _replicas(problem, t, int(degree[c]), allowed)
    ]
    rows.sort()
    if not rows:
        raise InputError(
            f"replicas is {show(replicas)}, and no type has the devices for it; limit and "
            "max_devices_per_stage must allow a replica of some type"
        )
    type_, devices, column, replicas_ = np.array(rows, dtype=np.int32).T
    examples = (problem.goal.batch or 1) / (problem.goal.microbatches or 1)
    share = np.ceil(examples / replicas_) / examples if problem.goal.schedule else 1.0 / replicas_
    same = np.zeros(len(rows), np.int64)
    if problem.goal.same_strategy:
        same += np.array(strategy)[column]
    if problem.goal.same_replicas:
        same += len(names) * replicas_.astype(np.int64)
    return Choices(
        begin=np.searchsorted(type_, np.arange(problem.n_types + 1)),
        column=np.ascontiguousarray(column),
        degree=degree.astype(np.int32)[column],
        strategy=np.array(strategy, np.int32)[column],
        replicas=np.ascontiguousarray(replicas_),
        devices=np.ascontiguousarray(devices),
        group=np.unique(same, return_inverse=True)[1].astype(np.int32),
        share=share.astype(np.float64),
    )


def _replicas(problem: Problem, t: int, degree: int, allowed: Sequence[int] | None) -> list[int]:
    """List the numbers of replicas of a type and degree; one where its limit is less."""
    goal = problem.goal
    stated = goal.max_devices_per_stage or (_core.MAX_DEVICES if allowed else _MOST_DEVICES)
    if goal.max_devices_per_stage is not None and degree > stated:
        return []
    examples = (goal.batch or 1) // (goal.microbatches or 1)
    most = max(1, min(stated, float(problem.limit[t])) // degree)
    most = int(min(most, examples if goal.schedule else most))
    numbers = range(1, most + 1) if allowed is None else [r for r in allowed if r <= most]
    return [r for r in numbers if not (goal.schedule and goal.equal_shares) or examples % r == 0]


def _columns(problem: Problem) -> Ints:
    """Return the type of each column."""
    if problem.column_type is not None:
        return problem.column_type
    return np.arange(problem.n_types, dtype=np.int32)


def _names(argument: str, own: Mapping[str, Any], known: tuple[str, ...]) -> tuple[str, ...]:
    if not isinstance(own, Mapping):
        raise InputTypeError(f"{argument} is {show(own)}; it must be a mapping from names to arrays")
    for name in own:
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or name[0] == "_":
            raise InputError(f"{argument} has the name {show(name)}; it must be a name of Python")
        if name in known:
            raise InputError(f"{argument} has the name {show(name)}; it must differ from {', '.join(known)}")
    return (*known, *own)


def _by_column(values: Any, problem: Problem, columns: Ints) -> Array:
    shape = (problem.n_layers, len(columns))
    if values is None:
        return np.zeros(shape)
    array = np.asarray(values, dtype=np.float64)
    return np.broadcast_to(array.reshape(problem.n_layers, -1), shape)


def _own_layers(name: str, values: object, problem: Problem, columns: Ints) -> Array:
    array = as_floats(f"layers[{name!r}]", values)
    shape = (problem.n_layers, len(columns))
    allowed = [(problem.n_layers,), (problem.n_layers, problem.n_types), shape]
    if array.shape not in allowed:
        shapes = " or ".join(map(str, dict.fromkeys(allowed)))
        raise InputError(f"layers[{name!r}] has shape {array.shape}; it must be {shapes}")
    if np.isnan(array).any():
        raise InputError(f"layers[{name!r}] has a number that is NaN; all must be numbers or inf")
    if array.ndim == 2 and array.shape != shape:
        array = array[:, columns]
    return np.broadcast_to(array.reshape(problem.n_layers, -1), shape)


def _types(problem: Problem, own: Mapping[str, Any]) -> Array:
    rows = []
    for name in _TYPES:
        values = getattr(problem, name)
        if name == "network" and values is None:
            values = problem.link
        rows.append(np.full(problem.n_types, np.inf) if values is None else values)
    for name, values in own.items():
        array = as_floats(f"types[{name!r}]", values)
        if array.shape != (problem.n_types,):
            raise InputError(f"types[{name!r}] has shape {array.shape}; it must be ({problem.n_types},)")
        rows.append(array)
    return np.ascontiguousarray(np.stack(rows, axis=-1), dtype=np.float64)


def _prefix_sums(values: Array) -> tuple[Array, Array]:
    """Sum compensated, as the core does: differences have the same bits as there."""
    high, low = (np.zeros((len(values) + 1, *values.shape[1:])) for _ in range(2))
    for i, x in enumerate(values):
        total = high[i] + x
        shift = total - high[i]
        low[i + 1] = low[i] + ((high[i] - (total - shift)) + (x - shift))
        high[i + 1] = total
    return high, low


def _counts(marked: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    counts = np.zeros((len(marked) + 1, *marked.shape[1:]), np.int64)
    np.cumsum(marked, axis=0, out=counts[1:])
    return counts


def _maxima(values: Array) -> Array:
    levels = [values]
    while 2 << (len(levels) - 1) <= len(values):
        half, below = 1 << (len(levels) - 1), levels[-1]
        level = below.copy()
        np.maximum(below[:-half], below[half:], out=level[:-half])
        levels.append(level)
    return np.stack(levels)


def _bytes(problem: Problem) -> tuple[Array, Array]:
    """Bytes into and out of each stage; each tensor counts once a stage. Sums of positive terms only."""
    layers = problem.n_layers
    into, out = np.zeros((layers, layers)), np.zeros((layers, layers))
    for producer, consumers, size in problem.tensors:
        before = -1
        for consumer in sorted(set(consumers)):
            if producer > consumer:  # stages that end before the producer
                into[before + 1 : consumer + 1, consumer:producer] += size
            elif producer < consumer:  # stages that begin behind it
                into[max(before, producer) + 1 : consumer + 1, consumer:] += size
            before = consumer
        low, high = min(consumers, default=producer), max(consumers, default=producer)
        if high > producer:
            out[: producer + 1, producer:high] += size
        if low < producer:
            out[low + 1 : producer + 1, max(producer, high) :] += size
    stages = np.triu_indices(layers)
    return into[stages], out[stages]
