"""Exit statuses of commands."""

from __future__ import annotations

from textwrap import fill

FEASIBLE, NO_PLAN, BAD_INPUT, PIPE_CLOSED = 0, 1, 2, 141


def exit_statuses(done: str, failed: str = "", interrupted: str = "") -> str:
    """Return the end of a command's help: what its exit statuses 0, 1 and those of signals mean."""
    meanings = {
        0: done,
        1: failed,
        2: "bad input, or something required is missing or fails; one sentence on stderr says what",
        130: f"interrupted by Ctrl-C; 143 by SIGTERM; 129 by SIGHUP{interrupted}",
        141: "the reader of stdout has closed it",
    }
    lines = [
        fill(meaning, 79, initial_indent=f"  {status:<5}", subsequent_indent=" " * 7)
        for status, meaning in meanings.items()
        if meaning
    ]
    return "\n".join(["exit status:", *lines])


def status_of(feasible: bool) -> int:
    """Return the exit status: feasible or passed, or not."""
    return FEASIBLE if feasible else NO_PLAN
