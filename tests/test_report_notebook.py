"""Plans and fronts in notebooks."""

import report_samples as samples
from pages import Page

import stageplan as sp


def test_a_plan_and_a_result_show_their_stages():
    result = samples.trained()
    for shown in (result, result.plan):
        html = shown._repr_html_()
        page = Page(html)
        types = [row[1] for row in page.sections[""][1:]]
        assert types == [stage.type for stage in result.plan.stages]
        assert "<script" not in html
        assert html.startswith('<div class="stageplan">')
    assert "Proven optimal" in result._repr_html_()
    assert "Proven" not in result.plan._repr_html_()


def test_a_front_shows_its_points():
    front = sp.pareto(samples.plain(), points=4)
    assert len(Page(front._repr_html_()).sections[""]) == 1 + len(front.points)


def test_styles_hold_only_for_their_own_elements():
    html = sp.Plan.of(samples.plain(), [1, 1, 0, 0])._repr_html_()
    style = html.partition("<style>")[2].partition("</style>")[0]
    selectors = [line.partition("{")[0] for line in style.splitlines() if "{" in line and line[0] not in "@ "]
    assert selectors
    assert all(selector.startswith(".stageplan ") for selector in selectors)
