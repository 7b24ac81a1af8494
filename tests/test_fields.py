import copy
import pickle
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Struct

from stageplan.fields import (
    Bytes,
    Count,
    FrozenDict,
    Name,
    allowed,
    check_fields,
    fields_of,
    not_negative,
    positive,
    whole,
)


class Inner(Struct, frozen=True):
    a: int = 0
    b: int = 0


class Everything(Struct, frozen=True, kw_only=True):
    name: Name = "a"
    number: Annotated[float, positive()] = 1.0
    rate: Annotated[float, positive("examples/s")] | None = None
    length: Annotated[float, not_negative("m")] = 0.0
    bytes: Bytes | None = None
    count: Count = 1
    port: Annotated[int, whole(0, 65535)] = 0
    seed: Annotated[int, whole(0, 2**31 - 1)] | None = None
    devices: Annotated[int, whole(1, 2**53, "devices")] = 1
    flag: bool = True
    two: Literal["a", "b"] = "a"
    three: Literal["a", "b", 3] | None = None
    inner: Inner = Inner()

    def __post_init__(self):
        check_fields(self, "everything")


ALLOWED = {
    "name": "text of 1 character or more",
    "number": "more than 0 and finite",
    "rate": "more than 0 examples/s and finite, or absent",
    "length": "0 or more m and finite",
    "bytes": "0 or more bytes and finite, or absent",
    "count": "a whole number, 1 or more",
    "port": "a whole number from 0 to 65535",
    "seed": "a whole number from 0 to 2**31 - 1, or absent",
    "devices": "a whole number of devices from 1 to 2**53",
    "flag": "true or false",
    "two": "'a' or 'b'",
    "three": "one of 'a', 'b', 3, or absent",
    "inner": "a table of a, b",
}


def test_types_say_what_is_allowed():
    assert {field.name: allowed(field) for field in fields_of(Everything)} == ALLOWED


def test_field_without_a_description_is_an_error():
    with pytest.raises(LookupError, match="field x has no description"):
        allowed(msgspec.structs.fields(msgspec.defstruct("Bare", [("x", int)]))[0])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", ""),
        ("number", 0),
        ("rate", float("inf")),
        ("length", -1),
        ("bytes", float("nan")),
        ("count", 0),
        ("port", 65536),
        ("seed", 2**31),
        ("devices", 2**53 + 1),
        ("flag", 1),
        ("two", "c"),
        ("three", 4),
        ("inner", 3),
    ],
)
def test_value_out_of_range_is_refused_with_what_is_allowed(name, value):
    with pytest.raises((ValueError, TypeError)) as raised:
        Everything(**{name: value})
    assert str(raised.value) == f"{name} is {value!r}; it must be {ALLOWED[name]} (everything)"


def test_frozen_dict_is_a_dict_by_value():
    frozen = FrozenDict({"a": 1, "b": None})
    assert frozen == {"b": None, "a": 1}
    assert hash(frozen) == hash(FrozenDict({"b": None, "a": 1}))


def test_frozen_dict_can_be_copied_and_pickled():
    frozen = FrozenDict(a=1)
    for twin in (pickle.loads(pickle.dumps(frozen)), copy.copy(frozen), copy.deepcopy(frozen)):
        assert twin == frozen
        assert type(twin) is FrozenDict


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.__setitem__("a", 2),
        lambda table: table.__delitem__("a"),
        lambda table: table.__ior__({"a": 2}),
        lambda table: table.update(a=2),
        lambda table: table.setdefault("b", 2),
        lambda table: table.pop("a"),
        lambda table: table.popitem(),
        lambda table: table.clear(),
    ],
)
def test_frozen_dict_refuses_every_change(change):
    frozen = FrozenDict(a=1)
    with pytest.raises(TypeError, match="cannot be changed"):
        change(frozen)
    assert frozen == {"a": 1}
