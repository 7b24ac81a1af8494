"""Costs of plans that users write: the same numbers as in Python, and errors in one sentence."""

import dataclasses
import pickle
import re
import sys
from itertools import product
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from option_problems import draw_arguments
from strategies import problems

import stageplan as sp
from stageplan import _core
from stageplan.plan_cost import PLAN, STAGE, inputs

numba = pytest.importorskip("numba")

allowed_stages = 3


@sp.plan_cost(by_type=[3.0, 1.0, 2.0], by_layers=[[1.0, 5.0], [2.0, 7.0], [3.0, 9.0]], factor=0.25)
def of_all_fields(stages, plan, given):
    total = given.factor * plan.time + 2 * plan.duration + 3 * plan.price + 5 * plan.cost
    if plan.throughput < 1e3:
        total += plan.throughput
    for i in range(stages.size):
        s = stages[i]
        total += given.by_type[s.type] * s.devices + given.by_layers[i % 3, s.first % 2] * s.last
        total += 0.1 * s.layers + 0.2 * s.column + 0.3 * s.replicas + 0.4 * s.in_flight
        total += 0.5 * s.time + 0.6 * s.compute - 0.7 * s.transfer + 0.8 * s.sync + 0.9 * s.memory + s.price
    if stages.size > allowed_stages:
        return inf
    return total - 5.0


@sp.plan_cost
def dollars(stages, plan):
    return plan.cost


@sp.plan_cost
def seconds(stages, plan):
    slowest = 0.0
    for stage in stages:
        slowest = max(slowest, stage.time)
    return slowest


@sp.plan_cost
def rent(stages, plan):
    total = 0.5  # the fixed price
    for stage in stages:
        total += stage.price
    return total


@sp.plan_cost
def profit(stages, plan):
    return -10.0 / (1.0 + plan.cost)


@sp.plan_cost
def forbidden(stages, plan):
    return inf


@sp.plan_cost
def by_few(stages, plan):
    total = 0.0
    for stage in stages:
        total += stage.devices * stage.price + stage.first
    return total


def all_schemes(problem):
    return np.array(list(product(range(problem.n_labels), repeat=problem.n_layers)), np.int8)


def in_python(cost, problem):
    """Costs of all schemes, from plans that know nothing of a plan cost."""
    plain = problem.replace(plan_cost=None)
    plans = [sp.Plan.of(plain, scheme) for scheme in all_schemes(problem)]
    return np.array([cost(plan) if plan.feasible else inf for plan in plans])


def small(**changes):
    rng = np.random.default_rng(5)
    arguments = {
        "compute": rng.uniform(0.5, 2.0, (6, 3)), "send": rng.uniform(0, 0.1, (6, 3)),
        "price": [1.0, 1.7, 2.2], "limit": [4] * 3, "compute_parallel": 0.9, "fixed_price": 0.5,
        "examples": 3600.0, "min_throughput": 0.4,
    } | changes  # fmt: skip
    return sp.Problem.from_arrays(**arguments)


def check_all_schemes(arguments):
    problem = sp.Problem.from_arrays(**arguments, plan_cost=of_all_fields)
    expected = in_python(of_all_fields, problem)
    np.testing.assert_array_equal(sp.evaluate(problem, all_schemes(problem)).plan_cost, expected)
    result = sp.solve(problem, "enumerate")
    if expected.min() == inf:
        assert result.status in ("infeasible", "infeasible over this order")
        assert result.bound == inf
        return
    assert result.status in ("optimal", "optimal over this order")
    assert result.plan.plan_cost == result.bound == result.history[-1].plan_cost == expected.min()
    assert result.gap == 0


@settings(max_examples=40, deadline=None)
@given(problems(max_layers=3))
def test_enumerate_finds_what_python_finds(arguments):
    check_all_schemes(arguments)


@pytest.mark.parametrize("seed", range(25))
def test_enumerate_finds_what_python_finds_among_options(seed):
    check_all_schemes(draw_arguments(np.random.default_rng(seed)))


