"""Plans checked from the definitions: right ones pass, and each wrong number is named."""

import dataclasses
import math
import re
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
import reference as ref
from conftest import Draw
from hypothesis import given, settings
from hypothesis import strategies as st

import stageplan as sp


def test_plans_are_what_they_say(draw: Draw) -> None:
    rng, feasible = np.random.default_rng(21), 0
    for _ in range(150):
        problem, oracle = draw(rng)
        scheme = rng.integers(0, problem.n_labels, problem.n_layers)
        plan = sp.Plan.of(problem, scheme)
        found = sp.verify(problem, plan)
        score = ref.score(oracle, scheme.tolist(), tuple(stage.devices for stage in plan.stages))
        assert found.cost == pytest.approx(score.cost, rel=1e-9)
        assert found.feasible == (score.violation == 0) == plan.feasible
        feasible += found.feasible
    assert 10 < feasible < 140


def test_the_best_plan() -> None:
    problem = sp.Problem.from_arrays(np.ones((4, 2)), [1.0, 1.5], limit=[2, 2], min_throughput=0.5)
    result = sp.solve(problem)
    assert sp.verify(problem, result.plan) == (
        result.plan.cost,
        result.plan.throughput,
        result.plan.price,
        True,
    )


def example() -> sp.Plan:
    problem = sp.Problem.from_arrays(
        [[2.0, 1.0], [2.0, 4.0]], [1.0, 2.0], min_throughput=1.0, limit=[9, 9], memory=[1.0, 2.0]
    )
    return sp.Plan.of(problem, [1, 0])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"cost": 1.0}, "plan.cost is 1; recomputed it is "),
        ({"duration": 1.0}, "plan.duration is 1; recomputed it is 1000000"),
        ({"throughput": 2.0}, "plan.throughput is 2; recomputed it is 1"),
        ({"price": 2.0}, "plan.price is 2; recomputed it is 4"),
        ({"violation": 1.0}, "plan.violations name 0 limits; broken are: none"),
        ({"scheme": np.array([1, 1], np.int8)}, "plan.stages are not the stages of plan.scheme"),
        ({"scheme": np.array([1, 2], np.int8)}, "plan.scheme is not a scheme of arrays"),
    ],
    ids=str,
)
def test_wrong_numbers_of_a_plan(changes: dict[str, Any], text: str) -> None:
    plan = example()
    sp.verify(plan.problem, plan)
    with pytest.raises(ValueError, match="^" + re.escape(text)):
        sp.verify(plan.problem, dataclasses.replace(plan, **changes))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"devices": 0}, ".devices is 0; it must be 1 or more"),
        ({"devices": 3}, ".compute is 1; recomputed it is 0.666666666667"),
        ({"time": 0.5}, ".time is 0.5; recomputed it is 1"),
        ({"memory": 5.0}, ".memory is 5; recomputed it is 2"),
        ({"price": 5.0}, ".price is 5; recomputed it is 2"),
        ({"type": "type1"}, ".type is 'type1'; its label is of type 'type0'"),
        ({"bottleneck": False}, ".bottleneck is False; the slowest stage takes 1 s"),
        (
            {"devices": 4, "compute": 0.5, "time": 0.5, "price": 4.0, "bottleneck": False},
            ".devices is 4; one less",
        ),
    ],
    ids=str,
)
def test_wrong_numbers_of_a_stage(changes: dict[str, Any], text: str) -> None:
    plan = example()
    stage = msgspec.structs.replace(plan.stages[1], **changes)
    with pytest.raises(ValueError, match="^" + re.escape("plan.stages[1]" + text)):
        sp.verify(plan.problem, dataclasses.replace(plan, stages=(plan.stages[0], stage)))


def test_a_limit_that_the_plan_does_not_name() -> None:
    plan = example()
    tighter = sp.Problem.from_arrays(
        [[2.0, 1.0], [2.0, 4.0]], [1.0, 2.0], min_throughput=1.0, limit=[1, 9], memory=[1.0, 2.0]
    )
    with pytest.raises(ValueError, match=r"^plan.violations name 0 limits; broken are: devices of type0"):
        sp.verify(tighter, plan)


