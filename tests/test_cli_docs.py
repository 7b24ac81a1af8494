"""``stageplan docs``."""

import json
import pydoc
import re
import sys
import tomllib
from pathlib import Path

import pytest
from page_blocks import OUTSIDE, blocks_of, run_page

import stageplan as sp
from stageplan.cli.pages import split_command
from stageplan.writers import RUNTIMES, limits_of

TOP = Path(__file__).parents[1]
RUNTIMES_PAGE = TOP / "src/stageplan/docs/runtimes.md"
PAGES = sorted((TOP / "src/stageplan/docs").glob("*.md"))


def test_pages_are_listed_with_their_titles(run):
    status, out, err = run("docs")
    assert (status, err) == (0, "")
    titles = [(page.stem, page.read_text().partition("\n")[0].removeprefix("# ")) for page in PAGES]
    assert [tuple(line.split(maxsplit=1)) for line in out.splitlines()] == titles


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_printed_as_it_is(run, page):
    assert run("docs", page.stem) == (0, page.read_text(), "")


def test_a_page_is_laid_out_and_paged_on_a_terminal(run, monkeypatch):
    shown = []
    monkeypatch.setattr(pydoc, "pager", shown.append)
    monkeypatch.setenv("LESS", "FRX")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for columns in ("80", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        assert run("docs", "words") == (0, "", "")
    narrow, wide = (max(map(len, text.splitlines())) for text in shown)
    assert narrow <= 80 < wide <= 100
    assert all("device type" in text and "|" not in text and "\x1b" not in text for text in shown)


def test_an_unknown_page_is_refused(refused):
    pages = ", ".join(page.stem for page in PAGES)
    assert refused("docs", "../goal") == f"TOPIC is '../goal'; it must be one of {pages}"


# Blocks of code -----------------------------------------------------------------------------------------

EXTRAS = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["optional-dependencies"]
PACKAGES = {re.match(r"[\w-]+", line)[0].replace("-", "_") for lines in EXTRAS.values() for line in lines}
ELSEWHERE = {  # pages whose blocks another test runs
    "compiled-callers": "test_capi.py",
    "own-objective": "test_plan_cost.py",
    "own-physics": "test_own_physics.py",
}


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.stem not in ELSEWHERE], ids=lambda page: page.stem
)
def test_blocks_of_a_page_run(page, run, monkeypatch):
    """In a directory of their own, one after the other; what they print is what the page shows."""
    run_page(page, run, monkeypatch)


@pytest.mark.parametrize(("page", "test"), ELSEWHERE.items())
def test_other_pages_have_tests_of_their_own(page, test):
    assert page in (TOP / "tests" / test).read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_are_of_known_kinds(page):
    text = page.read_text()
    assert not re.search(r"^ {4}(stageplan|python|pip|import|from) ", text, re.M), "code is in fenced blocks"
    for block in blocks_of(page):
        assert block.language in ("console", "python", "toml", "text", "sh", "cython", "c")
        assert set(block.needs) <= OUTSIDE | PACKAGES
        assert block.language != "sh" or set(block.needs) & OUTSIDE
        if block.language == "console":
            assert block.code.startswith("$ ")
            for command, _ in block.commands():
                assert split_command(command)[0][0] in ("stageplan", "pip"), command


# What pages say -----------------------------------------------------------------------------------------


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


def test_the_page_on_runtimes_has_what_each_can_run():
    rows = re.findall(r"^\| ([\w-]+) \| (.*?) \| (.*?) \| (.*?) \|", RUNTIMES_PAGE.read_text(), re.M)
    assert sorted(row[0] for row in rows[1:]) == sorted(RUNTIMES)
    for name, cuts, strategies, schedules in rows[1:]:
        limits = limits_of(name)
        assert cuts.partition(" ")[0] == ("any" if limits.cuts != "blocks" else "a")
        assert ("tensor" in strategies) == limits.tensor_parallel
        assert ("expert" in strategies) == limits.expert_parallel
        assert tuple(re.findall("recompute|selective", strategies)) == limits.recompute
        known = {"none": (), "1F1B": ("1f1b",), "GPipe, 1F1B": ("gpipe", "1f1b")}
        assert known[schedules] == limits.schedules


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


@pytest.mark.parametrize("package", ["pandas", "polars", "duckdb"])
def test_blocks_of_the_page_on_sweeps_read_rows(run, package):
    """Each of them finds the three cheapest plans."""
    pytest.importorskip("pyarrow")
    pytest.importorskip(package)
    page = blocks_of(TOP / "src/stageplan/docs/sweeps.md")
    axes = next(block.code for block in page if block.language == "toml")
    Path("sweep.toml").write_text(axes)
    assert run("sweep", "sweep.toml", "-o", "rows")[0] == 0
    names = {}
    exec(next(block.code for block in page if package in block.needs), names)
    best = names["best"]
    found = [row[0] for row in best] if package == "duckdb" else best["set_up"].to_list()
    rows = [row for row in sp.SweepResults.open("rows").rows() if row["violation"] == 0]
    cheapest = sorted(rows, key=lambda row: (row["cost"], row["set_up"]))
    assert [rows_cost(rows, set_up) for set_up in found] == [row["cost"] for row in cheapest[:3]]


def rows_cost(rows, set_up):
    return next(row["cost"] for row in rows if row["set_up"] == set_up)
