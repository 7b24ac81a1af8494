"""Removes what runs left: a run's directory, its copy on a target, or all copies on a target.

Only what has the marker of a run is removed, and nothing in it that a run did not write.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from ..errors import InputError
from ..output import compose, table, to_text
from . import folders, layout
from .adopted import read_adopted
from .on_target import make_environment
from .place import Place
from .spec import Spec, read_spec
from .target import Ssh, last_line

if TYPE_CHECKING:
    from rich.console import Group

PLACE = ".stageplan"  # in a user's home on a target: where runs make their directories
_WRITTEN = {  # in a run's directory, besides what its record lists
    *(layout.ENVIRONMENT_FILE, layout.BASIC_FILE, layout.EXTENDED_FILE, layout.TEST_FILE),
    *(layout.JUNIT_FILE, layout.PAGE_FILE, layout.LOG_FILE, folders.RECORD, folders.MARKER),
}


class Leftover(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file or folder that was found.

    Attributes
    ----------
    path : str
        Its path; with the target in front where that is another machine.
    bytes : int
        Size of what is removed.
    stays : str
        Why it is not removed; empty where it is.
    """

    path: str
    bytes: int
    stays: str = ""


class Cleaned(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was found, and whether it was removed.

    Attributes
    ----------
    found : tuple of Leftover
        Files and folders.
    removed : bool
        Whether those that may be were removed.
    """

    found: tuple[Leftover, ...]
    removed: bool

    @property
    def removable(self) -> tuple[Leftover, ...]:
        """What is or would be removed."""
        return tuple(leftover for leftover in self.found if not leftover.stays)

    def __rich__(self) -> Group:
        rows = [
            ("", "stays" if one.stays else "", f"{one.bytes:,} bytes", one.path, one.stays)
            for one in self.found
        ]
        size = sum(leftover.bytes for leftover in self.removable)
        done = "removed" if self.removed else "to be removed"
        head = f"{done}: {len(self.removable)} files and folders, {size:,} bytes"
        return compose(head, table(rows, left=(0, 2, 3)))

    def __str__(self) -> str:
        return to_text(self)


def clean(
    target: str | os.PathLike[str], *, remove: bool = False, config: str | os.PathLike[str] | None = None
) -> Cleaned:
    """Find what runs left, and remove it.

    Parameters
    ----------
    target : str or path
        Directory of a run; its copy on the run's target is found too. Or ``"ssh:USER@HOST"``: the directories
        of all runs in ``.stageplan`` of that user's home.
    remove : bool
        Whether to remove what is found. Files that a run did not write stay, with the reason.
    config : str or path, optional
        Configuration file of the OpenSSH client, for ``"ssh:..."``.

    Returns
    -------
    Cleaned
        What was found.

    Raises
    ------
    ValueError
        It is neither, or a run is using the directory.
    TargetError
        The target cannot be reached.
    OSError
        A file cannot be removed.
    """
    if str(target).startswith("ssh:"):
        ssh = {} if config is None else {"config": os.path.abspath(config)}
        spec = Spec(name="clean", task="text-classification", target=str(target), ssh=ssh)  # type: ignore[arg-type]
        found = _on_target(Ssh(spec, Path(), ""), PLACE, "runs", "", remove)
        return Cleaned(found=tuple(found), removed=remove)
    root = Path(os.path.realpath(target))
    run = folders.run_id(root)
    if run is None:
        raise InputError(
            f"directory is {target}; it must be that of a run, with its {folders.MARKER}, or 'ssh:USER@HOST'"
        )
    with ExitStack() as stack:
        stack.enter_context(folders.owned(root, run))
        found = list(_elsewhere(root, run, remove))
        keep = set(_foreign(root, run))
        found += _found(root, keep)
        if remove:
            _remove(root, keep)
    return Cleaned(found=tuple(found), removed=remove)


# On a target --------------------------------------------------------------------------------------------


def _elsewhere(root: Path, run: str, remove: bool) -> list[Leftover]:
    """Find, or remove, a run's directory on its target, where that is another machine."""
    readers: dict[str, Callable[[Path], Place]] = {
        layout.SPEC_FILE: read_spec,
        layout.ADOPTED_FILE: read_adopted,
    }
    places = [read(root / name) for name, read in readers.items() if (root / name).is_file()]
    if not places or places[0].target == "local":
        return []
    machine = Ssh(places[0], root, run)
    return _on_target(machine, machine.directory, "run", run, remove)


def _on_target(machine: Ssh, directory: str, kind: str, run: str, remove: bool) -> list[Leftover]:
    """Run the program that lists or removes directories on a target."""
    script = (resources.files(__package__) / "on_target" / "clean.py").read_text(encoding="utf-8")
    names = f"{layout.ENVIRONMENT}|{folders.SCRATCH}"
    action = "remove" if remove else "list"
    arguments = [action, directory, kind, run, folders.MARKER, names]
    output = machine.call([machine.python, "-I", "-c", script, *arguments])
    found = msgspec.json.decode(last_line(output), type=list[tuple[str, int, str]])
    return [Leftover(path=f"{machine.name}:{path}", bytes=size, stays=stays) for path, size, stays in found]


# In a run's directory -----------------------------------------------------------------------------------


def _foreign(root: Path, run: str) -> Iterator[Path]:
    """Find the files and folders in a run's directory that no run wrote, or that were changed since."""
    record = folders.read_record(root)
    for path in root.iterdir():
        if path.name in (layout.PROJECT, layout.TEST):
            yield from (path / name for name in folders.foreign_files(path))
        elif path.name == layout.ENVIRONMENT:
            yield from _foreign_in_environment(path, run)
        elif not (path.name in _WRITTEN or folders.is_scratch(path)):
            recorded = [
                file for file in _files(path) if record.get(_name(root, file)) == folders.checksum(file)
            ]
            yield from ([path] if not recorded else [file for file in _files(path) if file not in recorded])


def _files(path: Path) -> list[Path]:
    """Return a file, or the files of the folder of recipes; nothing of another folder."""
    if path.name == layout.CONTAINER and path.is_dir() and not path.is_symlink():
        return [path / name for name in folders.files_of(path)]
    return [path] if path.is_file() else []


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _foreign_in_environment(folder: Path, run: str) -> Iterator[Path]:
    """Find what belongs neither to a run's environment nor to the packages that are installed in it."""
    if folder.is_symlink() or folders.run_id(folder) != run:
        yield folder
        return
    recorded = make_environment.text_of(str(folder / folders.RECORD))
    if recorded:  # absent where making it was interrupted
        known = {*msgspec.json.decode(recorded, type=list[str]), folders.MARKER, folders.RECORD}
        known |= make_environment.packaged(str(folder))
        yield from (folder / name for name in make_environment.files_of(str(folder)) - known)


def _found(root: Path, keep: Container[Path]) -> Iterator[Leftover]:
    """List the entries of a run's directory, and the files that stay."""
    for path in sorted(root.iterdir()):
        if path.name == folders.MARKER:  # which goes with the last file
            continue
        size, staying = _look(path, keep)
        if path not in keep:
            yield Leftover(path=str(path), bytes=size)
        for file in staying:
            yield Leftover(path=str(file), bytes=0, stays="no run wrote it, or it was changed since")


def _look(path: Path, keep: Container[Path]) -> tuple[int, list[Path]]:
    """Return the bytes of what is removed at or below a path, and what stays."""
    if path in keep:
        return 0, [path]
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size, []
    parts = [_look(child, keep) for child in sorted(path.iterdir())]
    return sum(size for size, _ in parts), [file for _, files in parts for file in files]


def _remove(root: Path, keep: Container[Path]) -> None:
    """Remove what does not stay; the marker last, and only where nothing stays."""
    marker = root / folders.MARKER
    gone = [_is_removed(path, keep) for path in list(root.iterdir()) if path != marker]
    if all(gone):
        marker.unlink()
        root.rmdir()


def _is_removed(path: Path, keep: Container[Path]) -> bool:
    """Remove a file, or a folder with all that does not stay; return whether it is gone."""
    if path in keep:
        return False
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return True
    gone = [_is_removed(child, keep) for child in list(path.iterdir())]
    if not all(gone):
        return False
    path.rmdir()
    return True
