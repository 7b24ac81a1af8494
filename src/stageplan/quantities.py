"""Seconds and bytes as text, in a unit that suits them."""

from __future__ import annotations


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
