"""What commands write."""

import errno
import os
from pathlib import Path

import pytest
from commands import SHORT, fail, strict

import stageplan as sp
from stageplan import output


@pytest.mark.parametrize("command", [("plan", "net.toml"), ("score", "net.toml", "rows.npy")])
@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("missing/plan.json", "missing does not exist"),
        ("net.toml/plan.json", "net.toml does not exist"),
        (".", "a directory; it must be a file"),
        ("n" * 300, "File name too long"),
    ],
)
def test_unusable_outputs_are_refused_before_any_work(refused, monkeypatch, command, path, sentence):
    for work in ("search.solve", "search.evaluate", "problem.read_workload"):
        monkeypatch.delattr(f"stageplan.cli.{work}")
    assert sentence in refused(*command, "-o", path)


@pytest.mark.parametrize("exists", [False, True])
def test_unwritable_outputs_are_refused_before_any_work(refused, monkeypatch, exists):
    if exists:
        Path("plan.json").write_text("old")
    monkeypatch.setattr(os, "access", lambda path, mode: (Path(path).name == "plan.json") != exists)
    monkeypatch.delattr("stageplan.cli.problem.read_workload")
    assert refused("plan", "net.toml", "-o", "plan.json").endswith("is not writable")


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 2, "error: plan.json: No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
@pytest.mark.parametrize("old", [None, "old"])
def test_a_failed_write_leaves_everything_as_it_was(run, monkeypatch, error, status, sentence, old):
    if old is not None:
        Path("plan.json").write_text(old)
    before = sorted(os.listdir())
    monkeypatch.setattr(os, "fsync", fail(error))
    got, out, err = run("plan", "net.toml", *SHORT, "-o", "plan.json")
    assert (got, err) == (status, f"stageplan: {sentence}\n")
    assert "bottleneck" in out  # the search was not in vain
    assert sorted(os.listdir()) == before
    assert old is None or Path("plan.json").read_text() == old


def test_a_link_stays_a_link_and_permissions_are_usual(run):
    Path("real.json").touch()
    Path("link.json").symlink_to("real.json")
    assert run("plan", "net.toml", *SHORT, "-o", "link.json")[0] == 0
    assert Path("link.json").is_symlink()
    assert strict(Path("real.json").read_text())["feasible"]
    Path("usual").touch()
    assert Path("real.json").stat().st_mode == Path("usual").stat().st_mode


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_device_is_written_and_not_replaced(run):
    assert run("plan", "net.toml", *SHORT, "-o", "/dev/null")[0] == 0
    assert Path("/dev/null").is_char_device()
    status, out, err = run("plan", "net.toml", *SHORT, "-o", "/dev/full")
    assert (status, err) == (2, "stageplan: error: /dev/full: No space left on device\n")
    assert "bottleneck" in out


def test_the_line_of_progress():
    progress = sp.Progress(12, 3456, 98765, 1, 0.5, 17.25, 1e6, 0.0, "cost")
    assert output._line(progress) == "generation 12, 3,456 schemes, best $17.25 at 1e+06 examples/s"
    assert output._line(progress._replace(violation=0.5)).endswith(" examples/s, violation 0.5")
