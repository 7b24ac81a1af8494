"""Workloads of which only some strategies are allowed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from ..workload import Layer, Workload


def with_strategies(workload: Workload, strategies: Collection[str]) -> Workload:
    """Remove all times of other strategies from a workload; ``""`` is the plain one.

    Raises
    ------
    ValueError
        A layer has times of other strategies alone.
    """
    return msgspec.structs.replace(
        workload, layers=tuple(_with_strategies(layer, strategies) for layer in workload.layers)
    )


def names_of(workload: Workload) -> list[str]:
    """Return the strategies that some layer has times of; ``""`` is the plain one."""
    keys = (key for layer in workload.layers for key in (*layer.compute, *layer.backward))
    return list(dict.fromkeys(key.partition("/")[2] for key in keys))


def _with_strategies(layer: Layer, strategies: Collection[str]) -> Layer:
    def kept(table: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in table.items() if key.partition("/")[2] in strategies}

    return msgspec.structs.replace(layer, compute=kept(layer.compute), backward=kept(layer.backward))
