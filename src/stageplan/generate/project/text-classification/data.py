"""Examples for the text classifier: lines of a CSV file, or synthetic texts that follow a rule."""

from __future__ import annotations

import csv
import re
from functools import cache
from pathlib import Path
from zlib import crc32

import torch
from torch import Tensor

from common import Batch, Config, generator, rows

TOPICAL = 0.3  # fraction of synthetic tokens that come from the class's own part of the vocabulary
PADDING = 0


def batch(config: Config, split: str, index: int, size: int) -> Batch:
    """Return a batch: tokens, and the class of each text.

    Parameters
    ----------
    config : Config
        Says where the texts are, if anywhere.
    split : {"training", "validation", "evaluation"}
        Which examples.
    index : int
        Which batch; the same one is always the same.
    size : int
        Examples of the batch.
    """
    random = generator(config, split, index)
    if config.data.source is None:
        return _synthetic(config, size, random)
    model = config.model
    tokens, classes = _texts(config.data.source, model.tokens, model.vocabulary, model.classes)
    chosen = rows(config, len(classes), split, index, size, random)
    return (tokens[chosen],), classes[chosen]


def _synthetic(config: Config, size: int, random: torch.Generator) -> Batch:
    """Texts with some words of their class anywhere: no single position determines it."""
    model = config.model
    own = model.vocabulary // model.classes
    classes = torch.randint(model.classes, (size,), generator=random)
    any_words = torch.randint(model.vocabulary, (size, model.tokens), generator=random)
    own_words = classes[:, None] * own + any_words % own
    topical = torch.rand(size, model.tokens, generator=random) < TOPICAL
    return (torch.where(topical, own_words, any_words),), classes


def example(config: Config, text: str) -> tuple[Tensor, ...]:
    """Return the input of what a user sends, a text: hashes of its words, the first that fit."""
    return (torch.tensor(_tokens(text, config.model.tokens, config.model.vocabulary)),)


def _tokens(text: str, length: int, vocabulary: int) -> list[int]:
    words = [1 + crc32(word.encode()) % (vocabulary - 1) for word in re.findall(r"\w+", text.lower())]
    return (words + [PADDING] * length)[:length]


@cache
def _texts(source: str, length: int, vocabulary: int, classes: int) -> tuple[Tensor, Tensor]:
    """Read a CSV file with the columns ``text`` and ``label``, a class from 0 on; words become hashes."""
    texts: list[list[int]] = []
    labels: list[int] = []
    with Path(source).open(newline="") as stream:
        for number, row in enumerate(csv.DictReader(stream), start=2):
            try:
                text, label = row["text"], int(row["label"])
            except (KeyError, TypeError, ValueError):
                raise ValueError(f"{source}, line {number}: it needs a text and a label, a class") from None
            if not 0 <= label < classes:
                raise ValueError(f"{source}, line {number}: label is {label}; it must be below {classes}")
            texts.append(_tokens(text, length, vocabulary))
            labels.append(label)
    return torch.tensor(texts), torch.tensor(labels)
