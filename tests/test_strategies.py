"""Problems by options: what they accept, what they refuse, and the options of their stages."""

import pickle
from typing import Any

import numpy as np
import option_problems
import pytest
import reference_options as ref

import stageplan as sp
from stageplan import _core

TIMES = [[1.0, 0.6, 2.0], [2.0, 1.1, 3.0]]
COLUMNS: dict[str, Any] = {"column_type": [0, 0, 1], "column_degree": [1, 2, 1], "limit": [4, 4]}
SCHEDULE: dict[str, Any] = {"schedule": "1f1b", "microbatches": 4, "batch": 8}


def options_of(p: sp.Problem, first: int, last: int, t: int, flying: int) -> list[tuple[Any, ...]]:
    return _core.testing.stage_options(p.core, first, last, t, flying)


def key(p: sp.Problem, o: ref.Option) -> tuple[float, float, float, float]:
    batch, scheduled = p.goal.batch or 1, p.goal.schedule is not None
    sync = o.sync / batch
    return o.devices, o.busy if scheduled else o.busy + sync, scheduled * o.through, scheduled * sync


def undominated(p: sp.Problem, options: list[ref.Option]) -> set[tuple[float, ...]]:
    keys = {(ref.group(p, o), key(p, o)) for o in options}
    return {
        tuple(np.round(k, 9))
        for g, k in keys
        if not any(
            g == h and other != k and all(map(float.__le__, map(float, other), map(float, k)))
            for h, other in keys
        )
    }


def test_options_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    for _ in range(150):
        p = option_problems.draw_problem(rng)
        L = p.n_layers
        first = int(rng.integers(L))
        last = int(rng.integers(first, L))
        t, flying = int(rng.integers(p.n_types)), ref.in_flight(p, int(rng.integers(1, L + 1)))
        found = options_of(p, first, last, t, flying)
        wanted = ref.all_options(p, range(first, last + 1), t)
        by_choice = {(o.column, o.replicas): o for o in wanted}
        least = {(o.column, o.replicas) for o in ref.least_violating(p, wanted, t, flying)}
        for devices, column, replicas, time, through, sync, memory, flight, violation in found:
            o = by_choice[column, replicas]
            assert (devices, time, through, sync) == pytest.approx(key(p, o), rel=1e-12)
            assert (memory, flight) == pytest.approx((o.memory, o.flight), rel=1e-12)
            assert violation == pytest.approx(ref.violation_of(p, o, t, flying), rel=1e-9, abs=1e-12)
            assert (column, replicas) in least or violation > 0
        if all(violation == 0 for *_, violation in found):
            keys = {tuple(np.round((o[0], o[3], o[4], o[5]), 9)) for o in found}
            assert keys == undominated(p, [by_choice[c] for c in least])