def test_enumerate_finds_what_python_finds_among_listed_options():
    rng = np.random.default_rng(1)
    stages = [(a, b, t, k) for a in range(4) for b in range(a, 4) for t in range(2) for k in (1, 2)]
    first, last, type_, devices = (list(column) for column in zip(*stages, strict=True))
    problem = sp.Problem.from_options(
        4, [1.0, 2.0], first=first, last=last, type=type_, devices=devices,
        time=rng.uniform(1, 2, len(stages)), plan_cost=of_all_fields,
    )  # fmt: skip
    expected = in_python(of_all_fields, problem)
    np.testing.assert_array_equal(sp.evaluate(problem, all_schemes(problem)).plan_cost, expected)
    assert sp.solve(problem, "genetic").plan.plan_cost == expected.min()


@pytest.mark.parametrize(
    "arguments", [{}, {"merge": "type"}, {"schedule": "1f1b", "microbatches": 4, "batch": 8}]
)
def test_scores_at_a_target_are_those_without_a_plan_cost(arguments):
    for cost, column in ((dollars, "cost"), (seconds, "throughput"), (rent, "price")):
        if cost is seconds and "schedule" in arguments:
            continue
        problem = small(plan_cost=cost, objective="price", **arguments)
        schemes = np.random.default_rng(0).integers(0, 3, (500, 6)).astype(np.int8)
        plain = sp.evaluate(problem.replace(plan_cost=None), schemes, target=0.6)
        scores = sp.evaluate(problem, schemes, target=0.6)
        for field in ("cost", "throughput", "violation", "price"):
            np.testing.assert_array_equal(getattr(scores, field), getattr(plain, field))
        expected = 1 / plain.throughput if cost is seconds else getattr(plain, column)
        feasible = plain.violation == 0
        assert 0 < feasible.sum() < 500
        np.testing.assert_allclose(scores.plan_cost[feasible], expected[feasible], rtol=1e-12)
        assert (scores.plan_cost[~feasible] == inf).all()


@pytest.mark.parametrize("objective", ["cost", "throughput", "price"])
def test_a_plan_cost_that_is_the_objective_ranks_alike(objective):
    cost = {"cost": dollars, "throughput": seconds, "price": rent}[objective]
    problem = small(objective=objective, plan_cost=cost)
    plain = problem.replace(plan_cost=None)
    schemes = all_schemes(problem)
    scores, before = sp.evaluate(problem, schemes), sp.evaluate(plain, schemes)
    value = -before.throughput if objective == "throughput" else getattr(before, objective)
    feasible = before.violation == 0
    order = np.argsort(value[feasible], kind="stable")
    assert (np.diff(scores.plan_cost[feasible][order]) >= -1e-12).all()
    best, other = sp.solve(problem, "enumerate").plan, sp.solve(plain, "enumerate").plan
    assert (best.cost, best.time, best.price) == pytest.approx((other.cost, other.time, other.price))


@pytest.mark.parametrize("objective", ["cost", "throughput", "price"])
@pytest.mark.parametrize("method", ["auto", "genetic", "reinforce", "random", "greedy"])
def test_methods_find_the_best(method, objective):
    problem = small(objective=objective, plan_cost=of_all_fields)
    best = in_python(of_all_fields, problem).min()
    stop = None if method == "greedy" else sp.NoImprovement(30)
    result = sp.solve(problem, method, stop=stop)
    assert result.plan.plan_cost >= best
    assert method == "greedy" or result.plan.plan_cost == best
    assert result.history[-1].plan_cost == result.plan.plan_cost
    if method != "auto":  # which enumerates
        assert (result.status, result.bound, result.gap) == ("feasible", -inf, inf)
        assert "not proven: no bound of of_all_fields is known" in str(result)


@pytest.mark.parametrize("method", ["genetic", "reinforce", "random", "enumerate"])
def test_the_answer_does_not_depend_on_threads(method):
    problem = small(plan_cost=of_all_fields)
    results = [
        sp.solve(problem, method, seed=3, threads=threads, population=1024 if method == "genetic" else None,
                 stop=sp.MaxGenerations(3))
        for threads in (1, 2, 3)
    ]  # fmt: skip
    assert len({(r.plan.scheme.tobytes(), r.plan.plan_cost, r.evaluations) for r in results}) == 1


