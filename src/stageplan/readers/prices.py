"""Price lists in the format of SkyPilot's catalogs: a CSV with a row per machine type and region."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..errors import InputError
from ..fields import printable, show
from ..suggestions import did_you_mean

COLUMNS = ("AcceleratorName", "AcceleratorCount", "Region")

# A slice of TPUs is listed as one accelerator. The number in its name counts chips in these generations, and
# tensor cores, two of which make a chip, in the others.
_SLICE = re.compile(r"(tpu-v\d+[a-z]*)-([1-9]\d{0,5})")
_COUNTED_IN_CHIPS = ("tpu-v5litepod", "tpu-v6e")

# Google lists accelerators without the machine that they are in, and the machine in a row of its own: the
# machine of so many accelerators, as SkyPilot starts them. TPUs come with theirs.
_HOSTS: dict[str, str | dict[int, str]] = {
    "a100": "a2-highgpu-{}g",
    "a100-80gb": "a2-ultragpu-{}g",
    "h100": "a3-highgpu-{}g",
    "h100-mega": "a3-megagpu-{}g",
    "h200": "a3-ultragpu-{}g",
    "b200": "a4-highgpu-{}g",
    "l4": {1: "g2-standard-4", 2: "g2-standard-24", 4: "g2-standard-48", 8: "g2-standard-96"},
    "t4": {1: "n1-highmem-4", 2: "n1-highmem-8", 4: "n1-highmem-16"},
    "v100": {1: "n1-highmem-8", 2: "n1-highmem-16", 4: "n1-highmem-32", 8: "n1-highmem-64"},
}


class Machine(NamedTuple):
    """Accelerators that are rented together: their name, their number, and $/hour of each."""

    name: str
    devices: float
    price: float


class _Row(NamedTuple):
    machine: str | None  # "": listed without the machine; None: the list has no such column
    accelerator: str
    number: float
    region: str
    price: float


def read_machines(text: str, region: str | None = None, spot: bool = False) -> list[Machine]:
    """Read machines with accelerators.

    Parameters
    ----------
    text
        A CSV with the columns AcceleratorName, AcceleratorCount, Region, and Price or SpotPrice ($/hour of
        the machine), and perhaps InstanceType, which is empty where an accelerator is listed without the
        machine. Other columns are ignored, and so are rows without an accelerator, a count or a price.
    region
        Only rows of this region; default: all.
    spot
        Prices of the column SpotPrice, not Price.

    Returns
    -------
    list of Machine
        Names are in lower case; $/hour of one accelerator is the machine's price divided by the number of
        its accelerators. A slice of TPUs, as tpu-v4-8, counts by its chips, under the name tpu-v4.

    Raises
    ------
    ValueError
        A column is missing; no row is of the region; a row, named by its line, has too few or too many
        fields, a price that is not a number, 0 or more, or a count that is not one, more than 0.

    Notes
    -----
    Google's accelerators are listed without the machine that they are in; its price is added if the list has
    the machine in the same region. Slices of several sizes that have one price are left out: it stands for a
    price that is not known.
    """
    try:
        rows = list(_rows(csv.DictReader(io.StringIO(text)), region, "SpotPrice" if spot else "Price"))
    except csv.Error as error:
        raise InputError(f"it is not a valid CSV: {error}") from None
    hosts: dict[tuple[str, str], float] = {}
    slices: dict[tuple[str, str, float], set[str]] = {}
    for row in rows:
        if row.machine and not row.accelerator:
            place = (row.region, row.machine)
            hosts[place] = min(row.price, hosts.get(place, math.inf))
        slices.setdefault(_placeholder(row), set()).add(row.accelerator.lower())
    known = (row for row in rows if row.accelerator and len(slices[_placeholder(row)]) == 1)
    return [_machine(row, hosts) for row in known]


def _placeholder(row: _Row) -> tuple[str, str, float]:
    """Return what rows have in common that list a TPU whose price is not known: any size has one price."""
    return _SLICE.sub(r"\1", row.accelerator.lower()), row.region, row.price


def _machine(row: _Row, hosts: dict[tuple[str, str], float]) -> Machine:
    name, chips = _chips(row.accelerator.lower())
    host = _host(name, row.number) if row.machine == "" else ""
    price = row.price + hosts.get((row.region, host), 0.0)
    return Machine(name, row.number * chips, price / (row.number * chips))


def _host(name: str, number: float) -> str:
    """Return the machine of so many accelerators of a name, or ""."""
    named = _HOSTS.get(name, "")
    return named.format(int(number)) if isinstance(named, str) else named.get(int(number), "")


def _rows(rows: csv.DictReader[str], region: str | None, column: str) -> Iterator[_Row]:
    _check_columns(rows.fieldnames or [], (*COLUMNS, column))
    regions: set[str] = set()
    for row in rows:
        if None in row or None in row.values():  # how the reader marks fields that are too many or too few
            columns = len(rows.fieldnames or [])
            raise InputError(f"line {rows.line_num} is incomplete or too long; it must have {columns} fields")
        regions.add(row["Region"])
        accelerator, machine = row["AcceleratorName"], row.get("InstanceType")
        listed = row[column] and (row["AcceleratorCount"] if accelerator else machine)
        if listed and region in (None, row["Region"]):
            price = _number(row, column, rows.line_num)
            number = _number(row, "AcceleratorCount", rows.line_num) if accelerator else 0.0
            yield _Row(machine, accelerator, number, row["Region"], price)
    if region is not None and region not in regions:
        known = f"{_some(regions)}{did_you_mean(region, regions)}"
        raise InputError(f"region is {show(region)}; it must be one of the file's: {known}")


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
            raise InputError(f"it has no column {name}; it must be a CSV with columns {', '.join(needed)}")


def _number(row: dict[str, str], field: str, line: int) -> float:
    try:
        value = float(row[field])
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf or (field == "AcceleratorCount" and not value):
        allowed = "more than 0" if field == "AcceleratorCount" else "0 or more"
        raise InputError(f"{field} in line {line} is {show(row[field])}; it must be a number, {allowed}")
    return value


def _some(names: set[str]) -> str:
    first = sorted(names)[:20]
    return printable(", ".join(first)) + (", ..." if len(names) > len(first) else "")
