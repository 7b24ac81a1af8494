"""Kernels and threads: the same bits whatever the instruction set, the number of threads and the machine.

To renew the golden values: ``python tests/test_kernels.py``.
"""

import hashlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from math import inf
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import reference as ref

import stageplan as sp
from stageplan.score import _THREAD_GENES
from stageplan.solve import Method

# Cost, violation, evaluations, hash. Searches that choose targets by exp and exp2 have none: libraries round
# these differently.
GOLDEN = {
    "scores": "a38fc07efa24ece5",
    "threads": "ceba521e043a8d79",
    "islands": "8412.186736 0.000000 943100 289b09bbce405973",
    "random": "9984.586518 0.000000 3072 2ba4d408b2e548c7",
    "greedy": "4100.224927 0.000000 84 1e578f6c88ab8825",
    "enumerate": "3922.141219 0.000000 19683 9d92300af3ee430e",
}

LAYERS = (1, 2, 7, 16, 63, 64, 65, 100, 130, 256, 257, 300)
TYPES = (1, 2, 3, 5, 8, 9, 16, 17, 40, 64, 128)
SIZES = (1, 15, 16, 17, 63, 64, 65, 130, 393)
THREADS = (1, 2, 8)
TARGETS = (0.02, 0.3, 4.0)

# Problems and populations ------------------------------------------------------------------------------


