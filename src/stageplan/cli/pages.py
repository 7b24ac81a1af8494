"""Pages of the documentation, and the blocks of code in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

_BLOCK = re.compile(r"^```(?P<language>[\w-]*)(?P<marks>[^\n]*)\n(?P<code>.*?)^```$", re.M | re.S)
_FILE = re.compile(r"# (?P<name>[\w-]+\.(toml|py))\n")


@dataclass(frozen=True)
class Block:
    """A block of code of a page.

    Attributes
    ----------
    language : str
        ``"console"`` (commands after ``$``, with what they print), ``"python"``, ``"toml"`` or ``"text"``.
    needs : tuple of str
        Packages, or other things, without which it does not run: ``torch transformers`` behind the language.
    status : int
        Exit status of its commands: ``status=1`` behind the language; default: 0.
    code : str
        Its lines.
    """

    language: str
    needs: tuple[str, ...]
    status: int
    code: str

    @property
    def file(self) -> str | None:
        """Name of the file that a block is, by the comment in its first line; None if it is none."""
        match = _FILE.match(self.code)
        return None if match is None else match["name"]

    def commands(self) -> Iterator[tuple[str, str]]:
        """Yield the commands of a console, each with what is printed after it."""
        for part in re.split(r"^\$ ", self.code, flags=re.M)[1:]:
            lines = part.splitlines(keepends=True)
            end = next(i for i, line in enumerate(lines) if not line.endswith("\\\n"))
            yield "".join(lines[: end + 1]).rstrip("\n"), "".join(lines[end + 1 :])


def read_pages() -> dict[str, str]:
    """Read all pages, by their names."""
    folder = resources.files("stageplan") / "docs"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return {
        file.name.removesuffix(".md"): file.read_text(encoding="utf-8")
        for file in files
        if file.name.endswith(".md")
    }


def split_page(text: str) -> Iterator[str | Block]:
    """Split a page into its text and its blocks of code, in their order."""
    end = 0
    for match in _BLOCK.finditer(text):
        yield text[end : match.start()]
        marks = match["marks"].split()
        needs = tuple(mark for mark in marks if "=" not in mark)
        (status,) = [int(mark.removeprefix("status=")) for mark in marks if "=" in mark] or [0]
        yield Block(match["language"], needs, status, match["code"])
        end = match.end()
    yield text[end:]


def split_command(command: str) -> tuple[list[str], str | None]:
    """Split a command of a console into its words, and the file that its output goes to."""
    words = shlex.split(command.replace("\\\n", " "), comments=True)
    if len(words) > 2 and words[-2] == ">":
        return words[:-2], words[-1]
    return words, None
