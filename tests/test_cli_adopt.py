"""``stageplan adopt``."""

import json
import sys
import tomllib
from pathlib import Path

import pytest
import small_projects
from pages import Page


@pytest.fixture
def project(net_files):
    return small_projects.write(Path("line").absolute())


def test_a_project_is_adopted_tested_and_reported(run, project):
    status, out, err = run(
        "adopt", "line", "-o", "run", "--python", sys.executable, "--train", "python train.py --epochs 300",
        "--evaluate", "python tools/eval.py", "--metric", "train:loss=loss: ([0-9.]+)", "--max", "loss=0.01",
        "--metric", "accuracy=acc: ([0-9.]+)", "--min", "accuracy=0.9", "--time-limit", "60",
        "--artefact", "train=out/line.json",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == f"adopted {project} as line: 2 cases"
    assert out.splitlines()[-1] == "edit cases.toml as needed; then: stageplan test run"
    cases = tomllib.loads(Path("run/cases.toml").read_text())["case"]
    assert [case["time_limit"] for case in cases] == [60, 60]
    assert run("test", "run", "--mode", "quick")[0] == 0
    earlier = Path("earlier.json")
    earlier.write_bytes(Path("run/test-result.json").read_bytes())
    assert {"loss", "accuracy"} <= set(Page(Path("run/test-result.html").read_text()).texts)
    status, out, err = run("test", "run", "--mode", "quick", "--golden", earlier, "--json")
    assert status == 0
    assert json.loads(out)["cases"][2]["numbers"][0]["required"].startswith(
        "at least 0.9 and within 0.01 of 0.99"
    )
    assert run("report", "run", "-o", "page.html")[0] == 0
    assert "Test of line" in Page(Path("page.html").read_text()).texts
    assert run("report", "run", "run", "-o", "matrix.html")[0] == 0
    assert "2 of 2 passed." in Page(Path("matrix.html").read_text()).texts


def test_a_specification_is_written_for_the_projects_own_network(run, project):
    assert run("adopt", "line", "-o", "run", "--factory", "a.b:c", "--task", "text-classification")[0] == 0
    assert tomllib.loads(Path("run/spec.toml").read_text())["service"]["model"]["factory"] == "a.b:c"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--train", "a.py; b"],
            "--train is 'a.py; b', with ';'; it must be a command that runs without a shell",
        ),
        (["--metric", "a"], "--metric is 'a'; it must be NAME=PATTERN or NAME=FILE.json, as 'accuracy=acc"),
        (["--min", "a=b"], "--min is 'a=b'; it must be NAME=NUMBER, as 'accuracy=0.8'"),
        (["--max", "a=nan"], "--max is 'a=nan'; it must be NAME=NUMBER, as 'accuracy=0.8'"),
        (["--min", "a=1"], "limit of 'a' is given; it must be that of a metric: none is given"),
        (["--factory", "a"], "--factory is 'a'; it must be package.module:function"),
        (["--tipc", "none.txt"], "none.txt: No such file or directory"),
        (
            ["--tipc", "line/train.py"],
            "line/train.py: line 2 is 'import argparse, csv, json, os, random, sys'; it ",
        ),
    ],
)
def test_faults_have_one_sentence(refused, project, arguments, sentence):
    assert refused("adopt", "line", "-o", "run", *arguments).startswith(sentence)
    assert not Path("run").exists()


def test_results_that_are_not_there_are_refused(refused, project):
    Path("other").mkdir()
    assert refused("report", "line", "other", "-o", "a.html") == (
        "line has no test-result.json; it must be the directory of a test"
    )
    assert refused("test", "other").startswith("directory is other; it must be made by an earlier run")
    Path("golden.json").write_text("{}")
    assert refused("test", "other", "--golden", "golden.json") == (
        "golden.json: it is not valid test-result.json: Object missing required field `name`"
    )
    assert refused("test", "other", "--golden", "none.json") == "none.json: No such file or directory"
