"""Each suggested change is sufficient, and the smallest one if it is marked as such."""

import importlib
import json
import math
from collections.abc import Iterable
from itertools import product
from math import inf, isclose
from typing import Any

import numpy as np
import pytest
from conftest import Draw
from strategies import redraw

import stageplan as sp

TIE = 1e-8
FIELDS = {
    "devices per stage": "max_devices_per_stage",
    "throughput": "min_throughput",
    "duration": "max_duration",
    "price": "max_price",
    "cost": "max_cost",
}


def with_value(problem: sp.Problem, limit: str, value: float) -> sp.Problem:
    """Change a limit as a user would."""
    kind, _, name = limit.partition(" of ")
    if name:
        field = {"devices": "limit", "memory": "capacity"}[kind]
        array = getattr(problem, field).copy()
        array[problem.type_names.index(name)] = value
        return problem.replace(**{field: array})
    whole = limit == "devices per stage"
    return problem.replace(**{FIELDS[limit]: None if value == inf else int(value) if whole else value})


def limits_of(problem: sp.Problem) -> list[str]:
    names = []
    for field, kind in (("limit", "devices"), ("capacity", "memory")):
        names += [
            f"{kind} of {name}"
            for name, value in zip(problem.type_names, getattr(problem, field), strict=True)
            if np.isfinite(value)
        ]
    return names + [limit for limit, field in FIELDS.items() if getattr(problem.goal, field) is not None]


def fits(problem: sp.Problem) -> bool:
    """Whether a plan fits, by brute force over schemes."""
    schemes = np.array(list(product(range(problem.n_labels), repeat=problem.n_layers)), np.int8)
    return bool((sp.evaluate(problem.replace(objective="cost"), schemes).violation == 0).any())


def lifted(problem: sp.Problem, limit: str) -> sp.Problem:
    """The problem without a limit; nothing may bound the throughput then."""
    return with_value(
        problem.replace(objective="cost"),
        limit,
        1e-9 if limit == "throughput" else 1000 if "stage" in limit else inf,
    )


def a_step_nearer(change: sp.Change) -> float:
    if change.unit == "devices":
        return change.needed - 1
    return change.needed * (1 + 3e-6 if change.limit == "throughput" else 1 - 3e-6)


def changed(problem: sp.Problem, changes: Iterable[sp.Change]) -> sp.Problem:
    for change in changes:
        problem = with_value(problem, change.limit, change.needed)
    return problem


def lifted_all(problem: sp.Problem, limits: Iterable[str]) -> sp.Problem:
    for limit in limits:
        problem = lifted(problem, limit)
    return problem


def small(draw: Draw, rng: np.random.Generator) -> sp.Problem:
    def drawn() -> sp.Problem:
        fixed = {"max_price": float(rng.uniform(1, 9))} if rng.random() < 0.4 else {}
        return draw(rng, max_layers=4, max_types=2, goals=True, limits=True, **fixed)[0]

    def small_enough(problem: sp.Problem) -> bool:
        labels = problem.goal.split and problem.goal.merge == "type"
        return not labels and problem.n_labels**problem.n_layers <= 81

    return redraw(drawn, small_enough)


def test_brute_force_agrees(draw: Draw) -> None:
    rng, seen, together, feasible = np.random.default_rng(31), set(), 0, 0
    for _ in range(80):
        problem = small(draw, rng)
        found = sp.repair(problem)
        assert found.feasible == fits(problem)
        if found.feasible:
            assert found == sp.Repair(True)
            feasible += 1
            continue
        limits = limits_of(problem)
        helping = {limit for limit in limits if fits(lifted(problem, limit))}
        alone = [s.changes[0] for s in found.suggestions if len(s.changes) == 1]
        assert {change.limit for change in alone} == helping
        seen |= {change.limit.partition(" of ")[0] for change in alone}
        for suggestion in found.suggestions:
            check(problem, suggestion)
        combined = [s for s in found.suggestions if len(s.changes) > 1]
        together += len(combined)
        if not helping:
            assert bool(combined) == fits(lifted_all(problem, limits))
        assert not combined or all(limit.startswith("memory") for limit in helping)
        check_order(found)
    assert seen == {"devices", "memory", *FIELDS}
    assert together > 4
    assert feasible > 4


def check(problem: sp.Problem, suggestion: sp.Suggestion) -> None:
    """The changes are sufficient; slightly less of any, or without one of them, they are not."""
    changes = suggestion.changes
    enough = changed(problem, changes)
    assert suggestion.plan.problem == enough
    assert sp.Plan.of(enough, suggestion.plan.scheme).feasible
    assert suggestion.proven
    for change in changes:
        others = [other.limit for other in changes if other is not change]
        assert not fits(lifted_all(problem, others))
        if change.factor > 1 + 4e-6:
            assert not fits(with_value(enough, change.limit, a_step_nearer(change)))


