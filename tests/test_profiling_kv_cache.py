"""Bytes of the cache of keys and values, against the formulas and figures of papers."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

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
    ("deepseek_v32", {}, 61 * (512 + 64 + 128) * 2),
    ("inkling_text", {}, 2 * 128 * (55 * 16 + 11 * 8) * 2),
    ("nemotron_h", {}, 2 * 8 * 128 * 2),
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
    assert every == [LayerCache(2 * 8 * 128 * 2, 4096, 4 * 32 * 128, heads=8)] * 32
    assert [every[0].tokens(context) for context in (100, 4096, 8192)] == [100, 4096, 4096]
    alternating = layer_caches(config_of("gpt_oss", **GPT_OSS_20B), "bf16")
    assert [cache.window for cache in alternating] == [128, None] * 12
    assert sum(cache.tokens(8192) for cache in alternating) == 12 * (128 + 8192)


def test_tokens_of_a_prompt_attend_to_themselves_and_their_past():
    for window in (None, 1, 3, 4, 7, 100):
        cache = LayerCache(1.0, window)
        for context in range(1, 9):
            expected = sum(min(token, window or token) for token in range(1, context + 1))
            assert cache.pairs(context) == expected


def test_latent_attention_has_one_head_for_all():
    """Two products in each head, of the latent vector and the rotated key, and of the latent vector."""
    (cache, *_) = layer_caches(config_of("deepseek_v3"), "bf16")
    assert cache == LayerCache((512 + 64) * 2, None, 2 * 128 * (512 + 64 + 512), heads=1)


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


def cached_of(name, tokens, **fields):
    """Bytes of keys and values of each layer that a network itself keeps of a token, in bf16."""
    with torch.device("meta"), torch.no_grad():
        network = transformers.AutoModelForCausalLM.from_config(
            config_of(name, **fields), dtype=torch.bfloat16
        )
        cache = network.eval()(torch.zeros(1, tokens, dtype=torch.long), use_cache=True).past_key_values
    return [2 * (layer.keys.numel() + layer.values.numel()) / tokens for layer in cache.layers]


@pytest.mark.parametrize("name", ["llama", "gpt2", "falcon", "gemma2", "mixtral", "phi3", "qwen3", "olmo2"])
def test_networks_keep_as_much(name):
    fields = {"num_hidden_layers": 2}
    caches = layer_caches(config_of(name, **fields), "bf16")
    assert [cache.token_bytes for cache in caches] == cached_of(name, 3, **fields)


def test_kinds_of_layers_without_a_known_cache_are_refused():
    with pytest.raises(ValueError, match=r"layer_types has '.*', a kind of layers whose cache is not known"):
        layer_caches(config_of("deepseek_v4"), "bf16")
    with pytest.raises(ValueError, match="n_recurrent_loops is 2; it must be 1, since caches of layers in a"):
        layer_caches(config_of("dory"), "bf16")


def test_what_has_no_cache_is_refused():
    for name, words in (
        ("t5-small", "type t5 is not a decoder"),
        ("resnet-50", "type resnet is not"),
    ):
        with pytest.raises(ValueError, match=words):
            layer_caches(config_of(name), "bf16")
