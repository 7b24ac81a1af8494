"""vLLM's partitions, read back by its rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from writers import language_model, plan_of

import stageplan as sp


def spans(partition, layers, stages):
    """Read a partition: whole numbers between commas, one a stage, that add up to the layers."""
    counts = [int(count) for count in partition.split(",")]
    assert len(counts) == stages
    assert sum(counts) == layers
    return [range(sum(counts[:i]), sum(counts[: i + 1])) for i in range(stages)]


@given(st.integers(2, 40), st.data())
def test_partitions_mean_the_plan(blocks, data):
    cut = data.draw(st.integers(1, blocks - 1))
    plan = plan_of(language_model(blocks), [0] * (cut + 1) + [1] * (blocks + 2 - cut))
    exported = sp.export(plan, "vllm")
    assert spans(exported.value, blocks, 2) == [range(cut), range(cut, blocks)]
    assert exported.text.startswith(f"export VLLM_PP_LAYER_PARTITION={exported.value}\n")
    assert "--pipeline-parallel-size 2\n" in exported.text


@pytest.mark.parametrize(("cut", "name"), [(1, "layers.0"), (5, "norm"), (6, "lm_head")])
@pytest.mark.parametrize("to", ["vllm", "sglang"])
def test_cuts_outside_the_blocks(to, cut, name):
    plan = plan_of(language_model(4), [0] * cut + [1] * (7 - cut))
    with pytest.raises(
        ValueError, match=f"{to} cannot run this plan: a stage begins with {name}; the runtime keeps"
    ):
        sp.export(plan, to)


@pytest.mark.parametrize(
    ("blocks", "counts"),
    [(61, (15, 15, 16, 15)), (94, (23, 24, 24, 23)), (64, (16, 16, 16, 16)), (7, (2, 2, 2, 1))],
)
def test_the_default_has_the_rest_before_the_last_stage(blocks, counts):
    """The first two are examples of vLLM's developers."""
    scheme = [0, 0, 1, 0, *[1] * (blocks - 1)]
    found = sp.export(plan_of(language_model(blocks), scheme), "vllm").comparison.default_layers
    assert found == (counts[0] + 1, *counts[1:3], counts[3] + 2)


def test_tied_weights_are_loaded_at_both_ends():
    plan = plan_of(language_model(4, tied=True), [0] * 3 + [1] * 4)
    assert sp.export(plan, "vllm").value == "2,2"
