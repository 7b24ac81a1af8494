"""TensorRT-LLM's YAML, and its default partition."""

import json

import pytest
from writers import language_model, plan_of

import stageplan as sp


def parse(text):
    """Read `name: value` lines; values are JSON here."""

    pairs = (line.split(": ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: json.loads(value) for name, value in pairs}


def test_blocks_of_each_stage_and_sizes():
    exported = sp.export(plan_of(language_model(6), [0] * 3 + [1] * 6), "tensorrt-llm")
    expected = {"tensor_parallel_size": 1, "pipeline_parallel_size": 2, "pp_partition": [2, 4]}
    assert parse(exported.text) == exported.value == expected
    assert sum(expected["pp_partition"]) == 6
    assert exported.text.startswith("# trtllm-serve MODEL --config THIS_FILE")


def test_each_replica_is_a_server():
    exported = sp.export(plan_of(language_model(6), [0] * 6 + [1] * 3, counts=(2, 2)), "tensorrt-llm")
    assert exported.note == "start it 2 times, each on the ranks of one replica"
    assert [(rank.stage, rank.replica) for rank in exported.ranks] == [(0, 0), (1, 0), (0, 1), (1, 1)]


def test_the_first_stages_have_one_more_by_default():
    exported = sp.export(plan_of(language_model(7), [0] * 3 + [1] * 3 + [0] * 4), "tensorrt-llm")
    assert exported.comparison.default_layers == (4, 2, 4)  # blocks: 3, 2, 2


def test_stages_begin_at_blocks():
    with pytest.raises(ValueError, match=r"a stage begins with norm; the runtime keeps embeddings in the"):
        sp.export(plan_of(language_model(4), [0] * 5 + [1] * 2), "tensorrt-llm")
