"""SHA-256 of what a result depends on: values, files, and the source of this package."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import msgspec

from .._version import __version__


def digest(*parts: object) -> str:
    """SHA-256 of values."""
    seen = hashlib.sha256()
    for part in parts:
        seen.update(msgspec.json.encode(part) + b"\n")
    return seen.hexdigest()


def bytes_sha256(content: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@cache
def code() -> str:
    """SHA-256 of the version and the source of this package, including the files of the project."""
    seen = hashlib.sha256(__version__.encode())
    for file in _sources(resources.files(__package__)):
        seen.update(file.name.encode() + b"\0" + file.read_bytes())
    return seen.hexdigest()


def _sources(folder: Traversable) -> Iterator[Traversable]:
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.is_dir():
            yield from _sources(file)
        elif not file.name.endswith(".pyc"):
            yield file
