"""Scores of whole populations, against the oracle; what is refused; that nothing is copied."""

import subprocess
import sys
from collections.abc import Iterable
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference as ref
from conftest import Draw
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import open_problems, problems, random_problem, schemes

import stageplan as sp

COMPUTE = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


def rows(*genes: Iterable[int]) -> Any:
    """Make a population."""
    return np.array(genes, dtype=np.int8)


def check(problem: sp.Problem, oracle: Any, population: Any, target: float | None) -> None:
    """Compare scores with the oracle's."""
    scores = sp.evaluate(problem, population, target)
    expected = [ref.evaluate(oracle, row.tolist(), target).score for row in population]
    cost, tau, violation, price = np.array(expected).T
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(scores.throughput, 1 / tau, rtol=1e-8)
    np.testing.assert_allclose(scores.cost, cost, rtol=1e-8)
    np.testing.assert_allclose(scores.violation, violation, rtol=1e-6)  # zeros agree exactly
    assert (scores.price is None) == (problem.goal.objective != "price")
    if scores.price is not None:
        np.testing.assert_allclose(scores.price, price, rtol=1e-8)


# Against the oracle ------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_target", [False, True])
def test_many_problems(draw: Draw, at_target: bool) -> None:
    rng = np.random.default_rng(20)
    for _ in range(600):
        problem, oracle = draw(rng)
        population = rng.integers(0, problem.n_labels, (3, problem.n_layers), dtype=np.int8)
        check(problem, oracle, population, float(np.exp(rng.uniform(-3, 1))) if at_target else None)


@settings(max_examples=200)
@given(problems(), st.none() | st.floats(0.01, 10.0), st.data())
def test_any_problem(arguments: dict[str, Any], target: float | None, data: st.DataObject) -> None:
    problem = sp.Problem.from_arrays(**arguments)
    population = rows(
        *data.draw(st.lists(schemes(problem.n_labels, problem.n_layers), min_size=1, max_size=4))
    )
    check(problem, ref.plain_problem(**arguments), population, target)


@given(open_problems(), st.floats(0.01, 10.0), st.data())
def test_any_problem_without_limits(arguments: dict[str, Any], target: float, data: st.DataObject) -> None:
    problem = sp.Problem.from_arrays(**arguments)
    population = rows(data.draw(schemes(problem.n_labels, problem.n_layers)))
    check(problem, ref.plain_problem(**arguments), population, target)


