"""Megatron's layouts, read back by the rules of its guide."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from writers import language_model, plan_of

import stageplan as sp


def parse(layout):
    """Stages of a layout: repetitions unrolled, groups first, commas without meaning, | between stages."""
    layout = layout.replace(",", "")
    layout = re.sub(r"\(([^)]*)\)\*(\d+)", lambda m: m[1] * int(m[2]), layout)
    layout = re.sub(r"(.)\*(\d+)", lambda m: m[1] * int(m[2]), layout)
    stages = layout.split("|")
    whole = "".join(stages)
    assert set(whole) <= set("EtmL")
    assert (whole[0], whole[-1], whole.count("E"), whole.count("L")) == ("E", "L", 1, 1)
    return stages


def test_the_rules_read_the_example_of_the_guide():
    stages = parse("Et*3|(tt|)*29,m|L")
    assert len(stages) == 32
    assert stages[:2] == ["Ettt", "tt"]
    assert stages[-2:] == ["m", "L"]


@given(st.integers(1, 40), st.data())
def test_layouts_mean_the_plan(blocks, data):
    cut = data.draw(st.integers(1, blocks + 1))
    plan = plan_of(language_model(blocks), [0] * cut + [1] * (blocks + 3 - cut))
    exported = sp.export(plan, "megatron")
    first, second = parse(exported.value)
    assert first == "E" + "t" * (cut - 1)
    assert second == "t" * (blocks + 1 - cut) + "L"
    assert f"--num-layers {blocks} " in exported.text
    assert "--pipeline-model-parallel-size 2 " in exported.text
    assert f'--pipeline-model-parallel-layout "{exported.value}"' in exported.text


def test_many_stages():
    plan = plan_of(language_model(24), [0] * 3 + [1] * 9 + [0] * 12 + [1] * 3, split=False)
    assert sp.export(plan, "megatron").value == "Et*2|t*9|t*12|tL"


def test_layers_that_predict_further_tokens():
    kinds = ["embedding", *["block"] * 4, "mtp", "head"]
    exported = sp.export(plan_of(language_model(4, kinds=kinds), [0] * 3 + [1] * 4), "megatron")
    assert parse(exported.value) == ["Ett", "ttmL"]
    assert "--mtp-num-layers 1 " in exported.text
    alone = sp.export(plan_of(language_model(4, kinds=kinds), [0] * 5 + [1] * 2), "megatron")
    assert parse(alone.value) == ["Etttt", "mL"]


def test_layers_after_the_blocks_stay_together():
    plan = plan_of(language_model(4), [0] * 6 + [1])
    with pytest.raises(ValueError, match="a stage begins with lm_head; the runtime keeps all embeddings in"):
        sp.export(plan, "megatron")


def test_two_embeddings_stay_together():
    workload = language_model(4, kinds=["embedding", "embedding", "block", "block", "block", "norm", "head"])
    assert sp.export(plan_of(workload, [0] * 2 + [1] * 5), "megatron").value == "E|t*3L"
    with pytest.raises(ValueError, match=r"a stage begins with layers\.0"):
        sp.export(plan_of(workload, [0] + [1] * 6), "megatron")


def test_the_runtime_keeps_embeddings_and_head_equal_and_nothing_else():
    tied = plan_of(language_model(4, tied=True), [0] * 3 + [1] * 4)
    assert "--untie" not in sp.export(tied, "megatron").text
    assert (
        "--untie-embeddings-and-output-weights"
        in sp.export(plan_of(language_model(4), [0] * 7), "megatron").text
    )
    blocks = plan_of(language_model(4, tied=("layers.0", "layers.3")), [0] * 3 + [1] * 4)
    with pytest.raises(
        ValueError, match=r"layers\.0 and layers\.3 share weights but not a stage; the runtime keeps only"
    ):
        sp.export(blocks, "megatron")


def test_the_default_is_even_or_none():
    comparison = sp.export(plan_of(language_model(8), [0] * 3 + [1] * 8), "megatron").comparison
    assert comparison.default_layers == (5, 6)
    comparison = sp.export(plan_of(language_model(7), [0] * 3 + [1] * 7), "megatron").comparison
    assert comparison.default_layers is None
    assert "none, as 7 layers are not divisible by 2" in str(comparison)
