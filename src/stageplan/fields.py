"""Checks that all nouns share: a bad value is named, shown, and told what is allowed."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Mapping
from functools import cache
from numbers import Integral, Real
from typing import Any, NoReturn, TypeVar, get_args

import msgspec
from msgspec.structs import FieldInfo

K = TypeVar("K")
V = TypeVar("V")

FINITE = sys.float_info.max

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
show = _SHORT.repr  # of a value in an error message


class FrozenDict(dict[K, V]):
    """A dict that cannot be changed, and so can be hashed."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a FrozenDict cannot be changed; make a new one")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[type, tuple[dict[K, V]]]:
        return type(self), (dict(self),)


def check_fields(struct: msgspec.Struct, owner: str) -> None:
    """Check and convert every field of a frozen struct, which msgspec does for decoded structs alone.

    Whole numbers become floats where the field is a float, lists become tuples, and dicts frozen dicts.

    Parameters
    ----------
    struct : msgspec.Struct
        Its annotations say what is allowed; the description of an annotation says it in words.
    owner : str
        Which struct it is, for error messages.

    Raises
    ------
    TypeError, ValueError
        A field has a wrong type, or a value that is not allowed.
    """
    fields = fields_of(type(struct))
    values = {field.name: _plain(getattr(struct, field.name)) for field in fields}
    try:
        checked = msgspec.convert(values, _unchecked(type(struct)))
    except msgspec.ValidationError:
        for field in fields:
            _check_field(field, values[field.name], owner)
        raise
    for field in fields:
        msgspec.structs.force_setattr(struct, field.name, _frozen(getattr(checked, field.name)))


def _check_field(field: FieldInfo, value: Any, owner: str) -> None:
    try:
        msgspec.convert(value, field.type)
    except msgspec.ValidationError as error:
        kind = TypeError if ", got " in str(error) else ValueError
        raise kind(f"{_complaint(field, value, error)} ({owner})") from None


@cache
def _unchecked(struct: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """Return a struct of the same fields that msgspec alone checks, all of them in one call."""
    return msgspec.defstruct(struct.__name__, [(field.name, field.type) for field in fields_of(struct)])


@cache
def fields_of(struct: type[msgspec.Struct]) -> tuple[FieldInfo, ...]:
    """Fields of a struct, in their order."""
    return msgspec.structs.fields(struct)


def allowed(field: FieldInfo) -> str:
    """Say what a field must be."""
    for meta in get_args(field.type):
        if isinstance(meta, msgspec.Meta) and meta.description:
            return meta.description
    raise LookupError(f"field {field.name} has no description")


def _complaint(field: FieldInfo, value: Any, error: msgspec.ValidationError) -> str:
    """Say what is wrong with a value, or with the first bad item of it."""
    name = field.encode_name
    for key, item, alone in _items(value) if " - at " in str(error) else ():
        try:
            msgspec.convert(alone, field.type)
        except msgspec.ValidationError:
            return f"{name}[{show(key)}] is {show(item)}; {name} must be {allowed(field)}"
    wrong_size = isinstance(value, (dict, tuple)) and ", got " not in str(error)
    seen = f"has {len(value)} items" if wrong_size else f"is {show(value)}"
    return f"{name} {seen}; it must be {allowed(field)}"


def _items(value: Any) -> list[tuple[Any, Any, Any]]:
    """(key, item, a container of this item alone) of each item of a container."""
    if isinstance(value, dict):
        return [(key, item, {key: item}) for key, item in value.items()]
    if isinstance(value, tuple):
        return [(index, item, (item,)) for index, item in enumerate(value)]
    return []


_PLAIN = {type(None), bool, int, float, str}  # most values, and told apart much faster than the rest


def _plain(value: Any) -> Any:
    """Numbers and containers of any make (numpy's, for one) as Python's own."""
    if type(value) in _PLAIN or isinstance(value, (bool, str, msgspec.Struct)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_plain(item) for item in value)
    return value


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return FrozenDict(value)
    if isinstance(value, tuple):
        return tuple(_frozen(item) for item in value)
    return value
