"""The directory of a sweep: its description, and one file for each complete chunk.

``sweep.json`` has all that a worker needs, and shows that the directory is a sweep's. Files are written
atomically, so that one that is there is complete; runs that share a directory write the same.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from .._version import __version__
from ..errors import InputError
from ..fields import show
from ..output import write_whole
from ..readers.bounded import about, from_json
from .chunks import Solved
from .rows import to_arrow, to_lines
from .sweep import Sweep

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["parquet", "jsonl"]
FORMATS: tuple[Format, ...] = ("parquet", "jsonl")

DESCRIPTION, CHUNKS = "sweep.json", "chunks"
_NAME, _VERSION = "stageplan sweep", 1
_SCRATCH = re.compile(r"\.stageplan-[0-9a-f]{8}\.tmp")  # of `write_whole`
_DAMAGED = "delete this file; resume computes it again"
_ROWS = 2**16  # of a row group of a merged file


class Description(Struct, frozen=True, kw_only=True):
    """What ``sweep.json`` holds."""

    format: str
    version: str
    rows: Format
    chunk: int
    sweep: Sweep


class _Status(Struct):
    """Of a row, what is read to count it."""

    status: str


class Store:
    """A directory with the rows of a sweep.

    Attributes
    ----------
    directory : pathlib.Path
        The directory.
    sweep : Sweep
        The sweep.
    digest : str
        Digest of the description, which each worker compares.
    """

    def __init__(self, directory: Path, raw: bytes) -> None:
        self.directory = directory
        self._description = _decode(directory / DESCRIPTION, raw)
        self.sweep = self._description.sweep
        self.digest = hashlib.sha256(raw).hexdigest()

    @classmethod
    def open(cls, directory: Path) -> Store:
        """Open a directory.

        Raises
        ------
        OSError
            It cannot be read.
        ValueError
            It is not a sweep's, or of another version.
        """
        file = directory / DESCRIPTION
        if directory.is_dir() and not file.exists():
            raise InputError(f"{directory} is not the directory of a sweep; it has no {DESCRIPTION}")
        return cls(directory, file.read_bytes())

    @classmethod
    def make(cls, directory: Path, sweep: Sweep, chunk: int, rows: Format) -> Store:
        """Describe a sweep in a new directory, or in one that was found `vacant`."""
        description = Description(
            format=f"{_NAME} {_VERSION}", version=__version__, rows=rows, chunk=chunk, sweep=sweep
        )
        raw = msgspec.json.encode(description)
        (directory / CHUNKS).mkdir(parents=True, exist_ok=True)
        write_whole(directory / DESCRIPTION, lambda stream: stream.write(raw))
        return cls(directory, raw)

    def is_of(self, sweep: Sweep) -> bool:
        """Whether this is the directory of a sweep."""
        return msgspec.json.encode(self.sweep) == msgspec.json.encode(sweep)

    # Chunks ---------------------------------------------------------------------------------------------

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-len(self.sweep) // self._description.chunk)

    @property
    def rows_format(self) -> Format:
        """Format of the files of chunks."""
        return self._description.rows

    def span(self, number: int) -> tuple[int, int]:
        """Return the first set-up of a chunk, and the one after its last."""
        size = self._description.chunk
        return number * size, min((number + 1) * size, len(self.sweep))

    def path(self, number: int) -> Path:
        """Return the file of a chunk."""
        return self.directory / CHUNKS / f"{number:08}.{self.rows_format}"

    def done(self) -> set[int]:
        """Return the chunks that have a file."""
        names = re.compile(rf"(\d{{8,}})\.{self.rows_format}")
        found = map(names.fullmatch, os.listdir(self.directory / CHUNKS))
        return {number for match in found if match and (number := int(match[1])) < self.chunks}

    def encode(self, number: int, solved: Solved) -> bytes | pa.Buffer:
        """Return the content of the file of a chunk."""
        if self.rows_format == "jsonl":
            return to_lines(solved.columns, solved.rows)
        return _parquet(to_arrow(solved.columns, solved.rows), self._mark(number))

    def write(self, number: int, content: bytes | pa.Buffer) -> None:
        """Write the file of a chunk; OSError with the file where that fails."""
        write_whole(self.path(number), lambda stream: stream.write(content))

    def statuses(self, number: int) -> Counter[str]:
        """Return the number of rows of a chunk with each status.

        Raises
        ------
        ValueError
            The file is damaged, or not of this sweep.
        """
        if self.rows_format == "parquet":
            counts = self.table(number, ["status"])["status"].value_counts().to_pylist()
            return Counter({count["values"]: count["counts"] for count in counts})
        with about(self.path(number)):
            raw = self.path(number).read_bytes()
            lines = _lines(raw, _Status)
            first, last = self.span(number)
            start = f'{{"set_up":{first},'.encode()
            if len(lines) != last - first or not raw.startswith(start) or not raw.endswith(b"\n"):
                raise InputError(f"it does not have the rows of its chunk; {_DAMAGED}")
        return Counter(line.status for line in lines)

    def errors(self, number: int) -> Counter[str]:
        """Return the number of rows of a chunk with each error."""
        if self.rows_format == "parquet":
            counts = self.table(number, ["error"])["error"].value_counts().to_pylist()
            return Counter({each["values"]: each["counts"] for each in counts if each["values"] is not None})
        return Counter(row["error"] for row in self.lines(number) if row["error"] is not None)

    def table(self, number: int, columns: list[str] | None = None) -> pa.Table:
        """Read a chunk from its Parquet file, or some of its columns.

        Raises
        ------
        ValueError
            The file is damaged, or not of this sweep.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        with about(self.path(number)):
            try:
                with pq.ParquetFile(self.path(number)) as file:
                    mark = (file.metadata.metadata or {}).get(b"stageplan")
                    if mark != self._mark(number).encode():
                        raise InputError(f"it is not of this sweep and chunk; {_DAMAGED}")
                    return file.read(columns, use_threads=False)
            except (pa.ArrowException, OSError) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                raise InputError(f"it is not a whole Parquet file: {error}; {_DAMAGED}") from None

    def lines(self, number: int, type_: Any = dict[str, Any]) -> list[Any]:
        """Read the rows of a chunk from its JSON Lines, as values of a type."""
        with about(self.path(number)):
            return _lines(self.path(number).read_bytes(), type_)

    def _mark(self, number: int) -> str:
        return f"{_NAME} {_VERSION} {self.digest} {number}"

    def remove_scratch(self) -> None:
        """Remove what killed runs left half-written."""
        for folder in (self.directory, self.directory / CHUNKS):
            for name in os.listdir(folder):
                if _SCRATCH.fullmatch(name):
                    (folder / name).unlink(missing_ok=True)

    def merge(self, output: Path) -> None:
        """Write the rows of all chunks to one file, in their order, chunk by chunk."""
        write = self._merge_parquet if self.rows_format == "parquet" else self._merge_lines
        write_whole(output, write)

    def _merge_lines(self, stream: IO[bytes]) -> None:
        for number in range(self.chunks):
            self.statuses(number)
            stream.write(self.path(number).read_bytes())

    def _merge_parquet(self, stream: IO[bytes]) -> None:
        import pyarrow.parquet as pq

        tables = self._large_tables()
        first = next(tables)
        with pq.ParquetWriter(stream, first.schema, compression="zstd") as writer:
            for table in chain([first], tables):
                writer.write_table(table)

    def _large_tables(self) -> Iterator[pa.Table]:
        """Yield the rows of neighbouring chunks together, as one row group of a file."""
        import pyarrow as pa

        waiting: list[pa.Table] = []
        for number in range(self.chunks):
            waiting.append(self.table(number).replace_schema_metadata())
            if sum(map(len, waiting)) >= _ROWS or number == self.chunks - 1:
                yield pa.concat_tables(waiting).combine_chunks()
                waiting = []


