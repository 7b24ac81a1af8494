"""Searches: the best plan of small problems, what a result says, and how a search is stopped."""

import itertools
import re
import sys
from collections.abc import Callable
from math import isclose
from typing import Any

import numpy as np
import option_problems
import pytest
import reference as ref
import reference_options as options_ref
from conftest import Draw, objective_of
from msgspec.structs import replace
from strategies import redraw

import stageplan as sp
from stageplan.result import Method
from stageplan.solve import METHODS, SEEDED
from stageplan.stop import MaxGenerations

SHORT = sp.NoImprovement(200)


def small(
    rng: np.random.Generator, draw: Draw, most_schemes: int = 6561, **fixed: Any
) -> tuple[sp.Problem, Any]:
    return redraw(
        lambda: draw(rng, max_layers=8, max_types=3, **fixed),
        lambda drawn: drawn[0].n_labels ** drawn[0].n_layers <= most_schemes,
    )


def example(n_layers: int = 8, **fixed: Any) -> sp.Problem:
    rng = np.random.default_rng(6)
    compute, send = rng.lognormal(0, 0.8, (n_layers, 3)), rng.lognormal(-3, 0.5, (n_layers, 3))
    return sp.Problem.from_arrays(
        compute, [1.0, 1.4, 2.0], **{"send": send, "limit": [6, 4, 3], "min_throughput": 1.0} | fixed
    )


def example_for(method: Method, n_layers: int = 8, **fixed: Any) -> sp.Problem:
    merge = "type" if method == "annealing" else "adjacent"
    return example(n_layers, **{"merge": merge} | fixed)


def rank(plan: sp.Plan) -> tuple[float, float]:
    return plan.violation, objective_of(plan)


def same(a: sp.Plan, b: sp.Plan) -> bool:
    return all(isclose(x, y, rel_tol=1e-8) for x, y in zip(rank(a), rank(b), strict=True))


# The best plan -----------------------------------------------------------------------------------------


def test_enumerate_is_brute_force(draw: Draw) -> None:
    rng = np.random.default_rng(7)
    for _ in range(40):
        problem, oracle = small(rng, draw, most_schemes=100)
        result, (_, best) = sp.solve(problem, "enumerate"), ref.brute_force(oracle)
        assert isclose(result.plan.violation, best.score.violation, rel_tol=1e-6)
        assert isclose(rank(result.plan)[1], ref.objective(oracle, best.score), rel_tol=1e-8)
        assert result.status.startswith("infeasible" if best.score.violation else "optimal")
        assert result.evaluations == problem.n_labels**problem.n_layers


def test_genetic_finds_the_best(draw: Draw) -> None:
    rng, feasible = np.random.default_rng(8), 0
    for seed in range(240):
        problem, _ = small(rng, draw)
        best = sp.solve(problem, "enumerate")
        found = sp.solve(problem, "genetic", seed=seed, population=64, stop=SHORT)
        assert same(found.plan, best.plan), (seed, problem)
        statuses = ("feasible", "optimal") if found.plan.feasible else ("unknown", "infeasible")
        assert found.status.startswith(statuses)
        feasible += found.plan.feasible
    assert 50 < feasible < 200


@pytest.mark.parametrize("method", ["greedy", "genetic"])
def test_never_worse_than_one_type(draw: Draw, method: Method) -> None:
    rng = np.random.default_rng(9)
    for _ in range(50):
        problem, _ = draw(rng, max_layers=30)
        found = rank(sp.solve(problem, method, stop=sp.MaxGenerations(20), population=16).plan)
        for label in range(problem.n_labels):
            assert found <= rank(sp.Plan.of(problem, np.full(problem.n_layers, label)))


PROVERS = ("auto", "exact", "enumerate")


