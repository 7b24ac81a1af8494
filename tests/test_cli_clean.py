"""``stageplan clean``: lists, asks, and removes."""

import sys
from pathlib import Path

import pytest

from stageplan.generate.folders import owned


@pytest.fixture
def model(net_files):
    """The directory of a run that wrote nothing yet."""
    with owned(Path("model"), "0123456789abcdef" * 2):
        (Path("model") / "test-result.json").write_text("{}")
    return Path("model")


def test_dry_run_lists_and_removes_nothing(model, run):
    status, out, _ = run("clean", "model", "--dry-run")
    assert (status, out.splitlines()[0]) == (0, "to be removed: 1 files and folders, 2 bytes")
    assert str(model.resolve() / "test-result.json") in out
    assert model.exists()


def test_without_a_terminal_yes_must_be_given(model, run):
    status, out, err = run("clean", "model")
    assert status == 2
    assert out.startswith("to be removed: 1 files")
    assert err == "stageplan: error: clean removes nothing without --yes, since there is no terminal to ask\n"
    assert model.exists()
    status, out, _ = run("clean", "model", "--yes")
    assert (status, out.splitlines()[0]) == (0, "removed: 1 files and folders, 2 bytes")
    assert not model.exists()


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("YES ", 0), ("", 2), ("n", 2)])
def test_terminal_is_asked(model, run, monkeypatch, answer, status):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    assert run("clean", "model")[0] == status
    assert model.exists() is (status != 0)


def test_other_directories_are_refused(net_files, refused):
    assert refused("clean", ".", "--yes").startswith("directory is .; it must be that of a run, with its ")
    assert "target is 'ssh:-oProxyCommand=x'; it must be " in refused("clean", "ssh:-oProxyCommand=x")
