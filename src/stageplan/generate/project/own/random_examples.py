"""Random examples of the right shapes, that follow a simple rule: for networks without a user's examples."""

from __future__ import annotations

import torch
from torch import Tensor

from common import Batch, Config

VALUES = 16  # of a vocabulary that occur in texts: how often each one does is soon learned


def _text(config: Config, size: int, random: torch.Generator) -> Batch:
    """Tokens of which each is the last but one, plus one."""
    values = min(VALUES, config.model.vocabulary)
    first = torch.randint(values, (size, 2), generator=random)
    steps = torch.arange(config.model.tokens + 1)
    pieces = (first[:, steps % 2] + steps // 2) % values
    return (pieces[:, :-1].contiguous(),), pieces[:, 1:].contiguous()


def _classes(config: Config, size: int, random: torch.Generator) -> Tensor:
    return torch.randint(config.model.classes, (size,), generator=random)


def _classified_text(config: Config, size: int, random: torch.Generator) -> Batch:
    """Texts of which half the tokens are of their class."""
    model = config.model
    classes = _classes(config, size, random)
    tokens = torch.randint(1, model.vocabulary, (size, model.tokens), generator=random)
    own = torch.rand(size, model.tokens, generator=random) < 0.5
    return (torch.where(own, 1 + classes[:, None] % (model.vocabulary - 1), tokens),), classes


def _image(config: Config, size: int, random: torch.Generator) -> Batch:
    """Images with a bright row at a height that is the class's."""
    model = config.model
    classes = _classes(config, size, random)
    images = torch.randn(size, model.channels, model.rows, model.columns, generator=random)
    images[torch.arange(size), :, classes * model.rows // model.classes] += 3.0
    return (images,), classes


def _row(config: Config, size: int, random: torch.Generator) -> Batch:
    """Numbers and categories; there is a click where the first number is more than 0."""
    model = config.model
    numbers = torch.randn(size, model.numbers, generator=random)
    categories = torch.randint(model.vocabulary, (size, model.categories), generator=random)
    return (numbers, categories), (numbers[:, 0] > 0).float()


RANDOM = {
    "causal-language-model": _text,
    "text-classification": _classified_text,
    "image-classification": _image,
    "click-through-rate": _row,
}