@pytest.mark.parametrize("method", METHODS)
def test_status(method: Method) -> None:
    """A search that proves nothing by itself has a bound all the same, which may prove its plan."""
    for limit, proven, found in ((6, "optimal", "feasible"), (1, "infeasible", "unknown")):
        problem = example_for(method, 5, limit=[limit] * 3, min_throughput=0.9)
        result = sp.solve(problem, method, stop=SHORT)
        assert result.status in ((proven,) if method in PROVERS else (proven, found))
        assert result.proven == (result.status == proven)


MANY = 1_048_576  # devices that a stage may have by default


def without_minimum() -> sp.Problem:
    """Make a problem of perfect scaling, where each device more lets the stages fit each other better."""
    rng = np.random.default_rng(3)
    return sp.Problem.from_arrays(rng.uniform(1, 4, (4, 3)), rng.uniform(0.3, 2, 3), examples=3600.0)


@pytest.mark.parametrize("method", ["exact", "greedy"])
def test_a_cost_without_a_minimum_has_a_bound_for_any_number_of_devices(method: Method) -> None:
    problem = without_minimum()
    found = sp.solve(problem, method)
    least = (problem.compute * problem.price).min(axis=1).sum()
    assert (found.status, found.proof_devices) == ("feasible", MANY)
    assert least < found.plan.cost < least * (1 + 1e-6)
    assert f"\nproven: with any number of devices no plan costs less than ${least:,.6g}\n" in str(found)


def test_enumerate_proves_nothing_if_it_considers_only_some_device_counts() -> None:
    problem = without_minimum()
    found = sp.solve(problem, "enumerate")
    with_more = sp.evaluate(problem, found.plan.scheme[None], 45355.9)
    assert with_more.cost[0] < found.plan.cost
    assert found.status == "feasible"
    assert found.bound < with_more.cost[0]


def test_auto_minimises_the_violation_of_an_infeasible_problem(draw: Draw) -> None:
    rng, infeasible = np.random.default_rng(21), 0
    for _ in range(60):
        problem, _ = small(rng, draw, merge="adjacent")
        best, found = sp.solve(problem, "enumerate"), sp.solve(problem)
        assert found.status == best.status
        assert isclose(found.plan.violation, best.plan.violation, rel_tol=1e-8)
        infeasible += best.status.startswith("infeasible")
    assert infeasible > 10


def test_auto_continues_by_search_after_abandoning_a_proof() -> None:
    """Six devices of each type, nearly as fast as these can be."""
    rng = np.random.default_rng(4)
    compute, send = rng.lognormal(0, 0.8, (64, 8)), rng.lognormal(-1, 1, (64, 1)) * np.ones(8)
    fastest = sp.Problem.from_arrays(
        compute, rng.lognormal(0, 0.3, 8), limit=[6] * 8, send=send, compute_parallel=0.97,
        transfer_parallel=0.95, objective="throughput",
    )  # fmt: skip
    most = sp.solve(fastest, "genetic", stop=sp.MaxGenerations(60)).plan.throughput
    problem = fastest.replace(objective="cost", min_throughput=most / 1.1)
    exact = sp.solve(problem, "exact")
    result = sp.solve(problem, stop=sp.MaxGenerations(40))
    assert exact.status == result.status == "feasible"
    assert exact.generations < result.generations == 40
    assert result.plan.cost <= exact.plan.cost


def test_enumerate_proves_nothing_before_its_end() -> None:
    assert sp.solve(example(), "enumerate", stop=sp.MaxGenerations(2)).status == "feasible"


def test_enumerate_refuses_too_many_schemes() -> None:
    sp.solve(sp.Problem.from_arrays(np.ones((12, 4)), np.ones(4)), "enumerate", stop=sp.MaxGenerations(1))
    with pytest.raises(ValueError, match=r"^method 'enumerate' tries at most 16777216 schemes; "):
        sp.solve(sp.Problem.from_arrays(np.ones((25, 2)), np.ones(2)), "enumerate")


