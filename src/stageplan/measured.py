"""Problems from measured stages: tables and arrays, with holes for stages that were not measured."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .arguments import as_floats
from .cluster import Cluster
from .errors import InputError, InputTypeError
from .fields import show
from .listed_options import listed_options, seconds_of_options
from .lowering import lower
from .readers.bounded import about, as_path
from .readers.measured import check_columns, read_measured
from .workload import MAX_LAYERS, Layer, Workload

Array = npt.NDArray[np.float64]


def measured_fields(measured: object, cluster: Cluster, devices: object, memory: object) -> dict[str, Any]:
    """Make the fields of a problem, all but its goal; see `Problem.from_measured`."""
    if not isinstance(cluster, Cluster):
        raise InputTypeError(f"cluster is {show(cluster)}; it must be a Cluster")
    if isinstance(measured, (str, os.PathLike)):
        file = as_path("measured", measured)
        columns = read_measured(file)
        with about(file):
            return _fields(columns, cluster, file.stem)
    if isinstance(measured, Mapping):
        columns = dict(measured)
        check_columns(columns)
        return _fields(columns, cluster, "measured")
    return _fields(_columns_of_array(measured, cluster, devices, memory), cluster, "measured")


def _columns_of_array(measured: object, cluster: Cluster, devices: object, memory: object) -> dict[str, Any]:
    time = as_floats("measured", measured)
    types = len(cluster.types)
    if time.ndim != 4 or time.shape[0] != time.shape[1] or time.shape[2] != types:
        raise InputError(
            f"measured has shape {time.shape}; it must be (layers, layers, {types}, numbers of devices), "
            f"seconds by first layer, last layer, device type and devices"
        )
    if devices is None:
        raise InputError("devices is None; it must be the numbers of devices that measured has times for")
    numbers = as_floats("devices", devices)
    if numbers.shape not in ((time.shape[3],), time.shape[2:]):
        raise InputError(
            f"devices has shape {numbers.shape}; it must be {(time.shape[3],)} or {time.shape[2:]}"
        )
    upper = np.triu(np.ones(time.shape[:2], bool))[:, :, None, None]
    first, last, type_, k = np.nonzero(upper & np.isfinite(time))
    columns = {
        "first": first, "last": last, "type": type_, "time": time[first, last, type_, k],
        "devices": np.broadcast_to(numbers, time.shape[2:])[type_, k],
    }  # fmt: skip
    if memory is not None:
        given = as_floats("memory", memory)
        if given.shape != time.shape:
            raise InputError(f"memory has shape {given.shape}; it must be {time.shape}, as measured")
        columns["memory"] = given[first, last, type_, k]
    return columns


def _fields(columns: dict[str, Any], cluster: Cluster, name: str) -> dict[str, Any]:
    columns["type"] = _types(columns["type"], cluster)
    time = as_floats("time", columns["time"])
    offered = ~(np.isnan(time) | (time == np.inf))
    given = {key: np.asarray(values)[offered] for key, values in columns.items()}
    if not offered.any():
        raise InputError("no stage has a time; one or more must be measured")
    layers = int(np.max(given["last"])) + 1
    if layers > MAX_LAYERS:
        raise InputError(f"last is {layers - 1}; it must be at most {MAX_LAYERS - 1}")
    listed = listed_options(given, layers, len(cluster.types))
    workload = _workload(name, seconds_of_options(listed, layers, len(cluster.types)), cluster)
    return lower(workload, cluster) | {"options": listed}


def _types(given: Any, cluster: Cluster) -> npt.NDArray[np.int64]:
    """Return the number of the type of each row."""
    numbers = {type_.name: t for t, type_ in enumerate(cluster.types)}
    for t in range(len(cluster.types)):
        numbers.setdefault(str(t), t)
    names = [str(value) for value in np.asarray(given).tolist()]
    for row, name in enumerate(names):
        if name not in numbers:
            known = ", ".join(type_.name for type_ in cluster.types)
            raise InputError(f"type of row {row} is {show(name)}; it must be one of the cluster's: {known}")
    return np.array([numbers[name] for name in names], np.int64)


def _workload(name: str, seconds: Array, cluster: Cluster) -> Workload:
    """Describe the layers by their shares of the fastest stages that they are in."""
    rows = []
    for number, row in enumerate(seconds):
        if np.isinf(row).all():
            raise InputError(f"layer {number} is in no stage that has a time; each must be in one or more")
        compute = dict(zip((type_.name for type_ in cluster.types), row.tolist(), strict=True))
        rows.append(Layer(name=f"layer{number}", compute=compute))
    return Workload(name=name, layers=tuple(rows))
