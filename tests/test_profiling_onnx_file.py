import numpy as np
import pytest

import stageplan as sp

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402
from onnx_networks import node, profile, weight  # noqa: E402


@pytest.fixture
def residual(save_onnx):
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
    return save_onnx(nodes, [weight("stem", 4, 8), *blocks, weight("gain", 8), weight("out", 8, 2)], [3, 4])


def test_layers_end_where_one_tensor_passes_on(residual):
    workload = profile(residual)
    assert [layer.name for layer in workload.layers] == ["stem", "/blocks.0/up", "/blocks.1/up", "head"]
    assert [layer.flops for layer in workload.layers] == [
        2 * 3 * 4 * 8,
        2 * 3 * 2 * 8 * 16 + 3 * 16 + 3 * 8,  # two products, an activation, an addition
        2 * 3 * 2 * 8 * 16 + 3 * 16 + 3 * 8 + 5 * 3 * 8,  # and a norm
        2 * 3 * 8 * 2,
    ]
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
    assert (head.memory, head.workspace) == (head.parameters, 4 * (3 * 8 + 3 * 2))


def test_a_backward_pass_is_estimated(residual):
    stem, block, _, head = profile(residual, mode="train").layers
    assert stem.backward["plain"] == pytest.approx(2 * 4 * (3 * 4 + 4 * 8 + 3 * 8) / 1e9)
    assert head.backward["plain"] == pytest.approx(2 * 4 * (3 * 8 + 8 * 2 + 3 * 2) / 1e9)
    assert (stem.activations, head.activations) == (0, 96)  # what a layer reads, but for the input
    assert block.activations == 96 + 2 * 192 + 96
    assert block.memory == 4 * block.parameters


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


def test_shared_matrices_are_ties_and_shared_vectors_are_not(save_onnx):
    nodes = [
        node("Gather", "table x", "e", "embed"),
        node("Add", "e bias", "f"),
        node("MatMul", "f mix", "g", "mix"),
        node("Add", "g bias", "h"),
        node("Transpose", "table", "turned", perm=[1, 0]),
        node("MatMul", "h turned", "y", "head"),
    ]
    path = save_onnx(
        nodes,
        [weight("table", 9, 4), weight("bias", 4), weight("mix", 4, 4)],
        [2, 3],
        elements=TensorProto.INT64,
    )
    workload = profile(path, layers=["embed", "mix", "head"])
    assert workload.ties == (("embed", "head"),)
    assert [layer.parameters for layer in workload.layers] == [4 * (36 + 4), 4 * (16 + 4), 0]
    assert workload.layers[0].compute == {"plain": (2 * 96 + 96 + 96 + 16) / 1e9}  # look-up, then addition


def test_sizes_with_names(save_onnx):
    path = save_onnx([node("MatMul", "x w", "y")], [weight("w", 4, 8)], ["batch", "tokens", 4])
    workload = profile(path, batch=5, sequence=7)
    assert (workload.batch, workload.layers[0].flops) == (5, 2 * 5 * 7 * 4 * 8)
    assert profile(path, shape=(2, 3, 4)).layers[0].flops == 2 * 2 * 3 * 4 * 8
    with pytest.raises(
        ValueError, match=r"net.onnx: input 'x' has no size for dimension 'tokens'; shape, sequence or axes"
    ):
        profile(path)
    with pytest.raises(ValueError, match=r"net.onnx: shape is \(2, 4\); it must have 3 sizes, as input 'x'"):
        profile(path, shape=(2, 4))


def test_sizes_of_dimensions_one_by_one(save_onnx):
    path = save_onnx([node("MatMul", "x w", "y")], [weight("w", 4, 8)], ["batch", "tokens", None, 4])
    workload = profile(path, axes={"tokens": 7, "x:2": 3}, batch=5)
    assert (workload.batch, workload.layers[0].flops) == (5, 2 * 5 * 7 * 3 * 4 * 8)
    assert profile(path, axes={"batch": 2, "tokens": 7}, sequence=3).layers[0].flops == 2 * 2 * 7 * 3 * 4 * 8
    with pytest.raises(ValueError, match=r"dimension 2; shape, sequence or axes .* with 'x:2'"):
        profile(path, axes={"tokens": 7})
    with pytest.raises(ValueError, match="axes has 'token'; it must be one of 'batch', 'tokens', 'x:2'"):
        profile(path, axes={"token": 7})
    with pytest.raises(ValueError, match=r"axes\['tokens'\] is 0; it must be"):
        profile(path, axes={"tokens": 0})
    with pytest.raises(ValueError, match="axes is given, but model is not an ONNX file"):
        sp.profile("hf:gpt2", devices=["t4"], axes={"tokens": 7})


@pytest.mark.parametrize("size", [0, -1, "2*batch", ""])
def test_unusual_sizes_are_taken_as_absent(save_onnx, size):
    path = save_onnx([node("MatMul", "x w", "y")], [weight("w", 4, 8)], ["batch", size, 4])
    assert profile(path, batch=5, sequence=7).layers[0].flops == 2 * 5 * 7 * 4 * 8


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


@pytest.mark.parametrize("options", [{"batch": 8}, {"batch": 8, "shape": (3, 4)}])
def test_a_batch_that_the_input_is_not_is_refused(save_onnx, options):
    path = save_onnx([node("MatMul", "x w", "y")], [weight("w", 4, 8)], [3, 4])
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