def test_many_islands_agree_on_threads():
    rng = np.random.default_rng(0)
    problem = sp.Problem.from_arrays(
        rng.uniform(0.5, 2, (200, 3)), [1.0, 2.0, 3.0], max_devices_per_stage=2, plan_cost=dollars
    )
    runs = [_core.Genetic(problem.core, 3000, 0, n, np.empty((0, 200), np.int8)) for n in (1, 3)]
    for run in runs:
        run.step(2)
    assert runs[0].best.tolist() == runs[1].best.tolist()
    assert runs[0].best_score.cost == runs[1].best_score.cost == sp.Plan.of(problem, runs[0].best).plan_cost


def test_negative_costs_are_proven_too():
    problem = small(plan_cost=profit)
    result = sp.solve(problem, "enumerate")
    assert (result.status, result.gap) == ("optimal", 0.0)
    assert result.plan.plan_cost == result.bound == in_python(profit, problem).min() < 0
    assert "no plan has a lower profit than" in str(result)
    for method in ("genetic", "reinforce"):
        assert sp.solve(problem, method).plan.plan_cost == pytest.approx(result.bound)


def test_an_infinite_cost_forbids_a_plan():
    problem = small(plan_cost=forbidden)
    plan = sp.Plan.of(problem, [0, 0, 1, 1, 2, 2])
    assert sp.Plan.of(problem.replace(plan_cost=None), plan.scheme).feasible
    assert not plan.feasible
    assert (plan.plan_cost, plan.violation) == (inf, 1.0)
    assert str(plan.violations[0]) == "forbidden is inf: 1 plans, allowed 0, 1 over"
    assert plan.to_dict()["plan_cost"] is None
    assert sp.solve(problem, "enumerate").status == "infeasible"
    result = sp.solve(problem, "genetic", stop=sp.MaxGenerations(3))
    assert (result.status, result.bound) == ("unknown", -inf)


def test_plans_that_break_a_limit_are_not_passed_to_the_function():
    @sp.plan_cost
    def only_fast(stages, plan):
        if plan.time > 2.5 * (1 + 1e-9):
            raise ValueError("slow")
        return plan.time

    problem = small(plan_cost=only_fast)
    scores = sp.evaluate(problem, all_schemes(problem))
    assert ((scores.plan_cost == inf) == (scores.violation > 0)).all()
    assert (scores.violation > 0).any()


def test_goal_and_plan_cost_are_shown():
    problem = small(plan_cost=dollars)
    assert str(problem).endswith("at least 0.4 examples/s, compared by dollars")
    plan = sp.solve(problem).plan
    assert f"dollars {plan.cost:,.6g}" in str(plan)
    assert problem != problem.replace(plan_cost=None)
    assert problem.replace(max_price=100.0).plan_cost is dollars
    assert sp.solve(problem, "genetic", stop=sp.Target(1e9)).generations == 0


def test_a_workload_on_a_cluster_takes_one():
    layers = [sp.Layer(name=n, compute={"cpu": 2.0, "gpu": 1.0}) for n in "abc"]
    types = [sp.DeviceType(name="cpu", price=1.0), sp.DeviceType(name="gpu", price=3.0)]
    problem = sp.Problem(
        sp.Workload(name="net", layers=layers), sp.Cluster(name="lab", types=types), plan_cost=dollars
    )
    plan = sp.solve(problem).plan
    assert plan.plan_cost == plan.cost


def test_the_records_have_the_layout_of_the_core():
    problem = small(plan_cost=dollars)
    stages, plan = inputs(sp.Plan.of(problem, [0, 0, 1, 1, 2, 2]))
    assert (STAGE.itemsize, PLAN.itemsize) == (8 * 4 + 6 * 8, 5 * 8)
    assert stages["first"].tolist() == [0, 2, 4]
    assert stages["last"].tolist() == [1, 3, 5]
    assert dollars.constants is None
    assert dollars(sp.Plan.of(problem, [0, 0, 1, 1, 2, 2])) == plan["cost"][0]


@numba.njit
def third_of_memory(stage):
    return stage.memory / 3


def no_field(stages, plan):
    return plan.cost + len(stages)


