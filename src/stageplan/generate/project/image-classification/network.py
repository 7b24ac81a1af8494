"""An image classifier: a small ResNet.

Its normalisation is by groups of channels, not by batch, so that an example's result depends on that example
alone: a batch may be divided between micro-batches and replicas as one likes. Its activations have no kink,
at which a sum in another order could change a gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn
from torch.nn.functional import cross_entropy, silu

from sequence import Sequence, build_sequence

# Shared parameters: none.
TIES: tuple[tuple[str, str], ...] = ()
GROUPS = 4


@dataclass(frozen=True)
class Model:
    """Sizes of the network: blocks, channels of the first one, the shape of an image, classes."""

    layers: int
    width: int
    channels: int
    rows: int
    columns: int
    classes: int


def build(model: Model, seed: int) -> Sequence:
    """Build the network with initial weights."""
    return build_sequence(layers(model), TIES, seed)


def layers(model: Model) -> list[tuple[str, Callable[[], nn.Module]]]:
    """Return names and builders of the layers in order; every other block halves the image."""
    named: list[tuple[str, Callable[[], nn.Module]]] = [("stem", lambda: Stem(model))]
    width = model.width
    for i in range(model.layers):
        after = 2 * width if i % 2 else width
        named.append((f"block{i}", partial(Block, width, after)))
        width = after
    return [*named, ("head", lambda: Head(width, model.classes))]


class Stem(nn.Module):
    """From colours to channels."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(model.channels, model.width, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(GROUPS, model.width)

    def forward(self, images: Tensor) -> Tensor:
        """From (n, channels, height, width) to (n, width of the network, height, width)."""
        return silu(self.norm(self.convolution(images)))


class Block(nn.Module):
    """Two convolutions beside a shortcut; where the channels double, the image halves."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        stride = after // before
        self.first = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.first_norm = nn.GroupNorm(GROUPS, after)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.second_norm = nn.GroupNorm(GROUPS, after)
        self.shortcut = nn.Conv2d(before, after, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Add the output of the convolutions to the shortcut."""
        inner = silu(self.first_norm(self.first(images)))
        return silu(self.second_norm(self.second(inner)) + self.shortcut(images))


class Head(nn.Module):
    """Scores each class from the mean of each channel."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.classes = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """From channels to scores."""
        return self.classes(images.mean((2, 3)))


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the class, in nats."""
    return cross_entropy(outputs, targets)


def answer(predict: Callable[..., Tensor], images: Tensor) -> Tensor:
    """Return the most likely class of each image."""
    return predict(images).argmax(-1)
