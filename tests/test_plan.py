"""One scheme, provisioned exactly: against the oracle, and consistent with itself."""

import json
import pickle
from math import inf, isclose
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference as ref
from conftest import Draw
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import open_problems, problems, schemes

import stageplan as sp

Arguments = dict[str, Any]


def devices(plan: sp.Plan) -> tuple[int, ...]:
    return tuple(stage.devices for stage in plan.stages)


def check(problem: sp.Problem, oracle: Any, scheme: list[int]) -> sp.Plan:
    plan, expected = sp.Plan.of(problem, scheme), ref.provision(oracle, scheme)
    assert devices(plan) == expected.devices
    assert [(s.label, s.layers) for s in plan.stages] == ref.stages(oracle, scheme)
    assert isclose(plan.cost, expected.score.cost, rel_tol=1e-8)
    assert isclose(plan.time, expected.score.tau, rel_tol=1e-8)
    assert isclose(plan.violation, expected.score.violation, rel_tol=1e-6)  # zeros agree exactly
    return plan


# Against the oracle ------------------------------------------------------------------------------------


def test_many_problems(draw: Draw) -> None:
    rng, feasible = np.random.default_rng(1), 0
    for _ in range(1000):
        problem, oracle = draw(rng)
        feasible += check(
            problem, oracle, rng.integers(0, problem.n_labels, problem.n_layers).tolist()
        ).feasible
    assert 100 < feasible < 900


def test_many_problems_without_limits(draw: Draw) -> None:
    """The more devices the less each of them helps, so that the oracle's walk ends too."""
    rng, most = np.random.default_rng(2), 0
    fixed: Arguments = {"parallel": True, "ties": False, "max_devices_per_stage": None, "split": False}
    for _ in range(300):
        problem, oracle = draw(rng, max_layers=3, objective="cost", limits=False, **fixed)
        plan = check(problem, oracle, rng.integers(0, problem.n_labels, problem.n_layers).tolist())
        most = max(most, *devices(plan))
    assert most > 20


@settings(max_examples=200)
@given(problems(), st.data())
def test_any_problem(arguments: Arguments, data: st.DataObject) -> None:
    problem = sp.Problem.from_arrays(**arguments)
    scheme = data.draw(schemes(problem.n_labels, problem.n_layers))
    check_fields(check(problem, ref.plain_problem(**arguments), scheme))


@given(open_problems(), st.data())
def test_any_problem_without_limits(arguments: Arguments, data: st.DataObject) -> None:
    problem = sp.Problem.from_arrays(**arguments)
    scheme = data.draw(schemes(problem.n_labels, problem.n_layers))
    check_fields(check(problem, ref.plain_problem(**arguments), scheme))


@pytest.mark.parametrize(
    ("compute", "alpha", "broken", "expected"),
    [
        ([[0, 9, 9], [9, 4, 9], [9, 9, 4]], 1.0, {"max_cost": 2}, ((1, 4, 4), 8, 3)),
        ([[1, 9, 9], [9, 8, 9], [9, 9, 8]], 0.5, {"limit": [0, 9, 9]}, ((1, 4, 4), 40, 1)),
    ],
)
def test_fastest_of_the_infeasible(compute: Any, alpha: float, broken: Arguments, expected: Any) -> None:
    """The limit is broken as much by any count of the two equal stages, of which four are fastest."""
    fixed: Arguments = {"objective": "throughput", "examples": 3600, "max_devices_per_stage": 4}
    problem = sp.Problem.from_arrays(compute, [0, 1, 1], compute_parallel=alpha, **fixed, **broken)
    plan = sp.Plan.of(problem, [0, 1, 2])
    assert (devices(plan), plan.cost, plan.violation) == expected


def test_agrees_with_evaluate(draw: Draw) -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        problem, _ = draw(rng)
        population = rng.integers(0, problem.n_labels, (2, problem.n_layers), dtype=np.int8)
        scores = sp.evaluate(problem, population)
        for i, scheme in enumerate(population):
            plan = sp.Plan.of(problem, scheme)
            assert (plan.cost, plan.throughput, plan.violation) == tuple(x[i] for x in scores[:3])
            assert scores.price is None or plan.price == scores.price[i]


# Fields ------------------------------------------------------------------------------------------------


def check_fields(plan: sp.Plan) -> None:
    p = plan.problem
    for s in plan.stages:
        type_ = int(p.label_types[s.label])
        assert s.type == p.type_names[type_]
        assert isclose(s.time, max(s.compute, s.transfer) if p.goal.overlap else s.compute + s.transfer)
        assert isclose(s.memory, p.memory[list(s.layers)].sum() + ref.workspace(p, s), rel_tol=1e-12)
        assert s.price == p.price[type_] * s.devices
        assert s.bottleneck == (s.time == plan.time)
    assert sorted(x for s in plan.stages for x in s.layers) == list(range(p.n_layers))
    assert isclose(plan.price, p.fixed_price + sum(s.price for s in plan.stages))
    assert plan.throughput == (1 / plan.time if plan.time else inf)
    assert plan.duration == p.goal.examples * plan.time
    assert isclose(plan.cost, plan.duration / 3600 * plan.price)
    check_violations(plan)


