"""How commands end: exit statuses, and errors that say which file they are about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FEASIBLE, NO_PLAN, BAD_INPUT, PIPE_CLOSED = 0, 1, 2, 141

EPILOG = """\
exit status:
  0    the plan meets every limit
  1    no plan found does; the table says which limits the best one breaks, and by how much, and the lines
       below it which changes would do
  2    bad input; one sentence on stderr says what
  130  interrupted (Ctrl-C); the best plan so far is printed and written all the same
"""


def status_of(feasible: bool) -> int:
    """Whether what was asked for was found, or passed, as an exit status."""
    return FEASIBLE if feasible else NO_PLAN


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Begin the sentence of an error with the file that it is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
