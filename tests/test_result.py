"""What a result says, and what it proves."""

import json
import pickle
from typing import Any

import numpy as np
import pytest

import stageplan as sp


def example(**fixed: Any) -> sp.Problem:
    rng = np.random.default_rng(6)
    compute, send = rng.lognormal(0, 0.8, (8, 3)), rng.lognormal(-3, 0.5, (8, 3))
    return sp.Problem.from_arrays(
        compute, [1.0, 1.4, 2.0], **{"send": send, "limit": [6, 4, 3], "min_throughput": 1.0} | fixed
    )


FORK = [(0, (1, 3), 0.0), (1, (2,), 0.0), (3, (4,), 0.0), (2, (5,), 0.0), (4, (5,), 0.0)]


@pytest.mark.parametrize(
    ("tensors", "words"),
    [(None, ""), ([(i, (i + 1,), 1.0) for i in range(5)], ""), (FORK, " over this order")],
)
def test_proof_over_one_order_of_a_graph_says_so(tensors: Any, words: str) -> None:
    """With another order of the two branches, the stages {0, 1, 2, 5} and {3, 4} would be neighbours."""
    problem = sp.Problem.from_arrays(
        [[1.0, 2.0]] * 6,
        [1.0, 1.0],
        tensors=tensors,
        objective="throughput",
        max_devices_per_stage=1,
        limit=[1, 1],
    )
    found = sp.solve(problem)
    assert found.status == f"optimal{words}"
    assert f"proven{words and words + ' of the layers'}: no plan is faster" in str(found)
    assert found.to_dict()["search"]["status"] == f"optimal{words}"
    impossible = sp.solve(problem.replace(min_throughput=10.0))
    assert impossible.status == f"infeasible{words}"
    front = sp.pareto(problem, points=2)
    assert front.status == f"optimal{words}"
    assert f"proven{words and words + ' of the layers'}: " in str(front)


MANY = 1_048_576  # devices that a stage may have by default
AT_MOST = "with at most 1,048,576 devices per stage"


@pytest.mark.parametrize(
    ("arguments", "covered", "words"),
    [
        ({"min_throughput": 1e6}, MANY, f"proven {AT_MOST}: no plan meets all limits"),
        ({"min_throughput": 1e6, "max_devices_per_stage": MANY}, None, "proven: no plan meets all limits"),
        ({"min_throughput": 1e6, "limit": [9]}, None, "proven: no plan meets all limits"),
        ({"min_throughput": 1e6, "max_price": 9.0}, None, "proven: no plan meets all limits"),
        ({"compute_parallel": 0.9, "max_cost": 1.0}, None, "proven: no plan meets all limits"),
        ({"objective": "throughput", "limit": [5e6]}, MANY, f"proven {AT_MOST}: no plan is faster than"),
        ({"objective": "throughput", "limit": [50]}, None, "proven: no plan is faster than"),
        ({}, None, "proven: no plan costs less than $1,111.11"),
    ],
)
def test_a_proof_limited_by_the_default_of_devices_per_stage_says_so(
    arguments: dict[str, Any], covered: int | None, words: str
) -> None:
    found = sp.solve(sp.Problem.from_arrays([[4.0]], [1.0], **arguments), "exact")
    assert words in str(found)
    assert found.proof_devices == found.to_dict()["search"]["proof_devices"] == covered


def test_repr_is_one_line() -> None:
    result = sp.solve(example(), "greedy", seed=3)
    assert repr(result) == f"<Result: feasible, gap {result.gap:.3g}, greedy, seed 3; {result.plan!r}>"
    nothing = sp.solve(example(max_price=1e-6), "greedy")
    assert repr(nothing).startswith(f"<Result: {nothing.status}, greedy, seed 0; <Plan of arrays: ")
    assert "\n" not in repr([result, nothing])


def test_result_as_a_value() -> None:
    result = sp.solve(example(), "greedy", seed=3)
    assert (result.seed, result.interrupted, result.version) == (3, False, sp.__version__)
    assert pickle.loads(pickle.dumps(result)) == result
    with pytest.raises(AttributeError):
        result.status = "optimal"  # type: ignore[misc]
    first, *_, proof, last = str(result).splitlines()
    assert first == str(result.plan.problem)
    assert proof.startswith(f"proven: no plan costs less than ${result.bound:,.6g}; gap ")
    assert last == f"feasible; greedy, seed 3: {result.evaluations:,} schemes scored in 1 generations"


@pytest.mark.parametrize("seed", [3, np.int64(3), 2**64 - 1])
def test_to_dict_survives_json(seed: int) -> None:
    result = sp.solve(example(), "genetic", seed=seed, stop=sp.MaxGenerations(3))
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert plain.pop("search")["history"] == [p.to_dict() for p in result.history]
    assert plain == result.plan.to_dict()
