"""DeepSpeed: the class in the text, on a stand-in; and DeepSpeed itself where it is installed."""

import subprocess
import sys
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace

import pytest
from writers import language_model, plan_of

import stageplan as sp


class LayerSpec:
    pass


class TiedLayerSpec(LayerSpec):
    def __init__(self, key):
        self.key = key


class PipelineModule:
    """Layers, stages, and a hook that sets `parts` and the bounds of a rank."""

    rank, replicas = 1, 1

    def __init__(self, layers, num_stages, partition_method="parameters"):
        self.layers, self.num_stages, self.global_rank = layers, num_stages, self.rank
        self._topo = SimpleNamespace(
            get_coord=lambda rank: SimpleNamespace(pipe=rank // self.replicas),
            get_dim={"pipe": num_stages, "data": self.replicas}.get,
            world_size=lambda: num_stages * self.replicas,
        )
        self._partition_layers(method=partition_method)

    def _set_bounds(self, start, stop):
        self.bounds = (start, stop)


@pytest.fixture
def planned(monkeypatch):
    """Run the text of a plan's export; returns its class."""
    pipe = ModuleType("deepspeed.pipe")
    pipe.PipelineModule, pipe.TiedLayerSpec = PipelineModule, TiedLayerSpec
    monkeypatch.setitem(sys.modules, "deepspeed", ModuleType("deepspeed"))
    monkeypatch.setitem(sys.modules, "deepspeed.pipe", pipe)

    def planned(plan):
        namespace = {}
        exec(sp.export(plan, "deepspeed").text, namespace)
        return namespace["PlannedPipeline"]

    return planned


def test_the_class_splits_by_the_plan(planned):
    pipeline = planned(plan_of(language_model(6), [0] * 3 + [1] * 2 + [0] * 4))(
        layers=(LayerSpec() for _ in range(9))
    )
    assert (pipeline.num_stages, pipeline.parts, pipeline.bounds) == (3, [0, 3, 5, 9], (3, 5))


def test_the_number_of_replicas_must_be_the_planned_one(planned, monkeypatch):
    pipeline = planned(plan_of(language_model(6), [0] * 6 + [1] * 3, counts=(2, 2)))
    with pytest.raises(ValueError, match="the plan needs 4 ranks, 2 for each stage"):
        pipeline(layers=[LayerSpec()] * 9)
    monkeypatch.setattr(PipelineModule, "replicas", 2)
    monkeypatch.setattr(PipelineModule, "rank", 3)
    assert pipeline(layers=[LayerSpec()] * 9).bounds == (6, 9)


def test_other_layers_are_refused(planned):
    with pytest.raises(ValueError, match="there are 8 layers; the plan has 9"):
        planned(plan_of(language_model(6), [0] * 9))(layers=[LayerSpec()] * 8)


def test_tied_layers_must_be_tied(planned):
    pipeline = planned(plan_of(language_model(2, tied=True), [0, 0, 1, 1, 1]))
    tied, between = TiedLayerSpec("embedding"), [LayerSpec()] * 3
    assert pipeline(layers=[tied, *between, TiedLayerSpec("embedding")]).parts == [0, 2, 5]
    for ends in [(tied, LayerSpec()), (tied, TiedLayerSpec("other")), (LayerSpec(), LayerSpec())]:
        with pytest.raises(
            ValueError, match=r"layers \[0, 4\] share weights; they must be TiedLayerSpecs of one key"
        ):
            pipeline(layers=[ends[0], *between, ends[1]])


def test_the_default_is_by_parameters():
    workload = language_model(6, parameters=True)
    found = sp.export(plan_of(workload, [0] * 3 + [1] * 6), "deepspeed").comparison
    assert (found.rule, found.default_layers) == ("balanced by parameters", (4, 5))
    found = sp.export(plan_of(language_model(6), [0] * 3 + [1] * 6), "deepspeed").comparison
    assert found.default_layers == (5, 4)
    assert "the plan has no parameters" in found.rule


@pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed")
def test_balanced_is_deepspeeds_algorithm():
    code = """
import random
from deepspeed.runtime.utils import partition_balanced
from stageplan.writers.defaults import balanced
random.seed(0)
for _ in range(100):
    layers = random.randint(2, 20)
    weights, stages = [random.random() for _ in range(layers)], random.randint(1, layers - 1)
    assert list(balanced(weights, stages)) == [int(bound) for bound in partition_balanced(weights, stages)]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
