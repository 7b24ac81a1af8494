"""A click-through-rate network like DLRM and DCN: embeddings, crossed with numbers and each other.

Its activations have no kink, at which a sum in another order could change a gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, silu

from sequence import Sequence, build_sequence

# Shared parameters: none.
TIES: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Model:
    """Sizes of the network: cross layers, width of a vector, numbers and categories, values of a category."""

    layers: int
    width: int
    numbers: int
    categories: int
    vocabulary: int


def build(model: Model, seed: int) -> Sequence:
    """Build the network with initial weights."""
    return build_sequence(layers(model), TIES, seed)


def layers(model: Model) -> list[tuple[str, Callable[[], nn.Module]]]:
    """Return the names of the layers in order, each with a function that builds it."""
    features = model.width * (model.categories + 1)
    crosses = [(f"cross{i}", lambda: Cross(features)) for i in range(model.layers)]
    head = ("head", lambda: Head(features, 4 * model.width))
    return [("embedding", lambda: Embedding(model)), *crosses, head]


class Embedding(nn.Module):
    """Looks up a vector for each category, and makes one of the numbers."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.tables = nn.ModuleList(_table(model) for _ in range(model.categories))
        self.bottom = nn.Sequential(
            nn.Linear(model.numbers, 4 * model.width), nn.SiLU(), nn.Linear(4 * model.width, model.width)
        )

    def forward(self, numbers: Tensor, categories: Tensor) -> tuple[Tensor, Tensor]:
        """Give all features twice: as they are, for every cross layer, and to be crossed."""
        vectors = [table(categories[:, i]) for i, table in enumerate(self.tables)]
        features = torch.cat([self.bottom(numbers), *vectors], 1)
        return features, features


def _table(model: Model) -> nn.Embedding:
    """Make the vectors of a category, small at first: products of large ones are learned slowly."""
    table = nn.Embedding(model.vocabulary, model.width)
    nn.init.normal_(table.weight, std=0.1)
    return table


class Cross(nn.Module):
    """Multiplies the features with a mix of what the layers before made of them."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.mix = nn.Linear(features, features)

    def forward(self, features: Tensor, crossed: Tensor) -> tuple[Tensor, Tensor]:
        """Raise the degree of the crossed features by one; pass the features on."""
        return features, features * self.mix(crossed) + crossed


class Head(nn.Module):
    """Computes the log odds of a click."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, width)
        self.score = nn.Linear(width, 1)

    def forward(self, features: Tensor, crossed: Tensor) -> Tensor:
        """From crossed features to log odds."""
        return self.score(silu(self.hidden(crossed))).squeeze(1)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy, in nats."""
    return binary_cross_entropy_with_logits(outputs, targets)


def answer(predict: Callable[..., Tensor], numbers: Tensor, categories: Tensor) -> Tensor:
    """Return the probability of a click."""
    return predict(numbers, categories).sigmoid()
