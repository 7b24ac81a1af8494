"""The front: all that brute force finds, within the gap; what is proven; how it is bounded and stopped."""

import importlib
import json
from collections.abc import Callable
from itertools import pairwise, product
from math import ceil, inf, isclose
from typing import Any

import numpy as np
import option_problems
import pytest
import reference as ref
import reference_options as options_ref
from strategies import random_problem

import stageplan as sp
from stageplan import _core

pareto_module: Any = importlib.import_module("stageplan.pareto")  # sp.pareto is the function

TIE = 1e-8


def brute_front(p: Any, against: str) -> list[tuple[float, float]]:
    """Stage time and cost or price of all plans with which no other one is faster and cheaper."""
    plans = []
    for scheme in product(range(len(p.label_types)), repeat=len(p.compute)):
        work = ref.loaded(p, scheme)
        most = [int(min(p.limit[t], ref.most_devices(p))) for t in work.types]
        for devices in product(*(range(1, n + 1) for n in most)):
            score = ref.score_loaded(p, work, devices)
            if score.violation == 0:
                plans.append((score.tau, score.cost if against == "cost" else ref.hourly(p, work, devices)))
    front: list[tuple[float, float]] = []
    for time, value in sorted(plans):
        if not front or value < front[-1][1] * (1 - TIE):
            front.append((time, value))
    return front


def tiny(rng: np.random.Generator, split: bool) -> tuple[sp.Problem, Any]:
    limit = rng.choice([1, 2, 3], 2)
    arguments = random_problem(rng, int(rng.integers(1, 5)), 2, limits=False, split=split, limit=limit)
    return sp.Problem.from_arrays(**arguments), ref.plain_problem(**arguments)


def values(front: sp.Front) -> list[tuple[float, float]]:
    return [(p.plan.time, p.plan.cost if front.against == "cost" else p.plan.price) for p in front.points]


def offer(front: sp.Front, time: float) -> float:
    """The least value of a front's plans that take at most so long."""
    return min((v for t, v in values(front) if t <= time * (1 + TIE)), default=inf)


def check_front(front: sp.Front, true: list[tuple[float, float]]) -> None:
    """The points are feasible, sorted and of the true front; none left out is better by more than the gap."""
    assert front.status.startswith("infeasible") == (not true)
    assert front.proven == all(point.proven for point in front.points)
    for point in front.points:
        sp.verify(point.plan.problem, point.plan)
        assert sp.verify(front.problem, sp.Plan.of(front.problem, point.plan.scheme))
        assert point.plan.feasible
    for (slower, cheaper), (faster, dearer) in pairwise(values(front)):
        assert slower > faster
        assert cheaper < dearer
    for point, (time, value) in zip(front.points, values(front), strict=True):
        least = min(v for t, v in true if t <= time * (1 + TIE))
        assert point.bound <= least * (1 + TIE)
        assert value <= point.bound * (1 + point.gap) * (1 + TIE)
        assert point.proven == point.status.startswith("optimal") == (point.gap == 0)
        if point.proven:
            assert isclose(value, least, rel_tol=TIE)
    for time, value in true:
        assert offer(front, time) <= value * (1 + front.gap) * (1 + TIE)


@pytest.mark.parametrize("against", ["cost", "price"])
@pytest.mark.parametrize("split", [False, True])
def test_brute_force_agrees(against: Any, split: bool) -> None:
    rng, feasible, sizes = np.random.default_rng(21), 0, []
    for _ in range(60):
        problem, oracle = tiny(rng, split)
        true = brute_front(oracle, against)
        whole = sp.pareto(problem, against=against, gap=0)
        assert whole.gap == (0 if true else inf)
        check_front(whole, true)
        assert len(whole.points) == len(true)
        check_front(sp.pareto(problem, against=against, points=4), true)
        few = sp.pareto(problem, against=against, gap=0.2)
        assert few.gap <= 0.2 or not true
        check_front(few, true)
        assert len(few.points) <= len(whole.points)
        feasible += bool(true)
        sizes.append(len(true))
    assert 15 < feasible < 60
    assert max(sizes) > 4


def example(**fixed: Any) -> sp.Problem:
    rng = np.random.default_rng(6)
    compute, send = rng.lognormal(0, 0.8, (16, 3)), rng.lognormal(-3, 0.5, (16, 3))
    return sp.Problem.from_arrays(
        compute,
        [1.0, 1.4, 2.0],
        **{"send": send, "limit": [9, 8, 7], "min_throughput": 0.1, "compute_parallel": 0.97} | fixed,
    )


