"""Workload files: written by ``stageplan profile -o``, and read by `read_workload`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from .errors import InputTypeError
from .output import to_json, write_whole
from .readers.bounded import as_path
from .workload import Workload

CONDITIONS = (
    "architecture", "mode", "precision", "sequence", "optimizer", "zero",
    "context", "concurrency", "kv_cache",
)  # fmt: skip
LISTS = ("notes", "layers", "tensors", "ties")  # written an item a line

_BARE = re.compile("[A-Za-z0-9_-]+")  # a key that needs no quotes

# JSON leaves this character as it is; TOML does not allow it.
_DELETE = {0x7F: "\\u007F"}


def write_workload(workload: Workload, path: str | os.PathLike[str]) -> None:
    """Write a workload: as TOML if the file name ends with ``.toml``, else as JSON.

    Parameters
    ----------
    workload
        The workload; `read_workload` returns an equal one.
    path : path-like
        The file; it is written atomically.

    Raises
    ------
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import stageplan as sp
    >>> sp.write_workload(sp.read_workload("ctr"), "copy.json")
    >>> sp.read_workload("copy.json") == sp.read_workload("ctr")
    True
    """
    if not isinstance(workload, Workload):
        raise InputTypeError(f"workload is {type(workload).__name__}; it must be a Workload")
    path = as_path("path", path)
    content = encode(workload, path)
    write_whole(path, lambda stream: stream.write(content))


def encode(workload: Workload, path: Path) -> bytes:
    """Content of a workload file, in the format of the name's suffix."""
    return to_toml(workload).encode() if path.suffix == ".toml" else to_json(to_document(workload)) + b"\n"


def to_document(workload: Workload) -> dict[str, Any]:
    """Fields of a workload as plain values, without defaults."""
    document: dict[str, Any] = {"name": workload.name, "batch": workload.batch}
    for field in CONDITIONS:
        if (value := getattr(workload, field)) not in ("", None):
            document[field] = value
    for field in LISTS:
        if items := getattr(workload, field):
            document[field] = [_plain(item) for item in items]
    return document


def _plain(item: Any) -> Any:
    if not isinstance(item, msgspec.Struct):
        return item
    return {
        field.name: getattr(item, field.name)
        for field in msgspec.structs.fields(item)
        if field.required or getattr(item, field.name) != field.default
        if getattr(item, field.name) != {}
    }


def to_toml(workload: Workload) -> str:
    """TOML of a workload, an item of a list on each line."""
    lines = []
    for key, value in to_document(workload).items():
        if key in LISTS:
            lines += ["", f"{key} = [", *(f"  {_toml(item)}," for item in value), "]"]
        else:
            lines.append(f"{key} = {_toml(value)}")
    return "\n".join([*lines, ""])


def _toml(value: Any) -> str:
    if value is None:
        return "inf"  # of a time, where a type cannot run a layer
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(key)} = {_toml(item)}' for key, item in value.items())} }}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False).translate(_DELETE) if isinstance(value, str) else repr(value)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _toml(name)
