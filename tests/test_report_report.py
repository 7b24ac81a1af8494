"""Reports: HTML pages of plans, fronts and sweeps."""

import json
import re
from pathlib import Path

import browser
import numpy as np
import pytest
import report_samples as samples
from option_problems import draw_problem
from pages import Page

import stageplan as sp
from stageplan.quantities import show_bytes, show_seconds
from stageplan.report.report import of_subject
from stageplan.report.subject import Subject, read_document

LIMIT = 500_000  # bytes
EVIL = "<script>alert('x')</script>\x00\u202e&\"'"


def named():
    problem = sp.Problem.from_arrays(
        [[1.0], [2.0]], [1.0], layer_names=[EVIL, "</title><b>"], type_names=["<img src=x onerror=y>"],
        split=True, schedule="gpipe", microbatches=2, batch=2,
    )  # fmt: skip
    return sp.solve(problem, "exact")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Name and HTML of the report of each kind of thing."""
    folder = tmp_path_factory.mktemp("reports")
    swept = samples.swept(folder / "rows", split=[False, True])
    return {
        "training": samples.trained().report().html,
        "broken": sp.solve(samples.plain(max_cost=0.01)).report().html,
        "plain": sp.Plan.of(samples.plain(), [1, 1, 0, 0]).report().html,
        "file": _from_file(folder),
        "front": sp.pareto(samples.plain(), points=5).report().html,
        "empty front": sp.pareto(samples.plain(max_cost=0.01), points=5).report().html,
        "sweep": swept.report().html,
        "names": named().report().html,
    }


def _from_file(folder):
    (folder / "plan.json").write_text(json.dumps(samples.trained().to_dict()))
    return of_subject(Subject(read_document(folder / "plan.json"))).html


KINDS = ("training", "broken", "plain", "file", "front", "empty front", "sweep", "names")
TITLES = {
    "training": (
        "Placement", "Schedule of one iteration", "Time by stage", "Cost by stage", "Memory by stage",
        "Limits", "Search", "What was assumed",
    ),
    "broken": ("Placement", "Time by stage", "Memory by stage", "Limits", "What was assumed"),
    "front": ("Cost against throughput", "Plans of the front", "What was assumed"),
    "sweep": ("Lowest cost by min_throughput and limit.a100", "Axes"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_pages_are_nested_small_and_load_nothing(pages, kind):
    html = pages[kind]
    page = Page(html)
    assert len(html.encode()) < LIMIT
    assert not re.search(r"https?:|//[a-z]|url\(|@import", html.replace("// Texts", ""))
    assert not {tag for tag, _ in page.tags} & {"link", "img", "iframe", "object", "base"}
    assert not any({"src", "href", "style", "onclick"} & attributes.keys() for _, attributes in page.tags)
    assert [tag for tag, _ in page.tags].count("script") == 1


@pytest.mark.parametrize("kind", TITLES)
def test_pages_have_their_pictures(pages, kind):
    titles = re.findall(r"<h2>(.*?)</h2>", pages[kind])
    assert [title for title in TITLES[kind] if title not in titles] == []


def test_numbers_of_the_stages_are_those_of_the_plan(pages):
    plan, page = samples.trained().plan, Page(pages["training"])
    head, *rows = page.sections["Placement"]
    column = {name: [row[i] for row in rows] for i, name in enumerate(head)}
    assert column["type"] == [stage.type for stage in plan.stages]
    assert column["strategy"] == [stage.strategy or "–" for stage in plan.stages]
    assert column["replicas"] == [str(stage.replicas) for stage in plan.stages]
    assert column["time"] == [show_seconds(stage.time) for stage in plan.stages]
    assert column["all-reduce, update"] == [show_seconds(stage.sync) for stage in plan.stages]
    assert column["memory"] == [show_bytes(stage.memory) for stage in plan.stages]
    in_all = [row[-2] for row in page.sections["Memory by stage"][1:]]
    assert in_all == column["memory"]
    assert page.tile("cost") == f"${plan.cost:,.2f}"
    assert page.tile("throughput, examples/s") == f"{plan.throughput:,.6g}"
    assert page.tile("iteration, simulated") == show_seconds(plan.simulate().duration)


def test_each_layer_says_where_it_runs(pages):
    plan, tips = samples.trained().plan, Page(pages["training"]).tips
    for number, stage in enumerate(plan.stages, start=1):
        for layer in stage.layers:
            name = plan.problem.layer_names[layer]
            own = [tip for tip in tips if tip.startswith(f"layer {layer + 1}: {name}")]
            assert len(own) == 1
            assert f"\nstage {number} · {stage.type}" in own[0]


def test_every_pass_is_in_the_schedule(pages):
    run, tips = samples.trained().plan.simulate(), Page(pages["training"]).tips
    passes = [tip for tip in tips if re.match(r"(forward|backward) of microbatch", tip)]
    assert len(passes) == len(run.events)


def test_the_bottleneck_is_marked(pages):
    plan = samples.trained().plan
    assert sum("bottleneck" in text for text in Page(pages["training"]).texts) == sum(
        stage.bottleneck for stage in plan.stages
    )


def test_limits_say_whether_they_are_met(pages):
    plan = sp.solve(samples.plain(max_cost=0.01)).plan
    rows = {row[0]: row for row in Page(pages["broken"]).sections["Limits"][1:]}
    assert rows["cost"] == ["cost", f"{plan.cost:,.6g}", "0.01", "$", "broken"]
    assert {name for name, row in rows.items() if row[-1] == "broken"} == {v.limit for v in plan.violations}
    used = {stage.type for stage in plan.stages}
    assert {f"devices of {name}" for name in used} <= rows.keys()


def test_the_history_of_the_search_is_in_the_table(pages):
    result = samples.trained()
    rows = Page(pages["training"]).sections["Search"][1:]
    assert [row[3] for row in rows] == [f"{progress.cost:,.6g} $" for progress in result.history]


def test_a_file_alone_says_what_it_lacks(pages):
    texts = "".join(Page(pages["file"]).texts)
    assert "does not have the capacity and the number of devices" in texts
    assert "The forward pass is assumed to take 33% of a stage's time." in texts
    assert "no history of a search" in "".join(Page(pages["plain"]).texts)


def test_numbers_of_a_front_are_those_of_its_points(pages):
    front = sp.pareto(samples.plain(), points=5)
    rows = Page(pages["front"]).sections["Cost against throughput"][1:]
    assert [row[2] for row in rows] == [f"${point.plan.cost:,.2f}" for point in front.points]
    assert len(re.findall("<h3>", pages["front"])) == len(front.points)


def test_a_front_without_points_says_so(pages):
    assert "Proven: no plan meets all limits." in pages["empty front"]


def test_numbers_of_a_sweep_are_those_of_its_rows(pages, tmp_path):
    results = samples.swept(tmp_path / "rows", split=[False, True])
    page = Page(pages["sweep"])
    for status, count in results.statuses.items():
        assert page.tile(status) == f"{count:,}"
    (title,) = (name for name in page.sections if name.startswith("Front of ctr"))
    front = page.sections[title][1:]
    assert [row[0] for row in front] == [f"{row.set_up:,}" for row in results.front().rows]
    best = min(row["cost"] for row in results.rows() if row["violation"] == 0)
    grid = page.sections["Lowest cost by min_throughput and limit.a100"][1:]
    cells = [cell for row in grid for cell in row[1:]]
    assert f"{best:,.4g}" in cells


@pytest.mark.parametrize("seed", range(40))
def test_any_plan_has_a_report(draw, seed):
    """Feasible or not, with every term of the cost model on or off."""
    rng = np.random.default_rng(seed)
    problem = draw_problem(rng, 8) if seed % 2 else draw(rng)[0]
    plan = sp.Plan.of(problem, rng.integers(0, problem.n_labels, problem.n_layers))
    page = Page(plan.report().html)
    assert page.tile("stages") == str(len(plan.stages))
    in_all = [row[-2] for row in page.sections["Memory by stage"][1:]]
    assert in_all == [show_bytes(stage.memory) for stage in plan.stages]
    broken = {row[0] for row in page.sections.get("Limits", []) if row[-1] == "broken"}
    assert broken == {violation.limit for violation in plan.violations}


def test_a_stage_without_an_option_is_shown(tmp_path):
    """With more devices per replica than a stage may have."""
    layer = {"compute": {"a/tp2": 1.0, "b": 1.0}, "backward": {"a/tp2": 0.5, "b": 0.5}}
    workload = sp.Workload(name="w", layers=[sp.Layer(name=name, **layer) for name in "xy"], mode="train")
    cluster = sp.Cluster(name="c", types=[sp.DeviceType(name=name, price=1.0) for name in "ab"])
    goal = sp.Goal(schedule="1f1b", microbatches=2, batch=2, max_devices_per_stage=1)
    plan = sp.Plan.of(sp.Problem(workload, cluster, goal), [0, 0])
    assert (plan.stages[0].devices, plan.stages[0].replicas) == (0, 0)
    page = Page(plan.report().html)
    assert page.tile("devices") == "0"
    assert plan.simulate().duration == 0
    plan.save(tmp_path / "plan.json")
    assert sp.Plan.load(tmp_path / "plan.json", plan.problem) == plan


def test_names_are_texts_and_never_markup(pages):
    page = Page(pages["names"])
    assert any("<script>alert('x')</script>\\u0000\\u202e&\"'" in tip for tip in page.tips)
    assert "\x00" not in pages["names"]
    assert not {tag for tag, _ in page.tags} & {"img", "b"}


def test_a_plan_cost_is_shown_with_its_history():
    pytest.importorskip("numba")

    @sp.plan_cost
    def with_profit(stages, plan):
        return plan.cost - 5000.0

    result = sp.solve(samples.plain(plan_cost=with_profit))
    page = Page(result.report().html)
    assert result.plan.plan_cost < 0
    assert page.tile("plan cost") == f"{result.plan.plan_cost:,.6g}"
    assert page.sections["Search"][-1][3] == f"{result.plan.plan_cost:,.6g}"
    assert any("no plan has a lower plan cost than" in text for text in page.texts)


@pytest.mark.parametrize(("layers", "microbatches"), [(300, 8), (64, 64), (32, 128), (1200, 10)])
def test_many_layers_stages_and_microbatches_stay_small(layers, microbatches):
    problem = sp.Problem.from_arrays(
        [[1.0, 2.0], [2.0, 1.0]] * (layers // 2), [1.0, 1.0], schedule="1f1b", microbatches=microbatches,
        batch=microbatches, layer_names=[f"model.layers.{i}.the.name.of.a.module" for i in range(layers)],
    )  # fmt: skip
    html = sp.Plan.of(problem, [0, 1] * (layers // 2)).report().html
    assert len(html.encode()) < LIMIT
    assert (f"The first 64 of {layers:,} stages are drawn." in html) == (layers > 64)
    assert (f"{layers - 150:,} more rows are left out." in html) == (layers > 150)


def test_an_enormous_schedule_is_not_simulated():
    html = samples.trained(microbatches=2**20, batch=2**21).report().html
    assert "a report shows at most 50,000" in html


def test_a_report_is_a_file_and_shows_itself_in_notebooks(tmp_path):
    report = sp.Plan.of(samples.plain(), [1, 1, 0, 0]).report()
    report.save(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == report.html
    assert (
        report._repr_html_().startswith('<iframe srcdoc="&lt;') or '"<!DOCTYPE html>' in report._repr_html_()
    )
    assert repr(report) == f"<Report: {len(report.html.encode()):,} bytes of HTML>"


# In a browser ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium():
    if (path := browser.find()) is None:
        pytest.skip("no Chromium is installed")
    with browser.Browser(path) as opened:
        yield opened


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [360, 1280])
def test_pages_open_without_errors_overflow_or_missing_texts(chromium, pages, tmp_path, kind, width):
    Path(tmp_path / "page.html").write_text(pages[kind])
    chromium.complaints.clear()
    chromium.requests.clear()
    chromium.open(tmp_path / "page.html", width)
    chromium.evaluate("document.querySelectorAll('details').forEach(table => { table.open = true })")
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    texts = chromium.evaluate("document.body.innerText")
    assert [title for title in TITLES.get(kind, ()) if title not in texts] == []
    assert chromium.evaluate(_TEXTS_ASIDE) == []
    assert chromium.complaints == []
    assert chromium.requests == [(tmp_path / "page.html").as_uri()]


# Texts of pictures that are not empty and do not lie in their picture.
_TEXTS_ASIDE = """
[...document.querySelectorAll("svg.picture")].flatMap(picture => {
  const place = picture.getBoundingClientRect();
  return [...picture.querySelectorAll("text")].filter(text => {
    const box = text.getBoundingClientRect();
    const aside = box.left < place.left - 1 || box.right > place.right + 1;
    return box.width && (aside || box.bottom > place.bottom + 1);
  }).map(text => text.textContent);
})
"""


@pytest.mark.parametrize(("width", "text"), [(360, "1"), (1280, "stage 1")])
def test_stages_are_named_as_there_is_room(chromium, tmp_path, width, text):
    problem = sp.Problem.from_arrays([[1.0]] * 14, [1.0], split=True, max_devices_per_stage=1)
    (tmp_path / "page.html").write_text(sp.Plan.of(problem, [0, 1] * 7).report().html)
    chromium.open(tmp_path / "page.html", width)
    shown = chromium.evaluate(
        "[...document.querySelector('svg.picture').querySelectorAll('text')]"
        ".filter(text => text.getBoundingClientRect().width).map(text => text.textContent)"
    )
    assert [each for each in shown if each in ("1", "stage 1")] == [text]


def test_a_tip_is_shown_at_the_pointer(chromium, pages, tmp_path):
    (tmp_path / "page.html").write_text(pages["training"])
    chromium.open(tmp_path / "page.html", 1280)
    box = chromium.evaluate(
        "(b => [b.x + b.width / 2, b.y + 5])(document.querySelector('rect.hit').getBoundingClientRect())"
    )
    assert chromium.evaluate("document.getElementById('tip').hidden")
    chromium.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    tip = chromium.evaluate("(tip => [tip.hidden, tip.textContent])(document.getElementById('tip'))")
    assert (tip[0], tip[1].partition(":")[0]) == (False, "layer 1")


def test_a_page_is_dark_where_preferred_and_complete_without_scripts(chromium, pages, tmp_path):
    (tmp_path / "page.html").write_text(pages["training"])
    colors = []
    for dark in (False, True):
        chromium.open(tmp_path / "page.html", 1280, dark=dark, scripts=False)
        colors.append(chromium.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert "What was assumed" in chromium.evaluate("document.body.innerText")
    assert colors == ["rgb(255, 255, 255)", "rgb(20, 23, 27)"]
