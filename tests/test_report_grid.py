"""A sweep as a grid."""

import math

import pytest
import report_samples as samples

from stageplan.report.grid import grid_of


def test_cells_have_the_best_plan_over_the_other_axes(tmp_path):
    results = samples.swept(tmp_path / "rows", split=[False, True])
    grid = grid_of(results)
    assert (grid.across.name, grid.up.name, grid.over) == ("min_throughput", "limit.a100", ("split",))
    assert grid.across.labels == ("100000", "1e+06", "3e+06", "1e+07")
    rows = list(results.rows())
    for y, limit in enumerate([0, 1, 4]):
        for x, least in enumerate([1e5, 1e6, 3e6, 1e7]):
            own = [r for r in rows if (r["limit.a100"], r["min_throughput"]) == (limit, least)]
            costs = [row["cost"] for row in own if row["violation"] == 0]
            assert (grid.feasible[y, x], grid.done[y, x]) == (len(costs), len(own))
            assert grid.best[y, x] == (min(costs) if costs else pytest.approx(math.nan, nan_ok=True))


def test_neighbours_share_a_cell_where_an_axis_is_long(tmp_path):
    axes = {"min_throughput": {"from": 1e5, "to": 1e6, "points": 100}, "limit.a100": [4]}
    grid = grid_of(samples.swept(tmp_path / "rows", **axes))
    assert grid.best.shape == (1, 40)
    assert grid.done.sum() == 100
    assert set(grid.done[0].tolist()) == {2, 3}
    assert grid.across.labels[0] == "100000 … 118182"


def test_numbers_of_examples_are_not_compared_with_each_other(tmp_path):
    grid = grid_of(samples.swept(tmp_path / "rows", examples=[1e6, 2e6]))
    assert (grid.across.name, grid.up.name, grid.over) == ("min_throughput", "examples", ("limit.a100",))
    assert grid.best[1, 0] == pytest.approx(2 * grid.best[0, 0])


def test_a_single_set_up_has_one_cell(tmp_path):
    grid = grid_of(samples.swept(tmp_path / "rows", **{"min_throughput": 1e5, "limit.a100": 4}))
    assert (grid.best.shape, grid.across.name) == ((1, 1), "")


def test_the_fastest_plan_counts_where_the_objective_is_throughput(tmp_path):
    axes = {"objective": "throughput", "max_price": [10.0, 50.0], "min_throughput": "none"}
    results = samples.swept(tmp_path / "rows", **axes)
    grid = grid_of(results)
    rows = [row["throughput"] for row in results.rows() if row["violation"] == 0]
    assert grid.measure == "throughput"
    assert grid.best[~(grid.feasible == 0)].max() == max(rows)


def test_set_ups_that_failed_are_cells_without_a_plan(tmp_path):
    axes = {"schedule": "1f1b", "batch": [8, 12], "microbatches": [5, 4], "limit.a100": [4]}
    results = samples.swept(tmp_path / "rows", **axes)
    assert results.failed
    grid = grid_of(results)
    assert grid.done.sum() == 16
    assert "failed" in results.report().html
