"""The timeline of a schedule."""

import itertools
import json
import statistics
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stageplan as sp
from stageplan.simulate import run_schedule


def fractions(count):
    return st.lists(st.floats(0, 1), min_size=count, max_size=count)


SECONDS = st.floats(0, 10).map(lambda x: round(x, 3))


@st.composite
def runs(draw, transfers=True, alike=False):
    stages = draw(st.integers(1, 6))
    return {
        "schedule": draw(st.sampled_from(["gpipe", "1f1b"])),
        "microbatches": draw(st.integers(1, 9)),
        "compute": draw(st.lists(SECONDS, min_size=stages, max_size=stages)),
        "transfer": draw(st.lists(SECONDS if transfers else st.just(0.0), min_size=stages, max_size=stages)),
        "overlap": draw(st.booleans()),
        "forward": [draw(st.floats(0.05, 1))] * stages if alike else draw(fractions(stages)),
    }


def duration(run):
    return max(event.arrival for event in run_schedule(**run))


def closed_form(run):
    both = zip(run["compute"], run["transfer"], strict=True)
    busy = [max(pair) if run["overlap"] else sum(pair) for pair in both]
    passage = sum(run["compute"]) + sum(run["transfer"])
    return (run["microbatches"] - 1) * max(busy) + passage


def by_definition(run):
    """Arrival of each pass: the least numbers that keep every rule, found by raising them until they do."""
    S, M = len(run["compute"]), run["microbatches"]
    orders = []
    for s in range(S):
        ahead = M if run["schedule"] == "gpipe" else min(S - s, M)
        steady = itertools.chain.from_iterable([("B", i), ("F", i + ahead)] for i in range(M - ahead))
        orders.append(
            [("F", i) for i in range(ahead)] + list(steady) + [("B", i) for i in range(M - ahead, M)]
        )
    arrival = dict.fromkeys(((s, *each) for s in range(S) for each in orders[s]), 0.0)
    changed = True
    while changed:
        changed = False
        for s in range(S):
            free = sent = 0.0
            for kind, i in orders[s]:
                if kind == "F":
                    ready = arrival[s - 1, "F", i] if s else 0.0
                else:
                    ready = arrival[s + 1, "B", i] if s + 1 < S else arrival[s, "F", i]
                part = run["forward"][s] if kind == "F" else 1 - run["forward"][s]
                computed = max(free, ready) + part * run["compute"][s]
                sent = max(computed, sent) + part * run["transfer"][s]
                free = computed if run["overlap"] else sent
                changed |= arrival[s, kind, i] != sent
                arrival[s, kind, i] = sent
    return arrival


@given(runs())
def test_every_pass_is_as_early_as_the_schedule_allows(run):
    found = {(e.stage, "F" if e.direction == "forward" else "B", e.microbatch): e.arrival
             for e in run_schedule(**run)}  # fmt: skip
    assert found == by_definition(run)


@given(runs(transfers=False, alike=True))
def test_closed_form_is_never_shorter_without_transfers(run):
    assert closed_form(run) >= duration(run) * (1 - 1e-12)
    if run["schedule"] == "gpipe" or run["microbatches"] == 1:
        assert closed_form(run) == pytest.approx(duration(run), abs=1e-9)


@given(runs())
def test_closed_form_of_one_microbatch_is_exact(run):
    run["microbatches"] = 1
    assert closed_form(run) == pytest.approx(duration(run), abs=1e-9)


@pytest.mark.parametrize(("schedule", "passes"), [("1f1b", "FFBFBB FBFBFB"), ("gpipe", "FFFBBB FFFBBB")])
def test_order_of_passes(schedule, passes):
    events = run_schedule(schedule, 3, [1.0, 1.0], [0.0, 0.0], [0.5, 0.5], overlap=True)
    found = ("".join(e.direction[0].upper() for e in events if e.stage == s) for s in (0, 1))
    assert " ".join(found) == passes