@pytest.mark.parametrize("against", ["cost", "price"])
def test_points_are_those_of_single_solves(against: Any) -> None:
    """Each is what the exact method finds for its throughput; the ends are the cheapest and the fastest."""
    problem = example()
    front = sp.pareto(problem, against=against)
    assert (front.status, len(front.points) >= (4 if against == "cost" else 15)) == ("optimal", True)
    for point in front.points:
        goal = {"min_throughput": point.plan.throughput * (1 - TIE)}
        alone = sp.solve(problem.replace(**goal), "exact")
        if against == "cost":
            assert isclose(point.plan.cost, alone.plan.cost, rel_tol=TIE)
        else:
            assert point.plan.price <= alone.plan.price * (1 + TIE)
            cheaper = problem.replace(**goal, max_price=point.plan.price * (1 - TIE))
            assert sp.solve(cheaper, "exact").status.startswith("infeasible")
    fastest = sp.solve(problem.replace(objective="throughput"), "exact").plan
    assert isclose(front.points[-1].plan.throughput, fastest.throughput, rel_tol=TIE)
    assert isclose(front.fastest, fastest.throughput, rel_tol=TIE)
    cheapest = sp.solve(problem.replace(objective=against), "exact").plan
    assert isclose(values(front)[0][1], getattr(cheapest, against), rel_tol=TIE)


def brute_front_by_options(p: sp.Problem, against: str) -> list[tuple[float, float]]:
    """Seconds per example and cost or price of all plans with which no other one is faster and cheaper."""
    scored = (
        options_ref.score(p, types, chosen)
        for scheme in product(range(p.n_labels), repeat=p.n_layers)
        for types, chosen in options_ref.choices(p, scheme)
    )
    plans = {(s.time, s.cost if against == "cost" else s.price) for s in scored if s.violation == 0}
    front: list[tuple[float, float]] = []
    for time, value in sorted(plans):
        if not front or value < front[-1][1] * (1 - TIE):
            front.append((time, value))
    return front


@pytest.mark.parametrize("against", ["cost", "price"])
def test_brute_force_agrees_by_options(against: Any) -> None:
    rng = np.random.default_rng(3)
    sizes = []
    for _ in range(12):
        p = option_problems.draw_problem(rng, 2)
        front = sp.pareto(p, against=against, gap=0.0)
        found = [(point.plan.time, getattr(point.plan, against)) for point in reversed(front.points)]
        wanted = brute_front_by_options(p, against)
        assert np.array(found) == pytest.approx(np.array(wanted), rel=1e-8)
        assert front.gap == (0 if wanted else inf)
        assert front.status == ("optimal" if wanted else "infeasible")
        sizes.append(len(found))
    assert max(sizes) > 2


def test_the_objective_does_not_count() -> None:
    by_cost, by_speed = (sp.pareto(example(objective=o), points=5) for o in ("cost", "throughput"))
    assert values(by_cost) == values(by_speed)


def test_more_points_and_a_smaller_gap() -> None:
    problem = example()
    assert sp.pareto(problem, points=30).gap < sp.pareto(problem, points=3).gap
    coarse, fine = sp.pareto(problem, gap=0.2), sp.pareto(problem, gap=0.02)
    assert fine.gap <= 0.02 < coarse.gap <= 0.2
    assert len(coarse.points) < len(fine.points)


def test_the_same_front_each_time() -> None:
    first, second = (sp.pareto(example(), points=6) for _ in range(2))
    assert [(p.plan, p.bound) for p in first.points] == [(p.plan, p.bound) for p in second.points]


# Where it ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("against", ["cost", "price"])
def test_max_throughput_ends_it(against: Any) -> None:
    unlimited = example(limit=None)
    front = sp.pareto(unlimited, against=against, max_throughput=3.0, points=5)
    assert front.points[-1].plan.throughput >= 3.0 * (1 - TIE)
    assert front.points[-2].plan.throughput < 3.0
    assert (front.status, front.fastest) == ("optimal", inf)
    far = sp.pareto(example(), against=against, max_throughput=1e9, points=5)
    assert values(far) == values(sp.pareto(example(), against=against, points=5))


def test_without_any_bound_of_the_throughput() -> None:
    with pytest.raises(ValueError, match=r"^max_throughput is None; it must be given, for nothing bounds"):
        sp.pareto(example(limit=None))


