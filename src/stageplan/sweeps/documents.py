"""Workloads and clusters that the axes of a sweep name: each is read once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from ..catalogue import make_cluster
from ..cluster import Cluster
from ..errors import InputError
from ..fields import show
from ..goal import Goal
from ..readers import read_cluster, read_goal, read_workload
from ..workload import Workload


class Network(Struct, frozen=True, kw_only=True):
    """A workload of a sweep, the goal in its file, and the cluster that its file names."""

    workload: Workload
    goal: Goal
    cluster: str | None


class Documents:
    """The workloads and clusters of a sweep, by the names that its axes have for them.

    Parameters
    ----------
    folder : pathlib.Path
        Where relative paths begin.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._given: dict[str, Workload | Cluster] = {}

    def named(self, axes: Mapping[str, Any]) -> dict[str, Any]:
        """Return axes with names in place of workloads and clusters, which are kept."""
        return {
            axis: self._names(values) if axis in ("workload", "cluster") else values
            for axis, values in axes.items()
        }

    def _names(self, values: Any) -> list[Any]:
        return [self._name(value) for value in (values if isinstance(values, (list, tuple)) else [values])]

    def _name(self, value: Any) -> Any:
        if not isinstance(value, (Workload, Cluster)):
            return value
        if self._given.setdefault(value.name, value) != value:
            raise InputError(f"{show(value.name)} is the name of two workloads or clusters; they must differ")
        return value.name

    def read(self, axes: Mapping[str, Any]) -> tuple[dict[str, Network], dict[str, Cluster]]:
        """Read what the axes name.

        Raises
        ------
        OSError
            A file cannot be read.
        ValueError
            A file is not valid, or names no cluster and the axes have none.
        """
        chosen = "cluster" in axes or "device" in axes
        clusters = {name: self._cluster(name) for name in axes.get("cluster", ())}
        clusters |= {" ".join(specs): make_cluster(specs) for specs in axes.get("device", ())}
        networks = {}
        for name in axes["workload"]:
            networks[name] = self._network(name, None if chosen else f"cluster of {name}")
            if not chosen:
                clusters[f"cluster of {name}"] = self._cluster_of(name)
        return networks, clusters

    def _network(self, name: str, cluster: str | None) -> Network:
        given = self._given.get(name)
        if given is not None:
            if not isinstance(given, Workload):
                raise InputError(f"workload has {show(name)}, a cluster; it must be a workload")
            return Network(workload=given, goal=Goal(), cluster=cluster)
        path = self._path(name)
        return Network(workload=read_workload(path), goal=read_goal(path) or Goal(), cluster=cluster)

    def _cluster(self, name: str) -> Cluster:
        given = self._given.get(name)
        if isinstance(given, Workload):
            raise InputError(f"cluster has {show(name)}, a workload; it must be a cluster")
        return read_cluster(self._path(name)) if given is None else given

    def _cluster_of(self, name: str) -> Cluster:
        if name in self._given:
            raise InputError(
                f"cluster is missing; it must be an axis where {show(name)} is not read from a file"
            )
        try:
            return read_cluster(self._path(name))
        except ValueError as error:
            raise InputError(f"{error}, or cluster or device must be an axis") from None

    def _path(self, name: str) -> str | Path:
        """Return a path beside the sweep's file, or else the name as it is, such as that of an example."""
        beside = self._folder / name
        return beside if beside.is_file() else name
