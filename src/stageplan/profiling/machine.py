"""Names that the hardware of this machine reports, and the devices with these names."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

from ..device import Device
from ..errors import InputError
from ..fields import show

PLACES = ("cpu", "cuda")  # as torch names them
NOUNS = {"cpu": "processor", "cuda": "GPU"}


def hardware_name(on: str) -> str:
    """Return the name that the processor (``"cpu"``) or the current GPU (``"cuda"``) reports.

    Raises
    ------
    ImportError
        A GPU is asked for, and torch is not installed.
    ValueError
        A GPU is asked for, and there is none that torch can use.
    """
    return _processor() if on == "cpu" else _gpu()


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(errors="replace").splitlines() if facts.exists() else []
    names = (
        value.strip()
        for name, _, value in (line.partition(":") for line in lines)
        if name.strip() == "model name"
    )
    return next(names, "") or platform.processor() or platform.machine()


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        raise InputError("on is 'cuda', but there is no GPU here that torch can use; it must be 'cpu'")
    return torch.cuda.get_device_name()


def check_measured(measure: object, on: str, known: Mapping[str, Device]) -> None:
    """Raise unless a name is that of the device that this machine measures on.

    Parameters
    ----------
    measure
        ``"cpu"`` or ``"cuda"``, the same as `on`, or the name of a device of the catalogue that has the name
        of this machine's hardware among its `hardware_names`.
    on
        One of `PLACES`.
    known
        The catalogue.

    Raises
    ------
    ValueError
        It is not; or there is no GPU.
    """
    own, noun = hardware_name(on), NOUNS[on]
    if measure == on:
        return
    if not isinstance(measure, str) or measure not in known:
        raise InputError(
            f"measure is {show(measure)}; it must be {on!r} or the name of a device of the catalogue that is "
            f"this machine's {noun}, {show(own)}"
        )
    names = known[measure].hardware_names
    if own.casefold() not in {name.casefold() for name in names}:
        called = (
            f"which calls itself {' or '.join(map(show, names))}" if names else "which has no hardware_names"
        )
        raise InputError(
            f"measure is {show(measure)}, {called}, but this machine's {noun} calls itself {show(own)}; "
            f"it must be {on!r} or a device with that name"
        )


def note_measured(measure: str, on: str) -> str:
    """Say which hardware the times of a device type were measured on."""
    return f"times of {measure} were measured on this machine's {NOUNS[on]}, {hardware_name(on)}"
