"""Types of fields, with a description of what is allowed, and the check of a struct's fields."""

from __future__ import annotations

import json
import math
import reprlib
import sys
from collections.abc import Mapping
from functools import cache
from numbers import Integral, Real
from types import NoneType
from typing import Annotated, Any, Literal, NoReturn, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta
from msgspec.structs import FieldInfo

from .errors import InputError, InputTypeError
from .suggestions import did_you_mean

K = TypeVar("K")
V = TypeVar("V")

FINITE = sys.float_info.max


class _Short(reprlib.Repr):
    """A repr of few characters for any value."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 80

    def repr_int(self, number: int, level: int) -> str:
        if number.bit_length() <= 2**10:
            return super().repr_int(number, level)
        return f"a whole number of {math.ceil(number.bit_length() * math.log10(2))} digits"


_SHORT = _Short()


def show(value: object) -> str:
    """Write a value for an error message: on one line, in few characters, without control characters."""
    return printable(_SHORT.repr(value))


LONGEST = 2000  # characters of a sentence


def sentence(text: str) -> str:
    """Make a text one line without control characters; of one that is very long, leave the middle out."""
    text = printable(text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 4 :]}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or else its class."""
    return sentence((str(error).strip() or type(error).__name__).splitlines()[0])


def printable(text: str, keep: str = "") -> str:
    """Escape control and invisible characters of a text, such as line ends and direction marks.

    They are escaped as in JSON, so that JSON keeps its meaning; those in `keep` are left as they are.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else json.dumps(c)[1:-1] for c in text)


class FrozenDict(dict[K, V]):
    """A dict that cannot be changed, and so can be hashed."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise InputTypeError("a FrozenDict cannot be changed; make a new one")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[type, tuple[dict[K, V]]]:
        return type(self), (dict(self),)


# Types --------------------------------------------------------------------------------------------------


def positive(unit: str = "") -> Meta:
    """Allow finite numbers above 0, of a unit."""
    return Meta(gt=0, le=FINITE, description=f"more than 0{unit and f' {unit}'} and finite")


def not_negative(unit: str = "") -> Meta:
    """Allow finite numbers from 0, of a unit."""
    return Meta(ge=0, le=FINITE, description=f"0 or more{unit and f' {unit}'} and finite")


def whole(minimum: int, maximum: int, unit: str = "") -> Meta:
    """Allow whole numbers in a range, of a unit."""
    number = f"a whole number{unit and f' of {unit}'}"
    return Meta(ge=minimum, le=maximum, description=f"{number} from {minimum} to {_power(maximum)}")


def _power(number: int) -> str:
    """Write a large number as a power of two, or one less, where it is."""
    for power, text in ((number, ""), (number + 1, " - 1")):
        if power > 2**16 and power.bit_count() == 1:
            return f"2**{power.bit_length() - 1}{text}"
    return str(number)


Text = Annotated[str, Meta(description="text")]
Name = Annotated[str, Meta(min_length=1, description="text of 1 character or more")]
Count = Annotated[int, Meta(ge=1, description="a whole number, 1 or more")]
DeviceLimit = Annotated[int, whole(0, 2**53, "devices")]
Fraction = Annotated[float, Meta(ge=0, le=1, description="a fraction from 0 to 1")]
Positive = Annotated[float, positive()]
Seconds = Annotated[float, not_negative("seconds")]
IN_BYTES = {"unit": "bytes"}  # documents may give it as text, "80GB"
Bytes = Annotated[float, not_negative("bytes"), Meta(extra=IN_BYTES)]
Price = Annotated[float, not_negative("$/hour")]
Capacity = Annotated[float, positive("bytes"), Meta(extra=IN_BYTES)]
Bandwidth = Annotated[float, positive("bytes/s"), Meta(extra=IN_BYTES)]


def allowed(field: FieldInfo) -> str:
    """Describe what a field must be: by the description of its type, or by the type itself."""
    return _words(field.type, field.name)


def _words(type_: Any, name: str) -> str:
    for meta in reversed(getattr(type_, "__metadata__", ())):
        if isinstance(meta, Meta) and meta.description:
            return meta.description
    arguments = get_args(type_)
    if type_ is bool:
        return "true or false"
    if get_origin(type_) is Literal:
        choices = list(map(repr, arguments))
        return " or ".join(choices) if len(choices) <= 2 else f"one of {', '.join(choices)}"
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return f"a table of {', '.join(field.encode_name for field in fields_of(type_))}"
    if len(arguments) == 2 and NoneType in arguments:
        return f"{_words(arguments[arguments.index(NoneType) - 1], name)}, or absent"
    raise LookupError(f"field {name} has no description")


