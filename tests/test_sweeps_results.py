"""Results of a sweep."""

import json

import pytest
from small_sweeps import made

import stageplan as sp


@pytest.fixture(params=["jsonl", "parquet"])
def results(request, tmp_path):
    if request.param == "parquet":
        pytest.importorskip("pyarrow")
    return sp.sweep(made(max_cost=[1.0, "none"]), tmp_path / "rows", rows=request.param)


def test_an_opened_directory_is_the_same(results):
    assert sp.SweepResults.open(results.directory) == results
    assert results.complete
    assert (results.chunks, results.done, results.failed) == (8, 8, 0)
    assert sum(results.statuses.values()) == 24


def test_rows_are_those_of_all_set_ups_in_their_order(results):
    rows = list(results.rows())
    assert [row["set_up"] for row in rows] == list(range(24))
    row = rows[7]
    assert row["cost"] == sp.Plan.of(results.sweep.problem(7), row["scheme"]).cost


def test_it_is_shown_with_its_counts(results):
    text = str(results)
    assert text.startswith("prices: 24 set-ups: method (2) x ")
    assert "; 8 of 8 chunks are complete\n" in text
    assert all(f"{count}  {status}" in text for status, count in results.statuses.items())


def test_merged_rows(results, tmp_path):
    suffix = next(results.directory.glob("chunks/*")).suffix
    results.merge(tmp_path / f"all{suffix}")
    if suffix == ".jsonl":
        rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    else:
        rows = pytest.importorskip("pyarrow.parquet").read_table(tmp_path / "all.parquet").to_pylist()
    assert rows == list(results.rows())


def test_outputs_that_are_refused(results, tmp_path):
    chunk = next(results.directory.glob("chunks/*"))
    before = chunk.read_bytes()
    with pytest.raises(ValueError, match=r"all.csv; it must be a file \.(jsonl|parquet), as the rows"):
        results.merge(tmp_path / "all.csv")
    with pytest.raises(ValueError, match="it must not be among the chunks of the sweep"):
        results.merge(chunk)
    assert chunk.read_bytes() == before


def test_a_sweep_that_is_not_complete_is_not_merged(results, tmp_path):
    next(results.directory.glob("chunks/*")).unlink()
    again = sp.SweepResults.open(results.directory)
    assert not again.complete
    suffix = next(results.directory.glob("chunks/*")).suffix
    with pytest.raises(ValueError, match=r": 1 of 8 chunks are missing$"):
        again.merge(tmp_path / f"all{suffix}")
    assert not (tmp_path / f"all{suffix}").exists()


def test_merging_removes_what_killed_runs_left(results, tmp_path):
    chunk = next(results.directory.glob("chunks/*"))
    scratch = chunk.with_name(".stageplan-0123abcd.tmp")
    scratch.write_text("half")
    results.merge(tmp_path / f"all{chunk.suffix}")
    assert not scratch.exists()
