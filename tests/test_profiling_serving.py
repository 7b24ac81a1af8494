"""Prompts that are read and tokens that are decoded, against counts by hand."""

import json

import pytest

import stageplan as sp

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from networks import Stack  # noqa: E402

from stageplan.groups import with_groups  # noqa: E402

LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 3, "hidden_size": 64,
    "num_attention_heads": 8, "num_key_value_heads": 2, "intermediate_size": 96, "vocab_size": 50,
    "max_position_embeddings": 256,
}  # fmt: skip
MISTRAL = {
    "model_type": "mistral",
    "architectures": ["MistralForCausalLM"],
    "sliding_window": 16,
    "head_dim": 8,
}
MIXTRAL = {
    "model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "num_local_experts": 8,
    "num_experts_per_tok": 2, "hidden_size": 128, "intermediate_size": 512,
}  # fmt: skip
GPT_OSS = {
    "model_type": "gpt_oss", "architectures": ["GptOssForCausalLM"], "num_local_experts": 4, "head_dim": 8,
    "num_experts_per_tok": 1, "sliding_window": 16,
}  # fmt: skip
BLOCK = 2 * 64 * 64 + 2 * 64 * 16 + 3 * 64 * 96  # numbers of the products of a block: q and o, k and v, mlp
HEAD = 64 * 50
BYTES = {"memory": 1e12, "compute_fraction": 1, "bandwidth_fraction": 1}
SLOW = [
    sp.Device(name="bytes", peak={"fp32": 1e18}, memory_bandwidth=1.0, **BYTES),
    sp.Device(name="flops", peak={"fp32": 1.0}, memory_bandwidth=1e18, **BYTES),
]


@pytest.fixture
def served(tmp_path):
    def profile(mode, *, devices=SLOW, fields=(), **options):
        (tmp_path / "config.json").write_text(json.dumps(LLAMA | dict(fields)))
        return sp.profile(f"hf:{tmp_path}", devices=devices, mode=mode, **options)

    return profile


def blocks_of(workload):
    return [layer for layer in workload.layers if layer.kind == "block"]


def test_decoding_reads_the_weights_once_and_the_cache_of_each_sequence(served):
    one, five = (served("decode", context=100, concurrency=n) for n in (1, 5))
    cache = 100 * 2 * 2 * 8 * 4  # tokens, keys and values, heads of them, size of a head, bytes of a number
    for a, b in zip(blocks_of(one), blocks_of(five), strict=True):
        assert a.parameters > 4 * BLOCK
        more = b.compute["bytes"] - a.compute["bytes"]
        passed = 4 * 1000  # numbers between the operations of a block, of each sequence, counted roughly
        assert 4 * cache < more < 4 * (cache + 4 * passed)
        assert a.compute["bytes"] > a.parameters + cache
        attention = 100 * 2 * 2 * 8 * 8  # tokens, two products, heads, size of a head
        for layer, sequences in ((a, 1), (b, 5)):
            small = layer.flops - sequences * (2 * BLOCK + attention)  # norms, rotations and the like
            assert 0 < small < 0.25 * layer.flops
        assert b.sharded == 5 * cache
    head = five.layers[-1]
    assert head.flops == 5 * 2 * HEAD


def test_a_replica_takes_its_share_of_the_sequences(served):
    """With as many replicas as sequences, a step takes what it takes for one sequence."""
    one, five = (served("decode", context=100, concurrency=n) for n in (1, 5))
    for a, b in zip(blocks_of(one), blocks_of(five), strict=True):
        whole, fraction = b.compute["bytes"], b.compute_parallel["bytes"]
        assert whole * (1 - fraction) + whole * fraction / 5 == pytest.approx(a.compute["bytes"], rel=1e-3)
        assert whole * (1 - fraction) == pytest.approx(4 * BLOCK, rel=0.01)
        assert b.compute_parallel["flops"] == pytest.approx(1)


