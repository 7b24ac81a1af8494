"""The table of a network's variants: size, quality, speed, and the requirements of the service."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from ..output import table

Cells = tuple[str, ...]


class Requirement(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A requirement of the service, and a variant's value beside it.

    Attributes
    ----------
    name : str
        ``"threshold"``, or in a quick test ``"quick_threshold"``; ``"max_latency"``; ``"min_throughput"``.
    required : str
        What is required, as ``"at most 0.1"``.
    value : float
        What was measured: the metric, the 95th percentile of the latency, or the throughput.
    met : bool
        Whether it is as required.
    """

    name: str
    required: str
    value: float
    met: bool


class VariantResult(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was measured of a variant of the network.

    Attributes
    ----------
    name : str
        Its name; of the exported program, which the others come from and which is first, its precision.
    files : tuple of str
        Its files in the project.
    bytes : int
        Their size.
    metric : str
        Name of the metric of the service.
    value : float
        The metric on the evaluation examples.
    p50, p95, p99 : float
        Seconds that 50, 95 and 99 per cent of the requests, each a batch of the service, took at most.
    throughput : float
        Examples per second.
    largest_difference : float
        Of its outputs from those of the exported program.
    requirements : tuple of Requirement
        Those that the service has.
    note : str
        How it was timed, where that was not by the clock.
    """

    name: str
    files: tuple[str, ...]
    bytes: int
    metric: str
    value: float
    p50: float
    p95: float
    p99: float
    throughput: float
    largest_difference: float
    requirements: tuple[Requirement, ...] = ()
    note: str = ""


def table_of(variants: Sequence[VariantResult]) -> tuple[Cells, list[Cells], tuple[int, ...]]:
    """Return heads and rows of the table, and which columns are words; each requirement has a column."""
    names = list(dict.fromkeys(one.name for variant in variants for one in variant.requirements))
    metric = variants[0].metric
    numbers = ("bytes", metric, "p50 s", "p95 s", "p99 s", "examples/s", "difference")
    heads = ("variant", *numbers, *names, "timed")
    words = (0, *range(1 + len(numbers), len(heads)))
    return heads, [_cells(variant, names) for variant in variants], words


def _cells(variant: VariantResult, names: Sequence[str]) -> tuple[str, ...]:
    numbers = (variant.value, variant.p50, variant.p95, variant.p99, variant.throughput)
    required = {one.name: one for one in variant.requirements}
    return (
        variant.name,
        f"{variant.bytes:,}",
        *(f"{number:.4g}" for number in numbers),
        f"{variant.largest_difference:.2g}",
        *(_met(required[name]) if name in required else "" for name in names),
        variant.note or "by the clock",
    )


def _met(one: Requirement) -> str:
    return f"{'met' if one.met else 'not met'}: {one.value:.4g}, {one.required}"


def text_of(variants: Sequence[VariantResult]) -> Iterator[Any]:
    """Yield the table for a text, if there are variants."""
    if variants:
        heads, rows, words = table_of(variants)
        yield table([("", *row) for row in (heads, *rows)], left=(0, *(1 + word for word in words)))
