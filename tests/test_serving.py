"""What plans of language models serve, against counts by hand and a simulation of groups of sequences."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import stageplan as sp

TYPES = [
    sp.DeviceType(name="a", price=1.0, capacity=100.0, bandwidth=1000.0),
    sp.DeviceType(name="b", price=1.0, capacity=200.0),
]


def decoder(seconds, batch=2, concurrency=6, prefill=True, tensor=0.0, **fields):
    """Layers of a workload that decodes: seconds of a step, 10 bytes of weights and 12 of cache."""
    layers = [
        sp.Layer(
            name=f"l{i}",
            compute={"a": time, "b": 2 * time},
            prefill={"a": 10 * time, "b": 20 * time} if prefill else {},
            memory=10.0,
            sharded=12.0,
            workspace=1.0,
        )
        for i, time in enumerate(seconds)
    ]
    tensors = [
        sp.Tensor(producer=f"l{i}", consumers=[f"l{i + 1}"], bytes=tensor) for i in range(len(seconds) - 1)
    ]
    return sp.Workload(
        name="net",
        layers=layers,
        tensors=tensors,
        **{"batch": batch, "mode": "decode", "context": 50, "concurrency": concurrency} | fields,
    )


def plan_of(workload, scheme, **goal):
    goal = {"objective": "throughput", "max_devices_per_stage": 1} | goal
    return sp.Plan.of(sp.Problem(workload, sp.Cluster(name="c", types=TYPES), sp.Goal(**goal)), scheme)


def test_tokens_per_second_and_times():
    """Two stages of 1 + 2 and 8 seconds for 2 sequences each, while the third group waits."""
    serving = plan_of(decoder([1.0, 2.0, 4.0]), [0, 0, 1]).serving()
    assert serving.time_per_token == 3 * 8
    assert serving.tokens_per_second == pytest.approx(6 / 24)
    assert serving.time_to_first_token == 30 + 80
    assert str(serving) == (
        "0.25 tokens/s, 24 s per token of a sequence, 110 s to its first one, memory for 19 sequences"
    )


def test_room_is_that_of_the_stage_with_the_least():
    """Each sequence has 2 bytes of cache a layer: 100 - 20 - 1 bytes, over 4; and 200 - 10 - 1, over 2."""
    serving = plan_of(decoder([1.0, 2.0, 4.0]), [0, 0, 1]).serving()
    assert serving.room == (79 / 4, 189 / 2)
    assert serving.sequences == 19


def test_replicas_divide_the_sequences():
    """Two replicas of type a, each with 3 of 6 sequences in memory; half of a step's time is divided."""
    workload = decoder([1.0, 2.0, 4.0], batch=6)
    layers = tuple(replace(layer, compute_parallel=0.5) for layer in workload.layers)
    workload = replace(workload, layers=layers)
    plan = plan_of(workload, [0, 0, 0], max_devices_per_stage=2)
    (stage,) = plan.stages
    assert stage.replicas == 2
    assert stage.memory == 30 + 1 + 36 / 2
    serving = plan.serving()
    assert serving.time_per_token == pytest.approx(7 * 0.75)
    assert serving.time_to_first_token == 70
    assert serving.room == (2 * (100 - 31) / 6,)


def test_a_transfer_happens_once_and_a_prompt_passes_all_its_tokens():
    """A token has 100 / 2 bytes: each end of a transfer counts 0.05 s on type a, and none on type b."""
    plan = plan_of(decoder([1.0, 2.0, 4.0], tensor=100.0), [0, 0, 1])
    assert [stage.transfer for stage in plan.stages] == pytest.approx([0.05, 0])
    assert plan.serving().time_to_first_token == pytest.approx(110 + 50 * 0.05 / 2)


def rounds(times, groups, steps=40):
    """Seconds between the last two steps of a group; a stage takes groups in the order in which they come."""
    free, ready = [0.0] * len(times), [0.0] * groups
    ends = []
    for _ in range(steps):
        for group in range(groups):
            at = ready[group]
            for stage, time in enumerate(times):
                at = free[stage] = max(at, free[stage]) + time
            ready[group] = at
        ends.append(at)
    return ends[-1] - ends[-2]


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=5), st.integers(1, 6), st.data())
def test_the_time_per_token_is_that_of_a_simulation(seconds, groups, data):
    cuts = data.draw(st.integers(1, min(groups, len(seconds))))
    workload = decoder(seconds, batch=2, concurrency=2 * groups)
    scheme = [2 * (min(i, cuts - 1) % 2) for i in range(len(seconds))]  # types a and b in turn
    problem = sp.Problem(
        workload,
        sp.Cluster(name="c", types=TYPES),
        sp.Goal(objective="throughput", max_devices_per_stage=1, split=True),
    )
    plan = sp.Plan.of(problem, scheme)
    assert len(plan.stages) == cuts
    times = [2 * stage.compute for stage in plan.stages]
    assert plan.serving().time_per_token == pytest.approx(rounds(times, groups))


def test_prompts():
    workload = decoder([1.0, 2.0, 4.0], prefill=False, mode="prefill")
    serving = plan_of(workload, [0, 0, 1]).serving()
    assert serving.tokens_per_second == 50 * 2 / 8
    assert serving.time_per_token is None
    assert serving.time_to_first_token == 3 + 8
    replicas = plan_of(workload, [0, 0, 0], max_devices_per_stage=2).serving()
    assert replicas.tokens_per_second == pytest.approx(2 * 50 * 2 / 7)
    assert replicas.time_to_first_token == 7  # a prompt is read by one of them


def test_what_is_not_known_is_none():
    serving = plan_of(decoder([1.0, 2.0], prefill=False), [0, 0]).serving()
    assert serving.time_to_first_token is None
    assert "first" not in str(serving)


def test_no_limit_of_memory_is_room_for_all():
    cluster = sp.Cluster(name="c", types=[sp.DeviceType(name="a", price=1.0)])
    plan = sp.Plan.of(sp.Problem(decoder([1.0]), cluster), [0])
    assert plan.serving().room == (math.inf,)
    assert "memory for" not in str(plan.serving())


def test_plans_of_other_workloads_serve_nothing():
    plan = plan_of(decoder([1.0], mode="inference"), [0])
    with pytest.raises(ValueError, match="mode of the workload is 'inference'; it must be 'prefill' or 'dec"):
        plan.serving()
    assert "serving" not in plan.to_dict()
    assert "serving" not in str(plan)
    scheduled = plan_of(decoder([1.0]), [0], schedule="gpipe", microbatches=2, batch=4)
    with pytest.raises(ValueError, match="schedule is 'gpipe'; it must be absent where a model is served"):
        scheduled.serving()
