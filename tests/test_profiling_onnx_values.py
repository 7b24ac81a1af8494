import msgspec
import numpy as np
import pytest

import stageplan as sp

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx_networks import DEVICE, flops_of, node, profile, weight  # noqa: E402

PRODUCT = 2 * 4 * 64 * 128
RESHAPED = [
    node("MatMul", "x w", "a", "proj"),
    node("Reshape", "a shape", "b"),
    node("MatMul", "b u", "y", "out"),
]


@pytest.fixture
def reshaped(save_onnx):
    """Two products, and between them a shape that a constant says."""
    shape = numpy_helper.from_array(np.array([-1, 4, 32]), "shape")
    return save_onnx(RESHAPED, [weight("w", 64, 128), weight("u", 32, 10), shape], [8, 64])


def stored_beside(path, threshold=0):
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=threshold)
    return path


@pytest.mark.parametrize("threshold", [0, 1024])
def test_shapes_stored_beside_the_file(reshaped, threshold):
    before = profile(reshaped).layers
    assert [layer.flops for layer in before] == [2 * 8 * 64 * 128, 2 * 32 * 32 * 10]
    assert profile(stored_beside(reshaped, threshold)).layers == before


def test_shapes_of_constant_nodes_stored_beside_the_file(reshaped):
    before, model = profile(reshaped).layers, onnx.load(reshaped)
    shape = model.graph.initializer.pop()
    model.graph.node.insert(0, helper.make_node("Constant", [], ["shape"], value=shape))
    onnx.save(
        model,
        reshaped,
        save_as_external_data=True,
        location="weights",
        size_threshold=0,
        convert_attribute=True,
    )
    assert onnx.load(reshaped, load_external_data=False).graph.node[0].attribute[0].t.external_data
    assert profile(reshaped).layers == before


@pytest.mark.parametrize("content", [None, b"short"])
def test_shapes_whose_file_is_absent_or_short_are_named(reshaped, content):
    (reshaped.parent / "weights").unlink(missing_ok=True)
    stored = stored_beside(reshaped).parent / "weights"
    stored.unlink() if content is None else stored.write_bytes(content)
    why = "there is no file 'weights'" if content is None else "the file 'weights' is too short"
    with pytest.raises(
        ValueError,
        match=r"net.onnx: node 'out' cannot be counted; the shape of 'y' is not known: the values of "
        rf"'shape', beside the file, cannot be read: {why}",
    ):
        profile(reshaped)


def test_files_elsewhere_are_not_read(reshaped, tmp_path):
    stored_beside(reshaped)
    model = onnx.load(reshaped, load_external_data=False)
    for tensor in model.graph.initializer:
        tensor.external_data[0].value = f"../{tmp_path.name}/../secret"
    reshaped.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="there is no file"):
        profile(reshaped)


@pytest.mark.parametrize(
    ("type_", "size"),
    [
        (TensorProto.INT8, 8192), (TensorProto.UINT8, 8192), (TensorProto.FLOAT8E4M3FN, 8192),
        (TensorProto.FLOAT8E5M2, 8192), (TensorProto.INT4, 4096), (TensorProto.UINT4, 4096),
        (TensorProto.FLOAT4E2M1, 4096), (TensorProto.INT16, 16384),
    ],
)  # fmt: skip
@pytest.mark.parametrize("precision", [None, "bf16"])
def test_quantised_weights_have_their_packed_size(save_onnx, type_, size, precision):
    quantised = TensorProto(name="q", dims=[64, 128], data_type=type_, raw_data=bytes(size))
    scale = numpy_helper.from_array(np.float32(0.1), "s")
    nodes = [node("DequantizeLinear", "q s", "w"), node("MatMul", "x w", "y")]
    slow = msgspec.structs.replace(DEVICE, peak={"fp32": 1e18, "bf16": 1e18}, memory_bandwidth=1.0)
    path = save_onnx(nodes, [quantised, scale], [4, 64])
    (layer,) = sp.profile(path, devices=[slow], mode="inference", precision=precision).layers
    each = 2 if precision else 4
    assert (layer.parameters, layer.memory, layer.flops) == (size, size, PRODUCT)
    assert layer.compute["plain"] == size + each * 4 * (64 + 128)  # the product reads the packed weights


