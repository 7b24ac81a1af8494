"""The front over a sweep."""

import msgspec
import pytest
from small_sweeps import LAB, NET, made

import stageplan as sp

OTHER = msgspec.structs.replace(
    NET, name="other", layers=(sp.Layer(name="a", compute={"slow": 8.0, "fast": 3.0}), *NET.layers[1:])
)


def expected(results, against):
    """Find the front by comparing all pairs of rows."""
    rows = [row for row in results.rows() if row["violation"] == 0]
    front = []
    for row in rows:
        beaten = any(
            (other["workload"], other["examples"]) == (row["workload"], row["examples"])
            and other["throughput"] >= row["throughput"]
            and other[against] <= row[against]
            and (
                (other["throughput"], -other[against]) != (row["throughput"], -row[against])
                or other["set_up"] < row["set_up"]
            )
            for other in rows
        )
        if not beaten:
            front.append((row["workload"], row[against], row["set_up"]))
    return sorted(front)


@pytest.mark.parametrize("rows", ["jsonl", "parquet"])
@pytest.mark.parametrize("against", ["cost", "price"])
def test_no_row_of_the_front_is_beaten(tmp_path, rows, against):
    if rows == "parquet":
        pytest.importorskip("pyarrow")
    axes = {
        "workload": [NET, OTHER],
        "cluster": LAB,
        "min_throughput": [0.1, 0.4, 0.7, 1e5],
        "objective": ["cost", "price", "throughput"],
        "examples": [1e3, 1e9],
        "limit.fast": 2,
    }
    sweep = sp.Sweep.of(axes, chunk=4)
    results = sp.sweep(sweep, tmp_path / "rows", rows=rows)
    front = results.front(against)
    assert sorted((row.workload, getattr(row, against), row.set_up) for row in front.rows) == expected(
        results, against
    )
    assert len({row.workload for row in front.rows}) == 2
    throughput = [row.throughput for row in front.rows if (row.workload, row.examples) == ("net", 1e9)]
    assert throughput == sorted(throughput)


def test_it_is_shown_as_a_table(tmp_path):
    front = sp.sweep(made(), tmp_path / "rows", rows="jsonl").front()
    lines = str(front).splitlines()
    assert lines[0].split() == (
        ["workload", "examples", "set-up", "$", "examples/s", "$/h", "stages", "devices", "status"]
    )
    assert len(lines) == 1 + len(front.rows)
    assert front.to_dict()["rows"][0]["set_up"] == front.rows[0].set_up


def test_a_sweep_without_feasible_plans(tmp_path):
    front = sp.sweep(made(max_cost=1e-6), tmp_path / "rows", rows="jsonl").front()
    assert (front.rows, str(front)) == ((), "no plan meets all limits")


def test_a_front_against_something_else_is_refused(tmp_path):
    results = sp.sweep(made(), tmp_path / "rows", rows="jsonl")
    with pytest.raises(ValueError, match=r"^against is 'stages'; "):
        results.front("stages")
