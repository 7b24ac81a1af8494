"""Profiles without running anything: what the meta device takes, and whether it counts what is published."""

import pytest

import stageplan as sp

pytest.importorskip("transformers")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("gpt2", 124_439_808),
        ("resnet-50", 25_557_032),
        ("llama-2-7b", 6_738_415_616),
        ("mixtral-8x7b", 46_702_792_704),
    ],
)
def test_estimate(benchmark, name, parameters):
    workload = benchmark(sp.profile, f"hf:{name}", devices=["a100-80g"], precision="bf16")
    assert sum(layer.parameters for layer in workload.layers) == 2 * parameters
