"""The row of a result."""

import msgspec
import pytest
from small_sweeps import made

import stageplan as sp
from stageplan.row import TYPES

PYTHON = {
    "string": str, "float64": float, "int64": int, "uint64": int, "bool": bool, "list<int8>": list[int],
}  # fmt: skip


def test_a_row_has_the_columns_in_their_order_and_types():
    row = sp.solve(made().problem(0), "genetic", seed=3, stop=sp.MaxGenerations(2)).to_row()
    assert list(row) == list(TYPES)
    for name, value in row.items():
        msgspec.convert(value, PYTHON[TYPES[name]] | None, strict=True)


def test_every_field_of_a_goal_is_a_column():
    assert set(sp.Goal.__struct_fields__) <= set(TYPES)


def test_a_row_has_the_numbers_of_the_result():
    problem = made().problem(0)
    result = sp.solve(problem, "exact")
    row = result.to_row()
    assert (row["problem"], row["examples"], row["min_throughput"]) == ("net on lab", 3600.0, 0.1)
    assert (row["cost"], row["bound"], row["gap"]) == (result.plan.cost, result.bound, 0.0)
    assert row["stages"] == len(result.plan.stages)
    assert row["devices"] == sum(stage.devices for stage in result.plan.stages)
    assert sp.Plan.of(problem, row["scheme"]) == result.plan


def test_infinite_numbers_are_none():
    row = sp.solve(made().problem(0).replace(max_cost=1e-9), "exact").to_row()
    assert row["status"] == "infeasible"
    assert (row["bound"], row["gap"], row["max_price"]) == (None, None, None)
    assert row["violation"] > 0


def test_columns_of_the_page_are_those_of_rows():
    from importlib import resources

    text = (resources.files("stageplan") / "docs" / "sweeps.md").read_text()
    listed = [line.split("|")[1:3] for line in text.partition("of each layer")[0].splitlines() if "|" in line]
    cells = {name.strip(" `"): type_.strip() for name, type_ in listed}
    for name, type_ in TYPES.items():
        if name != "error":
            assert cells[name] == type_, name
    assert f"| `error` | {TYPES['error']} |" in text


@pytest.mark.parametrize("merge", ["adjacent", "type"])
def test_infinite_throughput_is_none(merge):
    problem = sp.Problem.from_arrays([[0.0], [0.0]], [1.0], merge=merge)
    assert sp.solve(problem, "enumerate").to_row()["throughput"] is None