def by_attribute(stages, plan):
    total = 0.0
    for stage in stages:
        total += stage.in_flight * stage.compute
    return total


def by_text(stages, plan):
    return stages["transfer"].max() + stages["price"][0] + stages[-1]["replicas"]


def by_columns(stages, plan):
    return (stages.layers * stages.time).sum() + stages[1:].memory.sum()


def by_another_function(stages, plan):
    return third_of_memory(stages[0]) + stages[0].column


def of_a_copy(stages, plan):
    kept = stages.copy()
    kept[0] = stages[-1]
    return kept[0].time + kept[0].layers


FEW_FIELDS = no_field, by_attribute, by_text, by_columns, by_another_function, of_a_copy


@pytest.mark.parametrize("function", FEW_FIELDS)
def test_a_function_that_reads_few_fields_sees_the_same(function, monkeypatch):
    cost = sp.plan_cost(function)
    monkeypatch.setattr(
        sys.modules["stageplan.plan_cost"], "_fields_named", lambda function: list(STAGE.names)
    )
    of_all = sp.plan_cost(function)
    problem = small(memory=np.random.default_rng(3).uniform(1, 2, 6))
    schemes = all_schemes(problem)
    for target in (None, 0.6):
        scores, expected = (
            sp.evaluate(problem.replace(plan_cost=of), schemes, target=target) for of in (cost, of_all)
        )
        np.testing.assert_array_equal(scores.plan_cost, expected.plan_cost)
    for i in np.flatnonzero(np.isfinite(expected.plan_cost))[::20]:
        plan = sp.Plan.of(problem.replace(plan_cost=cost), schemes[i])
        assert plan.plan_cost == pytest.approx(cost(plan), rel=1e-12)


def test_stages_of_many_layers_are_made_when_they_are_needed():
    """They are too many for a table."""
    rng = np.random.default_rng(4)
    L, T = 2100, 8
    problem = sp.Problem.from_arrays(rng.uniform(1, 2, (L, T)) / L, np.arange(1.0, T + 1), plan_cost=by_few)
    schemes = rng.integers(0, T, (3, L)).astype(np.int8)
    scores = sp.evaluate(problem, schemes, target=0.001)  # reached by one device each
    begins = np.insert(np.diff(schemes, axis=1) != 0, 0, True, axis=1)
    expected = (begins * (schemes + 1.0 + np.arange(L))).sum(axis=1)
    assert scores.plan_cost == pytest.approx(expected, rel=1e-12)


# Errors ------------------------------------------------------------------------------------------------


def made(body, **names):
    """Make a function of stages and plan; the text stands for the user's file."""
    names = {"np": np, "inf": inf, "nan": nan} | names
    exec(f"def cost(stages, plan):\n    {body}", names)
    return sp.plan_cost(names["cost"])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return nan", r"plan_cost cost returned nan; it must return a number from -1e150 to 1e150, or inf"),
        ("return -inf", "plan_cost cost returned -inf; it must"),
        ("return 1e200", r"plan_cost cost returned 1e\+200; it must"),
        ("return 1.0 / (plan.cost - plan.cost)", "cost raised ZeroDivisionError: division by zero"),
        ("return stages[99].time", "plan_cost cost raised IndexError: index is out of bounds"),
        ("if plan.time > 0: raise ValueError('dear')\n    return 1.0", "cost raised ValueError: dear"),
        ("return np.random.random()", r"returned 0\.\d+ and then 0\.\d+ for the same plan; it must"),
        ("stages[0].time += 1\n    return stages[0].time", r"returned .* and then .* for the same plan"),
    ],
)
def test_what_goes_wrong_in_a_call_is_one_sentence(body, reason):
    problem = small(plan_cost=made(body))
    for call in (
        lambda: sp.evaluate(problem, all_schemes(problem)),
        lambda: sp.evaluate(problem, all_schemes(problem), target=0.5),
        lambda: sp.Plan.of(problem, [0, 0, 1, 1, 2, 2]),
        lambda: sp.solve(problem, "random", threads=2),
    ):
        with pytest.raises(sp.InputError, match=reason) as raised:
            call()
        assert "\n" not in str(raised.value)
        assert re.search(r"; the plan: layers 0 to \d on type \d with \d+ devices", str(raised.value))


