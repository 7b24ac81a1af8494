"""Tensors in values of any kind."""

from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass

import pytest

torch = pytest.importorskip("torch")

from stageplan.profiling.tensors import map_tensors, stored_in, tensors_in, to_meta  # noqa: E402

Pair = namedtuple("Pair", ["one", "other"])
ONE, OTHER = torch.ones(2), torch.zeros(3, dtype=torch.long)


@dataclass(frozen=True)
class Record:
    one: object
    other: object = None


CONTAINERS = [[ONE, OTHER], (ONE, OTHER), Pair(ONE, OTHER), Record(ONE, OTHER), {"one": ONE, "other": OTHER}]
CONTAINERS += [UserDict(one=ONE, other=OTHER), OrderedDict(one=ONE, other=OTHER)]


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda container: type(container).__name__)
def test_tensors_are_found_and_changed_in_containers_of_any_kind(container):
    value = {"in": [container, 5]}
    assert tensors_in(value) == [ONE, OTHER]
    changed = map_tensors(value, torch.clone)
    assert type(changed["in"][0]) is type(container)
    assert changed["in"][1] == 5
    assert all(a is not b and a.equal(b) for a, b in zip(tensors_in(changed), (ONE, OTHER), strict=True))
    assert tensors_in(value) == [ONE, OTHER]  # as it was


def test_values_without_tensors_are_unchanged():
    for value in ({"x": [1]}, Record(1), "text", None, Record):
        assert map_tensors(value, torch.clone) is value


def test_fields_are_read_whatever_a_dataclass_does():
    @dataclass
    class Guarded:
        one: object
        other: object

        def __getattribute__(self, name):
            if name == "other":
                raise RuntimeError("not to be read")
            return super().__getattribute__(name)

    assert tensors_in(Guarded(ONE, OTHER)) == [ONE, OTHER]
    half = Record.__new__(Record)
    assert tensors_in(half) == []


def test_only_floating_point_tensors_change_their_precision():
    one, other = tensors_in(to_meta([ONE, OTHER], torch.bfloat16))
    assert (one.device.type, one.dtype, other.dtype) == ("meta", torch.bfloat16, torch.long)


def test_a_sparse_tensor_counts_as_its_stored_parts():
    indices, values = stored_in({"x": torch.eye(3).to_sparse()})
    assert (indices.shape, values.shape) == ((2, 3), (3,))
