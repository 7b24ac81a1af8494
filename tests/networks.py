"""Small torch modules for tests, and modules that `stageplan profile tests:...` can call."""

import multiprocessing
import os
import signal
import time
from itertools import pairwise

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """A block with a residual connection, and a list in it that is not a list of blocks."""

    def __init__(self, width: int = 8, inner: int = 16) -> None:
        super().__init__()
        self.parts = nn.Sequential(nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.parts(x)


class Stack(nn.Module):
    """Stem, blocks and head, as most networks."""

    def __init__(self, inner: tuple[int, ...] = (16, 16, 16)) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 8)
        self.blocks = nn.ModuleList(Residual(8, width) for width in inner)
        self.act = nn.ReLU()
        self.norm = nn.LayerNorm(8)
        self.out = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = self.act(block(x))
        return self.out(self.norm(x))


class Skips(nn.Module):
    """Three layers, the last of which reads what both others make."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 4), nn.Linear(4, 6), nn.Linear(10, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.first(x)
        return self.third(torch.cat([a, self.second(a)], -1))


class Tied(nn.Module):
    """An embedding, and a head that has its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.head = nn.Embedding(10, 4), nn.Linear(4, 4), nn.Linear(4, 10, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.mix(self.embed(ids)))


class Borrowing(Tied):
    """The same, but nothing says so: a function reads the weights."""

    def __init__(self) -> None:
        super().__init__()
        del self.head

    def forward(self, ids: Tensor) -> Tensor:
        return nn.functional.linear(self.mix(self.embed(ids)), self.embed.weight)


class Returning(nn.Module):
    """Runs its first layer again behind its second."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.first(self.second(self.first(x)))


class Deciding(nn.Module):
    """Looks at values: at all of them, which is let pass, or at one, which is not."""

    def __init__(self, at_one: bool) -> None:
        super().__init__()
        self.at_one = at_one
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        if self.at_one and y[0, 0] > 0:
            return y
        if torch.isnan(y).any() or not (y == y).all() or not (y == y).sum() == y.numel():
            raise FloatingPointError
        torch._check_tensor_all(y == y)
        if torch.rand([]) < 0.1:  # a layer that is dropped now and then
            raise FloatingPointError
        return y


def stack() -> Stack:
    return Stack()


def stack_with_example() -> tuple[Stack, Tensor]:
    return Stack(), torch.zeros(3, 4)


def without_values() -> tuple[Stack, Tensor]:
    return Stack().to("meta"), torch.zeros(3, 4)


def nothing() -> None:
    return None


def unmakable() -> Stack:
    raise RuntimeError("no weights here")


class Uneven(nn.Module):
    """Most of its work is in its first two layers."""

    def __init__(self) -> None:
        super().__init__()
        widths = [8, 64, 8, 8, 8, 8]
        self.layers = nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(widths)))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def uneven() -> tuple[Uneven, Tensor]:
    return Uneven(), torch.rand(4, 8)


def in_a_stage() -> bool:
    """Whether this is the process of a stage."""
    return multiprocessing.parent_process() is not None


def failing() -> tuple[Uneven, Tensor]:
    if in_a_stage():
        raise RuntimeError("a stage of mine fails")
    return uneven()


def hanging() -> tuple[Uneven, Tensor]:
    time.sleep(3600 if in_a_stage() else 0)
    return uneven()


def dying() -> tuple[Uneven, Tensor]:
    if in_a_stage():
        os.kill(os.getpid(), signal.SIGKILL)
    return uneven()
