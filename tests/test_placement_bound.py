"""Bounds of placements: no feasible plan is below them, and simple ones meet them."""

from itertools import product
from math import inf
from typing import Any

import numpy as np
import pytest
from conftest import Draw
from stageplan._core.testing import placement_bound

import stageplan as sp


def by_type(compute: Any, price: Any, **fixed: Any) -> sp.Problem:
    return sp.Problem.from_arrays(compute, price, merge="type", examples=3600, **fixed)


def test_no_feasible_plan_is_below(draw: Draw) -> None:
    rng, feasible, close = np.random.default_rng(17), 0, 0
    for _ in range(120):
        problem, _ = draw(rng, max_layers=5, max_types=3, merge="type")
        if problem.n_labels**problem.n_layers > 400:
            continue
        least = placement_bound(problem.core)
        schemes = np.array(list(product(range(problem.n_labels), repeat=problem.n_layers)), np.int8)
        plans = [plan for plan in (sp.Plan.of(problem, scheme) for scheme in schemes) if plan.feasible]
        assert all(plan.cost >= least.cost and plan.time >= least.time for plan in plans)
        assert all(plan.price >= least.price for plan in plans)
        feasible += bool(plans)
        close += any(plan.time <= 1.1 * least.time for plan in plans)
    assert feasible > 30
    assert close > 10


@pytest.mark.parametrize(
    ("compute", "price", "fixed", "cost", "time", "rent"),
    [
        ([[1.0], [1.0], [1.0], [1.0]], [2.0], {"limit": [2], "split": True}, 8.0, 2.0, 2.0),
        ([[1.0], [1.0]], [2.0], {"limit": [4], "compute_parallel": 0.5}, 4.0, 1.25, 2.0),
        ([[3.0], [1.0]], [2.0], {"limit": [3], "split": True, "max_devices_per_stage": 1}, 8.0, 3.0, 2.0),
        (
            [[1.0, 2.0], [2.0, 1.0]],
            [1.0, 1.0],
            {"max_devices_per_stage": 1, "fixed_price": 1.0},
            3.0,
            1.0,
            2.0,
        ),
        ([[1.0], [1.0]], [2.0], {"limit": [4], "min_throughput": 2.0}, 4.0, 0.5, 8.0),
        ([[1.0, inf]], [1.0, 1.0], {"limit": [0, 1]}, inf, inf, inf),
        ([[0.0]], [1.0], {}, 0.0, 0.0, 1.0),
    ],
    ids=["even", "one stage", "a long layer", "two types", "a rate", "no device", "no time"],
)
def test_known_bounds(compute: Any, price: Any, fixed: dict, cost: float, time: float, rent: float) -> None:
    score = placement_bound(by_type(compute, price, **fixed).core)
    found = score.cost, score.time, score.price
    assert found == pytest.approx((cost, time, rent), rel=1e-6)
    assert all(bound <= value for bound, value in zip(found, (cost, time, rent), strict=True))


def test_the_prices_of_types_are_found() -> None:
    """Layers at will on two types: of 12 seconds on one, or 24 on the other, two thirds go to the first."""
    problem = by_type(np.tile([0.1, 0.2], (120, 1)), [1.0, 1.0], limit=[1, 1])
    assert placement_bound(problem.core).time == pytest.approx(8.0, rel=1e-3)
