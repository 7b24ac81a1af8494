"""Charts of values against others: axes, lines, and dots with texts."""

from __future__ import annotations

from collections.abc import Sequence

from .scale import Scale, show_number
from .svg import Picture, Point

_HEIGHT, _TOP, _FOOT = 270, 22, 34


class Chart:
    """A picture with a horizontal and a vertical axis.

    Parameters
    ----------
    label
        What it shows.
    across, up
        Scales of the axes.
    across_name, up_name
        Names and units of the axes.
    """

    def __init__(self, label: str, across: Scale, up: Scale, across_name: str, up_name: str) -> None:
        self.picture = Picture(_HEIGHT, label)
        self.across, self.up = across, up
        self._draw_axes(across_name, up_name)

    def _draw_axes(self, across_name: str, up_name: str) -> None:
        bottom = _HEIGHT - _FOOT
        log = {True: " (logarithmic)", False: ""}
        self.picture.text(0, 12, f"↑ {up_name}{log[self.up.log]}", "weak")
        self.picture.text(1, _HEIGHT - 4, f"{across_name}{log[self.across.log]} →", "weak", "end")
        for tick in self.up.ticks():
            y = self.y(tick)
            self.picture.line(0, y, 1, y, "grid")
            self.picture.text(0, y - 3, show_number(tick), "weak")
        for tick in self.across.ticks(4):
            x = self.across.at(tick)
            self.picture.line(x, _TOP, x, bottom, "grid")
            anchor = "start" if x < 0.08 else "end" if x > 0.92 else "middle"
            self.picture.text(x, bottom + 13, show_number(tick), "weak", anchor)

    def y(self, value: float) -> float:
        """Return the pixel of a value on the vertical axis."""
        bottom = _HEIGHT - _FOOT
        return bottom - self.up.at(value) * (bottom - _TOP)

    def steps(self, points: Sequence[Point], kind: str) -> None:
        """Draw a line that keeps each value until the next one."""
        places: list[Point] = []
        for x, value in points:
            if places:
                places.append((self.across.at(x), places[-1][1]))
            places.append((self.across.at(x), self.y(value)))
        self.picture.path(places, kind)

    def dot(self, x: float, value: float, kind: str, tip: str, radius: float = 4) -> None:
        """Draw a dot with its numbers."""
        self.picture.dot(self.across.at(x), self.y(value), radius, kind, tip)

    def line(self, points: Sequence[Point], kind: str, closed: bool = False) -> None:
        """Draw a line through points, or the area within them."""
        self.picture.path([(self.across.at(x), self.y(value)) for x, value in points], kind, closed)

    def upright(self, x: float, text: str, kind: str) -> None:
        """Draw a vertical line at a value, with its text."""
        place = self.across.at(x)
        self.picture.line(place, _TOP, place, _HEIGHT - _FOOT, kind, text)
        self.picture.text(place, _TOP - 2, text, "weak", "end" if place > 0.5 else "start")
