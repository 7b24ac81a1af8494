"""Every block of code in the README runs as it is printed, in an empty folder, one after the other."""

import re
from pathlib import Path

import pytest
from page_blocks import blocks_of, run_page

import stageplan as sp
from stageplan.cli.pages import split_command

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture
def run_in_empty_folder(run, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    return run


def test_blocks_run(run_in_empty_folder, monkeypatch):
    names = run_page(README, run_in_empty_folder, monkeypatch)
    assert names["result"].plan.feasible
    assert names["policy"].cell == "lstm"
    assert names["plan"].feasible
    assert names["front"].points
    assert len(names["scores"].cost) == 100_000


def test_all_blocks_are_tested():
    blocks = blocks_of(README)
    assert [block.language for block in blocks] == ["text", "sh", "sh", "console", "console", "python"]
    commands = [command for block in blocks for command, _ in block.commands()]
    assert len(commands) == 9
    assert all(split_command(command)[0][0] in ("stageplan", "pip") for command in commands)
    assert [block.code for block in blocks[1:3]] == [
        "pip install .\nstageplan plan ctr\n",
        'pip install ".[test]"\npytest\n',
    ]


def test_links_lead_to_pages():
    links = re.findall(r"\]\((src/[^)]*)\)", README.read_text())
    pages = (README.parent / "src/stageplan/docs").glob("*.md")
    assert sorted(set(links)) == sorted(page.relative_to(README.parent).as_posix() for page in pages)


def test_the_picture_is_that_of_the_plan():
    """Its stages, devices, times and cost."""
    problem = sp.Problem(sp.read_workload("ctr"), sp.read_cluster("cpu-gpu"), sp.read_goal("ctr"))
    result = sp.solve(problem)
    picture = blocks_of(README)[0].code
    lines = {line.split()[0]: line for line in picture.splitlines() if line.strip()}
    assert f"${result.plan.cost:.2f}, proven" in lines["ctr"]
    assert result.proven
    for type_ in problem.type_names:
        of_type = [stage for stage in result.plan.stages if stage.type == type_]
        assert re.findall(r"x(\d+)", lines[type_]) == [str(stage.devices) for stage in of_type]
    times = [f"{stage.time * 1e9:.0f} ns" for stage in result.plan.stages]
    assert re.findall(r"\d+ ns", picture) == times
