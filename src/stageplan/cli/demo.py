"""``stageplan demo``: run the commands of the page ``first-plan``, in a temporary directory."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Any

from ..output import print_out, shown_width, to_text
from .pages import Block, read_pages, split_command, split_page
from .status import FEASIBLE, exit_statuses

Run = Callable[[list[str]], int]
PAGE = "first-plan"


def add_demo(parser: argparse.ArgumentParser, run: Run) -> None:
    """Turn a parser into that of ``demo``; `run` runs a command and returns its exit status."""
    parser.set_defaults(run=lambda _: _demo(run))
    parser.epilog = exit_statuses("all commands ran")


def _demo(run: Run) -> int:
    with tempfile.TemporaryDirectory(prefix="stageplan-demo-") as folder, chdir(folder):
        names: dict[str, Any] = {}
        for part in split_page(read_pages()[PAGE]):
            if isinstance(part, str):
                _print_text(part)
            elif (status := run_block(part, run, names, echo=True)) != part.status:
                return status
    return FEASIBLE


def _print_text(text: str) -> None:
    from rich.markdown import Markdown

    if text.strip():
        print_out(f"\n{to_text(Markdown(text, hyperlinks=False), min(shown_width() or 80, 100))}\n")


def run_block(block: Block, run: Run, names: dict[str, Any], *, echo: bool = False) -> int:
    """Run a block of commands of stageplan, or of Python.

    Parameters
    ----------
    block
        The block.
    run
        Runs a command of stageplan and returns its exit status.
    names
        Global names of Python, which blocks share.
    echo
        Whether to print the code before its output.

    Returns
    -------
    int
        The exit status that differs from that of the block, or else that of the block.
    """
    if block.file is not None:
        Path(block.file).write_text(block.code, encoding="utf-8")
    elif block.language == "python":
        _run_python(block.code, names, echo)
    for command, _ in block.commands() if block.language == "console" else ():
        if echo:
            print_out(f"$ {command}")
        status = _run_command(command, run)
        if status != block.status:
            return status
    return block.status


def _run_command(command: str, run: Run) -> int:
    words, file = split_command(command)
    if file is None:
        return run(words[1:])
    with open(file, "w", encoding="utf-8") as stream, redirect_stdout(stream):
        return run(words[1:])


def _run_python(code: str, names: dict[str, Any], echo: bool) -> None:
    """Run statements as at the prompt, which prints the values of expressions."""
    from doctest import DocTestParser

    for example in DocTestParser().get_examples(code):
        if echo:
            print_out(">>> " + example.source.rstrip("\n").replace("\n", "\n... "))
        exec(compile(example.source, "<demo>", "single"), names)
