import pytest

onnx = pytest.importorskip("onnx")

from onnx_networks import flops_of, profile  # noqa: E402

from stageplan.profiling.onnx_flops import ELEMENTWISE, MOVES, OTHERS, SUMS, kind_of  # noqa: E402
from stageplan.profiling.onnx_products import PRODUCTS  # noqa: E402

# They have graphs or constants of their own, or no formula here, which is noted.
REST = {"Constant", "If", "Loop", "Scan", "SequenceMap"}
NOTED = {
    "CausalConvWithState", "Det", "ImageDecoder", "LinearAttention", "MaxRoiPool", "MelWeightMatrix",
    "RegexFullMatch", "STFT", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer",
}  # fmt: skip

PRODUCT = 2 * 4 * 8 * 8


def text(call, made="float[4, 8] y", more=""):
    return f"net (float[4, 8] x) => ({made}) <float[8, 8] w{more}> {{ p = MatMul(x, w) y = {call} }}"


def test_each_operator_of_onnx_is_counted_in_one_way_or_noted():
    groups = [ELEMENTWISE, MOVES, set(OTHERS), SUMS, {kind for domain, kind in PRODUCTS if not domain}]
    assert sum(map(len, groups)) == len(set().union(*groups))
    known = {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain}
    assert known - set().union(*groups) - REST <= NOTED


@pytest.mark.parametrize(
    ("call", "more", "flops"),
    [
        ("Relu(p)", "", 32),
        ("Add(p, b)", ", float[8] b", 32),
        ("ReduceMean <keepdims = 0> (p)", "", 32),
        ("Softmax(p)", "", 5 * 32),
        ("LayerNormalization(p, b)", ", float[8] b", 5 * 32),
        ("Transpose(p)", "", 0),
        ("Concat <axis = 0> (p, p)", "", 0),
        ("com.microsoft.FastGelu(p, b)", ", float[8] b", 32),
        ("com.microsoft.SkipLayerNormalization(p, p, b)", ", float[8] b", 5 * 32),
    ],
)
def test_operators_other_than_products(parse_onnx, call, more, flops):
    workload = profile(parse_onnx(text(call, more=more), microsoft=True))
    assert sum(layer.flops for layer in workload.layers) == PRODUCT + flops
    assert workload.notes == ()


@pytest.mark.parametrize(
    ("call", "flops"),
    [
        ("MaxPool <kernel_shape = [3, 3]> (p)", 9 * 36),
        ("GlobalAveragePool(p)", 64),
        ('Resize <mode = "linear"> (p, , s)', 8 * 256),
        ("Resize(p, , s)", 0),
    ],
)
def test_operators_on_images(parse_onnx, call, flops):
    path = parse_onnx(
        f"net (float[1, 1, 8, 8] x) => (float[] y) <float[8, 8] w, float[4] s = {{1, 1, 2, 2}}>"
        f"{{ p = MatMul(x, w) y = {call} }}"
    )
    assert flops_of(path) == 2 * 8 * 8 * 8 + flops


def test_operators_without_a_formula_are_noted_with_their_share(parse_onnx):
    path = parse_onnx(
        """net (float[4, 8] x) => (float[4, 8] y) <float[8, 8] w, float[4, 8] a> {
        p = MatMul(x, w) a = com.microsoft.Odd(p) b = Relu(a) y = com.microsoft.Odd(b) }""",
        microsoft=True,
    )
    workload = profile(path)
    assert sum(layer.flops for layer in workload.layers) == PRODUCT + 3 * 32
    assert workload.notes == (
        "no FLOPs formula for com.microsoft.Odd (2 times), which move 40.0% of all bytes: counted as one "
        "FLOP for each number that they make",
    )


def test_convolutions_and_attention_are_of_their_kinds():
    kinds = {"Conv": "convolution", "QLinearConv": "convolution", "Attention": "attention", "MatMul": ""}
    for operator, kind in kinds.items():
        assert kind_of(onnx.helper.make_node(operator, ["x", "w"], ["y"])) == kind
