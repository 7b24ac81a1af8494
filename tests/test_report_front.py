"""Cost against throughput, with its bound."""

from itertools import pairwise

import numpy as np
import report_samples as samples

import stageplan as sp
from stageplan.report import front as fronts
from stageplan.report.subject import front_document


def document():
    return front_document(sp.pareto(samples.plain(), points=4).to_dict())


def at(corners, x):
    """Value of a line of steps just below a place."""
    return next(value for (a, value), (b, _) in pairwise(corners) if a < x <= b)


def test_the_line_is_the_cheapest_known_plan_and_the_bound_is_below_every_plan():
    front = document()
    points = fronts.values_of(front)
    upper, lower = fronts.costs_by_throughput(points), fronts.bounds_by_throughput(points)
    problem = samples.plain()
    for throughput in np.linspace(points[0].throughput, points[-1].throughput, 9)[1:].tolist():
        cost = sp.solve(problem.replace(min_throughput=throughput), "exact").plan.cost
        assert at(lower, throughput) <= cost * (1 + 1e-9)
        assert cost <= at(upper, throughput) * (1 + 1e-9)


def test_numbers_are_those_of_the_points():
    front = document()
    rows = fronts.rows(front)
    assert [row[2] for row in rows] == [f"${point.plan.cost:,.2f}" for point in front.points]
    assert {row[-1] for row in rows} == {"proven"}


def test_a_front_without_points_has_no_picture():
    empty = front_document(sp.pareto(samples.plain(max_cost=1e-3)).to_dict())
    assert fronts.picture_of(empty) is None
