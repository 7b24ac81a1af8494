"""A sweep: its set-ups, groups and problems."""

import itertools

import msgspec
import numpy as np
import pytest
from small_sweeps import LAB, NET, made

import stageplan as sp
from stageplan.sweeps.sweep import Problems, Sweep


def test_set_ups_are_all_combinations():
    sweep = made(split=[False, True])
    assert len(sweep) == 24
    problems = [sweep.problem(i) for i in range(24)]
    seen = [(p.goal.split, p.goal.min_throughput, *p.price.tolist()) for p in problems]
    pairs = [(0.5, 2.0), (1.0, 3.0)]
    product = itertools.product([False, True], [0.1, 0.1 + 0.2, 0.5], pairs)
    expected = [(split, target, *pair) for split, target, pair in product]
    assert seen == expected * 2  # the first axis, method, is not of the problem


def test_problems_are_those_of_the_workload_cluster_and_goal():
    sweep = made(max_cost=[10, "none"], **{"limit.slow": 5, "capacity.fast": 8e9}, fixed_price=2)
    goal = sp.Goal(min_throughput=0.1, examples=3600.0, max_cost=10)
    problem = sp.Problem(NET, LAB, goal).replace(
        price=[0.5, 2.0], limit=[5, 2], capacity=[np.inf, 8e9], fixed_price=2.0
    )
    assert sweep.problem(0) == problem
    assert {sweep.problem(i).goal.max_cost for i in range(len(sweep))} == {10.0, None}


def test_groups_differ_only_in_numbers():
    sweep = made(seed=[1, 2])
    assert sweep.group_size == 6
    groups = list(sweep.groups(4, 20))
    assert [(group.first, group.last) for group in groups] == [(4, 6), (6, 12), (12, 18), (18, 20)]
    assert [(g.values["method"], g.values["seed"]) for g in groups] == [
        ("exact", 1), ("exact", 2), ("greedy", 1), ("greedy", 2),
    ]  # fmt: skip
    problem = sweep.problem(0)
    changes = sweep.changes(problem, 4, 6)
    for name, rows in changes.items():
        for i, row in enumerate(rows):
            known = {"price": sweep.problem(4 + i).price}
            np.testing.assert_array_equal(row, known.get(name, getattr(sweep.problem(4 + i).goal, name, row)))


def test_goals_and_clusters_of_files_are_those_of_a_set_up():
    sweep = Sweep.of({"workload": ["ctr", "bert-large"], "seed": 1})
    for place, name in enumerate(["ctr", "bert-large"]):
        problem = sp.Problem(sp.read_workload(name), sp.read_cluster(name), sp.read_goal(name))
        assert sweep.problem(place) == problem


def test_devices_of_the_catalogue():
    net = sp.Workload(name="net", layers=[sp.Layer(name="a", compute={"t4": 1.0, "a100-80g": 0.5})])
    sweep = Sweep.of({"workload": net, "device": [["t4:2", "a100-80g:4@2.5"], ["t4"]]})
    assert [sweep.problem(i).type_names for i in range(2)] == [("t4", "a100-80g"), ("t4",)]
    assert sweep.problem(0).price[1] == 2.5


def test_strategies_that_are_allowed():
    layer = sp.Layer(
        name="a", compute={"t": 1.0, "t/tp2": 0.6, "t/tp4": 0.4}, memory={"t": 2.0, "t/tp2": 1.0}
    )
    cluster = sp.Cluster(name="c", types=[sp.DeviceType(name="t", price=1.0)])
    axes = {"workload": sp.Workload(name="n", layers=[layer]), "cluster": cluster}
    sweep = Sweep.of(axes | {"strategies": [[""], ["", "tp2"], ["tp4"]]})
    assert [sweep.problem(i).column_strategy for i in range(3)] == [None, ("", "tp2"), ("tp4",)]


def test_a_workload_that_needs_a_batch():
    layers = [sp.Layer(name="a", compute={"t": 1.0}, update=0.1, activations=2.0)]
    cluster = sp.Cluster(name="c", types=[sp.DeviceType(name="t", price=1.0)])
    axes = {
        "workload": sp.Workload(name="n", layers=layers),
        "cluster": cluster,
        "schedule": ["gpipe", "1f1b"],
    }
    sweep = sp.Sweep.of(axes | {"batch": [4, 6], "microbatches": {"divisors_of": "batch"}})
    goals = [sweep.problem(i).goal for i in range(len(sweep))]
    expected = [(4, 1), (4, 2), (4, 4), (6, 1), (6, 2), (6, 3), (6, 6)]
    assert [(goal.batch, goal.microbatches) for goal in goals] == expected * 2
    problems = Problems(sweep)
    for i, group in enumerate(sweep.groups(0, len(sweep))):
        assert problems.of(group.values) == sweep.problem(i)


def test_a_sweep_is_the_same_when_read_again():
    sweep = made(max_cost=["none", 3])
    raw = msgspec.json.encode(sweep)
    again = msgspec.json.decode(raw, type=Sweep)
    assert msgspec.json.encode(again) == raw
    assert [again.problem(i) for i in range(12)] == [sweep.problem(i) for i in range(12)]


def test_its_repr_has_the_axes():
    assert repr(made()) == (
        "prices: 12 set-ups: method (2) x min_throughput (3) x price.fast, price.slow (2)"
    )
    assert repr(Sweep.of({"workload": "ctr"})) == "sweep: a single set-up"


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        ({"seed": 1}, "workload is missing; it must be an axis of one value or more"),
        ({"workload": NET}, "cluster is missing; it must be an axis where 'net' is not read from a file"),
        ({"workload": LAB, "cluster": LAB}, "workload has 'lab', a cluster; it must be a workload"),
        ({"workload": NET, "cluster": NET}, "cluster has 'net', a workload; it must be a cluster"),
        (
            {"workload": NET, "cluster": LAB, "device": [["t4"]]},
            "cluster and device are both axes; only one of them may be",
        ),
        (
            {"workload": NET, "cluster": LAB, "price.fsat": 1},
            "price.fsat is an axis, and cluster 'lab' has no type 'fsat'; it must be one of slow, fast; "
            "did you mean 'fast'?",
        ),
        (
            {"workload": NET, "cluster": [LAB, msgspec.structs.replace(LAB, fixed_price=1.0)]},
            "'lab' is the name of two workloads or clusters; they must differ",
        ),
        (
            {
                "workload": NET,
                "cluster": LAB,
                "max_cost": {"from": 1, "to": 2, "points": 2**30},
                "max_price": {"from": 1, "to": 2, "points": 2**30},
            },
            "the sweep has more than 9,007,199,254,740,992 set-ups; it must have at most that",
        ),
    ],
)
def test_bad_sweeps_are_refused(axes, sentence):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Sweep.of(axes)
    assert str(caught.value) == sentence


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"^chunk is 0; it must be a whole number, at least 1"):
        Sweep.of({"workload": "ctr"}, chunk=0)
    with pytest.raises(TypeError, match=r"^work is 1.5; "):
        Sweep.of({"workload": "ctr"}, work=1.5)


def test_a_set_up_that_is_not_there():
    with pytest.raises(IndexError):
        made().problem(12)


def test_a_strategy_that_no_workload_has_is_refused():
    axes = {"workload": NET, "cluster": LAB, "strategies": [[""], ["tp8"]]}
    with pytest.raises(
        ValueError, match=r"^strategies has 'tp8', which no workload of the sweep has; it must be one of ''$"
    ):
        Sweep.of(axes)
