"""``stageplan demo``."""

import tempfile
from pathlib import Path

import pytest

from stageplan.cli import demo
from stageplan.cli.pages import Block


def test_the_demo_runs_the_commands_of_the_first_page(run, monkeypatch, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    before = sorted(Path().iterdir())
    status, out, err = run("demo")
    assert (status, err) == (0, "")
    for line in (
        "$ stageplan plan ctr --min-throughput 1.5M -o plan.json",
        "NOT feasible:",
        ">>> sp.verify(problem, plan)",
        "Verified(",
        "1f1b of 16 microbatches",
        "$ stageplan export plan.json --to json",
        "15 set-ups",
    ):
        assert line in out
    assert list(scratch.iterdir()) == []
    assert sorted(Path().iterdir()) == before


def test_the_demo_ends_at_a_command_that_fails(run, monkeypatch):
    page = "```console\n$ stageplan plan absent\n```\nrest\n"
    monkeypatch.setattr(demo, "read_pages", lambda: {demo.PAGE: page})
    status, out, err = run("demo")
    assert (status, out) == (2, "$ stageplan plan absent\n")
    assert err.startswith("stageplan: error: absent: There is no such file")


@pytest.mark.parametrize("expected", [0, 1])
def test_the_status_of_a_block(expected):
    block = Block("console", (), expected, "$ stageplan a\n$ stageplan b\n")
    ran = []
    status = demo.run_block(block, lambda argv: ran.append(argv) or 1, {})
    assert (status, ran) == (1, [["a"], ["b"]] if expected else [["a"]])
