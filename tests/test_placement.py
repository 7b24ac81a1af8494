"""Placements: loads that are kept up to date move by move equal those that are added up from nothing."""

from typing import Any

import numpy as np
import pytest
import reference as ref
from hypothesis import given
from hypothesis import strategies as st
from strategies import problems, schemes

import stageplan as sp
from stageplan import _core


@st.composite
def walks(draw: st.DrawFn) -> tuple[sp.Problem, Any, list[int], list[tuple[list[tuple[int, int]], bool]]]:
    """Draw a problem by type, a scheme, and batches of moves, each kept or taken back."""
    arguments = draw(problems(max_layers=7))
    arguments["merge"] = "type"
    arguments.pop("workspace", None)
    if arguments["split"]:  # a label a device
        limit = arguments["limit"] or [3.0] * len(arguments["price"])
        arguments["limit"] = [min(number, 3.0) for number in limit]
    problem = sp.Problem.from_arrays(**arguments)
    move = st.tuples(st.integers(0, problem.n_layers - 1), st.integers(0, problem.n_labels - 1))
    batches = draw(st.lists(st.tuples(st.lists(move, min_size=1, max_size=4), st.booleans()), max_size=12))
    scheme = draw(schemes(problem.n_labels, problem.n_layers))
    return problem, ref.plain_problem(**arguments), scheme, batches


def loads(placement: _core.testing.Placement, problem: sp.Problem) -> list[tuple[float, ...]]:
    return [placement.load_of(label) for label in range(problem.n_labels)]


def expected_loads(oracle: Any, scheme: list[int]) -> list[tuple[float, ...]]:
    by_label = {stage.label: ref.load(oracle, scheme, stage) for stage in ref.stages(oracle, scheme)}
    return [tuple(by_label.get(label, (0.0,) * 6)) for label in range(oracle.n_labels)]


@given(walks())
def test_loads_after_moves(walk: Any) -> None:
    problem, oracle, scheme, batches = walk
    placement = _core.testing.Placement(problem.core, np.array(scheme, np.int8))
    for moves, kept in batches:
        before, changed = loads(placement, problem), list(scheme)
        for layer, label in moves:
            placement.move(layer, label)
            changed[layer] = label
        assert placement.scheme.tolist() == changed
        np.testing.assert_allclose(
            loads(placement, problem), expected_loads(oracle, changed), rtol=1e-9, atol=1e-12
        )
        if kept:
            placement.keep()
            scheme = changed
        else:
            placement.undo()
            assert loads(placement, problem) == before
        assert placement.scheme.tolist() == scheme


@given(walks())
def test_scores_after_moves(walk: Any) -> None:
    """Scores of the labels that were touched, the rest as last seen, are those of the plan."""
    problem, _, scheme, batches = walk
    placement = _core.testing.Placement(problem.core, np.array(scheme, np.int8))
    energy = _core.testing.Energy(problem.core)
    energy.of(placement)
    for moves, kept in batches:
        for layer, label in moves:
            placement.move(layer, label)
        score = energy.of_touched(placement)
        plan = sp.Plan.of(problem, placement.scheme)
        assert score.violation == pytest.approx(plan.violation, rel=1e-6, abs=1e-8)
        assert (score.cost, score.time) == pytest.approx((plan.cost, plan.time), rel=1e-6)
        if kept:
            placement.keep()
        else:
            energy.undo()
            placement.undo()


def test_rounding_errors_do_not_grow_fast() -> None:
    rng = np.random.default_rng(3)
    L = 60
    tensors = [
        (a, tuple({int(b) for b in rng.integers(0, L, 3)} - {a}) or (a - 1,), rng.lognormal())
        for a in range(1, L)
    ]
    problem = sp.Problem.from_arrays(
        rng.lognormal(0, 2, (L, 2)), [1.0, 2.0], limit=[4, 3], merge="type", split=True,
        tensors=tensors, bandwidth=[1.5, 3.0], send=rng.lognormal(0, 1, (L, 2)),
    )  # fmt: skip
    placement = _core.testing.Placement(problem.core, np.zeros(L, np.int8))
    for layer, label in zip(rng.integers(0, L, 100_000), rng.integers(0, 7, 100_000), strict=True):
        placement.move(layer, label)
    fresh = _core.testing.Placement(problem.core, placement.scheme)
    np.testing.assert_allclose(loads(placement, problem), loads(fresh, problem), rtol=1e-9)


def test_a_label_without_layers_changes_no_bit() -> None:
    problem = sp.Problem.from_arrays([[0.1], [0.2], [0.3]], [1.0], limit=[2], merge="type", split=True)
    placement = _core.testing.Placement(problem.core, np.array([0, 0, 0], np.int8))
    for layer in range(3):
        placement.move(layer, 1)
    assert placement.load_of(0) == (0, 0, 0, 0, 0, 0)


def test_a_bad_gene_is_refused() -> None:
    problem = sp.Problem.from_arrays([[1.0]], [1.0], merge="type")
    with pytest.raises(ValueError, match=r"^scheme\[0, 0\] is 1; it must be a label from 0 to 0"):
        _core.testing.Placement(problem.core, np.array([1], np.int8))
