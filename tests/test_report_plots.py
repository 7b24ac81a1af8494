"""Plots with matplotlib."""

import sys

import pytest
import report_samples as samples

import stageplan as sp
from stageplan.report.colors import PALETTE
from stageplan.report.page import asset


def test_colours_are_those_of_the_pages():
    css = asset("picture.css")
    for i, color in enumerate(PALETTE):
        assert f".stageplan .t{i} {{ fill: {color}; }}" in css


def test_the_extra_is_named_where_matplotlib_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"^plots require matplotlib: pip install 'stageplan\[plot\]'$"):
        sp.Plan.of(samples.plain(), [1, 1, 0, 0]).plot()


class TestWithMatplotlib:
    @pytest.fixture(autouse=True)
    def _matplotlib(self):
        pytest.importorskip("matplotlib")

    @pytest.mark.parametrize(("suffix", "begin"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
    def test_figures_are_files(self, tmp_path, suffix, begin):
        path = tmp_path / f"plan.{suffix}"
        sp.Plan.of(samples.plain(), [1, 1, 0, 0]).plot().savefig(path)
        assert path.read_bytes().startswith(begin)

    def test_a_result_has_its_schedule_and_its_search(self):
        result = samples.trained()
        axes = result.plot().axes
        titles = [each.get_title(loc="left") for each in axes]
        assert [title.partition(":")[0].partition(" (")[0] for title in titles] == [
            "Placement", "Schedule of one iteration", "Time by stage", "Memory of each device by stage",
            "Search",
        ]  # fmt: skip
        times = axes[2]
        widths = sorted(patch.get_width() for patch in times.patches)
        assert widths[-1] == pytest.approx(max(stage.compute for stage in result.plan.stages))
        sizes = sum(patch.get_width() for patch in axes[3].patches)
        assert sizes == pytest.approx(sum(stage.memory for stage in result.plan.stages))

    def test_a_plan_without_schedule_has_neither(self):
        assert len(sp.Plan.of(samples.plain(), [1, 1, 0, 0]).plot().axes) == 3

    def test_a_front_has_its_points(self):
        front = sp.pareto(samples.plain(), points=5)
        (axes,) = front.plot().axes
        (plans,) = (line for line in axes.lines if line.get_label() == "plans")
        assert list(plans.get_ydata()) == [point.plan.cost for point in front.points]

    def test_a_front_without_points_is_drawn(self, tmp_path):
        sp.pareto(samples.plain(max_cost=0.01)).plot().savefig(tmp_path / "front.png")

    def test_a_sweep_has_a_heat_map_and_fronts(self, tmp_path):
        results = samples.swept(tmp_path / "rows")
        figure = results.plot()
        image = figure.axes[0].images[0].get_array()
        assert image.shape == (3, 4)
        rows = [row["cost"] for row in results.rows() if row["violation"] == 0]
        assert image.min() == min(rows)
        figure.savefig(tmp_path / "sweep.svg")

    def test_names_are_no_formulas(self, tmp_path):
        problem = sp.Problem.from_arrays([[1.0]], [1.0], type_names=["$\\frac{x$\n"], layer_names=["$_$"])
        sp.Plan.of(problem, [0]).plot().savefig(tmp_path / "plan.svg")
        assert "frac" in (tmp_path / "plan.svg").read_text()
