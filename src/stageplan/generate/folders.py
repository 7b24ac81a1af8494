"""The directory of a run: its marker, and folders that are replaced without losing a user's files.

A marker with a random id, written first, shows that a run made a directory; nothing is changed in a directory
without one. A record in each folder lists the files that a run wrote there, with their checksums. When a
folder or file is replaced, files that are not in the record or have changed belong to the user, and are moved
to ``kept`` in the run's directory.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import IO

import msgspec

from ..errors import InputError
from ..locks import lock
from ..output import to_json, write_whole
from .digests import sha256
from .layout import PROJECT, TEST

MARKER = ".stageplan-run"
RECORD = ".stageplan-files.json"
KEPT = "kept"

_MARKER_TEXT = re.compile(r"stageplan run ([0-9a-f]{32})\n")
SCRATCH = rf"\.+({PROJECT}|{TEST})(-[0-9a-f]{{8}}\.part)+"  # pattern of names of scratch folders


# The marker ---------------------------------------------------------------------------------------------


def marker_text(run: str) -> str:
    """Return the text of a run's marker."""
    return f"stageplan run {run}\n"


def run_id(directory: Path) -> str | None:
    """Return the id in a directory's marker; None where there is no valid marker."""
    marker = directory / MARKER
    try:
        if not stat.S_ISREG(marker.lstat().st_mode):
            return None
        with marker.open(encoding="ascii", errors="replace") as stream:
            return _id_in(stream)
    except OSError:
        return None


def _id_in(stream: IO[str]) -> str | None:
    match = _MARKER_TEXT.fullmatch(stream.read(100))
    return match and match[1]


def id_for(directory: Path) -> str:
    """Return the id of the run that may use a directory: the one in its marker, or else a new one.

    Parameters
    ----------
    directory : pathlib.Path
        Resolved: absolute and without links. It is not changed.

    Raises
    ------
    ValueError
        It is a file, holds other files, has a damaged marker, or is inside the directory of another run.
    OSError
        It cannot be read.
    """
    outer = next((parent for parent in directory.parents if run_id(parent) is not None), None)
    if outer is not None:
        raise InputError(f"directory is {directory}; it must not be inside {outer}, the directory of a run")
    if os.path.lexists(directory) and not directory.is_dir():
        raise InputError(f"directory is {directory}, a file; it must be a directory, or a new one")
    run = run_id(directory)
    if run is None and not _is_empty(directory):
        marker = "damaged" if os.path.lexists(directory / MARKER) else "absent"
        raise InputError(
            f"directory is {directory}; it must be new, empty, or made by an earlier run, whose marker "
            f"{MARKER} is {marker}"
        )
    return run or secrets.token_hex(16)


def _is_empty(directory: Path) -> bool:
    """Whether a directory is empty, apart from an empty marker of a run that was killed while writing it."""
    names = os.listdir(directory) if directory.exists() else []
    return not names or (names == [MARKER] and not (directory / MARKER).lstat().st_size)


