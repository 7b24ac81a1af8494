"""The sweep over stages that may matter: as cheap a plan as all stages together give."""

from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import reference as ref
from hypothesis import given
from hypothesis import strategies as st
from stageplan._core.testing import cheapest_at
from strategies import problems, random_problem

import stageplan as sp
from stageplan import _core

Prices = npt.NDArray[np.float64]


def stage_price(p: Any, first: int, last: int, t: int, tau: float) -> float:
    """Give $/hour of the fewest devices that bring a stage to tau, infinite where its limits forbid it."""
    inside, outside = p.label_types.index(t), -1
    scheme = [inside if first <= x <= last else outside for x in range(len(p.compute))]
    work = ref.load(p, scheme, ref.Stage(inside, tuple(range(first, last + 1))))
    if work.unsupported or not ref.meets(work.memory, p.capacity[t]) or not ref.reaches(p, work, tau):
        return inf
    k = ref.devices(p, work, t, tau)
    return float(p.price[t]) * k if k <= p.limit[t] else inf


def plain_prices(p: Any, tau: float) -> Prices:
    """Give the least $/hour of the layers before each cut, by the type of the last stage: (L + 1, T)."""
    n_layers, n_types = p.compute.shape
    split = len(p.label_types) > n_types
    least = np.full((n_layers + 1, n_types), inf)
    for cut in range(1, n_layers + 1):
        for first in range(cut):
            for t in range(n_types):
                others = least[first] if split else np.delete(least[first], t)
                before = others.min(initial=inf) if first else 0.0
                least[cut, t] = min(least[cut, t], before + stage_price(p, first, cut - 1, t, tau))
    return least


def check_price(arguments: dict[str, Any], tau: float) -> bool:
    """Compare the least price at a stage time with that of all stages, the limits of each stage kept."""
    arguments = arguments | {"merge": "adjacent"}
    problem, plain = sp.Problem.from_arrays(**arguments), ref.plain_problem(**arguments)
    expected = plain_prices(plain, tau)[-1].min() + plain.fixed_price
    price, bound, scheme = cheapest_at(problem.scorer(None), tau)
    assert price == pytest.approx(expected, rel=1e-12)
    assert bound == pytest.approx(expected, rel=1e-12)
    if price < inf:
        score = sp.evaluate(problem, scheme[None], target=1 / tau)
        assert score.throughput[0] >= (1 - 1e-8) / tau
    return price < inf


def without_shared_limits(arguments: dict[str, Any]) -> dict[str, Any]:
    """Leave of the limits on devices only which types there are."""
    limit = arguments.get("limit")
    if limit is None:
        return arguments
    return arguments | {"limit": [inf if n else 0.0 for n in limit]}


@given(problems(max_layers=8, max_types=3, most_devices=6), st.floats(0.2, 30.0))
def test_price_is_that_of_all_stages(arguments: dict[str, Any], tau: float) -> None:
    check_price(without_shared_limits(arguments), tau)


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("overlap", [False, True])
def test_price_is_that_of_all_stages_on_longer_problems(split: bool, overlap: bool) -> None:
    """Every term of the cost model by turns; enough layers for paths to be ruled out and forgotten."""
    rng, reached = np.random.default_rng(21), 0
    for _ in range(40):
        arguments = random_problem(
            rng, 20, 3, limits=False, goals=False, split=split, overlap=overlap, max_devices_per_stage=12
        )
        reached += check_price(arguments, float(rng.uniform(1.0, 12.0)))
    assert reached > 10


def test_magnitudes_that_drown_in_sums() -> None:
    """A layer that takes ages on one type hides the others in that type's sums, not in its stages."""
    rng = np.random.default_rng(22)
    for _ in range(60):
        arguments = random_problem(
            rng, 16, 3, ties=False, gaps=False, limits=False, goals=False, memory=False
        )
        arguments["compute"][0, 0] = 1e17
        check_price(arguments, float(rng.uniform(2.0, 12.0)))


@pytest.mark.parametrize("n_layers", [64, 160])
def test_free_target_is_that_of_halved_stage_times(n_layers: int) -> None:
    """No plan is cheaper than the least price at the end of a stage-time interval, times its beginning."""
    rng = np.random.default_rng(23)
    for _ in range(3):
        arguments = random_problem(
            rng,
            n_layers,
            16,
            ties=False,
            parallel=True,
            transfers=True,
            limits=False,
            goals=False,
            gaps=False,
        )
        problem = sp.Problem.from_arrays(**arguments | {"examples": 3600.0, "min_throughput": 0.05})
        result = sp.solve(problem, "exact")
        assert result.status.startswith("optimal")
        scorer, times = problem.scorer(None), np.geomspace(0.1, 20.0, 400)
        prices = [cheapest_at(scorer, time)[0] for time in times]
        assert result.plan.cost >= min(np.array(prices[1:]) * times[:-1]) * (1 - 1e-9)
        assert result.plan.cost <= min(np.array(prices) * times) * (1 + 1e-9)


def test_steps_stay_short() -> None:
    """A large problem is processed in slices, none of which constructs more than a share of its stages."""
    rng = np.random.default_rng(24)
    arguments = random_problem(
        rng, 300, 16, ties=False, parallel=True, transfers=True, limits=False, goals=False, gaps=False
    )
    problem = sp.Problem.from_arrays(**arguments, min_throughput=0.1)
    exact, before = _core.Exact(problem.core, np.empty((0, 300), np.int8)), 0
    stages = 300 * 301 // 2 * 16
    while not exact.done:
        exact.step()
        assert exact.work - before < 4 * stages
        before = exact.work
    assert exact.bound == pytest.approx(exact.best_score.cost, rel=1e-8)


def test_types_without_devices_are_in_no_plan() -> None:
    """Not even where they cost nothing."""
    rng = np.random.default_rng(25)
    for _ in range(30):
        arguments = random_problem(rng, 10, 3, limits=False, goals=False, gaps=False, memory=False)
        arguments["price"][1] = 0.0
        arguments["limit"] = [inf, 0.0, inf]
        problem = sp.Problem.from_arrays(**arguments)
        price, _, scheme = cheapest_at(problem.scorer(None), 20.0)
        assert 1 not in {problem.label_types[label] for label in scheme}
        assert check_price(arguments, 20.0) == (price < inf)