@pytest.mark.parametrize(("n_layers", "n_types"), [(128, 8), (1500, 10)])
def test_long_networks(n_layers: int, n_types: int) -> None:
    """The second is too large for a table of all stages."""
    rng = np.random.default_rng(3)
    arguments = random_problem(rng, n_layers, n_types, parallel=True, graph=False, merge="adjacent")
    starts = rng.integers(0, n_types, (4, n_layers // 10), dtype=np.int8)
    population = np.ascontiguousarray(np.repeat(starts, 10, axis=1)[:, :n_layers])
    population = np.pad(population, ((0, 0), (0, n_layers - population.shape[1])), mode="edge")
    check(sp.Problem.from_arrays(**arguments), ref.plain_problem(**arguments), population, 0.02)


def test_populations_of_more_than_a_block(draw: Draw) -> None:
    """Each scheme is scored for itself, wherever it stands."""
    rng = np.random.default_rng(4)
    problem, _ = draw(rng, split=True, merge="adjacent")
    population = rng.integers(0, problem.n_labels, (2500, problem.n_layers), dtype=np.int8)
    order = rng.permutation(2500)
    for target in (None, 0.5):
        scores, shuffled = (sp.evaluate(problem, x, target) for x in (population, population[order]))
        assert scores.plan_cost is shuffled.plan_cost is None
        for one, other in zip(scores[:4], shuffled[:4], strict=True):
            np.testing.assert_array_equal(one[order], other)


def test_targets_take_turns() -> None:
    """A problem remembers how to score at its last target, and at that one only."""
    problem, population = sp.Problem.from_arrays(COMPUTE, [1, 1]), rows([0, 1, 0])
    targets = [0.5, 2.0, None]
    alone = [sp.evaluate(sp.Problem.from_arrays(COMPUTE, [1, 1]), population, t) for t in targets]
    assert len({float(scores.throughput[0]) for scores in alone}) == 3
    for target, scores in [*zip(targets, alone, strict=True)] * 2:
        assert sp.evaluate(problem, population, target) == scores


def test_one_label() -> None:
    problem = sp.Problem.from_arrays([[2.0], [4.0]], [3], examples=3600)
    assert [x.tolist() for x in sp.evaluate(problem, rows([0, 0]), 1 / 3)[:3]] == [[18], [1 / 3], [0]]


def test_no_time_at_all() -> None:
    """A pipeline that takes no time has infinite throughput, and costs nothing."""
    scores = sp.evaluate(sp.Problem.from_arrays([[0.0]], [3], min_throughput=5), rows([0]))
    assert [x.tolist() for x in scores[:3]] == [[0], [inf], [0]]


def test_no_score_is_nan() -> None:
    """The largest numbers that are allowed do not overflow."""
    problem = sp.Problem.from_arrays([[1e60], [1e60]], [1e60], examples=1e60, max_cost=1e-60)
    assert not np.isnan(sp.evaluate(problem, rows([0, 0]))[:3]).any()


# What is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [None, 2.0])
@pytest.mark.parametrize(
    ("position", "gene"), [((0, 0), -1), ((5000, 1), -128), ((1, 2), 2), ((9999, 2), 127)]
)
def test_a_gene_that_is_not_a_label(target: float | None, position: tuple[int, int], gene: int) -> None:
    """The first one is named, also in a large population."""
    population = np.zeros((10000, 3), np.int8)
    population[-1, -1] = 100
    population[position] = gene
    where = rf"^schemes\[{position[0]}, {position[1]}\] is {gene}; it must be a label from 0 to 1$"
    with pytest.raises(ValueError, match=where):
        sp.evaluate(sp.Problem.from_arrays(COMPUTE, [1, 1]), population, target)


def test_all_128_labels() -> None:
    problem = sp.Problem.from_arrays(np.ones((1, 128)), np.arange(128), examples=3600)
    population = np.arange(128, dtype=np.int8)[:, None]
    np.testing.assert_array_equal(sp.evaluate(problem, population, 1).cost, np.arange(128))
    with pytest.raises(ValueError, match=r"^schemes\[0, 0\] is -1; it must be a label from 0 to 127$"):
        sp.evaluate(problem, rows([-1]), 1)


@pytest.mark.parametrize("dtype", [np.int16, np.int64, np.uint8, np.float64, bool, object])
def test_other_dtypes(dtype: Any) -> None:
    with pytest.raises(TypeError, match=r"^schemes is .*; it must be a numpy array of int8$"):
        sp.evaluate(sp.Problem.from_arrays(COMPUTE, [1, 1]), np.zeros((1, 3), dtype))


@pytest.mark.parametrize("schemes", [[[0, 0, 0]], None, b"\0\0\0"])
def test_no_array(schemes: Any) -> None:
    with pytest.raises(TypeError, match=r"^schemes is .*; it must be a numpy array of int8$"):
        sp.evaluate(sp.Problem.from_arrays(COMPUTE, [1, 1]), schemes)


@pytest.mark.parametrize("shape", [(3,), (), (1, 2), (1, 4), (0,), (0, 2), (1, 1, 3)])
def test_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^schemes has shape .*; it must be \(n, 3\)$"):
        sp.evaluate(sp.Problem.from_arrays(COMPUTE, [1, 1]), np.zeros(shape, np.int8))


@pytest.mark.parametrize("target", [None, 2.0])
def test_empty_population(target: float | None) -> None:
    scores = sp.evaluate(sp.Problem.from_arrays(COMPUTE, [1, 1]), np.empty((0, 3), np.int8), target)
    assert [(x.shape, x.dtype) for x in scores[:3]] == [((0,), np.float64)] * 3


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (0, ValueError),
        (-1.0, ValueError),
        (nan, ValueError),
        (inf, ValueError),
        ("2", TypeError),
        (True, TypeError),
    ],
)
def test_bad_target(target: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"^target is {target!r}; it must be "):
        sp.evaluate(sp.Problem.from_arrays(COMPUTE, [1, 1]), rows([0, 0, 0]), target)


# In place ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("array", [np.zeros((4, 3), np.int8, order="F"), np.zeros((8, 3), np.int8)[::2]])
def test_not_contiguous(array: Any) -> None:
    with pytest.raises(ValueError, match=r"^schemes is not C-contiguous"):
        sp.evaluate(sp.Problem.from_arrays(COMPUTE, [1, 1]), array)


def test_read_only_and_memory_mapped(tmp_path: Path) -> None:
    problem = sp.Problem.from_arrays(COMPUTE, [1, 1])
    population = np.random.default_rng(5).integers(0, 2, (100, 3), dtype=np.int8)
    population.tofile(tmp_path / "population")
    mapped = np.memmap(tmp_path / "population", np.int8, mode="r", shape=(100, 3))
    expected = sp.evaluate(problem, population.copy(), 1.0)
    population.flags.writeable = False
    for same in (population, mapped):
        np.testing.assert_array_equal(sp.evaluate(problem, same, 1.0)[:3], expected[:3])


PEAK = """
import numpy as np, stageplan as sp
problem = sp.Problem.from_arrays(np.ones((64, 4)), np.ones(4))
population = np.ones((1_000_000, 64), np.int8)
sp.evaluate(problem, population[:5000], 1.0)
peak = lambda: int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
before = peak()
sp.evaluate(problem, population, 1.0)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_memory_of_a_million_schemes() -> None:
    """They take 61 MiB, and their scores 23; nothing else may grow with them."""
    run = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 35
