"""The command line: ``stageplan COMMAND``."""

from __future__ import annotations

import sys
from contextlib import suppress

from .. import interrupts


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv
        Arguments without the program's name; default: those of the process.

    Returns
    -------
    int
        Exit status: 0 feasible; 1 no feasible plan; 2 bad input, after one sentence on stderr; 130, 143 or
        129 interrupted by Ctrl-C, SIGTERM or SIGHUP, the best plan so far printed and written; 141 the reader
        of stdout has closed it.
    """
    with interrupts.handled():
        try:
            with interrupts.held():  # native modules whose import is interrupted fail with other errors
                from .commands import run
            return run(argv)
        except KeyboardInterrupt:
            say("interrupted")
            # CPython remembers an interrupt within an earlier exec, and would end by SIGINT instead.
            exec("")
            return interrupts.exit_status()


def say(sentence: str) -> None:
    """Print a sentence on stderr, if that is still open."""
    with suppress(OSError):
        print(f"stageplan: {sentence}", file=sys.stderr, flush=True)
