"""The Pareto front of throughput and cost, or hourly price, over the rows of a sweep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from ..arguments import check_choice
from ..output import compose, table, to_text

if TYPE_CHECKING:
    from rich.console import Group

    from .store import Store


Columns = dict[str, npt.NDArray[Any]]


class FrontRow(Struct, frozen=True, kw_only=True):
    """A row of a sweep's front; the columns are those of the sweep's rows."""

    set_up: int
    workload: str
    examples: float
    status: str
    cost: float | None
    throughput: float | None
    price: float | None
    violation: float | None
    stages: int | None
    devices: int | None


@dataclass(frozen=True)
class SweepFront:
    """Plans of a sweep of which none is both faster and cheaper than another.

    Those of each workload and number of examples are compared, since costs are those of all examples.

    Attributes
    ----------
    against : str
        ``"cost"`` or ``"price"``: the axis besides throughput.
    rows : tuple of FrontRow
        By workload and number of examples, the cheapest plan first.
    """

    against: str
    rows: tuple[FrontRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the front as plain values, for JSON."""
        return {"against": self.against, "rows": [msgspec.to_builtins(row) for row in self.rows]}

    def __rich__(self) -> Group:
        head = ("workload", "examples", "set-up", "$", "examples/s", "$/h", "stages", "devices", "status")
        cells = [
            (row.workload, f"{row.examples:,.10g}", f"{row.set_up:,}", f"{row.cost:,.6g}",
             _text(row.throughput), f"{row.price:,.4g}", f"{row.stages}", f"{row.devices:,}", row.status)
            for row in self.rows
        ]  # fmt: skip
        return compose(table([head, *cells], left=(0, 8)) if cells else "no plan meets all limits")

    def __str__(self) -> str:
        return to_text(self)


def _text(throughput: float | None) -> str:
    return "infinite" if throughput is None else f"{throughput:,.6g}"


def front_of(store: Store, against: str) -> SweepFront:
    """Find the front over the complete chunks of a sweep, chunk by chunk."""
    check_choice("against", against, ("cost", "price"))
    fronts: dict[tuple[str, float], Columns] = {}
    for number in sorted(store.done()):
        columns = read_columns(store, number)
        keys = zip(columns["workload"].tolist(), columns["examples"].tolist(), strict=True)
        for key in dict.fromkeys(keys):  # costs are those of all examples
            same = (columns["workload"] == key[0]) & (columns["examples"] == key[1])
            own = _rows(columns, same & (columns["violation"] == 0))
            before = fronts.get(key)
            fronts[key] = _best(own if before is None else _join(before, own), against)
    return SweepFront(against, tuple(row for columns in fronts.values() for row in _front_rows(columns)))


def read_columns(store: Store, number: int) -> Columns:
    """Read the columns of a front; NaN for absent numbers."""
    names = list(FrontRow.__struct_fields__)
    if store.rows_format == "parquet":
        table = store.table(number, names)
        return {name: table[name].to_numpy() for name in names}
    rows = store.lines(number, FrontRow)
    texts = {"workload", "status"}
    return {
        name: np.array([getattr(row, name) for row in rows], object if name in texts else np.float64)
        for name in names
    }


def _rows(columns: Columns, chosen: Any) -> Columns:
    return {name: column[chosen] for name, column in columns.items()}


def _join(one: Columns, other: Columns) -> Columns:
    return {name: np.concatenate([one[name], other[name]]) for name in one}


def _best(columns: Columns, against: str) -> Columns:
    """Keep the rows of which none is at least as fast and cheaper; of equal ones the first set-up."""
    throughput = np.nan_to_num(columns["throughput"], nan=np.inf)
    order = np.lexsort((columns["set_up"], -throughput, columns[against]))
    sorted_ = throughput[order]
    fastest = np.maximum.accumulate(sorted_)
    faster = np.concatenate([[True], sorted_[1:] > fastest[:-1]]) if len(order) else np.empty(0, bool)
    return _rows(columns, order[faster])


def _front_rows(columns: Columns) -> Iterator[FrontRow]:
    for values in zip(*(column.tolist() for column in columns.values()), strict=True):
        row = dict(zip(columns, values, strict=True))
        whole = {name: int(row[name]) for name in ("set_up", "stages", "devices")}
        throughput = None if np.isnan(row["throughput"]) else row["throughput"]
        yield FrontRow(**row | whole | {"throughput": throughput})