def check_order(found: sp.Repair) -> None:
    """What needs other devices comes last, and else the smallest relative change first."""
    keys = [(s.physical, max(change.factor for change in s.changes)) for s in found.suggestions]
    assert keys == sorted(keys)
    for suggestion in found.suggestions:
        assert suggestion.physical == any(c.limit.startswith("memory of ") for c in suggestion.changes)


def test_the_largest_relative_change_of_a_combination_is_the_smallest(draw: Draw) -> None:
    rng, seen = np.random.default_rng(8), 0
    for _ in range(300):
        problem = small(draw, rng)
        for suggestion in sp.repair(problem).suggestions:
            factor = max(change.factor for change in suggestion.changes)
            if len(suggestion.changes) > 1 and factor > 1 + 1e-5:
                seen += 1
                assert not fits(grown(problem, suggestion.changes, factor * (1 - 4e-6)))
        if seen >= 6:
            return
    pytest.fail(f"only {seen} combinations in 300 problems")


def grown(problem: sp.Problem, changes: Iterable[sp.Change], factor: float) -> sp.Problem:
    for change in changes:
        if change.unit == "devices":
            value = change.now + math.floor(max(change.now, 1) * (factor - 1))
        else:
            value = change.now / factor if change.limit == "throughput" else change.now * factor
        problem = with_value(problem, change.limit, value)
    return problem


# Examples by hand --------------------------------------------------------------------------------------


def example(**fixed: Any) -> sp.Problem:
    """One layer of 4 s on either type."""
    return sp.Problem.from_arrays(
        [[4.0, 4.0]], [1.0, 3.0], **{"limit": [2, 1], "examples": 3600.0, "min_throughput": 1.0} | fixed
    )


def changes(problem: sp.Problem) -> dict[str, float]:
    found = sp.repair(problem)
    assert all(suggestion.proven for suggestion in found.suggestions)
    return {change.limit: change.needed for (change,) in (s.changes for s in found.suggestions)}


def test_each_limit_by_hand() -> None:
    assert changes(example()) == {
        "devices of type0": 4,
        "devices of type1": 4,
        "throughput": pytest.approx(0.5, rel=2e-6),
    }
    one = {"max_devices_per_stage": 1, "limit": [9, 9]}
    assert changes(example(**one)) == {"devices per stage": 4, "throughput": pytest.approx(0.25, rel=2e-6)}
    money = {"limit": [9, 9], "max_price": 3.0, "max_cost": 1e9}
    assert changes(example(**money)) == {
        "price": pytest.approx(4.0, rel=2e-6),
        "throughput": pytest.approx(0.75, rel=2e-6),
    }
    memory = {"limit": None, "memory": [8.0], "capacity": [4.0, 5.0]}
    assert changes(example(**memory)) == {
        "memory of type0": pytest.approx(8.0, rel=2e-6),
        "memory of type1": pytest.approx(8.0, rel=2e-6),
    }
    cost = {"limit": None, "max_cost": 3.0}
    assert changes(example(**cost)) == {"cost": pytest.approx(4.0, rel=2e-6)}
    slow = {"min_throughput": None, "max_duration": 3600.0}
    assert changes(example(**slow))["duration"] == pytest.approx(7200.0, rel=2e-6)


def test_a_layer_that_no_type_with_devices_can_run() -> None:
    problem = sp.Problem.from_arrays([[1.0, inf], [inf, 1.0]], [1.0, 1.0], limit=[5, 0])
    assert changes(problem) == {"devices of type1": 1}


def test_two_limits_that_are_broken_far() -> None:
    """One device costs 1 $/h and takes 4 hours: nearer than that, neither limit can be."""
    found = sp.repair(example(limit=None, min_throughput=None, max_cost=0.01, max_price=0.5))
    (suggestion,) = found.suggestions
    assert suggestion.proven
    assert not suggestion.physical
    assert {c.limit: (c.now, c.needed) for c in suggestion.changes} == {
        "price": (0.5, pytest.approx(1.0, rel=2e-6)),
        "cost": (0.01, pytest.approx(4.0, rel=2e-6)),
    }
    assert str(found).splitlines() == [
        "each of these lines is sufficient, with all its changes together:",
        "  price: 1 $/h instead of 0.5 and cost: 4 $ instead of 0.01 (the smallest change)",
    ]


