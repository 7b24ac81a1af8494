"""A text classifier: a transformer whose first place, in front of the text, gathers what tells its class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from sequence import Sequence, build_sequence

# Shared parameters: none.
TIES: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Model:
    """Sizes: blocks, width, attention heads, tokens of an example, number of tokens, classes."""

    layers: int
    width: int
    heads: int
    tokens: int
    vocabulary: int
    classes: int


def build(model: Model, seed: int) -> Sequence:
    """Build the network with initial weights."""
    return build_sequence(layers(model), TIES, seed)


def layers(model: Model) -> list[tuple[str, Callable[[], nn.Module]]]:
    """Return the names of the layers in order, each with a function that builds it."""
    blocks = [(f"block{i}", lambda: Block(model)) for i in range(model.layers)]
    return [("embedding", lambda: Embedding(model)), *blocks, ("head", lambda: Head(model))]


class Embedding(nn.Module):
    """Looks up a vector for each token, adds one for its place, and puts an empty place in front."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.tokens = nn.Embedding(model.vocabulary, model.width)
        self.places = nn.Parameter(0.02 * torch.randn(model.tokens + 1, model.width))

    def forward(self, tokens: Tensor) -> Tensor:
        """From token numbers to vectors, one more than tokens."""
        vectors = self.tokens(tokens)
        return torch.cat([torch.zeros_like(vectors[:, :1]), vectors], 1) + self.places


class Block(nn.Module):
    """Attention to all tokens, then a network on each token."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.heads = model.heads
        self.before_attention = nn.LayerNorm(model.width)
        self.queries_keys_values = nn.Linear(model.width, 3 * model.width, bias=False)
        self.after_attention = nn.Linear(model.width, model.width, bias=False)
        self.before_network = nn.LayerNorm(model.width)
        self.network = nn.Sequential(
            nn.Linear(model.width, 4 * model.width), nn.GELU(), nn.Linear(4 * model.width, model.width)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """Add the outputs of attention and network to the vectors."""
        hidden = hidden + self.attention(self.before_attention(hidden))
        return hidden + self.network(self.before_network(hidden))

    def attention(self, hidden: Tensor) -> Tensor:
        """Mix the vectors of all tokens."""
        by_head = self.queries_keys_values(hidden).unflatten(-1, (3, self.heads, -1)).transpose(1, 3)
        queries, keys, values = by_head.unbind(2)
        mixed = scaled_dot_product_attention(queries, keys, values)
        return self.after_attention(mixed.transpose(1, 2).flatten(2))


class Head(nn.Module):
    """Scores each class from the first place."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(model.width)
        self.classes = nn.Linear(model.width, model.classes)

    def forward(self, hidden: Tensor) -> Tensor:
        """From vectors to scores."""
        return self.classes(self.norm(hidden[:, 0]))


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the class, in nats."""
    return cross_entropy(outputs, targets)


def answer(predict: Callable[..., Tensor], tokens: Tensor) -> Tensor:
    """Return the most likely class of each text."""
    return predict(tokens).argmax(-1)
