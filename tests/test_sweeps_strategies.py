"""Workloads of which only some strategies are allowed."""

import pytest

import stageplan as sp
from stageplan.sweeps.strategies import with_strategies

LAYER = sp.Layer(
    name="a",
    compute={"t": 1.0, "t/tp2": 0.6, "u/recompute": 2.0},
    backward={"t": 0.6, "t/tp2": 0.3, "u/recompute": 1.0},
    memory={"t": 2.0, "t/tp2": 1.0, "u": 3.0},
)
NET = sp.Workload(name="net", layers=[LAYER])


@pytest.mark.parametrize(
    ("strategies", "kept"),
    [([""], ["t"]), (["", "tp2"], ["t", "t/tp2"]), (["recompute", "tp2"], ["t/tp2", "u/recompute"])],
)
def test_times_of_other_strategies_are_removed(strategies, kept):
    (layer,) = with_strategies(NET, strategies).layers
    assert list(layer.compute) == list(layer.backward) == kept
    assert layer.memory == LAYER.memory


def test_a_layer_must_have_one_of_them():
    with pytest.raises(ValueError, match="compute"):
        with_strategies(NET, ["tp8"])
