"""Price lists in the form of SkyPilot's catalogs: a CSV, a machine of a region a row."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from pathlib import Path

from ..fields import show

COLUMNS = ("AcceleratorName", "AcceleratorCount", "Region")


def read_prices(
    path: str | os.PathLike[str], region: str | None = None, spot: bool = False
) -> dict[str, float]:
    """Read the cheapest price of each accelerator.

    Parameters
    ----------
    path
        A CSV with columns AcceleratorName, AcceleratorCount, Region, and Price or SpotPrice ($/hour of the
        machine); others are passed over, and so are rows without an accelerator or without a price.
    region
        Only rows of this region; default: all.
    spot
        Prices of the column SpotPrice, not Price.

    Returns
    -------
    dict of str to float
        $/hour of one accelerator, the machine's price divided by its accelerators, by name in lower case.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        A column is missing, a number is none, or no row is of the region.

    Notes
    -----
    Some clouds (Google's, for one) list an accelerator without the machine that it is in.
    """
    with Path(path).open(encoding="utf-8-sig", newline="") as stream:
        try:
            return _cheapest(csv.DictReader(stream), region, "SpotPrice" if spot else "Price")
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"it is no CSV in UTF-8: {error}") from None


def _cheapest(rows: csv.DictReader[str], region: str | None, column: str) -> dict[str, float]:
    _check_columns(rows.fieldnames or [], (*COLUMNS, column))
    cheapest: dict[str, float] = {}
    regions: set[str] = set()
    for row in rows:
        regions.add(row["Region"])
        name = (row["AcceleratorName"] or "").lower()
        if region not in (None, row["Region"]) or not name or not row["AcceleratorCount"] or not row[column]:
            continue
        price, count = (_number(row, field, rows.line_num) for field in (column, "AcceleratorCount"))
        if count > 0:
            cheapest[name] = min(price / count, cheapest.get(name, math.inf))
    if region is not None and region not in regions:
        raise ValueError(f"region is {show(region)}; it must be one of the file's: {_some(regions)}")
    return cheapest


def _check_columns(found: Sequence[str], needed: Sequence[str]) -> None:
    for name in needed:
        if name not in found:
            raise ValueError(f"it has no column {name}; it must be a CSV with columns {', '.join(needed)}")


def _number(row: dict[str, str], field: str, line: int) -> float:
    try:
        value = float(row[field])
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"{field} in line {line} is {show(row[field])}; it must be a number, 0 or more")
    return value


def _some(names: set[str]) -> str:
    first = sorted(names)[:20]
    return ", ".join(first) + (", ..." if len(names) > len(first) else "")
