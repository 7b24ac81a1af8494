"""Plan costs of users: fixed work, each answer checked against the same function in Python."""

import numpy as np
import pytest

import stageplan as sp
from benchmarks.support.instances import POPULATIONS, family

SCHEMES = 4096
LIMITS = (None, 16)
SAMPLE = range(0, SCHEMES, SCHEMES // 8)


@sp.plan_cost(idle=np.linspace(40.0, 90.0, 8), busy=np.linspace(180.0, 700.0, 8))
def energy(stages, plan, watts):
    """Energy in kWh of devices that draw more power while they compute."""
    total = 0.0
    for stage in stages:
        idle, busy = watts.idle[stage.type], watts.busy[stage.type]
        total += stage.devices * (idle + (busy - idle) * stage.compute / plan.time)
    return total * plan.duration / 3.6e6


@sp.plan_cost
def dollars(stages, plan):
    """Cost of a plan, which is the built-in objective."""
    return plan.cost


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("kind", POPULATIONS)
def test_at_a_target(benchmark, kind, limit):
    """The devices of each stage are looked up: the rate is that of passing plans to the function."""
    problem, schemes = family(64, 8, limit=limit), POPULATIONS[kind](64, 8, SCHEMES)
    scores = benchmark(sp.evaluate, problem.replace(plan_cost=energy), schemes, target=1.0, threads=1)
    by_dollars = sp.evaluate(problem.replace(plan_cost=dollars), schemes, target=1.0)
    plain = sp.evaluate(problem, schemes, target=1.0)
    feasible = plain.violation == 0
    assert feasible.any()
    np.testing.assert_array_equal(by_dollars.plan_cost[feasible], plain.cost[feasible])
    np.testing.assert_array_equal(scores.cost, plain.cost)
    assert (np.isfinite(scores.plan_cost) == feasible).all()


@pytest.mark.parametrize("kind", POPULATIONS)
def test_exact_provisioning(benchmark, kind):
    """Provisioning takes nearly all of the time: compare with `test_exact_provisioning` of bench_score."""
    problem, schemes = family(64, 8), POPULATIONS[kind](64, 8, SCHEMES)
    scores = benchmark(sp.evaluate, problem.replace(plan_cost=energy), schemes, threads=1)
    plans = [sp.Plan.of(problem, schemes[i]) for i in SAMPLE]
    assert [energy(plan) for plan in plans] == scores.plan_cost[SAMPLE].tolist()


def test_genetic(benchmark):
    problem = family(64, 8).replace(plan_cost=energy)
    result = benchmark(sp.solve, problem, "genetic", stop=sp.MaxGenerations(50), threads=1)
    assert energy(result.plan) == result.plan.plan_cost
    start = min(sp.Plan.of(problem, [label] * 64).plan_cost for label in range(8))
    assert result.plan.plan_cost < start


def test_compile(benchmark):
    made = benchmark.pedantic(sp.plan_cost, args=(dollars.function,), rounds=3)
    plan = sp.Plan.of(family(64, 8).replace(plan_cost=made), [0] * 64)
    assert plan.plan_cost == plan.cost
