"""Architectures that runtimes cannot run as planned; ``data/architectures.json`` says of which versions.

``tests/check_runtimes.py --write`` reads the lists from the released runtimes.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from ..errors import InputError
from .partition import Partition


def check_pipeline(partition: Partition, runtime: str) -> None:
    """Check that a serving runtime has pipelines for a plan's architecture, if it is known.

    Raises
    ------
    ValueError
        The runtime has no class for it, or one that only runs the whole model.
    """
    architecture = partition.conditions.architecture
    if len(partition.stages) == 1 or has_pipelines(architecture, runtime):
        return
    known = _known()[runtime]
    version = f"{known['package']} {known['version']}"
    if architecture in known["no_pipelines"]:
        raise InputError(f"{version} has no pipelines for {architecture}")
    raise InputError(
        f"{version} has no class for {architecture} (without architecture in the workload, it is not checked)"
    )


def has_pipelines(architecture: str, runtime: str) -> bool:
    """Whether a runtime has pipelines for an architecture, as far as is known."""
    known = _known().get(runtime, {})
    return not architecture or "pipelines" not in known or architecture in known["pipelines"]


def check_blocks(partition: Partition) -> None:
    """Check that the blocks of a plan's architecture are transformer layers, if it is known.

    Raises
    ------
    ValueError
        Some blocks are state-space, linear-attention, convolution or other layers.
    """
    architecture = partition.conditions.architecture
    if architecture in _known()["megatron"]["other_blocks"]:
        raise InputError(
            f"blocks of {architecture} are not all transformer layers, which the runtime's layout counts"
        )


@cache
def _known() -> dict[str, dict[str, Any]]:
    text = (resources.files("stageplan") / "data" / "architectures.json").read_text(encoding="utf-8")
    known: dict[str, dict[str, Any]] = json.loads(text)
    return known
