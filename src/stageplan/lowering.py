"""From names to arrays: the fields of a problem, from a workload on a cluster."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .cluster import Cluster, DeviceType
from .errors import InputError
from .strategies import ABSENT
from .suggestions import did_you_mean
from .workload import Layer, Workload, most

Array = npt.NDArray[np.float64]


class _Column(NamedTuple):
    """A device type and a strategy, ``""`` for the plain one."""

    type: DeviceType
    strategy: str
    chain: tuple[DeviceType, ...]  # the type, and those that it is like, one after another
    names: tuple[str, ...]  # theirs, and that of a type outside the cluster which the last one is like

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of layer tables for this column, the most specific first."""
        return tuple(f"{name}/{self.strategy}" for name in self.names) if self.strategy else self.names


def lower(workload: Workload, cluster: Cluster) -> dict[str, Any]:
    """Turn names into indices and tables into arrays, per example.

    Parameters
    ----------
    workload
        The network.
    cluster
        The device types.

    Returns
    -------
    dict
        The fields of a `Problem`, all but its goal.

    Raises
    ------
    ValueError
        A table of a layer lacks a device type or a strategy of it; a strategy has no number of devices.
    """
    layers, types = workload.layers, cluster.types
    index = {layer.name: i for i, layer in enumerate(layers)}
    columns = list(_columns(workload, cluster))

    def per_type(name: str, default: float) -> Array:
        values = (getattr(type_, name) for type_ in types)
        return np.array([default if value is None else value for value in values], dtype=np.float64)

    def table(name: str) -> Array:
        values = [getattr(layer, name) for layer in layers]
        if not any(isinstance(value, Mapping) for value in values):
            return np.repeat(np.array(values, dtype=np.float64)[:, None], len(columns), axis=1)
        return np.array([[_entry(layer, name, c) for c in columns] for layer in layers], dtype=np.float64)

    def stated(name: str) -> bool:
        return any(most(getattr(layer, name)) > 0 for layer in layers)

    def by_layer(name: str) -> Array:
        """Return an array of shape (layers,) if all columns have the same."""
        values = table(name)
        return values[:, 0] if np.all(values == values[:, :1]) else values

    return {
        "compute": np.array([[_compute(layer, c) for c in columns] for layer in layers]) / workload.batch,
        "backward": _known_seconds("backward", workload, columns, workload.batch),
        "prefill": _known_seconds("prefill", workload, columns, 1.0),
        "send": table("send") / workload.batch,
        "receive": table("receive") / workload.batch,
        "compute_parallel": table("compute_parallel"),
        "transfer_parallel": per_type("transfer_parallel", 1.0),
        "memory": by_layer("memory"),
        "price": per_type("price", 0.0),
        "limit": per_type("limit", math.inf),
        "capacity": per_type("capacity", math.inf),
        "bandwidth": per_type("bandwidth", math.inf),
        "fixed_price": float(cluster.fixed_price),
        "tensors": tuple(
            (index[t.producer], tuple(index[c] for c in t.consumers), t.bytes / workload.batch)
            for t in workload.tensors
        ),
        "ties": tuple(tuple(index[name] for name in tie) for tie in workload.ties),
        "layer_names": tuple(layer.name for layer in layers),
        "layer_kinds": tuple(layer.kind for layer in layers),
        "layer_modules": tuple(layer.modules for layer in layers),
        "parameters": tuple(layer.parameters for layer in layers),
        "type_names": tuple(type_.name for type_ in types),
        "name": f"{workload.name} on {cluster.name}",
        "conditions": workload.conditions,
        **ABSENT,
        **_strategies(columns, types),
        **{name: table(name) for name in ("sharded", "workspace", "gradients", "update") if stated(name)},
        **({"activations": table("activations") / workload.batch} if stated("activations") else {}),
        **_machines(types),
    }