def test_an_error_names_the_line_of_the_function():
    @sp.plan_cost
    def divides(stages, plan):
        return 1.0 / (plan.cost - plan.cost)

    with pytest.raises(ValueError, match=re.escape(f"({__file__}, line ")) as raised:
        sp.solve(small(plan_cost=divides), "random")
    assert ": return 1.0 / (plan.cost - plan.cost))" in str(raised.value)


def test_an_error_late_in_a_search_keeps_its_result():
    @sp.plan_cost
    def bad_for_some(stages, plan):
        return nan if stages.size == 4 and stages[0].type == 2 else plan.cost

    problem = small(plan_cost=bad_for_some)
    with pytest.raises(sp.InputError, match="returned nan") as raised:
        sp.solve(problem, "genetic", population=4)
    assert raised.value.result.plan.plan_cost == raised.value.result.plan.cost


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "return stages[0].tiem",
            "does not compile: there is no field tiem; a stage has the fields first, last",
        ),
        ("return unknown", "does not compile: NameError: name 'unknown' is not defined"),
        ("return 'cheap'", "returns .*; it must always return a number"),
        ("pass", "returns None; it must always return a number"),
        ("return stages", "returns .*array.*; it must always return a number"),
    ],
)
def test_what_does_not_compile_is_refused_at_once(body, reason):
    with pytest.raises((sp.InputError, sp.InputTypeError), match=reason):
        made(body)


def test_other_signatures_are_refused():
    with pytest.raises(TypeError, match=r"it must be def energy\(stages, plan\)"):

        @sp.plan_cost
        def energy(stages):
            return 1.0

    with pytest.raises(TypeError, match=r"it must be def energy\(stages, plan, constants\)"):

        @sp.plan_cost(watts=[1.0])
        def energy(stages, plan):
            return 1.0


@pytest.mark.parametrize("value", ["energy", 1.0, len, lambda stages, plan: 1.0])
def test_only_a_plan_cost_is_taken(value):
    with pytest.raises(TypeError, match=r"plan_cost is .*; it must be made by stageplan\.plan_cost"):
        small(plan_cost=value)


def test_constants_must_be_numbers():
    with pytest.raises(TypeError, match="watts has dtype"):
        sp.plan_cost(lambda stages, plan, given: 1.0, watts=["many"])


def test_a_global_that_changes_is_detected(monkeypatch):
    problem = small(plan_cost=of_all_fields)
    monkeypatch.setitem(globals(), "allowed_stages", 2)
    for call in (
        lambda: sp.solve(problem),
        lambda: sp.evaluate(problem, all_schemes(problem)),
        lambda: sp.Plan.of(problem, [0] * 6),
        lambda: small(plan_cost=of_all_fields),
    ):
        with pytest.raises(
            ValueError, match="of_all_fields reads the variable allowed_stages, which has changed"
        ):
            call()


@pytest.mark.parametrize("method", ["exact", "annealing"])
def test_methods_that_do_not_apply_say_so(method):
    with pytest.raises(sp.InputError, match=f"the problem has the plan_cost dollars; method '{method}'"):
        sp.solve(small(plan_cost=dollars, merge="type" if method == "annealing" else "adjacent"), method)


def test_a_relaxation_of_the_objective_may_start_a_search():
    problem = small(plan_cost=of_all_fields)
    best = sp.solve(problem, "enumerate").plan.plan_cost
    assert sp.solve(problem, "genetic", initial="relaxation").plan.plan_cost == best


def test_other_functions_refuse_a_plan_cost(tmp_path):
    problem = small(plan_cost=dollars)
    for call in (
        lambda: sp.pareto(problem),
        lambda: sp.repair(problem),
        lambda: sp.solve_many(problem, min_throughput=[0.1, 0.2]),
        lambda: problem.save(tmp_path / "problem.npz"),
        lambda: sp.solve(problem.replace(max_cost=9.0), "reinforce", accept="incumbent"),
    ):
        with pytest.raises(
            sp.InputError, match=r"plan_cost dollars; .*: pass problem\.replace\(plan_cost=None\)"
        ):
            call()
    assert not list(tmp_path.iterdir())


