"""``stageplan docs``: the pages of documentation that are installed with the package."""

from __future__ import annotations

import argparse
from importlib import resources

from ..errors import InputError
from ..fields import show
from ..output import compose, print_out, table
from .status import FEASIBLE, exit_statuses


def add_docs(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``docs``."""
    parser.set_defaults(run=_docs)
    parser.epilog = exit_statuses("the page, or the list of pages, is printed")
    parser.add_argument("page", nargs="?", metavar="PAGE", help="which page; default: list them all")


def _docs(arguments: argparse.Namespace) -> int:
    pages = _pages()
    if arguments.page is None:
        titles = [(name, text.partition("\n")[0].removeprefix("# ")) for name, text in pages.items()]
        print_out(compose(table(titles, left=(0, 1))))
    elif arguments.page in pages:
        print_out(pages[arguments.page].rstrip("\n"))
    else:
        raise InputError(f"PAGE is {show(arguments.page)}; it must be one of {', '.join(pages)}")
    return FEASIBLE


def _pages() -> dict[str, str]:
    folder = resources.files("stageplan") / "docs"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return {file.name.removesuffix(".md"): file.read_text(encoding="utf-8") for file in files}
