"""Output of commands: text and tables, atomically written files, a progress line."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import msgspec

from .errors import InputError
from .fields import printable
from .interrupts import held

if TYPE_CHECKING:  # rich takes long to import, and is only needed where something is printed
    from rich.console import Console, ConsoleOptions, Group, RenderableType

STDOUT = Path("-")  # as an output


@contextmanager
def status_line(text: str) -> Iterator[Callable[[str], object] | None]:
    """Show a line that can be replaced by another one, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(file=cast(IO[str], _Terminal())).status(text) as status:
        yield lambda line: status.update(Text(printable(line), no_wrap=True, overflow="ellipsis"))


class _Terminal:
    """Standard error for progress: if the terminal is closed, the progress line is lost, not the plan."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


def table(
    rows: Sequence[Sequence[str]], left: Collection[int] = (), spare: Sequence[int] = ()
) -> RenderableType:
    """Make a table of a head and rows, aligned to the right, or in some columns to the left.

    If it is wider than the terminal, its columns are closer; then the columns in `spare` are left out, one
    after the other; then cells are wrapped: in right-aligned columns only between words, because parts of a
    number would be read as other numbers.
    """
    return _Table(rows, left, spare) if rows else ""


@dataclass(frozen=True)
class _Table:
    rows: Sequence[Sequence[str]]
    left: Collection[int]
    spare: Sequence[int]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        columns = list(range(len(self.rows[0])))
        for column in self.spare:
            if self._width(columns, 1) > options.max_width:
                columns.remove(column)
        yield self._grid(columns, 2 if self._width(columns, 2) <= options.max_width else 1)

    def _width(self, columns: Sequence[int], gap: int) -> int:
        from rich.cells import cell_len

        widths = (max(cell_len(printable(row[column])) for row in self.rows) for column in columns)
        return sum(widths) + gap * (len(columns) - 1)

    def _grid(self, columns: Sequence[int], gap: int) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, gap, 0, 0), pad_edge=False)
        for column in columns:
            if column in self.left:
                grid.add_column(overflow="fold")
            else:
                words = (word for row in self.rows[1:] for word in row[column].split())
                grid.add_column(justify="right", overflow="fold", min_width=max(map(len, words), default=0))
        for row in self.rows:
            grid.add_row(*(Text(printable(row[column])) for column in columns))
        return grid


def compose(*parts: RenderableType) -> Group:
    """Put lines and tables one below the other; empty ones are left out."""
    from rich.console import Group
    from rich.text import Text

    return Group(*(Text(printable(part)) if isinstance(part, str) else part for part in parts if part != ""))


def to_text(shown: RenderableType, width: int | None = None) -> str:
    """Render as plain text: complete, or wrapped to a width."""
    from rich.console import Console

    console = Console(
        file=StringIO(),
        width=width or sys.maxsize,
        color_system=None,
        markup=False,
        emoji=False,
        highlight=False,
        force_terminal=False,
        force_jupyter=False,
        legacy_windows=False,
    )
    with console.capture() as capture:
        console.print(shown, crop=False)
    return "\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n"))


def to_json(values: object) -> bytes:
    """Strict JSON: null means infinity."""
    return msgspec.json.format(msgspec.json.encode(values), indent=2)


def print_out(shown: RenderableType) -> None:
    """Print text, or lines and tables wrapped to the terminal, and flush, so that errors occur here.

    Control characters are escaped; in JSON they keep their meaning.
    """
    text = shown if isinstance(shown, str) else to_text(shown, shown_width())
    try:
        print(printable(text, keep="\n\t"), flush=True)
    except OSError as error:
        # The rest of the buffer would fail again when the interpreter exits.
        with open(os.devnull, "w") as null:
            os.dup2(null.fileno(), sys.stdout.fileno())
        raise OSError(error.errno, error.strerror, "standard output") from None


def shown_width() -> int | None:
    """Return the width of the terminal; None if stdout is a file or a pipe, where text is never wrapped."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_note(text: str) -> None:
    """Print lines on stderr, if it is still open; control characters are escaped."""
    with suppress(OSError):
        print(printable(text, keep="\n\t"), file=sys.stderr, flush=True)


def deliver(output: Path | None, shown: RenderableType, values: dict[str, Any]) -> None:
    """Print text, or JSON if the output is ``-``; if it is a file, write JSON and print text."""
    if output is None:
        print_out(shown)
    elif output == STDOUT:
        print_out(to_json(values).decode())
    else:
        write_and_print(output, lambda stream: stream.write(to_json(values) + b"\n"), shown)


def write_and_print(path: Path, write: Callable[[IO[bytes]], object], shown: RenderableType) -> None:
    """Write a file, and print text even if that fails, because the search may have been long."""
    try:
        write_whole(path, write)
    finally:
        print_out(shown)


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file atomically, also on signals; an earlier file's permissions and owner are preserved.

    Raises
    ------
    OSError
        It cannot be written; the error names `path`.
    """
    try:
        if path.exists() and not path.is_file():  # a device or a pipe is written, not replaced
            with path.open("wb") as stream:
                write(stream)
        else:
            with held():
                _replace(Path(os.path.realpath(path)), write)  # of a link, the target is replaced
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def _replace(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a temporary file in the same directory, then rename it."""
    temporary = path.with_name(f".stageplan-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as stream:
            if path.exists():
                _copy_access(path, stream)
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _copy_access(path: Path, stream: IO[bytes]) -> None:
    """Give an open file the owner, where that is allowed, and the permissions of another file."""
    status = path.stat()
    if hasattr(os, "fchown"):  # absent on Windows, where a folder's permissions count
        with suppress(PermissionError):
            os.fchown(stream.fileno(), status.st_uid, status.st_gid)
        os.fchmod(stream.fileno(), stat.S_IMODE(status.st_mode))


def check_output(flag: str, path: Path | None) -> None:
    """Refuse an output that cannot be written, before the work."""
    if path in (None, STDOUT):
        return
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise InputError(f"{flag} is {path}; its directory {folder} does not exist")
    if path.is_dir():
        raise InputError(f"{flag} is {path}, a directory; it must be a file")
    for needed in (folder, path) if path.is_file() else (path if path.exists() else folder,):
        if not os.access(needed, os.W_OK):
            raise InputError(f"{flag} is {path}; {needed} is not writable")


def check_not_read(flag: str, path: Path | None, read: Iterable[str | Path]) -> None:
    """Refuse an output that would replace a file that the command reads."""
    if path is None or not path.is_file():
        return
    if any(os.path.realpath(path) == os.path.realpath(file) for file in read):
        raise InputError(f"{flag} is {path}, which is read too; it must be another file")