@contextmanager
def owned(directory: Path, run: str) -> Iterator[None]:
    """Make and mark a run's directory where it is new or empty, and lock it.

    Parameters
    ----------
    directory : pathlib.Path
        The run's directory.
    run : str
        Its id, from `id_for`.

    Raises
    ------
    ValueError
        Another run is using it.
    OSError
        It cannot be made or read.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / MARKER).open("a+", encoding="ascii") as marker:
        try:
            lock(marker)
        except BlockingIOError:
            raise InputError(f"directory is {directory}; another run is using it") from None
        marker.seek(0)
        found = _id_in(marker)
        if found is None:
            marker.write(marker_text(run))
            marker.flush()
            os.fsync(marker.fileno())
        elif found != run:  # it was marked since it was checked
            raise InputError(f"directory is {directory}; another run is using it")
        yield


# Folders ------------------------------------------------------------------------------------------------


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside `folder`, removed at the end unless it was renamed.

    Its name ends in ``.part``; `remove_leftovers` removes those of killed runs.
    """
    beside = _beside(folder)
    beside.mkdir(parents=True)
    try:
        yield beside
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside `folder`, in the run's directory, that replaces it if all goes well.

    Files in `folder` that no run wrote are moved to ``kept``.
    """
    with scratch(folder) as new:
        yield new
        theirs = foreign_files(folder)
        files = files_of(new)
        ours = {path: checksum for path, checksum in files.items() if theirs.get(path) != checksum}
        _write_record(new, ours)
        _keep(folder, [path for path, checksum in theirs.items() if files.get(path) != checksum])
        replace(new, folder)


def replace(new: Path, folder: Path) -> None:
    """Rename a folder, and remove the folder that had the new name."""
    old = _beside(folder)
    if os.path.lexists(folder):
        os.rename(folder, old)
    os.rename(new, folder)
    shutil.rmtree(old, ignore_errors=True)


def _beside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}-{secrets.token_hex(4)}.part")


def remove_leftovers(directory: Path) -> None:
    """Remove the scratch folders of runs that were killed."""
    for path in directory.iterdir():
        if is_scratch(path):
            shutil.rmtree(path)


def is_scratch(path: Path) -> bool:
    """Whether a folder is a scratch folder of a run."""
    return re.fullmatch(SCRATCH, path.name) is not None and path.is_dir() and not path.is_symlink()


def copy_folder(folder: Path, to: Path, left_out: tuple[str, ...] = ()) -> None:
    """Copy a folder to a new path, without names that match patterns of shells.

    OSError has the first file that could not be copied.
    """
    try:
        shutil.copytree(folder, to, ignore=shutil.ignore_patterns(RECORD, *left_out))
    except shutil.Error as error:
        source, _, reason = error.args[0][0]
        raise OSError(errno.EIO, f"it cannot be copied: {reason}", source) from None


def write_files(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write files below a run's directory; earlier ones that were changed since are moved to ``kept``."""
    record = read_record(directory)
    changed = [
        path
        for path in files
        if os.path.lexists(directory / path) and record.get(path) != checksum(directory / path)
    ]
    _keep(directory, changed, directory)
    for path, content in files.items():
        (directory / path).parent.mkdir(exist_ok=True)
        _write(directory / path, content)
        record[path] = sha256(directory / path)
    _write_record(directory, record)


# Records ------------------------------------------------------------------------------------------------


def files_of(folder: Path) -> dict[str, str]:
    """Return path -> checksum of all files below a folder, without records and compiled Python."""
    found = {}
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted([*names, *links]):
            path = Path(place, name)
            if name != RECORD:
                found[path.relative_to(folder).as_posix()] = checksum(path)
    return found


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file; for a link or a device a text that no file has as checksum."""
    if path.is_symlink():
        return f"link to {os.readlink(path)}"
    return sha256(path) if path.is_file() else "no regular file"


def foreign_files(folder: Path) -> dict[str, str]:
    """Return path -> checksum of the files in a folder that no run wrote, or that were changed since.

    A file or link in place of the folder has the path ``"."``.
    """
    if folder.is_symlink() or folder.is_file():
        return {".": checksum(folder)}
    record = read_record(folder)
    return {path: checksum for path, checksum in files_of(folder).items() if record.get(path) != checksum}


def read_record(folder: Path) -> dict[str, str]:
    """Return path -> checksum of the files that a run wrote into a folder; nothing without a valid record."""
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=dict[str, str])
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}


def _write_record(folder: Path, files: Mapping[str, str]) -> None:
    _write(folder / RECORD, to_json(files) + b"\n")


def _write(path: Path, content: bytes) -> None:
    write_whole(path, lambda stream: stream.write(content))


def kept(directory: Path) -> set[Path]:
    """Return the folders in which a run's directory keeps the user's files."""
    return set((directory / KEPT).glob("*"))


def _keep(folder: Path, paths: list[str], directory: Path | None = None) -> None:
    """Move files of a folder to a new folder below ``kept``, each at its path in the run's directory."""
    if not paths:
        return
    directory = directory or folder.parent
    places = (directory / KEPT / str(number) for number in count(1))
    place = next(place for place in places if not place.exists())
    for path in paths:
        to = place / (folder / path).relative_to(directory)
        to.parent.mkdir(parents=True, exist_ok=True)
        os.rename(folder / path, to)
