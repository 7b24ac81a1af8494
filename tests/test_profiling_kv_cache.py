"""Bytes of the cache of keys and values, against the formulas and figures of papers."""

import json

import pytest

import stageplan as sp

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from networks import Stack  # noqa: E402

from stageplan.profiling.huggingface import published  # noqa: E402
from stageplan.profiling.kv_cache import LayerCache, layer_caches  # noqa: E402

QWEN_72B = {"num_hidden_layers": 80, "hidden_size": 8192, "num_attention_heads": 64, "num_key_value_heads": 8}
DEEPSEEK_V2 = {"num_hidden_layers": 60, "kv_lora_rank": 512, "qk_rope_head_dim": 64}
FALCON_40B = {
    "num_hidden_layers": 60, "hidden_size": 8192, "num_attention_heads": 128, "num_kv_heads": 8,
    "new_decoder_architecture": True,
}  # fmt: skip
STARCODER = {"n_layer": 40, "n_embd": 6144, "n_head": 48, "multi_query": True}
GPT_OSS_20B = {"num_hidden_layers": 24}


def config_of(name, **fields):
    """Configuration of a network of models.json, or of a model type with these fields."""
    known = published()
    given = known[name]["config"] if name in known else {"model_type": name} | fields
    return transformers.AutoConfig.for_model(**given)


# Bytes of a token in bf16: 2 (key and value) x layers x heads of keys and values x size of a head x 2 bytes,
# and for latent attention layers x (latent + rotated key) x 2 bytes. DeepSeek-AI 2025 (arXiv:2505.09343,
# table 1) has 70.272 KB for DeepSeek-V3, 327.680 KB for Qwen-2.5-72B and 516.096 KB for Llama-3.1-405B.
TOKENS = [
    ("gpt2", {}, 2 * 12 * 12 * 64 * 2),
    ("gpt2-xl", {}, 2 * 48 * 25 * 64 * 2),
    ("gpt-neox-20b", {}, 2 * 44 * 64 * 96 * 2),
    ("llama-2-7b", {}, 524_288),
    ("llama-2-13b", {}, 2 * 40 * 40 * 128 * 2),
    ("llama-2-70b", {}, 2 * 80 * 8 * 128 * 2),
    ("llama-3-8b", {}, 131_072),
    ("llama-3.1-405b", {}, 516_096),
    ("mistral-7b", {}, 131_072),
    ("mixtral-8x22b", {}, 2 * 56 * 8 * 128 * 2),
    ("qwen2.5-7b", {}, 2 * 28 * 4 * 128 * 2),
    ("qwen3-30b-a3b", {}, 2 * 48 * 4 * 128 * 2),
    ("qwen2", QWEN_72B, 327_680),
    ("deepseek_v3", {}, 70_272),
    ("deepseek_v2", DEEPSEEK_V2, 60 * (512 + 64) * 2),
    ("falcon", {}, 2 * 32 * 1 * 64 * 2),
    ("falcon", FALCON_40B, 2 * 60 * 8 * 64 * 2),
    ("gpt_bigcode", STARCODER, 2 * 40 * 1 * 128 * 2),
    ("gpt_oss", GPT_OSS_20B, 2 * 24 * 8 * 64 * 2),
]


@pytest.mark.parametrize(("name", "fields", "expected"), TOKENS)
def test_bytes_of_a_token(name, fields, expected):
    caches = layer_caches(config_of(name, **fields), "bf16")
    assert sum(cache.token_bytes for cache in caches) == expected
    quantised = layer_caches(config_of(name, **fields), "fp8")
    assert sum(cache.token_bytes for cache in quantised) == expected / 2


def test_devices_divide_heads_of_keys_and_values_and_each_has_one():
    grouped = LayerCache(64.0, None, 8.0, heads=4)
    assert [grouped.divided(n)[0::2] for n in (1, 2, 4, 8)] == [(64, 8), (32, 4), (16, 2), (16, 1)]
    latent = layer_caches(config_of("deepseek_v3"), "bf16")[0]
    assert latent.divided(8).token_bytes == latent.token_bytes
    assert latent.divided(8).token_flops == latent.token_flops / 8


def test_sliding_windows_bound_the_cache():
    every = layer_caches(config_of("mistral-7b"), "bf16")
    assert every == [LayerCache(2 * 8 * 128 * 2, 4096, 4 * 32 * 128, 8)] * 32
    assert [every[0].tokens(context) for context in (100, 4096, 8192)] == [100, 4096, 4096]
    alternating = layer_caches(config_of("gpt_oss", **GPT_OSS_20B), "bf16")
    assert [cache.window for cache in alternating] == [128, None] * 12
    assert sum(cache.tokens(8192) for cache in alternating) == 12 * (128 + 8192)


