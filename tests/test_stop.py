"""When a search stops."""

import pickle
from fractions import Fraction
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from stageplan import (
    FirstFeasible,
    MaxEvaluations,
    MaxGenerations,
    MaxRuntime,
    NoImprovement,
    Problem,
    Progress,
    Stop,
    Target,
    solve,
)

PROBLEM = Problem.from_arrays([[1.0]], price=[1.0])


def progress(**fields: Any) -> Progress:
    """Make a progress that stops nothing, but for the given fields."""
    start = Progress(
        generation=0,
        evaluations=0,
        work=0,
        stagnation=0,
        runtime=0.0,
        cost=100.0,
        throughput=1.0,
        price=50.0,
        violation=0.0,
        bound=0.0,
        objective="cost",
        problem=PROBLEM,
        scheme=np.zeros(1, np.int8),
    )
    return replace(start, **fields)


@pytest.mark.parametrize(
    ("stop", "field", "before", "reached"),
    [
        (MaxGenerations(5), "generation", 4, 5),
        (MaxEvaluations(1000), "evaluations", 999, 1024),
        (MaxRuntime(0.5), "runtime", 0.49, 0.5),
        (NoImprovement(3), "stagnation", 2, 3),
        (Target(90), "cost", 90.1, 90.0),
    ],
)
def test_each_reads_its_own_field(stop: Stop, field: str, before: float, reached: float) -> None:
    assert stop(progress()) is False
    assert stop(progress(**{field: before})) is False
    assert stop(progress(**{field: reached})) is True


@pytest.mark.parametrize("stop", [MaxGenerations(0), MaxEvaluations(0), MaxRuntime(0)])
def test_nothing_is_allowed(stop: Stop) -> None:
    assert stop(progress())


def test_target_of_throughput() -> None:
    stop = Target(5)
    assert not stop(progress(objective="throughput", cost=1, throughput=4.9))
    assert stop(progress(objective="throughput", cost=1000, throughput=5.0))
    assert not stop(progress(objective="cost", cost=1000, throughput=5.0))


def test_target_of_price() -> None:
    stop = Target(5)
    assert not stop(progress(objective="price", cost=1, throughput=9, price=5.1))
    assert stop(progress(objective="price", cost=1000, throughput=1, price=5.0))


@pytest.mark.parametrize("objective", ["cost", "throughput", "price"])
def test_target_wants_a_feasible_plan(objective: str) -> None:
    good = progress(objective=objective, cost=1.0, throughput=100.0, price=1.0)
    assert Target(10)(good)
    assert not Target(10)(replace(good, violation=1e-6))


def test_the_first_feasible_plan() -> None:
    assert FirstFeasible()(progress(violation=0.0))
    assert not FirstFeasible()(progress(violation=1e-12))
    assert repr(FirstFeasible() | MaxGenerations(3)) == "FirstFeasible() | MaxGenerations(3)"


def test_either() -> None:
    stop = MaxGenerations(5) | MaxRuntime(2) | NoImprovement(3)
    assert not stop(progress(generation=4, runtime=1.9, stagnation=2))
    for field, value in (("generation", 5), ("runtime", 2.0), ("stagnation", 3)):
        assert stop(progress(**{field: value}))


def test_repr() -> None:
    stop = MaxGenerations(5) | MaxEvaluations(10) | MaxRuntime(0.5) | NoImprovement(3) | Target(2.5)
    assert repr(MaxRuntime(Fraction(1, 2)) | Target(Fraction(5, 2))) == "MaxRuntime(0.5) | Target(2.5)"
    assert repr(stop) == (
        "MaxGenerations(5) | MaxEvaluations(10) | MaxRuntime(0.5) | NoImprovement(3) | Target(2.5)"
    )


@pytest.mark.parametrize("other", [None, 5, lambda progress: True])
def test_only_stops_combine(other: Any) -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        MaxGenerations(5) | other
    with pytest.raises(TypeError, match="unsupported operand"):
        other | MaxGenerations(5)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (MaxGenerations, "generations"),
        (MaxEvaluations, "evaluations"),
        (MaxRuntime, "seconds"),
        (NoImprovement, "generations"),
        (Target, "value"),
    ],
)
@pytest.mark.parametrize(
    ("value", "error"),
    [(-1, ValueError), (nan, (ValueError, TypeError)), ("5", TypeError), (None, TypeError)],
)
def test_bad_values(make: Any, field: str, value: Any, error: Any) -> None:
    with pytest.raises(error, match=rf"^{field} is {value!r}; it must be "):
        make(value)


@pytest.mark.parametrize(
    ("make", "value"), [(NoImprovement, 0), (Target, 0), (Target, inf), (MaxRuntime, inf)]
)
def test_values_that_never_stop_or_always(make: Any, value: float) -> None:
    with pytest.raises(ValueError, match=f"is {value!r}; it must be "):
        make(value)


@pytest.mark.parametrize("make", [MaxGenerations, MaxEvaluations, NoImprovement])
def test_counts_are_whole(make: Any) -> None:
    with pytest.raises(TypeError, match=r"is 2\.5; it must be a whole number"):
        make(2.5)


@pytest.mark.parametrize(
    "stop",
    [MaxGenerations(3), MaxEvaluations(9) | MaxRuntime(2), NoImprovement(1), Target(1e9), FirstFeasible()],
    ids=repr,
)
def test_criteria_go_to_other_processes(stop: Stop) -> None:
    sent = pickle.loads(pickle.dumps(stop))
    assert (repr(sent), sent.seconds) == (repr(stop), stop.seconds)
    assert solve(PROBLEM, "genetic", stop=sent).plan == solve(PROBLEM, "genetic", stop=stop).plan
