import pytest

onnx = pytest.importorskip("onnx")

from onnx_networks import flops_of, profile  # noqa: E402

from stageplan.profiling import onnx_flat  # noqa: E402

PRODUCT = 2 * 4 * 8 * 8


def branches(then, other, flag="bool flag", weights=""):
    """Take a network with an If between two products."""
    return f"""net (float[4, 8] x, {flag}) => (float[] y) <float[8, 8] w, float[8, 8] u {weights}> {{
        a = MatMul(x, w)
        b = If(flag) <then_branch = t () => (float[] t0) {{ {then} }},
                      else_branch = e () => (float[] t0) {{ {other} }}>
        y = MatMul(b, u) }}"""


def test_branches_that_cost_the_same_are_read(parse_onnx):
    workload = profile(parse_onnx(branches("t0 = Relu(a)", "t0 = Tanh(a)")))
    assert sum(layer.flops for layer in workload.layers) == 2 * PRODUCT + 32
    assert [layer.name for layer in workload.layers] == ["a", "y"]
    assert sum(layer.parameters for layer in workload.layers) == 2 * 4 * 64


def test_branches_of_different_cost_are_refused(parse_onnx):
    with pytest.raises(
        ValueError,
        match=r"net.onnx: node 'b' is an If whose branches cost 512 and 0 FLOPs, with weights of 256 and 0 "
        r"bytes; which one runs is not known",
    ):
        profile(parse_onnx(branches("t0 = MatMul(a, w)", "t0 = Identity(a)")))


@pytest.mark.parametrize(("flag", "products"), [(1, 3), (0, 2)])
def test_a_constant_condition_decides(parse_onnx, flag, products):
    path = parse_onnx(
        branches("t0 = MatMul(a, w)", "t0 = Identity(a)", "float[1] unused", f", bool flag = {{{flag}}}")
    )
    assert flops_of(path) == products * PRODUCT


def test_a_condition_computed_from_shapes_decides(parse_onnx):
    text = branches("t0 = MatMul(a, w)", "t0 = Identity(a)", "float[1] unused", ", int64 zero = {0}")
    computed = """size = Shape(x) first = Gather(size, zero) four = Constant <value_int = 4> ()
        flag = Equal(first, four) b = If"""
    assert flops_of(parse_onnx(text.replace("b = If", computed))) == 3 * PRODUCT + 1


def looped(body, rounds="int64 n = {3}", opset=18):
    return f"""net (float[4, 8] x) => (float[] y) <float[8, 8] w, float[8, 8] u, {rounds}, bool go = {{1}}> {{
        a = MatMul(x, w)
        b, s = Loop(n, go, a) <body = round (int64 i, bool on, float[] h) => (bool on0, float[] h0, float[] z)
            {{ {body} }}>
        c = Relu(s)
        y = MatMul(b, u) }}"""


def test_rounds_of_a_loop_count_and_are_one_layer(parse_onnx):
    body = "on0 = Identity(on) h0 = MatMul(h, w) z = Relu(h0)"
    workload = profile(parse_onnx(looped(body)))
    assert sum(layer.flops for layer in workload.layers) == 2 * PRODUCT + 3 * (PRODUCT + 32) + 3 * 32
    assert [layer.name for layer in workload.layers] == ["a", "b", "y"]
    assert workload.ties == (("a", "b"),)
    assert [note.partition(" bytes")[0] for note in workload.notes] == ["a and b share weights of 256"]
    named = profile(parse_onnx(looped(body)), layers=["a", "y"])
    assert [layer.name for layer in named.layers] == ["a", "y"]


def test_a_loop_ends_where_its_condition_says(parse_onnx):
    body = "one = Constant <value_int = 1> () on0 = Less(i, one) h0 = MatMul(h, w) z = Relu(h0)"
    assert flops_of(parse_onnx(looped(body))) == 2 * PRODUCT + 2 * (PRODUCT + 32) + 2 * 32


def test_a_loop_that_may_end_early_is_noted(parse_onnx):
    body = "m = ReduceMax <keepdims = 0> (h) zero = Constant <value_float = 0.0> () on0 = Less(m, zero) "
    workload = profile(parse_onnx(looped(f"{body} h0 = MatMul(h, w) z = Relu(h0)")))
    assert "Loop 'b' may end early; all its 3 rounds are counted" in workload.notes


def test_sizes_that_grow_from_round_to_round(parse_onnx):
    body = "on0 = Identity(on) z = MatMul(h, w) h0 = Concat <axis = 0> (h, h)"
    text = looped(body).replace("c = Relu(s)", "")
    assert flops_of(parse_onnx(text)) == PRODUCT + (1 + 2 + 4) * PRODUCT + 8 * PRODUCT


@pytest.mark.parametrize(
    ("rounds", "reason"),
    [
        ("int64 m = {3}", "node 'b' is a Loop; how many rounds it runs is not known"),
        ("int64 n = {9000000000}", "it has more than 50 nodes, with the rounds of its loops"),
    ],
)
def test_loops_with_unknown_or_too_many_rounds_are_refused(parse_onnx, rounds, reason, monkeypatch):
    monkeypatch.setattr(onnx_flat, "MOST_NODES", 50)
    text = looped("on0 = Identity(on) h0 = Identity(h) z = Identity(h)", rounds)
    text = text.replace("float[4, 8] x)", "float[4, 8] x, int64 n)") if "m" in rounds else text
    with pytest.raises(ValueError, match=f"net.onnx: {reason}"):
        profile(parse_onnx(text))


def test_rounds_of_a_scan(parse_onnx):
    workload = profile(
        parse_onnx(
            """net (float[5, 4, 8] x) => (float[] y) <float[8, 8] w, float[4, 8] h> {
            last, y = Scan <num_scan_inputs = 1, body = step (float[4, 8] s, float[4, 8] v)
                => (float[4, 8] s0, float[4, 8] o)
                { p = MatMul(v, w) s0 = Add(s, p) o = Tanh(s0) }> (h, x) }"""
        )
    )
    assert sum(layer.flops for layer in workload.layers) == 5 * (PRODUCT + 32 + 32)
    assert [layer.name for layer in workload.layers] == ["last"]
    assert workload.layers[0].parameters == 4 * (64 + 32)  # with the first state


def test_branches_within_loops_within_branches(parse_onnx):
    inner = """on0 = Identity(on) h0 = If(go) <then_branch = t () => (float[] k) { k = MatMul(h, w) },
        else_branch = e () => (float[] k) { k = Identity(h) }> z = Relu(h0)"""
    assert flops_of(parse_onnx(looped(inner))) == 2 * PRODUCT + 3 * (PRODUCT + 32) + 3 * 32


def test_other_operators_with_graphs_are_refused(parse_onnx):
    path = parse_onnx(
        """net (float[4, 8] x) => (float[] y) <float[8, 8] w> { a = MatMul(x, w) s = SequenceConstruct(a, a)
        y = SequenceMap(s) <body = each (float[4, 8] v) => (float[4, 8] o) { o = Relu(v) }> }"""
    )
    with pytest.raises(ValueError, match=r"node 'y' is of type SequenceMap, with a graph of its own"):
        profile(path)


def test_a_value_that_two_nodes_make_is_refused(parse_onnx):
    path = parse_onnx("net (float[4, 8] x) => (float[] y) <float[8, 8] w> { y = MatMul(x, w) y = Relu(x) }")
    with pytest.raises(ValueError, match=r"net.onnx: 'y' is made by two nodes"):
        profile(path)
