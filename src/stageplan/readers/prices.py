"""Price lists in the format of SkyPilot's catalogs: a CSV with a row per machine type and region."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence

from ..fields import printable, show

COLUMNS = ("AcceleratorName", "AcceleratorCount", "Region")

# A slice of TPUs is listed as one accelerator. The number in its name counts chips in these generations, and
# tensor cores, two of which make a chip, in the others.
_SLICE = re.compile(r"(tpu-v\d+[a-z]*)-([1-9]\d{0,5})")
_COUNTED_IN_CHIPS = ("tpu-v5litepod", "tpu-v6e")


def read_prices(text: str, region: str | None = None, spot: bool = False) -> dict[str, float]:
    """Read the cheapest price of each accelerator.

    Parameters
    ----------
    text
        A CSV with the columns AcceleratorName, AcceleratorCount, Region, and Price or SpotPrice ($/hour of
        the machine). Other columns are ignored, and so are rows without an accelerator, a count or a price.
    region
        Only rows of this region; default: all.
    spot
        Prices of the column SpotPrice, not Price.

    Returns
    -------
    dict of str to float
        $/hour of one accelerator, by its name in lower case: the machine's price divided by the number of
        its accelerators. A slice of TPUs, as tpu-v4-8, counts by its chips, under the name tpu-v4.

    Raises
    ------
    ValueError
        A column is missing; no row is of the region; a row, named by its line, has too few or too many
        fields, a price that is not a number, 0 or more, or a count that is not one, more than 0.

    Notes
    -----
    Some clouds (Google's, for example) list an accelerator without the machine that it is in.
    """
    try:
        return _cheapest(csv.DictReader(io.StringIO(text)), region, "SpotPrice" if spot else "Price")
    except csv.Error as error:
        raise ValueError(f"it is not a valid CSV: {error}") from None


def _cheapest(rows: csv.DictReader[str], region: str | None, column: str) -> dict[str, float]:
    _check_columns(rows.fieldnames or [], (*COLUMNS, column))
    cheapest: dict[str, float] = {}
    regions: set[str] = set()
    for row in rows:
        if None in row or None in row.values():  # how the reader marks fields that are too many or too few
            columns = len(rows.fieldnames or [])
            raise ValueError(f"line {rows.line_num} is incomplete or too long; it must have {columns} fields")
        regions.add(row["Region"])
        listed = row["AcceleratorName"] and row["AcceleratorCount"] and row[column]
        if listed and region in (None, row["Region"]):
            name, chips = _chips(row["AcceleratorName"].lower())
            price, count = (_number(row, field, rows.line_num) for field in (column, "AcceleratorCount"))
            cheapest[name] = min(price / (count * chips), cheapest.get(name, math.inf))
    if region is not None and region not in regions:
        raise ValueError(f"region is {show(region)}; it must be one of the file's: {_some(regions)}")
    return cheapest


def _chips(name: str) -> tuple[str, float]:
    """Return the name of one accelerator, and how many of it an accelerator of the list is."""
    match = _SLICE.fullmatch(name)
    if match is None:
        return name, 1
    kind, number = match[1], int(match[2])
    return kind, number if kind in _COUNTED_IN_CHIPS else number / 2


def _check_columns(found: Sequence[str], needed: Sequence[str]) -> None:
    for name in needed:
        if name not in found:
            raise ValueError(f"it has no column {name}; it must be a CSV with columns {', '.join(needed)}")


def _number(row: dict[str, str], field: str, line: int) -> float:
    try:
        value = float(row[field])
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf or (field == "AcceleratorCount" and not value):
        allowed = "more than 0" if field == "AcceleratorCount" else "0 or more"
        raise ValueError(f"{field} in line {line} is {show(row[field])}; it must be a number, {allowed}")
    return value


def _some(names: set[str]) -> str:
    first = sorted(names)[:20]
    return printable(", ".join(first)) + (", ..." if len(names) > len(first) else "")
