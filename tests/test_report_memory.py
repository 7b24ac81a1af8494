"""Parts of the memory of stages."""

import pytest
import report_samples as samples

import stageplan as sp
from stageplan.report.memory import memory_of


def test_parts_add_up_to_the_memory_of_the_stage():
    plan = samples.trained().plan
    held = memory_of(plan)
    assert [each.total for each in held] == pytest.approx([stage.memory for stage in plan.stages])
    first = plan.stages[0]
    layers, fullest = len(first.layers), -(-2 // first.replicas)
    assert held[0].parts == pytest.approx(
        {
            "resident": layers * 2e9,
            "divided among replicas": layers * 1e9 / first.replicas,
            "workspace": fullest * 0.5e9,
            "activations in flight": first.in_flight * fullest * layers * 0.2e9,
        }
    )


def test_capacities_are_those_of_the_types():
    plan = samples.trained().plan
    capacity = {"h100": 30e9, "a100": 20e9}
    assert [each.capacity for each in memory_of(plan)] == [capacity[stage.type] for stage in plan.stages]


def test_a_plan_without_strategies_has_one_part():
    plan = sp.solve(samples.plain()).plan
    held = memory_of(plan)
    assert [each.parts for each in held] == [{"resident": stage.memory} for stage in plan.stages]


def test_listed_options_have_no_parts():
    problem = sp.Problem.from_options(
        layers=1, price=[1.0], first=[0], last=[0], type=[0], devices=[1], time=[1.0], memory=[5.0]
    )
    (held,) = memory_of(sp.Plan.of(problem, [0]))
    assert held.parts == {"memory": 5.0}
