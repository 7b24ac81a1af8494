from math import prod

import numpy as np
import pytest

import stageplan as sp

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

DEVICE = sp.Device(
    name="plain",
    peak={"fp32": 1e9, "bf16": 2e9},
    memory=1e9,
    memory_bandwidth=1e9,
    compute_fraction=1,
    bandwidth_fraction=1,
)


def weight(name, *shape, dtype=np.float32):
    return numpy_helper.from_array(np.ones(shape, dtype), name)


def node(kind, inputs, output, name="", **attributes):
    return helper.make_node(kind, inputs.split(), [output], name=name, **attributes)


@pytest.fixture
def save(tmp_path):
    """Save a network of nodes and weights that takes x, of a shape, and gives y; return its path."""

    def save(nodes, weights, shape, output="y", elements=TensorProto.FLOAT, opset=23):
        graph = helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("x", elements, shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            weights,
        )
        path = tmp_path / "net.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), path)
        return path

    return save


def profile(path, mode="inference", **options):
    return sp.profile(path, devices=[DEVICE], mode=mode, **options)


@pytest.fixture
def residual(save):
    """Stem, two residual blocks and a head, each a matrix product or two."""
    nodes = [
        node("MatMul", "x stem", "a0", "stem"),
        *(
            made
            for i in range(2)
            for made in (
                node("MatMul", f"a{i} up{i}", f"u{i}", f"/blocks.{i}/up"),
                node("Relu", f"u{i}", f"r{i}", f"/blocks.{i}/relu"),
                node("MatMul", f"r{i} down{i}", f"d{i}", f"/blocks.{i}/down"),
                node("Add", f"a{i} d{i}", f"a{i + 1}", f"/blocks.{i}/add"),
            )
        ),
        node("LayerNormalization", "a2 gain", "n", "norm"),
        node("MatMul", "n out", "y", "head"),
    ]
    blocks = [
        weight(f"{name}{i}", *shape) for i in range(2) for name, shape in (("up", (8, 16)), ("down", (16, 8)))
    ]
    return save(nodes, [weight("stem", 4, 8), *blocks, weight("gain", 8), weight("out", 8, 2)], [3, 4])


def test_layers_end_where_one_tensor_passes_on(residual):
    workload = profile(residual)
    assert [layer.name for layer in workload.layers] == ["stem", "/blocks.0/up", "/blocks.1/up", "head"]
    assert [layer.flops for layer in workload.layers] == [
        2 * 3 * 4 * 8, 2 * 3 * 2 * 8 * 16, 2 * 3 * 2 * 8 * 16, 2 * 3 * 8 * 2
    ]  # fmt: skip
    assert [layer.parameters for layer in workload.layers] == [128, 1024, 1024 + 32, 64]  # the norm joins
    assert [(t.producer, t.consumers, t.bytes) for t in workload.tensors] == [
        ("stem", ("/blocks.0/up",), 96),
        ("/blocks.0/up", ("/blocks.1/up",), 96),
        ("/blocks.1/up", ("head",), 96),
    ]
    assert (workload.name, workload.batch, {layer.kind for layer in workload.layers}) == (
        "net",
        3,
        {"matmul"},
    )


def test_times_are_rooflines_of_nodes(residual):
    head = profile(residual).layers[-1]
    moved = 4 * (3 * 8 + 8 * 2 + 3 * 2)
    assert head.compute == {"plain": max(head.flops, moved) / 1e9}
    assert head.memory == head.parameters + moved


def test_a_backward_pass_is_estimated(residual):
    stem, block, _, head = profile(residual, mode="train").layers
    assert stem.backward["plain"] == pytest.approx(2 * 4 * (3 * 4 + 4 * 8 + 3 * 8) / 1e9)
    assert head.backward["plain"] == pytest.approx(2 * 4 * (3 * 8 + 8 * 2 + 3 * 2) / 1e9)
    assert (stem.activations, head.activations) == (0, 96)  # what a layer reads, but for the input
    assert block.activations == 96 + 2 * 192 + 96
    assert block.memory == 4 * block.parameters + block.activations


def test_an_estimated_backward_pass_is_noted(residual):
    assert profile(residual).notes == ()
    (note,) = profile(residual, mode="train").notes
    assert "backward pass; it is estimated" in note


def test_layers_of_ones_own(residual):
    given = profile(residual, layers=["stem", "/blocks.1/down"])
    assert [layer.name for layer in given.layers] == ["stem", "/blocks.1/down"]
    deep = profile(residual, layers=1)
    assert [layer.name for layer in deep.layers] == ["stem", "/blocks.0/up", "/blocks.1/up", "norm", "head"]
    deeper = profile(residual, layers=2)
    assert len(deeper.layers) == 7
    crossing = [tensor for tensor in deeper.tensors if len(tensor.consumers) > 1]
    assert [(tensor.producer, tensor.consumers) for tensor in crossing] == [
        ("stem", ("/blocks.0/up", "/blocks.0/down")),
        ("/blocks.0/down", ("/blocks.1/up", "/blocks.1/down")),
    ]
    with pytest.raises(ValueError, match=r"net.onnx: layers\[0\] is 'nobody'; it must be the name of a node"):
        profile(residual, layers=["nobody"])


