"""What a policy sees of a problem: the same in all units, and every label that a feasible plan may have."""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import Draw, objective_of
from hypothesis import given
from strategies import problems

import stageplan as sp
from stageplan import _core

Genes = npt.NDArray[np.int8]


def genes(*labels: int) -> Genes:
    return np.array(labels, dtype=np.int8)


def arrays(rng: np.random.Generator, n_layers: int = 6, n_types: int = 3) -> dict[str, Any]:
    return {
        "compute": rng.lognormal(0, 0.8, (n_layers, n_types)),
        "price": rng.lognormal(0, 0.5, n_types),
        "send": rng.lognormal(-2, 0.5, (n_layers, n_types)),
        "compute_parallel": 0.95,
        "memory": rng.lognormal(0, 0.5, n_layers),
        "limit": [9.0, 5.0, np.inf][:n_types],
        "capacity": [8.0, np.inf, np.inf][:n_types],
        "min_throughput": 1.0,
    }


def priors(problem: sp.Problem, scheme: Genes) -> list[npt.NDArray[np.float32]]:
    """Prior logits at each layer of an episode that chooses this scheme."""
    features = _core.Features(problem.core)
    return [features.observe(scheme[:layer])[1] for layer in range(problem.n_layers)]


def canonical(problem: sp.Problem, scheme: Genes) -> bool:
    """Whether of a type's two labels the second one stands behind the first one alone."""
    if problem.n_labels == problem.n_types:
        return True
    before = np.concatenate([[-1], scheme[:-1]])
    return bool(((scheme % 2 == 0) | (scheme == before) | (scheme == before + 1)).all())


def test_nothing_that_is_feasible_is_left_out(draw: Draw) -> None:
    rng, kept, left_out = np.random.default_rng(31), 0, 0
    for _ in range(150):
        problem, _ = draw(rng, max_layers=5, max_types=3, merge="adjacent")
        if problem.n_labels**problem.n_layers > 300:
            continue
        for labels in itertools.product(range(problem.n_labels), repeat=problem.n_layers):
            scheme = genes(*labels)
            allowed = [np.isfinite(p[k]) for p, k in zip(priors(problem, scheme), labels, strict=True)]
            if canonical(problem, scheme) and sp.Plan.of(problem, scheme).feasible:
                assert all(allowed), (problem, scheme)
                kept += 1
            left_out += not all(allowed)
    assert kept > 200
    assert left_out > 2000


@given(arguments=problems())
def test_features_are_small_and_at_least_one_label_is_allowed(arguments: dict[str, Any]) -> None:
    problem = sp.Problem.from_arrays(**arguments)
    features = _core.Features(problem.core)
    assert np.abs(features.layers).max() <= 4
    scheme: list[int] = []
    for layer in range(problem.n_layers):
        own, prior = features.observe(genes(*scheme))
        assert np.abs(own).max() <= 4
        assert not np.isnan(prior).any()
        scheme.append(int(prior.argmax()))
        assert np.isfinite(prior[scheme[-1]])
        can = np.isfinite(problem.compute[layer, problem.label_types])
        assert can[scheme[-1]] or not can.any()


@pytest.mark.parametrize("split", [False, True])
def test_units_do_not_matter(split: bool) -> None:
    """Milliseconds, cents and kilobytes look like seconds, dollars and bytes."""
    given = arrays(np.random.default_rng(5)) | {"split": split}
    other = given | {
        "compute": given["compute"] * 1024,
        "send": given["send"] * 1024,
        "min_throughput": given["min_throughput"] / 1024,
        "price": given["price"] * 128,
        "memory": given["memory"] * 1e-3,
        "capacity": [c * 1e-3 for c in given["capacity"]],
    }
    one, two = (_core.Features(sp.Problem.from_arrays(**x).core) for x in (given, other))
    np.testing.assert_allclose(one.layers, two.layers, rtol=1e-5, atol=1e-6)
    for a, b in zip(one.observe(genes(0, 2, 2)), two.observe(genes(0, 2, 2)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_remaining_devices_of_each_type() -> None:
    """A fraction of the limit, which the stages that are closed have used."""
    problem = sp.Problem.from_arrays(
        [[2.0, 9.0]] * 4, [1.0, 1.0], limit=[8, 3], compute_parallel=1.0, min_throughput=1.0
    )
    features = _core.Features(problem.core)
    for labels, left in (((), [1, 1]), ((0, 0), [1, 1]), ((0, 0, 1), [0.5, 1])):
        np.testing.assert_allclose(features.observe(genes(*labels))[0][:2], left)
    assert np.isneginf(features.observe(genes(0))[1][1])  # 9 devices, and only 3 may be used


def test_kinds_are_seen() -> None:
    layers = tuple(sp.Layer(name=str(i), kind=kind, compute={"a": 1.0}) for i, kind in enumerate("xyx"))
    problem = sp.Problem(
        sp.Workload(name="w", layers=layers),
        sp.Cluster(name="c", types=(sp.DeviceType(name="a", price=1.0),)),
    )
    assert problem.layer_kinds == ("x", "y", "x")
    seen = _core.Features(problem.core).layers[:, 4:12]
    assert (np.abs(seen) == 1).all()
    assert (seen[0] == seen[2]).all()
    assert (seen[0] != seen[1]).any()
    assert not _core.Features(problem.replace(layer_kinds=("",) * 3).core).layers[:, 4:12].any()


def test_wrong_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="layer_kinds has 1 texts; it must have 2"):
        sp.Problem.from_arrays([[1.0], [1.0]], [1.0]).replace(layer_kinds=("x",))


@pytest.mark.parametrize("objective", ["cost", "throughput", "price"])
def test_reward_ranks_as_plans_do(draw: Draw, objective: str) -> None:
    rng, feasible = np.random.default_rng(33), 0
    for _ in range(40):
        problem, _ = draw(rng, objective=objective)
        features = _core.Features(problem.core)
        plans = [sp.Plan.of(problem, rng.integers(0, problem.n_labels, problem.n_layers)) for _ in range(20)]
        order = sorted(plans, key=lambda p: (p.violation, objective_of(p)))
        rewards = [features.reward(p.cost, p.time, p.violation, p.price) for p in order]
        assert all(a >= b for a, b in itertools.pairwise(rewards))
        feasible += sum(p.feasible for p in plans)
    assert 50 < feasible < 750


def test_reward_is_a_logarithm() -> None:
    problem = sp.Problem.from_arrays(**arrays(np.random.default_rng(2)) | {"limit": None, "capacity": None})
    features = _core.Features(problem.core)
    homogeneous = [sp.Plan.of(problem, np.full(problem.n_layers, label)).cost for label in range(3)]
    assert features.reward(min(homogeneous), 1.0, 0.0, 1.0) == pytest.approx(0, abs=1e-12)
    assert features.reward(min(homogeneous) / np.e, 1.0, 0.0, 1.0) == pytest.approx(1, rel=1e-12)
    assert features.reward(1.0, 1.0, 1.0, 1.0) < features.reward(1e300, 1.0, 0.0, 1.0)


def test_nothing_to_look_at_after_the_last_layer() -> None:
    features = _core.Features(sp.Problem.from_arrays([[1.0]], [1.0]).core)
    with pytest.raises(ValueError, match="labels has one for every layer; none is left to look at"):
        features.observe(genes(0))
    with pytest.raises(ValueError, match=r"labels\[0, 0\] is 1; it must be a label from 0 to 0"):
        features.observe(genes(1))
