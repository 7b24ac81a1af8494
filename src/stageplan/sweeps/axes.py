"""Axes of a sweep: what each may hold, their values, and how many set-ups they make together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_args

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from ..arguments import check_choice, check_number
from ..errors import InputError
from ..fields import Capacity, DeviceLimit, Name, Price, allowed, fields_of, show, whole
from ..goal import Goal
from ..result import Method
from ..suggestions import did_you_mean

Places = npt.NDArray[np.int64]

ARRAYS = ("min_throughput", "max_duration", "max_cost", "max_price", "examples", "fixed_price")
"""Axes of numbers in which set-ups of one native call may differ."""
BY_TYPE = ("price", "limit", "capacity")
"""Likewise, each followed by a device type: ``"price.a100"``."""
_UNLIMITED = ("max_duration", "max_cost", "max_price", "limit", "capacity")  # inf: no limit
_MOST = 10_000_000  # values of an axis that are listed; ranges are not

_TWICE = "{} is given more than once; each axis must be in product or in one zip, once"

_Texts = tuple[Annotated[str, Meta(min_length=1)], ...]


class _Rest(Struct):
    """Values of the axes that are not fields of a goal."""

    workload: Name
    cluster: Name
    device: Annotated[_Texts, Meta(min_length=1, description="a list of devices such as 'a100-80g:8'")]
    strategies: Annotated[
        tuple[str, ...], Meta(min_length=1, description="a list of strategies, '' for the plain one")
    ]
    price: Price
    limit: DeviceLimit | None
    capacity: Capacity | None
    fixed_price: Price
    method: Method
    seed: Annotated[int, whole(0, 2**63 - 1)]


FIELDS = {field.name: field for struct in (_Rest, Goal) for field in fields_of(struct)}


class Range(Struct, frozen=True):
    """Evenly spaced numbers, which are computed where they are used."""

    start: float
    step: float
    count: int

    def __len__(self) -> int:
        return self.count

    def at(self, places: Places) -> npt.NDArray[np.float64]:
        """Return the numbers at some places."""
        return np.asarray(self.start + self.step * places, np.float64)


class Dimension(Struct, frozen=True):
    """Axes whose values go side by side; dimensions multiply."""

    axes: dict[str, tuple[Any, ...] | Range]

    def __len__(self) -> int:
        return len(next(iter(self.axes.values())))

    @property
    def numeric(self) -> bool:
        """Whether set-ups that differ only in this dimension can share a native call."""
        return all(name in ARRAYS or base(name) in BY_TYPE for name in self.axes)


def base(axis: str) -> str:
    """Return ``"price"`` for ``"price.a100"``, the name itself for other axes."""
    return axis.partition(".")[0]


def dimensions(product: Mapping[str, Any], zipped: Sequence[Mapping[str, Any]]) -> tuple[Dimension, ...]:
    """Make the dimensions of a sweep: those with numbers alone last, so that their set-ups are neighbours.

    Raises
    ------
    TypeError, ValueError
        An axis is not known, given twice, empty or has a value that is not allowed; axes of a zip differ in
        length; a range is not valid.
    """
    groups = [{name: values} for name, values in _flat(product).items()]
    groups += [_flat(group) for group in zipped]
    names = [name for group in groups for name in group]
    for name in names:
        if names.count(name) > 1:
            raise InputError(_TWICE.format(name))
    divided = [_take_divisors(groups, name) for name in names if _divisors_of(groups, name) is not None]
    made = [_dimension(group) for group in groups if group]
    for name, of in divided:
        made = [_with_divisors(dimension, name, of) for dimension in made]
    return tuple(sorted(made, key=lambda dimension: dimension.numeric))


def _flat(axes: Mapping[str, Any]) -> dict[str, Any]:
    """Give axes by device type their full names, as ``price.a100``."""
    flat: dict[str, Any] = {}
    for name, values in axes.items():
        if name in BY_TYPE and not isinstance(values, Mapping):
            raise InputError(f"{name} is {show(values)}; it must be a table by device type")
        for full, of_axis in _by_type(name, values) if name in BY_TYPE else [(name, values)]:
            if base(full) not in FIELDS or ("." in full) != (base(full) in BY_TYPE):
                known = [f"{field}.TYPE" if field in BY_TYPE else field for field in FIELDS]
                raise InputError(
                    f"{show(full)[1:-1]} is not an axis; it must be one of {', '.join(known)}"
                    f"{did_you_mean(base(full), FIELDS)}"
                )
            if full in flat:
                raise InputError(_TWICE.format(full))
            flat[full] = of_axis
    return flat


def _by_type(name: str, table: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(f"{name}.{type_}", values) for type_, values in table.items()]


def _divisors_of(groups: list[dict[str, Any]], name: str) -> Any:
    values = next(group[name] for group in groups if name in group)
    return values.get("divisors_of") if isinstance(values, Mapping) else None


def _take_divisors(groups: list[dict[str, Any]], name: str) -> tuple[str, str]:
    """Remove the axis of the divisors of another axis; return both names."""
    of = _divisors_of(groups, name)
    if not any(of in group for group in groups) or _divisors_of(groups, of) is not None:
        raise InputError(
            f"{name}.divisors_of is {show(of)}; it must be another axis of the sweep, with values of its own"
        )
    for group in groups:
        group.pop(name, None)
    return name, of


def _with_divisors(dimension: Dimension, name: str, of: str) -> Dimension:
    """Repeat each value of an axis for each of its divisors, the values of a new axis."""
    if of not in dimension.axes:
        return dimension
    values = listed(dimension.axes[of])
    if not all(isinstance(value, int) and value >= 1 for value in values):
        raise InputError(f"{name} has the divisors of {of}; all values of {of} must be whole numbers from 1")
    pairs = [(place, divisor) for place, value in enumerate(values) for divisor in _divisors(value)]
    axes: dict[str, tuple[Any, ...] | Range] = {
        other: tuple(items[place] for place, _ in pairs)
        for other, items in ((other, listed(items)) for other, items in dimension.axes.items())
    }
    return Dimension(axes | {name: tuple(_checked(name, divisor) for _, divisor in pairs)})


def _divisors(number: int) -> list[int]:
    small = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return small + [number // d for d in reversed(small) if d * d != number]


def _dimension(group: Mapping[str, Any]) -> Dimension:
    axes = {name: _values(name, given) for name, given in group.items()}
    (first, values), *others = axes.items()
    for name, other in others:
        if len(other) != len(values):
            raise InputError(
                f"{name} has {len(other)} values; it must have {len(values)}, as {first} in its zip"
            )
    return Dimension(axes)


def _values(name: str, given: Any) -> tuple[Any, ...] | Range:
    """Return the values of an axis: a list, a range or a single one."""
    if isinstance(given, Mapping):
        return _range(name, given)
    if isinstance(given, (np.ndarray, np.generic)):
        given = given.tolist()
    values = tuple(given) if isinstance(given, (list, tuple, range)) else (given,)
    if not values:
        raise InputError(f"{name} has no values; it must have 1 or more")
    return tuple(_checked(name, value) for value in values)


def _checked(name: str, value: Any) -> Any:
    field = FIELDS[base(name)]
    if isinstance(value, np.generic):
        value = value.item()
    optional = type(None) in get_args(field.type)
    if optional and (value == "none" or (value == math.inf and base(name) in _UNLIMITED)):
        return None
    try:
        return msgspec.convert(value, field.type)
    except msgspec.ValidationError:
        raise InputError(f"{name} has {show(value)}; each of its values must be {_allowed(name)}") from None


def _allowed(name: str) -> str:
    unlimited = " or inf" if base(name) in _UNLIMITED else ""
    return allowed(FIELDS[base(name)]).replace("or absent", f"or 'none'{unlimited}")


def _range(name: str, given: Mapping[str, Any]) -> tuple[Any, ...] | Range:
    """Make a range by its step, or by its number of points, evenly or logarithmically spaced."""
    keys = set(given) - {"from", "to"}
    if not {"from", "to"} <= set(given) or keys not in (set(), {"step"}, {"points"}, {"points", "spacing"}):
        raise InputError(
            f"{name} is {show(dict(given))}; a table must have from and to, and may have step, or points and "
            f"spacing; or it must have divisors_of, an axis"
        )
    start, stop = given["from"], given["to"]
    check_number(f"{name}.from", start)
    check_number(f"{name}.to", stop)
    if stop < start:
        raise InputError(f"{name}.to is {show(stop)}; it must be at least {name}.from, {show(start)}")
    if "points" in keys:
        return _points(name, start, stop, given["points"], given.get("spacing", "linear"))
    step = given.get("step", 1)
    check_number(f"{name}.step", step, above=0)
    return _evenly(name, start, step, math.floor((stop - start) / step * (1 + 1e-12)) + 1)


def _points(name: str, start: float, stop: float, count: Any, spacing: Any) -> tuple[Any, ...] | Range:
    check_choice(f"{name}.spacing", spacing, ("linear", "log"))
    check_number(
        f"{name}.points", count, minimum=2, maximum=2**53 if spacing == "linear" else _MOST, whole=True
    )
    if spacing == "linear":
        return _evenly(name, start, (stop - start) / (count - 1), count)
    check_number(f"{name}.from", start, above=0)
    # Powers differ in their last digit between machines, so that they are computed once.
    inner = [start * (stop / start) ** (k / (count - 1)) for k in range(1, count - 1)]
    return tuple(_checked(name, number) for number in (start, *inner, stop))


def _evenly(name: str, start: float, step: float, count: int) -> tuple[Any, ...] | Range:
    evenly = Range(float(start), float(step), count)
    if not Dimension({name: evenly}).numeric:
        return tuple(_checked(name, value) for value in listed(evenly))
    for place in {0, min(1, count - 1), count - 1}:
        number = start + step * place
        _checked(name, int(number) if number == math.floor(number) else number)
    return evenly


def listed(values: tuple[Any, ...] | Range) -> tuple[Any, ...]:
    """List the values of an axis; those of a range as whole numbers if all are."""
    if not isinstance(values, Range):
        return values
    if values.count > _MOST:
        raise InputError(f"a range has {values.count:,} values; here it must have at most {_MOST:,}")
    numbers = values.at(np.arange(values.count))
    return tuple(
        numbers.astype(np.int64).tolist() if np.all(numbers == np.floor(numbers)) else numbers.tolist()
    )


def numbers(values: tuple[Any, ...] | Range, places: Places) -> npt.NDArray[np.float64]:
    """Return the numbers of an axis at some places; NaN for no limit."""
    if isinstance(values, Range):
        return values.at(places)
    return np.array([math.nan if value is None else value for value in values], np.float64)[places]
