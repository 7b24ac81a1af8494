"""ONNX files for tests."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import stageplan as sp

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


def saver(folder):
    """Return a function that saves a network of nodes and weights, which takes x and gives y."""

    def save(nodes, weights, shape, output="y", elements=TensorProto.FLOAT, opset=23):
        graph = helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("x", elements, shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            weights,
        )
        path = folder / "net.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), path)
        return path

    return save


def profile(path, mode="inference", **options):
    return sp.profile(path, devices=[DEVICE], mode=mode, **options)


def parser(folder):
    """Return a function that saves a network given as onnx.parser's text, with weights of 0."""

    def parse(text, opset=18, microsoft=False):
        domains = f'"": {opset}' + (', "com.microsoft": 1' if microsoft else "")
        model = onnx.parser.parse_model(f"<ir_version: 10, opset_import: [{domains}]> {text}")
        made = {name for node in model.graph.node for name in node.output}
        for value in model.graph.value_info:
            if value.name not in made:
                type_ = value.type.tensor_type
                shape = [dimension.dim_value for dimension in type_.shape.dim]
                zeros = np.zeros(shape, helper.tensor_dtype_to_np_dtype(type_.elem_type))
                model.graph.initializer.append(numpy_helper.from_array(zeros, value.name))
        path = folder / "net.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return parse


def flops_of(path, **options):
    """FLOPs of a network as a whole."""
    return sum(layer.flops for layer in profile(path, **options).layers)
