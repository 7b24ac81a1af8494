"""Architectures that runtimes run in pipelines, and those that they do not."""

import pytest
from writers import language_model, plan_of

import stageplan as sp


def export_of(architecture, to, stages=2):
    workload = language_model(6, architecture=architecture)
    return sp.export(plan_of(workload, [0] * 3 + [stages - 1] * 6), to)


@pytest.mark.parametrize("to", ["vllm", "sglang"])
def test_architectures_with_pipelines(to):
    assert export_of("LlamaForCausalLM", to).value == "2,4"
    assert export_of("", to).value == "2,4"


@pytest.mark.parametrize(
    ("to", "architecture", "sentence"),
    [
        ("vllm", "BertModel", r"vllm cannot run this plan: vLLM [\d.]+ has no pipelines for BertModel"),
        ("vllm", "Mamba2ForCausalLM", r"vLLM [\d.]+ has no pipelines for Mamba2ForCausalLM"),
        ("vllm", "BertForPreTraining", r"vLLM [\d.]+ has no class for BertForPreTraining \(without"),
        ("sglang", "GPT2LMHeadModel", r"SGLang [\d.]+ has no pipelines for GPT2LMHeadModel"),
        ("megatron", "Mamba2ForCausalLM", r"blocks of Mamba2ForCausalLM are not all transformer layers"),
        ("megatron", "JambaForCausalLM", r"blocks of JambaForCausalLM are not all transformer layers"),
    ],
)
def test_other_architectures_are_refused(to, architecture, sentence):
    with pytest.raises(ValueError, match=sentence):
        export_of(architecture, to)


@pytest.mark.parametrize("to", ["vllm", "sglang"])
def test_one_stage_needs_no_pipelines(to):
    assert export_of("BertModel", to, stages=1).value == "6"


def test_megatron_runs_transformers():
    assert export_of("LlamaForCausalLM", "megatron").value == "Et*2|t*4L"


def test_an_architecture_is_read_from_a_plan_file(tmp_path):
    workload = language_model(6, architecture="BertModel", mode="inference", precision="bf16", sequence=64)
    plan = plan_of(workload, [0] * 3 + [1] * 6)
    assert plan.to_dict()["conditions"] == {
        "architecture": "BertModel",
        "mode": "inference",
        "precision": "bf16",
        "batch": 1.0,
        "sequence": 64,
        "optimizer": "",
        "zero": None,
        "context": None,
        "concurrency": None,
        "kv_cache": None,
    }