def test_more_memory_than_a_device_has_comes_last() -> None:
    """Only the dear type holds the layer, unless the cheap one had more memory."""
    memory = {"limit": [9, 9], "memory": [8.0], "capacity": [4.0, 9.0], "max_price": 4.0}
    found = sp.repair(example(**memory))
    assert [s.physical for s in found.suggestions] == [False, False, True]
    assert [s.changes[0].limit for s in found.suggestions] == ["price", "throughput", "memory of type0"]
    assert str(found.suggestions[-1]) == (
        "memory of type0: 8 bytes instead of 4 (the smallest change; requires devices with more memory)"
    )


def test_where_more_memory_alone_is_enough_other_limits_are_combined() -> None:
    """The type with enough memory has no devices, and is too dear."""
    memory = {"limit": [9, 0], "memory": [8.0], "capacity": [4.0, 9.0], "max_price": 4.0}
    found = sp.repair(example(**memory))
    limits = [tuple(change.limit for change in s.changes) for s in found.suggestions]
    assert limits[-1] == ("memory of type0",)
    assert ("devices of type1", "price") in limits
    assert [s.physical for s in found.suggestions] == [False] * (len(limits) - 1) + [True]


def scheduled(**fields: Any) -> sp.Problem:
    """Draw one stage that keeps 8 bytes, and 2 of each example in flight; the device has 12."""
    fields = {"schedule": "1f1b", "microbatches": 2, "batch": 8, "limit": [1], "capacity": [12.0]} | fields
    layers = 4
    return sp.Problem.from_arrays(
        np.ones((layers, 1)), [1.0], memory=np.full(layers, 2.0), activations=np.full(layers, 0.5), **fields
    )


def test_memory_of_what_is_in_flight() -> None:
    """Half of the 8 bytes in flight fit: with half of the activations, or of the examples a microbatch."""
    found = sp.repair(scheduled())
    assert str(found).splitlines()[1:] == [
        "  devices of type0: 2 instead of 1 (the smallest change)",
        "  activations: 50 % instead of 100 (the smallest change; by recomputation, which takes more time)",
        "  microbatches: 4 instead of 2 (the smallest change)",
        "  memory of type0: 16 bytes instead of 12 (the smallest change; requires devices with more memory)",
    ]
    for suggestion in found.suggestions:
        assert suggestion.plan.feasible
        assert suggestion.plan.stages[0].memory == pytest.approx(16 if suggestion.physical else 12)
        assert sp.evaluate(suggestion.plan.problem, suggestion.plan.scheme[None]).violation[0] == 0


def test_fewer_microbatches_have_room_for_more_replicas() -> None:
    """With GPipe all 4 examples are in flight, unless a second replica takes half of each microbatch."""
    fields = {"schedule": "gpipe", "microbatches": 4, "batch": 4, "limit": [2]}
    assert changes(scheduled(**fields)) == {
        "microbatches": 2,
        "activations": pytest.approx(50, rel=2e-6),
        "memory of type0": pytest.approx(16, rel=2e-6),
    }
    assert set(changes(scheduled(**(fields | {"limit": [1]})))) == {"activations", "memory of type0"}


def test_activations_of_strategies_and_without_a_schedule() -> None:
    """The second strategy keeps half of the activations: 12 of the 16 bytes that the first one needs."""
    strategies: dict[str, Any] = {"column_type": [0, 0], "column_degree": [1, 1], "capacity": [10.0]}
    problem = sp.Problem.from_arrays(
        np.ones((4, 2)),
        [1.0],
        memory=np.full(4, 2.0),
        activations=np.tile([2.0, 1.0], (4, 1)),
        limit=[1],
        batch=1,
        **strategies,
    )
    assert changes(problem) == {
        "activations": pytest.approx(50, rel=2e-6),
        "memory of type0": pytest.approx(12, rel=2e-6),
    }


def test_number_of_stages() -> None:
    problem = sp.Problem.from_arrays([[1.0, inf], [inf, 1.0]], [1.0, 1.0], max_stages=1)
    (suggestion,) = sp.repair(problem).suggestions
    assert str(suggestion) == "stages: 2 instead of 1 (the smallest change)"


def test_no_change_of_limits_is_enough() -> None:
    """A layer needs a type that has no devices, and whose devices are labels, which are left as they are."""
    compute = [[1.0, inf], [inf, 1.0]]
    problem = sp.Problem.from_arrays(compute, [1.0, 1.0], limit=[5, 0], split=True, merge="type")
    found = sp.repair(problem)
    assert found == sp.Repair(False)
    assert str(found) == "no sufficient change of the limits was found"


