"""Placements of published graphs: fixed steps of the search, reading, the bound."""

import numpy as np
import pytest
from stageplan._core.testing import placement_bound

import stageplan as sp
from benchmarks.support.placement import FOLDER, PUBLISHED, problem_of
from stageplan._core import Annealing

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the folder of published workloads is absent")


@pytest.mark.parametrize("name", PUBLISHED)
def test_read(benchmark, name):
    workload = benchmark(sp.read_workload, FOLDER / f"{name}.json")
    assert workload.layers


@pytest.mark.parametrize("name", PUBLISHED)
def test_search(benchmark, name):
    problem, first = problem_of(name), np.zeros((1, problem_of(name).n_layers), np.int8)

    def search():
        annealing = Annealing(problem.core, 256, 0, 1, first)
        for _ in range(100):
            annealing.step()
        return sp.Plan.of(problem, annealing.best)

    plan = benchmark(search)
    assert plan.feasible
    assert placement_bound(problem.core).time <= plan.time <= 1.1 * PUBLISHED[name].contiguous


@pytest.mark.parametrize("name", PUBLISHED)
def test_bound(benchmark, name):
    problem = problem_of(name)
    bound = benchmark(placement_bound, problem.core)
    assert 0.6 * PUBLISHED[name].known <= bound.time <= PUBLISHED[name].known
