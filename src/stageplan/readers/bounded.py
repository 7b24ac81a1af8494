"""Files within limits: sizes, nesting and numbers are bounded before anything is decoded.

Every reader of a file uses these functions, so that a limit, and the sentence about it, is written once.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import msgspec

from ..errors import InputError, InputTypeError
from ..fields import sentence, show

MAX_BYTES = 256 * 2**20
MAX_TOML_BYTES = 16 * 2**20  # which is decoded in Python, at 2 to 3 MB/s
_PIECE = 2**20  # bytes to read at once, which takes their memory however small the file is
MAX_KEY_PARTS = 64  # of a dotted key of TOML, whose decoding takes time quadratic in them

_LONG_KEY = re.compile(rf"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){{{MAX_KEY_PARTS}}}")


def as_path(name: str, value: object) -> Path:
    """Return an argument as a path.

    Raises
    ------
    TypeError
        It is not a path or a text.
    ValueError
        It has zero bytes, which no file's name may have.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise InputTypeError(f"{name} is {show(value)}; it must be a path")
    path = os.fspath(value)
    if not isinstance(path, str) or "\0" in path:
        raise InputError(f"{name} is {show(path)}; it must be a text without zero bytes")
    return Path(path)


@contextmanager
def about(file: Path | Traversable) -> Iterator[None]:
    """Begin the sentence of an error with the file that it is about, as a ValueError."""
    try:
        yield
    except RecursionError:
        raise InputError(sentence(f"{file}: it is nested too deeply to be read")) from None
    except (ValueError, InputTypeError) as error:
        raise InputError(sentence(f"{file}: {error}")) from None


def read_bytes(file: Path | Traversable, limit: int = MAX_BYTES) -> bytes:
    """Read a file.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It has more than `limit` bytes.
    """
    raw = bytearray()
    with file.open("rb") as stream:
        while len(raw) <= limit and (piece := stream.read(min(limit + 1 - len(raw), _PIECE))):
            raw += piece
    check_size(len(raw), limit)
    return bytes(raw)


def check_size(size: int, limit: int = MAX_BYTES) -> None:
    """Raise ValueError if there are more than `limit` bytes to read."""
    if size > limit:
        raise InputError(f"it has more than {limit >> 20} MB; it must have at most that")


def to_text(raw: bytes) -> str:
    """Decode UTF-8; ValueError where it is not text."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"byte {error.start} is not UTF-8; the file must be text") from None
    if "\0" in text:
        raise InputError("it has zero bytes; the file must be text")
    return text


def from_json(text: str | bytes, type: Any = Any, name: str = "JSON") -> Any:
    """Decode JSON to values of a type; `name` says in the sentence of the ValueError what is not valid."""
    try:
        return msgspec.json.decode(text, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"it is not valid {name}: {error}") from None


def from_toml(text: str) -> dict[str, Any]:
    """Decode TOML; ValueError where it is not valid, or beyond the limits."""
    check_size(len(text), MAX_TOML_BYTES)
    if _LONG_KEY.search(text):
        raise InputError(f"it has a key of more than {MAX_KEY_PARTS} parts; it must have at most that")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"it is not valid TOML: {error}") from None
    except ValueError:  # Python's limit
        raise InputError("it is not valid TOML: it has a number of too many digits") from None