def test_points_of_many_devices() -> None:
    """Each point is the first number of devices that reaches its throughput, also among hundred thousands."""
    problem = sp.Problem.from_arrays([[1.0]], [2.0])
    front = sp.pareto(problem, against="price", points=7, max_throughput=1e6)
    devices = [point.plan.stages[0].devices for point in front.points]
    assert devices == [ceil(10.0**i * (1 - 1e-9)) for i in range(7)]
    assert front.status == "optimal"


def test_a_front_limited_by_the_default_of_devices_per_stage_says_so() -> None:
    front = sp.pareto(sp.Problem.from_arrays([[4.0]], [1.0], limit=[5e6]), points=2)
    assert "proven with at most 1,048,576 devices per stage: no plan is faster than 262,144 examples" in str(
        front
    )


def test_one_layer_has_one_point_a_device() -> None:
    problem = sp.Problem.from_arrays([[4.0]], [2.0], limit=[3], fixed_price=1.0, examples=3600.0)
    front = sp.pareto(problem, points=9)
    assert np.allclose(values(front), [(4 / 3, 28 / 3)])
    by_price = sp.pareto(problem, against="price", gap=0)
    assert np.allclose(values(by_price), [(4.0, 3.0), (2.0, 5.0), (4 / 3, 7.0)])


def test_nothing_fits() -> None:
    front = sp.pareto(example(min_throughput=1e6))
    assert (front.points, front.status, front.gap, front.fastest) == ((), "infeasible", inf, 0.0)
    assert front.proven
    assert str(front).endswith("proven: no plan meets all limits")
    assert json.loads(json.dumps(front.to_dict(), allow_nan=False))["points"] == []


# Stops and texts ---------------------------------------------------------------------------------------


def raise_at(call: int, error: type[BaseException]) -> Callable[[sp.Progress], None]:
    seen: list[sp.Progress] = []

    def callback(progress: sp.Progress) -> None:
        seen.append(progress)
        if len(seen) == call:
            raise error

    return callback


def test_ctrl_c_keeps_the_points_found_so_far() -> None:
    lengths = []
    for call in (1, 2, 3):
        front = sp.pareto(example(), points=8, callback=raise_at(call, KeyboardInterrupt))
        assert front.interrupted
        assert str(front).endswith("(interrupted)")
        lengths.append(len(front.points))
        for point in front.points:
            assert point.plan.feasible
    assert 1 <= lengths[0] <= lengths[-1]


