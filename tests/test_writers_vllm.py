"""vLLM's partitions, read back by its rules."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from writers import language_model, plan_of

import stageplan as sp
from stageplan.output import to_json
from stageplan.plan_file import read_plan
from stageplan.writers import write
from stageplan.writers.partition import Partition


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


# Served -------------------------------------------------------------------------------------------------


def served_model(blocks=4, seconds=(1e-3, 2e-3), sizes=None, **fields):
    """Six sequences of 80 tokens, of which each block has 10 bytes a token, by three in a step."""
    model = language_model(blocks, seconds=seconds, memory=100.0)
    sizes = sizes or [4800.0] * blocks
    layers = [
        replace(layer, sharded=sizes[i - 1] if layer.kind == "block" else 0.0)
        for i, layer in enumerate(model.layers)
    ]
    fields = {"mode": "decode", "context": 80, "concurrency": 6, "batch": 3, "precision": "bf16"} | fields
    return replace(model, layers=tuple(layers), **fields)


def test_flags_and_the_pool_of_a_model_that_is_served():
    """On b, 30,000 - 3 x 100 bytes are left for 10 bytes a token: 185 whole blocks of 16 tokens."""
    plan = plan_of(served_model(), [0] * 4 + [1] * 3, capacity={"a": 1e6, "b": 30_000.0})
    exported = sp.export(plan, "vllm")
    assert exported.text == (
        "export VLLM_PP_LAYER_PARTITION=3,1\n# vllm serve MODEL --pipeline-parallel-size 2 "
        "--max-model-len 80 --max-num-seqs 6 --gpu-memory-utilization 0.9 --dtype bfloat16\n"
    )
    assert exported.note == (
        "the pool of keys and values has 185 blocks of 16 tokens, as stage 1 on b has memory for: 37 "
        "sequences of 80 tokens (stages: 416.5, 37.12)"
    )


def test_each_replica_has_its_part_of_the_sequences():
    plan = plan_of(served_model(), [0] * 7, counts=(2, 2), capacity={"a": 20_000.0, "b": 1.0})
    assert [stage.replicas for stage in plan.stages] == [2]
    exported = sp.export(plan, "vllm")
    assert " --data-parallel-size 2 --max-model-len 80 --max-num-seqs 3 " in exported.text
    assert exported.note.startswith("the pool of keys and values of each replica has 30 blocks of 16 tokens")
    assert exported.note.endswith("6 sequences of 80 tokens (stages: 6.031)")


def test_the_precision_of_the_cache():
    flags = {None: "", "bf16": "", "fp8": " --kv-cache-dtype fp8", "fp16": " --kv-cache-dtype float16"}
    for cache, flag in flags.items():
        exported = sp.export(plan_of(served_model(kv_cache=cache), [0] * 7), "vllm")
        assert exported.text.endswith(f" --dtype bfloat16{flag}\n")
        assert exported.note == ""  # memory has no limit
    with pytest.raises(ValueError, match="it is planned for a cache of 'int4'; the runtime has one of the"):
        sp.export(plan_of(served_model(kv_cache="int4"), [0] * 7), "vllm")


def test_the_pool_is_in_a_plan_file(tmp_path):
    plan = plan_of(served_model(), [0] * 4 + [1] * 3, capacity={"a": 1e6, "b": 30_000.0})
    (tmp_path / "plan.json").write_bytes(to_json(plan.to_dict()))
    saved = write(Partition.of_saved(read_plan(tmp_path / "plan.json")), "vllm")
    exported = sp.export(plan, "vllm")
    assert (saved.text, saved.note) == (exported.text, exported.note)
    free = plan_of(served_model(), [0] * 7)
    (tmp_path / "plan.json").write_bytes(to_json(free.to_dict()))
    assert Partition.of_saved(read_plan(tmp_path / "plan.json")).room == (math.inf,)


@given(st.data())
def test_blocks_move_where_the_least_room_grows(data):
    """Against all cuts: no other one has more room, and stages that are no slower than the plan's slowest."""
    blocks = data.draw(st.integers(3, 7))
    sizes = [600.0 * data.draw(st.integers(1, 9)) for _ in range(blocks)]
    seconds = data.draw(st.sampled_from([(1e-3, 1e-3), (1e-3, 2e-3)]))
    model = served_model(blocks, seconds, sizes)
    capacity = {"a": data.draw(st.floats(1e4, 6e4)), "b": data.draw(st.floats(1e4, 6e4))}
    plans = [
        plan_of(model, [0] * (cut + 1) + [1] * (blocks + 2 - cut), capacity=capacity)
        for cut in range(1, blocks)
    ]
    plan = data.draw(st.sampled_from(plans))
    if not plan.feasible:
        return
    exported = sp.export(plan, "vllm")
    allowed = [each for each in plans if each.feasible and each.time <= plan.time]
    best = max(each.serving().sequences for each in allowed)
    cut = int(exported.value.partition(",")[0])
    assert plans[cut - 1] in allowed
    assert plans[cut - 1].serving().sequences == best
    moved = best > plan.serving().sequences
    assert (plans[cut - 1] != plan) == moved == exported.note.startswith("stages have ")


def test_blocks_of_three_stages_move():
    model = served_model(8, seconds=(1e-3, 1e-3), concurrency=9)
    plan = plan_of(model, [0] * 5 + [1] * 2 + [0] * 4, capacity={"a": 24_000.0, "b": 24_000.0})
    exported = sp.export(plan, "vllm")
    assert exported.value == "3,3,2"
    assert exported.note.startswith(
        "stages have 3, 3, 2 blocks instead of the plan's 4, 2, 2: the one with the least memory for keys "
        "and values has room for "
    )
