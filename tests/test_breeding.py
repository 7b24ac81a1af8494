"""Breeding beside the same written for reading; the same on every instruction set is in test_scorer.py."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from stageplan import _core

Schemes = npt.NDArray[np.int8]

WORD = 2**64 - 1
STEP = 0x9E3779B97F4A7C15


def mix(x: int) -> int:
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & WORD
    x = (x ^ x >> 27) * 0x94D049BB133111EB & WORD
    return x ^ x >> 31


def draws(generation: int, child: int) -> list[int]:
    key = mix(generation)  # seed and island are 0, and so is mix(0)
    return [mix(key + (4 * child + j + 1) * STEP & WORD) for j in range(4)]


def bits(draw: int, shift: int, bound: int) -> int:
    return (draw >> shift & 0xFFFF) * bound >> 16


def winner(fitness: npt.NDArray[np.float64], draw: int) -> int:
    a, b = (half * len(fitness) >> 32 for half in (draw >> 32, draw & 0xFFFFFFFF))
    return b if fitness[b] < fitness[a] else a


def shift_edge(scheme: list[int], draw: int) -> None:
    """Give up to four layers at the edge of a stage to the stage beside it."""
    edges = [i for i in range(1, len(scheme)) if scheme[i] != scheme[i - 1]]
    if not edges:
        return
    start = 1 + bits(draw, 0, len(scheme) - 1)
    at = min(edges, key=lambda edge: (edge < start, edge))
    length = 1 + (draw >> 32 & 3) * (draw >> 34 & 3) // 3
    if draw >> 47 & 1:
        moved, label = range(max(0, at - length), at), scheme[at]
    else:
        moved, label = range(at, min(len(scheme), at + length)), scheme[at - 1]
    for i in moved:
        scheme[i] = label


def overwrite(scheme: list[int], draw: int, one: bool, labels: int) -> None:
    first = bits(draw, 0, len(scheme))
    length = 1 if one else 1 + bits(draw, 16, len(scheme) - first)
    scheme[first : first + length] = [bits(draw, 32, labels)] * length


def child(parents: Schemes, fitness: Any, labels: int, generation: int, number: int) -> list[int]:
    layers = parents.shape[1]
    first, second, *changes = draws(generation, number)
    scheme = parents[winner(fitness, first)].tolist()
    mutations = 2
    if layers > 1 and number % 5:
        cut = 1 + bits(changes[0], 48, layers - 1)
        scheme[cut:] = parents[winner(fitness, second)].tolist()[cut:]
        mutations = (number % 4 + 1) // 2
    for m, draw in enumerate(changes[:mutations]):
        kind = number // 4 + m
        if kind % 2:
            shift_edge(scheme, draw)
        else:
            overwrite(scheme, draw, kind % 4 == 0, labels)
    return scheme


@pytest.mark.parametrize("labels", [1, 3, 128])
@pytest.mark.parametrize("layers", [1, 2, 3, 7, 63, 64, 65, 200])
def test_children(layers: int, labels: int) -> None:
    random = np.random.default_rng(layers)
    stage = random.integers(0, labels, (50, 1 + layers // 5), dtype=np.int8)
    parents = np.ascontiguousarray(np.repeat(stage, 5, axis=1)[:, :layers])
    fitness = random.random(50)
    children = _core.testing.breed(parents, fitness, labels, generation=7, first=3, count=200)
    assert children.tolist() == [child(parents, fitness, labels, 7, 3 + i) for i in range(200)]


def test_children_of_one_parent_that_cannot_change() -> None:
    parents = np.zeros((1, 9), np.int8)
    children = _core.testing.breed(parents, np.zeros(1), 1, generation=0, first=0, count=40)
    assert not children.any()


def test_the_fitter_has_more_children() -> None:
    parents = np.repeat(np.arange(2, dtype=np.int8), 64).reshape(2, 64)
    children = _core.testing.breed(parents, np.array([1.0, 2.0]), 2, generation=1, first=0, count=4000)
    assert 0.7 < np.mean(children == 0) < 0.8
