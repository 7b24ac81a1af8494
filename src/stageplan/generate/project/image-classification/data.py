"""Examples for the image classifier: those of an .npz file, or synthetic ones that follow a rule."""

from __future__ import annotations

import math
from functools import cache
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from common import Batch, Config, generator, rows

NOISE = 0.5
BRIGHTEST = 255.0  # of a byte
COLOURS = {1: "L", 3: "RGB", 4: "RGBA"}  # channels -> mode of an image


def batch(config: Config, split: str, index: int, size: int) -> Batch:
    """Return a batch: images, and the class of each.

    Parameters
    ----------
    config : Config
        Says where the images are, if anywhere.
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
    shape = (model.channels, model.rows, model.columns)
    images, classes = _images(config.data.source, shape, model.classes)
    chosen = rows(config, len(classes), split, index, size, random)
    return (images[chosen],), classes[chosen]


def _synthetic(config: Config, size: int, random: torch.Generator) -> Batch:
    """Stripes whose direction is the class and which begin anywhere: no single pixel determines it."""
    model = config.model
    classes = torch.randint(model.classes, (size,), generator=random)
    start = torch.rand(size, 1, 1, 1, generator=random) * 2 * math.pi
    angle = (classes * math.pi / model.classes)[:, None, None, None]
    down, across = torch.arange(model.rows)[:, None], torch.arange(model.columns)
    stripes = torch.sin((down * angle.sin() + across * angle.cos()) * (2 * math.pi / 5) + start)
    shape = (size, model.channels, model.rows, model.columns)
    return (stripes + NOISE * torch.randn(shape, generator=random),), classes


def example(config: Config, image: Any) -> tuple[Tensor, ...]:
    """Return the input of what a user sends, an image of Pillow's: resized, and from 0 to 1."""
    model = config.model
    if model.channels not in COLOURS:
        raise ValueError(
            f"the network takes {model.channels} channels; images have {', '.join(map(str, COLOURS))}"
        )
    sized = image.convert(COLOURS[model.channels]).resize((model.columns, model.rows))
    array = np.asarray(sized, np.float32).reshape(model.rows, model.columns, model.channels)
    return (torch.from_numpy(array.transpose(2, 0, 1) / BRIGHTEST),)


@cache
def _images(source: str, shape: tuple[int, ...], classes: int) -> tuple[Tensor, Tensor]:
    """Read ``images``, (n, channels, height, width), and ``labels``, (n,), classes from 0 on."""
    try:
        with np.load(source, allow_pickle=False) as arrays:
            images, labels = arrays["images"], arrays["labels"]
    except KeyError as error:
        raise ValueError(f"{source}: {error.args[0]}") from None
    except (BadZipFile, EOFError, TypeError, ValueError) as error:
        raise ValueError(f"{source} is not a valid .npz file: {error}") from None
    if not len(labels) or labels.dtype.kind not in "iu":
        raise ValueError(f"{source}: labels has {len(labels)} of {labels.dtype}; they must be whole numbers")
    if images.shape != (len(labels), *shape):
        raise ValueError(f"{source}: images has shape {images.shape}; it must be {(len(labels), *shape)}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"{source}: labels go from {labels.min()} to {labels.max()}; they must be below {classes}"
        )
    scale = BRIGHTEST if images.dtype == np.uint8 else 1.0
    return torch.from_numpy(images.astype(np.float32) / scale), torch.from_numpy(labels.astype(np.int64))
