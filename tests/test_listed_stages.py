"""Bounds of listed options, and the first option that is fast enough, against all plans."""

from itertools import product
from typing import Any

import numpy as np
import pytest

import stageplan as sp
from stageplan import _core


def listed(rng: np.random.Generator, falls: bool, **goal: Any) -> sp.Problem:
    """Draw options, several of as many devices, some slower with more; all lie on a curve if it `falls`."""
    layers, types = int(rng.integers(2, 6)), int(rng.integers(1, 4))
    rows: dict[str, list[Any]] = {
        name: [] for name in ("first", "last", "type", "devices", "time", "sync", "memory")
    }
    for first in range(layers):
        for last in range(first, layers):
            for t in range(types):
                serial, parallel, slower = rng.uniform(0.1, 1, 3) * (last - first + 1)
                for k in np.sort(rng.integers(1, 9, rng.integers(1, 7))).tolist():
                    time = (serial + parallel / k) * (1 if falls else rng.uniform(0.8, 1.2))
                    if rng.random() < 0.3:
                        time += slower * k  # as good as useless
                    option = first, last, t, k, time, 0.01 * serial, rng.uniform(0.5, 3.0) / k
                    for name, value in zip(rows, option, strict=True):
                        rows[name].append(value)
    return sp.Problem.from_options(
        layers, rng.uniform(0.5, 3.0, types), **rows, capacity=rng.uniform(0.5, 3.0, types), examples=3600.0,
        fixed_price=float(rng.choice([0.0, 5.0])), split=bool(rng.random() < 0.5), **goal,
    )  # fmt: skip


GOALS: list[dict[str, Any]] = [
    {}, {"max_devices_per_stage": 5}, {"min_throughput": 0.4}, {"max_price": 12.0}, {"objective": "price",
    "min_throughput": 0.4}, {"objective": "throughput", "max_devices_per_stage": 6},
]  # fmt: skip


@pytest.mark.parametrize("falls", [True, False])
@pytest.mark.parametrize("goal", GOALS)
def test_the_best_plan_is_found(goal, falls):
    rng = np.random.default_rng(len(str(goal)))
    for _ in range(25):
        problem = listed(rng, falls, **goal)
        best, found = sp.solve(problem, "enumerate"), sp.solve(problem, "exact")
        assert best.plan.feasible == found.plan.feasible
        if best.plan.feasible:
            name = {"throughput": "time"}.get(problem.goal.objective, problem.goal.objective)
            assert getattr(found.plan, name) == pytest.approx(getattr(best.plan, name), rel=1e-9)
            assert found.proven
            sp.verify(problem, found.plan)


def costs_of(problem: sp.Problem, runs: list[tuple[int, int, int]]) -> list[float]:
    """Compute the costs of all choices of options of some stages that keep the goal."""
    goal, options, costs = problem.goal, problem.options, []
    slowest = 1e9 if goal.min_throughput is None else 1 / goal.min_throughput
    for chosen in product(*(range(*options.of(*run, problem.n_layers).indices(10**6)) for run in runs)):
        types = [t for _, _, t in runs]
        time = max(options.time[i] + options.sync[i] for i in chosen)
        price = problem.fixed_price + sum(
            problem.price[t] * options.devices[i] for t, i in zip(types, chosen, strict=True)
        )
        fits = all(options.memory[i] <= problem.capacity[t] for t, i in zip(types, chosen, strict=True))
        most = max(options.devices[i] for i in chosen)
        if (
            fits
            and most <= (goal.max_devices_per_stage or 99)
            and time <= slowest
            and price <= (goal.max_price or 1e9)
        ):
            costs.append(time * price)
    return costs


def test_the_options_of_a_scheme_are_the_best_of_all():
    rng = np.random.default_rng(7)
    feasible = 0
    for i in range(120):
        problem = listed(rng, falls=i % 2 == 0, **GOALS[i % 4])
        cut, (left, right) = (
            int(rng.integers(1, problem.n_layers)),
            rng.permutation(max(2, problem.n_types))[:2],
        )
        if problem.n_types == 1:
            continue
        labels = [problem.n_labels // problem.n_types * int(t) for t in (left, right)]
        plan = sp.Plan.of(problem, np.repeat(labels, [cut, problem.n_layers - cut]))
        costs = costs_of(problem, [(0, cut - 1, int(left)), (cut, problem.n_layers - 1, int(right))])
        assert plan.feasible == bool(costs)
        feasible += plan.feasible
        if costs:
            assert plan.cost == pytest.approx(min(costs), rel=4e-9)
    assert feasible > 20


@pytest.mark.parametrize("objective", ["cost", "price"])
@pytest.mark.parametrize("limit", [None, 12.0])
def test_many_layers_by_amdahls_law_have_the_same_best_plan(objective, limit):
    """Those of a small problem are all weighed, those of a large one are walked through."""
    for L, T, seed in ((30, 3, 0), (90, 9, 1)):
        rng = np.random.default_rng(seed)
        seconds = rng.lognormal(0, 0.5, (L, T)) * 10 / L
        given = {
            "price": rng.uniform(1, 3, T), "limit": None if limit is None else np.full(T, limit),
            "max_devices_per_stage": 12, "min_throughput": 1.0, "objective": objective,
        }  # fmt: skip
        law = sp.Problem.from_arrays(seconds, compute_parallel=np.full((L, T), 0.9), **given)
        first, last = np.triu_indices(L)
        total = np.vstack([np.zeros(T), seconds.cumsum(axis=0)])
        work = total[last + 1] - total[first]
        devices = np.arange(1, 13)
        shape = len(first), T, 12
        spread = {
            "first": first[:, None, None], "last": last[:, None, None], "type": np.arange(T)[:, None],
            "devices": devices, "time": work[:, :, None] * (0.1 + 0.9 / devices),
        }  # fmt: skip
        rows = {name: np.broadcast_to(values, shape).ravel() for name, values in spread.items()}
        own = sp.Problem.from_options(L, **given, **rows)
        assert _core.Exact.serves(own.core)
        best, found = sp.solve(law, "exact"), sp.solve(own, "exact")
        assert found.proven
        assert best.proven
        assert getattr(found.plan, objective) == pytest.approx(getattr(best.plan, objective), rel=1e-9)