def test_precision_is_that_of_all_values(residual):
    half, full = profile(residual, precision="bf16"), profile(residual)
    for a, b in zip(half.layers, full.layers, strict=True):
        assert (2 * a.parameters, 2 * a.memory, a.flops) == (b.parameters, b.memory, b.flops)


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
    "Attention": (
        [node("MatMul", "x w", "q"), node("Attention", "q q q", "y")], [weight("w", 4, 4)], [2, 3, 5, 4],
        2 * 2 * 3 * 5 * 4 * 4 + 2 * 2 * 3 * 5 * 5 * 4 * 2,
    ),
    "Relu": ([node("Relu", "x", "a"), node("Mul", "a w", "y")], [weight("w", 2, 4)], [2, 4], 0),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operations_of_nodes(save, name):
    nodes, weights, shape, flops = CASES[name]
    workload = profile(save(nodes, weights, shape), layers=[nodes[0].output[0]])
    assert sum(layer.flops for layer in workload.layers) == flops
    assert sum(layer.parameters for layer in workload.layers) == 4 * sum(prod(w.dims) for w in weights)


def test_shared_matrices_are_ties_and_shared_vectors_are_not(save):
    nodes = [
        node("Gather", "table x", "e", "embed"),
        node("Add", "e bias", "f"),
        node("MatMul", "f mix", "g", "mix"),
        node("Add", "g bias", "h"),
        node("Transpose", "table", "turned", perm=[1, 0]),
        node("MatMul", "h turned", "y", "head"),
    ]
    path = save(
        nodes,
        [weight("table", 9, 4), weight("bias", 4), weight("mix", 4, 4)],
        [2, 3],
        elements=TensorProto.INT64,
    )
    workload = profile(path, layers=["embed", "mix", "head"])
    assert workload.ties == (("embed", "head"),)
    assert [layer.parameters for layer in workload.layers] == [4 * (36 + 4), 4 * (16 + 4), 0]
    assert workload.layers[0].compute == {"plain": (2 * 96 + 96 + 96 + 16) / 1e9}  # look-up, then addition


def test_sizes_with_names(save):
    path = save([node("MatMul", "x w", "y")], [weight("w", 4, 8)], ["batch", "tokens", 4])
    workload = profile(path, batch=5, sequence=7)
    assert (workload.batch, workload.layers[0].flops) == (5, 2 * 5 * 7 * 4 * 8)
    assert profile(path, shape=(2, 3, 4)).layers[0].flops == 2 * 2 * 3 * 4 * 8
    with pytest.raises(
        ValueError, match=r"net.onnx: input 'x' has no size for dimension 'tokens'; shape or sequence"
    ):
        profile(path)
    with pytest.raises(ValueError, match=r"net.onnx: shape is \(2, 4\); it must have 3 sizes, as input 'x'"):
        profile(path, shape=(2, 4))


def test_functions_of_a_file_are_counted(tmp_path):
    function = helper.make_function(
        "local", "Twice", ["a", "w"], ["c"], [node("MatMul", "a w", "b"), node("MatMul", "b w", "c")],
        [helper.make_opsetid("", 18)],
    )  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("Twice", ["x", "w"], ["y"], domain="local")],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 4])],
        [weight("w", 4, 4)],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)]
    path = tmp_path / "f.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, functions=[function]), path)
    assert sum(layer.flops for layer in profile(path).layers) == 2 * 2 * 3 * 4 * 4


def test_weights_beside_the_file_are_not_needed(residual, tmp_path):
    model = onnx.load(residual)
    path = tmp_path / "external.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    (tmp_path / "weights").unlink()
    assert profile(path).layers == profile(residual).layers


def test_loops_cannot_be_counted(save):
    body = helper.make_graph(
        [node("Relu", "x", "z")], "body", [], [helper.make_tensor_value_info("z", 1, [3, 4])]
    )
    nodes = [helper.make_node("If", ["flag"], ["y"], name="branch", then_branch=body, else_branch=body)]
    path = save(nodes, [weight("flag", 1, dtype=bool)], [3, 4])
    with pytest.raises(
        ValueError, match=r"net.onnx: node 'branch' is a If, whose operations cannot be counted"
    ):
        profile(path)


@pytest.mark.parametrize("options", [{"batch": 8}, {"batch": 8, "shape": (3, 4)}])
def test_a_batch_that_the_input_is_not_is_refused(save, options):
    path = save([node("MatMul", "x w", "y")], [weight("w", 4, 8)], [3, 4])
    assert profile(path, batch=3).batch == 3
    with pytest.raises(ValueError, match=r"net.onnx: batch is 8; it must be 3, as input 'x' has, or absent"):
        profile(path, **options)


def test_files_that_are_wrong_are_refused(tmp_path, residual):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"broken.onnx: it is not a valid ONNX file: "):
        profile(path)
    with pytest.raises(FileNotFoundError):
        profile(tmp_path / "absent.onnx")
    with pytest.raises(ValueError, match="measure is given, but an ONNX file is only estimated"):
        sp.profile(residual, measure="cpu")
