"""``stageplan docs``."""

import json
import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
PAGES = sorted((TOP / "src/stageplan/docs").glob("*.md"))


def test_pages_are_listed_with_their_titles(run):
    status, out, err = run("docs")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "contributing  Contributing to stageplan",
        "schedules     Strategies, schedules and memory",
        "serving       Serving language models",
        "words         Terms",
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_printed_as_it_is(run, page):
    assert run("docs", page.stem) == (0, page.read_text(), "")


def test_an_unknown_page_is_refused(refused):
    assert (
        refused("docs", "../goal")
        == "PAGE is '../goal'; it must be one of contributing, schedules, serving, words"
    )


@pytest.mark.parametrize("page", [*PAGES, TOP / "native/README.md"], ids=lambda page: page.stem)
def test_files_that_are_named_exist(page):
    named = re.findall(r"`([\w./]+/[\w.]*)`", page.read_text())
    assert [name for name in named if not ((TOP / name).exists() or (page.parent / name).exists())] == []


def test_functions_that_are_named_exist():
    text = (TOP / "src/stageplan/docs/contributing.md").read_text()
    sources = "".join(
        path.read_text() for path in [*TOP.glob("src/stageplan/**/*.py"), *TOP.glob("native/**/*.h")]
    )
    for name in re.findall(r"`(_?[a-zA-Z_]+)`", text):
        assert re.search(rf"\b{name}\b", sources), name


def test_files_of_the_page_on_schedules_are_planned(run):
    """The plan that the page leads to has a strategy, and memory by the page's formula."""
    text = (TOP / "src/stageplan/docs/schedules.md").read_text()
    for name, block in re.findall(r"^```toml\n# (\S+)\n(.*?)^```$", text, re.M | re.S):
        Path(name).write_text(block)
    status, out, _ = run("plan", "net.toml", "--whole-machines", "--same-replicas", "-o", "-")
    assert status == 0
    (stage,) = json.loads(out)["stages"]
    assert (stage["strategy"], stage["in_flight"]) == ("tp2", 1)
    examples = -(-2 // stage["replicas"])
    assert stage["memory"] == pytest.approx(8e9 + 4e9 / stage["replicas"] + 1e9 + examples * 1e9)
