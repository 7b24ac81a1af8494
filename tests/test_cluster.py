import pickle
import re
from math import inf, nan

import pytest

from stageplan.cluster import Cluster, DeviceType


def device(name="a100", **fields):
    return DeviceType(**{"name": name, "price": 3.0, **fields})


def test_equal_clusters_hash_and_pickle_alike():
    fields = {"limit": 4, "machine": 8, "link": 3e11, "strategies": {"tp2": 2}}
    types = [device(**fields, speed={"conv": 2}), device("cpu")]
    made = Cluster(name="lab", types=types, fixed_price=1)
    types = (device(**fields, speed={"conv": 2.0}), device("cpu"))
    twin = Cluster(name="lab", types=types, fixed_price=1.0)
    assert made == twin
    assert hash(made) == hash(twin)
    assert pickle.loads(pickle.dumps(made)) == made


def test_text_says_what_it_is():
    types = [device(limit=4, capacity=8e10, bandwidth=5e9), device("h100", like="a100", speed=2)]
    assert str(Cluster(name="lab", types=types, fixed_price=1)) == (
        "Cluster 'lab': 2 device types: a100 (3 $/hour, at most 4, 8e+10 bytes, 5e+09 bytes/s), "
        "h100 (3 $/hour, no limit, like a100); 1 $/hour besides."
    )


def test_devices_of_a_strategy():
    made = device(strategies={"quad": 4, "tp8": 6})
    assert [made.degree_of(name) for name in ("", "quad", "tp2", "tp8", "recompute", "selective")] == [
        1,
        4,
        2,
        6,
        1,
        1,
    ]
    names = ("ep4", "tp4+recompute", "ep2+selective")
    assert [made.degree_of(name) for name in names] == [4, 4, 2]
    wrong = ("fast", "tp0", "tp", "tp2x", "tp1048577", "tp2recompute", "tp2+", "+recompute", "recompute+tp2")
    for name in wrong:
        with pytest.raises(
            ValueError, match=f"^strategy '{re.escape(name)}' of device type 'a100' has no number of dev"
        ):
            made.degree_of(name)


@pytest.mark.parametrize(
    ("speed", "kind", "factor"),
    [(2.0, "conv", 2.0), ({"conv": 3}, "conv", 3.0), ({"conv": 3}, "", 1.0), ({"default": 4}, "linear", 4.0)],
)
def test_speed_of_a_kind(speed, kind, factor):
    assert device(speed=speed).speed_of(kind) == factor


def test_like_may_lead_out_of_the_cluster():
    chain = [device("a", like="b"), device("b", like="measured elsewhere")]
    assert Cluster(name="lab", types=chain).types[0].like == "b"


@pytest.mark.parametrize(
    ("fields", "error", "sentence"),
    [
        ({"name": ""}, ValueError, "name is ''; it must be text of 1 character or more"),
        ({"price": -1}, ValueError, "price is -1; it must be 0 or more $/hour and finite"),
        ({"price": nan}, ValueError, "price is nan; it must be 0 or more $/hour and finite"),
        ({"price": "cheap"}, TypeError, "price is 'cheap'; it must be 0 or more $/hour and finite"),
        (
            {"machine": 0},
            ValueError,
            "machine is 0; it must be a whole number of devices from 1 to 2**31 - 1, or absent",
        ),
        ({"link": 0}, ValueError, "link is 0; it must be more than 0 bytes/s and finite, or absent"),
        (
            {"network": nan},
            ValueError,
            "network is nan; it must be more than 0 bytes/s and finite, or absent",
        ),
        (
            {"strategies": {"quad": 0}},
            ValueError,
            "strategies['quad'] is 0; strategies must be a table from strategies to devices, whole numbers "
            "from 1 to 1048576",
        ),
        ({"limit": -1}, ValueError, "limit is -1; it must be a whole number of devices from 0 to 2**53"),
        ({"limit": 2.5}, TypeError, "limit is 2.5; it must be a whole number of devices from 0 to 2**53"),
        ({"limit": 2**70}, ValueError, "it must be a whole number of devices from 0 to 2**53"),
        ({"capacity": 0}, ValueError, "capacity is 0; it must be more than 0 bytes and finite"),
        ({"bandwidth": inf}, ValueError, "bandwidth is inf; it must be more than 0 bytes/s and finite"),
        ({"transfer_parallel": 2}, ValueError, "transfer_parallel is 2; it must be a fraction from 0 to 1"),
        ({"like": ""}, ValueError, "like is ''; it must be the name of another device type"),
        ({"speed": 0}, ValueError, "speed is 0; it must be a factor more than 0"),
        ({"speed": {"conv": -1}}, ValueError, "speed['conv'] is -1; speed must be a factor more than 0"),
    ],
)
def test_device_type_refuses_bad_values(fields, error, sentence):
    with pytest.raises(error, match="device type") as caught:
        device(**fields)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("types", "error", "sentence"),
    [
        ([], ValueError, "types has 0 items; it must be a list of 1 device type or more"),
        ([device(), device()], ValueError, "types[1].name is 'a100'; it must differ from types[0].name"),
        ([device(), "cpu"], TypeError, "types[1] is 'cpu'; types must be a list"),
        (
            [device("a", like="a")],
            ValueError,
            "types[0].like is 'a'; it must not be cyclic, as a -> a",
        ),
        ([device("a", like="b"), device("b", like="a")], ValueError, "cyclic, as a -> b -> a is"),
    ],
)
def test_cluster_refuses_bad_types(types, error, sentence):
    with pytest.raises(error, match="cluster 'lab'") as caught:
        Cluster(name="lab", types=types)
    assert sentence in str(caught.value)


def test_repr_is_one_line():
    types = [DeviceType(name="a\n", price=1.0), DeviceType(name="b", price=2.0)]
    assert repr(Cluster(name="lab", types=types)) == "<Cluster lab: 2 device types (a\\n, b)>"
