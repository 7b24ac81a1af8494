"""Plans by options are verified from the definitions; numbers that are not theirs are named."""

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import option_problems
import pytest
import reference_options as ref

import stageplan as sp


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
