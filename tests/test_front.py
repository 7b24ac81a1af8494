"""Fronts as text and as plain values."""

import json

import pytest

import stageplan as sp


@pytest.fixture(scope="module")
def front() -> sp.Front:
    problem = sp.Problem.from_arrays(
        [[4.0, 1.0], [2.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0], limit=[4, 4], compute_parallel=0.8
    )
    return sp.pareto(problem, points=3)


def test_text_has_a_row_of_each_point_and_the_proof(front: sp.Front) -> None:
    head, columns, *_ = str(front).splitlines()
    assert head == str(front.problem)
    assert columns.split() == ["examples/s", "cost", "$/h", "devices", "stages", "gap"]
    assert str(front).endswith("3 points, 3 proven to be the cheapest at their throughput")


def test_plain_values_have_the_plans(front: sp.Front) -> None:
    plain = json.loads(json.dumps(front.to_dict(), allow_nan=False))
    assert [p["plan"]["cost"] for p in plain["points"]] == [p.plan.cost for p in front.points]
    assert plain["format"] == "stageplan front 1"


def test_repr_is_one_line(front: sp.Front) -> None:
    assert repr(front) == "<Front of arrays: 3 points of throughput against cost, optimal>"
