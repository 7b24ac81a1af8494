"""Rows as an Arrow table and as lines of JSON."""

import json

import numpy as np
import pytest
from small_sweeps import LAB, NET, made

import stageplan as sp
from stageplan.sweeps.chunks import solve_chunk
from stageplan.sweeps.rows import Coded, to_arrow, to_lines, type_of

BOTH = sp.Sweep.of(
    {
        "workload": [NET, "ctr"], "cluster": [LAB, "cpu-gpu"], "split": [False, True], "seed": [0, 2**63 - 1],
        "max_cost": [3.0, "none"], "max_stages": ["none", 3],
    }
)  # fmt: skip


def lines(solved):
    return [json.loads(line) for line in to_lines(solved.columns, solved.rows).splitlines()]


@pytest.mark.parametrize(
    "sweep", [made(), BOTH, made(microbatches=[2, "none"])], ids=["small", "both", "failed"]
)
def test_both_formats_hold_the_same_rows(sweep):
    pytest.importorskip("pyarrow")
    solved = solve_chunk(sweep, 0, len(sweep))
    table = to_arrow(solved.columns, solved.rows)
    table.validate(full=True)
    assert table.to_pylist() == lines(solved)
    for field in table.schema:
        expected = {"float64": "double", "list<int8>": "list<item: int8>"}.get(
            type_of(field.name), type_of(field.name)
        )
        assert str(field.type) == expected, field.name


def test_schemes_of_workloads_of_different_sizes():
    rows = lines(solve_chunk(BOTH, 0, len(BOTH)))
    assert {len(row["scheme"]) for row in rows if row["scheme"]} == {3, 16}


def test_infinite_numbers_are_null():
    columns = {"gap": np.array([0.5, np.inf, np.nan]), "stages": np.array([1, -1, 0])}
    assert [json.loads(line) for line in to_lines(columns, 3).splitlines()] == [
        {"gap": 0.5, "stages": 1}, {"gap": None, "stages": None}, {"gap": None, "stages": 0},
    ]  # fmt: skip
    pytest.importorskip("pyarrow")
    assert to_arrow(columns, 3).to_pydict() == {"gap": [0.5, None, None], "stages": [1, None, 0]}


def test_texts_are_utf8():
    columns = {"problem": Coded(["größer", None, ""], np.array([0, 1, 2, 0]))}
    expected = ["größer", None, "", "größer"]
    assert [json.loads(line)["problem"] for line in to_lines(columns, 4).splitlines()] == expected
    pytest.importorskip("pyarrow")
    assert to_arrow(columns, 4).to_pydict()["problem"] == expected


def test_writing_does_not_import_pandas():
    import subprocess
    import sys

    pytest.importorskip("pyarrow")
    code = """
import sys, tempfile, stageplan as sp
sp.sweep(sp.Sweep.of({"workload": "ctr", "limit.a100": [1, 2]}), tempfile.mkdtemp(), rows="parquet")
print("pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_lists_of_names_are_texts():
    layer = sp.Layer(name="a", compute={"t4": 1.0, "t4/tp2": 0.6})
    axes = {"workload": sp.Workload(name="n", layers=[layer]), "device": [["t4:2@0.5"]]}
    sweep = sp.Sweep.of(axes | {"strategies": [[""], ["", "tp2"]]})
    rows = lines(solve_chunk(sweep, 0, 2))
    assert [(row["device"], row["strategies"]) for row in rows] == [
        ("t4:2@0.5", "plain"), ("t4:2@0.5", "plain tp2"),
    ]  # fmt: skip
