"""Records of a user's examples, read as they are needed: of a file by its ending, or of a folder.

A record maps names of columns to values. Only the places of lines, or a few groups of rows, are in memory.
"""

from __future__ import annotations

import csv
import json
from array import array
from bisect import bisect_right
from functools import cache, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
GROUPS = 4  # groups of rows of a Parquet file that are kept

Record = dict[str, Any]


class Records(Protocol):
    """Records by their numbers."""

    def __len__(self) -> int:
        """Count them."""

    def __getitem__(self, index: int) -> Record:
        """Read one."""


@cache
def records_of(source: str) -> Records:
    """Open the records of a file, or of a folder of images or of the library datasets.

    Raises
    ------
    OSError, ValueError
        It cannot be read, or is of an unknown kind.
    """
    path = Path(source)
    if path.is_dir():
        is_dataset = any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))
        return _dataset(path) if is_dataset else Images(path)
    kinds = {".csv": Lines, ".jsonl": Lines, ".parquet": Rows}
    if path.suffix not in kinds:
        raise ValueError(f"{source} must end in {', '.join(kinds)}, or be a folder")
    return kinds[path.suffix](path)


class Lines:
    """Lines of a JSON Lines or CSV file, whose places are known."""

    def __init__(self, path: Path) -> None:
        self.path, self.is_csv = path, path.suffix == ".csv"
        self.places, place, quotes = array("Q", [0]), 0, 0
        with path.open("rb") as stream:
            for line in stream:
                place += len(line)
                quotes += line.count(b'"') if self.is_csv else 0
                if quotes % 2 == 0 and line.strip():  # a field in quotes may have several lines
                    self.places.append(place)
        self.header = next(csv.reader([self._text(0)])) if self.is_csv and len(self.places) > 1 else []

    def __len__(self) -> int:
        return max(0, len(self.places) - 1 - self.is_csv)

    def _text(self, index: int) -> str:
        with self.path.open("rb") as stream:
            stream.seek(self.places[index])
            return stream.read(self.places[index + 1] - self.places[index]).decode()

    def __getitem__(self, index: int) -> Record:
        text, line = self._text(index + self.is_csv), index + 1 + self.is_csv
        try:
            record = self._read(text.strip())
        except ValueError as error:
            raise ValueError(f"{self.path}, line {line}: {error}") from None
        if not isinstance(record, dict):
            raise ValueError(f"{self.path}, line {line}: it must be an object")
        return record

    def _read(self, text: str) -> Any:
        if not self.is_csv:
            return json.loads(text)
        values = next(csv.reader(text.splitlines(keepends=True)))
        if len(values) != len(self.header):
            raise ValueError(f"it has {len(values)} values; the header has {len(self.header)}")
        return dict(zip(self.header, values, strict=True))


class Rows:
    """Rows of a Parquet file, of which groups are read as they are needed."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet

        try:
            self.file = pyarrow.parquet.ParquetFile(path)
        except pyarrow.ArrowInvalid as error:
            raise ValueError(f"{path} is not a valid Parquet file: {error}") from None
        counts = [self.file.metadata.row_group(i).num_rows for i in range(self.file.num_row_groups)]
        self.begins = [0, *accumulate(counts)]
        self.group = lru_cache(GROUPS)(self.file.read_row_group)

    def __len__(self) -> int:
        return self.begins[-1]

    def __getitem__(self, index: int) -> Record:
        group = bisect_right(self.begins, index) - 1
        row: list[Record] = self.group(group).slice(index - self.begins[group], 1).to_pylist()
        return row[0]


class Images:
    """Images in folders of their classes, which have the order of their names."""

    def __init__(self, path: Path) -> None:
        self.classes = sorted(folder.name for folder in path.iterdir() if folder.is_dir())
        self.files = [
            (file, label)
            for label, name in enumerate(self.classes)
            for file in sorted((path / name).rglob("*"))
            if file.suffix.lower() in IMAGES
        ]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Record:
        file, label = self.files[index]
        return {"image": file, "label": label}


def _dataset(path: Path) -> Records:
    import datasets

    found = datasets.load_from_disk(path)
    if isinstance(found, datasets.DatasetDict):
        if "train" not in found:
            raise ValueError(f"{path} has {', '.join(found)}; it must have train, or be one dataset")
        found = found["train"]
    records: Records = found
    return records