def test_kernels_start_however_few_sequences_there_are(served):
    starts = sp.Device(name="starts", peak={"fp32": 1e18}, memory_bandwidth=1e18, kernel_seconds=1.0, **BYTES)
    workload = served("decode", context=100, concurrency=4, devices=[starts])
    assert all(layer.compute_parallel["starts"] == pytest.approx(0, abs=1e-9) for layer in workload.layers)
    eager = sp.Device(name="eager", peak={"fp32": 1e18}, memory_bandwidth=1e18, launch_seconds=1.0, **BYTES)
    (block, *_) = blocks_of(served("decode", context=100, concurrency=4, devices=[eager]))
    assert block.compute["eager"] < 1e-9  # a captured graph, as runtimes decode
    assert block.prefill["eager"] > 1


def test_a_token_of_each_sequence_passes_between_stages(served):
    workload = served("decode", context=100, concurrency=6, batch=3, precision="bf16", devices=["h100-sxm"])
    assert {tensor.bytes for tensor in workload.tensors} == {3 * 64 * 2}
    assert (workload.batch, workload.sequence, workload.context, workload.concurrency) == (3, 1, 100, 6)
    assert (workload.mode, workload.kv_cache) == ("decode", "bf16")


def test_groups_of_sequences_bound_the_stages(served):
    types = [sp.DeviceType(name="flops", price=1.0)]
    for batch, groups in ((1, 4), (2, 2), (4, 1)):
        workload = served("decode", context=100, concurrency=4, batch=batch)
        problem = sp.Problem(workload, sp.Cluster(name="c", types=types))
        assert problem.goal.max_stages == groups
        assert problem.replace(max_stages=1).goal.max_stages == 1
        assert problem.replace(max_stages=9).goal.max_stages == groups
        assert f"at most {groups} stages" in workload.notes[1] or groups == 1
    assert "so that a plan has one stage" in workload.notes[1]


def test_groups_of_a_problem_are_those_of_another_profile(served):
    cluster = sp.Cluster(name="c", types=[sp.DeviceType(name="bytes", price=1.0)])
    whole, halves = (
        sp.Problem(served("decode", context=100, concurrency=8, batch=batch), cluster) for batch in (8, 4)
    )
    found = with_groups(whole, 2)
    assert found.compute[1:-2] == pytest.approx(halves.compute[1:-2], rel=1e-3)
    assert found.compute_parallel[1:-2] == pytest.approx(halves.compute_parallel[1:-2], rel=1e-3)


def test_a_prompt_is_one_pass_over_the_context(served):
    """Causal attention works on half of the pairs of tokens, and the head on the last token alone."""
    prompt = served("prefill", context=100, concurrency=7)
    products = 100 * 2 * BLOCK + 100 * 101 // 2 * 2 * 2 * 8 * 8
    for layer in blocks_of(prompt):
        assert products < layer.flops < 1.3 * products
        assert layer.sharded == 7 * 100 * 2 * 2 * 8 * 4
    assert prompt.layers[-1].flops == 2 * HEAD
    assert (prompt.batch, prompt.sequence, prompt.mode) == (1, 100, "prefill")
    decoding = served("decode", context=100, concurrency=7)
    for a, b in zip(prompt.layers, decoding.layers, strict=True):
        assert b.prefill == a.compute
        assert b.workspace >= a.workspace


def test_windows_bound_prompts_and_steps(served):
    short, long = (served("decode", fields=MISTRAL, context=n) for n in (16, 200))
    for a, b in zip(blocks_of(short), blocks_of(long), strict=True):
        assert (a.compute, a.sharded) == (b.compute, b.sharded)
    (full, *_), (within, *_) = (
        blocks_of(served("prefill", fields=MISTRAL | {"sliding_window": window}, context=200))
        for window in (None, 16)
    )
    pairs = 200 * 201 // 2 - (16 * 17 // 2 + 184 * 16)
    assert full.flops - within.flops == pairs * 2 * 2 * 8 * 8


def test_attention_in_several_operations_is_one(served):
    """Layers with and without a window in turn; no table of all pairs of tokens is in memory."""
    blocks = blocks_of(served("prefill", fields=GPT_OSS, context=200))
    pairs = 200 * 201 // 2 - (16 * 17 // 2 + 184 * 16)
    assert blocks[1].flops - blocks[0].flops == pairs * 2 * 2 * 8 * 8
    assert all(block.workspace < 8 * 200 * 200 * 4 for block in blocks)


