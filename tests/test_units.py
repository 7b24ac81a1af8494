"""Merged layers cost what the layers cost, and left out strategies are not chosen."""

from itertools import product
from typing import Any

import numpy as np
import option_problems
import pytest
import strategies
from hypothesis import example, given, settings
from hypothesis import strategies as st

import stageplan as sp
from stageplan.units import expand_scheme, keep_columns, keep_strategies, merge_layers


def draw_begins(rng: np.random.Generator, layers: int) -> list[int]:
    """Draw the first layers of runs."""
    return [0, *(b for b in range(1, layers) if rng.random() < 0.5)]


def check_merged(problem: sp.Problem, begins: list[int], scheme: Any) -> None:
    """Compare a plan of merged layers with that of all layers."""
    units = merge_layers(problem, begins)
    merged = sp.Plan.of(units, scheme)
    whole = sp.Plan.of(problem, expand_scheme(merged.scheme, begins, problem.n_layers))
    assert merged.feasible == whole.feasible
    if merged.feasible:
        objective = {"cost": "cost", "throughput": "time", "price": "price"}[problem.goal.objective]
        assert getattr(merged, objective) == pytest.approx(getattr(whole, objective), rel=1e-9)


def test_plans_of_merged_layers_are_those_of_the_layers() -> None:
    for seed in range(150):
        rng = np.random.default_rng(seed)
        problem = option_problems.draw_problem(rng, 6)
        begins = draw_begins(rng, problem.n_layers)
        check_merged(problem, begins, rng.integers(0, problem.n_labels, len(begins)))


UNSUPPORTED = {"compute": [[np.inf, 0.5]], "price": [1.0, 1.0], "compute_parallel": [[0.0, 0.0]]}


@settings(max_examples=60)
@given(strategies.problems() | strategies.option_problems(), st.integers(0, 2**32))
@example(UNSUPPORTED, 0)
def test_any_problem(arguments: strategies.Arguments, seed: int) -> None:
    problem, rng = sp.Problem.from_arrays(**arguments), np.random.default_rng(seed)
    if problem.goal.merge == "type":
        problem = problem.replace(merge="adjacent")
    begins = draw_begins(rng, problem.n_layers)
    check_merged(problem, begins, rng.integers(0, problem.n_labels, len(begins)))


def test_names_ties_and_modules_of_merged_layers() -> None:
    layers = [
        sp.Layer(name=name, kind=kind, compute={"a": 1.0}, parameters=1.0, modules=modules)
        for name, kind, modules in (("e", "embedding", ("p",)), ("x", "block", ()), ("h", "head", ("q",)))
    ]
    tensors = [sp.Tensor(producer="e", consumers=["x", "h"], bytes=8.0)]
    workload = sp.Workload(name="net", layers=layers, ties=[("e", "h"), ("e", "x")], tensors=tensors)
    cluster = sp.Cluster(name="lab", types=[sp.DeviceType(name="a", price=1.0)])
    units = merge_layers(sp.Problem(workload, cluster), [0, 2])
    assert units.layer_names == ("e", "h")
    assert units.layer_kinds == ("embedding", "head")
    assert units.layer_modules == (("p",), ("q",))
    assert units.parameters == (2.0, 1.0)
    assert (units.ties, units.tensors) == (((0, 1),), ((0, (1,), 8.0),))
    assert not units.compute.flags.writeable


def test_left_out_strategies_are_not_chosen() -> None:
    problem = sp.Problem.from_arrays(
        [[4.0, 1.0, 3.0]], [1.0, 1.0], column_type=[0, 0, 1], column_degree=[1, 2, 4], limit=[4, 4]
    )
    assert sp.Plan.of(problem, [0]).stages[0].strategy == "tp2"
    plain = keep_columns(problem, [True, False, True])
    assert plain.column_strategy == ("", "tp4")
    assert sp.Plan.of(plain, [0]).stages[0].strategy == ""
    assert sp.Plan.of(plain, [1]).feasible
    only = keep_columns(problem, [False, True, False])
    assert [sp.Plan.of(only, [t]).feasible for t in (0, 1)] == [True, False]
    kept = keep_strategies(problem, {("type0", "")})
    assert kept.column_strategy == ("", "tp4")
    assert keep_strategies(kept, {("type0", "")}) is kept
    without = sp.Problem.from_arrays([[4.0]], [1.0])
    assert keep_strategies(without, {("type0", "tp2")}) is without


def test_a_plan_among_all_schemes_of_merged_layers_is_the_best_of_such_schemes() -> None:
    problem = sp.Problem.from_arrays(
        [[1.0, 2.0], [2.0, 1.0], [1.0, 3.0], [2.0, 1.0]], [1.0, 1.0], limit=[1, 1], objective="throughput"
    )
    begins = [0, 1, 3]
    best = sp.solve(merge_layers(problem, begins)).plan
    schemes = (expand_scheme(np.array(s, np.int8), begins, 4) for s in product(range(2), repeat=3))
    assert best.time == min(p.time for p in (sp.Plan.of(problem, s) for s in schemes) if p.feasible)
