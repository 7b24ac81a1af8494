"""Plans by options are verified from the definitions; numbers that are not theirs are named."""

from collections.abc import Iterator
from dataclasses import replace
from math import inf
from typing import Any

import msgspec
import numpy as np
import option_problems
import pytest
import reference_options as ref

import stageplan as sp
from stageplan.plan import rented


def test_plans_are_those_of_the_definition() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        problem = option_problems.draw_problem(rng)
        scheme = rng.integers(0, problem.n_labels, problem.n_layers)
        plan = sp.Plan.of(problem, scheme)
        best = ref.provision(problem, scheme.tolist())
        assert sp.verify(problem, plan).feasible == plan.feasible == (best is not None)
        if best is not None:
            found = {"cost": plan.cost, "throughput": plan.time, "price": plan.price}
            assert found[problem.goal.objective] == pytest.approx(
                ref.objective(problem, best.score), rel=1e-8
            )


def example() -> sp.Plan:
    problem = sp.Problem.from_arrays(
        [[1.0, 0.6], [2.0, 1.1]], [1.0], column_type=[0, 0], column_degree=[1, 2], limit=[4], split=True,
        schedule="1f1b", microbatches=4, batch=8, activations=[1.0, 1.0], gradients=[1.0, 1.0], link=[5.0],
    )  # fmt: skip
    return sp.Plan.of(problem, [0, 1])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"strategy": "tp2"}, "devices is"),
        ({"compute": 9.0}, "compute is 9; recomputed it is"),
        ({"sync": 9.0}, "sync is 9; recomputed it is"),
        ({"memory": 9.0}, "memory is 9; recomputed it is"),
        ({"in_flight": 9}, "in_flight is 9; recomputed it is 2"),
        ({"strategy": "tp8"}, "has no strategy 'tp8'"),
    ],
)
def test_wrong_numbers_of_a_stage_are_named(changes: dict[str, Any], sentence: str) -> None:
    plan = example()
    stage = msgspec.structs.replace(plan.stages[0], **changes)
    with pytest.raises(ValueError, match=r".") as caught:
        sp.verify(plan.problem, replace(plan, stages=(stage, *plan.stages[1:])))
    assert sentence in str(caught.value)


def test_wrong_time_of_a_schedule_is_named() -> None:
    plan = example()
    with pytest.raises(ValueError, match=r"plan\.time is 9; recomputed it is"):
        sp.verify(plan.problem, replace(plan, time=9.0))


def test_activations_without_a_batch_are_resident():
    layer = sp.Layer(name="body", compute={"gpu": 2.0, "gpu/tp2": 1.0}, memory=5.0, activations=3.0)
    cluster = sp.Cluster(name="lab", types=[sp.DeviceType(name="gpu", price=1.0)])
    problem = sp.Problem(sp.Workload(name="net", layers=[layer]), cluster)
    plan = sp.Plan.of(problem, [0])
    assert plan.stages[0].memory == 8.0
    sp.verify(problem, plan)


# At the edge of a limit --------------------------------------------------------------------------------

OBJECTIVES = {
    "max_cost": "cost",
    "max_price": "price",
    "max_duration": "throughput",
    "min_throughput": "throughput",
}
WHOLE = ("limit", "max_stages", "max_devices_per_stage")
UNLIMITED = dict.fromkeys([*OBJECTIVES, "capacity", *WHOLE[1:]])


def all_agree(problem: sp.Problem, scheme: list[int]) -> bool:
    """Whether a scheme has a feasible plan, which core, `Plan`, `verify` and the oracle must agree on."""
    plan = sp.Plan.of(problem, scheme)
    assert plan.feasible == (not plan.violations)
    assert sp.verify(problem, plan).feasible == plan.feasible
    assert (sp.evaluate(problem, plan.scheme[None]).violation[0] == 0) == plan.feasible
    assert (ref.provision(problem, scheme) is not None) == plan.feasible
    return plan.feasible


def feasible_plans(objective: str, count: int) -> Iterator[sp.Plan]:
    """Draw plans of problems without limits but those on devices."""
    rng, seen = np.random.default_rng(11), 0
    for _ in range(10 * count):
        problem = option_problems.draw_problem(rng, 3, **UNLIMITED, objective=objective)
        plan = sp.Plan.of(problem, rng.integers(0, problem.n_labels, problem.n_layers))
        if plan.feasible and seen < count:
            seen += 1
            yield plan
    assert seen == count


@pytest.mark.parametrize("limit", [*OBJECTIVES, "capacity"])
@pytest.mark.parametrize("rest", [1e-9, -1e-9, 1e-12, -1e-12])
def test_all_agree_at_the_edge_of_a_limit(limit: str, rest: float) -> None:
    broken = 0
    for plan in feasible_plans(OBJECTIVES.get(limit, "cost"), 20):
        problem, factor = plan.problem, 1 + 1e-9 if limit == "min_throughput" else 1 / (1 + 1e-9)
        if limit == "capacity":
            by_type = [[s.memory for s in plan.stages if s.type == t] for t in problem.type_names]
            value = np.array([max(used, default=0.0) or inf for used in by_type])
        else:
            name = {"max_duration": "duration", "min_throughput": "throughput"}.get(limit, limit[4:])
            value = getattr(plan, name)
        at_edge = problem.replace(**{limit: value * factor * (1 + rest)})
        broken += not all_agree(at_edge, plan.scheme.tolist())
    if limit != "capacity":  # where another option may need less of it
        assert broken == (20 if (rest > 0) == (limit == "min_throughput") else 0)
    assert broken > 0 or (rest > 0) != (limit == "min_throughput")


@pytest.mark.parametrize("limit", WHOLE)
def test_a_whole_limit_has_no_tolerance(limit: str) -> None:
    """As many devices or stages as are allowed meet it; with one less, whatever else there is decides."""
    broken = 0
    for plan in feasible_plans("price", 20):
        problem, scheme = plan.problem, plan.scheme.tolist()
        if limit == "limit":
            types = [problem.type_names.index(stage.type) for stage in plan.stages]
            used = np.array(
                rented(problem, list(zip(types, (stage.devices for stage in plan.stages), strict=True)))
            )
            less = np.maximum(used - 1, 0)
        elif limit == "max_stages":
            used, less = len(plan.stages), max(1, len(plan.stages) - 1)
        else:
            used = max(stage.devices for stage in plan.stages)
            less = max(1, used - 1)
        assert all_agree(problem.replace(**{limit: used}), scheme)
        broken += not all_agree(problem.replace(**{limit: less}), scheme)
    assert broken > 0
