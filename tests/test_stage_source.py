"""Listed options in the exact search that has the stages of Amdahl's law too."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest

import stageplan as sp
from stageplan import _core

ROWS = "first", "last", "type", "devices", "time", "memory"
Options = Iterator[tuple[int, float, float]]  # devices, seconds, bytes


def listed(rng: np.random.Generator, steep: float, **goal: Any) -> sp.Problem:
    """Draw some options of each stage: seconds fall with devices to a power of at most `steep`."""

    def options(seconds: float) -> Options:
        total, power = seconds + rng.uniform(0, 0.5), rng.uniform(0.2, steep)
        for k in sorted(rng.choice(np.arange(1, 6), rng.integers(1, 5), replace=False)):
            yield k, total / k**power, rng.uniform(0.5, 3.0)

    return draw(rng, options, **goal)


def listed_on_lines(rng: np.random.Generator, **goal: Any) -> sp.Problem:
    """Draw options of 1, 2, ... devices of each stage: their seconds are the longer of two lines."""
    most = int(rng.integers(1, 5))

    def options(seconds: float) -> Options:
        parallel, transfer = rng.uniform(0.5, 1.0), seconds * rng.uniform(0, 1)
        for k in range(1, most + 1):
            yield k, max(seconds * (1 - parallel + parallel / k), transfer * (0.6 + 0.4 / k)), 1.0

    return draw(rng, options, just_reached=0.5, **goal)


def draw(
    rng: np.random.Generator, options: Callable[[float], Options], just_reached: float = 0, **goal: Any
) -> sp.Problem:
    """Draw a problem of all stages but a few, some with a throughput that an option just reaches."""
    layers, types = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    seconds = rng.uniform(0.5, 2.0, (layers, types))
    rows: dict[str, list[Any]] = {name: [] for name in ROWS}
    for first, last, t in product(range(layers), range(layers), range(types)):
        if first > last or (first < last and rng.random() < 0.2):
            continue
        for option in options(seconds[first : last + 1, t].sum()):
            for name, value in zip(rows, (first, last, t, *option), strict=True):
                rows[name].append(value)
    limits: dict[str, Any] = {}
    objective = str(rng.choice(["cost", "throughput", "price"]))
    if objective == "throughput" or rng.random() < 0.5:
        limits["limit"] = rng.integers(1, 7, types).astype(float)
    if rng.random() < 0.3:
        limits["capacity"] = rng.uniform(1.0, 4.0, types)
    for name, low, high in (("min_throughput", 0.2, 1.0), ("max_price", 2.0, 15.0), ("max_cost", 2.0, 15.0)):
        if rng.random() < 0.3:
            limits[name] = float(rng.uniform(low, high))
    if rng.random() < just_reached:
        limits["min_throughput"] = 1 / float(rng.choice(rows["time"]))
    return sp.Problem.from_options(
        layers, rng.uniform(0.5, 3.0, types), **rows, **limits, **goal, examples=3600.0,
        split=bool(rng.random() < 0.5), objective=objective,
    )  # fmt: skip


DRAWN = {
    "work grows": lambda rng: listed(rng, 1.0),
    "work falls": lambda rng: listed(rng, 2.0),
    "lines": listed_on_lines,
    "lines, few devices": lambda rng: listed_on_lines(rng, max_devices_per_stage=2),
    "lines, transfer after compute": lambda rng: listed_on_lines(rng, overlap=False),
}


@pytest.mark.parametrize("drawn", DRAWN)
def test_the_best_plan_of_all_is_proven(drawn):
    rng = np.random.default_rng(len(drawn))
    served = 0
    for _ in range(150):
        problem = DRAWN[drawn](rng)
        served += _core.Exact.serves(problem.core)
        best, found = sp.solve(problem, "enumerate"), sp.solve(problem, "exact")
        assert best.status == found.status or not found.plan.feasible
        assert best.plan.feasible == found.plan.feasible
        if best.plan.feasible:
            values = [{"cost": p.cost, "throughput": p.time, "price": p.price}[problem.goal.objective]
                      for p in (best.plan, found.plan)]  # fmt: skip
            assert values[1] == pytest.approx(values[0], rel=1e-9)
            assert found.proven
            sp.verify(problem, found.plan)
    assert (served == 150) == (drawn != "work falls")
    assert served > 0


@pytest.mark.parametrize("goal", [{"batch": 4, "schedule": "1f1b", "microbatches": 2}, {"max_stages": 2},
                                  {"same_replicas": True}])  # fmt: skip
def test_what_stages_share_besides_limits_needs_the_other_search(goal):
    problem = listed(np.random.default_rng(0), 1.0)
    assert _core.Exact.serves(problem.core)
    assert not _core.Exact.serves(problem.replace(**goal).core)


def test_devices_that_do_more_together_need_the_other_search():
    rows: dict[str, Any] = {"first": [0, 0], "last": [0, 0], "type": [0, 0], "devices": [1, 2]}
    falls, grows = (sp.Problem.from_options(1, [1.0], **rows, time=[3.0, x], limit=[2]) for x in (1.4, 1.6))
    assert not _core.Exact.serves(falls.core)
    assert _core.Exact.serves(grows.core)
    assert sp.solve(falls, "exact").plan.stages[0].devices == 2