def test_problem_keeps_its_columns() -> None:
    p = sp.Problem.from_arrays(TIMES, [1.0, 2.0], **COLUMNS, **SCHEDULE, activations=[1.0, 2.0])
    assert (p.by_options, p.n_types, p.compute.shape) == (True, 2, (2, 3))
    assert p.column_strategy == ("", "tp2", "")
    assert p.activations is not None
    assert p.activations.shape == (2, 3)
    again = pickle.loads(pickle.dumps(p))
    assert again == p
    assert hash(again) == hash(p)
    gpipe = p.replace(schedule="gpipe", activations=[3.0, 3.0])
    assert (gpipe.goal.schedule, gpipe.column_strategy) == ("gpipe", p.column_strategy)
    assert gpipe != p
    assert not sp.Problem.from_arrays([[1.0], [2.0]], [1.0]).by_options


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"column_type": [0, 0, 0]}, "column_type has no column of type 1"),
        (
            {"column_type": [0, 1], "column_degree": [1, 1]},
            "compute has shape (2, 3); it must have a column for each of 2",
        ),
        ({"column_degree": [1, 2]}, "column_degree has shape (2,); it must be (3,), as column_type"),
        ({"column_degree": [0, 2, 1]}, "column_degree[0] is 0; it must be from 1"),
        ({"column_degree": [1.5, 2, 1]}, "column_degree has numbers that are not whole"),
        (
            {"column_strategy": ["a", "a", "a"]},
            "column_strategy[1] is 'a'; it must differ from others of type 0",
        ),
        ({"column_strategy": ["a"]}, "column_strategy has 1 texts; it must have 3"),
        ({"activations": [1.0]}, "activations has shape (1,); it must be (2,) or (2, 3)"),
        ({"activations": [1.0, 1.0]}, "batch is absent; it must be given where there are activations"),
        ({"gradients": [1.0, 1.0]}, "batch is absent; it must be given where there are gradients"),
        ({"memory": [[1.0, -1.0, 1.0], [1.0, 1.0, 1.0]]}, "memory[0, 1] is -1; it must be 0 or from"),
        ({"machine": [0.5, 1]}, "machine[0] is 0.5; it must be a whole number of devices, 1 or more"),
        ({"whole_machines": True}, "whole_machines is True; machine must be given"),
        ({"schedule": "1f1b"}, "batch is absent; it must be given with a schedule"),
        ({"schedule": "1f1b", "batch": 4}, "microbatches is absent; it must be given with a schedule"),
        ({"microbatches": 4}, "microbatches is 4; it must be absent without a schedule"),
        ({**SCHEDULE, "batch": 9}, "batch is 9; it must be a multiple of microbatches, 4"),
        ({"merge": "type"}, "merge is 'type'; it must be 'adjacent' where"),
    ],
)
def test_inconsistent_arguments_are_refused(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        sp.Problem.from_arrays(TIMES, [1.0, 2.0], **(COLUMNS | arguments))
    assert sentence in str(caught.value)


LISTED: dict[str, Any] = {"first": [0, 0, 1], "last": [1, 0, 1], "type": [0, 0, 0], "devices": [2, 1, 1]}


def test_listed_options_are_those_of_the_problem() -> None:
    p = sp.Problem.from_options(
        2, [1.0], **LISTED, time=[2.0, 1.5, 1.0], memory=[5.0, 1.0, 1.0], capacity=[2.0]
    )
    assert options_of(p, 0, 1, 0, 1) == [(2, 0, 1, 2.0, 0.0, 0.0, 5.0, 0.0, 1.5)]
    assert options_of(p, 1, 1, 0, 1) == [(1, 0, 1, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0)]
    assert pickle.loads(pickle.dumps(p)) == p
    assert p != p.replace(limit=[3])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"time": [1.0]}, "time has shape (1,); it must have one entry for each option, as first does"),
        ({"last": [2, 0, 1]}, "option 0 is of layers 0 to 2 on type 0; layers must be from 0 to 1"),
        ({"layers": 2**40}, "layers is 1099511627776; it must be a whole number, at least 1, at most 4096"),
        ({"devices": [0, 1, 1]}, "devices[0] is 0; it must be from 1"),
        ({"type": [0, 0, 1]}, "option 2 is of layers 1 to 1 on type 1; layers must be from 0 to 1, in order"),
    ],
)
def test_wrong_options_are_refused(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        sp.Problem.from_options(
            **({"layers": 2, "price": [1.0], "time": [1.0, 1.0, 1.0]} | LISTED | arguments)
        )
    assert sentence in str(caught.value)


def test_listed_options_may_have_replicas_and_all_reduce() -> None:
    """Without a schedule, the all-reduce is a part of the time; all stages have the same replicas."""
    listed = LISTED | {"time": [2.0, 1.5, 1.0], "sync": [0.5, 0.0, 0.25], "replicas": [2, 1, 2]}
    p = sp.Problem.from_options(2, [1.0], **listed, split=True, same_replicas=True)
    assert options_of(p, 1, 1, 0, 1) == [(1, 0, 2, 1.25, 0.0, 0.0, 0.0, 0.0, 0.0)]
    plan = sp.solve(p, "exact").plan
    assert [(stage.replicas, stage.time) for stage in plan.stages] == [(2, 2.5)]
    sp.verify(p, plan)
    scheduled = p.replace(schedule="1f1b", microbatches=2, batch=4, same_replicas=False)
    plan = sp.Plan.of(scheduled, [0, 1])
    assert plan.time == pytest.approx((1.5 + (1.5 + 1.0)) / 2 + 0.25)
    sp.verify(scheduled, plan)


def test_listed_options_bound_the_throughput() -> None:
    p = sp.Problem.from_options(2, [1.0], **LISTED, time=[2.0, 1.5, 1.0], objective="throughput")
    assert sp.solve(p, "exact").plan.time == 2.0
    with pytest.raises(ValueError, match="objective is 'speed'; it must be"):
        sp.Problem.from_options(2, [1.0], **LISTED, time=[2.0, 1.5, 1.0], objective="speed")


def test_strategies_of_a_type_share_its_devices() -> None:
    """Eight devices, alone, in pairs or in quads, are eight; as types of their own they are twenty-four."""
    times = np.outer([4.0, 2.0, 3.0], [1.0, 0.6, 0.35])
    fast: dict[str, Any] = {"objective": "throughput", "max_price": 24.0, "compute_parallel": 0.8}
    shared = sp.Problem.from_arrays(
        times, [1.0], column_type=[0, 0, 0], column_degree=[1, 2, 4], limit=[8], split=True, **fast
    )
    sold = sp.Problem.from_arrays(times, [1.0, 2.0, 4.0], limit=[8, 4, 2], max_devices_per_stage=8, **fast)
    plan, more = (sp.solve(p, "exact").plan for p in (shared, sold))
    assert plan.feasible
    assert sum(stage.devices for stage in plan.stages) <= 8
    assert more.price > 8
    assert more.throughput > plan.throughput
    sp.verify(shared, plan)


def test_a_workspace_grows_with_the_examples_that_a_replica_runs_at_a_time() -> None:
    layers = [
        sp.Layer(name=name, compute={"a": 4.0}, workspace=size) for name, size in (("x", 8.0), ("y", 4.0))
    ]
    workload = sp.Workload(name="two", layers=layers, batch=4)
    cluster = sp.Cluster(name="one", types=[sp.DeviceType(name="a", price=1.0, limit=4)])
    plain = sp.Problem(workload, cluster)
    assert sp.Plan.of(plain, [0, 0]).stages[0].memory == 8.0
    for batch, microbatches, devices, examples in (
        (16, 2, 1, 8),
        (16, 2, 3, 3),
        (16, 16, 1, 1),
        (8, None, 1, 8),
    ):
        schedule = None if microbatches is None else "1f1b"
        goal = {"batch": batch, "microbatches": microbatches, "schedule": schedule, "objective": "throughput"}
        problem = sp.Problem(workload, cluster, sp.Goal(**goal, max_devices_per_stage=devices))
        plan = sp.Plan.of(problem, [0, 0])
        assert (plan.stages[0].replicas, plan.stages[0].memory) == (devices, examples * 8.0 / 4)
        sp.verify(problem, plan)


def test_a_workspace_of_all_types_needs_no_options() -> None:
    arguments: dict[str, Any] = {
        "compute": [[1.0, 2.0]] * 3,
        "price": [1.0, 1.0],
        "workspace": [4.0, 6.0, 5.0],
    }
    plain = sp.Problem.from_arrays(**arguments, memory=[1.0, 1.0, 1.0], capacity=[8.0, 20.0], limit=[2, 2])
    assert not plain.by_options
    assert [stage.memory for stage in sp.Plan.of(plain, [0, 0, 1]).stages] == [8.0, 6.0]
    assert sp.Plan.of(plain, [0, 0, 0]).violations[0].value == 9.0
    by_options = plain.replace(max_stages=3)
    assert by_options.by_options
    for scheme in ([0, 0, 1], [0, 0, 0], [1, 0, 0]):
        a, b = sp.Plan.of(plain, scheme), sp.Plan.of(by_options, scheme)
        assert (a.cost, a.feasible, [s.memory for s in a.stages]) == (
            b.cost, b.feasible, [s.memory for s in b.stages]
        )  # fmt: skip
    assert sp.Problem.from_arrays(**arguments | {"workspace": [[4.0, 5.0]] * 3}).by_options
    assert not plain.replace(merge="type").by_options
