"""``stageplan clean``: remove what runs of ``generate`` and ``test`` left."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..errors import InputError
from ..generate import clean
from ..output import print_out
from .status import FEASIBLE, exit_statuses


def add_clean(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``clean``."""
    parser.set_defaults(run=_clean)
    parser.epilog = exit_statuses(
        "it was removed, or --dry-run lists it", "the target cannot be reached, or lacks Python"
    )
    add = parser.add_argument
    add(
        "target",
        metavar="TARGET",
        help="directory of a generated model, with its copy on the target; or ssh:USER@HOST, for the "
        "directories of all runs there",
    )
    add("--dry-run", action="store_true", help="only list what would be removed")
    add("--yes", action="store_true", help="remove without asking")
    add("--ssh-config", type=Path, metavar="FILE", help="configuration file of ssh instead of yours")


def _clean(arguments: argparse.Namespace) -> int:
    found = clean(arguments.target, config=arguments.ssh_config)
    if arguments.dry_run or not found.removable:
        print_out(found)
        return FEASIBLE
    if not arguments.yes:
        print_out(found)
        _ask()
    print_out(clean(arguments.target, remove=True, config=arguments.ssh_config))
    return FEASIBLE


def _ask() -> None:
    """Ask whether to go on; InputError where nobody can answer, or the answer is no."""
    if not sys.stdin.isatty():
        raise InputError("clean removes nothing without --yes, since there is no terminal to ask")
    if input("remove this? [y/N] ").strip().lower() not in ("y", "yes"):
        raise InputError("nothing was removed")
