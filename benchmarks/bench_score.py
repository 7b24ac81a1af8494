"""Scoring whole populations: fixed work, each answer checked."""

import numpy as np
import pytest

import stageplan as sp
from benchmarks.support.baselines import NumbaScorer, NumpyScorer
from benchmarks.support.instances import (
    EXAMPLES,
    FAMILIES,
    POPULATIONS,
    example,
    family,
    published,
    scheduled,
    workload_files,
)

SCHEMES = 4096
LIMITS = (None, 4)


def check_same(ours: sp.Scores, rival: sp.Scores) -> None:
    for name, a, b in zip(sp.Scores._fields, ours[:3], rival[:3], strict=False):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12, err_msg=name)


def check_rows(problem: sp.Problem, schemes: np.ndarray, scores: sp.Scores) -> None:
    """Score the first rows alone: what stands around them must not matter."""
    for i in range(3):
        alone = sp.evaluate(problem, schemes[i : i + 1], target=1.0)
        assert [column[0] for column in alone[:3]] == [column[i] for column in scores[:3]]


@pytest.mark.parametrize("kind", POPULATIONS)
@pytest.mark.parametrize(("L", "T"), [(64, 2), (64, 8), (64, 64), (256, 8)])
def test_evaluate(benchmark, L, T, kind):
    problem, schemes = family(L, T, limit=16), POPULATIONS[kind](L, T, SCHEMES)
    scores = benchmark(sp.evaluate, problem, schemes, target=1.0)
    check_rows(problem, schemes, scores)


@pytest.mark.parametrize("by", NumbaScorer.BY)
@pytest.mark.parametrize("kind", POPULATIONS)
@pytest.mark.parametrize("limit", LIMITS)
def test_numba(benchmark, kind, by, limit):
    problem, schemes = family(64, 8, limit=limit), POPULATIONS[kind](64, 8, SCHEMES)
    scorer = NumbaScorer(problem, by=by)
    check_same(sp.evaluate(problem, schemes, target=1.0), scorer(schemes))
    benchmark(scorer, schemes)


@pytest.mark.parametrize("kind", POPULATIONS)
@pytest.mark.parametrize("limit", LIMITS)
def test_numpy(benchmark, kind, limit):
    problem, schemes = family(64, 8, limit=limit), POPULATIONS[kind](64, 8, SCHEMES)
    scores = benchmark(NumpyScorer(problem), schemes)
    check_same(sp.evaluate(problem, schemes, target=1.0), scores)


@pytest.mark.parametrize("name", FAMILIES)
def test_families(benchmark, name):
    problem, schemes = FAMILIES[name](64, 8), POPULATIONS["evolved"](64, 8, SCHEMES)
    scores = benchmark(sp.evaluate, problem, schemes, target=1.0)
    check_same(scores, NumbaScorer(problem)(schemes))


def test_with_a_schedule(benchmark):
    """One scheme's score is that of its plan at the target; all others' come from the same kernel."""
    problem, schemes = scheduled(64, 8), POPULATIONS["evolved"](64, 8, SCHEMES)
    target = sp.Plan.of(problem, schemes[0]).throughput / 2
    scores = benchmark(sp.evaluate, problem, schemes, target=target, threads=1)
    for i in range(0, SCHEMES, SCHEMES // 50):
        exact = sp.Plan.of(problem, schemes[i])
        assert exact.feasible == (scores.violation[i] == 0)
        assert not exact.feasible or scores.cost[i] >= exact.cost * (1 - 1e-9)


def test_one_scheme(benchmark):
    problem, schemes = family(64, 8), POPULATIONS["evolved"](64, 8, 1)
    scores = benchmark(sp.evaluate, problem, schemes, target=1.0)
    check_same(scores, NumbaScorer(problem)(schemes))


def test_exact_provisioning(benchmark):
    problem, schemes = family(64, 8), POPULATIONS["evolved"](64, 8, 256)
    scores = benchmark(sp.evaluate, problem, schemes)
    assert sp.Plan.of(problem, schemes[0]).cost == scores.cost[0]
    at_target = sp.evaluate(problem, schemes, target=1.0)
    assert (scores.cost <= at_target.cost * (1 + 1e-9)).all()


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(benchmark, name):
    check_real(benchmark, example(name))


@pytest.mark.parametrize("path", workload_files() or [None], ids=lambda path: path.stem if path else "absent")
def test_published(benchmark, path):
    if path is None:
        pytest.skip("the published workloads are not beside the project")
    check_real(benchmark, published(path))


def check_real(benchmark, problem: sp.Problem) -> None:
    """Score random schemes of a real network, exactly provisioned."""
    schemes = POPULATIONS["random"](problem.n_layers, problem.n_labels, 32)
    scores = benchmark(sp.evaluate, problem, schemes)
    plans = [sp.Plan.of(problem, scheme) for scheme in schemes[:3]]
    assert [plan.cost for plan in plans] == scores.cost[:3].tolist()
    assert [plan.violation for plan in plans] == scores.violation[:3].tolist()
