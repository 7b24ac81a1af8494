"""How a search came to its plan."""

import report_samples as samples

import stageplan as sp
from stageplan.report import search
from stageplan.report.subject import Subject


def history_of(result):
    return search.history_of(Subject.of(result.plan, result.to_dict()).document)


def found():
    problem = sp.Problem.from_arrays(
        [[1.0 + (7 * i + 3 * t) % 5 for t in range(4)] for i in range(24)], [1.0, 2.0, 3.0, 4.0],
        min_throughput=0.9, limit=[9] * 4,
    )  # fmt: skip
    return sp.solve(problem, "genetic", stop=sp.MaxGenerations(30), population=16)


def test_it_has_each_improvement_and_the_end():
    result = found()
    history = history_of(result)
    feasible = [(p.runtime, p.cost) for p in result.history if p.violation == 0]
    assert history.best == [*feasible, (result.runtime, result.plan.cost)]
    assert history.bounds[-1] == (result.runtime, result.bound)
    assert search.name_of(history) == "cost, $"
    assert search.picture_of(history) is not None


def test_bounds_of_nothing_are_left_out():
    result = sp.solve(samples.plain(objective="throughput"), "random", stop=sp.MaxGenerations(2))
    assert all(0 < bound < float("inf") for _, bound in history_of(result).bounds)


def test_a_search_without_a_plan_has_no_picture():
    assert search.picture_of(history_of(sp.solve(samples.plain(max_cost=0.01)))) is None


def test_a_plan_without_a_search_has_no_history():
    plan = sp.Plan.of(samples.plain(), [0, 0, 1, 1])
    document = Subject.of(plan, plan.to_dict()).document
    assert search.history_of(document) is None
    assert search.rows(document) == []
