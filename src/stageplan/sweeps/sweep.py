"""A sweep: its axes, and the workloads and clusters that they name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np
from msgspec import Struct

from ..arguments import check_number
from ..cluster import Cluster
from ..errors import InputError, InputTypeError
from ..fields import show
from ..goal import Goal
from ..problem import Problem
from ..suggestions import did_you_mean
from .axes import ARRAYS, BY_TYPE, Dimension, Places, Range, base, dimensions, numbers
from .documents import Documents, Network
from .strategies import names_of, with_strategies

_MOST = 2**53  # set-ups
_LOWERED = 64  # problems that are kept, each of another workload, cluster or strategies


class Group(NamedTuple):
    """Neighbouring set-ups that differ only in numbers."""

    first: int  # set-ups from here
    last: int  # to before here
    values: dict[str, Any]  # of the axes in which they do not differ


class Sweep(Struct, frozen=True, kw_only=True):
    """Set-ups to plan: all combinations of the values of some axes.

    Made by `Sweep.of` or `read_sweep`. ``len(sweep)`` is the number of set-ups; ``sweep.problem(i)`` is the
    problem of one.

    Attributes
    ----------
    name : str
        Name of the sweep.
    dimensions : tuple of Dimension
        The axes; the values of the last dimension change first.
    workloads : dict of str to Network
        The workloads, with the goals of their files.
    clusters : dict of str to Cluster
        The clusters.
    work : int or None
        Work on each set-up after which its search ends, as in `Progress`.
    chunk : int or None
        Number of set-ups in each chunk; None for about a second of work.
    """

    name: str = ""
    dimensions: tuple[Dimension, ...]
    workloads: dict[str, Network]
    clusters: dict[str, Cluster]
    work: int | None = None
    chunk: int | None = None

    @classmethod
    def of(
        cls,
        product: Mapping[str, Any],
        zip: Sequence[Mapping[str, Any]] = (),
        *,
        name: str = "",
        work: int | None = None,
        chunk: int | None = None,
        folder: str | os.PathLike[str] = ".",
    ) -> Sweep:
        """Make a sweep.

        Parameters
        ----------
        product
            Values of each axis, which are all combined: a list, an array or a single value; a dict as
            ``{"from": 1, "to": 8, "step": 1}`` or ``{"from": 1e3, "to": 1e6, "points": 4, "spacing": "log"}``
            for a range with both ends; or ``{"divisors_of": "batch"}``. Axes are ``workload`` (paths, names
            of built-in examples, or workloads), ``cluster`` (likewise) or ``device`` (lists as for
            `make_cluster`), ``strategies`` (lists of those that are allowed, ``""`` for the plain one),
            ``price.TYPE``, ``limit.TYPE``, ``capacity.TYPE``, ``fixed_price``, fields of the `Goal`,
            ``method`` (default: exact) and ``seed`` (default: 0).
        zip
            Groups of axes with equally many values, which go side by side; the groups are combined with all
            others.
        name
            Name of the sweep.
        work
            Work on each set-up, as in `Progress`, after which its search ends; default: no limit.
        chunk
            Set-ups in each chunk; default: about a second of work, estimated from the work of a few set-ups.
        folder
            Where relative paths begin.

        Returns
        -------
        Sweep

        Raises
        ------
        OSError
            A file cannot be read.
        TypeError, ValueError
            An axis or a value is not allowed.

        Examples
        --------
        >>> import stageplan as sp
        >>> sweep = sp.Sweep.of({"workload": "ctr", "min_throughput": [1e5, 1e6], "limit.a100": range(4)})
        >>> len(sweep), sweep.problem(7).goal.min_throughput, sweep.problem(7).limit
        (8, 1000000.0, array([1024.,   16.,   16.,    3.]))
        """
        for field, value in (("work", work), ("chunk", chunk)):
            if value is not None:
                check_number(field, value, minimum=1, maximum=2**53, whole=True)
        for field, group in (("product", product), *(("zip", group) for group in zip)):
            if not isinstance(group, Mapping):
                raise InputTypeError(f"{field} is {show(group)}; it must be a dict of axes")
        documents = Documents(Path(folder))
        product, zip = documents.named(product), [documents.named(group) for group in zip]
        made = dimensions(product, zip)
        axes = {axis: values for dimension in made for axis, values in dimension.axes.items()}
        _check_size(made)
        workloads, clusters = documents.read(axes)
        sweep = cls(
            name=name, dimensions=made, workloads=workloads, clusters=clusters, work=work, chunk=chunk
        )
        sweep._check_types()
        sweep._check_strategies()
        return sweep

    def __len__(self) -> int:
        return prod(map(len, self.dimensions))

    def __repr__(self) -> str:
        axes = " x ".join(f"{', '.join(d.axes)} ({len(d):,})" for d in self.dimensions if len(d) > 1)
        if not axes:
            return f"{self.name or 'sweep'}: a single set-up"
        return f"{self.name or 'sweep'}: {len(self):,} set-ups: {axes}"

    @property
    def axes(self) -> dict[str, tuple[Any, ...] | Range]:
        """Values of each axis, in the order of the dimensions."""
        return {axis: values for dimension in self.dimensions for axis, values in dimension.axes.items()}

    def places(self, set_ups: Places) -> dict[str, Places]:
        """Return for each axis at which of its values some set-ups are."""
        found: dict[str, Places] = {}
        stride = 1
        for dimension in reversed(self.dimensions):
            place = set_ups // stride % len(dimension)
            found |= dict.fromkeys(dimension.axes, place)
            stride *= len(dimension)
        return found

    def groups(self, first: int, last: int) -> Iterator[Group]:
        """Divide the set-ups from `first` to before `last` into those that differ only in numbers."""
        size = self.group_size
        while first < last:
            end = min(last, (first // size + 1) * size)
            yield Group(first, end, self._values(first))
            first = end

    @property
    def group_size(self) -> int:
        """Number of set-ups that differ only in numbers."""
        return prod(len(dimension) for dimension in self.dimensions if dimension.numeric)

    def _values(self, set_up: int) -> dict[str, Any]:
        places = self.places(np.array([set_up]))
        return {
            axis: values[places[axis][0]]
            for axis, values in self.axes.items()
            if not isinstance(values, Range) and not self.is_number(axis)
        }

    @staticmethod
    def is_number(axis: str) -> bool:
        """Whether set-ups that differ in an axis can share a native call."""
        return axis in ARRAYS or base(axis) in BY_TYPE

    def changes(self, problem: Problem, first: int, last: int) -> dict[str, np.ndarray[Any, Any]]:
        """Return the arrays of `solve_many` for the set-ups of a group, whose common problem is given."""
        places, count = self.places(np.arange(first, last)), last - first
        found: dict[str, np.ndarray[Any, Any]] = {}
        for axis, values in self.axes.items():
            name, _, type_ = axis.partition(".")
            if name in ARRAYS:
                absent = 0.0 if name == "min_throughput" else np.inf
                found[name] = np.nan_to_num(numbers(values, places[axis]), nan=absent, posinf=np.inf)
            elif name in BY_TYPE:
                rows = found.setdefault(name, np.tile(getattr(problem, name), (count, 1)))
                column = numbers(values, places[axis])
                rows[:, problem.type_names.index(type_)] = np.nan_to_num(column, nan=np.inf, posinf=np.inf)
        return found or {"fixed_price": np.full(count, problem.fixed_price)}

    def problem(self, set_up: int) -> Problem:
        """Return the problem of a set-up.

        Raises
        ------
        IndexError
            There is no set-up of this number.
        TypeError, ValueError
            The values of the set-up do not go together.
        """
        set_up = range(len(self))[set_up]
        problem = Problems(self).of(self._values(set_up))
        changes = {name: rows[0] for name, rows in self.changes(problem, set_up, set_up + 1).items()}
        return problem.replace(**{name: replacement(name, row) for name, row in changes.items()})

    def _check_types(self) -> None:
        """Raise ValueError unless all clusters have the device types of the axes."""
        for axis in self.axes:
            name, _, type_ = axis.partition(".")
            for cluster in self.clusters.values() if name in BY_TYPE else ():
                known = [each.name for each in cluster.types]
                if type_ not in known:
                    raise InputError(
                        f"{axis} is an axis, and cluster {show(cluster.name)} has no type {show(type_)}; "
                        f"it must be one of {', '.join(known)}{did_you_mean(type_, known)}"
                    )

    def _check_strategies(self) -> None:
        """Raise ValueError unless each strategy of the axis is one of a workload."""
        known = list(
            dict.fromkeys(name for each in self.workloads.values() for name in names_of(each.workload))
        )
        for strategies in cast("tuple[Any, ...]", self.axes.get("strategies", ())):
            for strategy in strategies:
                if strategy not in known:
                    raise InputError(
                        f"strategies has {show(strategy)}, which no workload of the sweep has; "
                        f"it must be one of {', '.join(map(show, known))}{did_you_mean(strategy, known)}"
                    )


def replacement(name: str, row: Any) -> Any:
    """Return a row of `Sweep.changes` as what `Problem.replace` takes."""
    if name in BY_TYPE:
        return row
    absent = row == (0.0 if name == "min_throughput" else np.inf)
    return None if absent and name not in ("examples", "fixed_price") else float(row)


class Problems:
    """The problems of the groups of a sweep; each workload is lowered once for the groups that follow."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._lowered: dict[tuple[Any, ...], Problem] = {}

    def of(self, values: Mapping[str, Any]) -> Problem:
        """Return the problem of a group, without what differs in it.

        Raises
        ------
        TypeError, ValueError
            The values do not go together.
        """
        strategies = tuple(values["strategies"]) if "strategies" in values else None
        names = values["workload"], self._cluster(values), strategies
        goal = Goal(**self._goal(values))
        if names in self._lowered:
            return self._lowered[names].replace(**msgspec.structs.asdict(goal))
        if len(self._lowered) >= _LOWERED:
            self._lowered.clear()
        problem = self._lowered[names] = self._lower(*names, goal)
        return problem

    def describe(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the rows of a group have in common."""
        cluster = self._sweep.clusters[self._cluster(values)]
        return {
            "method": "exact",
            "seed": 0,
            **{
                axis: _text(value) if isinstance(value, (list, tuple)) else value
                for axis, value in values.items()
            },
            **self._goal(values),
            "problem": f"{self._sweep.workloads[values['workload']].workload.name} on {cluster.name}",
            "fixed_price": cluster.fixed_price,
        }

    def _goal(self, values: Mapping[str, Any]) -> dict[str, Any]:
        goal = msgspec.structs.asdict(self._sweep.workloads[values["workload"]].goal)
        return goal | {name: value for name, value in values.items() if name in goal}

    def _cluster(self, values: Mapping[str, Any]) -> str:
        if "device" in values:
            return " ".join(values["device"])
        return str(values.get("cluster") or self._sweep.workloads[values["workload"]].cluster)

    def _lower(self, workload: str, cluster: str, strategies: tuple[str, ...] | None, goal: Goal) -> Problem:
        network = self._sweep.workloads[workload].workload
        if strategies is not None:
            network = with_strategies(network, strategies)
        return Problem(network, self._sweep.clusters[cluster], goal)


def _text(names: Sequence[str]) -> str:
    """Write devices or strategies in a row."""
    return " ".join(name or "plain" for name in names)


def _check_size(made: Sequence[Dimension]) -> None:
    if prod(map(len, made)) > _MOST:
        raise InputError(f"the sweep has more than {_MOST:,} set-ups; it must have at most that")
    names = [name for dimension in made for name in dimension.axes]
    if "workload" not in names:
        raise InputError("workload is missing; it must be an axis of one value or more")
    if "cluster" in names and "device" in names:
        raise InputError("cluster and device are both axes; only one of them may be")