def relative(v: sp.Violation) -> float:
    if v.limit == "throughput":
        return v.allowed / v.value - 1
    return v.excess / (max(v.allowed, 1) if v.unit in ("devices", "layers") else v.allowed)


def check_violations(plan: sp.Plan) -> None:
    """Compare the violations with their sum; of throughput and duration, the stricter one counts."""
    assert plan.feasible == (plan.violation == 0) == (not plan.violations)
    assert all(v.excess == abs(v.value - v.allowed) > 0 for v in plan.violations)
    assert len({v.limit for v in plan.violations}) == len(plan.violations)
    speed = [relative(v) for v in plan.violations if v.limit in ("throughput", "duration")]
    others = [relative(v) for v in plan.violations if v.limit not in ("throughput", "duration")]
    assert isclose(plan.violation, sum(others) + max(speed, default=0), rel_tol=1e-6)


def test_fields_of_many_problems(draw: Draw) -> None:
    rng, broken = np.random.default_rng(4), set()
    for _ in range(500):
        problem, _ = draw(rng, goals=True)
        plan = sp.Plan.of(problem, rng.integers(0, problem.n_labels, problem.n_layers))
        check_fields(plan)
        broken |= {v.limit.split()[0].rstrip("0123") for v in plan.violations}
    assert broken == {"throughput", "duration", "cost", "price", "devices", "memory", "type"}


def infeasible() -> sp.Plan:
    """Break every limit: two stages, 2 and 4 devices, at one second an example."""
    stages: Arguments = {"memory": [3, 5, 2], "capacity": [2, 4], "limit": [1, 4], "max_devices_per_stage": 4}
    goal: Arguments = {"min_throughput": 1, "max_duration": 3600, "max_cost": 6, "max_price": 4}
    compute = [[2, inf], [inf, 4], [inf, 0]]
    problem = sp.Problem.from_arrays(compute, [1, 2], fixed_price=2, examples=7200, **stages, **goal)
    return sp.Plan.of(problem, [0, 1, 0])


def test_violations_by_hand() -> None:
    """Half a second is asked for, and layer 1 cannot reach it; layer 2 cannot run where it is."""
    plan = infeasible()
    assert devices(plan) == (2, 4, 1)
    assert (plan.time, plan.price, plan.cost) == (1, 13, 26)
    assert {v.limit: (v.value, v.allowed, v.excess) for v in plan.violations} == {
        "duration": (7200, 3600, 3600),
        "cost": (26, 6, 20),
        "price": (13, 4, 9),
        "devices of type0": (3, 1, 2),
        "memory of stage 1 on type0": (3, 2, 1),
        "memory of stage 2 on type1": (5, 4, 1),
        "type0 cannot run layer2": (1, 0, 1),
    }
    assert isclose(plan.violation, 1 + 20 / 6 + 9 / 4 + 2 + 1 / 2 + 1 / 4 + 1)


def feasible() -> sp.Plan:
    alpha = [[0.5, 1], [1, 1]]
    problem = sp.Problem.from_arrays([[4, 9], [9, 6]], [3, 1], fixed_price=2, compute_parallel=alpha)
    return sp.Plan.of(problem, [0, 1])


# As values ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [feasible(), infeasible()], ids=["feasible", "infeasible"])
def test_pickle_and_equality(plan: sp.Plan) -> None:
    again = pickle.loads(pickle.dumps(plan))
    other = sp.Plan.of(plan.problem, np.zeros_like(plan.scheme))
    assert again == plan
    assert hash(again) == hash(plan)
    assert str(again) == str(plan)
    assert again.stages == plan.stages
    assert other != plan
    assert plan != "a plan"


def test_immutable() -> None:
    plan, scheme = feasible(), np.array([0, 1], np.int8)
    with pytest.raises(AttributeError):
        plan.cost = 0  # type: ignore[misc]
    with pytest.raises(AttributeError):
        plan.stages[0].devices = 1  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        plan.scheme[0] = 1
    mine = sp.Plan.of(plan.problem, scheme)
    scheme[0] = 1
    assert mine == plan


@pytest.mark.parametrize("plan", [feasible(), infeasible()], ids=["feasible", "infeasible"])
def test_to_dict_survives_json(plan: sp.Plan) -> None:
    plain = plan.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert sp.Plan.of(plan.problem, plain["scheme"]) == plan
    assert plain["stages"][1]["layers"] == ["layer1"]
    assert [v["limit"] for v in plain["violations"]] == [v.limit for v in plan.violations]


def test_str() -> None:
    text = str(feasible())
    marked = [line.split()[1] for line in text.splitlines() if line.endswith("<- bottleneck")]
    assert marked == [s.type for s in feasible().stages if s.bottleneck] == ["type0"]
    assert text.splitlines()[-1] == "feasible"


