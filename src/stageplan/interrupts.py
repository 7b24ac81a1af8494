"""Signals that end a command as Ctrl-C does; only the command line installs handlers, never the library."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

# Seconds in which further signals count as the same request: a terminal that closes sends SIGHUP twice.
_SAME_REQUEST = 1.0

_first: tuple[int, float] | None = None  # number and time of the first signal
_holding = False
_pending = False


@contextmanager
def handled() -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C, SIGTERM and SIGHUP; afterwards the handlers are as before.

    A signal that this process was started to ignore, as by nohup, stays ignored. Outside the main thread,
    where no handler can be installed, nothing changes.
    """
    global _first, _pending
    _first, _pending = None, False
    before = {}
    with suppress(ValueError):
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held() -> Iterator[None]:
    """Raise the KeyboardInterrupt of a handled signal after a block, which runs to its end."""
    global _holding, _pending
    _holding = True
    try:
        yield
    finally:
        _holding = False
    if _pending:
        _pending = False
        raise KeyboardInterrupt


def _interrupt(number: int, _: FrameType | None) -> None:
    global _first, _pending
    now = time.monotonic()
    if _first is None:
        _first = number, now
    elif now - _first[1] < _SAME_REQUEST:
        return
    if _holding:
        _pending = True
    else:
        raise KeyboardInterrupt


def exit_status() -> int:
    """Return the exit status after an interrupt: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + (signal.SIGINT if _first is None else _first[0])
