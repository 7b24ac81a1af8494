"""Each method of the comparison on a small problem: the answer beside the proven optimum."""

from functools import partial

import pytest

from benchmarks.support.instances import family, mixed
from benchmarks.tables.methods import METHODS, Case, Settings, workloads

BRIEF = Settings(types=(3,), workloads=1, episodes=500, random=10_000, bayes=0.3)
PROVEN, CLOSE = ("exact", "brute force"), ("LSTM", "RNN", "genetic")


@pytest.mark.parametrize("name", METHODS)
def test_method(benchmark, name):
    if name == "Bayesian":
        pytest.importorskip("optuna", reason="optuna is not installed")
    case = Case(mixed(partial(family, 8, 3)), BRIEF)
    found = benchmark(METHODS[name], case)
    assert found.evaluations > 0
    most = 1 + 1e-9 if name in PROVEN else 1.01 if name in CLOSE else float("inf")
    assert 1 - 1e-9 <= found.cost / case.best.cost <= most


@pytest.mark.parametrize("T", [2, 64])
@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in workloads()])
def test_best_plans_are_of_two_types(make, T):
    plan = mixed(partial(make, T))
    assert plan.problem.n_types == T
    assert plan.feasible
    assert len({stage.type for stage in plan.stages}) >= 2
