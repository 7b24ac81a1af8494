import copy
import pickle

import pytest

from stageplan.fields import FrozenDict


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
