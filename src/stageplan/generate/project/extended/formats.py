"""What users send becomes inputs, from tensors, texts, rows and images; outputs become classes and text."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import data
from common import Config

MOST_PIXELS = 2**25  # of an image; decoded it takes 3 bytes for each
MOST_NUMBERS = 2**21  # that are sent as outputs
SHOWN = 60  # characters of a value in a sentence
INTEGERS = 2**63 - 1
FLOATS = torch.finfo(torch.float32).max


class WrongInputError(ValueError):
    """Wrong input; one sentence says what is wrong."""


# Bodies -------------------------------------------------------------------------------------------------


def object_of(body: bytes, *names: str) -> dict[str, Any]:
    """Read a JSON object; only fields of these names are allowed, and the first one is required."""
    try:
        values = json.loads(body.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise WrongInputError("the body is not valid UTF-8") from None
    except RecursionError:
        raise WrongInputError("the body is nested too deep") from None
    except json.JSONDecodeError as error:
        raise WrongInputError(f"the body is not valid JSON: {error}") from None
    except WrongInputError:
        raise
    except ValueError:
        raise WrongInputError("the body has a number with too many digits") from None
    if not isinstance(values, dict) or names[0] not in values:
        raise WrongInputError(f"the body is {shown(values)}; it must be an object with {names[0]!r}")
    for name in values.keys() - set(names):
        raise WrongInputError(f"the body has an unknown field {shown(name)}; it may have {', '.join(names)}")
    return values


def _refuse_constant(name: str) -> None:
    raise WrongInputError(f"the body has {name}; numbers must be finite")


def shown(value: Any) -> str:
    """Write a value for a sentence: in few characters, on one line."""
    if isinstance(value, (dict, list)):  # whose text may be long, or nested deep
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    text = ascii(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def listed(values: dict[str, Any], name: str, most: int) -> list[Any]:
    """Return a list of 1 to `most` examples."""
    found = values[name]
    if not isinstance(found, list) or not 1 <= len(found) <= most:
        raise WrongInputError(f"{name} is {shown(found)}; it must be a list of 1 to {most} examples")
    return found


# Inputs -------------------------------------------------------------------------------------------------


def raw_inputs(config: Config, body: bytes, patterns: tuple[Tensor, ...], most: int) -> tuple[Tensor, ...]:
    """Read ``{"inputs": [...]}``: for each input of the network an array with an entry for each example."""
    arrays = object_of(body, "inputs")["inputs"]
    if not isinstance(arrays, list) or len(arrays) != len(patterns):
        raise WrongInputError(f"inputs is {shown(arrays)}; it must be a list of {len(patterns)} arrays")
    inputs = []
    for i, (values, pattern) in enumerate(zip(arrays, patterns, strict=True)):
        lowest, highest = _range(config, pattern)
        entries = listed({f"inputs[{i}]": values}, f"inputs[{i}]", most)
        shape = tuple(pattern.shape[1:])
        try:
            checked = [_checked(entry, shape, isinstance(lowest, int), lowest, highest) for entry in entries]
        except WrongInputError as error:
            kind = (
                f"whole numbers from {lowest} to {highest}" if isinstance(lowest, int) else "finite numbers"
            )
            wanted = f"an array of shape ({', '.join(map(str, ('n', *shape)))}) of {kind}"
            raise WrongInputError(f"inputs[{i}] has {error}; it must be {wanted}") from None
        inputs.append(torch.tensor(checked, dtype=pattern.dtype))
    if len({len(tensor) for tensor in inputs}) > 1:
        counts = ", ".join(str(len(tensor)) for tensor in inputs)
        raise WrongInputError(f"inputs have {counts} examples; all must have the same number")
    return tuple(inputs)


def _range(config: Config, pattern: Tensor) -> tuple[float, float]:
    """Return the least and the greatest number of an input; they are integers where its numbers are."""
    if pattern.is_floating_point():
        return -FLOATS, FLOATS
    vocabulary = getattr(config.model, "vocabulary", None)
    return (-INTEGERS, INTEGERS) if vocabulary is None else (0, vocabulary - 1)


def _checked(values: Any, shape: tuple[int, ...], whole: bool, lowest: float, highest: float) -> Any:
    """Return numbers in nested lists of a shape; WrongInputError, with what is wrong, where they are not."""
    if shape:
        if not isinstance(values, list) or len(values) != shape[0]:
            raise WrongInputError(shown(values))
        return [_checked(value, shape[1:], whole, lowest, highest) for value in values]
    allowed = int if whole else (int, float)
    if isinstance(values, bool) or not isinstance(values, allowed) or not lowest <= values <= highest:
        raise WrongInputError(shown(values))
    return values


def inputs_of(
    config: Config, values: list[Any], patterns: tuple[Tensor, ...], prepare: Callable[[Any], Any]
) -> tuple[Tensor, ...]:
    """Make inputs of what users send: each value is prepared, and then an example of the project's data."""
    examples = []
    for i, value in enumerate(values):
        try:
            example = data.example(config, prepare(value))
        except (OverflowError, ValueError) as error:
            raise WrongInputError(f"example {i}: {error}") from None
        for tensor, pattern in zip(example, patterns, strict=True):
            if not tensor.isfinite().all() or tensor.dtype != pattern.dtype:
                raise WrongInputError(f"example {i} has numbers that are too large")
        examples.append(example)
    return tuple(torch.stack(tensors) for tensors in zip(*examples, strict=True))