@pytest.mark.parametrize(
    ("problem", "plan"), [("p", example()), (example().problem, [0, 1])], ids=["p", "plan"]
)
def test_other_types_are_refused(problem: Any, plan: Any) -> None:
    with pytest.raises(TypeError, match=r"it must be a P(roblem|lan)$"):
        sp.verify(problem, plan)


# At the edge of the tolerance --------------------------------------------------------------------------

VALUES = {
    "max_cost": "cost",
    "max_duration": "duration",
    "max_price": "price",
    "min_throughput": "throughput",
}


def all_agree(arguments: dict[str, Any], scheme: npt.NDArray[np.int8], to_the_last_bit: bool = False) -> bool:
    """Whether a scheme has a feasible plan, which core, `Plan`, `verify` and the oracle must agree on.

    The oracle adds up layers in another way, and is not asked where the last bit of a sum decides.
    """
    problem = sp.Problem.from_arrays(**arguments)
    plan = sp.Plan.of(problem, scheme)
    assert plan.feasible == (not plan.violations)
    assert sp.verify(problem, plan).feasible == plan.feasible
    assert (sp.evaluate(problem, plan.scheme[None]).violation[0] == 0) == plan.feasible
    if not to_the_last_bit:
        oracle = ref.provision(ref.plain_problem(**arguments), scheme.tolist())
        assert (oracle.score.violation == 0) == plan.feasible
    return plan.feasible


def draw_edge(rng: np.random.Generator, **fixed: Any) -> tuple[dict[str, Any], npt.NDArray[np.int8], sp.Plan]:
    """Draw arguments of a problem, a scheme, and its plan, which is feasible."""
    layers, types = rng.integers(1, 5), rng.integers(1, 4)
    arguments = {
        "compute": rng.uniform(0.1, 3, (layers, types)),
        "price": rng.uniform(0.1, 3, types),
        "send": rng.uniform(0, 1, (layers, types)),
        "memory": rng.uniform(0.1, 3, layers),
        "compute_parallel": 0.9,
        "fixed_price": 0.3,
        "examples": float(rng.uniform(1, 1e7)),
        "merge": str(rng.choice(["adjacent", "type"])),
    } | fixed
    scheme = rng.integers(0, types, layers).astype(np.int8)
    return arguments, scheme, sp.Plan.of(sp.Problem.from_arrays(**arguments), scheme)


@pytest.mark.parametrize("limit", [*VALUES, "capacity"])
@pytest.mark.parametrize("rest", [1e-9, -1e-9, 1e-12, -1e-12, 0.0])
def test_core_plan_verify_and_oracle_agree_at_the_edge_of_a_limit(limit: str, rest: float) -> None:
    """One formula decides: the core's violation, the plan's list, and the check of both are of one mind."""
    rng, broken = np.random.default_rng(5), 0
    for _ in range(40):
        arguments, scheme, plan = draw_edge(rng, max_devices_per_stage=1)
        factor = 1 + 1e-9 if limit == "min_throughput" else 1 / (1 + 1e-9)
        if limit == "capacity":
            largest = max(plan.stages, key=lambda stage: stage.memory)
            value: Any = np.full(len(arguments["price"]), math.inf)
            value[plan.problem.type_names.index(largest.type)] = largest.memory
        else:
            value = getattr(plan, VALUES[limit])
        broken += not all_agree(arguments | {limit: value * factor * (1 + rest)}, scheme, rest == 0)
    if rest != 0:
        assert broken == (40 if (rest > 0) == (limit == "min_throughput") else 0)


@pytest.mark.parametrize("limit", ["limit", "max_devices_per_stage"])
@pytest.mark.parametrize("size", [1, 10, 1e4])
def test_a_whole_limit_has_no_tolerance(limit: str, size: float) -> None:
    """As many devices as are allowed meet it and one more breaks it; a part of a device is refused."""
    rng = np.random.default_rng(6)
    for _ in range(10):
        arguments, scheme, _ = draw_edge(
            rng, compute_parallel=1.0, send=None, min_throughput=size * rng.uniform(1, 3), objective="price"
        )
        plan = sp.Plan.of(sp.Problem.from_arrays(**arguments), scheme)
        largest = max(plan.stages, key=lambda stage: stage.devices)
        if limit == "limit":
            used = sum(stage.devices for stage in plan.stages if stage.type == largest.type)
            others = np.arange(len(arguments["price"])) != plan.problem.type_names.index(largest.type)

            def value(devices: float, others: Any = others) -> Any:
                return np.where(others, math.inf, devices)
        else:
            used = largest.devices

            def value(devices: float, others: Any = None) -> Any:
                return devices

        assert all_agree(arguments | {limit: value(used)}, scheme)
        if used > 1:
            assert not all_agree(arguments | {limit: value(used - 1)}, scheme)
        for rest in (1e-9, -1e-9, 1e-12, -1e-12):
            with pytest.raises((ValueError, TypeError), match=rf"^{limit}.* is .* must be a whole number"):
                sp.Problem.from_arrays(**arguments | {limit: value(used * (1 + rest))})


