"""Options of the stages of a scheme against all choices, one by one."""

import math
from typing import Any

import numpy as np
import pytest
import reference as ref
import reference_options as oracle
from option_problems import draw_problem

import stageplan as sp
from stageplan import _core

TIE = 4e-9
Rank = tuple[float, float]


def rank(problem: sp.Problem, score: Any) -> Rank:
    return score.violation, oracle.objective(problem, score)


def draw_scheme(problem: sp.Problem, rng: np.random.Generator) -> np.ndarray:
    """At most four stages, so that all choices can be tried."""
    L = problem.n_layers
    cuts = np.sort(rng.integers(0, L, 3))
    return rng.integers(0, problem.n_labels, 4)[np.searchsorted(cuts, np.arange(L), side="right")].astype(
        np.int8
    )


def best_of(problem: sp.Problem, plans: list[tuple[Any, int]]) -> Any:
    """The best in time; where none is, the fewest devices for the best time."""
    goal = ref.goal_time(problem) * (1 + _core.TOLERANCE) if ref.goal_time(problem) else math.inf
    in_time = [score for score, _ in plans if score.time <= goal]
    if in_time:
        return min(in_time, key=lambda score: rank(problem, score))
    least = min(score.time for score, _ in plans) * (1 + _core.TOLERANCE)
    return min((plan for plan in plans if plan[0].time <= least), key=lambda plan: plan[1])[0]


def best_choice(problem: sp.Problem, scheme: np.ndarray) -> Any:
    """The best of the groups that all stages have options of; None if there is none."""
    plans: dict[Any, list[tuple[Any, int]]] = {}
    for types, chosen in oracle.choices(problem, scheme.tolist()):
        plan = oracle.score(problem, types, chosen), sum(o.devices for o in chosen)
        plans.setdefault(oracle.group(problem, chosen[0]), []).append(plan)
    best = [best_of(problem, group) for group in plans.values()]
    return min(best, key=lambda score: rank(problem, score), default=None)


@pytest.mark.parametrize("part", range(4))
def test_provisioning_finds_the_best_of_all_choices(part: int) -> None:
    for seed in range(60 * part, 60 * part + 60):
        rng = np.random.default_rng(seed)
        problem = draw_problem(rng, max_layers=6)
        scheme = draw_scheme(problem, rng)
        best = best_choice(problem, scheme)
        if best is None:
            continue
        _, found = problem.scorer(None).provision(scheme)
        expected = rank(problem, best)
        got = rank(problem, found)
        assert got == pytest.approx(expected, rel=TIE, abs=1e-9), seed


def test_the_stages_reported_are_those_scored() -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        problem = draw_problem(rng, max_layers=6)
        scheme = draw_scheme(problem, rng)
        if best_choice(problem, scheme) is None:
            continue
        reports, score = problem.scorer(None).provision(scheme)
        types, options = [], []
        for q, report in enumerate(reports):
            option = oracle.column_option(problem, report.layers, report.type, report.column, report.replicas)
            types.append(report.type)
            options.append(option)
            assert report.in_flight == oracle.in_flight(problem, len(reports) - q)
            assert report.devices == option.devices
            assert report.memory == pytest.approx(option.memory + report.in_flight * option.flight, rel=1e-12)
            assert report.compute + report.transfer == pytest.approx(option.through, rel=1e-12)
            assert report.sync * (problem.goal.batch or 1) == pytest.approx(option.sync, rel=1e-12)
        expected = oracle.score(problem, types, options)
        assert (score.cost, score.time) == pytest.approx((expected.cost, expected.time), rel=1e-12)
        assert score.violation == pytest.approx(expected.violation, rel=1e-9, abs=1e-9)


def test_a_stage_without_an_option_violates_by_its_layers_and_takes_no_devices() -> None:
    problem = sp.Problem.from_arrays(
        compute=np.ones((4, 2)),
        price=[1.0, 2.0],
        column_type=[0, 1],
        column_strategy=["a", "b"],
        same_strategy=True,
    )
    reports, score = problem.scorer(None).provision(np.array([0, 1, 1, 1], dtype=np.int8))
    assert score.violation == 1
    assert (reports[0].devices, reports[0].column) == (0, -1)
