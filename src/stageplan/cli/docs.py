"""``stageplan docs``: the pages of documentation that are installed with the package."""

from __future__ import annotations

import argparse
import os

from ..errors import InputError
from ..fields import show
from ..output import compose, print_out, shown_width, table, to_text
from ..suggestions import did_you_mean
from .pages import read_pages
from .status import FEASIBLE, exit_statuses


def add_docs(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``docs``."""
    parser.set_defaults(run=_docs)
    parser.epilog = exit_statuses("the page, or the list of pages, is printed")
    parser.add_argument("page", nargs="?", metavar="TOPIC", help="which page; default: list them all")


def _docs(arguments: argparse.Namespace) -> int:
    pages, name = read_pages(), arguments.page
    if name is None:
        titles = [(name, text.partition("\n")[0].removeprefix("# ")) for name, text in pages.items()]
        print_out(compose(table(titles, left=(0, 1))))
    elif name not in pages:
        known = f"{', '.join(pages)}{did_you_mean(name, pages)}"
        raise InputError(f"TOPIC is {show(name)}; it must be one of {known}")
    elif (width := shown_width()) is None:
        print_out(pages[name].rstrip("\n"))
    else:
        _page(pages[name], width)
    return FEASIBLE


def _page(text: str, width: int) -> None:
    """Show Markdown laid out for a terminal, by the pager that the environment names."""
    from pydoc import pager

    from rich.markdown import Markdown

    os.environ.setdefault("LESS", "FRX")  # less ends at once where the page fits
    pager(to_text(Markdown(text, hyperlinks=False), min(width, 100)))