def test_nodes_of_the_same_name_get_distinct_names(save_onnx):
    nodes = [node("MatMul", "x a", "p", "dense"), node("Relu", "p", "q"), node("MatMul", "q b", "y", "dense")]
    path = save_onnx(nodes, [weight("a", 4, 8), weight("b", 8, 8)], ["N", 4])
    workload = profile(path)
    assert [layer.name for layer in workload.layers] == ["dense:p", "dense:y"]
    assert [(tensor.producer, tensor.consumers) for tensor in workload.tensors] == [("dense:p", ("dense:y",))]
    assert [layer.name for layer in profile(path, layers=["dense:p", "dense:y"]).layers] == [
        "dense:p",
        "dense:y",
    ]
    with pytest.raises(ValueError, match=r"layers\[0\] is 'dense'; it must be one of 'dense:p', 'dense:y'"):
        profile(path, layers=["dense"])


@pytest.mark.parametrize("layers", [None, 1, ["y"]])
def test_networks_without_weights_are_one_layer(save_onnx, layers):
    path = save_onnx([node("Relu", "x", "a"), node("Tanh", "a", "y")], [], [3, 4])
    (layer,) = profile(path, layers=layers).layers
    assert (layer.parameters, layer.flops) == (0, 24)


def test_networks_of_vectors_alone_are_one_layer(save_onnx):
    path = save_onnx(
        [node("Add", "x a", "b", "shift"), node("Mul", "b c", "y")], [weight("a", 4), weight("c", 4)], [3, 4]
    )
    (layer,) = profile(path).layers
    assert (layer.name, layer.parameters, layer.flops) == ("shift", 32, 24)


def test_unused_weights_are_noted(residual):
    model = onnx.load(residual)
    model.graph.initializer.append(weight("spare", 10, 10))
    residual.write_bytes(model.SerializeToString())
    (note,) = profile(residual).notes
    assert note == "1 weights of 400 bytes are left out, for no node reads them; the first is 'spare'"


@pytest.mark.parametrize(("dtype", "precision", "size"), [(np.float16, "fp16", 2), (np.float64, "fp32", 8)])
def test_numbers_have_the_size_that_the_file_says(save_onnx, dtype, precision, size):
    path = save_onnx(
        [node("MatMul", "x w", "y")],
        [weight("w", 4, 8, dtype=dtype)],
        [3, 4],
        elements=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)),
    )
    device = sp.Device(name="d", peak={"fp32": 1e9, "fp16": 1e9}, memory=1e9, memory_bandwidth=1e9)
    workload = sp.profile(path, devices=[device], mode="inference")
    assert (workload.precision, workload.layers[0].parameters) == (precision, size * 32)
    assert sp.profile(path, devices=[device], mode="inference", precision="fp32").layers[0].parameters == 128


def test_weights_among_the_inputs(save_onnx):
    path = save_onnx([node("MatMul", "x w", "y")], [weight("w", 4, 8)], ["batch", 4])
    expected, model = profile(path).layers, onnx.load(path)
    model.graph.input.insert(0, helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 8]))
    path.write_bytes(model.SerializeToString())
    assert profile(path).layers == expected


@pytest.mark.parametrize(
    ("type_", "reason"),
    [
        (helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, [4])), "input 'x' is a sequence"),
        (onnx.TypeProto(), "input 'x' is a type that is absent; it must be a tensor"),
        (helper.make_tensor_type_proto(1, None), "input 'x' has no shape; shape must be given"),
        (helper.make_tensor_type_proto(1, [3, -1]), "input 'x' has no size for dimension 1; shape"),
    ],
)  # fmt: skip
def test_inputs_without_sizes_are_refused(save_onnx, type_, reason):
    path = save_onnx([node("MatMul", "x w", "y")], [weight("w", 4, 8)], [3, 4])
    model = onnx.load(path)
    model.graph.input[0].type.CopyFrom(type_)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=f"net.onnx: {reason}"):
        profile(path)


def test_a_shape_for_an_input_of_any_shape(save_onnx):
    path = save_onnx([node("MatMul", "x w", "y")], [weight("w", 4, 8)], [3, 4])
    model = onnx.load(path)
    model.graph.input[0].type.CopyFrom(
        helper.make_optional_type_proto(helper.make_tensor_type_proto(1, None))
    )
    path.write_bytes(model.SerializeToString())
    assert profile(path, shape=(5, 4)).layers[0].flops == 2 * 5 * 4 * 8


@pytest.mark.parametrize("opset", [1, 7, 11, 13, 18, 23, 99])
def test_opsets(save_onnx, opset):
    nodes = [node("Softmax", "x", "s"), node("MatMul", "s w", "y")]
    path = save_onnx(nodes, [weight("w", 4, 8)], [3, 4], opset=opset)
    assert sum(layer.flops for layer in profile(path).layers) == 2 * 3 * 4 * 8 + 5 * 12


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (onnx.ModelProto(), "it has no inputs, so its batch size is not known"),
        (helper.make_model(helper.make_graph([], "net", [helper.make_tensor_value_info("x", 1, [3])], [])),
         "it has no nodes; a network to be placed must have some"),
    ],
)  # fmt: skip
def test_empty_networks_are_refused(tmp_path, model, reason):
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=f"net.onnx: {reason}"):
        profile(path)


def test_devices_do_not_divide_a_file(residual):
    with pytest.raises(
        ValueError, match="strategy tp=2 cannot divide an ONNX file; the model must be a torch"
    ):
        sp.profile(residual, devices=["h100-sxm"], strategies=["tp=2"])


def test_functions_that_call_themselves_are_refused(tmp_path):
    function = helper.make_function(
        "local", "Twice", ["a"], ["b"], [helper.make_node("Twice", ["a"], ["b"], domain="local")],
        [helper.make_opsetid("local", 1)],
    )  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("Twice", ["x"], ["y"], domain="local")],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 4])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)]
    path = tmp_path / "net.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, functions=[function]).SerializeToString())
    with pytest.raises(ValueError, match=r"net.onnx: "):
        profile(path)
