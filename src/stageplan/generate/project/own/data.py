"""Examples for a network of your own: those of a file or folder, or random ones."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from common import Batch, Config, generator, rows
from random_examples import RANDOM
from records import Record, records_of
from texts import text_of_tokens, tokens_of, tokens_of_file

BRIGHTEST = 255.0  # of a byte
COLOURS = {1: "L", 3: "RGB", 4: "RGBA"}  # channels -> mode of an image
PREPARATION = Path(__file__).with_name("own") / "preprocessor_config.json"


def batch(config: Config, split: str, index: int, size: int) -> Batch:
    """Return a batch: inputs, and a target for each.

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
        return RANDOM[config.task](config, size, random)
    if config.task == "causal-language-model":
        return _of_text(config, split, size, random)
    records = records_of(config.data.source)
    chosen = rows(config, len(records), split, index, size, random).tolist()
    examples = []
    for number in chosen:
        try:
            examples.append(READ[config.task](config, records[number]))
        except (KeyError, TypeError, ValueError) as error:
            reason = f"there is no {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"{config.data.source}, example {number + 1}: {reason}") from None
    *inputs, targets = (torch.stack(tensors) for tensors in zip(*examples, strict=True))
    return tuple(inputs), targets


# The user's examples ------------------------------------------------------------------------------------


def _of_text(config: Config, split: str, size: int, random: torch.Generator) -> Batch:
    """Pieces of texts: of their last tenth for evaluation, of the one before for validation, or the rest."""
    assert config.data.source is not None
    tokens, length = tokens_of_file(config.data.source, config.model.vocabulary), config.model.tokens + 1
    last, before = len(tokens) * 9 // 10, len(tokens) * 8 // 10
    end = before if config.train.validate_every else last
    part = {"training": tokens[:end], "validation": tokens[before:last], "evaluation": tokens[last:]}[split]
    if len(part) < length:
        raise ValueError(f"the text has {len(part)} tokens for {split}; it must have {length} or more")
    starts = torch.randint(len(part) - length + 1, (size,), generator=random)
    pieces = part[starts[:, None] + torch.arange(length)].long()
    return (pieces[:, :-1].contiguous(),), pieces[:, 1:].contiguous()


def _read_classified_text(config: Config, record: Record) -> tuple[Tensor, ...]:
    return (*example(config, str(record["text"])), _label(config, record))


def _label(config: Config, record: Record) -> Tensor:
    given, classes = record["label"], config.model.classes
    try:
        label = float(given)
    except (TypeError, ValueError):
        label = -1.0  # a name
    if not label.is_integer() or not 0 <= label < classes:
        raise ValueError(f"label is {given!r}; it must be a whole number from 0 to {classes - 1}")
    return torch.tensor(int(label))


def _read_image(config: Config, record: Record) -> tuple[Tensor, ...]:
    from PIL import Image

    image = record["image"]
    if isinstance(image, dict):  # as datasets keeps them in Parquet
        image = image["bytes"]
    if isinstance(image, (bytes, Path)):
        image = Image.open(io.BytesIO(image) if isinstance(image, bytes) else image)
    return (*example(config, image), _label(config, record))


def _read_row(config: Config, record: Record) -> tuple[Tensor, ...]:
    clicks = _click_column(record)
    values = [value for name, value in record.items() if name != clicks]
    numbers, label = config.model.numbers, float(record[clicks])
    if len(values) != numbers + config.model.categories or label not in (0.0, 1.0):
        raise ValueError(
            f"it has the label {label:g} and {len(values)} other values; it needs 0 or 1, {numbers} numbers "
            f"and {config.model.categories} categories"
        )
    return (*example(config, [*(float(value or 0) for value in values[:numbers]), *values[numbers:]]),
            torch.tensor(label))  # fmt: skip


def _click_column(record: Record) -> str:
    """Return the name of the column of clicks: ``label``, or else the first."""
    return "label" if "label" in record else next(iter(record))


READ = {
    "text-classification": _read_classified_text,
    "image-classification": _read_image,
    "click-through-rate": _read_row,
}


def _tokens(config: Config, text: str) -> list[int]:
    return tokens_of(text, config.model.vocabulary, config.task == "text-classification")


# What users send ----------------------------------------------------------------------------------------


def example(config: Config, value: Any) -> tuple[Tensor, ...]:
    """Return the inputs of what a user sends: a text, an image of Pillow's, or numbers and categories."""
    if config.task == "image-classification":
        return (_pixels(config, value),)
    if config.task == "click-through-rate":
        return _row(config, value)
    tokens, length = _tokens(config, value), config.model.tokens
    if not tokens:
        raise ValueError("a text is empty; it must have 1 token or more")
    if config.task == "causal-language-model":
        return (torch.tensor(tokens[-length:]),)
    return (torch.tensor((tokens + [config.model.padding] * length)[:length]),)


def _pixels(config: Config, image: Any) -> Tensor:
    model = config.model
    if model.channels not in COLOURS:
        raise ValueError(
            f"the network takes {model.channels} channels; images have {', '.join(map(str, COLOURS))}"
        )
    sized = image.convert(COLOURS[model.channels]).resize((model.columns, model.rows))
    array = np.asarray(sized, np.float32).reshape(model.rows, model.columns, model.channels) / BRIGHTEST
    mean, deviation = _statistics()
    return torch.from_numpy(((array - mean) / deviation).astype(np.float32).transpose(2, 0, 1).copy())


@cache
def _statistics() -> tuple[Any, Any]:
    """Return the mean and standard deviation of images that the network was trained with, where known."""
    known = json.loads(PREPARATION.read_bytes()) if PREPARATION.is_file() else {}
    return np.array(known.get("image_mean", 0.0)), np.array(known.get("image_std", 1.0))


def _row(config: Config, row: list[Any]) -> tuple[Tensor, ...]:
    """Numbers, of which none counts as 0, and categories; a text is one by its hash."""
    model = config.model
    numbers, categories = row[: model.numbers], row[model.numbers :]
    for value in numbers:
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ValueError(f"a number is {value!r:.80}; it must be a number or null")
    hashes = [
        value if config.data.source is None and isinstance(value, int) else crc32(str(value).encode())
        for value in categories
    ]
    return (
        torch.tensor([float(value or 0) for value in numbers]),
        torch.tensor([value % model.vocabulary for value in hashes]),
    )


def columns(config: Config) -> list[str]:
    """Return the names of numbers and categories: of the user's records, or number0, ..., category0, ..."""
    model = config.model
    if config.data.source is not None:
        record = records_of(config.data.source)[0]
        return [name for name in record if name != _click_column(record)]
    return [f"number{i}" for i in range(model.numbers)] + [f"category{i}" for i in range(model.categories)]


def text_of(config: Config, tokens: list[int]) -> str:
    """Return the text of tokens."""
    return text_of_tokens(tokens)
