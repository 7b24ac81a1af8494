"""The flags ``-v`` and ``-q``: a log on stderr, or nothing but the result."""

import io
import logging
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import CLUSTER

from stageplan import log
from stageplan.log import LOGGER

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} stageplan: \d+\.\d s: ")
SHORT = ("--method", "genetic", "--max-generations", 3)


@pytest.fixture(autouse=True)
def no_line_yet(monkeypatch):
    monkeypatch.setattr(log, "_last", -np.inf)


@pytest.mark.parametrize(("command", "last"), [("plan", "; optimal"), ("pareto", " points")])
def test_verbose_logs_without_a_terminal(run, command, last):
    argv = SHORT if command == "plan" else ("--points", 3)
    status, out, err = run(command, "net.toml", "-v", *argv)
    lines = err.splitlines()
    assert status == 0
    assert "\n" in out
    assert len(lines) >= 2
    assert all(LINE.match(line) for line in lines)
    assert "best $" in lines[0]
    assert lines[-1].endswith(last)
    assert [type(handler) for handler in LOGGER.handlers] == [logging.NullHandler]
    assert LOGGER.level == logging.NOTSET


def test_verbose_logs_a_sweep(run):
    axes = '[product]\nworkload = "net.toml"\nmin_throughput = [100, 200]\n'
    Path("sweep.toml").write_text(f'name = "s"\n{axes}')
    status, out, err = run("sweep", "sweep.toml", "-o", "rows", "--rows", "jsonl", "--verbose")
    assert (status, bool(out)) == (0, True)
    assert all(LINE.match(line) for line in err.splitlines())
    assert "1 of 1 chunks, 2 set-ups, 0 failed; " in err.splitlines()[-1]


def test_quiet_prints_only_the_result(run):
    Path("types.toml").write_text(CLUSTER.replace("price = 3.0", "price = 0.0"))
    argv = ("plan", "net.toml", *SHORT)
    status, loud, notes = run(*argv)
    assert (status, bool(notes)) == (0, True)
    status, out, err = run(*argv, "-q")
    assert (status, err) == (0, "")
    assert out == loud


def test_quiet_shows_errors(refused):
    assert refused("plan", "absent.toml", "-q").startswith("absent.toml: There is no such file")


@pytest.mark.parametrize("command", ["plan", "pareto"])
def test_quiet_and_verbose_show_no_progress_line(run, monkeypatch, command):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for flag in ("-q", "-v"):
        monkeypatch.setattr(sys, "stderr", terminal := Terminal())
        assert run(command, "net.toml", flag)[0] == 0
        assert "searching" not in terminal.getvalue()


@pytest.mark.parametrize("command", ["plan", "pareto", "sweep"])
def test_only_one_of_both(refused, command):
    assert "not allowed with argument" in refused(command, "net.toml", "-q", "-v")
