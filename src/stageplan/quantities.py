"""Seconds and bytes as text, in a unit that suits them; bytes as people write them: ``80GB``, ``24 GiB``."""

from __future__ import annotations

import re

_BYTES = {
    unit + suffix: base**power
    for power, unit in enumerate("kMGTP", 1)
    for suffix, base in (("B", 1000.0), ("iB", 1024.0))
} | {"KiB": 1024.0, "KB": 1000.0, "B": 1.0}
_AMOUNT = re.compile(rf"(?P<number>\d+(?:\.\d*)?(?:e\d+)?) ?(?P<unit>{'|'.join(_BYTES)})(?:/s)?")


def bytes_of(text: str) -> float | None:
    """Read bytes with a unit, or bytes per second; None where a text is neither."""
    match = _AMOUNT.fullmatch(text)
    return match and float(match["number"]) * _BYTES[match["unit"]]


def show_seconds(value: float) -> str:
    """Write seconds in s, ms, us or ns."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale:
            return f"{value / scale:.4g} {unit}"
    return f"{value / 1e-9:.4g} ns"


def show_bytes(value: float) -> str:
    """Write bytes in TB, GB, MB, kB or B."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value:.3g} B"
