"""Chunks: the same rows as of set-ups that are solved one by one."""

import dataclasses
import json

import numpy as np
import pytest
from small_sweeps import LAB, NET, made

import stageplan as sp
from stageplan.sweeps import chunks
from stageplan.sweeps.chunks import chunk_size, fail_chunk, solve_chunk
from stageplan.sweeps.rows import to_lines


def rows_of(solved):
    return [json.loads(line) for line in to_lines(solved.columns, solved.rows).splitlines()]


@pytest.mark.parametrize("span", [(0, 12), (4, 8), (11, 12)])
@pytest.mark.parametrize("work", [None, 50])
def test_rows_are_those_of_each_set_up_alone(span, work):
    sweep = sp.Sweep.of(
        {
            "workload": NET, "cluster": LAB, "method": ["exact", "random"], "seed": 5,
            "min_throughput": [0.1, 0.4, 5.0], "limit.fast": [1, "none"],
        },
        work=work,
    )  # fmt: skip
    stops = {"exact": sp.MaxWork(work) if work else None}
    stops["random"] = sp.NoImprovement(200) | sp.MaxWork(work) if work else None
    for i, row in enumerate(rows_of(solve_chunk(sweep, *span)), span[0]):
        method = ["exact", "random"][i // 6]
        alone = sp.solve(sweep.problem(i), method, seed=5, stop=stops[method]).to_row()
        assert row == {
            "set_up": i, "workload": "net", "cluster": "lab", "limit.fast": [1, None][i % 2], **alone,
        }  # fmt: skip


def test_rows_do_not_depend_on_chunks_and_threads():
    sweep = made()
    whole = rows_of(solve_chunk(sweep, 0, 12, threads=2))
    assert whole == [
        row for first in range(0, 12, 5) for row in rows_of(solve_chunk(sweep, first, min(first + 5, 12)))
    ]


def test_set_ups_whose_values_do_not_go_together_fail_with_the_reason():
    sweep = made(microbatches=[2, "none"], method="exact")
    solved = solve_chunk(sweep, 0, 12)
    rows = rows_of(solved)
    assert {row["error"] for row in rows[:6]} == {
        "microbatches is 2; it must be absent without a schedule (goal)"
    }
    assert [row["status"] for row in rows] == ["failed"] * 6 + ["optimal"] * 6
    assert (rows[0]["cost"], rows[0]["scheme"], rows[0]["stages"]) == (None, None, None)
    assert (rows[0]["microbatches"], rows[0]["min_throughput"], rows[0]["problem"]) == (2, 0.1, "net on lab")
    assert solved.outcomes.statuses == {"failed": 6, "optimal": 6}


def test_one_invalid_number_fails_its_set_up_alone():
    sweep = made(method="exact", examples=[3600.0, 1e300, 7200.0])
    rows = rows_of(solve_chunk(sweep, 0, 18))
    bad = [row for row in rows if row["examples"] == 1e300]
    assert [row["status"] for row in bad] == ["failed"] * 6
    assert "set-up" not in bad[0]["error"]
    good = [row for row in rows if row["examples"] != 1e300]
    assert {row["status"] for row in good} == {"optimal"}
    alone = rows_of(solve_chunk(made(method="exact", examples=[3600.0, 7200.0]), 0, 12))
    assert [row["cost"] for row in good] == [row["cost"] for row in alone]


def test_rows_of_a_chunk_that_failed():
    rows = rows_of(fail_chunk(made(), 3, 6, "its worker died"))
    expected = rows_of(solve_chunk(made(), 3, 6))
    for row, other in zip(rows, expected, strict=True):
        assert (row["status"], row["error"], row["cost"]) == ("failed", "its worker died", None)
        before_results = list(row)[: list(row).index("status")]
        assert [row[name] for name in before_results] == [other[name] for name in before_results]


@pytest.mark.parametrize("method", ["exact", "genetic"])
def test_an_interrupt_abandons_a_chunk(monkeypatch, method):
    name = "solve_many" if method == "exact" else "solve"
    solve = getattr(sp, name)

    def interrupted(*args, **kwargs):
        return dataclasses.replace(solve(*args, **kwargs), interrupted=True)

    monkeypatch.setattr(chunks, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        solve_chunk(made(method=method), 0, 3)


def test_chunks_are_of_about_a_second_of_work():
    assert chunk_size(made()) == 3  # its own
    small = sp.Sweep.of({"workload": NET, "cluster": LAB, "max_cost": {"from": 1, "to": 9, "points": 10**6}})
    assert chunk_size(small) == 2**16  # the most
    other = sp.Sweep.of({"workload": "bert-large", "min_throughput": {"from": 1, "to": 9, "points": 10**6}})
    size = chunk_size(other)
    assert size == chunk_size(other)
    work = solve_chunk(other, 0, 20).outcomes.work / 20
    assert 1e7 < size * work < 1e9


def test_a_sweep_of_which_nothing_can_be_solved_is_refused():
    sweep = sp.Sweep.of({"workload": NET, "cluster": LAB, "microbatches": [2, 3]})
    with pytest.raises(ValueError, match=r"^no set-up can be solved: microbatches is [23]; "):
        chunk_size(sweep)


def test_workloads_are_lowered_once(monkeypatch):
    lowered = []
    monkeypatch.setattr("stageplan.sweeps.sweep.Problem", lambda *a: lowered.append(a) or sp.Problem(*a))
    solve_chunk(made(seed=range(4), split=[False, True]), 0, 96)
    assert len(lowered) == 1


def test_many_set_ups_share_a_native_call(monkeypatch):
    calls = []

    def counted(*args, **kwargs):
        calls.append(len(kwargs["min_throughput"]))
        return sp.solve_many(*args, **kwargs)

    monkeypatch.setattr(chunks, "solve_many", counted)
    solve_chunk(made(method="exact", split=[False, True]), 0, 12)
    assert calls == [6, 6]


def test_columns_are_numpy_arrays_of_the_set_ups():
    columns = solve_chunk(made(), 2, 5).columns
    np.testing.assert_array_equal(columns["set_up"], [2, 3, 4])
