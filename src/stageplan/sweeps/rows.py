"""The rows of a chunk as columns, and as what files hold: an Arrow table, or lines of JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from ..row import TYPES
from ..solve_many import Results

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]

OF_AXES = {
    "set_up": "int64", "workload": "string", "cluster": "string", "device": "string",
    "strategies": "string", "price": "float64", "limit": "int64", "capacity": "float64",
}  # fmt: skip
"""Types of the columns before those of `TYPES`; those by device type are named as their axes."""
FAILED = "failed"
STATUSES = (
    "optimal", "optimal over this order", "feasible", "infeasible", "infeasible over this order", "unknown",
    FAILED,
)  # fmt: skip
_FLOATS = ("cost", "throughput", "price", "violation", "bound", "gap")
_INTS = ("stages", "devices", "evaluations", "generations", "work")


class Coded(NamedTuple):
    """A column of few different values: those, and which one each row has."""

    values: Sequence[Any]
    codes: Array


class Outcomes:
    """Results of the set-ups of a chunk, filled in part by part.

    Parameters
    ----------
    count : int
        Number of set-ups.
    """

    def __init__(self, count: int) -> None:
        self._floats = {name: np.full(count, np.nan) for name in _FLOATS}
        self._ints = {name: np.full(count, -1, np.int64) for name in _INTS}
        self._status = np.full(count, STATUSES.index(FAILED), np.int8)
        self._schemes: dict[int, npt.NDArray[np.int8]] = {}  # by the first of the rows
        self._errors: dict[int, str] = {}

    def put(self, first: int, results: Results) -> None:
        """Fill in the rows from `first` on."""
        rows = slice(first, first + len(results))
        for columns in (self._floats, self._ints):
            for name, column in columns.items():
                column[rows] = getattr(results, name)
        for code, status in enumerate(STATUSES):
            self._status[rows][results.status == status] = code
        self._schemes[first] = results.schemes

    def put_row(self, place: int, row: Mapping[str, Any]) -> None:
        """Fill in one row, as `Result.to_row` gives it."""
        for columns in (self._floats, self._ints):
            for name, column in columns.items():
                column[place] = np.nan if row[name] is None else row[name]
        self._status[place] = STATUSES.index(row["status"])
        self._schemes[place] = np.array([row["scheme"]], np.int8)

    def fail(self, first: int, last: int, reason: str) -> None:
        """Say why the rows from `first` to before `last` have no results."""
        self._errors |= dict.fromkeys(range(first, last), reason)

    @property
    def statuses(self) -> Counter[str]:
        """Number of rows with each status."""
        counts = np.bincount(self._status, minlength=len(STATUSES))
        return Counter({status: int(count) for status, count in zip(STATUSES, counts, strict=True) if count})

    @property
    def work(self) -> int:
        """Work of all set-ups together."""
        return int(np.maximum(self._ints["work"], 0).sum())

    @property
    def errors(self) -> list[str]:
        """Reasons of failed rows."""
        return [self._errors[place] for place in sorted(self._errors)]

    def columns(self) -> dict[str, Any]:
        """Return the columns of the results."""
        codes = {reason: code for code, reason in enumerate(dict.fromkeys(self._errors.values()))}
        error = np.full(len(self._status), len(codes), np.int32)
        for place, reason in self._errors.items():
            error[place] = codes[reason]
        return {
            "status": Coded(STATUSES, self._status),
            **self._floats,
            **self._ints,
            "scheme": self._schemes,
            "error": Coded([*codes, None], error),
        }


def type_of(column: str) -> str:
    """Return the type of a column."""
    return TYPES.get(column) or OF_AXES[column.partition(".")[0]]


def to_arrow(columns: Mapping[str, Any], count: int) -> pa.Table:
    """Make an Arrow table of columns.

    Its arrays are made of buffers: other ways import pandas where it is installed, which takes a second. None
    is a dictionary, which Parquet files would hold with different unused bytes each time.
    """
    import pyarrow as pa

    arrays = [_to_arrow(column, type_of(name), count) for name, column in columns.items()]
    return pa.Table.from_arrays(arrays, names=list(columns))


def _to_arrow(column: Any, type_: str, count: int) -> pa.Array:
    import pyarrow as pa

    if isinstance(column, dict):
        return _lists(column, count)
    if isinstance(column, Coded):
        if type_ == "string":
            return _texts(column)
        gone = np.nan if type_ == "float64" else -1
        values = [gone if value is None else value for value in column.values]
        column = np.array(values, "float64" if type_ == "float64" else None)[column.codes]
    absent = _absent(column)
    return _flat(np.where(absent, 0, column).astype(type_), pa.type_for_alias(type_), absent)


def _texts(column: Coded) -> pa.Array:
    import pyarrow as pa

    raw = [(value or "").encode() for value in column.values]
    lengths = np.array([len(text) for text in raw])[column.codes]
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    present = np.array([value is not None for value in column.values])[column.codes]
    buffers = [_bitmap(present), pa.py_buffer(ends), pa.py_buffer(_joined(raw, column.codes, lengths))]
    return pa.Array.from_buffers(pa.string(), len(lengths), buffers)


def _joined(raw: list[bytes], codes: Array, lengths: Array) -> bytes:
    """Join the texts of all rows."""
    used = {raw[code] for code in np.flatnonzero(np.bincount(codes))}
    if len(used) == 1:
        return bytes(used.pop() * len(codes))
    width = max(map(len, raw))
    padded = np.frombuffer(b"".join(text.ljust(width) for text in raw), np.uint8).reshape(-1, width)
    joined: bytes = padded[codes][np.arange(width) < lengths[:, None]].tobytes()
    return joined


def _lists(parts: Mapping[int, npt.NDArray[np.int8]], count: int) -> pa.Array:
    """Make a list of each row of arrays, by their first rows; absent where there is none."""
    import pyarrow as pa

    lengths = np.zeros(count, np.int32)
    for first, part in parts.items():
        lengths[first : first + len(part)] = part.shape[1]
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    flat = np.concatenate([np.empty(0, np.int8), *(parts[first].ravel() for first in sorted(parts))])
    buffers = [_bitmap(lengths > 0), pa.py_buffer(ends)]
    return pa.Array.from_buffers(pa.list_(pa.int8()), count, buffers, children=[_flat(flat, pa.int8())])


def _flat(values: Array, type_: pa.DataType, absent: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    import pyarrow as pa

    present = None if absent is None or not absent.any() else _bitmap(~absent)
    data = _bitmap(values) if values.dtype == bool else pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(type_, len(values), [present, data])


def _bitmap(bits: npt.NDArray[np.bool_]) -> pa.Buffer:
    import pyarrow as pa

    return pa.py_buffer(np.packbits(bits, bitorder="little"))


def _absent(column: Array) -> npt.NDArray[np.bool_]:
    """Return which numbers are absent: not finite, or below 0 where whole."""
    absent: npt.NDArray[np.bool_]
    absent = ~np.isfinite(column) if column.dtype.kind == "f" else np.less(column, 0)
    return absent


def to_lines(columns: Mapping[str, Any], count: int) -> bytes:
    """Make lines of JSON of columns, one object a row."""
    lists = [_to_list(column, type_of(name), count) for name, column in columns.items()]
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True))
    return msgspec.json.Encoder().encode_lines(rows)


def _to_list(column: Any, type_: str, count: int) -> list[Any]:
    if isinstance(column, Coded):
        return [column.values[code] for code in column.codes.tolist()]
    if isinstance(column, dict):
        schemes: list[Any] = [None] * count
        for first, part in column.items():
            schemes[first : first + len(part)] = part.tolist()
        return schemes
    absent = _absent(column)
    present = np.where(absent, 0, column).astype(type_).tolist()
    return [None if gone else number for number, gone in zip(present, absent.tolist(), strict=True)]
