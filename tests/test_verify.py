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
from hypothesis import given
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


@pytest.mark.parametrize("limit", VALUES)
@pytest.mark.parametrize("rest", [1e-9, -1e-9, 1e-12, -1e-12, 0.0])
def test_core_plan_and_verify_agree_at_the_edge_of_a_limit(limit: str, rest: float) -> None:
    """One formula decides: the core's violation, the plan's list, and the check of both are of one mind."""
    rng, broken = np.random.default_rng(5), 0
    for _ in range(40):
        layers, types = rng.integers(1, 5), rng.integers(1, 4)
        problem = sp.Problem.from_arrays(
            rng.uniform(0.1, 3, (layers, types)),
            rng.uniform(0.1, 3, types),
            send=rng.uniform(0, 1, (layers, types)),
            compute_parallel=0.9,
            fixed_price=0.3,
            max_devices_per_stage=1,
            examples=float(rng.uniform(1, 1e7)),
        )
        scheme = rng.integers(0, problem.n_labels, layers)
        value = getattr(sp.Plan.of(problem, scheme), VALUES[limit])
        factor = 1 + 1e-9 if limit == "min_throughput" else 1 / (1 + 1e-9)
        at_edge = problem.replace(**{limit: value * factor * (1 + rest)})
        plan = sp.Plan.of(at_edge, scheme)
        assert plan.feasible == (not plan.violations)
        assert sp.verify(at_edge, plan).feasible == plan.feasible
        assert (sp.evaluate(at_edge, plan.scheme[None]).violation[0] == 0) == plan.feasible
        broken += not plan.feasible
    if abs(rest) == 1e-9:
        assert broken == (40 if (rest > 0) == (limit == "min_throughput") else 0)


def extremes(usual: st.SearchStrategy[float]) -> st.SearchStrategy[float]:
    """Draw usual numbers, and some at the ends of what is allowed."""
    return usual | st.sampled_from([1e-60, 1e-30, 1e30, 1e60])


@given(st.data())
def test_numbers_at_the_ends_of_their_ranges_make_no_nan(data: st.DataObject) -> None:
    layers, types = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 2))
    number = extremes(st.floats(0.1, 4))

    def numbers(*shape: int) -> npt.NDArray[np.float64]:
        size = int(np.prod(shape))
        return np.array(data.draw(st.lists(number, min_size=size, max_size=size))).reshape(shape)

    goal = {name: data.draw(number) for name in VALUES if data.draw(st.booleans())}
    problem = sp.Problem.from_arrays(
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
    result = sp.solve(problem, stop=sp.MaxGenerations(3))
    assert not any(math.isnan(x) for x in (result.bound, result.gap, result.plan.violation, result.plan.cost))
    assert "nan" not in str(result)
    sp.verify(problem, result.plan)
    schemes = np.zeros((1, layers), np.int8)
    scores = sp.evaluate(problem, schemes, target=data.draw(number))
    assert not any(np.isnan(x).any() for x in scores if x is not None)