class Numbers:
    """Random numbers made without any function that rounds its own way, so that they are everywhere the same.

    NumPy promises that of the bits of a generator, not of what it makes of them.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def below(self, bound: int, *shape: int) -> Any:
        return ((np.asarray(self._bits.random_raw(shape or None)) >> 32) * bound >> 32).astype(np.int64)

    def between(self, low: float, high: float, *shape: int) -> Any:
        return low + (high - low) * (self.below(2**31, *shape) / 2**31)

    def chance(self, one_in: int) -> bool:
        return not self.below(one_in)

    def spread(self, *shape: int) -> Any:
        """Draw between 1/6 and 6, around 1."""
        return self.between(0.2, 1.2, *shape) / self.between(0.2, 1.2, *shape)


def arguments(numbers: Numbers, layers: int, types: int) -> dict[str, Any]:
    """Draw a problem that has any of the terms of the cost model; its limits bind or not."""
    drawn: dict[str, Any] = {"compute": numbers.spread(layers, types), "price": numbers.spread(types)}
    terms = {
        "fixed_price": lambda: float(numbers.spread()),
        "overlap": lambda: False,
        "compute_parallel": lambda: numbers.between(0.8, 1.0, layers, types),
        "transfer_parallel": lambda: numbers.between(0.8, 1.0, types),
        "send": lambda: numbers.spread(layers, types) / 4,
        "receive": lambda: numbers.spread(layers, types) / 4,
        "memory": lambda: numbers.spread(layers),
        "capacity": lambda: layers * numbers.spread(types) / 2,
        "tensors": lambda: [(i, (i + 1, layers - 1), float(numbers.spread())) for i in range(layers - 2)],
        "bandwidth": lambda: 8 * numbers.spread(types),
        "split": lambda: 2 * types <= 128,
        "min_throughput": lambda: float(numbers.spread()) / 4,
        "max_cost": lambda: 1e4 * layers * float(numbers.spread()),
        "max_price": lambda: layers * float(numbers.spread()),
        "max_devices_per_stage": lambda: int(numbers.below(6)) + 1,
    }
    drawn |= {name: term() for name, term in terms.items() if numbers.chance(3)}
    most = (0, 3, 30, 300, 5000)[numbers.below(5)]  # of the limits on devices; 0: there are none
    if most:
        drawn["limit"] = numbers.below(most, types) + 1.0
    if types > 1 and numbers.chance(3):
        drawn["compute"][numbers.below(8, layers) == 0, numbers.below(types)] = inf
    return drawn


def population(numbers: Numbers, labels: int, size: int, layers: int) -> Any:
    """Draw schemes of many stages, of few, and of both in turn, a third each."""
    many = numbers.below(labels, size, layers)
    few = np.where(
        numbers.below(layers, size, layers) == 0, many, np.repeat(many[:, ::20], 20, axis=1)[:, :layers]
    )
    rare = (numbers.below(12, size) == 0)[:, None]
    third = np.arange(size)[:, None] * 3 // size
    return np.where((third == 0) | ((third == 2) & rare), many, few).astype(np.int8)


def cases() -> Any:
    """Yield arguments and schemes: all numbers of layers with all numbers of types."""
    numbers = Numbers(1)
    for layers, types in product(LAYERS, TYPES):
        if layers * layers * types <= 2**19 or numbers.chance(3):  # larger tables take long
            given = arguments(numbers, layers, types)
            labels = types * (2 if given.get("split") else 1)
            yield given, population(numbers, labels, sum(SIZES), layers)


def large() -> tuple[sp.Problem, Any]:
    """Make so many schemes that they are scored by several threads, the last block not full."""
    numbers = Numbers(2)
    given = arguments(numbers, 65, 9) | {"limit": numbers.below(30, 9) + 1.0, "split": True}
    schemes = population(numbers, 18, 3 * 4096 + 77, 65)
    assert schemes.size > _THREAD_GENES
    return sp.Problem.from_arrays(**given), schemes


def example(**fixed: Any) -> sp.Problem:
    numbers = Numbers(3)
    compute, price, send = numbers.spread(64, 8), numbers.spread(8), numbers.spread(64, 8) / 4
    return sp.Problem.from_arrays(compute, price, send=send, compute_parallel=0.97, limit=[40] * 8, **fixed)


# What every instruction set has to tell ------------------------------------------------------------------


def digest(*scores: sp.Scores) -> str:
    return hashlib.sha256(b"".join(x.tobytes() for score in scores for x in score)).hexdigest()


def scores() -> str:
    """Score everything, in parts of many sizes."""
    found = []
    for number, (given, schemes) in enumerate(cases()):
        problem = sp.Problem.from_arrays(**given)
        parts = np.split(schemes, np.cumsum(SIZES)[:-1])
        found += [sp.evaluate(problem, part, (0.02, 0.3, 4.0)[number % 3]) for part in parts]
        if number % 8 == 0:
            found.append(sp.evaluate(problem, schemes[::40].copy()))
    return digest(*found)


def told(result: sp.Result) -> list[Any]:
    """Tell what may not depend on threads and instruction sets."""
    history = repr([p._replace(runtime=0) for p in result.history]) + repr(result.plan.scheme)
    return [
        result.plan.cost,
        result.plan.violation,
        result.evaluations,
        hashlib.sha256(history.encode()).hexdigest(),
    ]


def searches(threads: int) -> dict[str, list[Any]]:
    """Search in every way; the first has three islands and passes schemes on once."""
    options: dict[str, Any] = {"stop": sp.MaxGenerations(18), "threads": threads}
    one, fixed = example(max_devices_per_stage=1), example(min_throughput=0.1)
    small = sp.Problem.from_arrays(Numbers(4).spread(9, 3), [1, 2, 3], limit=[6, 4, 3], min_throughput=0.9)
    return {
        "islands": told(sp.solve(one, population=9000, **options)),
        "islands at a target": told(sp.solve(fixed, population=9000, **options)),
        "restarts": told(sp.solve(fixed, population=16, stop=sp.MaxGenerations(60), threads=threads)),
        "random": told(sp.solve(fixed, "random", threads=threads, stop=sp.MaxGenerations(3))),
        "greedy": told(sp.solve(small, "greedy", threads=threads)),
        "enumerate": told(sp.solve(small, "enumerate", threads=threads)),
    }


def report() -> dict[str, Any]:
    problem, schemes = large()
    return {
        "scores": scores(),
        "threads": [
            [digest(*(sp.evaluate(problem, schemes, t, threads=n) for t in (0.3, None))) for n in THREADS]
        ],
        "searches": [searches(n) for n in THREADS],
    }


def in_a_process(code: str, *argv: str, instruction_set: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"STAGEPLAN_ISA": instruction_set, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.run([sys.executable, code, *argv], capture_output=True, text=True, env=environment)
