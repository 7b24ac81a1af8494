"""The exact method: the same optimum as brute force, valid bounds at any time, infeasibility proven."""

import itertools
from math import inf, isclose
from typing import Any

import arc_model
import numpy as np
import pytest
from conftest import Draw, objective_of
from hypothesis import given
from stageplan._core.testing import cheapest_at
from strategies import problems, random_problem, redraw

import stageplan as sp
from benchmarks.support.instances import family
from stageplan import _core
from stageplan.result import Method

NONE = {"cost": inf, "throughput": 0.0, "price": inf}


def bound(result: sp.Result) -> float:
    """Lower bound of the objective, $, seconds per example or $/hour."""
    fastest = result.plan.problem.goal.objective == "throughput"
    return 1 / max(result.bound, 1e-300) if fastest else result.bound


def check_against_enumeration(problem: sp.Problem) -> bool:
    best, found = sp.solve(problem, "enumerate"), sp.solve(problem, "exact")
    assert found.status == best.status, problem
    if found.status.startswith("infeasible"):
        assert (found.bound, found.gap) == (NONE[problem.goal.objective], inf)
        return False
    assert isclose(objective_of(found.plan), objective_of(best.plan), rel_tol=1e-9), problem
    assert found.gap == 0
    assert isclose(bound(found), objective_of(best.plan), rel_tol=1e-8, abs_tol=1e-300)
    return True


# Optima ------------------------------------------------------------------------------------------------


@given(problems(max_layers=6, max_types=2).filter(lambda a: a["merge"] == "adjacent"))
def test_enumeration_agrees(arguments: dict[str, Any]) -> None:
    check_against_enumeration(sp.Problem.from_arrays(**arguments))


@pytest.mark.parametrize("objective", ["cost", "throughput", "price"])
@pytest.mark.parametrize("split", [False, True])
def test_enumeration_agrees_on_many(draw: Draw, objective: str, split: bool) -> None:
    rng, feasible, limits = np.random.default_rng(11), 0, 0
    for _ in range(250):
        problem, _ = redraw(
            lambda: draw(rng, max_layers=8, max_types=3, merge="adjacent", objective=objective, split=split),
            lambda drawn: drawn[0].n_labels ** drawn[0].n_layers <= 6561,
        )
        feasible += check_against_enumeration(problem)
        limits += bool(np.isfinite(problem.limit).any())
    assert 50 < feasible < 240
    assert limits > 80


@pytest.mark.parametrize("fixed_price", [0.0, 30.0])
def test_enumeration_agrees_where_stages_may_have_many_devices(fixed_price: float) -> None:
    rng = np.random.default_rng(12)
    for _ in range(60):
        arguments = random_problem(rng, 6, 2, ties=False, parallel=True, fixed_price=fixed_price)
        check_against_enumeration(sp.Problem.from_arrays(**arguments))


def test_the_price_limits_the_cheapest() -> None:
    """The cheapest plan breaks the limit on $/hour: the best that keeps it costs more."""
    rng, harder = np.random.default_rng(13), 0
    for _ in range(60):
        arguments = random_problem(
            rng, 7, 3, ties=False, parallel=True, goals=False, limits=False, gaps=False
        )
        free = sp.solve(sp.Problem.from_arrays(**arguments), "exact").plan
        tight = sp.Problem.from_arrays(**arguments, max_price=0.9 * free.price)
        if check_against_enumeration(tight):
            harder += sp.solve(tight, "exact").plan.cost > free.cost * (1 + 1e-9)
    assert harder > 10


# Bounds ------------------------------------------------------------------------------------------------


def medium(seed: int, **fixed: Any) -> sp.Problem:
    rng = np.random.default_rng(seed)
    arguments = random_problem(rng, 24, 4, ties=False, parallel=True, transfers=True, goals=False, gaps=False)
    return sp.Problem.from_arrays(**arguments | {"min_throughput": 0.2, "limit": [4, 5, 3, 6]} | fixed)


@pytest.mark.parametrize(
    "goal", [{"objective": "cost"}, {"objective": "throughput"}, {"objective": "price"}], ids=str
)
def test_bounds_hold_from_the_beginning(goal: dict[str, str]) -> None:
    """With any amount of work: the bound never falls, is never above the optimum, nor the plan below it."""
    for seed in range(6):
        problem = medium(seed, **goal)
        best = objective_of(sp.solve(problem, "exact").plan)
        exact, last = _core.Exact(problem.core, np.empty((0, 24), np.int8)), 0.0
        while not exact.done:
            exact.advance(exact.work + 30_000)
            score = exact.best_score
            found = {"cost": score.cost, "throughput": score.time, "price": score.price}[goal["objective"]]
            assert last * (1 - 1e-9) <= exact.bound <= best * (1 + 1e-9)
            assert score.violation > 0 or found >= best * (1 - 1e-9)
            last = exact.bound
        assert isclose(last, best, rel_tol=1e-8)


@pytest.mark.parametrize("method", ["genetic", "greedy", "random"])
def test_every_method_has_a_bound(draw: Draw, method: Method) -> None:
    rng, proven = np.random.default_rng(14), set()
    for _ in range(80):
        problem, _ = draw(rng, max_layers=6, max_types=2)
        if problem.n_labels**problem.n_layers > 4096:
            continue
        best = sp.solve(problem, "enumerate")
        found = sp.solve(problem, method, stop=sp.MaxGenerations(3))
        if best.plan.feasible:
            assert not found.status.startswith("infeasible")
            assert bound(found) <= objective_of(best.plan) * (1 + 1e-9)
        if found.status.startswith("optimal"):
            assert isclose(objective_of(found.plan), objective_of(best.plan), rel_tol=1e-8)
        if found.status == "feasible":
            assert found.gap == pytest.approx(objective_of(found.plan) / max(bound(found), 1e-300) - 1)
        proven.add(found.status)
    assert {"optimal", "infeasible"} <= proven or method != "genetic"


