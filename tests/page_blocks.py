"""Runs the blocks of code of a page of documentation, and compares what they print with what it shows."""

import doctest
from importlib.util import find_spec
from pathlib import Path

import fake_steps
import pytest

from stageplan.cli.pages import Block, split_command, split_page

OUTSIDE = {"checkout", "cluster", "ssh", "torchrun"}  # what no package gives
CHECKER = doctest.OutputChecker()
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks_of(page):
    return [part for part in split_page(page.read_text(encoding="utf-8")) if isinstance(part, Block)]


def run_page(page, run, monkeypatch):
    """Run the blocks one after the other in the current directory; return the names that Python has then.

    Blocks that need what is not there are skipped and, once the others have run, so is the test.
    """
    fake_steps.install(monkeypatch.setattr)  # of `stageplan generate`: all steps, but they compute nothing
    names, skipped = {}, set()
    for block in blocks_of(page):
        if missing := {name for name in block.needs if name in OUTSIDE or find_spec(name) is None}:
            skipped |= missing
        elif block.file is not None:
            Path(block.file).write_text(block.code)
        elif block.language == "console":
            for command, expected in block.commands():
                run_command(command, expected, block.status, run)
        elif block.language == "python":
            run_python(block.code, names, page.stem)
    if skipped:
        pytest.skip(f"other blocks ran; these need {', '.join(sorted(skipped))}")
    return names


def run_command(command, expected, status, run):
    """Run a command of stageplan; one of pip is left out."""
    words, file = split_command(command)
    if words[0] == "pip":
        return
    found, out, err = run(*words[1:])
    assert found == status, (command, err)
    if file is not None:
        Path(file).write_text(out)
    assert not expected or CHECKER.check_output(expected, out, FLAGS), (command, out)


def run_python(code, names, page):
    """Run statements, or a doctest."""
    if not code.startswith(">>> "):
        exec(compile(code, page, "exec"), names)
        return
    runner, failures = doctest.DocTestRunner(CHECKER, optionflags=FLAGS), []
    test = doctest.DocTestParser().get_doctest(code, names, page, page, 0)
    test.globs = names  # which the parser copies
    runner.run(test, out=failures.append, clear_globs=False)
    assert not failures, "".join(failures)
