"""Scales of axes: where a value is, and round numbers to mark."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_LOGARITHMIC = 30  # ratio of the largest to the smallest value from which a scale is logarithmic
_SMALLEST = 1e-300  # step between marks
_MARGIN = 0.03  # of the axis at both ends


@dataclass(frozen=True)
class Scale:
    """A linear or logarithmic scale.

    Attributes
    ----------
    low, high : float
        The smallest and the largest value.
    log : bool
        Whether equal distances are equal ratios.
    """

    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, values: Iterable[float]) -> Scale:
        """Make the scale of some values."""
        finite = [value for value in values if math.isfinite(value)] or [0.0]
        low, high = min(finite), max(finite)
        log = low > 0 and high / low > _LOGARITHMIC
        if low == high:
            low, high = (low / 2, low * 1.5) if low > 0 else (low - 1, low + 1)
        return cls(low, high, log)

    def at(self, value: float) -> float:
        """Return the place of a value, from 0 to 1 with a margin."""
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            value = math.log(value) if value > 0 else low
        else:
            low, high, value = self.low / 2, self.high / 2, value / 2  # whose difference is finite
        part = (value - low) / (high - low) if high > low else 0.0
        return _MARGIN + (1 - 2 * _MARGIN) * min(max(part, 0.0), 1.0)

    def ticks(self, most: int = 5) -> list[float]:
        """Return some round numbers within the scale."""
        if self.log:
            return _thinned(_decades(self.low, self.high), most)
        rough = (self.high - self.low) / most
        if not _SMALLEST < rough < math.inf or rough < 1e-9 * abs(
            self.high
        ):  # between which there is no number
            return [self.low, self.high]
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.8)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten in a range; powers alone where they are many."""
    first, last = math.floor(math.log10(low)), min(math.ceil(math.log10(high)), 308)
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    numbers = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    return [number for number in numbers if low * (1 - 1e-9) <= number <= high * (1 + 1e-9)]


def _thinned(numbers: list[float], most: int) -> list[float]:
    return numbers[:: max(1, -(-len(numbers) // most))]


def show_number(value: float) -> str:
    """Write a number of an axis in few characters, as 1.5k, 20M or 3e-05."""
    for power, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= power * (1 - 1e-9):
            return f"{value / power:.3g}{letter}" if abs(value) < 1e15 else f"{value:.3g}"
    return f"{value:.4g}"
