"""Tokens of texts: those of the tokenizer in the folder `own`, or bytes and hashes of words without one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from common import ARTEFACTS, whole
from records import records_of

TOKENIZER = Path(__file__).with_name("own") / "tokenizer.json"
PIECE = 2**20  # characters that are made tokens at a time


@cache
def tokenizer() -> Any:
    """Return the tokenizer; None without one."""
    if not TOKENIZER.is_file():
        return None
    from tokenizers import Tokenizer

    try:
        made = Tokenizer.from_file(str(TOKENIZER))
    except Exception as error:  # the library's own class
        raise ValueError(f"own/{TOKENIZER.name} is no tokenizer: {error}") from None
    made.no_padding()
    made.no_truncation()
    return made


def tokens_of(text: str, vocabulary: int, is_classified: bool = False) -> list[int]:
    """Return the tokens of a text.

    Parameters
    ----------
    text : str
        The text.
    vocabulary : int
        Number of tokens that the network knows.
    is_classified : bool
        Whether it is a text to classify: with the tokens that mark its ends, or else hashes of words.

    Raises
    ------
    ValueError
        There are more than the network knows.
    """
    coder = tokenizer()
    if coder is not None:
        found: list[int] = coder.encode(text, add_special_tokens=is_classified).ids
    elif is_classified:
        found = [1 + crc32(word.encode()) % (vocabulary - 1) for word in re.findall(r"\w+", text.lower())]
    else:
        found = list(text.encode())
    if found and max(found) >= vocabulary:
        raise ValueError(
            f"a text has the token {max(found)}; for this network they must be below {vocabulary}"
        )
    return found


def text_of_tokens(tokens: list[int]) -> str:
    """Return the text of tokens."""
    coder = tokenizer()
    if coder is not None:
        return str(coder.decode(tokens))
    return bytes(token for token in tokens if token < 256).decode(errors="replace")


@cache
def tokens_of_file(source: str, vocabulary: int) -> Tensor:
    """Return the tokens of all texts, which are kept in a file of their own and read as they are needed.

    Parameters
    ----------
    source : str
        A text, or records with texts, each of which ends with a new line.
    vocabulary : int
        Number of tokens that the network knows.
    """
    path = Path(source)
    key = hashlib.sha256(TOKENIZER.read_bytes() if TOKENIZER.is_file() else b"")
    for file in [path] if path.is_file() else sorted(path.rglob("*.*")):
        with file.open("rb") as stream:
            key.update(hashlib.file_digest(stream, "sha256").digest())
    kept = ARTEFACTS / f"tokens-{key.hexdigest()[:16]}.bin"
    if not kept.is_file():
        with whole(kept) as beside, beside.open("wb") as stream:
            for text in _lines(path) if path.suffix == ".txt" else _texts(source):
                np.array(tokens_of(text, vocabulary), np.int32).tofile(stream)
    if not kept.stat().st_size:
        raise ValueError(f"{source} has no text")
    return torch.from_numpy(np.memmap(kept, np.int32, "c"))


def _lines(path: Path) -> Iterator[str]:
    """Read a text, many whole lines at a time."""
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:
        while lines := stream.readlines(PIECE):
            yield "".join(lines)


def _texts(source: str) -> Iterator[str]:
    """Read the texts of records."""
    records = records_of(source)
    for index in range(len(records)):
        record = records[index]
        if "text" not in record:
            raise ValueError(f"{source}, example {index + 1}: there is no 'text'")
        yield f"{record['text']}\n"
