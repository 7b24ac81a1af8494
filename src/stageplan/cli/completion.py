"""``stageplan completion``: scripts with which shells complete commands, options and files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from ..output import print_out
from .status import FEASIBLE, exit_statuses

_INSTALL = """\
bash, a line of ~/.bashrc:      eval "$(stageplan completion bash)"
zsh, DIR being one of fpath:    stageplan completion zsh > DIR/_stageplan"""
_FILES = ("workload", "model", "cluster", "catalogue", "prices", "fit", "sweep")  # that take names too


def add_completion(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``completion``."""
    parser.set_defaults(run=_completion)
    parser.epilog = f"{_INSTALL}\n\n{exit_statuses('the script is printed')}"
    parser.add_argument("shell", choices=("bash", "zsh"))


def _completion(arguments: argparse.Namespace) -> int:
    try:
        import shtab  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise ImportError('completion requires shtab: pip install "stageplan[completion]"') from None
    from .commands import make_parser

    parser = make_parser()
    for action in _actions(parser):
        if action.type is Path or action.dest in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    print_out(shtab.complete(parser, arguments.shell).rstrip("\n"))
    return FEASIBLE


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of the parsers of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