def test_a_cache_of_fewer_bits_is_smaller_and_faster(served):
    plain, small = (served("decode", context=100, concurrency=3, kv_cache=cache) for cache in (None, "int4"))
    for a, b in zip(blocks_of(plain), blocks_of(small), strict=True):
        assert (a.sharded, b.sharded) == (3 * 100 * 32 * 4, 3 * 100 * 32 / 2)
        assert a.compute["bytes"] - b.compute["bytes"] == pytest.approx(a.sharded - b.sharded)
    assert small.notes[0].startswith("each of 3 sequences has the keys and values (int4) of 100 tokens")


def test_experts_without_a_token_are_not_read(served):
    """Of 8 experts a token has 2; two tokens have 8 (1 - (6/8)^2) = 3.5 on average."""
    bytes_ = [
        blocks_of(served("decode", fields=MIXTRAL, context=10, concurrency=n))[0].compute["bytes"]
        for n in (1, 2, 64)
    ]
    expert = 3 * 128 * 512 * 4
    assert bytes_[1] - bytes_[0] == pytest.approx(1.5 * expert, rel=0.2)
    assert bytes_[2] - bytes_[0] > 6 * expert
    assert bytes_[0] < 4 * expert + 4 * 4 * 128 * 128


def test_modules_of_transformers_are_served(served):
    config = transformers.AutoConfig.for_model(**LLAMA)
    with torch.device("meta"):
        module = transformers.LlamaForCausalLM(config)
    options = {"devices": SLOW, "mode": "decode", "context": 100, "concurrency": 5}
    assert sp.profile(module, **options).layers == served("decode", context=100, concurrency=5).layers
    with pytest.raises(ValueError, match="example is given; it must be absent where mode is 'decode'"):
        sp.profile(module, {"input_ids": torch.zeros(5, 1, dtype=torch.long)}, **options)
    with pytest.raises(ValueError, match="it must be a network of transformers where mode is 'decode'"):
        sp.profile(Stack(), **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "decode"}, "context is None; it must be given where mode is 'decode': the tokens of a"),
        ({"mode": "decode", "context": 0}, "context is 0; it must be"),
        ({"mode": "decode", "context": 300}, "context is 300; it must be at most 256, the positions that"),
        ({"mode": "prefill", "context": 300}, "context is 300; it must be at most 256, the positions that"),
        ({"mode": "train", "context": 8}, "context is 8; it must be absent unless mode is 'prefill' or 'dec"),
        ({"mode": "inference", "concurrency": 8}, "concurrency is 8; it must be absent unless mode is"),
        ({"mode": "inference", "kv_cache": "fp8"}, "kv_cache is 'fp8'; it must be absent unless mode is"),
        (
            {"mode": "decode", "context": 8, "kv_cache": "fp4"},
            "kv_cache is 'fp4'; it must be one of 'fp32'",
        ),
        ({"mode": "decode", "context": 8, "sequence": 2}, "sequence is 2; it must be absent where mode is"),
        (
            {"mode": "decode", "context": 8, "concurrency": 5, "batch": 2},
            "concurrency is 5; it must be a multiple of batch, 2, the sequences of a step",
        ),
        (
            {"mode": "decode", "context": 8, "measure": "cpu"},
            "measure is 'cpu'; it must be absent where mode is 'decode'",
        ),
        (
            {"mode": "decode", "context": 8, "layers": 4},
            "0 layers are blocks of the network's 3; where it",
        ),
    ],
)
def test_wrong_options_are_refused(served, options, words):
    with pytest.raises(ValueError, match=words):
        served(**options)


def test_what_is_no_decoder_is_refused(served):
    fields = {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "d_kv": 8, "d_ff": 16}
    with pytest.raises(ValueError, match="its cache is not known: model type t5 is not a decoder"):
        served("decode", context=8, fields=fields)


def test_what_generates_no_text_is_not_served(tmp_path):
    fields = {"model_type": "bert", "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    with pytest.raises(ValueError, match="'BertForPreTraining', which is not a network of transformers that"):
        sp.profile(f"hf:{tmp_path}", devices=SLOW, mode="prefill", context=8)
