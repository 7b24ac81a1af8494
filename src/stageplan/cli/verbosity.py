"""How much commands print on stderr: a progress line, a log, or nothing but errors."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..log import LOGGER, progress_line
from ..output import print_note, status_line
from ..progress import Progress


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose what is printed on stderr."""
    add = parser.add_mutually_exclusive_group().add_argument
    add(
        "-v",
        "--verbose",
        action="store_true",
        help="log progress on stderr, a line each second, also without a terminal",
    )
    add("-q", "--quiet", action="store_true", help="print only the result and errors")


@contextmanager
def search_progress(
    arguments: argparse.Namespace,
) -> Iterator[Callable[[Progress], object] | None]:
    """Show the progress of a search as the flags ask: in a log, or in a line of the terminal."""
    if arguments.quiet or arguments.verbose:
        with logged(arguments):
            yield None
    else:
        with status_line("searching") as update:
            yield None if update is None else _Line(update)


class _Line:
    """A callback that shows the state of a search, ten times a second."""

    def __init__(self, update: Callable[[str], object]) -> None:
        self._update, self._shown = update, 0.0

    def __call__(self, progress: Progress) -> None:
        if progress.runtime - self._shown >= 0.1:
            self._shown = progress.runtime
            self._update(progress_line(progress))


@contextmanager
def logged(arguments: argparse.Namespace) -> Iterator[None]:
    """Write the package's log to stderr, where the flag asks for it."""
    if not arguments.verbose:
        yield
        return
    handler, level = _Stderr(), LOGGER.level
    handler.setFormatter(logging.Formatter("%(asctime)s stageplan: %(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOGGER.setLevel(level)
        LOGGER.removeHandler(handler)


class _Stderr(logging.Handler):
    """Prints on stderr, if that is still open: a search does not end where its log cannot be written."""

    def emit(self, record: logging.LogRecord) -> None:
        print_note(self.format(record))
