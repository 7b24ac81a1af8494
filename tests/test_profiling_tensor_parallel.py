"""The part of one of several devices: its weights, its work, its all-reduces; and processes that have it."""

import pytest

import stageplan as sp

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

from stageplan.profiling.models import read_model  # noqa: E402
from stageplan.profiling.network import Options  # noqa: E402
from stageplan.profiling.strategies import Division  # noqa: E402

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
}
TOKENS = 2 * 16
WIDTH = 4 * TOKENS * SIZES["hidden_size"]  # bytes of a value between blocks


def inputs():
    return {"input_ids": torch.zeros((2, 16), dtype=torch.long)}


def llama(**sizes):
    transformers = pytest.importorskip("transformers")
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES | sizes, use_cache=False))


def mixtral(**sizes):
    transformers = pytest.importorskip("transformers")
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2}
    return transformers.MixtralForCausalLM(
        transformers.MixtralConfig(**SIZES | experts | sizes, use_cache=False)
    )


def parts(module, example, degree, mode="train", experts=False, layers=None):
    """Traced layers of a network and of the part of one device, by name; and the bytes of all weights."""
    network = read_model(module, example, Options(mode, None, None, None, None, layers), on=None)
    both = (network, network.divide(Division(degree, experts)))
    traced = [{layer.name: layer for layer in net.trace.layers(net.cuts)} for net in both]
    return *traced, [{w.name: w.bytes for w in net.trace.weights.values()} for net in both]


@pytest.fixture(scope="module")
def halves():
    return parts(llama(), inputs(), 2)


def test_a_block_has_two_all_reduces_in_each_pass(halves):
    whole, part, _ = halves
    for name in ("model.layers.0", "model.layers.1"):
        assert part[name].forward_reduces == part[name].backward_reduces == {WIDTH: 2}
        assert not whole[name].forward_reduces
    assert part["model.embed_tokens"].forward_reduces == {WIDTH: 1}  # of the parts of the vocabulary
    head = part["lm_head"]
    assert head.forward_reduces == {4 * TOKENS * 64 / 2: 1}  # a gather passes half the bytes
    assert head.backward_reduces == {WIDTH: 1}
    assert not part["model.norm"].forward_reduces


def test_products_are_divided_and_norms_are_not(halves):
    whole, part, _ = halves
    name = "model.layers.0"
    most = [max(kernel.flops for kernel in layers[name].forward) for layers in (whole, part)]
    assert most[0] == 2 * most[1]
    assert whole[name].forward.total() == part[name].forward.total()
    assert part[name].flops / whole[name].flops == pytest.approx(0.5, abs=0.02)
    assert part["model.norm"].flops == whole["model.norm"].flops
    inside = 4 * TOKENS * (3 * 96 + 32)  # gate, up, their product, and queries with keys are half as wide
    assert whole[name].saved - part[name].saved > inside / 2


def test_each_device_has_its_part_of_the_weights(halves):
    _, _, (whole, part) = halves
    for name, bytes_ in whole.items():
        assert part[name] == (bytes_ if "norm" in name else bytes_ / 2)


def test_fewer_heads_than_devices_are_copied():
    _, part, (whole, own) = parts(llama(), inputs(), 4)
    block = "model.layers.0.self_attn"
    shares = [own[f"{block}.{name}_proj.weight"] / whole[f"{block}.{name}_proj.weight"] for name in "qkvo"]
    assert shares == [1 / 4, 1 / 2, 1 / 2, 1 / 4]
    assert part["model.layers.0"].forward_reduces == {WIDTH: 2}


@pytest.mark.parametrize("degree", [3, 8])
def test_heads_that_cannot_be_divided_are_refused(degree):
    words = f"strategy tp={degree} cannot divide .*q_proj has 4 heads; the number of devices must divide them"
    with pytest.raises(ValueError, match=words):
        parts(llama(), inputs(), degree)


def test_a_tied_embedding_is_divided_with_the_head():
    _, part, (whole, own) = parts(llama(tie_word_embeddings=True), inputs(), 2)
    assert "lm_head.weight" not in own
    assert own["model.embed_tokens.weight"] == whole["model.embed_tokens.weight"] / 2
    assert part["lm_head"].backward_reduces == {WIDTH: 1}


def test_other_sizes_are_rounded_up():
    _, _, (_, own) = parts(llama(intermediate_size=95, vocab_size=63, pad_token_id=62), inputs(), 2)
    assert (
        own["model.layers.0.mlp.up_proj.weight"] == own["model.layers.0.mlp.down_proj.weight"] == 4 * 48 * 32
    )
    assert own["lm_head.weight"] == 4 * 32 * 32