@pytest.mark.parametrize("where", ["callback", "stop"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_errors_of_a_callback_or_stop_carry_the_points_found_so_far(where: str, call: int) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        sp.pareto(example(), points=8, **{where: raise_at(call, ZeroDivisionError)})
    front = caught.value.result
    assert isinstance(front, sp.Front)
    assert not front.interrupted
    assert front.points
    assert len(caught.value.__notes__) == 1


def test_ctrl_c_before_the_fastest_plan_keeps_the_cheapest(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> tuple[float, float]:
        raise KeyboardInterrupt

    monkeypatch.setattr(pareto_module, "_end", interrupt)
    front = sp.pareto(example(), points=8)
    assert front.interrupted
    assert front.points[0].plan.cost == sp.solve(example().replace(objective="cost"), "exact").plan.cost


def test_ctrl_c_in_the_constructor_keeps_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is not followed by another try, which might take as long."""
    whole, made = sp.pareto(example(), points=8), []

    def make(*arguments: Any) -> None:
        made.append(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(_core, "Front", make)
    front = sp.pareto(example(), points=8)
    assert len(made) == 1
    assert (front.interrupted, front.status, len(front.points)) == (True, "feasible", 2)
    for point, end in zip(front.points, (whole.points[0], whole.points[-1]), strict=True):
        assert isclose(point.plan.throughput, end.plan.throughput, rel_tol=TIE)
        assert point.bound <= end.plan.cost * (1 + TIE)
    assert front.gap >= front.points[1].plan.cost / front.points[0].plan.cost - 1


def test_the_constructor_hears_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    made, real = [], _core.Front

    def make(*arguments: Any) -> _core.Front:
        try:
            return real(*arguments)
        except _core.Stopped:
            made.append("stopped")
            raise

    monkeypatch.setattr(_core, "Front", make)
    monkeypatch.setattr(pareto_module, "LATE", 0.0)
    front = sp.pareto(example(), points=8, stop=sp.MaxRuntime(0))
    assert made == ["stopped"]
    assert (front.interrupted, front.status, len(front.points)) == (False, "feasible", 1)
    assert front.points[0].bound <= sp.solve(example(), "exact").plan.cost * (1 + TIE)


def test_of_many_points_both_ends_come_first_where_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = example(objective="price")
    times = [10 * 0.9**i for i in range(12)]
    core = _core.Front(problem.core, times, None, 0.0, np.zeros((1, 16), np.int8))
    search = pareto_module._Search(problem, sp.MaxRuntime(0), None)
    assert len(pareto_module._provisioned(search, core.points)) == len(core.points) > 4
    monkeypatch.setattr(pareto_module, "LATE", 0.0)
    first, last = pareto_module._provisioned(search, core.points)
    assert [first.plan.time, last.plan.time] == [core.points[0].time, core.points[-1].time]


def test_ctrl_c_while_points_are_provisioned_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, made, real = sp.pareto(example(), points=8), [], pareto_module._point

    def point(*arguments: Any) -> sp.Point:
        made.append(arguments)
        if len(made) == 4:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(pareto_module, "_point", point)
    front = sp.pareto(example(), points=8)
    assert front.interrupted
    assert values(front) == values(whole)


def by_options(**fixed: Any) -> sp.Problem:
    rng = np.random.default_rng(1)
    degree = np.array([1, 2, 4, 1, 2, 4])
    return sp.Problem.from_arrays(
        rng.uniform(0.5, 2.0, (20, 6)) / degree**0.8,
        **{"price": [1.0, 2.0], "column_type": [0] * 3 + [1] * 3, "column_degree": degree, "limit": [16, 12]}
        | {"schedule": "1f1b", "microbatches": 8, "batch": 64}
        | fixed,
    )


@pytest.mark.parametrize("stop", [sp.MaxWork(1), sp.MaxRuntime(0)], ids=repr)
def test_a_stop_by_options_leaves_no_gap_unproven(stop: sp.Stop) -> None:
    """Of what was not searched nothing is claimed, and the search of points that are left out ends, too."""
    for asked in ({"gap": 0.01}, {"points": 6}):
        front = sp.pareto(by_options(), stop=stop, **asked)
        assert front.status == "feasible"
        assert front.gap >= max(point.gap for point in front.points) > 0.01
        for (slower, cheaper), (faster, dearer) in pairwise(values(front)):
            assert slower > faster
            assert cheaper < dearer


def test_ctrl_c_by_options_keeps_the_cheapest() -> None:
    front = sp.pareto(by_options(), callback=raise_at(1, KeyboardInterrupt))
    assert front.interrupted
    assert [p.plan.cost for p in front.points] == [sp.solve(by_options(), "exact").plan.cost]


def test_one_search_that_stagnates_does_not_end_the_others() -> None:
    assert len(sp.pareto(by_options(), points=4, stop=sp.NoImprovement(1)).points) > 2


def test_ctrl_c_in_the_constructor_by_options_keeps_the_points(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("stageplan.solve")
    real, made = module.exact_search, []

    def make(*arguments: Any) -> Any:
        made.append(arguments)
        if len(made) > 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(module, "exact_search", make)
    front = sp.pareto(by_options(), points=5)
    assert front.interrupted
    assert len(front.points) > 2
    assert len(made) == 5  # the last one for a bound


def test_a_stop_counts_all_the_work() -> None:
    seen: list[sp.Progress] = []
    front = sp.pareto(example(), callback=seen.append, points=8)
    assert seen[-1].generation == front.generations
    assert seen[-1].evaluations == front.evaluations
    assert all(a.runtime <= b.runtime for a, b in pairwise(seen))
    stopped = sp.pareto(example(), stop=sp.MaxGenerations(1), points=8)
    assert stopped.generations <= 3
    assert stopped.points


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"against": "money"}, ValueError, "against is 'money'; it must be one of 'cost', 'price'"),
        ({"points": 1}, ValueError, "points is 1; it must be a whole number, at least 2"),
        ({"points": 2.0}, TypeError, "points is 2.0; it must be a whole number"),
        ({"gap": -0.1}, ValueError, "gap is -0.1; it must be a finite number, at least 0"),
        ({"gap": 0.1, "points": 5}, ValueError, "gap is 0.1 and points is 5; one of them must be left out"),
        ({"max_throughput": 0}, ValueError, "max_throughput is 0; it must be a finite number, more than 0"),
        ({"stop": 5}, TypeError, "stop is 5; it must be callable"),
        ({"problem": "p"}, TypeError, "problem is str; it must be a Problem"),
        (
            {"problem": example(merge="type")},
            ValueError,
            "merge is 'type'; a front requires merge 'adjacent'",
        ),
    ],
    ids=str,
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=r"^" + text):
        sp.pareto(**{"problem": example()} | arguments)
