"""What callbacks see of a search: the best plan, the bound and the gap."""

import itertools
import math
import pickle

import numpy as np
import pytest
from msgspec.structs import replace

import stageplan as sp
from stageplan.progress import relative_gap
from stageplan.solve import METHODS


def example(n_layers=10, **fixed):
    compute = np.random.default_rng(7).lognormal(0, 0.8, (n_layers, 3))
    return sp.Problem.from_arrays(
        compute, [1.0, 1.4, 2.0], **{"limit": [6, 4, 3], "min_throughput": 0.4} | fixed
    )


def seen_by_callback(problem, method, generations=6):
    seen = []
    stop = sp.MaxGenerations(generations)
    result = sp.solve(problem, method, stop=stop, callback=seen.append, population=16)
    return seen, result


@pytest.mark.parametrize("method", METHODS)
def test_plan_is_the_best_one_so_far(method):
    merge = "type" if method == "annealing" else "adjacent"
    seen, result = seen_by_callback(example(merge=merge), method)
    for progress in [*seen, *result.history]:
        plan = progress.plan
        assert plan is progress.plan
        assert (plan.cost, plan.throughput, plan.price) == pytest.approx(
            (progress.cost, progress.throughput, progress.price), rel=1e-9
        )
    assert seen[-1].plan == result.history[-1].plan == result.plan


def test_scheme_cannot_be_changed():
    _, result = seen_by_callback(example(), "genetic")
    with pytest.raises(ValueError, match="read-only"):
        result.history[0].scheme[0] = 1


@pytest.mark.parametrize("objective", ["cost", "throughput", "price"])
@pytest.mark.parametrize("method", METHODS)
def test_bound_holds_for_the_best_plan_and_is_raised(method, objective):
    merge = "type" if method == "annealing" else "adjacent"
    seen, result = seen_by_callback(example(objective=objective, merge=merge), method)
    sign = -1 if objective == "throughput" else 1
    best = sp.solve(example(objective=objective, merge=merge)).plan
    optimum = sign * getattr(best, objective)
    bounds = [sign * progress.bound for progress in seen]
    assert all(a <= b * (1 + sign * 1e-9) for a, b in itertools.pairwise([*bounds, sign * result.bound]))
    assert all(bound <= optimum * (1 + sign * 1e-9) for bound in bounds)
    if method in ("auto", "exact", "enumerate"):
        assert (seen[-1].bound, seen[-1].gap) == (result.bound, result.gap)


def test_gap_is_that_of_the_bound():
    _, result = seen_by_callback(example(), "genetic", 0)
    progress = replace(result.history[0], cost=110.0, throughput=0.5, price=30.0, violation=0.0)
    assert replace(progress, objective="cost", bound=100.0).gap == pytest.approx(0.1)
    assert replace(progress, objective="throughput", bound=0.6).gap == pytest.approx(0.2)
    assert replace(progress, objective="price", bound=30.0).gap == 0
    assert replace(progress, objective="cost", bound=0.0).gap == math.inf
    assert replace(progress, objective="throughput", bound=math.inf).gap == math.inf
    assert replace(progress, bound=110.0, violation=0.1).gap == math.inf


@pytest.mark.parametrize(
    ("value", "bound", "gap"), [(2.0, 2.0, 0.0), (2.0, 1.0, 1.0), (2.0, 0.0, math.inf), (1.0, math.inf, 0.0)]
)
def test_relative_gap(value, bound, gap):
    assert relative_gap(value, bound) == gap


def test_as_plain_values():
    _, result = seen_by_callback(example(), "exact")
    progress = result.history[0]
    plain = progress.to_dict()
    assert {"bound", "cost", "objective"} < plain.keys()
    assert not {"problem", "scheme", "plan"} & plain.keys()
    assert replace(progress, throughput=math.inf, bound=math.inf).to_dict() == plain | {
        "throughput": None,
        "bound": None,
    }


def test_front_shows_the_plans_of_its_searches():
    seen = []
    sp.pareto(example(), points=4, callback=seen.append)
    assert all(isinstance(progress.plan, sp.Plan) for progress in seen)
    assert [p.generation for p in seen] == sorted(p.generation for p in seen)


def test_copies_are_equal():
    _, result = seen_by_callback(example(), "genetic")
    assert pickle.loads(pickle.dumps(result.history)) == result.history