# Seeds, first schemes, population ----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["genetic", "random"])
def test_the_seed_decides(method: Method) -> None:
    problem, stop = example(40, split=True), sp.MaxGenerations(3)
    results = [sp.solve(problem, method, seed=seed, stop=stop) for seed in (1, 1, 2)]
    untimed = [(r.plan, r.evaluations, [replace(p, runtime=0) for p in r.history]) for r in results]
    assert untimed[0] == untimed[1]
    assert untimed[1] != untimed[2]


@pytest.mark.parametrize("method", [m for m in SEEDED if m != "annealing"])
def test_initial_is_a_result_a_plan_or_a_scheme(method: Method) -> None:
    problem = example()
    best = sp.solve(problem, "exact")
    initial = best.plan.scheme[None]
    expected = sp.solve(problem, method, initial=initial, stop=sp.MaxGenerations(2))
    for given in (best, best.plan, best.plan.scheme):
        found = sp.solve(problem, method, initial=given, stop=sp.MaxGenerations(2))
        assert (found.plan, found.evaluations) == (expected.plan, expected.evaluations)


def test_initial_is_a_plan_for_another_problem() -> None:
    """With the same layers, device types and labels it is where a search starts."""
    plan = sp.solve(example(min_throughput=0.5)).plan
    assert same(sp.solve(example(), "exact", initial=plan).plan, sp.solve(example()).plan)
    stop, few = sp.MaxGenerations(1), example(n_layers=7)
    with pytest.raises(ValueError, match=r"^initial has shape \(8,\); it must be \(n, 7\)$"):
        sp.solve(few, initial=plan, stop=stop)
    with pytest.raises(ValueError, match=r"^initial is a plan with labels 'no split'; they must be those of"):
        sp.solve(example(split=True), initial=plan, stop=stop)
    named = example().replace(type_names=["a", "b", "c"])
    with pytest.raises(ValueError, match=r"^initial is a plan with device types \('type0', 't"):
        sp.solve(named, initial=plan, stop=stop)


@pytest.mark.parametrize("before", [0, 3])
def test_initial_schemes_are_kept(before: int) -> None:
    """Also where they are more than the population."""
    problem, stop = example(14, objective="throughput"), sp.MaxGenerations(0)
    best = sp.solve(problem, "genetic", stop=sp.NoImprovement(50)).plan
    assert rank(sp.solve(problem, "genetic", population=2, stop=stop).plan) > rank(best)
    initial = np.vstack([np.zeros((before, 14), np.int8), best.scheme])
    for method in [method for method in SEEDED if method != "annealing"]:  # that one is in test_annealing.py
        assert same(sp.solve(problem, method, population=2, initial=initial, stop=stop).plan, best)


@pytest.mark.parametrize("arguments", [{"method": "genetic", "population": 2}, {"method": "random"}], ids=str)
def test_the_simplest_searches_find_the_best(arguments: dict[str, Any]) -> None:
    problem = example(5)
    assert same(sp.solve(problem, **arguments).plan, sp.solve(problem, "enumerate").plan)


# The lowest hourly price -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_lowest_price_without_a_rate(method: Method) -> None:
    """One device of the cheapest type runs all layers, however slow it is."""
    problem = example_for(method, objective="price", min_throughput=None)
    plan = sp.solve(problem, method, stop=sp.MaxGenerations(30)).plan
    assert (plan.price, [stage.devices for stage in plan.stages]) == (1.0, [1])


def test_lowest_price_for_a_rate_costs_more_in_all() -> None:
    """Objective price runs as slowly as the rate allows; objective cost runs faster where that is cheaper."""
    arguments = {"compute_parallel": 0.9, "fixed_price": 20.0, "min_throughput": 0.3}
    cost, price = (sp.solve(example(objective=o, **arguments), "exact").plan for o in ("cost", "price"))
    assert price.price < cost.price
    assert price.cost > cost.cost
    assert price.throughput < cost.throughput


