"""A language model like GPT: a decoder that predicts the next token; embedding and head share a weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, scaled_dot_product_attention

from sequence import Sequence, build_sequence

# Shared parameters: the owner's name -> the name of its second use.
TIES = (("embedding.tokens.weight", "head.weight"),)


@dataclass(frozen=True)
class Model:
    """Sizes of the network: blocks, width, attention heads, tokens of an example, and number of tokens."""

    layers: int
    width: int
    heads: int
    tokens: int
    vocabulary: int


def build(model: Model, seed: int) -> Sequence:
    """Build the network with initial weights."""
    return build_sequence(layers(model), TIES, seed)


def layers(model: Model) -> list[tuple[str, Callable[[], nn.Module]]]:
    """Return the names of the layers in order, each with a function that builds it."""
    blocks = [(f"block{i}", lambda: Block(model)) for i in range(model.layers)]
    return [("embedding", lambda: Embedding(model)), *blocks, ("head", lambda: Head(model))]


class Embedding(nn.Module):
    """Adds the embeddings of each token and of its position."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.tokens = nn.Embedding(model.vocabulary, model.width)
        self.places = nn.Parameter(0.02 * torch.randn(model.tokens, model.width))
        nn.init.normal_(self.tokens.weight, std=model.width**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """From token numbers to vectors."""
        return self.tokens(tokens) + self.places


class Block(nn.Module):
    """Attention to the tokens so far, then a network on each token."""

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
        """Mix the vectors of this token and earlier ones."""
        by_head = self.queries_keys_values(hidden).unflatten(-1, (3, self.heads, -1)).transpose(1, 3)
        queries, keys, values = by_head.unbind(2)
        mixed = scaled_dot_product_attention(queries, keys, values, is_causal=True)
        return self.after_attention(mixed.transpose(1, 2).flatten(2))


class Head(nn.Module):
    """Scores each token of the vocabulary as the next one."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(model.width)
        self.weight = nn.Parameter(torch.empty(model.vocabulary, model.width))

    def forward(self, hidden: Tensor) -> Tensor:
        """From vectors to scores."""
        return linear(self.norm(hidden), self.weight)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the next token, in nats."""
    return cross_entropy(outputs.flatten(0, -2), targets.flatten())


def answer(predict: Callable[..., Tensor], tokens: Tensor) -> Tensor:
    """Continue texts by half their length, always with the most likely token."""
    added = tokens.shape[1] // 2
    for _ in range(added):
        following = predict(tokens)[:, -1].argmax(-1)
        tokens = torch.cat([tokens[:, 1:], following[:, None]], 1)
    return tokens[:, -added:]
