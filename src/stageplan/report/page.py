"""The page of a report: one HTML file that holds all it needs, and loads nothing."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources

from .._version import __version__
from ..output import write_whole
from ..readers.bounded import as_path
from .svg import Picture, escape, shorten

MOST_ROWS = 150
"""Most rows of a table in a report."""

_MOST_LETTERS = 60  # of a cell of a table

Row = Sequence[str]


@dataclass(frozen=True)
class Report:
    """A report of a plan, a front or a sweep: an HTML page in one file, which loads nothing.

    Attributes
    ----------
    html : str
        The page.

    Examples
    --------
    >>> import stageplan as sp
    >>> problem = sp.Problem.from_arrays([[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0])
    >>> report = sp.solve(problem).report()
    >>> report.save("report.html")
    """

    html: str

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file, atomically.

        Raises
        ------
        OSError
            The file cannot be written.
        """
        write_whole(as_path("path", path), lambda stream: stream.write(self.html.encode()))

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape_attribute(self.html)}" width="100%" height="640"></iframe>'

    def __repr__(self) -> str:
        return f"<Report: {len(self.html.encode()):,} bytes of HTML>"


def escape_attribute(html: str) -> str:
    """Return HTML for an attribute that holds a whole page."""
    return html.replace("&", "&amp;").replace('"', "&quot;")


def page(title: str, parts: Iterable[str]) -> Report:
    """Make the page of some parts, which are HTML."""
    style, script = asset("picture.css") + asset("page.css"), asset("page.js")
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}"
    return Report(
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n"
        f'<body class="stageplan">\n{"".join(parts)}'
        f"<footer>Made by stageplan {escape(__version__)}. Point at a picture, or touch it, for its numbers; "
        f"they are in the tables too.</footer>\n<script>{script}</script>\n</body>\n</html>\n"
    )


def asset(name: str) -> str:
    """Read a file of this package."""
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def head(title: str, what: str, state: str, good: bool) -> str:
    """Begin a page: its title, what was asked for, and the answer in a sentence."""
    return (
        f"<h1>{escape(shorten(title, 200))}</h1>\n<p>{escape(what)}</p>\n"
        f'<p class="state {"good" if good else "bad"}">{escape(state)}</p>\n'
    )


def tiles(values: Iterable[tuple[str, str]]) -> str:
    """Show numbers, each with its name."""
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in values)
    return f'<dl class="tiles">{cells}</dl>\n'


def section(title: str, *content: str) -> str:
    """Put content under a title; nothing where there is no content."""
    inner = "".join(content)
    return f"<section><h2>{escape(title)}</h2>\n{inner}</section>\n" if inner else ""


def pair(*sections: str) -> str:
    """Put sections side by side where the page is wide."""
    shown = [part for part in sections if part]
    return f'<div class="pair">{"".join(shown)}</div>\n' if len(shown) > 1 else "".join(shown)


def figure(picture: Picture, caption: str = "") -> str:
    """Show a picture with a caption."""
    text = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{picture}{text}</figure>\n"


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Explain colours: pairs of a class and a text."""
    items = "".join(
        f'<li><svg aria-hidden="true"><rect width="12" height="12" class="{kind}"/></svg>'
        f"{escape(shorten(text, _MOST_LETTERS))}</li>"
        for kind, text in entries
    )
    return f'<ul class="legend">{items}</ul>\n'


def numbers(head: Row, rows: Sequence[Row], words: Iterable[int] = (), open_: bool = False) -> str:
    """Show the numbers behind a picture as a table that can be opened."""
    if not rows:
        return ""
    opened = " open" if open_ else ""
    return f"<details{opened}><summary>Numbers</summary>{table(head, rows, words)}</details>\n"


def table(head: Row, rows: Sequence[Row], words: Iterable[int] = ()) -> str:
    """Show a table; `words` are the columns that are not numbers."""
    left = frozenset(words)
    body = "".join(f"<tr>{_cells('td', row, left)}</tr>" for row in rows[:MOST_ROWS])
    rest = len(rows) - MOST_ROWS
    more = f'<p class="soft">{rest:,} more rows are left out.</p>' if rest > 0 else ""
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{_cells("th", head, left)}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{more}"
    )


def _cells(tag: str, row: Row, words: frozenset[int]) -> str:
    return "".join(
        f"<{tag}{' class=words' if i in words else ''}>{escape(shorten(cell, _MOST_LETTERS))}</{tag}>"
        for i, cell in enumerate(row)
    )


def paragraph(text: str, kind: str = "soft") -> str:
    """Show a sentence."""
    return f'<p class="{kind}">{escape(text)}</p>\n' if text else ""


def bullets(items: Iterable[str]) -> str:
    """Show sentences, one below the other."""
    shown = "".join(f"<li>{escape(shorten(item, 500))}</li>" for item in items)
    return f"<ul>{shown}</ul>\n" if shown else ""