def test_layers_without_a_cache_of_tokens():
    """Linear attention has a state of one size, and shared layers have the cache of earlier ones."""
    caches = layer_caches(config_of("qwen3_next"), "bf16")
    assert [cache.token_bytes for cache in caches] == [0, 0, 0, 2 * 2 * 256 * 2] * 12
    shared = layer_caches(config_of("gemma3n_text"), "bf16")
    assert [cache.token_bytes > 0 for cache in shared] == [True] * 20 + [False] * 15


def test_layers_with_heads_of_several_sizes():
    caches = layer_caches(config_of("gemma4_text"), "bf16")
    config = config_of("gemma4_text")
    sizes = {"sliding_attention": 256, "full_attention": 512}
    assert [cache.token_bytes for cache in caches] == [2 * 4 * sizes[kind] * 2 for kind in config.layer_types]


def test_what_has_no_cache_is_refused():
    for name, words in (
        ("t5-small", "type t5 is not a decoder"),
        ("resnet-50", "type resnet is not"),
    ):
        with pytest.raises(ValueError, match=words):
            layer_caches(config_of(name), "bf16")


@pytest.fixture
def tiny(tmp_path):
    fields = {"model_type": "gpt2", "n_layer": 3, "n_embd": 16, "n_head": 2, "vocab_size": 31}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    return f"hf:{tmp_path}"


def test_the_cache_of_what_is_served_is_memory_of_the_blocks(tiny):
    options = {"devices": ["a100-80g"], "mode": "inference", "sequence": 8}
    plain = sp.profile(tiny, **options)
    served = sp.profile(tiny, **options, context=100, concurrency=7, kv_cache="fp8")
    more = [a.memory - b.memory for a, b in zip(served.layers, plain.layers, strict=True)]
    assert more == [7 * 100 * 2 * 16 * (layer.kind == "block") for layer in plain.layers]
    assert served.notes == (
        "memory has the keys and values (fp8) of 7 sequences of 100 tokens, 96 bytes for each token "
        "within all windows",
    )


def test_decoding_reads_the_weights_and_the_cache(tiny):
    """A token of each of 5 sequences attends to 100 in the cache: 2 products of 16 numbers, in 3 blocks."""
    fields = {"memory": 1e9, "memory_bandwidth": 1.0, "compute_fraction": 1, "bandwidth_fraction": 1}
    bound_by_bytes = sp.Device(name="bytes", peak={"fp32": 1e18}, **fields)
    bound_by_flops = sp.Device(name="flops", peak={"fp32": 1.0}, **fields | {"memory_bandwidth": 1e18})
    options = {"devices": [bound_by_bytes, bound_by_flops], "mode": "inference", "sequence": 1, "batch": 5}
    plain, decoding = sp.profile(tiny, **options), sp.profile(tiny, **options, context=100)
    cache, flops = 5 * 100 * 2 * 16 * 4, 5 * 100 * 2 * 2 * 16
    for a, b in zip(decoding.layers, plain.layers, strict=True):
        block = b.kind == "block"
        assert a.memory - b.memory == cache * block
        assert a.compute["bytes"] - b.compute["bytes"] == pytest.approx(cache * block)
        assert a.compute["flops"] - b.compute["flops"] == pytest.approx(flops * block)
        assert b.compute["bytes"] >= b.parameters * block
    assert decoding.batch == 5
    assert "with as many times 5 sequences as it has stages" in decoding.notes[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"context": 0}, "context is 0; it must be"),
        ({"concurrency": 2}, "concurrency is 2; context must be given too, the tokens of a sequence"),
        ({"context": 8, "mode": "train"}, "context is 8; it must be absent where mode is 'train'"),
        ({"context": 8, "kv_cache": "fp4"}, "kv_cache is 'fp4'; it must be one of 'fp32', "),
        (
            {"context": 8, "measure": "cpu"},
            "context is 8; it must be absent where measure is given: no cache",
        ),
        ({"context": 8, "layers": 4}, "context is given, and 0 layers are blocks of the network's 3; layers"),
    ],
)
def test_wrong_options_are_refused(tiny, options, words):
    with pytest.raises(ValueError, match=words):
        sp.profile(tiny, **{"devices": ["a100-80g"], "mode": "inference", "sequence": 8} | options)


def test_what_generates_no_text_has_no_cache(tmp_path):
    fields = {"model_type": "bert", "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    options = {"devices": ["a100-80g"], "mode": "inference", "context": 8}
    with pytest.raises(ValueError, match="and BertForPreTraining is not a network of transformers that"):
        sp.profile(f"hf:{tmp_path}", **options)
    with pytest.raises(ValueError, match="and Stack is not a network of transformers that generates text"):
        sp.profile(Stack(), torch.rand(3, 4), **options)
