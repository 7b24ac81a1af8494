"""Options of stages as arrays: those that a caller lists, or that a function gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from .arguments import LARGEST, as_floats
from .errors import InputError
from .fields import show
from .goal import Goal

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]

WHOLE = ("first", "last", "type", "devices", "column", "replicas")
"""Columns of a list of options that hold whole numbers."""


class _Wholes:
    """An array of `ListedOptions` that is made when it is read where the options are counted."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_{name}"

    def __get__(self, options: ListedOptions | None, owner: type) -> Any:
        if options is None:
            return None  # by default
        return options._counts if options.counted else getattr(options, self._name)

    def __set__(self, options: ListedOptions, array: Ints | None) -> None:
        vars(options)[self._name] = array


@dataclass(frozen=True, eq=False, kw_only=True)
class ListedOptions:
    """Options of stages, one entry of each array per option: by first layer, last layer, type and devices.

    Without devices, the options are counted: those of each stage on a type have 1, 2, ... of them, each one
    a replica. Nothing is kept of what can be counted, and the arrays are made for those who read them.

    Attributes
    ----------
    begin : ndarray of uint32, shape (stages * T + 1,)
        Where the options of each stage on each type begin. Stages are counted by first and last layer.
    devices : ndarray of int32, shape (N,)
        Devices of the stage, of all replicas.
    time : ndarray of float64, shape (N,)
        Seconds per example.
    pass_time : ndarray of float64, shape (N,), or None
        Seconds per example of a microbatch's pass through the stage, with a schedule; None: `time`.
    sync : ndarray of float64, shape (N,), or None
        Seconds per example of all-reduce and update; None: 0.
    memory, activations : ndarray of float64, shape (N,), or None
        Resident bytes per device, and bytes per device for each example in flight; None: 0.
    column, replicas : ndarray of int32, shape (N,), or None
        The column of the device type and strategy, and the replicas; None: the first column of the type, 1.
    fixed_goal : bool
        Whether they hold only for the schedule and the batch of the goal, which a function has read.
    """

    begin: npt.NDArray[np.uint32]
    devices: _Wholes = _Wholes()
    time: Array
    pass_time: Array | None = None
    sync: Array | None = None
    memory: Array | None = None
    activations: Array | None = None
    column: Ints | None = None
    replicas: _Wholes = _Wholes()
    fixed_goal: bool = False

    def __post_init__(self) -> None:
        for value in vars(self).values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False

    @property
    def counted(self) -> bool:
        """Whether the options of each stage on a type have 1, 2, ... devices, each one a replica."""
        return vars(self)["_devices"] is None

    @cached_property
    def _counts(self) -> Ints:
        """Count the options of each stage on a type, from 1."""
        before = np.repeat(self.begin[:-1], np.diff(self.begin)).astype(np.int32)
        counts = np.arange(1, len(before) + 1, dtype=np.int32) - before
        counts.flags.writeable = False
        return counts

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ListedOptions):
            return NotImplemented
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    def __hash__(self) -> int:
        return hash((self.begin.tobytes(), self.time.tobytes()))

    def of(self, first: int, last: int, type: int, layers: int) -> slice:
        """Return where the options of a stage of a network of so many layers are."""
        stages = stages_before(first, layers) + last - first
        types = (len(self.begin) - 1) // stages_before(layers, layers)
        place = stages * types + type
        return slice(int(self.begin[place]), int(self.begin[place + 1]))


def stages_before(first: int, layers: int) -> int:
    """Count the stages that begin before a layer."""
    return first * (2 * layers - first + 1) // 2


def check_goal(options: ListedOptions | None, made_for: Goal, goal: Goal) -> None:
    """Raise ValueError if a function made the options for a goal that differs in what it may have read."""
    if options is None or not options.fixed_goal:
        return
    for name in ("schedule", "microbatches", "batch", "same_strategy", "same_replicas", "equal_shares"):
        then, now = getattr(made_for, name), getattr(goal, name)
        if then != now:
            raise InputError(
                f"{name} is {show(now)}; it must be {show(then)}, for which the stage cost gave the options "
                f"(replace it before with_stage_cost)"
            )


