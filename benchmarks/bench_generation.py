"""Whole generations of genetic algorithms: fixed work, the best cost checked."""

import numpy as np
import pytest

import stageplan as sp
from benchmarks.support import peers
from benchmarks.support.baselines import INFEASIBLE, NumbaGenetic
from benchmarks.support.instances import best_plan, family

GENERATIONS = 10
PEER_POPULATION = 256


@pytest.fixture(scope="module")
def problem() -> sp.Problem:
    return family(64, 8)


@pytest.fixture(scope="module")
def bound(problem) -> float:
    return best_plan(problem).cost * (1 - 1e-9)


@pytest.mark.parametrize("population", [256, 4096])
def test_stageplan(benchmark, problem, bound, population):
    stop = sp.MaxGenerations(GENERATIONS)
    result = benchmark(sp.solve, problem, "genetic", population=population, stop=stop)
    assert result.generations == GENERATIONS
    assert result.plan.feasible
    assert bound <= result.plan.cost <= 2 * bound


@pytest.mark.parametrize("parallel", [False, True], ids=["serial", "prange"])
def test_numba(benchmark, problem, bound, parallel):
    genetic = NumbaGenetic(problem, 4096, parallel=parallel)
    before = genetic.fitness.min()
    cost = benchmark(genetic.advance, GENERATIONS)
    assert bound <= cost < before
    scores = sp.evaluate(problem, genetic.population, target=1.0)
    feasible = scores.violation == 0
    np.testing.assert_allclose(genetic.fitness[feasible], scores.cost[feasible])
    assert (genetic.fitness[~feasible] >= INFEASIBLE).all()


@pytest.mark.parametrize("name", peers.PEERS)
def test_peer(benchmark, problem, bound, name):
    if reason := peers.why_absent(name):
        pytest.skip(reason)
    advance = peers.start(name, problem, PEER_POPULATION)
    first = advance(1)
    cost = benchmark(advance, GENERATIONS)
    assert bound <= cost * (1 + 1e-6)
    assert cost <= first * 1.5  # DEAP keeps no elite
