"""The search that learns: fixed generations, the answer beside the proven optimum."""

import pytest

import stageplan as sp
from benchmarks.support.instances import best_plan, family
from benchmarks.tables.reinforce import learn
from stageplan import _core


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_search(benchmark, cell):
    problem, stop = family(16, 8), sp.MaxGenerations(100)
    result = benchmark(sp.solve, problem, "reinforce", cell=cell, threads=1, stop=stop)
    best = best_plan(problem).cost
    assert result.plan.feasible
    assert best * (1 - 1e-9) <= result.plan.cost <= 1.01 * best


@pytest.mark.parametrize("rnn", [False, True], ids=["lstm", "rnn"])
def test_generations_of_the_policy_alone(benchmark, rnn):
    """Each begins from nothing, so that each learns the same."""
    problem = family(64, 8, limit=4)

    def learned():
        search = learn(problem, 0, rnn=rnn)
        for _ in range(20):
            search.step()
        return search

    search = benchmark(learned)
    untrained = learn(problem, 0, rnn=rnn)
    untrained.step()
    assert search.learned.generations == 20
    assert search.learned.baseline > untrained.learned.baseline
    assert search.best_score.cost >= best_plan(problem).cost * (1 - 1e-9)


def test_decode(benchmark):
    problem = family(64, 8)
    features, learned = _core.Features(problem.core), learn(problem, 0).learned
    scheme = benchmark(features.decode, learned)
    assert sp.Plan.of(problem, scheme).cost >= best_plan(problem).cost * (1 - 1e-9)