def test_an_odd_number_of_4_bit_weights_fills_whole_bytes(save_onnx):
    quantised = TensorProto(name="q", dims=[3, 5], data_type=TensorProto.UINT4, raw_data=bytes(8))
    scale = numpy_helper.from_array(np.float32(0.1), "s")
    nodes = [node("DequantizeLinear", "q s", "w"), node("MatMul", "x w", "y")]
    assert profile(save_onnx(nodes, [quantised, scale], [4, 3])).layers[0].parameters == 8


def test_sparse_weights_are_counted_as_dense_ones(save_onnx):
    path = save_onnx([node("MatMul", "x w", "y")], [], [4, 64])
    model = onnx.load(path)
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0]),
        helper.make_tensor("i", TensorProto.INT64, [2], [3, 700]),
        [64, 128],
    )
    model.graph.sparse_initializer.append(sparse)
    path.write_bytes(model.SerializeToString())
    workload = profile(path)
    assert (workload.layers[0].parameters, workload.layers[0].flops) == (4 * 8192, PRODUCT)
    assert workload.notes == ("sparse weights are counted as dense ones, as runtimes keep them",)


@pytest.mark.parametrize(
    "constant",
    ["value_ints = [2, 2, 64]", "value_floats = [2.0, 2.0, 64.0]", "value = int64[3] {2, 2, 64}"],
)
def test_constants_of_all_forms(parse_onnx, constant):
    text = f"""net (float[4, 64] x) => (float[] y) <float[64, 128] w>
        {{ c = Constant <{constant}> () s = Cast <to = 7> (c) a = Reshape(x, s) y = MatMul(a, w) }}"""
    assert flops_of(parse_onnx(text)) == PRODUCT


def test_shapes_that_are_computed(parse_onnx):
    text = """net (float[4, 8, 8] x) => (float[] y) <float[64, 128] w, int64[1] at = {0}, int64[1] m = {-1}>
        { s = Shape(x) n = Gather(s, at) t = Concat <axis = 0> (n, m) a = Reshape(x, t) y = MatMul(a, w) }"""
    assert flops_of(parse_onnx(text)) == PRODUCT


def test_sizes_that_depend_on_numbers_are_noted_or_refused(parse_onnx):
    text = """net (float[4, 64] x) => (float[] y) <float[64, 128] w>
        { a = MatMul(x, w) n = NonZero(a) y = Abs(n) }"""
    workload = profile(parse_onnx(text))
    assert workload.notes == (
        "sizes of 2 values depend on numbers, the first is 'n' of node 'n': they are counted as empty",
    )
    with pytest.raises(
        ValueError, match="the shape of 'y' is not known: node 'n', NonZero, makes what depends on numbers"
    ):
        profile(parse_onnx(text.replace("y = Abs(n)", "c = Cast <to = 1> (n) y = MatMul(c, c)")))


def test_unknown_shapes_are_taken_from_the_file(parse_onnx):
    text = """net (float[4, 64] x) => (float[] y) <float[64, 128] w, float[4, 64] a>
        { a = com.microsoft.Odd(x) y = MatMul(a, w) }"""
    assert flops_of(parse_onnx(text, microsoft=True)) == PRODUCT + 256


@pytest.mark.parametrize(
    ("dims", "reason"),
    [
        ([64, -2], r"tensor 'w' has shape \(64, -2\); sizes must be 0 or more"),
        ([2**62, 2**62, 2**62], r"'w' has shape .*; it must have 2\*\*60 numbers or fewer"),
    ],
)
def test_sizes_that_no_tensor_has_are_refused(save_onnx, dims, reason):
    tensor = TensorProto(name="w", dims=dims, data_type=TensorProto.FLOAT)
    with pytest.raises(ValueError, match=f"net.onnx: {reason}"):
        profile(save_onnx([node("MatMul", "x w", "y")], [tensor], [4, 64]))
