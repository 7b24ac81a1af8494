"""Paddle's pipelines: the function in the text, on a stand-in of Paddle that segments by Paddle's rules."""

import sys
from itertools import pairwise
from types import ModuleType

import pytest
from writers import language_model, plan_of

import stageplan as sp


class SharedLayerDesc:
    def __init__(self, key):
        self.layer_name = key


class PipelineLayer:
    def __init__(self, layers, num_stages, seg_method, **arguments):
        assert seg_method[0] == 0
        assert all(isinstance(part, int) and 0 <= part <= len(layers) for part in seg_method)
        assert len(seg_method) == num_stages + 1
        self.segments = [layers[a:b] for a, b in pairwise(seg_method)]
        self.arguments = arguments


@pytest.fixture
def planned(monkeypatch):
    """Run the text of a plan's export; returns its function."""
    name = "paddle.distributed.fleet.meta_parallel"
    module = ModuleType(name)
    module.PipelineLayer, module.SharedLayerDesc = PipelineLayer, SharedLayerDesc
    monkeypatch.setitem(sys.modules, name, module)

    def planned(plan):
        namespace = {}
        exec(sp.export(plan, "paddle").text, namespace)
        return namespace["planned_pipeline"]

    return planned


def test_the_function_splits_by_the_plan(planned):
    pipeline = planned(plan_of(language_model(6), [0] * 3 + [1] * 2 + [0] * 4))(iter(range(9)), loss_fn=len)
    assert pipeline.segments == [[0, 1, 2], [3, 4], [5, 6, 7, 8]]
    assert pipeline.arguments == {"loss_fn": len}


def test_other_layers_and_layers_that_are_not_shared_are_refused(planned):
    pipeline = planned(plan_of(language_model(2, tied=True), [0, 0, 1, 1, 1]))
    shared = SharedLayerDesc("embedding")
    assert pipeline([shared, 1, 2, 3, shared]).segments == [[shared, 1], [2, 3, shared]]
    with pytest.raises(ValueError, match="there are 4 layers; the plan has 5"):
        pipeline([shared, 1, 2, shared])
    with pytest.raises(
        ValueError, match=r"layers \[0, 4\] share weights; they must be SharedLayerDescs of one key"
    ):
        pipeline([shared, 1, 2, 3, SharedLayerDesc("other")])


@pytest.mark.parametrize(("layers", "counts"), [(12, (4, 4, 4)), (13, (4, 4, 5)), (14, (4, 5, 5))])
def test_the_default_is_uniform_with_the_rest_on_the_last_stages(layers, counts):
    plan = plan_of(language_model(layers - 3), [0] * 2 + [1] * 2 + [0] * (layers - 4))
    assert sp.export(plan, "paddle").comparison.default_layers == counts
