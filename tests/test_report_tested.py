"""The page of a test."""

import json
import re

import browser
import pytest
import report_samples as samples
from msgspec.structs import replace
from pages import Page
from test_generate_variant_table import make_variant

from stageplan.generate import CaseResult, Host, Number
from stageplan.generate import TestResult as Verdicts
from stageplan.report.tested import of_test

LIMIT = 500_000  # bytes
EVIL = "<script>alert('x')</script>\x00\u202e&\"'"


def case(name, status="PASS", **more):
    return CaseResult(name=name, status=status, must_pass=True, seconds=1.25, **more)


def number(name, value, met=True, limit=None, required=""):
    return Number(name=name, value=value, required=required, met=met, limit=limit)


RESULT = Verdicts(
    name="line",
    mode="full",
    cases=(
        case("environment"),
        case(
            "train",
            peak_memory=123_000_000,
            numbers=(number("loss", 0.25, limit=0.5, required="at most 0.5"), number("steps", 40.0)),
            log="epoch 1\nepoch 2\n",
        ),
        case(
            "evaluate",
            "FAIL",
            message="accuracy is 0.5 in the output; it must be at least 0.9",
            numbers=(number("accuracy", 0.5, False, 0.9, "at least 0.9"),),
            log="acc: 0.5\n",
        ),
        case("infer", "SKIP", message="it needs evaluate, which did not pass"),
    ),
    seconds=3.5,
    date="2031-02-03T04:05:06Z",
    host=Host(name="box", system="Linux", processor="fast", cores=2, memory=4 * 10**9),
    versions={"python": "3.11.2", "torch": "2.13.0"},
    requirements={"cores": "at least 2", "auc": "at least 0.8"},
)


@pytest.fixture
def directory(tmp_path):
    """A run's directory with a log and a plan."""
    project = tmp_path / "project"
    (project / "artefacts").mkdir(parents=True)
    (project / "artefacts/train.csv").write_text("step,loss\n1,0.5\n2,0.25\n")
    (project / "plan.json").write_text(json.dumps(samples.trained().to_dict()))
    return tmp_path


def test_requirements_are_beside_values(tmp_path):
    page = Page(of_test(RESULT, tmp_path).html)
    rows = page.sections["Requirements and values"]
    assert ["cores", "at least 2", "2"] in rows
    assert ["auc", "at least 0.8", ""] in rows
    assert ["train", "loss", "0.25", "at most 0.5", "met"] in rows
    assert ["train", "steps", "40", "", "met"] in rows
    assert ["evaluate", "accuracy", "0.5", "at least 0.9", "not met"] in rows
    assert "evaluate: accuracy is 0.5, at least 0.9" in page.tips


def test_variants_are_one_table(tmp_path):
    variants = (make_variant("float32", requirements=[]), make_variant("int8"))
    page = Page(of_test(replace(RESULT, variants=variants), tmp_path).html)
    head, base, int8 = page.sections["Variants"]
    assert head[:4] == ["variant", "bytes", "auc", "p50 s"]
    assert base[:8] == ["float32", "12,345", "0.875", "0.125", "0.25", "0.5", "128", "0.012"]
    assert base[8:] == ["", "", "by the clock"]
    assert int8[8:10] == ["met: 0.875, at least 0.8", "not met: 0.25, at most 0.1"]
    assert "Variants" not in Page(of_test(RESULT, tmp_path).html).sections


def test_outcomes_messages_and_outputs_are_shown(tmp_path):
    page = Page(of_test(RESULT, tmp_path).html)
    assert [row[:4] for row in page.sections["Cases"][1:]] == [
        ["environment", "✓ PASS", "1.2 s", ""],
        ["train", "✓ PASS", "1.2 s", "123 MB"],
        ["evaluate", "✗ FAIL", "1.2 s", ""],
        ["infer", "– SKIP", "1.2 s", ""],
    ]
    assert "evaluate: accuracy is 0.5 in the output; it must be at least 0.9" in page.texts
    assert "epoch 1\nepoch 2\n" in page.texts
    assert "Not passed: 2 PASS, 1 FAIL, 1 SKIP." in page.texts
    assert "Mode full on box at 2031-02-03T04:05:06Z." in page.texts
    assert (page.tile("passed"), page.tile("failed"), page.tile("skipped")) == ("2", "1", "1")
    assert ["torch", "2.13.0"] in page.sections["Environment"]
    assert ["processor", "fast"] in page.sections["Environment"]


