"""Containers: recipes with pinned packages, and engines that build and run them."""

import json
import os
import shlex

import fake_steps
import pytest
from projects import RUN_ID

from stageplan.generate import Spec, environment, generate
from stageplan.generate.containers import build_and_run, recipes, why_not
from stageplan.generate.environment import pip_arguments, prepare
from stageplan.generate.on_target.pip_hashes import hashes
from stageplan.generate.target import Local, target_of

INDEX = "https://example.org/$(id)/`id`;id"
REQUIREMENTS, LOCK = ["numpy==2.4.6", "torch==2.13.0"], ["numpy==2.4.6", "torch==2.13.0+cpu", "sympy==1.14.0"]


def make(**fields):
    return Spec(name="Net.", task="text-classification", **fields)


def written(hashes=None, python="3.12"):
    spec = make(environment={"index": INDEX})
    made = recipes(spec, REQUIREMENTS, LOCK, hashes or {}, python, pip_arguments(spec))
    return {path.removeprefix("container/"): content.decode() for path, content in made.items()}


def install_of(files):
    line = next(line for line in files["Dockerfile"].splitlines() if line.startswith("RUN "))
    return json.loads(line.removeprefix("RUN "))


def test_recipes_quote_the_index_and_agree():
    files = written()
    install = install_of(files)
    assert install[install.index("--extra-index-url") + 1] == INDEX
    lines = [line.split()[0] for line in files["Dockerfile"].splitlines() if line and line[0] != "#"]
    assert lines == ["FROM", "COPY", "RUN", "COPY", "WORKDIR", "ENTRYPOINT"]
    post = files["apptainer.def"].partition("%post\n")[2].partition("\n\n")[0]
    assert shlex.split(post) == install
    assert "Bootstrap: docker\nFrom: python:3.12-slim-bookworm\n" in files["apptainer.def"]
    assert "FROM docker.io/library/python:3.12-slim-bookworm\n" in files["Dockerfile"]
    assert "@sha256:... to pin it too" in files["Dockerfile"]
    assert "!project" in files["Dockerfile.dockerignore"]


def test_packages_without_checksums_are_constrained_to_the_versions_that_are_installed():
    files = written()
    assert install_of(files)[-4:] == ["-c", "/constraints.txt", "-r", "/requirements.txt"]
    assert files["requirements.txt"].split() == REQUIREMENTS
    assert files["constraints.txt"].split() == ["numpy==2.4.6", "torch==2.13.0", "sympy==1.14.0"]


def test_packages_with_checksums_are_pinned_by_them():
    files = written({"torch==2.13.0": "b" * 64, "numpy==2.4.6": "a" * 64})
    assert install_of(files)[-3:] == ["--require-hashes", "-r", "/requirements.txt"]
    assert files["requirements.txt"] == (
        f"numpy==2.4.6 --hash=sha256:{'a' * 64}\ntorch==2.13.0 --hash=sha256:{'b' * 64}\n"
    )


def test_checksums_of_a_report_of_pip():
    def package(name, **archive):
        return {"metadata": {"name": name, "version": "1"}, "download_info": archive}

    one = package("Some_Thing", archive_info={"hashes": {"sha256": "a"}})
    assert hashes({"install": [one]}) == {"some-thing==1": "a"}
    assert hashes({"install": [one, package("local", dir_info={})]}) == {}


def test_recipes_are_written_where_the_target_lacks_something(tmp_path):
    spec = make(environment={"python": "/no/python"})
    assert not prepare(spec, target_of(spec, tmp_path, RUN_ID), tmp_path).ok
    assert "python:3.11-" in (tmp_path / "container/Dockerfile").read_text()


# Engines ------------------------------------------------------------------------------------------------


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """Put a fake engine into the path, which writes down its arguments; one of them may fail."""

    def engine(name, failing="nothing"):
        (tmp_path / "bin").mkdir()
        tool = tmp_path / "bin" / name
        tool.write_text(
            f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\necho "layer 1"\n'
            f'[ "$1" != {failing} ] || {{ echo "no space left"; exit 1; }}\n'
        )
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")

    return engine


def calls(tmp_path):
    return (tmp_path / "calls").read_text().splitlines()


def local(tmp_path, **fields):
    spec = make(**fields)
    return spec, Local(spec, tmp_path, RUN_ID)


def test_docker_builds_and_infers_without_a_network(tmp_path, engine):
    engine("docker")
    spec, machine = local(tmp_path)
    assert why_not("docker", machine) == ""
    assert build_and_run(spec, "docker", machine).ok
    assert calls(tmp_path) == [
        "version --format {{.Server.Version}}",
        "build -f container/Dockerfile -t stageplan/net .",
        "run --rm --network none stageplan/net infer.py --mode quick",
    ]


def test_apptainer_builds_into_a_file_that_is_removed(tmp_path, engine):
    engine("apptainer")
    spec, machine = local(tmp_path)
    assert build_and_run(spec, "apptainer", machine).ok
    build, run = (call.split() for call in calls(tmp_path))
    assert [build[0], build[2]] == ["build", "container/apptainer.def"]
    assert run == ["run", "--containall", "--writable-tmpfs", build[1], "infer.py", "--mode", "quick"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "calls"]


@pytest.mark.parametrize(("failing", "said"), [("build", 2), ("run", 3)])
def test_failed_command_is_returned(tmp_path, engine, failing, said):
    engine("docker", failing)
    spec, machine = local(tmp_path)
    why_not("docker", machine)
    finished = build_and_run(spec, "docker", machine)
    assert finished.failure == "ended with exit status 1: no space left"
    assert len(calls(tmp_path)) == said


@pytest.mark.parametrize(
    ("failing", "status", "passed", "message"),
    [
        ("nothing", "PASS", True, ""),
        ("build", "FAIL", False, "docker ended with exit status 1: no space left"),
        (
            "version",
            "SKIP",
            True,
            "docker cannot be used on this machine: it ended with exit status 1: no space",
        ),
        (
            "absent",
            "SKIP",
            True,
            "docker cannot be used on this machine: it could not be run: docker: No such",
        ),
    ],
)
def test_test_builds_a_container_where_an_engine_is(
    tmp_path, engine, monkeypatch, failing, status, passed, message
):
    fake_steps.install(monkeypatch.setattr)
    if failing == "absent":
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        engine("docker", failing)
    result = generate(make(environment={"container": "docker"}), tmp_path / "out", mode="quick").test
    assert result.cases[-1].name == "container"
    assert (result.cases[-1].status, result.passed) == (status, passed)
    assert result.cases[-1].message.startswith(message)
    assert environment.DEFAULT_PYTHON == "3.11"
