"""Results of a sweep: the rows in its directory, counted, merged, and the front over them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..output import compose, table, to_text
from ..readers.bounded import as_path
from .front import Columns, SweepFront, front_of, read_columns
from .rows import FAILED
from .store import CHUNKS, Store, check_pyarrow
from .sweep import Sweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Group

    from ..report.page import Report


_MOST_ERRORS = 3  # that are printed


@dataclass(frozen=True)
class SweepResults:
    """Results of a sweep so far, in its directory.

    Attributes
    ----------
    directory : pathlib.Path
        The directory.
    sweep : Sweep
        The sweep.
    chunks, done : int
        Number of chunks, and of those that are complete; with a shard, of its chunks.
    statuses : dict of str to int
        Number of set-ups with each status in the complete chunks; ``"failed"`` where the column ``error`` has
        the reason.
    interrupted : bool
        Whether Ctrl-C ended the run early.
    """

    directory: Path
    sweep: Sweep
    chunks: int
    done: int
    statuses: dict[str, int]
    interrupted: bool = False
    _store: Store = field(repr=False, compare=False, kw_only=True)

    @classmethod
    def open(cls, directory: str | os.PathLike[str]) -> SweepResults:
        """Open the directory of a sweep, and count its results.

        Raises
        ------
        OSError
            The directory cannot be read.
        ValueError
            It is not the directory of a sweep, or a file in it is damaged.
        """
        store = Store.open(as_path("directory", directory))
        check_pyarrow(store.rows_format)
        done = store.done()
        statuses: Counter[str] = sum((store.statuses(number) for number in sorted(done)), Counter())
        return cls(
            directory=store.directory,
            sweep=store.sweep,
            chunks=store.chunks,
            done=len(done),
            statuses=dict(statuses),
            _store=store,
        )

    @property
    def complete(self) -> bool:
        """Whether all chunks are."""
        return self.done == self.chunks

    @property
    def failed(self) -> int:
        """Number of set-ups that could not be solved."""
        return self.statuses.get(FAILED, 0)

    def errors(self) -> Counter[str]:
        """Return why set-ups could not be solved, and how many of them each reason holds for."""
        return sum((self._store.errors(number) for number in sorted(self._store.done())), Counter())

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the complete chunks, in the order of the set-ups, as plain values."""
        for number in sorted(self._store.done()):
            if self._store.rows_format == "jsonl":
                yield from self._store.lines(number)
            else:
                yield from self._store.table(number).to_pylist()

    def merge(self, output: str | os.PathLike[str]) -> None:
        """Write the rows of all set-ups to one file, in constant memory.

        Parameters
        ----------
        output : path-like
            The file: ``.parquet`` or ``.jsonl``, as the rows are.

        Raises
        ------
        OSError
            A file cannot be read or written.
        ValueError
            The sweep is not complete; a file is damaged; or the output has another suffix.
        """
        path, suffix = as_path("output", output), f".{self._store.rows_format}"
        if path.suffix != suffix:
            raise InputError(f"output is {path}; it must be a file {suffix}, as the rows of the sweep are")
        if path.resolve().parent == (self.directory / CHUNKS).resolve():
            raise InputError(f"output is {path}; it must not be among the chunks of the sweep")
        missing = self._store.chunks - len(self._store.done())
        if missing:
            raise InputError(f"{self.directory}: {missing:,} of {self._store.chunks:,} chunks are missing")
        self._store.merge(path)
        self._store.remove_scratch()

    def front(self, against: str = "cost") -> SweepFront:
        """Return the plans of which none is both faster and cheaper than another.

        Those of each workload and number of examples are compared.

        Parameters
        ----------
        against : {"cost", "price"}
            The axis besides throughput: $ for all examples, or $/hour.

        Raises
        ------
        OSError, ValueError
            A file cannot be read, or is damaged.
        """
        return front_of(self._store, against)

    def columns(self) -> Iterator[Columns]:
        """Yield the columns that a front has, as arrays, of one complete chunk after the other."""
        for number in sorted(self._store.done()):
            yield read_columns(self._store, number)

    def report(self) -> Report:
        """Make a report: an HTML page in one file with a heat map over two axes, and the fronts.

        Returns
        -------
        Report
            ``.save("report.html")`` writes it.
        """
        from ..report.report import of_sweep

        return of_sweep(self)

    def plot(self) -> Figure:
        """Draw the heat map over two axes, and the fronts, with matplotlib.

        Returns
        -------
        matplotlib.figure.Figure
            Its ``savefig("sweep.pdf")`` writes PDF, SVG or PNG.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        from ..report.plots import plot_sweep

        return plot_sweep(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain values, ready for JSON."""
        return {
            "sweep": self.sweep.name,
            "directory": str(self.directory),
            "set_ups": len(self.sweep),
            "chunks": self.chunks,
            "done": self.done,
            "complete": self.complete,
            "interrupted": self.interrupted,
            "statuses": self.statuses,
            "errors": dict(self.errors()) if self.failed else {},
        }

    def __rich__(self) -> Group:
        counts = [("set-ups", "status"), *((f"{count:,}", status) for status, count in self._sorted())]
        ended = " (interrupted)" if self.interrupted else ""
        head = f"{self.sweep!r}; {self.done:,} of {self.chunks:,} chunks are complete{ended}"
        return compose(head, table(counts, left=(1,)) if self.statuses else "", *self._reasons())

    def _reasons(self) -> list[str]:
        if not self.failed:
            return []
        errors = self.errors().most_common()
        lines = [f"{count:,} failed: {error}" for error, count in errors[:_MOST_ERRORS]]
        rest = len(errors) - len(lines)
        return lines + [f"{rest:,} other reasons are in column error"] * (rest > 0)

    def _sorted(self) -> list[tuple[str, int]]:
        return sorted(self.statuses.items(), key=lambda item: -item[1])

    def __str__(self) -> str:
        return to_text(self)