def json_schema(kind: Any) -> dict[str, Any]:
    r"""Return the JSON Schema of a struct, in whose dialect of patterns ``$`` is what ``\Z`` is in Python."""
    text = msgspec.json.encode(msgspec.json.schema(kind)).replace(rb"\\Z", b"$")
    schema: dict[str, Any] = msgspec.json.decode(text)
    return schema


# Checks -------------------------------------------------------------------------------------------------


_REFUSED = (msgspec.ValidationError, AttributeError)  # the second at numpy's objects


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
    given = msgspec.structs.asdict(struct)
    values = {name: value if type(value) in _PLAIN else _plain(value) for name, value in given.items()}
    try:
        checked = msgspec.convert(values, _unchecked(type(struct)))
    except _REFUSED:
        for field in fields_of(type(struct)):
            _check_field(field, values[field.name], owner)
        raise
    for name, before in given.items():
        value = getattr(checked, name)
        if value is not before or type(value) not in _PLAIN:  # most fields are as they have to be
            msgspec.structs.force_setattr(struct, name, _immutable(value))


def _check_field(field: FieldInfo, value: Any, owner: str) -> None:
    try:
        msgspec.convert(value, field.type)
    except _REFUSED as error:
        kind = InputError if isinstance(error, ValueError) and ", got " not in str(error) else InputTypeError
        raise kind(f"{_complaint(field, value, error)} ({owner})") from None


@cache
def _unchecked(struct: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """Return a struct of the same fields that msgspec alone checks, all of them in one call."""
    return msgspec.defstruct(struct.__name__, [(field.name, field.type) for field in fields_of(struct)])


@cache
def fields_of(struct: type[msgspec.Struct]) -> tuple[FieldInfo, ...]:
    """Fields of a struct, in their order."""
    return msgspec.structs.fields(struct)


def _complaint(field: FieldInfo, value: Any, error: Exception) -> str:
    """Describe what is wrong with a value, or with its first invalid item."""
    name = field.encode_name
    for key, item, alone in _items(value) if " - at " in str(error) else ():
        try:
            msgspec.convert(alone, field.type)
        except _REFUSED:
            return f"{name}[{show(key)}] is {show(item)}; {name} must be {allowed(field)}"
    wrong_size = isinstance(value, (dict, tuple)) and ", got " not in str(error)
    seen = f"has {len(value)} items" if wrong_size else f"is {show(value)}"
    return f"{name} {seen}; it must be {allowed(field)}{did_you_mean(value, _choices(field.type))}"


def _choices(type_: Any) -> tuple[Any, ...]:
    """Return the values that an annotation lists, if it is one of a choice."""
    if get_origin(type_) is Literal:
        return get_args(type_)
    return next(filter(None, map(_choices, get_args(type_))), ())


def _items(value: Any) -> list[tuple[Any, Any, Any]]:
    """(key, item, a container of this item alone) of each item of a container."""
    if isinstance(value, dict):
        return [(key, item, {key: item}) for key, item in value.items()]
    if isinstance(value, tuple):
        return [(index, item, (item,)) for index, item in enumerate(value)]
    return []


_PLAIN = {type(None), bool, int, float, str}  # most values; this check is much faster than the following ones


_DEEPEST = 4  # containers in containers that a field may hold, and more


def _plain(value: Any, depth: int = 0) -> Any:
    """Convert numbers and containers of any class (numpy's, for one) to Python's own."""
    if type(value) in _PLAIN or isinstance(value, (bool, str, msgspec.Struct)) or depth > _DEEPEST:
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return as_float(value)
    if isinstance(value, Mapping):
        return {key: _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_plain(item, depth + 1) for item in value)
    return value


def as_float(value: Real) -> float:
    """Convert a number to a float; infinite where it is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _immutable(value: Any) -> Any:
    """Convert dicts and tuples in a value to those that can be hashed."""
    if isinstance(value, dict):
        return FrozenDict(value)
    if isinstance(value, tuple):
        return tuple(_immutable(item) for item in value)
    return value