def test_lowest_price_within_a_cost_runs_faster() -> None:
    """A limit on the cost of all examples forces more devices than the rate alone needs."""
    problem = example(objective="price", compute_parallel=0.9, fixed_price=20.0, min_throughput=0.3)
    free = sp.solve(problem, "exact").plan
    tight = problem.replace(max_cost=free.cost * 0.8)
    results = [sp.solve(tight, method) for method in ("exact", "enumerate", "auto")]
    assert [result.status for result in results] == ["optimal"] * 3
    assert len({result.plan.price for result in results}) == 1
    assert results[0].plan.price > free.price
    assert results[0].plan.throughput > free.throughput


def test_what_is_proven_of_a_price() -> None:
    result = sp.solve(example(objective="price", min_throughput=0.3), "exact")
    assert result.bound == pytest.approx(result.plan.price, rel=1e-8)
    assert f"proven: no plan costs less than ${result.bound:,.6g} per hour; gap 0" in str(result)


# What a result says ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("objective", ["cost", "throughput", "price"])
def test_history(method: Method, objective: str) -> None:
    """Each entry has a better plan or bound than the one before, and the last is what was found."""
    result = sp.solve(example_for(method, objective=objective), method, stop=sp.MaxGenerations(30))
    values = ({"cost": p.cost, "throughput": 1 / p.throughput, "price": p.price} for p in result.history)
    ranks = [(p.violation, value[objective]) for p, value in zip(result.history, values, strict=True)]
    for (earlier, before), (later, after) in itertools.pairwise(zip(result.history, ranks, strict=True)):
        assert after < before or (after == before and later.gap < earlier.gap)
        assert (later.stagnation == 0) == (after < before)
    assert all(isclose(a, b, rel_tol=1e-12) for a, b in zip(ranks[-1], rank(result.plan), strict=True))
    for before, after in itertools.pairwise(result.history):
        assert before.generation < after.generation
        assert before.evaluations < after.evaluations
        assert before.runtime <= after.runtime <= result.runtime
    assert {p.objective for p in result.history} == {objective}


def test_counts() -> None:
    problem, stop = example(), sp.MaxGenerations(5)
    assert sp.solve(problem, "random", stop=stop).evaluations == 5 * 1024
    first, later = (sp.solve(problem, "genetic", stop=sp.MaxGenerations(n), population=64) for n in (0, 5))
    assert later.evaluations - first.evaluations >= 5 * 63  # the fittest is not scored again
    assert (first.generations, later.generations) == (0, 5)


# Callbacks and stops -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_callback_after_each_generation(method: Method) -> None:
    seen: list[sp.Progress] = []
    result = sp.solve(example_for(method), method, callback=seen.append, stop=sp.MaxGenerations(5))
    assert [p.generation for p in seen] == list(range(1, result.generations + 1))
    assert seen[-1].evaluations == result.evaluations


def raise_at(generation: int, error: type[BaseException]) -> Callable[[sp.Progress], None]:
    def callback(progress: sp.Progress) -> None:
        if progress.generation == generation:
            raise error

    return callback


@pytest.mark.parametrize("method", ["genetic", "random", "enumerate"])
def test_ctrl_c_gives_the_best_so_far(method: Method) -> None:
    problem = example()
    result = sp.solve(problem, method, callback=raise_at(2, KeyboardInterrupt))
    assert (result.interrupted, result.generations, result.plan.feasible) == (True, 2, True)
    assert same(result.plan, sp.solve(problem, method, stop=sp.MaxGenerations(2)).plan)
    assert str(result).endswith("2 generations (interrupted)")


@pytest.mark.parametrize("where", ["callback", "stop"])
@pytest.mark.parametrize("method", ["genetic", "reinforce", "enumerate"])
def test_errors_of_a_callback_or_stop_carry_the_best_result(method: Method, where: str) -> None:
    problem = example()
    with pytest.raises(ZeroDivisionError) as caught:
        sp.solve(problem, method, **{where: raise_at(2, ZeroDivisionError)})
    result = caught.value.result
    assert (result.generations, result.interrupted, result.plan.feasible) == (2, False, True)
    assert same(result.plan, sp.solve(problem, method, stop=sp.MaxGenerations(2)).plan)
    assert caught.value.__notes__ == ["The best result so far is this error's attribute `result`."]


