"""``stageplan example``: write the built-in examples to files."""

from __future__ import annotations

import argparse
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..examples import files, headlines
from ..fields import show
from ..output import compose, print_out, table, write_whole
from ..suggestions import did_you_mean
from .status import FEASIBLE, exit_statuses

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

_KINDS = {"workloads": "layers", "clusters": "types", "specifications": "task"}


def add_example(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``example``."""
    parser.set_defaults(run=_example)
    parser.epilog = exit_statuses("the files are written, or the list is printed")
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="which example; default: list them all")
    add("-o", "--output", type=Path, metavar="DIR", help="directory to write to; default: the current one")


def list_examples() -> Group:
    """Names and headlines of all examples."""
    parts: list[RenderableType] = []
    for kind, field in _KINDS.items():
        rows = [("", name, headline) for name, headline in headlines(field).items()]
        parts += [f"built-in {kind}:", table(rows, left=(0, 1, 2))]
    return compose(*parts)


def name_examples() -> dict[str, list[str]]:
    """Names of all examples, by kind."""
    return {kind: list(headlines(field)) for kind, field in _KINDS.items()}


def _example(arguments: argparse.Namespace) -> int:
    if arguments.name is None:
        if arguments.output is not None:
            raise InputError("--output requires NAME")
        print_out(list_examples())
        return FEASIBLE
    names = list(chain.from_iterable(name_examples().values()))
    if arguments.name not in names:
        known = f"{', '.join(names)}{did_you_mean(arguments.name, names)}"
        raise InputError(f"NAME is {show(arguments.name)}; it must be one of {known}")
    folder: Path = arguments.output or Path()
    if not folder.is_dir():
        raise InputError(f"--output is {folder}; it must be an existing directory")
    contents = {folder / name: text.encode() for name, text in files(arguments.name).items()}
    new = {path: content for path, content in contents.items() if not _has(path, content)}
    for path, content in new.items():
        _write(path, content)
    print_out(f"wrote {', '.join(map(str, new)) or 'nothing; the files exist'}")
    return FEASIBLE


def _write(path: Path, content: bytes) -> None:
    write_whole(path, lambda stream: stream.write(content))


def _has(path: Path, content: bytes) -> bool:
    """Whether a file exists with this content; ValueError if it exists with other content."""
    if path.is_file() and path.read_bytes() == content:
        return True
    if path.exists() or path.is_symlink():
        raise InputError(f"{path} exists with other content; it is not overwritten")
    return False
