from math import prod

import pytest

pytest.importorskip("onnx")

from onnx_networks import flops_of, node, profile, weight

CASES = {
    "MatMul": ([node("MatMul", "x w", "y")], [weight("w", 4, 8)], [2, 3, 4], 2 * 2 * 3 * 4 * 8),
    "Gemm": ([node("Gemm", "x w", "y", transA=1)], [weight("w", 5, 8)], [5, 3], 2 * 3 * 5 * 8),
    "Conv": (
        [node("Conv", "x w", "y", group=2, pads=[1, 1, 1, 1])], [weight("w", 6, 2, 3, 3)], [2, 4, 5, 5],
        2 * 2 * 6 * 25 * 2 * 9,
    ),
    "ConvTranspose": (
        [node("ConvTranspose", "x w", "y", strides=[2, 2])], [weight("w", 4, 6, 2, 2)], [2, 4, 5, 5],
        2 * 2 * 4 * 25 * 6 * 4,
    ),
    "LSTM": (
        [node("LSTM", "x w r", "y", hidden_size=6)],
        [weight("w", 1, 24, 4), weight("r", 1, 24, 6)],
        [7, 2, 4],
        2 * 7 * 2 * 24 * 10,
    ),
    "Einsum": (
        [node("Einsum", "x w", "y", equation="bij,jk->bik")], [weight("w", 4, 8)], [2, 3, 4],
        2 * 2 * 3 * 4 * 8,
    ),
    "Einsum with dots": (
        [node("Einsum", "x w", "y", equation="...ij,jk->...ik")], [weight("w", 4, 8)], [5, 2, 3, 4],
        2 * 5 * 2 * 3 * 4 * 8,
    ),
    "Attention": (
        [node("MatMul", "x w", "q"), node("Attention", "q q q", "y")], [weight("w", 4, 4)], [2, 3, 5, 4],
        2 * 2 * 3 * 5 * 4 * 4 + 2 * 2 * 3 * 5 * 5 * 4 * 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_products_of_onnx(save_onnx, name):
    nodes, weights, shape, flops = CASES[name]
    workload = profile(save_onnx(nodes, weights, shape), layers=[nodes[0].output[0]])
    assert sum(layer.flops for layer in workload.layers) == flops
    assert sum(layer.parameters for layer in workload.layers) == 4 * sum(prod(w.dims) for w in weights)


def test_attention_to_earlier_tokens_counts(parse_onnx):
    text = """net (float[2, 3, 5, 4] x, float[2, 3, 7, 4] k, float[2, 3, 7, 4] v) => (float[2, 3, 5, 4] y)
        <float[4, 4] w> { q = MatMul(x, w) y, pk, pv = Attention(q, q, q, , k, v) }"""
    assert flops_of(parse_onnx(text, opset=23)) == 2 * 30 * 16 + 2 * 30 * 12 * 4 * 2


MICROSOFT = {
    "FusedMatMul": ("float[3, 2, 4] x", "float[6, 4] w", "<transB = 1> (x, w)", 2 * 6 * 4 * 6),
    "FusedGemm": ("float[4, 5] x", "float[5, 6] w", '<activation = "Relu"> (x, w)', 2 * 4 * 5 * 6),
    "MatMulNBits": (
        "float[2, 3, 64] x", "uint8[8, 2, 16] w, float[16] s",
        "<K = 64, N = 8, bits = 4, block_size = 32> (x, w, s)",
        2 * 6 * 64 * 8,
    ),
    "FusedConv": (
        "float[1, 3, 8, 8] x", "float[6, 3, 3, 3] w", "<strides = [2, 2]> (x, w)", 2 * 6 * 9 * 27
    ),
    "QGemm": (
        "uint8[4, 5] x", "uint8[5, 6] w, float[1] s, uint8[1] z", "(x, s, z, w, s, z)", 2 * 4 * 5 * 6
    ),
    "Attention": (
        "float[2, 5, 8] x", "float[8, 24] w, float[24] b", "<num_heads = 2> (x, w, b)",
        2 * 2 * 5 * (8 * 24 + 5 * 16),
    ),
    "MoE": (
        "float[6, 8] x", "float[8, 4] g, float[4, 16, 8] a, float[4, 8, 16] b", "<k = 2> (x, x, a, , b)",
        2 * 6 * 2 * 2 * 8 * 16,
    ),
    "QMoE": (
        "float[6, 8] x", "uint8[4, 16, 4] a, float[4, 16] s, uint8[4, 8, 8] b, float[4, 8] t",
        "<k = 2> (x, x, a, s, , b, t)", 2 * 6 * 2 * 2 * 8 * 16,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MICROSOFT)
def test_products_of_onnx_runtime(parse_onnx, name):
    given, weights, call, flops = MICROSOFT[name]
    text = f"net ({given}) => (float y) <{weights}> {{ y = com.microsoft.{name} {call} }}"
    workload = profile(parse_onnx(text, microsoft=True))
    assert sum(layer.flops for layer in workload.layers) == flops
    assert not any("formula" in note for note in workload.notes)


@pytest.mark.parametrize(
    ("inputs", "call", "flops"),
    [
        ("float[2, 5, 8] q, float[2, 7, 8] k, float[2, 7, 12] v", "(p, k, v)", 2 * 2 * 5 * 7 * (8 + 12)),
        ("float[2, 5, 8] q, float[2, 2, 7, 4] k", "(p, k, k)", 2 * 2 * 5 * 7 * (8 + 8)),
        ("float[2, 5, 8] q, float[2, 7, 2, 2, 4] k", "(p, k)", 2 * 2 * 5 * 7 * (8 + 8)),
    ],
)
def test_attention_of_many_heads(parse_onnx, inputs, call, flops):
    text = f"""net ({inputs}) => (float[2, 5, 8] y)
        <float[8, 8] w> {{ p = MatMul(q, w) y = com.microsoft.MultiHeadAttention <num_heads = 2> {call} }}"""
    assert flops_of(parse_onnx(text, microsoft=True)) == 2 * 10 * 64 + flops


def test_grouped_attention_counts_all_heads_of_queries(parse_onnx):
    text = """net (float[1, 5, 64] q, float[1, 5, 32] k, float[1, 2, 3, 16] past, int32[1] a, int32 b)
        => (float[1, 5, 64] y) <float[64, 64] w> { p = MatMul(q, w)
        y, pk, pv = com.microsoft.GroupQueryAttention <num_heads = 4, kv_num_heads = 2>
            (p, k, k, past, past, a, b) }
    """
    assert flops_of(parse_onnx(text, microsoft=True)) == 2 * 5 * 64 * 64 + 2 * 5 * 8 * 64 * 2


def test_a_product_of_the_same_name_in_another_domain_is_not_counted(parse_onnx):
    text = """net (float[4, 8] x) => (float[4, 8] y)
        <float[8, 8] w> { p = MatMul(x, w) y = my.own.MatMul (p, w) }"""
    path = parse_onnx(text.replace("my.own", "com.microsoft"), microsoft=True)
    workload = profile(path)
    assert sum(layer.flops for layer in workload.layers) == 2 * 4 * 64 + 32
    assert workload.notes[0].startswith("no FLOPs formula for com.microsoft.MatMul (once), which move")


def test_inputs_that_do_not_fit_are_one_sentence(save_onnx):
    path = save_onnx([node("Conv", "x", "y")], [weight("w", 4, 8)], [2, 4])
    with pytest.raises(ValueError, match=r"net.onnx: node 'y' cannot be counted; .*Conv"):
        profile(path)