def test_str_of_an_infeasible_plan() -> None:
    plan = infeasible()
    text = str(plan)
    assert text.count("<- bottleneck") == 2
    reasons = text.split("NOT feasible:\n")[1]
    broken, met = [f"  {v}" for v in plan.violations], ["  throughput: 1 examples/s, allowed 1, met"]
    assert reasons.splitlines() == broken + met
    assert "cost: 26 $, allowed 6, 20 over" in reasons


# What is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "error", "text"),
    [
        ([0, 2], ValueError, r"^scheme\[1\] is 2; it must be a label from 0 to 1$"),
        ([-1, 0], ValueError, r"^scheme\[0\] is -1; it must be a label from 0 to 1$"),
        ([0], ValueError, r"^scheme has shape \(1,\); it must be \(2,\)$"),
        ([[0, 1]], ValueError, r"^scheme has shape \(1, 2\); it must be \(2,\)$"),
        ([[0], [0, 1]], ValueError, "^scheme is ragged; it must be"),
        ([0.0, 1.0], TypeError, "^scheme has dtype float64; it must be whole numbers$"),
        ([True, False], TypeError, "^scheme has dtype bool; it must be whole numbers$"),
        (None, TypeError, "^scheme has dtype object; it must be whole numbers$"),
    ],
)
def test_bad_schemes(scheme: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        sp.Plan.of(feasible().problem, scheme)


# Shared weights ----------------------------------------------------------------------------------------


def tied(scheme: list[int]) -> sp.Plan:
    layers = tuple(sp.Layer(name=name, compute={"x": 1.0, "y": 1.0}) for name in ("a", "b\x1b[2J", "c"))
    workload = sp.Workload(name="net", layers=layers, ties=(("a", "c"),))
    types = (sp.DeviceType(name="x", price=1.0), sp.DeviceType(name="y", price=1.0))
    return sp.Plan.of(sp.Problem(workload, sp.Cluster(name="two", types=types)), scheme)


def test_cut_ties() -> None:
    assert tied([0, 0, 0]).cut_ties == ()
    assert tied([0, 0, 1]).cut_ties == (("a", "c"),)
    assert "a & c share weights but not a stage" in str(tied([0, 1, 0]))


def test_names_do_not_command_the_terminal() -> None:
    assert "\x1b" not in str(tied([0, 1, 0]))


def test_repr_is_one_line() -> None:
    problem = sp.Problem.from_arrays([[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0], examples=3600, max_price=3)
    assert repr(sp.Plan.of(problem, [1, 0])) == (
        "<Plan of arrays: 2 stages, $4, 1 examples/s, $4/h, not feasible>"
    )
    assert repr(sp.Plan.of(problem.replace(limit=[1, 1]), [0, 0])) == (
        "<Plan of arrays: 1 stage, $5, 0.2 examples/s, $1/h, feasible>"
    )


# Files ---------------------------------------------------------------------------------------------------


def saved_plan(tmp_path: Path) -> tuple[sp.Plan, Path]:
    problem = sp.Problem.from_arrays([[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0], layer_names=["a", "b"])
    plan = sp.Plan.of(problem, [1, 0])
    plan.save(tmp_path / "plan.json")
    return plan, tmp_path / "plan.json"


def test_a_saved_plan_is_loaded_for_its_problem(tmp_path: Path) -> None:
    plan, path = saved_plan(tmp_path)
    assert json.loads(path.read_text()) == plan.to_dict()
    assert sp.Plan.load(path, plan.problem) == plan
    dearer = plan.problem.replace(price=[2.0, 6.0])
    assert sp.Plan.load(str(path), dearer).cost == 2 * plan.cost


def test_a_plan_is_not_loaded_for_other_problems(tmp_path: Path) -> None:
    plan, path = saved_plan(tmp_path)
    with pytest.raises(ValueError, match=r"plan.json: its labels are those of a plan with no split"):
        sp.Plan.load(path, plan.problem.replace(split=True))
    longer = sp.Problem.from_arrays([[1.0, 1.0]] * 3, price=[1.0, 3.0])
    with pytest.raises(ValueError, match=r"plan.json: the plan is of arrays with 2 layers; arrays has 3$"):
        sp.Plan.load(path, longer)
    with pytest.raises(TypeError, match=r"^problem is Plan; it must be a Problem$"):
        sp.Plan.load(path, plan)  # type: ignore[arg-type]


def test_a_plan_file_is_read_without_its_problem(tmp_path: Path) -> None:
    plan, path = saved_plan(tmp_path)
    saved = sp.read_plan(path)
    assert (saved.scheme, saved.goal, saved.feasible) == ((1, 0), plan.problem.goal, True)
    assert [(stage.type, stage.layers, stage.devices) for stage in saved.stages] == [
        ("type1", ("a",), 1),
        ("type0", ("b",), 1),
    ]


def test_an_earlier_plan_stays_where_writing_fails(tmp_path: Path) -> None:
    plan, path = saved_plan(tmp_path)
    with pytest.raises(OSError, match="absent"):
        plan.save(tmp_path / "absent" / "plan.json")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
