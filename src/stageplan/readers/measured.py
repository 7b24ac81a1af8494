"""Measured stages: CSV or Parquet with a row for each stage, device type and number of devices."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, InputTypeError
from ..fields import show
from .bounded import about, read_bytes

NEEDED = ("first", "last", "type", "devices", "time")
COLUMNS = (*NEEDED, "pass_time", "sync", "memory", "activations", "replicas")
SUFFIXES = (".csv", ".parquet")


def read_measured(file: Path) -> dict[str, Any]:
    """Read the columns of a table of measured stages.

    Parameters
    ----------
    file : Path
        CSV with a header, or Parquet, by the name's ending. Its columns are `COLUMNS`, of which all but
        `NEEDED` may be absent.

    Returns
    -------
    dict
        Lists by name. ``type`` has names of device types, or their numbers; the others have numbers.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is not such a table.
    ImportError
        It is Parquet, and pyarrow is not installed.
    """
    with about(file):
        if file.suffix == ".parquet":
            return _read_parquet(read_bytes(file))
        try:
            text = read_bytes(file).decode()
        except UnicodeDecodeError:
            raise InputError("it is not UTF-8 text") from None
        return _read_csv(text)


def check_columns(columns: Mapping[str, Any]) -> None:
    """Raise ValueError if a column is missing or unknown."""
    for name in NEEDED:
        if name not in columns:
            raise InputError(f"it has no column {name}; it must have {', '.join(NEEDED)}")
    for name in columns:
        if name not in COLUMNS:
            raise InputError(f"it has the column {show(name)}; it must be one of {', '.join(COLUMNS)}")


def _read_csv(text: str) -> dict[str, Any]:
    rows = csv.reader(io.StringIO(text), strict=True)
    columns: dict[str, list[Any]] = {}
    try:
        names = [name.strip() for name in next(rows, [])]
        if len(set(names)) < len(names):
            raise InputError("it has a column twice; all must differ")
        check_columns(dict.fromkeys(names))
        columns = {name: [] for name in names}
        for row in filter(None, rows):
            if len(row) != len(names):
                raise InputError(f"line {rows.line_num} has {len(row)} fields; it must have {len(names)}")
            for name, field in zip(names, row, strict=True):
                columns[name].append(field if name == "type" else _number(name, field, rows.line_num))
    except csv.Error as error:
        raise InputError(f"it is not a valid CSV: {error}") from None
    return columns


def _number(name: str, field: str, line: int) -> float:
    if name == "time" and not field.strip():
        return np.nan
    try:
        return float(field)
    except ValueError:
        raise InputError(f"{name} in line {line} is {show(field)}; it must be a number") from None


def _read_parquet(raw: bytes) -> dict[str, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ImportError(
            'pyarrow is required to read Parquet; pip install "stageplan[sweep]" installs it'
        ) from None
    try:
        table = pq.read_table(pa.BufferReader(raw))
    except pa.ArrowException as error:
        raise InputError(f"it is not valid Parquet: {str(error).partition('.')[0]}") from None
    check_columns(dict.fromkeys(table.column_names))
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    columns["time"] = [np.nan if time is None else time for time in columns["time"]]
    for name, values in columns.items():
        if any(value is None for value in values):
            raise InputTypeError(f"{name} has a row without a value; only time may be absent")
    return columns