def test_infeasible_by_limits_that_no_single_type_breaks() -> None:
    """Three layers of one device each, on two types of one device each."""
    problem = sp.Problem.from_arrays(
        np.ones((3, 2)), [1.0, 2.0], limit=[1, 1], min_throughput=1.0, max_devices_per_stage=1
    )
    result = sp.solve(problem, "exact")
    assert (result.status, result.bound, result.gap) == ("infeasible", inf, inf)
    assert "proven: no plan meets all limits" in str(result)
    assert result.to_dict()["search"]["bound"] is None


@pytest.mark.parametrize("change", [{}, {"fixed_price": 1.0}, {"limit": [10**7] * 3}])
def test_a_cost_without_a_minimum_ends_with_a_bound(change: dict[str, Any]) -> None:
    """Each device more lets stages of perfect scaling fit each other a little better."""
    rng = np.random.default_rng(3)
    problem = sp.Problem.from_arrays(rng.uniform(1, 4, (4, 3)), rng.uniform(0.3, 2, 3), **change)
    found = sp.solve(problem, "exact")
    assert found.status == "feasible"
    assert 0 < found.gap < 1e-4
    work = problem.compute * problem.price
    assert isclose(found.bound, work.min(axis=1).sum() / 3600 * 1e6, rel_tol=1e-4)


@pytest.mark.parametrize("goal", [{}, {"objective": "throughput", "max_devices_per_stage": 1}])
def test_layers_that_take_no_time_have_a_best_plan(goal: dict[str, Any]) -> None:
    problem = sp.Problem.from_arrays(np.zeros((2, 2)), [1, 2], memory=[1, 1], capacity=[1, 1], **goal)
    for method in ("exact", "auto", "enumerate"):
        found = sp.solve(problem, method)
        assert (found.status, found.plan.feasible) == ("optimal", True)


# Methods built on it -----------------------------------------------------------------------------------


def test_merge_by_type_is_refused() -> None:
    problem = sp.Problem.from_arrays(np.ones((3, 2)), [1.0, 2.0], merge="type")
    with pytest.raises(ValueError, match=r"^method 'exact' needs merge 'adjacent'.* only method 'enumerate'"):
        sp.solve(problem, "exact")
    assert sp.solve(problem).status.startswith("optimal")  # few schemes: auto enumerates


def test_relaxation_begins_well() -> None:
    problem = medium(1)
    best = sp.solve(problem, "exact").plan
    plain, seeded = (
        sp.solve(problem, "genetic", initial=initial, stop=sp.MaxGenerations(0)).plan
        for initial in (None, "relaxation")
    )
    assert (seeded.violation, seeded.cost) < (plain.violation, plain.cost)
    assert seeded.cost <= 1.05 * best.cost
    with pytest.raises(ValueError, match=r"^initial is 'relax'; it must be one of 'relaxation'"):
        sp.solve(problem, "genetic", initial="relax")


def test_the_same_answer_each_time() -> None:
    problem = medium(2)
    first, second = (sp.solve(problem, "exact") for _ in range(2))
    assert first.plan == second.plan
    assert (first.bound, first.evaluations) == (second.bound, second.evaluations)


# Beside another solver ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_layers", "n_types"), [(8, 3), (12, 4), (20, 5)])
def test_cheapest_at_a_target_is_that_of_highs(n_layers: int, n_types: int) -> None:
    found = set()
    for seed in range(5):
        limit = np.random.default_rng(seed).integers(0, 4, n_types)
        limit[0] = 2
        problem = family(n_layers, n_types, seed, limit=limit)
        price, bound, scheme = cheapest_at(problem.scorer(None), 1.0)
        rival = arc_model.price(arc_model.model(problem))
        assert price == pytest.approx(rival, rel=1e-6)
        assert bound == pytest.approx(price, rel=1e-9)
        found.add(len(scheme) > 0)
        if len(scheme):
            at_target = sp.evaluate(problem, scheme[None], target=1.0)
            assert at_target.throughput[0] >= 1 - 1e-9
            assert at_target.violation[0] == 0
    assert True in found


def test_cheapest_at_a_target_is_that_of_all_schemes(draw: Draw) -> None:
    """The least price per hour of any scheme, with the fewest devices that reach the target."""
    rng, reached = np.random.default_rng(15), 0
    for _ in range(120):
        problem, _ = draw(rng, max_layers=6, max_types=2, merge="adjacent", goals=False, fixed_price=1.0)
        target = float(rng.uniform(0.05, 0.6))
        genes = itertools.product(range(problem.n_labels), repeat=problem.n_layers)
        schemes = np.array(list(genes), np.int8)
        scores = sp.evaluate(problem, schemes, target=target)
        keeps = (scores.violation == 0) & (scores.throughput >= target * (1 - 1e-9))
        hourly = 3600 * scores.cost[keeps] * scores.throughput[keeps] / problem.goal.examples
        price, bound, _ = cheapest_at(problem.scorer(None), 1 / target)
        assert price == pytest.approx(hourly.min(initial=inf), rel=1e-9)
        assert bound == pytest.approx(price, rel=1e-8)
        reached += bool(keeps.any())
    assert 30 < reached < 115
