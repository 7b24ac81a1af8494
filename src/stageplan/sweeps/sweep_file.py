"""Files of sweeps: TOML with a table of axes to combine, and tables of axes that go side by side."""

from __future__ import annotations

import os
from typing import Annotated, Any

from msgspec import Meta, Struct

from ..fields import Text, check_fields, whole
from ..readers.bounded import about, as_path, from_toml, read_bytes, to_text
from ..readers.documents import build
from .sweep import Sweep

_Axes = Annotated[dict[str, Any], Meta(description="a table of axes and their values")]


class SweepDocument(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file of a sweep."""

    name: Text = ""
    work: Annotated[int, whole(1, 2**53)] | None = None
    chunk: Annotated[int, whole(1, 2**53, "set-ups")] | None = None
    product: _Axes
    zip: Annotated[tuple[_Axes, ...], Meta(description="a list of tables of axes and their values")] = ()

    def __post_init__(self) -> None:
        check_fields(self, "sweep")


def read_sweep(path: str | os.PathLike[str]) -> Sweep:
    """Read a sweep from a TOML file, and the workloads and clusters that it names.

    Parameters
    ----------
    path : path-like
        The file; ``stageplan sweep --example`` prints one. Relative paths in it begin in its folder.

    Returns
    -------
    Sweep

    Raises
    ------
    OSError
        A file cannot be read.
    ValueError
        The file is not valid, or one that it names.
    """
    file = as_path("path", path)
    with about(file):
        document = build(SweepDocument, from_toml(to_text(read_bytes(file))))
        return Sweep.of(
            document.product,
            document.zip,
            name=document.name or file.stem,
            work=document.work,
            chunk=document.chunk,
            folder=file.parent,
        )
