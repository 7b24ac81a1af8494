"""Why nothing fits: each suggested change is enough, and the smallest one where that is said."""

import json
from itertools import product
from math import inf, isclose, prod
from typing import Any

import numpy as np
import pytest
from conftest import Draw

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
    cheapest = problem.replace(objective="cost")
    return any(
        sp.Plan.of(cheapest, scheme).feasible
        for scheme in product(range(problem.n_labels), repeat=problem.n_layers)
    )


def lifted(problem: sp.Problem, limit: str) -> sp.Problem:
    """The problem without a limit; nothing may bound the throughput then."""
    return with_value(
        problem.replace(objective="cost"),
        limit,
        1e-9 if limit == "throughput" else 1_000_000 if "stage" in limit else inf,
    )


def a_step_nearer(change: sp.Change) -> float:
    if change.unit == "devices":
        return change.needed - 1
    return change.needed * (1 + 3e-6 if change.limit == "throughput" else 1 - 3e-6)


def small(draw: Draw, rng: np.random.Generator) -> sp.Problem:
    while True:
        fixed = {"max_price": float(rng.uniform(1, 9))} if rng.random() < 0.4 else {}
        problem, _ = draw(rng, max_layers=4, max_types=2, goals=True, limits=True, **fixed)
        labels = problem.goal.split and problem.goal.merge == "type"
        if not labels and problem.n_labels**problem.n_layers <= 81:
            return problem


def test_brute_force_agrees(draw: Draw) -> None:
    rng, seen, together, feasible = np.random.default_rng(31), set(), 0, 0
    for _ in range(160):
        problem = small(draw, rng)
        found = sp.repair(problem)
        if fits(problem):
            assert found == sp.Repair((), False)
            feasible += 1
            continue
        helping = {limit for limit in limits_of(problem) if fits(lifted(problem, limit))}
        assert found.together == (not helping)
        together += found.together
        if found.together:
            check_together(problem, found)
            continue
        assert {change.limit for change in found.changes} == helping
        for change in found.changes:
            check_alone(problem, change)
            seen.add(change.limit.partition(" of ")[0])
    assert seen == {"devices", "memory", *FIELDS}
    assert together > 3
    assert feasible > 10


def check_alone(problem: sp.Problem, change: sp.Change) -> None:
    assert change.proven
    assert change.plan.feasible
    changed = with_value(problem, change.limit, change.needed)
    assert change.plan.problem == changed
    assert sp.Plan.of(changed, change.plan.scheme).feasible
    if abs(change.needed / max(change.now, 1e-300) - 1) > 4e-6:
        assert not fits(with_value(problem, change.limit, a_step_nearer(change)))


def check_together(problem: sp.Problem, found: sp.Repair) -> None:
    changed = problem
    for change in found.changes:
        assert not change.proven
        changed = with_value(changed, change.limit, change.needed)
    if found.changes:
        assert sp.Plan.of(changed, found.changes[0].plan.scheme).feasible
        assert len(found.changes) > 1


# Examples by hand --------------------------------------------------------------------------------------


def example(**fixed: Any) -> sp.Problem:
    """One layer of 4 s on either type."""
    return sp.Problem.from_arrays(
        [[4.0, 4.0]], [1.0, 3.0], **{"limit": [2, 1], "examples": 3600.0, "min_throughput": 1.0} | fixed
    )


def changes(problem: sp.Problem) -> dict[str, float]:
    found = sp.repair(problem)
    assert not found.together
    assert all(change.proven for change in found.changes)
    return {change.limit: change.needed for change in found.changes}


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


def test_nothing_alone_helps() -> None:
    found = sp.repair(example(limit=[1, 1], max_cost=1.0))
    assert found.together
    assert {change.limit for change in found.changes} >= {"cost"}
    assert len(found.changes) > 1
    assert str(found).startswith(
        "no change of a single limit was found that would do; these together would:\n  "
    )


def test_a_larger_problem_is_repaired_within_its_work() -> None:
    rng = np.random.default_rng(5)
    problem = sp.Problem.from_arrays(
        rng.lognormal(0, 0.8, (40, 5)), rng.lognormal(0, 0.5, 5), limit=[4] * 5, min_throughput=3.0
    )
    found = sp.repair(problem)
    assert prod(change.plan.feasible for change in found.changes) == 1
    fastest = sp.solve(problem.replace(objective="throughput", min_throughput=None), "exact")
    (throughput,) = [change for change in found.changes if change.limit == "throughput"]
    assert throughput.needed <= fastest.plan.throughput * (1 + TIE)
    if throughput.proven and fastest.status == "optimal":
        assert isclose(throughput.needed, fastest.plan.throughput, rel_tol=3e-6)


# Texts -------------------------------------------------------------------------------------------------


def test_text_and_json() -> None:
    found = sp.repair(example())
    assert str(found).splitlines() == [
        "each of these changes alone would do:",
        "  devices of type0: 4 instead of 2 (the smallest change)",
        "  devices of type1: 4 instead of 1 (the smallest change)",
        "  throughput: 0.5 examples/s instead of 1 (the smallest change)",
    ]
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [change["needed"] for change in plain["changes"]][:2] == [4, 4]
    assert str(sp.repair(example(limit=None))) == "no change is needed"
    unproven = found.changes[0].__class__("price", 1.0, 2.0, "$/h", False, found.changes[0].plan)
    assert str(unproven) == "price: 2 $/h instead of 1 (enough, perhaps more than enough)"


def test_bad_arguments() -> None:
    with pytest.raises(TypeError, match=r"^problem is str; it must be a Problem"):
        sp.repair("p")  # type: ignore[arg-type]
