"""What identifies a problem."""

from typing import Any

import numpy as np
import pytest
from option_problems import draw_arguments

import stageplan as sp
from stageplan.digest import digest_of

COLUMNS: dict[str, Any] = {
    "compute": [[4.0, 2.0], [1.0, 0.6]],
    "price": [1.0],
    "column_type": [0, 0],
    "column_degree": [1, 2],
    "gradients": [[1.0, 0.5], [1.0, 0.5]],
    "batch": 8,
}


def test_equal_problems_have_the_same_digest() -> None:
    for seed in range(5):
        arguments = draw_arguments(np.random.default_rng(seed))
        assert digest_of(sp.Problem.from_arrays(**arguments)) == digest_of(
            sp.Problem.from_arrays(**arguments)
        )


@pytest.mark.parametrize(
    "change",
    [
        {"price": [1.5]},
        {"limit": [4]},
        {"capacity": [4.0]},
        {"link": [5.0]},
        {"network": [5.0]},
        {"column_strategy": ["plain", "tp2"]},
        {"min_throughput": 0.1},
        {"batch": 16},
        {"compute_parallel": 0.9},
        {"memory": [[1.0, 1.0], [1.0, 1.0]]},
        {"workspace": [[1.0, 1.0], [1.0, 1.0]]},
    ],
)
def test_what_a_plan_depends_on_changes_the_digest(change: dict[str, Any]) -> None:
    """Also where one array of the same numbers stands for another."""
    digests = {
        digest_of(sp.Problem.from_arrays(**COLUMNS | other)) for other in ({}, {"machine": [5.0]}, change)
    }
    assert len(digests) == 3