def test_numbers_of_layers_are_those_of_the_problem():
    kinds = ["embedding", "block", "block", "norm", "head"]
    layers = [
        sp.Layer(name=f"{kind}{i}", kind=kind, compute={"a": 1.0, "b": 1.0}) for i, kind in enumerate(kinds)
    ]
    types = [sp.DeviceType(name=name, price=1.0, limit=1) for name in "ab"]
    workload, cluster = sp.Workload(name="net", layers=layers), sp.Cluster(name="lab", types=types)
    problem = sp.Problem(workload, cluster, sp.Goal(objective="throughput"), plan_cost=dollars)
    assert sp.solve_for(problem, "torch").plan.plan_cost > 0
    with pytest.raises(sp.InputError, match="it would see runs of layers, which the runtime does not divide"):
        sp.solve_for(problem, "vllm")


def test_islands_take_a_plan_cost():
    problem = small(plan_cost=of_all_fields)
    best = sp.solve(problem, "enumerate").plan.plan_cost
    results = [
        sp.solve(problem, "genetic", islands=3, threads=threads, stop=sp.MaxGenerations(2))
        for threads in (1, 2)
    ]
    assert [r.plan.plan_cost for r in results] == [best, best]
    assert results[0].bound == -inf
    with pytest.raises(ValueError, match="plan_cost cost returned nan"):
        sp.solve(small(plan_cost=made("return nan")), "genetic", islands=2)


def test_a_plan_is_saved_without_its_plan_cost(tmp_path):
    problem = small(plan_cost=dollars)
    plan = sp.solve(problem).plan
    plan.save(tmp_path / "plan.json")
    assert sp.Plan.load(tmp_path / "plan.json", problem) == plan


def test_a_plan_cost_of_a_module_is_pickled_by_its_name():
    assert pickle.loads(pickle.dumps(dollars)) is dollars
    problem = small(plan_cost=dollars)
    plan = sp.solve(problem).plan
    again = pickle.loads(pickle.dumps(plan))
    assert again.problem.plan_cost is dollars
    assert again.plan_cost == plan.plan_cost


def test_a_local_plan_cost_is_not_pickled():
    local = made("return 1.0")
    with pytest.raises(ValueError, match="plan_cost cost is not a variable cost of the module"):
        pickle.dumps(local)


def test_without_numba_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(ImportError, match=r'required for a plan_cost; pip install "stageplan\[numba\]"'):
        sp.plan_cost(lambda stages, plan: 1.0)


def test_the_page_on_own_objectives_runs(capsys):
    page = Path(sp.__file__).parent / "docs/own-objective.md"
    blocks = re.findall(r"^```python numba\n(.*?)^```$", page.read_text(), re.M | re.S)
    for block in blocks:
        exec(block, {})
    first, second = map(float, capsys.readouterr().out.split())
    assert first == second > 0
    assert all(f"`{name}`" in page.read_text() for name in (*STAGE.names, *PLAN.names))


def test_verify_recomputes_plan_costs():
    problem = small(plan_cost=of_all_fields)
    plan = sp.solve(problem).plan
    assert sp.verify(problem, plan).feasible
    with pytest.raises(ValueError, match=r"plan\.plan_cost"):
        sp.verify(problem, dataclasses.replace(plan, plan_cost=plan.plan_cost + 0.1))
    refused = problem.replace(plan_cost=forbidden)
    assert not sp.verify(refused, sp.Plan.of(refused, plan.scheme)).feasible


def test_an_environment_rewards_lower_plan_costs():
    gym_env = pytest.importorskip("stageplan.learning.gym_env")
    problem = small(plan_cost=profit)
    rewards = {}
    for scheme in ([0, 0, 0, 1, 1, 1], [2, 2, 2, 2, 1, 1], [0, 1, 0, 1, 0, 1]):
        env = gym_env.PlacementEnv(problem)
        env.reset(seed=0)
        rewards[sp.Plan.of(problem, scheme).plan_cost] = [env.step(label)[1] for label in scheme][-1]
    assert [rewards[cost] for cost in sorted(rewards)] == sorted(rewards.values(), reverse=True)
    assert len(set(rewards.values())) == 3
