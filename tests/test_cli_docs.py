"""``stageplan docs``."""

import json
import re
from pathlib import Path

import pytest

import stageplan as sp
from stageplan.writers import RUNTIMES, limits_of

TOP = Path(__file__).parents[1]
RUNTIMES_PAGE = TOP / "src/stageplan/docs/runtimes.md"
PAGES = sorted((TOP / "src/stageplan/docs").glob("*.md"))


def test_pages_are_listed_with_their_titles(run):
    status, out, err = run("docs")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "compiled-callers  Calls from compiled code",
        "contributing      Contributing to stageplan",
        "files             Files",
        "long-runs         Long searches",
        "networks          Networks that are read",
        "own-objective     Objectives of your own",
        "own-physics       Your own cost of stages",
        "reports           Reports and plots",
        "runtimes          Runtimes",
        "schedules         Strategies, schedules and memory",
        "serving           Serving language models",
        "sweeps            Sweeps",
        "words             Terms",
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_printed_as_it_is(run, page):
    assert run("docs", page.stem) == (0, page.read_text(), "")


def test_an_unknown_page_is_refused(refused):
    pages = ", ".join(page.stem for page in PAGES)
    assert refused("docs", "../goal") == f"PAGE is '../goal'; it must be one of {pages}"


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


SWEEPS = (TOP / "src/stageplan/docs/sweeps.md").read_text()


@pytest.mark.parametrize("package", ["pandas", "polars", "duckdb"])
def test_blocks_of_the_page_on_sweeps_read_rows(run, package):
    """Each of them finds the three cheapest plans."""
    pytest.importorskip("pyarrow")
    pytest.importorskip(package)
    Path("sweep.toml").write_text(re.search(r"^```toml\n# sweep.toml\n(.*?)^```$", SWEEPS, re.M | re.S)[1])
    assert run("sweep", "sweep.toml", "-o", "rows")[0] == 0
    names = {}
    exec(re.search(rf"^```python {package}\n(.*?)^```$", SWEEPS, re.M | re.S)[1], names)
    best = names["best"]
    found = [row[0] for row in best] if package == "duckdb" else best["set_up"].to_list()
    rows = [row for row in sp.SweepResults.open("rows").rows() if row["violation"] == 0]
    cheapest = sorted(rows, key=lambda row: (row["cost"], row["set_up"]))
    assert [rows_cost(rows, set_up) for set_up in found] == [row["cost"] for row in cheapest[:3]]


def rows_cost(rows, set_up):
    return next(row["cost"] for row in rows if row["set_up"] == set_up)


def test_commands_of_the_page_on_sweeps_run(run):
    block = re.search(r"^((?:    stageplan sweep .*\n)+)", SWEEPS, re.M)[1]
    for line in block.splitlines():
        words, _, output = line.partition("#")[0].partition(">")
        argv = words.split()[1:]
        if argv[1] == "merge" and not list(Path("rows/chunks").glob("*.parquet")):
            continue
        status, out, _ = run(*argv)
        assert status == 0, line
        if output:
            Path(output.strip()).write_text(out)


def test_the_search_on_many_workers_of_the_page_on_sweeps_runs():
    names = {}
    exec(re.search(r"## One search.*?^```python\n(.*?)^```$", SWEEPS, re.M | re.S)[1], names)
    assert names["result"].plan.feasible


REPORTS = (TOP / "src/stageplan/docs/reports.md").read_text()


def test_commands_and_code_of_the_page_on_reports_run(run):
    Path("sweep.toml").write_text(re.search(r"^```toml\n# sweep.toml\n(.*?)^```$", REPORTS, re.M | re.S)[1])
    for line in re.findall(r"^\$ stageplan (.*)$", REPORTS, re.M):
        assert run(*line.split())[0] == 0, line
    names = {}
    exec(re.search(r"^```python\n(.*?)^```$", REPORTS, re.M | re.S)[1], names)
    pytest.importorskip("matplotlib")
    exec(re.search(r"^```python matplotlib\n(.*?)^```$", REPORTS, re.M | re.S)[1], names)
    assert Path("plan.pdf").exists()