def test_losses_and_the_schedule_of_the_plan_are_drawn(directory):
    html = of_test(RESULT, directory).html
    titles = re.findall(r"<h2>(.*?)</h2>", html)
    assert titles == [
        "Requirements and values", "Loss", "Placement", "Schedule of one iteration", "Cases", "Environment"
    ]  # fmt: skip
    assert "artefacts/train.csv" in Page(html).texts
    (directory / "test/project").mkdir(parents=True)
    (directory / "test/project/tested.csv").write_text("epoch,loss\n1,0.5\n")
    assert "tested.csv" in Page(of_test(RESULT, directory).html).texts
    (directory / "project/plan.json").write_text("{")
    assert "Placement" not in of_test(RESULT, directory).html


def test_the_page_depends_on_the_result_alone_and_loads_nothing(directory):
    html = of_test(RESULT, directory).html
    assert html == of_test(RESULT, directory).html
    page = Page(html)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", html.replace("// Texts", ""))
    assert not {tag for tag, _ in page.tags} & {"link", "img", "iframe", "object", "base"}
    assert not any({"src", "href", "style", "onclick"} & attributes.keys() for _, attributes in page.tags)


def test_texts_are_never_markup(tmp_path):
    named = case(EVIL, "FAIL", message=EVIL, log=EVIL, numbers=(number(EVIL, None, False, 1.0, EVIL),))
    result = Verdicts(name=EVIL, mode="full", cases=(named,), seconds=1.0, requirements={EVIL: EVIL})
    html = of_test(result, tmp_path).html
    assert "<script>alert" not in html
    assert "\x00" not in html
    assert [tag for tag, _ in Page(html).tags].count("script") == 1


def test_many_cases_with_long_outputs_stay_small_and_failures_are_first(tmp_path):
    cases = [
        case(
            f"infer batch={i}",
            "FAIL" if i % 50 == 7 else "PASS",
            message="too slow; " * 100 if i % 50 == 7 else "",
            log="<x" * 2000,
            numbers=(number("latency", 0.1, limit=0.2, required="at most 0.2"),),
        )
        for i in range(10_000)
    ]
    html = of_test(Verdicts(name="many", mode="full", cases=cases, seconds=1.0), tmp_path).html
    assert len(html.encode()) < LIMIT
    assert Page(html).sections["Cases"][1][0] == "infer batch=7"
    assert "9,850 more rows are left out." in html


@pytest.mark.parametrize(
    ("value", "limit", "width"),
    [(0.25, 0.5, "30%"), (5.0, 0.5, "100%"), (0.0, 0.5, "0%"), (-1.0, 0.5, "0%"), (None, 0.5, "0%"),
     (0.0, 0.0, "0%"), (1.0, 0.0, "60%")],
)  # fmt: skip
def test_bars_are_parts_of_their_limits(tmp_path, value, limit, width):
    numbers = (number("loss", value, True, limit, f"at most {limit:g}"),)
    result = Verdicts(name="a", mode="full", cases=(case("train", numbers=numbers),), seconds=1.0)
    bars = [tag for name, tag in Page(of_test(result, tmp_path).html).tags if tag.get("class") == "t2 edge"]
    assert [bar["width"] for bar in bars] == [width]


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_opens_without_errors_or_overflow(directory, width):
    if (path := browser.find()) is None:
        pytest.skip("no Chromium is installed")
    of_test(RESULT, directory).save(directory / "page.html")
    with browser.Browser(path) as chromium:
        chromium.open(directory / "page.html", width)
        chromium.evaluate("document.querySelectorAll('details').forEach(table => { table.open = true })")
        assert chromium.evaluate("document.documentElement.scrollWidth") <= width
        assert "accuracy is 0.5 in the output" in chromium.evaluate("document.body.innerText")
        assert chromium.complaints == []
        assert chromium.requests == [(directory / "page.html").as_uri()]