def extremes(usual: st.SearchStrategy[float]) -> st.SearchStrategy[float]:
    """Draw usual numbers, and some at the ends of what is allowed."""
    return usual | st.sampled_from([1e-60, 1e-30, 1e30, 1e60])


def draw_extreme(data: st.DataObject) -> sp.Problem:
    """Draw a small problem, each number of which may be at an end of its range."""
    layers, types = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 2))
    number = extremes(st.floats(0.1, 4))

    def numbers(*shape: int) -> npt.NDArray[np.float64]:
        size = int(np.prod(shape))
        return np.array(data.draw(st.lists(number, min_size=size, max_size=size))).reshape(shape)

    goal = {name: data.draw(number) for name in VALUES if data.draw(st.booleans())}
    return sp.Problem.from_arrays(
        numbers(layers, types),
        numbers(types),
        memory=numbers(layers),
        capacity=numbers(types),
        bandwidth=numbers(types),
        tensors=[(x, (x + 1,), data.draw(st.floats(0.1, 4))) for x in range(layers - 1)],
        max_devices_per_stage=3,
        examples=data.draw(number),
        objective=data.draw(st.sampled_from(["cost", "throughput", "price"])),
        **goal,
    )


@given(st.data())
def test_numbers_at_the_ends_of_their_ranges_make_no_nan(data: st.DataObject) -> None:
    problem = draw_extreme(data)
    result = sp.solve(problem, stop=sp.MaxGenerations(3))
    assert not any(math.isnan(x) for x in (result.bound, result.gap, result.plan.violation, result.plan.cost))
    assert "nan" not in str(result)
    sp.verify(problem, result.plan)
    schemes = np.zeros((1, problem.n_layers), np.int8)
    target = data.draw(extremes(st.floats(0.1, 4)))
    scores = sp.evaluate(problem, schemes, target=target)
    assert not any(np.isnan(x).any() for x in scores if x is not None)


def check_extreme(problem: sp.Problem) -> None:
    """A front and changes of limits of numbers that are at the ends of their ranges."""
    front = sp.pareto(problem, points=3, stop=sp.MaxGenerations(3))
    assert not any(math.isnan(x) for x in (front.gap, front.fastest))
    for point in front.points:
        assert not any(math.isnan(x) for x in (point.bound, point.gap, point.plan.cost, point.plan.time))
        sp.verify(point.plan.problem, point.plan)
    changes = sp.repair(problem)
    for change in (change for suggestion in changes.suggestions for change in suggestion.changes):
        assert 0 <= change.needed < math.inf
        assert change.factor >= 1
    assert "nan" not in f"{front} {changes}"


@given(st.data())
@settings(max_examples=25)
def test_nor_does_a_front_or_a_repair_of_them(data: st.DataObject) -> None:
    check_extreme(draw_extreme(data))


@pytest.mark.parametrize("seconds", [1e-60, 1e60])
@pytest.mark.parametrize("objective", ["cost", "throughput"])
def test_fronts_and_repairs_at_the_ends_of_the_range_of_time(seconds: float, objective: str) -> None:
    """Where the throughput of a plan, or what a limit would have to be, cannot be that of a problem."""
    numbers = {"objective": objective, "max_devices_per_stage": 3, "max_price": 1.0}
    check_extreme(sp.Problem.from_arrays([[seconds], [seconds]], [2.0], **numbers))
    check_extreme(sp.Problem.from_arrays([[seconds]], [0.1], **numbers))
    check_extreme(sp.Problem.from_arrays([[4.0]], [1e-60], **numbers, min_throughput=1e30))
    check_extreme(sp.Problem.from_arrays([[4.0]], [1.0], **numbers, min_throughput=1e30, max_cost=seconds))