def test_experts_are_divided_or_whole():
    name = "model.layers.0.mlp.experts.gate_up_proj"
    for experts in (False, True):
        whole, part, (all_, own) = parts(mixtral(), inputs(), 2, experts=experts)
        assert own[name] == all_[name] / 2
        flops = [max(kernel.flops for kernel in layers["model.layers.0"].forward) for layers in (whole, part)]
        assert flops[0] == 2 * flops[1]


def test_whole_experts_exchange_tokens():
    name = "model.layers.0"
    _, part, _ = parts(mixtral(), inputs(), 2, experts=True)
    # Of attention; tokens to 2 experts each and back, of half the batch; and the gather of its results.
    assert part[name].forward_reduces == {WIDTH: 1, WIDTH / 2: 3}
    assert part[name].backward_reduces == {WIDTH: 1, WIDTH / 2: 3}
    _, part, _ = parts(mixtral(), inputs(), 2, "inference", experts=True)
    assert part[name].forward_reduces == {WIDTH: 2}
    with pytest.raises(ValueError, match=r"ep=3 cannot divide .* has 4 experts; the number of devices must"):
        parts(mixtral(num_attention_heads=3, num_key_value_heads=3, head_dim=8), inputs(), 3, experts=True)


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(8, 8)
        self.block = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8))

    def forward(self, x):
        return checkpoint(self.block, self.stem(x), use_reentrant=True)


def test_checkpointed_blocks_reduce_again():
    _, part, _ = parts(Checkpointed(), torch.rand(2, 8), 2, layers=["stem", "block"])
    assert part["block"].forward_reduces == {4 * 2 * 8: 1}
    assert part["block"].backward_reduces == {4 * 2 * 8: 2}


def test_torch_attention_has_a_part_of_the_heads():
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    module = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    whole, part, (all_, own) = parts(module, torch.rand(2, 3, 16), 2)
    shares = {name.removeprefix("layers.0."): own[name] / bytes_ for name, bytes_ in all_.items()}
    halved = ("self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.bias", "linear2.weight")
    assert [shares[name] for name in halved] == [0.5] * 4
    assert [shares[name] for name in ("self_attn.out_proj.bias", "linear2.bias", "norm1.weight")] == [1] * 3
    assert part["layers.0"].forward_reduces == part["layers.1"].backward_reduces == {4 * 2 * 3 * 16: 2}
    assert part["layers.0"].flops < 0.6 * whole["layers.0"].flops


def test_networks_that_have_the_number_of_heads_in_their_shapes_divide_the_rest():
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 50, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 16}
    module = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, use_cache=False))
    _, part, (whole, own) = parts(module, inputs(), 2)
    block = "transformer.h.0"
    names = ("attn.c_attn.weight", "mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias")
    assert [own[f"{block}.{name}"] / whole[f"{block}.{name}"] for name in names] == [1, 0.5, 0.5, 0.5, 1]
    assert part[block].forward_reduces == part[block].backward_reduces == {4 * TOKENS * 16: 1}


class Named(nn.Module):
    """Calls its parts with named arguments, one of them without an own product."""

    def __init__(self):
        super().__init__()
        self.up, self.act, self.down = nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8)
        self.tp_plan = {"up": "colwise", "act": "local_params", "down": "rowwise"}

    def forward(self, x):
        return self.down(input=self.act(input=self.up(input=x)))


def test_parts_may_be_called_with_named_arguments():
    _, part, (whole, own) = parts(Named(), torch.rand(2, 8, requires_grad=True), 2, layers=["up"])
    assert part["up"].forward_reduces == {4 * 2 * 8: 1}
    assert own["up.weight"] == own["down.weight"] == whole["up.weight"] / 2


def test_unknown_styles_are_refused():
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    module.tp_plan = {"0": "diagonal"}
    with pytest.raises(
        ValueError, match="tp=2 cannot divide Sequential: its plan has 'diagonal'; styles are"
    ):
        parts(module, torch.rand(2, 4), 2)


def test_processes_that_divide_a_network_have_its_loss_and_the_predicted_weights():
    pytest.importorskip("transformers")
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("torch has no gloo")
    from benchmarks.support.tensor_parallel import decoder, example, gradient_bytes, run

    ran = run(SIZES, batch=2, tokens=16, degree=2, steps=1)
    options = {"devices": ["h100-sxm"], "strategies": ["tp=2"], "optimizer": "sgd"}
    workload = sp.profile(decoder(SIZES), example(2, 16), **options)
    for rank in ran:
        assert rank.together == pytest.approx(rank.alone, rel=1e-6)
        assert rank.bytes == gradient_bytes(workload, "h100-sxm/tp2")
