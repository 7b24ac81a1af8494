"""What a plan has to achieve."""

import pickle
from math import inf, nan
from typing import Any

import numpy as np
import pytest

from stageplan import Goal

LIMITS = ("min_throughput", "max_duration", "max_cost", "max_price")


def test_defaults() -> None:
    goal = Goal()
    assert (goal.objective, goal.examples, goal.merge) == ("cost", 1e6, "adjacent")
    assert goal.overlap
    assert not goal.split
    assert [getattr(goal, name) for name in (*LIMITS, "max_devices_per_stage")] == [None] * 5


@pytest.mark.parametrize("name", ["examples", *LIMITS])
@pytest.mark.parametrize("value", [0, -1, nan, inf, -inf])
def test_numbers_out_of_range(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} is .*; it must be more than 0 .*finite"):
        Goal(**{name: value})


def test_a_whole_number_beyond_all_floats() -> None:
    with pytest.raises(
        ValueError, match=r"^examples is a whole number of 401 digits; it must be more than 0 and finite"
    ):
        Goal(examples=10**400)


@pytest.mark.parametrize("name", ["microbatches", "batch", "max_stages"])
@pytest.mark.parametrize("value", [0, -1, 10**400])
def test_counts_out_of_range(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"^{name} is .*; it must be a whole number from 1 to 2\*\*"):
        Goal(**{"schedule": "gpipe", "microbatches": 1, "batch": 1} | {name: value})


@pytest.mark.parametrize("name", ["examples", *LIMITS])
@pytest.mark.parametrize("value", ["1", True, [1], 1j])
def test_no_numbers(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"^{name} is .*; it must be more than 0 .*finite"):
        Goal(**{name: value})


def test_examples_must_be_given() -> None:
    with pytest.raises(TypeError, match=r"^examples is None"):
        Goal(examples=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-2, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_devices_per_stage(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^max_devices_per_stage is .*; it must be a whole number, 1 or more"):
        Goal(max_devices_per_stage=value)


@pytest.mark.parametrize(
    ("name", "value", "error", "allowed"),
    [
        ("objective", "speed", ValueError, "one of 'cost', 'throughput', 'price'"),
        ("merge", None, TypeError, "'adjacent' or 'type'"),
        ("overlap", 1, TypeError, "true or false"),
        ("split", "yes", TypeError, "true or false"),
    ],
)
def test_choices(name: str, value: Any, error: type[Exception], allowed: str) -> None:
    with pytest.raises(error, match=rf"^{name} is {value!r}; it must be {allowed}"):
        Goal(**{name: value})


def test_numbers_of_numpy_are_numbers() -> None:
    goal = Goal(examples=np.float32(8), max_cost=np.int64(3), max_devices_per_stage=np.int16(2))
    assert goal == Goal(examples=8, max_cost=3, max_devices_per_stage=2)
    assert [type(x) for x in (goal.examples, goal.max_cost, goal.max_devices_per_stage)] == [
        float,
        float,
        int,
    ]


def test_only_known_names() -> None:
    with pytest.raises(TypeError, match="throughput"):
        Goal(throughput=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        Goal("cost")  # type: ignore[misc]


def test_immutable_and_a_value() -> None:
    goal = Goal(objective="throughput", max_price=12.5, split=True)
    with pytest.raises(AttributeError):
        goal.split = False  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(goal)) == goal
    assert len({goal, Goal(objective="throughput", max_price=12.5, split=True), Goal()}) == 2


@pytest.mark.parametrize(
    ("goal", "text"),
    [
        (Goal(), "cheapest plan for 1e+06 examples"),
        (
            Goal(objective="price", min_throughput=5),
            "plan with the lowest hourly price for 1e+06 examples, at least 5 examples/s",
        ),
        (Goal(objective="throughput", max_price=2.5), "fastest plan for 1e+06 examples, at most $2.5/h"),
        (
            Goal(examples=10, min_throughput=4, max_duration=5, max_cost=6),
            "cheapest plan for 10 examples, at least 4 examples/s, at most 5 s, at most $6",
        ),
        (
            Goal(max_price=2, schedule="gpipe", microbatches=4, batch=12),
            "cheapest plan for 1e+06 examples, at most $2/h, gpipe: 4 microbatches of 3 examples",
        ),
    ],
)
def test_str(goal: Goal, text: str) -> None:
    assert str(goal) == text


def test_repr_names_what_differs_from_the_defaults() -> None:
    goal = Goal(objective="throughput", max_price=5, split=True)
    assert repr(goal) == "Goal(objective='throughput', max_price=5.0, split=True)"
    assert eval(repr(goal), {"Goal": Goal}) == goal
    assert repr(Goal()) == "Goal()"