def text(value: Any) -> str:
    """Return a text."""
    if not isinstance(value, str):
        raise WrongInputError(f"it is {shown(value)}; it must be a text")
    return value


def row(config: Config, value: Any) -> list[Any]:
    """Return the values of a row in order, from a list or from an object that has them by their names."""
    columns = data.columns(config)
    if isinstance(value, dict):
        if value.keys() != set(columns):
            wrong = sorted(map(shown, value.keys() ^ set(columns)))[0]
            state = "is missing or unknown"
            raise WrongInputError(f"{wrong} {state}; its names must be {', '.join(columns)}")
        value = [value[name] for name in columns]
    if not isinstance(value, list) or len(value) != len(columns):
        raise WrongInputError(f"it is {shown(value)}; it must have the values {', '.join(columns)}")
    return value


def image(body: bytes) -> Any:
    """Decode a PNG or JPEG image, whose size is known before its pixels are decoded."""
    from PIL import Image, ImageOps  # in projects for images alone

    try:
        opened = Image.open(io.BytesIO(body), formats=("PNG", "JPEG"))
        wide, high = opened.size
        if wide * high <= MOST_PIXELS:
            return ImageOps.exif_transpose(opened)
    except Exception as error:  # of any class, by what is damaged
        name = type(error).__name__
        raise WrongInputError(f"it is not a valid PNG or JPEG image ({name})") from None
    raise WrongInputError(f"it has {wide} x {high} pixels; it must have at most {MOST_PIXELS}")


# Answers ------------------------------------------------------------------------------------------------


def numbers(outputs: Tensor) -> list[Any]:
    """Return outputs as lists; WrongInputError where they are too many to send."""
    if outputs.numel() > MOST_NUMBERS:
        raise WrongInputError(
            f"the outputs are {outputs.numel()} numbers, and at most {MOST_NUMBERS} are sent"
        )
    return outputs.tolist()


def classified(outputs: Tensor, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return for each example the most likely class, its name where it has one, and all chances."""
    chances = outputs.softmax(-1)
    answers = []
    for row_, best in zip(chances.tolist(), chances.argmax(-1).tolist(), strict=True):
        named = {"name": names[best]} if names else {}
        answers.append({"class": best, **named, "chances": row_})
    return answers


def clicked(outputs: Tensor) -> list[dict[str, Any]]:
    """Return for each example the chance of a click."""
    return [{"chance": chance} for chance in outputs.sigmoid().tolist()]


def continued(config: Config, tokens: Tensor, counts: list[int]) -> list[dict[str, Any]]:
    """Return for each example the tokens that were added, and their text."""
    kept = [added[:count] for added, count in zip(tokens.tolist(), counts, strict=True)]
    return [{"text": data.text_of(config, added), "tokens": added} for added in kept]


def prompts(config: Config, texts: list[Any], length: int) -> tuple[Tensor, Tensor]:
    """Return tokens of texts, filled up at their end to a length, and the number of each."""
    examples = []
    for i, value in enumerate(texts):
        try:
            (tokens,) = data.example(config, text(value))
        except ValueError as error:
            raise WrongInputError(f"example {i}: {error}") from None
        examples.append(tokens)
    filled = torch.zeros(len(examples), length, dtype=torch.long)
    for place, tokens in zip(filled, examples, strict=True):
        place[: len(tokens)] = tokens
    return filled, torch.tensor([len(tokens) for tokens in examples])


def continuing(predict: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Make the function that adds the most likely tokens to texts, one after the other.

    What is behind the last token of a text does not matter: the network sees only what is before.
    """

    def add(tokens: Tensor, lengths: Tensor, counts: Tensor) -> Tensor:
        place, added = torch.arange(len(tokens)), []
        for _ in range(int(counts.max())):
            following = predict(tokens)[place, lengths - 1].argmax(-1)
            full = lengths == tokens.shape[1]
            tokens = torch.where(full[:, None], tokens.roll(-1, 1), tokens)
            lengths = (lengths + 1).clamp(max=tokens.shape[1])
            tokens[place, lengths - 1] = following
            added.append(following)
        return torch.stack(added, 1)

    return add


def finite(outputs: Tensor) -> Tensor:
    """Return outputs; WrongInputError where they are not all finite, as of inputs that are too large."""
    if not outputs.isfinite().all():
        raise WrongInputError("the outputs for these inputs are not finite numbers")
    return outputs
