"""Output of commands: text and tables, atomically written files, a progress line."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import msgspec

from .errors import InputError
from .fields import printable
from .interrupts import held

if TYPE_CHECKING:  # rich takes long to import, and is only needed where something is printed
    from rich.console import Group, RenderableType

    from .progress import Progress


@contextmanager
def progress_line() -> Iterator[Callable[[Progress], object] | None]:
    """Show a progress line during a search, if stderr is a terminal."""
    with status_line("searching") as update:
        if update is None:
            yield None
            return
        shown = 0.0

        def show(progress: Progress) -> None:
            nonlocal shown
            if progress.runtime - shown >= 0.1:
                shown = progress.runtime
                update(_line(progress))

        yield show


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


def _line(p: Progress) -> str:
    broken = f", violation {p.violation:.3g}" if p.violation else ""
    best = f"${p.price:,.4g}/h" if p.objective == "price" else f"${p.cost:,.4g}"
    if p.plan_cost is not None:
        best = f"plan cost {p.plan_cost:,.4g}, {best}"
    return (
        f"generation {p.generation:,}, {p.evaluations:,} schemes, "
        f"best {best} at {p.throughput:,.4g} examples/s{broken}"
    )


def table(rows: Sequence[Sequence[str]], left: Collection[int] = ()) -> RenderableType:
    """Make a table of a head and rows, aligned to the right, or in some columns to the left.

    If it is wider than the terminal, cells are wrapped; in right-aligned columns only between words, because
    parts of a number would be read as other numbers.
    """
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return ""
    grid = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    for column in range(len(rows[0])):
        if column in left:
            grid.add_column(overflow="fold")
        else:
            words = (word for row in rows[1:] for word in row[column].split())
            grid.add_column(justify="right", overflow="fold", min_width=max(map(len, words), default=0))
    for row in rows:
        grid.add_row(*(Text(printable(cell)) for cell in row))
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
    text = shown if isinstance(shown, str) else to_text(shown, _terminal_width())
    try:
        print(printable(text, keep="\n\t"), flush=True)
    except OSError as error:
        # The rest of the buffer would fail again when the interpreter exits.
        with open(os.devnull, "w") as null:
            os.dup2(null.fileno(), sys.stdout.fileno())
        raise OSError(error.errno, error.strerror, "standard output") from None


def _terminal_width() -> int | None:
    """Width of the terminal; None if stdout is a file or a pipe, where text is never wrapped."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_note(text: str) -> None:
    """Print lines on stderr, if it is still open; control characters are escaped."""
    with suppress(OSError):
        print(printable(text, keep="\n\t"), file=sys.stderr, flush=True)


def deliver(output: Path | None, shown: RenderableType, values: dict[str, Any]) -> None:
    """Print text, or JSON if the output is ``-``; if it is a file, write JSON and print text."""
    if output is None:
        print_out(shown)
    elif str(output) == "-":
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
    if path is None or str(path) == "-":
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
