"""From plain arrays to the fields of a problem, as `lowering` makes them from names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import strategies
from .arguments import as_floats, check_number
from .errors import InputError, InputTypeError
from .fields import show
from .workload import Conditions

if TYPE_CHECKING:
    from .problem import Problem

Array = npt.NDArray[np.float64]
Tensors = Sequence[tuple[int, Sequence[int], float]]

ARRAYS = (
    "compute", "send", "receive", "compute_parallel", "transfer_parallel",
    "memory", "price", "limit", "capacity", "bandwidth",
)  # fmt: skip
"""The arrays that every problem has."""


def fields_of_arrays(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check and shape the arrays of `Problem.from_arrays`, by name, None if absent.

    Returns
    -------
    dict
        The fields of a `Problem`, all but its goal.

    Raises
    ------
    ValueError, TypeError
        Naming the array, its shape or value, and what is allowed.
    """
    compute = as_floats("compute", given["compute"])
    if compute.ndim != 2 or compute.size == 0:
        raise InputError(f"compute has shape {compute.shape}; it must be (layers, types), each 1 or more")
    layers, columns = compute.shape
    types = columns if given["column_type"] is None else np.size(given["price"])
    by_strategy = _fields_of_strategies(given, compute.shape, types)
    fixed_price = given["fixed_price"]
    check_number("fixed_price", fixed_price, minimum=0)
    return {
        "compute": compute,
        "send": _shaped("send", given["send"], compute.shape, default=0.0),
        "receive": _shaped("receive", given["receive"], compute.shape, default=0.0),
        "compute_parallel": _shaped("compute_parallel", given["compute_parallel"], compute.shape),
        "transfer_parallel": _shaped("transfer_parallel", given["transfer_parallel"], (types,)),
        "memory": _memory(given["memory"], layers, columns),
        "price": _shaped("price", given["price"], (types,), exact=True),
        "limit": _shaped("limit", given["limit"], (types,), default=math.inf),
        "capacity": _shaped("capacity", given["capacity"], (types,), default=math.inf),
        "bandwidth": _shaped("bandwidth", given["bandwidth"], (types,), default=math.inf),
        "tensors": _tensors(given["tensors"], layers),
        "ties": (),
        "fixed_price": float(fixed_price),
        "layer_names": _names("layer_names", given["layer_names"], layers, "layer"),
        "layer_kinds": ("",) * layers,
        "layer_modules": ((),) * layers,
        "parameters": (0.0,) * layers,
        "type_names": _names("type_names", given["type_names"], types, "type"),
        "name": "arrays",
        "conditions": Conditions(),
        "backward": None,
        "prefill": None,
        **by_strategy,
    }


def _fields_of_strategies(given: Mapping[str, Any], shape: tuple[int, ...], types: int) -> dict[str, Any]:
    if all(given.get(name) is None for name in strategies.ABSENT):
        return strategies.ABSENT
    fields = strategies.column_fields(given, types) | {"options": None}
    layers, columns = shape
    fields |= strategies.optional_arrays(given, layers, columns, types)
    if given["column_type"] is not None and len(fields["column_type"]) != columns:
        raise InputError(
            f"compute has shape {shape}; "
            f"it must have a column for each of {len(fields['column_type'])} in column_type"
        )
    return fields


def replaced_field(problem: Problem, name: str, value: Any) -> Any:
    """Check the type of a field that is replaced; its size is checked together with the others'."""
    layers, columns = problem.compute.shape
    if name in strategies.BY_COLUMN or (name == "memory" and np.ndim(value) == 2):
        return strategies.by_column(name, value, layers, columns)
    if name in strategies.BY_TYPE:
        given = dict.fromkeys((*strategies.BY_COLUMN, *strategies.BY_TYPE)) | {name: value}
        return strategies.optional_arrays(given, layers, columns, problem.n_types)[name]
    if name in ARRAYS:
        return as_floats(name, value)
    if name == "tensors":
        return _tensors(value, layers)
    if name == "fixed_price":
        check_number(name, value, minimum=0)
        return float(value)
    if name not in ("layer_names", "layer_kinds", "type_names"):
        raise InputTypeError(f"{name} cannot be replaced; it must be an array, names, or a field of the goal")
    return _names(name, value, problem.n_types if name == "type_names" else layers)


def frozen(values: npt.ArrayLike, dtype: npt.DTypeLike = np.float64) -> npt.NDArray[Any]:
    """Copy numbers to an array that cannot be written to."""
    array = np.array(values, dtype=dtype, order="C")
    array += 0  # no negative zeros, so that equal problems have equal bytes
    array.flags.writeable = False
    return array


def _shaped(
    name: str,
    values: npt.ArrayLike | None,
    shape: tuple[int, ...],
    default: float | None = None,
    exact: bool = False,
) -> Array:
    """Return an array of `shape`; with `exact` or a `default` it must have that shape, or be absent."""
    if values is None and default is not None:
        return np.full(shape, default)
    if default == math.inf and isinstance(values, (list, tuple)):
        values = [math.inf if value is None else value for value in values]
    array = as_floats(name, values)
    if array.shape == shape:
        return array
    if exact or default is not None:
        raise InputError(f"{name} has shape {array.shape}; it must be {shape}")
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise InputError(f"{name} has shape {array.shape}; it must broadcast to {shape}") from None


def _memory(memory: npt.ArrayLike | None, layers: int, columns: int) -> Array:
    if memory is not None and np.ndim(memory) == 2:
        return strategies.by_column("memory", memory, layers, columns)
    return _shaped("memory", memory, (layers,), default=0.0)


def _names(name: str, values: Any, count: int, default: str = "") -> tuple[str, ...]:
    if values is None and default:
        return tuple(f"{default}{i}" for i in range(count))
    if not isinstance(values, (list, tuple)) or not all(isinstance(value, str) for value in values):
        raise InputTypeError(f"{name} is {show(values)}; it must be a list of texts")
    if len(values) != count:
        raise InputError(f"{name} has {len(values)} texts; it must have {count}")
    if name != "layer_kinds" and len({*values}) < count:
        repeated = next(value for place, value in enumerate(values) if value in values[:place])
        raise InputError(f"{name} has {show(repeated)} twice; all must differ")
    return tuple(values)


def _tensors(tensors: Tensors | None, layers: int) -> tuple[tuple[int, tuple[int, ...], float], ...]:
    if tensors is None:
        return ()
    if not isinstance(tensors, (list, tuple)):
        raise InputTypeError(f"tensors is {show(tensors)}; it must be a list of (producer, consumers, bytes)")
    result = []
    for i, tensor in enumerate(tensors):
        name = f"tensors[{i}]"
        try:
            producer, consumers, size = tensor
            consumers = tuple(consumers)
        except (TypeError, ValueError):
            raise InputTypeError(
                f"{name} is {show(tensor)}; it must be (producer layer, consumer layers, bytes)"
            ) from None
        for field, layer in [("producer", producer), *(("consumers", c) for c in consumers)]:
            _check_layer(f"{name}.{field}", layer, layers)
        check_number(f"{name}.bytes", size, minimum=0, maximum=1e60)
        result.append((int(producer), tuple(int(c) for c in consumers), float(size)))
    return tuple(result)


def _check_layer(name: str, layer: object, layers: int) -> None:
    allowed = f"a layer from 0 to {layers - 1}"
    if isinstance(layer, bool) or not isinstance(layer, Integral):
        raise InputTypeError(f"{name} is {show(layer)}; it must be {allowed}")
    if not 0 <= int(layer) < layers:
        raise InputError(f"{name} is {show(layer)}; it must be {allowed}")