@lru_cache(maxsize=2)
def opened(directory: str, digest: str) -> Store:
    """Open a directory once in each process, and check that it has not changed."""
    store = Store.open(Path(directory))
    if store.digest != digest:
        raise InputError(f"{directory} has changed since the sweep began; it is of another one now")
    return store


def vacant(directory: Path) -> bool:
    """Whether a sweep may begin in a directory: it is new, or has only the scratch files of one.

    Raises
    ------
    ValueError
        It is a file, or has files and is not the directory of a sweep.
    """
    if not os.path.lexists(directory):
        return True
    if not directory.is_dir():
        raise InputError(f"directory is {directory}, a file; it must be a directory, or a new one")
    found = [name for name in os.listdir(directory) if name != CHUNKS and not _SCRATCH.fullmatch(name)]
    chunks = directory / CHUNKS
    found += os.listdir(chunks) if chunks.is_dir() else []
    if (directory / DESCRIPTION).exists():  # the last question, since another shard may begin meanwhile
        return False
    if found:
        raise InputError(f"directory is {directory}; it must be new, empty, or the directory of a sweep")
    return True


def default_format() -> Format:
    """Parquet where pyarrow is installed, else JSON Lines."""
    return "jsonl" if find_spec("pyarrow") is None else "parquet"


def check_pyarrow(rows: Format) -> None:
    """Raise ImportError where files need pyarrow, which is not installed."""
    if rows == "parquet" and find_spec("pyarrow") is None:
        raise ImportError("the rows are Parquet, which requires pyarrow: pip install 'stageplan[sweep]'")


def _decode(file: Path, raw: bytes) -> Description:
    with about(file):
        document = from_json(raw)
        format_ = document.get("format") if isinstance(document, dict) else None
        name, _, version = format_.rpartition(" ") if isinstance(format_, str) else ("", "", "")
        if name != _NAME or not version.isdecimal():
            raise InputError("it is not the description of a sweep")
        writer = document.get("version")
        if int(version) != _VERSION or writer != __version__:
            raise InputError(
                f"its format is {show(format_)}, written by version {show(writer)}; this version, "
                f"{__version__!r}, continues only its own sweeps, {f'{_NAME} {_VERSION}'!r}"
            )
        description: Description = from_json(raw, Description, "JSON of a sweep")
        return description


def _lines(raw: bytes, type_: Any) -> list[Any]:
    try:
        return msgspec.json.Decoder(type_).decode_lines(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"it is not valid JSON Lines: {error}; {_DAMAGED}") from None


def _parquet(table: pa.Table, mark: str) -> pa.Buffer:
    """Return the content of a Parquet file, with the mark of its chunk."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = pa.BufferOutputStream()
    with pq.ParquetWriter(stream, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"stageplan": mark})
    return stream.getvalue()
