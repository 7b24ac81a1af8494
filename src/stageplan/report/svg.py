"""Drawing in SVG: pictures that are as wide as their place and whose text is never scaled.

Along x, places and widths are fractions of the picture; along y they are pixels. Only lines and areas between
points are scaled, with lines of a fixed width.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape as escape_html

from ..fields import printable

_LEVELS = (300, 600, 900)  # least pixels of a picture that shows texts of the classes w0, w1 and w2
_LETTER, _MARGIN = 6.3, 2  # pixels, of a letter in the mean, and beside a text
_LABELS = 22, 44  # letters of a text at the left, on a phone and elsewhere
_TIP = 300  # letters of a text at the pointer
_SCALED = 1000  # across a picture, of what is scaled

Point = tuple[float, float]


def escape(text: str, keep: str = "") -> str:
    """Return a text for HTML, without markup, and control characters but those in `keep` as escapes."""
    return escape_html(printable(text, keep))


def shorten(text: str, length: int) -> str:
    """Leave out the end of a text that is too long."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


class Picture:
    """An SVG picture.

    Parameters
    ----------
    height
        Pixels.
    label
        What it shows, for those who do not see it.
    """

    def __init__(self, height: float, label: str) -> None:
        self.height = height
        self.label = label
        self._parts: list[str] = []

    def rect(
        self, x: float, y: float, width: float, height: float, kind: str, tip: str = "", fill: str = ""
    ) -> None:
        """Draw a rectangle; `tip` is shown where the pointer is on it."""
        color = f' fill="{fill}"' if fill else ""
        self._add(
            f'rect x="{_percent(x)}" y="{_number(y)}" width="{_percent(max(width, 0.0))}" '
            f'height="{_number(height)}" class="{kind}"{color}',
            tip,
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str, tip: str = "") -> None:
        """Draw a line."""
        self._add(
            f'line x1="{_percent(x1)}" y1="{_number(y1)}" x2="{_percent(x2)}" y2="{_number(y2)}" '
            f'class="{kind}"',
            tip,
        )

    def dot(self, x: float, y: float, radius: float, kind: str, tip: str = "") -> None:
        """Draw a dot."""
        self._add(f'circle cx="{_percent(x)}" cy="{_number(y)}" r="{radius:g}" class="{kind}"', tip)

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> None:
        """Write a text at its base line; `anchor` is start, middle or end."""
        at = "" if anchor == "start" else f' text-anchor="{anchor}"'
        named = f' class="{kind}"' if kind else ""
        self._parts.append(f'<text x="{_percent(x)}" y="{_number(y)}"{named}{at}>{escape(text)}</text>')

    def heading(self, y: float, text: str, kind: str = "") -> None:
        """Write a text at the left, beside one at the right, of which phones show the begin."""
        narrow, wide = shorten(text, _LABELS[0]), shorten(text, _LABELS[1])
        if narrow == wide:
            self.text(0, y, text, kind)
            return
        self.text(0, y, narrow, f"{kind} brief".strip())
        self.text(0, y, wide, f"{kind} full".strip())

    def fitting(self, x: float, y: float, width: float, texts: Iterable[str], kind: str = "") -> None:
        """Write the first of some texts that fits into a width around `x`, by the width of the picture.

        Nothing is written where none fits.
        """
        shown: dict[str, list[str]] = {}
        choices = list(texts)
        for level, pixels in enumerate(_LEVELS):
            fits = (text for text in choices if len(text) * _LETTER + _MARGIN <= width * pixels)
            shown.setdefault(next(fits, ""), []).append(f"w{level}")
        for text, levels in shown.items():
            where = [] if len(levels) == len(_LEVELS) else ["level", *levels]
            if text:
                self.text(x, y, text, " ".join(filter(None, [kind, *where])), "middle")

    def path(self, points: Iterable[Point], kind: str, closed: bool = False) -> None:
        """Draw a line through points, or the area within them."""
        places = [f"{_number(x * _SCALED)} {_number(y)}" for x, y in points]
        if places:
            self._scaled(f'<path d="M{"L".join(places)}{"Z" if closed else ""}" class="{kind}"/>')

    def rects(self, spans: Iterable[Point], y: float, height: float, kind: str) -> None:
        """Draw many rectangles of one height, each from a place to another, as one shape."""
        shapes = (
            f"M{_number(start * _SCALED)} {_number(y)}H{_number(end * _SCALED)}v{_number(height)}"
            f"H{_number(start * _SCALED)}z"
            for start, end in spans
        )
        if shape := "".join(shapes):
            self._scaled(f'<path d="{shape}" class="{kind}"/>')

    def _scaled(self, content: str) -> None:
        self._parts.append(
            f'<svg width="100%" height="{_number(self.height)}" viewBox="0 0 {_SCALED} '
            f'{_number(self.height)}" preserveAspectRatio="none">{content}</svg>'
        )

    def _add(self, element: str, tip: str) -> None:
        tag = element.partition(" ")[0]
        self._parts.append(
            f"<{element}><title>{escape(shorten(tip, _TIP), chr(10))}</title></{tag}>"
            if tip
            else f"<{element}/>"
        )

    def __str__(self) -> str:
        return (
            f'<svg class="picture" width="100%" height="{_number(self.height)}" role="img" '
            f'aria-label="{escape(self.label)}">{"".join(self._parts)}</svg>'
        )


def _number(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _percent(value: float) -> str:
    text = f"{100 * value:.3f}".rstrip("0").rstrip(".")
    return f"{'0' if text == '-0' else text}%"
