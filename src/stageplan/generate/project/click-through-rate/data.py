"""Examples for the click-through-rate network: lines of a CSV file, or synthetic ones that follow a rule."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from torch import Tensor

from common import Batch, Config, generator, rows

SHARPNESS = 4.0  # how strongly the rule determines the click


def batch(config: Config, split: str, index: int, size: int) -> Batch:
    """Return a batch: numbers and categories, and whether there was a click, 1 or 0.

    Parameters
    ----------
    config : Config
        Says where the examples are, if anywhere.
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
    numbers, categories, clicks = _examples(
        config.data.source, model.numbers, model.categories, model.vocabulary
    )
    chosen = rows(config, len(clicks), split, index, size, random)
    return (numbers[chosen], categories[chosen]), clicks[chosen]


def _synthetic(config: Config, size: int, random: torch.Generator) -> Batch:
    """Clicks that depend on categories, on products of neighbouring ones, and on a number."""
    model = config.model
    numbers = torch.randn(size, model.numbers, generator=random)
    categories = torch.randint(model.vocabulary, (size, model.categories), generator=random)
    rule = generator(config, "rule", 0)
    tastes = torch.randn(model.vocabulary, model.categories, generator=rule)
    taste = tastes[categories, torch.arange(model.categories)]
    likes = (taste + taste * taste.roll(1, 1)).sum(1) / model.categories**0.5 + numbers[:, 0] / 2
    clicks = torch.rand(size, generator=random) < torch.sigmoid(SHARPNESS * likes)
    return (numbers, categories), clicks.float()


def columns(config: Config) -> list[str]:
    """Return the names of numbers and categories: of the CSV file, or else number0, ..., category0, ..."""
    model = config.model
    named = [f"number{i}" for i in range(model.numbers)] + [f"category{i}" for i in range(model.categories)]
    if config.data.source is None:
        return named
    with Path(config.data.source).open(newline="") as stream:
        header = next(csv.reader(stream), [])[1:]
    return header if len(set(header)) == len(named) else named


def example(config: Config, row: list[Any]) -> tuple[Tensor, ...]:
    """Return the inputs of what a user sends: numbers, where none counts as 0, and then categories.

    A category is text or a whole number; one of synthetic examples is its own index.
    """
    model = config.model
    numbers, categories = row[: model.numbers], row[model.numbers :]
    for value in numbers:
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ValueError(f"a number is {value!r:.80}; it must be a number or null")
    for value in categories:
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise ValueError(f"a category is {value!r:.80}; it must be text or a whole number")
        if config.data.source is None and value not in range(model.vocabulary):
            raise ValueError(
                f"a category is {value!r:.80}; it must be a whole number from 0 to {model.vocabulary - 1}"
            )
    if config.data.source is not None:
        categories = [_hash(str(value), model.vocabulary) for value in categories]
    return torch.tensor([float(value or 0) for value in numbers]), torch.tensor(categories)


def _hash(value: str, vocabulary: int) -> int:
    return crc32(value.encode()) % vocabulary


@cache
def _examples(source: str, numbers: int, categories: int, vocabulary: int) -> tuple[Tensor, Tensor, Tensor]:
    """Read a CSV file: the column ``label``, 0 or 1, then numbers, then categories, which become hashes."""
    labels: list[float] = []
    values: list[list[float]] = []
    hashes: list[list[int]] = []
    with Path(source).open(newline="") as stream:
        lines = csv.reader(stream)
        next(lines, None)
        for number, row in enumerate(lines, start=2):
            if len(row) != 1 + numbers + categories or row[0] not in ("0", "1"):
                raise ValueError(
                    f"{source}, line {number}: it needs a label, 0 or 1, {numbers} numbers and "
                    f"{categories} categories"
                )
            labels.append(float(row[0]))
            values.append([float(value or 0) for value in row[1 : 1 + numbers]])
            hashes.append([_hash(value, vocabulary) for value in row[1 + numbers :]])
    return torch.tensor(values), torch.tensor(hashes), torch.tensor(labels)