def listed_options(given: Mapping[str, Any], layers: int, types: int) -> ListedOptions:
    """Sort options that are given as plain arrays, one entry per option; optional ones are None if absent.

    Raises
    ------
    ValueError, TypeError
        Naming the array, the option, its value and what is allowed.
    """
    arrays: dict[str, Any] = {
        name: whole_numbers(name, value) if name in WHOLE else as_floats(name, value)
        for name, value in given.items()
        if value is not None
    }
    for name, array in arrays.items():
        if array.ndim != 1 or len(array) != len(arrays["first"]) or len(array) == 0:
            raise InputError(
                f"{name} has shape {array.shape}; it must have one entry for each option, as first does"
            )
    first, last, type_ = (arrays.pop(name).astype(np.int64) for name in ("first", "last", "type"))
    outside = (first < 0) | (last >= layers) | (first > last) | (type_ < 0) | (type_ >= types)
    if outside.any():
        i = int(np.flatnonzero(outside)[0])
        raise InputError(
            f"option {i} is of layers {first[i]} to {last[i]} on type {type_[i]}; "
            f"layers must be from 0 to {layers - 1}, in order, and types from 0 to {types - 1}"
        )
    _check_values(arrays)
    place = (stages_before(first, layers) + last - first) * types + type_
    order = np.lexsort((arrays["devices"], place))
    begin = np.searchsorted(place[order], np.arange(stages_before(layers, layers) * types + 1))
    return ListedOptions(
        begin=begin.astype(np.uint32), **{name: array[order] for name, array in arrays.items()}
    )


def _check_values(arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    for name, array in arrays.items():
        if name in WHOLE:
            low, high, unit = 0 if name == "column" else 1, _core.MAX_DEVICES, ""
            wrong = (array < low) | (array > high)
        else:
            unit = "bytes" if name in ("memory", "activations") else "seconds"
            wrong = ~((array == 0) | ((array >= 1 / LARGEST) & (array <= LARGEST)))
        if wrong.any():
            i = int(np.flatnonzero(wrong)[0])
            allowed = f"0 or from 1e-60 to 1e60 {unit}" if unit else f"from {low} to {high}"
            raise InputError(f"{name}[{i}] is {array[i]:g}; it must be {allowed}")


def stored_arrays(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arrays of `ListedOptions`, read from a file, as they are kept; the core checks their values."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, values in given.items():
        array = as_floats(f"options_{name}", values)
        dtype = np.uint32 if name == "begin" else np.int32 if name in WHOLE else np.float64
        if array.ndim != 1 or not np.array_equal(array.astype(dtype), array):
            raise InputError(f"options_{name} is not an array of one number for each option")
        arrays[name] = array.astype(dtype)
    return arrays


def seconds_of_options(listed: ListedOptions, layers: int, types: int) -> Array:
    """Estimate seconds per example, (layers, types): of each layer its share of the fastest option."""
    least = np.full(len(listed.begin) - 1, np.inf)
    any_option = listed.begin[1:] > listed.begin[:-1]
    if any_option.any():
        starts = listed.begin[:-1][any_option]
        least[any_option] = np.minimum.reduceat(listed.time * listed.devices, starts)
    compute = np.full((layers, types), np.inf)
    for first in range(layers):
        at = stages_before(first, layers) * types
        row = least[at : at + (layers - first) * types].reshape(-1, types)
        row = row / np.arange(1, layers - first + 1)[:, None]
        covering = np.minimum.accumulate(row[::-1])[::-1]  # of the stages from `first` to a layer or further
        np.minimum(compute[first:], covering, out=compute[first:])
    return compute


def lower(core: _core.Columns, listed: ListedOptions) -> None:
    """Give the options to the core, which keeps the arrays."""
    counted = listed.counted
    core.set_listed(
        begin=listed.begin, devices=None if counted else listed.devices,
        replicas=None if counted else listed.replicas, column=listed.column,
        time=listed.time, pass_time=listed.pass_time, sync=listed.sync,
        memory=listed.memory, activations=listed.activations,
    )  # fmt: skip


def whole_numbers(name: str, values: object) -> Ints:
    """Return whole numbers as an array of int32.

    Raises
    ------
    TypeError, ValueError
        They are not real numbers, or not whole.
    """
    array = as_floats(name, values)
    if array.size and not (np.all(array == np.floor(array)) and np.all(np.abs(array) < 2**31)):
        raise InputError(f"{name} has numbers that are not whole; it must be an array of whole numbers")
    return array.astype(np.int32)
