"""``stageplan example``: the built-in examples as files to begin with."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..examples import files, headlines
from ..fields import show
from ..output import print_out, write_whole
from .status import FEASIBLE, exit_statuses

_KINDS = {"workloads": "layers", "clusters": "types", "specifications": "task"}


def add_example(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``example``."""
    parser.set_defaults(run=_example)
    parser.epilog = exit_statuses("the files are written, or the list is printed")
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="which example; default: list them all")
    add("-o", "--output", type=Path, metavar="DIR", help="where to write; default: here")


def list_examples() -> str:
    """Names and headlines of all examples."""
    lines = []
    for kind, field in _KINDS.items():
        lines.append(f"built-in {kind}:")
        lines += [f"  {name:<14} {headline}" for name, headline in headlines(field).items()]
    return "\n".join(lines)


def _example(arguments: argparse.Namespace) -> int:
    if arguments.name is None:
        if arguments.output is not None:
            raise ValueError("--output requires NAME")
        print_out(list_examples())
        return FEASIBLE
    names = [name for field in _KINDS.values() for name in headlines(field)]
    if arguments.name not in names:
        raise ValueError(f"NAME is {show(arguments.name)}; it must be one of {', '.join(names)}")
    folder: Path = arguments.output or Path()
    if not folder.is_dir():
        raise ValueError(f"--output is {folder}; it must be an existing directory")
    contents = {folder / name: text.encode() for name, text in files(arguments.name).items()}
    new = {path: content for path, content in contents.items() if not _has(path, content)}
    for path, content in new.items():
        _write(path, content)
    print_out(f"wrote {', '.join(map(str, new)) or 'nothing: all is there'}")
    return FEASIBLE


def _write(path: Path, content: bytes) -> None:
    write_whole(path, lambda stream: stream.write(content))


def _has(path: Path, content: bytes) -> bool:
    """Whether a file is there already; ValueError where it has another content."""
    if path.is_file() and path.read_bytes() == content:
        return True
    if path.exists() or path.is_symlink():
        raise ValueError(f"{path} is there with another content; it is not overwritten")
    return False