@pytest.mark.parametrize("schedule", ["1f1b", "gpipe"])
def test_equal_stages_take_as_long_as_the_textbook_says(schedule):
    events = run_schedule(schedule, 8, [3.0] * 4, [0.0] * 4, [1 / 3] * 4, overlap=True)
    assert max(e.end for e in events) == pytest.approx((8 + 4 - 1) * 3.0)


def test_transfers_beside_and_after_compute():
    """Two microbatches on one stage: its link is the slower part, or comes on top."""
    events = run_schedule("gpipe", 2, [1.0], [4.0], [1.0], overlap=True)
    assert [(e.start, e.end, e.arrival) for e in events if e.direction == "forward"] == [(0, 1, 5), (1, 2, 9)]
    events = run_schedule("gpipe", 2, [1.0], [4.0], [1.0], overlap=False)
    assert [(e.start, e.end, e.arrival) for e in events if e.direction == "forward"] == [
        (0, 5, 5),
        (5, 10, 10),
    ]


# Plans --------------------------------------------------------------------------------------------------


def planned(rng, transfers=False, **changes):
    """Plan a random pipeline of up to 12 layers, a stage each."""
    count = int(rng.integers(1, 13))
    micro = int(rng.integers(1, 25))
    times = rng.lognormal(0, 0.7, (count, 2))
    arguments = {"send": times * 0.2, "receive": times * 0.1} if transfers else {}
    problem = sp.Problem.from_arrays(
        times, price=[1.0, 2.0], max_devices_per_stage=1, overlap=bool(rng.integers(2)),
        schedule=str(rng.choice(["gpipe", "1f1b"])), microbatches=micro, batch=2 * micro,
        **arguments | changes,
    )  # fmt: skip
    return sp.Plan.of(problem, [i % 2 for i in range(count)])


@pytest.mark.parametrize("transfers", [False, True])
def test_closed_form_of_random_plans(transfers):
    rng = np.random.default_rng(5)
    errors = [planned(rng, transfers).simulate().error for _ in range(200)]
    assert abs(statistics.median(errors)) <= 0.02
    assert np.mean(np.abs(errors) <= 0.1) >= 0.8
    if not transfers:
        assert min(errors) >= -1e-12


def test_a_plan_holds_in_flight_what_its_memory_counts():
    rng = np.random.default_rng(6)
    for _ in range(20):
        plan = planned(rng, transfers=True)
        assert plan.simulate().in_flight.tolist() == [stage.in_flight for stage in plan.stages]


def test_replicas_update_and_all_reduce_count():
    """Two replicas halve a microbatch of 4 examples, then all-reduce 8 bytes at 2 bytes/s and update."""
    problem = sp.Problem.from_arrays(
        [[1.0]], price=[1.0], gradients=[8.0], update=[3.0], link=[2.0], max_price=2.0,
        objective="throughput", schedule="gpipe", microbatches=5, batch=20,
    )  # fmt: skip
    plan = sp.Plan.of(problem, [0])
    assert plan.stages[0].replicas == 2
    run = plan.simulate()
    assert run.duration == pytest.approx(5 * 2 + 8 / 2 + 3)
    assert run.error == pytest.approx(0)
    assert run.busy == pytest.approx([10.0])


def test_known_backward_times_count():
    """A half of the time is the backward pass on one type; nothing is known of it in the other workload."""
    cluster = sp.Cluster(name="lab", types=[sp.DeviceType(name="gpu", price=1.0)])
    goal = sp.Goal(schedule="gpipe", microbatches=1, batch=1)
    for backward, mode, first in (({"gpu": 3.0}, "train", 3.0), ({}, "train", 2.0), ({}, "inference", 6.0)):
        layer = sp.Layer(name="body", compute={"gpu": 6.0}, backward=backward)
        workload = sp.Workload(name="net", layers=(layer,), mode=mode)
        plan = sp.Plan.of(sp.Problem(workload, cluster, goal), [0])
        assert plan.simulate().events[0].end == pytest.approx(first)
    assert plan.simulate(forward=0.25).events[0].end == 1.5


