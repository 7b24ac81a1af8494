"""Examples for the language model: pieces of a text, or of a synthetic one that follows a rule."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from common import Batch, Config, generator

SURPRISE = 0.1  # fraction of synthetic tokens that follow no rule


def batch(config: Config, split: str, index: int, size: int) -> Batch:
    """Return a batch: tokens, and for each the token that follows.

    Parameters
    ----------
    config : Config
        Says where the text is, if any.
    split : {"training", "validation", "evaluation"}
        Which examples.
    index : int
        Which batch; the same one is always the same.
    size : int
        Examples of the batch.
    """
    random = generator(config, split, index)
    length = config.model.tokens + 1
    if config.data.source is None:
        pieces = _synthetic(config, size, length, random)
    else:
        part = _part(config, _text(config.data.source, config.model.vocabulary), split)
        if len(part) < length:
            raise ValueError(f"the text has {len(part)} bytes for {split}; it must have {length} or more")
        starts = torch.randint(len(part) - length + 1, (size,), generator=random)
        pieces = part[starts[:, None] + torch.arange(length)]
    return (pieces[:, :-1].contiguous(),), pieces[:, 1:].contiguous()


def _synthetic(config: Config, size: int, length: int, random: torch.Generator) -> Tensor:
    """Tokens that each follow from the last but one: nothing is learned without attention."""
    vocabulary = config.model.vocabulary
    rule = torch.randperm(vocabulary, generator=generator(config, "rule", 0))
    pieces = torch.randint(vocabulary, (size, length), generator=random)
    follows = torch.rand(size, length, generator=random) >= SURPRISE
    for place in range(2, length):
        pieces[:, place] = torch.where(follows[:, place], rule[pieces[:, place - 2]], pieces[:, place])
    return pieces


def _part(config: Config, text: Tensor, split: str) -> Tensor:
    """Return the last tenth of a text for evaluation, the one before for validation, or the rest."""
    last, before = len(text) * 9 // 10, len(text) * 8 // 10
    end = before if config.train.validate_every else last
    return {"training": text[:end], "validation": text[before:last], "evaluation": text[last:]}[split]


def example(config: Config, text: str) -> tuple[Tensor, ...]:
    """Return the input of what a user sends, a text: its bytes; of a long one, the last that fit."""
    tokens = torch.tensor(list(text.encode())[-config.model.tokens :])
    if not len(tokens):
        raise ValueError("a text is empty; it must have 1 character or more")
    if int(tokens.max()) >= config.model.vocabulary:
        raise ValueError(
            f"a text has the byte {int(tokens.max())}; for this network they must be below "
            f"{config.model.vocabulary}"
        )
    return (tokens,)


def text_of(config: Config, tokens: list[int]) -> str:
    """Return the text of tokens; what is not valid UTF-8 is replaced."""
    return bytes(token for token in tokens if token < 256).decode(errors="replace")


@cache
def _text(source: str, vocabulary: int) -> Tensor:
    """Bytes of a file, each a token."""
    text = torch.frombuffer(bytearray(Path(source).read_bytes()), dtype=torch.uint8).long()
    if vocabulary <= int(text.max()):
        raise ValueError(f"vocabulary is {vocabulary}; for a text it must be 256")
    return text