def _machines(types: tuple[DeviceType, ...]) -> dict[str, Array]:
    """Devices per machine, and bytes/s of an all-reduce; the network is as fast as the link if absent."""
    size = [type_.machine or math.inf for type_ in types]
    link = [type_.link or math.inf for type_ in types]
    network = [type_.network or within for type_, within in zip(types, link, strict=True)]
    arrays = {"machine": size, "link": link, "network": network}
    return {name: np.array(values) for name, values in arrays.items() if min(values) < math.inf}


def _columns(workload: Workload, cluster: Cluster) -> Iterator[_Column]:
    """Columns of each type: the plain strategy and those that layers have times for, in their order."""
    keys = dict.fromkeys(key for layer in workload.layers for key in layer.compute)
    known = {type_.name: type_ for type_ in cluster.types}
    parted = [key for key in keys if "/" in key and key not in known]
    for type_ in cluster.types:
        chain = tuple(_chain(type_, known))
        outside = (chain[-1].like,) if chain[-1].like is not None else ()
        names = (*(each.name for each in chain), *outside)
        strategies = dict.fromkeys(
            key[len(name) + 1 :]
            for key in parted
            for name in names
            if key.startswith(f"{name}/") and key != f"{name}/"
        )
        if not strategies or any(name in keys for name in names):
            yield _Column(type_, "", chain, names)
        for strategy in strategies:
            yield _Column(type_, strategy, chain, names)


def _chain(type_: DeviceType | None, known: Mapping[str, DeviceType]) -> Iterator[DeviceType]:
    """Follow `like` from a type through the cluster."""
    while type_ is not None:
        yield type_
        type_ = known.get(type_.like) if type_.like is not None else None


def _strategies(columns: list[_Column], types: tuple[DeviceType, ...]) -> dict[str, Any]:
    if not any(column.strategy for column in columns):
        return {}
    place = {type_.name: i for i, type_ in enumerate(types)}
    return {
        "column_type": np.array([place[column.type.name] for column in columns], dtype=np.int32),
        "column_degree": np.array([_degree(column) for column in columns], dtype=np.int32),
        "column_strategy": tuple(column.strategy for column in columns),
    }


def _degree(column: _Column) -> int:
    """Devices of one replica: what the type lists, or else a type that it is like."""
    listing = (type_ for type_ in column.chain if column.strategy in type_.strategies)
    return next(listing, column.type).degree_of(column.strategy)


def _known_seconds(field: str, workload: Workload, columns: list[_Column], examples: float) -> Array | None:
    """Seconds per example, which a table of each layer has; None if they are not known for all layers."""
    tables = [getattr(layer, field) for layer in workload.layers]
    if not all(tables):
        return None
    rows = zip(tables, workload.layers, strict=True)
    seconds = np.array([[_seconds(table, layer, c) for c in columns] for table, layer in rows])
    return None if np.any(np.isnan(seconds)) else seconds / examples


def _compute(layer: Layer, column: _Column) -> float:
    seconds = _seconds(layer.compute, layer, column)
    if math.isnan(seconds):
        under = f" under strategy {column.strategy!r}" if column.strategy else ""
        near = "" if under else did_you_mean(column.type.name, layer.compute)
        raise InputError(
            f"layer {layer.name!r} has no time on device type {column.type.name!r}{under}; "
            f"it must be in the layer's compute, or the type must be like one that is{near}"
        )
    return seconds


def _seconds(table: Mapping[str, float | None], layer: Layer, column: _Column) -> float:
    """Read a time: measured on a column, or carried over from the type that its type is like, or NaN."""
    speed = 1.0
    for place, key in enumerate(column.keys):
        if key in table:
            seconds = table[key]
            return math.inf if seconds is None else seconds / speed
        if place < len(column.chain):
            speed *= column.chain[place].speed_of(layer.kind)
    return math.nan


def _entry(layer: Layer, field: str, column: _Column) -> float:
    """Read a number of a layer that may be a table by type and strategy."""
    value = getattr(layer, field)
    if not isinstance(value, Mapping):
        return float(value)
    for key in (*column.keys, *column.names):
        if key in value:
            return float(value[key])
    raise InputError(
        f"layer {layer.name!r} has no {field} for device type {column.type.name!r}; its table must have one"
    )