def test_listed_options_pass_through():
    problem = sp.Problem.from_options(
        2, price=[1.0], first=[0], last=[1], type=[0], devices=[2], time=[2.0], pass_time=[5.0],
        schedule="1f1b", microbatches=3, batch=3,
    )  # fmt: skip
    assert sp.Plan.of(problem, [0, 0]).simulate().predicted == 2 * 2.0 + 5.0
    assert sp.Plan.of(problem, [0, 0]).simulate().duration >= 9.0


def test_text_says_how_long_and_how_idle():
    problem = sp.Problem.from_arrays([[1.0], [2.0]], price=[1.0], split=True, max_devices_per_stage=1,
                                     schedule="1f1b", microbatches=4, batch=4)  # fmt: skip
    simulation = sp.Plan.of(problem, [0, 1]).simulate()
    assert simulation.bubble == pytest.approx([5 / 9, 1 / 9])
    text = str(simulation)
    assert text.splitlines()[0] == (
        "1f1b of 4 microbatches: an iteration takes 9 s, by the closed form 9 s (+0.0%)"
    )
    assert "55.6%" in text


def test_simulation_of_invalid_input_is_refused():
    plan = sp.Plan.of(sp.Problem.from_arrays([[1.0]], price=[1.0]), [0])
    with pytest.raises(ValueError, match=r"^goal\.schedule is None; it must be 'gpipe' or '1f1b'"):
        plan.simulate()
    plan = planned(np.random.default_rng(0))
    for forward in (0, 1.5):
        with pytest.raises(
            ValueError, match=rf"^forward is {forward}; it must be a finite number, more than 0"
        ):
            plan.simulate(forward)
    long = plan.problem.replace(microbatches=2**22, batch=2**22)
    with pytest.raises(ValueError, match=r"^the schedule has .* passes; it must have at most 4,194,304$"):
        sp.Plan.of(long, plan.scheme).simulate()


MEASURED = Path(__file__).parents[2] / "shared" / "measured" / "sailor_plans.json"


@pytest.mark.skipif(not MEASURED.exists(), reason="the measured training runs are not on this machine")
def test_iterations_of_measured_training_runs():
    """Pipelines of OPT-350 and GPT-Neo-2.7 on up to 16 machines: each stage a type, 4 devices a replica."""
    errors = []
    for run in json.loads(MEASURED.read_text()):
        count, replicas, examples = run["stages"], run["replicas"], run["examples_per_microbatch"]
        of_stage = np.eye(count) > 0
        sent = np.where(of_stage, np.array(run["transfer_seconds"]) / examples, 0.0)
        gradients = np.array(run["gradient_bytes"]) * (replicas > 1)
        reduced = 2 * (replicas - 1) / replicas * gradients.max()
        problem = sp.Problem.from_arrays(
            np.where(of_stage, np.array(run["compute_seconds"]) / examples, np.inf),
            price=np.ones(count), column_type=np.arange(count), column_degree=[4] * count,
            send=sent, receive=sent * (np.arange(count) == count - 1),
            update=run["update_seconds"], gradients=gradients,
            link=[reduced / (run["allreduce_seconds"] or 1.0) or 1.0] * count,
            objective="throughput", overlap=False, max_devices_per_stage=4 * replicas, same_replicas=True,
            schedule="1f1b", microbatches=run["microbatches"], batch=run["examples_per_iteration"],
        )  # fmt: skip
        plan = sp.Plan.of(problem, np.arange(count))
        assert {stage.replicas for stage in plan.stages} == {replicas}
        errors.append(plan.time * run["examples_per_iteration"] / run["measured_seconds"] - 1)
    assert statistics.median(map(abs, errors)) <= 0.09


@given(runs())
def test_transfers_follow_their_passes_one_after_another(run):
    events = run_schedule(**run)
    for stage in range(len(run["compute"])):
        own = sorted((event for event in events if event.stage == stage), key=lambda event: event.departure)
        for before, event in itertools.pairwise(own):
            assert event.departure >= before.arrival
        sizes = [event.arrival - event.departure for event in own]
        assert sum(sizes) == pytest.approx(run["microbatches"] * run["transfer"][stage], abs=1e-9)
