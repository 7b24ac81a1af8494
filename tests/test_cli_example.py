"""``stageplan example``."""

from pathlib import Path

import pytest

import stageplan as sp
from stageplan.generate.spec import read_spec

NAMES = ("bert-large", "ctr", "resnet50", "cpu-gpu", "gpus", "spec")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch, net_files):
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)


def test_all_examples_are_listed(run):
    status, out, err = run("example")
    assert (status, err) == (0, "")
    assert tuple(line.split()[0] for line in out.splitlines() if line.startswith("  ")) == NAMES
    assert not list(Path().iterdir())


@pytest.mark.parametrize("name", ["ctr", "bert-large", "resnet50"])
def test_workload_is_written_with_the_cluster_that_it_names(run, name):
    Path("here").mkdir()
    status, out, _ = run("example", name, "-o", "here")
    workload, cluster = Path("here", f"{name}.toml"), next(Path("here").glob("*gpu*.toml"))
    assert (status, out) == (0, f"wrote {workload}, {cluster}\n")
    assert sp.read_workload(workload) == sp.read_workload(name)
    assert sp.read_goal(workload) == sp.read_goal(name)
    assert sp.read_cluster(workload) == sp.read_cluster(cluster) == sp.read_cluster(name)
    cluster.write_text(
        cluster.read_text().replace("limit = 16", "limit = 15")
    )  # it is that file which counts
    assert sp.read_cluster(workload) == sp.read_cluster(cluster) != sp.read_cluster(name)


def test_cluster_and_specification_are_written(run):
    assert run("example", "gpus")[0] == 0
    assert sp.read_cluster("gpus.toml") == sp.read_cluster("gpus")
    assert run("example", "spec")[0] == 0
    assert read_spec("spec.toml").task == "click-through-rate"


def test_specification_is_not_a_workload(refused):
    assert "no such file or built-in example (bert-large, cpu-gpu, ctr, gpus, resnet50)" in refused(
        "plan", "spec"
    )


def test_files_of_the_same_content_are_left(run):
    run("example", "ctr")
    Path("ctr.toml").unlink()
    assert run("example", "ctr")[1] == "wrote ctr.toml\n"
    assert run("example", "ctr")[1] == "wrote nothing; the files exist\n"


@pytest.mark.parametrize("name", ["ctr.toml", "cpu-gpu.toml"])
def test_other_files_are_not_overwritten(refused, name):
    Path(name).write_text("mine")
    assert refused("example", "ctr") == f"{name} exists with other content; it is not overwritten"
    assert [(path.name, path.read_text()) for path in Path().iterdir()] == [(name, "mine")]


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ("example ct", "NAME is 'ct'; it must be one of bert-large, ctr, "),
        ("example devices", "NAME is 'devices'; it must be one of bert-large, ctr, "),
        ("example ctr -o nowhere", "--output is nowhere; it must be an existing directory"),
        ("example -o nowhere", "--output requires NAME"),
    ],
)
def test_bad_input_is_one_sentence(refused, argv, sentence):
    assert sentence in refused(*argv.split())