@pytest.mark.parametrize("method", ["genetic", "exact"])
def test_ctrl_c_while_the_bound_is_computed_keeps_the_plan(method: Method, monkeypatch: Any) -> None:
    def interrupt(*_: Any) -> float:
        raise KeyboardInterrupt

    stop = sp.MaxGenerations(3)
    plan = sp.solve(example(), method, stop=stop).plan
    monkeypatch.setattr(sys.modules["stageplan.solve"], "_lower_bound", interrupt)
    result = sp.solve(example(), method, stop=stop)
    assert same(result.plan, plan)
    assert (result.interrupted, result.status, result.bound) == (True, "feasible", 0.0)


@pytest.mark.parametrize(
    ("stop", "generations"),
    [(sp.MaxGenerations(3), 3), (sp.MaxEvaluations(3 * 1024), 3), (sp.MaxRuntime(0), 1), (sp.Target(1e9), 1)],
)
def test_stops(stop: sp.Stop, generations: int) -> None:
    assert sp.solve(example(), "random", stop=stop | sp.MaxGenerations(9)).generations == generations


# What is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "error", "text"),
    [
        ("method", "exakt", ValueError, " is 'exakt'; it must be one of 'auto', 'exact', 'genetic'"),
        ("seed", -1, ValueError, " is -1; it must be a whole number, at least 0"),
        ("seed", 2**64, ValueError, " is 18446744073709551616; it must be"),
        ("seed", 1.0, TypeError, " is 1.0; it must be a whole number"),
        ("population", 1, ValueError, " is 1; it must be a whole number, at least 2"),
        ("population", 8.0, TypeError, " is 8.0; it must be a whole number"),
        ("initial", [[0] * 8], TypeError, " is list; it must be a numpy array of int8"),
        ("initial", np.zeros((1, 8)), TypeError, " is float64; it must be a numpy array of int8"),
        ("initial", np.zeros((1, 7), np.int8), ValueError, " has shape (1, 7); it must be (n, 8)"),
        ("initial", np.full((1, 8), 3, np.int8), ValueError, "[0, 0] is 3; it must be a label from 0 to 2"),
        ("stop", 5, TypeError, " is 5; it must be "),
        ("callback", 5, TypeError, " is 5; it must be "),
        ("problem", "p", TypeError, " is str; it must be a Problem"),
    ],
)
def test_bad_arguments(name: str, value: Any, error: type[Exception], text: str) -> None:
    given = {"problem": example(), "stop": sp.MaxGenerations(1)} | {name: value}
    with pytest.raises(error, match=r"^" + re.escape(name + text)):
        sp.solve(**given)


def test_first_schemes_are_for_genetic_only() -> None:
    with pytest.raises(ValueError, match=r"^initial is given with method 'greedy'; it requires"):
        sp.solve(example(), "greedy", initial=np.zeros((1, 8), np.int8))


def test_methods_that_prove_do_so_by_options() -> None:
    rng = np.random.default_rng(4)
    for i in range(15):
        p = option_problems.draw_problem(rng, 3, objective=("cost", "throughput", "price")[i % 3])
        best = options_ref.brute_force(p)
        for method in ("exact", "auto"):
            result = sp.solve(p, method, stop=MaxGenerations(80))  # type: ignore[arg-type]
            if best is None:
                assert result.status == "infeasible"
                continue
            score = result.plan
            found = {"cost": score.cost, "throughput": score.time, "price": score.price}[p.goal.objective]
            assert result.status == "optimal"
            assert result.gap == 0
            assert found == pytest.approx(options_ref.objective(p, best[1].score), rel=4e-9)
