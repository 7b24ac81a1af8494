"""Every block of code in the README runs as it is printed, in an empty folder, one after the other."""

import re
import shlex
import tomllib
from importlib.util import find_spec
from pathlib import Path

import fake_steps
import pytest

from stageplan import cli
from stageplan.examples import files
from stageplan.generate.spec import read_spec

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README.read_text(encoding="utf-8"), re.M | re.S)


def commands(block):
    """Return the commands of a block without those that install packages or run all tests."""
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    return [line for line in lines if line and line[0] not in ("pip", "pytest")]


SHELL = [block for kind, block in BLOCKS if kind == "sh"]
PYTHON = [block for kind, block in BLOCKS if kind == "python"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(autouse=True)
def in_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)


def test_all_blocks_are_tested():
    assert {kind for kind, _ in BLOCKS} == {"sh", "toml", "python"}
    assert all(line[0] == "stageplan" for block in SHELL for line in commands(block))
    assert (len(SHELL), len(PYTHON)) == (5, 1)


@pytest.mark.parametrize("block", SHELL, ids=[block.splitlines()[0][:30] for block in SHELL])
def test_shell(block, monkeypatch, tmp_path, capsys):
    if "hf:" in block and not (find_spec("torch") and find_spec("transformers")):
        pytest.skip("torch or transformers is not installed")
    if "generate" in block:  # all steps, but with commands that compute nothing
        fake_steps.install(monkeypatch.setattr)
        monkeypatch.setenv("HOME", str(tmp_path))
    for _, *arguments in commands(block):
        assert cli.main(arguments) == 0, (arguments, capsys.readouterr())


def test_specification_is_valid_and_that_of_the_example(tmp_path):
    (shown,) = (block for kind, block in BLOCKS if kind == "toml")
    (tmp_path / "spec.toml").write_text(shown)
    (tmp_path / "example.toml").write_text(files("spec")["spec.toml"])
    assert read_spec(tmp_path / "spec.toml") == read_spec(tmp_path / "example.toml")
    assert shown in files("spec")["spec.toml"]
    assert tomllib.loads(shown)["task"] == "click-through-rate"


@pytest.mark.parametrize("block", PYTHON)
def test_python(block):
    names = {}
    exec(compile(block, str(README), "exec"), names)
    assert names["result"].plan.feasible
    assert names["learned"].cell == "lstm"
    assert names["plan"].feasible
    assert names["front"].points
