"""What all tests share: a reproducible Hypothesis profile and random problems."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
import reference as ref
from hypothesis import HealthCheck, settings
from strategies import random_problem

import stageplan as sp

settings.register_profile(
    "tests", deadline=None, derandomize=True, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")

Pair: TypeAlias = tuple[sp.Problem, Any]
Draw: TypeAlias = Callable[..., Pair]


def _draw(rng: np.random.Generator, max_layers: int = 10, max_types: int = 4, **fixed: Any) -> Pair:
    shape = {
        "merge": str(rng.choice(["adjacent", "type"])),
        "split": bool(rng.random() < 0.5),
        "objective": str(rng.choice(["cost", "throughput"])),
        "max_devices_per_stage": int(rng.integers(1, 9)),
    }
    n_layers, n_types = int(rng.integers(1, max_layers + 1)), int(rng.integers(1, max_types + 1))
    arguments = random_problem(rng, n_layers, n_types, **shape | fixed)
    return sp.Problem.from_arrays(**arguments), ref.plain_problem(**arguments)


@pytest.fixture
def draw() -> Draw:
    """Draw a random problem of any kind, and the same for the oracle: ``draw(rng, **fixed arguments)``."""
    return _draw
