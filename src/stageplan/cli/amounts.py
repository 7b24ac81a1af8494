"""Numbers and durations as people write them: ``20M`` examples, ``1.5k``, ``1h30m``."""

from __future__ import annotations

import argparse
import re

_SCALES = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_SCALED = re.compile(rf"(?P<number>[\d.]+(?:e\d+)?)(?P<scale>[{''.join(_SCALES)}])")
_SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = rf"[\d.]+(?:{'|'.join(_SECONDS)})"
_DURATION = re.compile(rf"(?:{_PART})+")


def number(text: str) -> float:
    """Read a number: 20000, 2e4, 20k; also M, G and T."""
    match = _SCALED.fullmatch(text)
    try:
        return float(text) if match is None else float(match["number"]) * _SCALES[match["scale"]]
    except ValueError:
        raise _refused(text, "a number, as 20000, 2e4, 20k or 1.5M") from None


def count(text: str) -> int:
    """Read a whole number: 20000, 2e4, 20k; also M, G and T."""
    try:
        return int(text)
    except ValueError:
        pass
    value = number(text)
    if not value.is_integer():
        raise _refused(text, "a whole number, as 20000, 2e4, 20k or 1.5M")
    return int(value)


def seconds(text: str) -> float:
    """Read a duration: 90, 90s, 15min, 1.5h, 1h30m; also ms and d. Without a unit it is in seconds."""
    try:
        if _DURATION.fullmatch(text) is None:
            return float(text)
        parts = (re.fullmatch(r"([\d.]+)(\D+)", part) for part in re.findall(_PART, text))
        return sum(float(part[1]) * _SECONDS[part[2]] for part in parts if part is not None)
    except ValueError:
        raise _refused(text, "seconds, or a duration as 90s, 15min or 1h30m") from None


def _refused(text: str, allowed: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"it is {text!r}; it must be {allowed}")
