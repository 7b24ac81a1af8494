"""Locks on files, which tell processes of each other; the system releases those of a process that ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

_UNUSED = 1 << 30  # position of a byte that no file has: Windows lets no one read what is locked


def lock(stream: IO[Any]) -> None:
    """Lock an open file until it is closed.

    Raises
    ------
    BlockingIOError
        It is locked already.
    OSError
        The file system has no locks.
    """
    if sys.platform == "win32":
        import msvcrt

        file = stream.fileno()
        at = os.lseek(file, 0, os.SEEK_CUR)
        os.lseek(file, _UNUSED, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            raise BlockingIOError from None
        finally:
            os.lseek(file, at, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def locked_beside(path: Path) -> Iterator[None]:
    """Hold a lock for a file that may be replaced: that of a hidden file beside it, removed at the end.

    Where no such file can be made or locked, nothing is held.

    Raises
    ------
    BlockingIOError
        It is held already, in this process or another one.
    """
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name}.lock")
    with ExitStack() as held:
        stream = _lock_new(beside)
        if stream is not None:
            held.callback(_remove, beside, stream)
        yield


def _lock_new(path: Path) -> IO[bytes] | None:
    """Make and lock a file; None where that is not possible."""
    while True:
        try:
            stream = path.open("ab")
        except OSError:
            return None
        try:
            lock(stream)
            if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
                return stream
        except BlockingIOError:
            stream.close()
            raise
        except FileNotFoundError:
            pass
        except OSError:
            _remove(path, stream)
            return None
        stream.close()  # of a lock that was given up before it was held, with its file


def _remove(path: Path, stream: IO[bytes]) -> None:
    with stream, suppress(OSError):  # on Windows, where an open file cannot be removed
        path.unlink()
