"""Other numbers of groups of the sequences that are decoded, against workloads that have them."""

import math

import numpy as np
import pytest
from test_serving import TYPES, decoder

import stageplan as sp
from stageplan.groups import with_groups

CLUSTER = sp.Cluster(name="c", types=TYPES)


def of_batch(batch):
    """Layers whose step takes 1 second, and 0.5 for each sequence; the last runs on type a alone."""
    step = 1 + 0.5 * batch
    workload = decoder([step, step, step], batch=batch, concurrency=12)
    fields = {"compute_parallel": 0.5 * batch / step}
    layers = [
        sp.Layer(name=x.name, compute=x.compute, memory=1.0, sharded=12.0, **fields) for x in workload.layers
    ]
    layers[-1] = sp.Layer(name="l2", compute={"a": step, "b": None}, **fields)
    return sp.Problem(
        sp.Workload(name="net", layers=layers, batch=batch, mode="decode", context=50, concurrency=12),
        CLUSTER,
    )


@pytest.mark.parametrize("batch", [1, 3, 4, 12])
def test_groups_are_those_of_a_profile_with_their_batch(batch):
    expected = of_batch(batch)
    for other in (12, 6, 1):
        found = with_groups(of_batch(other), 12 // batch)
        assert np.allclose(found.compute, expected.compute, rtol=1e-12)
        assert math.isinf(found.compute[2, 1])
        assert np.allclose(found.compute_parallel, expected.compute_parallel, rtol=1e-12)
        assert found.goal.max_stages == expected.goal.max_stages == 12 // batch
        assert found.conditions == expected.conditions


def test_more_groups_are_suggested_where_they_are_enough():
    """Three layers fit into the memory of three devices, one a stage, and not of one."""
    layers = [sp.Layer(name=f"l{i}", compute={"a": 4.0}, compute_parallel=0.5, memory=60.0) for i in range(3)]
    fields = {"mode": "decode", "context": 50, "concurrency": 12, "batch": 12}
    problem = sp.Problem(
        sp.Workload(name="net", layers=layers, **fields),
        sp.Cluster(name="c", types=[sp.DeviceType(name="a", price=1.0, limit=3, capacity=100.0)]),
        sp.Goal(split=True),
    )
    assert str(problem).endswith(", at most 1 stage")
    repaired = sp.repair(problem)
    (suggestion,) = [each for each in repaired.suggestions if not each.physical]
    assert str(suggestion) == (
        "sequences of a step: 4 instead of 12 (a smaller change may be sufficient; with more stages, of a "
        "profile with --batch 4)"
    )
    assert len(suggestion.plan.stages) == 3
    assert suggestion.plan.problem.conditions.batch == 4