@pytest.mark.parametrize("value", [1 / 3, 2 / 3, 123456.7891, 1e-7 / 3, 3e15 + 1])
def test_a_value_is_enough_as_it_is_printed(value: float) -> None:
    problem = sp.Problem.from_arrays([[1.0]], [value], limit=[1], max_price=value / 2)
    ((change,),) = (s.changes for s in sp.repair(problem).suggestions)
    printed = float(f"{change.needed:.7g}")
    assert printed == change.needed
    assert value <= printed <= value * (1 + 2e-6)
    assert fits(problem.replace(max_price=printed))


def test_a_larger_problem_is_repaired_within_its_work() -> None:
    rng = np.random.default_rng(5)
    problem = sp.Problem.from_arrays(
        rng.lognormal(0, 0.8, (40, 5)), rng.lognormal(0, 0.5, 5), limit=[4] * 5, min_throughput=3.0
    )
    found = sp.repair(problem)
    assert all(suggestion.plan.feasible for suggestion in found.suggestions)
    fastest = sp.solve(problem.replace(objective="throughput", min_throughput=None), "exact")
    (throughput,) = [s for s in found.suggestions if s.changes[0].limit == "throughput"]
    needed = throughput.changes[0].needed
    assert needed <= fastest.plan.throughput * (1 + TIE)
    if throughput.proven and fastest.status.startswith("optimal"):
        assert isclose(needed, fastest.plan.throughput, rel_tol=3e-6)


def test_combinations_of_a_larger_problem() -> None:
    rng = np.random.default_rng(5)
    limits = {"limit": [4] * 5, "min_throughput": 3.0, "max_price": 1.0, "max_cost": 0.1}
    problem = sp.Problem.from_arrays(rng.lognormal(0, 0.8, (20, 5)), rng.lognormal(0, 0.5, 5), **limits)
    found = sp.repair(problem)
    assert found.suggestions
    for suggestion in found.suggestions:
        assert len(suggestion.changes) > 1
        enough = changed(problem, suggestion.changes)
        assert sp.solve(enough, initial=suggestion.plan.scheme[None]).plan.feasible


# Time ------------------------------------------------------------------------------------------------------


class Clock:
    """Seconds that pass only with calls, one each."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += 1
        return self.now


@pytest.mark.parametrize("merge", ["adjacent", "type"])
def test_a_time_limit_ends_the_search_for_changes(merge: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever it comes: what has been found by then is sufficient."""
    monkeypatch.setattr(importlib.import_module("stageplan.repair"), "time", Clock())
    problem = example(merge=merge)
    counts, stopped = [], []
    for seconds in (0, 1, 4, 16, 64, 10**9):
        found = sp.repair(problem, max_runtime=seconds)
        assert not found.feasible
        for suggestion in found.suggestions:
            assert sp.Plan.of(changed(problem, suggestion.changes), suggestion.plan.scheme).feasible
        counts.append(len(found.suggestions))
        stopped.append(found.stopped)
    assert counts == sorted(counts)
    assert stopped == sorted(stopped, reverse=True)
    assert any(0 < count < counts[-1] for count in counts)
    assert (counts[0], stopped[0], stopped[-1]) == (0, True, False)
    assert found.suggestions == sp.repair(problem).suggestions


def test_no_time_is_said() -> None:
    assert str(sp.repair(example(), max_runtime=0)) == (
        "no sufficient change of the limits was found in the time given"
    )


# Texts -------------------------------------------------------------------------------------------------


def test_text_and_json() -> None:
    found = sp.repair(example())
    assert str(found).splitlines() == [
        "each of these changes alone is sufficient:",
        "  devices of type0: 4 instead of 2 (the smallest change)",
        "  throughput: 0.5 examples/s instead of 1 (the smallest change)",
        "  devices of type1: 4 instead of 1 (the smallest change)",
    ]
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [s["changes"][0]["needed"] for s in plain["suggestions"]] == [4, 0.5, 4]
    assert (
        str(sp.repair(example(limit=None))) == "no change is required: there is a plan that meets all limits"
    )
    change = sp.Change("price", 1.0, 2.0, "$/h")
    unproven = sp.Suggestion((change,), False, False, found.suggestions[0].plan)
    assert str(unproven) == "price: 2 $/h instead of 1 (a smaller change may be sufficient)"


def test_bad_arguments() -> None:
    with pytest.raises(TypeError, match=r"^problem is str; it must be a Problem"):
        sp.repair("p")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^max_runtime is -1; it must be a finite number, at least 0"):
        sp.repair(example(), max_runtime=-1)
