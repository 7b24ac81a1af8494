"""Sweeps from their file to their rows, beside the native call alone."""

import itertools

import pytest

import stageplan as sp
from benchmarks.support.sweeps import write_sweep


@pytest.mark.parametrize("rows", ["parquet", "jsonl", "none"])
@pytest.mark.parametrize(("L", "T"), [(8, 2), (16, 4)])
def test_sweep(benchmark, tmp_path, L, T, rows):
    """All set-ups on one thread; ``none``: `solve_many` without a sweep."""
    if rows == "parquet":
        pytest.importorskip("pyarrow")
    file = write_sweep(tmp_path, L, T, targets=20, prices=20, chunk=200)
    sweep, number = sp.read_sweep(file), itertools.count()
    problem = sweep.problem(0)
    changes = sweep.changes(problem, 0, len(sweep))
    expected = sp.solve_many(problem, **changes, threads=1)

    def by_sweep():
        directory = tmp_path / str(next(number))
        return [row["cost"] for row in sp.sweep(file, directory, threads=1, rows=rows).rows()]

    def alone():
        return sp.solve_many(problem, **changes, threads=1).cost.tolist()

    assert benchmark(alone if rows == "none" else by_sweep) == expected.cost.tolist()
