"""The loop around a native search: what a stopped step counts for, and what joins the history."""

import itertools
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from test_state import PROBLEMS

import stageplan as sp
from stageplan import _core
from stageplan.search_loop import bound_improved, run_search


class Interrupted:
    """A search in which Ctrl-C comes while a step is under way: Python raises it behind the step."""

    def __init__(self, search: Any, steps: int) -> None:
        self.search, self.steps = search, steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self.search, name)

    def step(self) -> None:
        self.search.step()
        self.steps -= 1
        if self.steps == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("steps", [1, 3])
def test_a_step_that_ctrl_c_ends_counts(steps: int) -> None:
    rng = np.random.default_rng(0)
    arrays = rng.lognormal(0, 1, (20, 4)), rng.lognormal(0, 1, 4)
    problem = sp.Problem.from_arrays(*arrays, min_throughput=1.0, max_devices_per_stage=64)
    search = Interrupted(_core.RandomSearch(problem.core, 0, 1), steps)
    progress, history, ended_by = run_search(problem, search, None, None)
    assert isinstance(ended_by, KeyboardInterrupt)
    assert progress.generation == steps
    assert progress.evaluations == search.evaluations
    assert history[-1].cost == progress.cost == search.best_score.cost


def test_the_history_has_the_bounds_that_a_proof_raises() -> None:
    """Entries follow one another in the gap, at least by a hundredth where the plan stays."""
    result = sp.solve(PROBLEMS["many intervals"], "exact")
    assert any(p.stagnation > 0 for p in result.history)
    for before, after in itertools.pairwise(result.history):
        assert after.stagnation == 0 or after.gap < 0.99 * before.gap
    assert result.history[-1].gap == 0


def test_the_history_has_the_bound_where_no_plan_is_feasible() -> None:
    result = sp.solve(PROBLEMS["nothing fits"], "exact")
    assert result.status == "infeasible"
    assert result.history[-1].bound == math.inf


@pytest.mark.parametrize(
    ("objective", "before", "after", "news"),
    [
        ("cost", (3.0, 1.0), (3.0, 1.005), False),
        ("cost", (3.0, 1.0), (3.0, 1.1), True),
        ("cost", (3.0, 2.99), (3.0, 3.0), True),
        ("cost", (3.0, 0.0), (3.0, 0.1), True),
        ("cost", (3.0, 1.0), (3.0, 1.0), False),
        ("throughput", (3.0, math.inf), (3.0, 30.0), True),
        ("throughput", (3.0, 30.0), (3.0, 29.9), False),
        ("throughput", (3.0, 30.0), (3.0, 29.0), True),
        ("infeasible", (3.0, 1.0), (3.0, 1.005), False),
        ("infeasible", (3.0, 1.0), (3.0, 1.02), True),
        ("infeasible", (3.0, 0.0), (3.0, math.inf), True),
        ("infeasible", (3.0, math.inf), (3.0, math.inf), False),
        ("infeasible", (3.0, -2.0), (3.0, -2.0), False),
        ("infeasible", (3.0, -math.inf), (3.0, -2.0), True),
    ],
)
def test_small_steps_of_the_bound_are_left_out(
    objective: str, before: tuple[float, float], after: tuple[float, float], news: bool
) -> None:
    earlier = sp.solve(PROBLEMS["limits"], "greedy").history[-1]

    def progress(value: float, bound: float) -> sp.Progress:
        violation = float(objective == "infeasible")
        kind = "throughput" if objective == "throughput" else "cost"
        values = {"cost": value, "throughput": value, "violation": violation, "objective": kind}
        return msgspec.structs.replace(earlier, bound=bound, **values)

    assert bound_improved(progress(*after), progress(*before)) == news
