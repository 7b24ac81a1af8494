from pathlib import Path

import pytest

from stageplan.readers import read_workload
from stageplan.readers.pipedream import read_workload as read_profile

FOLDER = Path(__file__).parents[2] / "shared" / "workloads" / "pipedream"

# Nodes besides inputs, nodes whose output is used, kind of the first layer, seconds of all layers.
FILES = {
    "alexnet": (22, 21, "Conv2d", 0.08532),
    "gnmt": (45, 36, "Embedding", 0.08942),
    "resnet18": (70, 69, "Conv2d", 0.2597),
    "resnet50": (176, 175, "Conv2d", 0.4434),
    "vgg16": (40, 39, "Conv2d", 0.6725),
}


def node(description, forward, backward, activation, parameter):
    return (
        f"{description} -- forward_compute_time={forward}, backward_compute_time={backward}, "
        f"activation_size={activation}, parameter_size={parameter}\n"
    )


INPUT = node("node1 -- Input0", "0.000", "0.000", "0.0", "0.000")
CONVOLUTION = node("node2 -- Conv2d(3, 64, bias=False)", "1.5", "2.5", "100.0", "7.0")
LSTM = node("node3 -- LSTM(  (rnn): LSTM(4, 4))", "1.0", "0.0", "[10.0; 2.0]", "0.000 -- stage_id=1")
ITEM = node("node4 -- __getitem__(0)", "0.0", "0.0", "4.0", "0.0")
EDGES = """\
\tnode1 -- node2
\tnode2 -- node3
\tnode2 -- node4
\tnode3 -- node4
\tnode3 -- node4
"""
PROFILE = INPUT + CONVOLUTION + LSTM + ITEM + EDGES


def test_a_profile_becomes_layers_and_tensors():
    workload = read_profile(PROFILE, "net")
    assert workload.name == "net"
    assert [layer.name for layer in workload.layers] == ["node2", "node3", "node4"]
    assert [layer.kind for layer in workload.layers] == ["Conv2d", "LSTM", "__getitem__"]
    assert [layer.compute["v100"] for layer in workload.layers] == [0.004, 0.001, 0.0]
    assert [layer.memory for layer in workload.layers] == [107.0, 12.0, 4.0]
    tensors = [(tensor.producer, tensor.consumers, tensor.bytes) for tensor in workload.tensors]
    assert tensors == [("node2", ("node3", "node4"), 200.0), ("node3", ("node4",), 24.0)]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("node3 -- LSTM", "node2 -- LSTM", "line 3: the id 'node2' is taken"),
        (
            "node2 -- node3",
            "node2 -- node7",
            "line 6: the edge names 'node7'; it must name a node of the file",
        ),
        ("node2 -- node3", "node2 -- node2", "line 6: the edge leads from 'node2' to itself"),
        ("node1 -- node2", "node4 -- node2", "edges go round in a cycle of 3 nodes, 'node"),
        ("time=1.5", "time=-1.5", "line 2: the forward field is '-1.5'; it must be a number, 0 or more"),
        ("time=2.5", "time=nan", "line 2: the backward field is 'nan'; it must be a number, 0 or more"),
        ("[10.0; 2.0]", "[10.0; two]", "line 3: the activation field is '[10.0; two]'; it must be a number"),
        ("size=7.0", "size=inf", "line 2: the parameter field is 'inf'; it must be a number, 0 or more"),
        (", parameter_size=7.0", "", "line 2 is 'node2 -- Conv2d(3, 64, bias=False)"),
        ("\tnode3 -- node4", "\tnode3 --", "line 8 is 'node3 --'; it must be a node or an edge"),
    ],
)
def test_a_bad_profile_is_refused(tmp_path, old, new, sentence):
    path = tmp_path / "net.txt"
    path.write_text(PROFILE.replace(old, new))
    with pytest.raises(ValueError, match=r"net\.txt: ") as caught:
        read_workload(path)
    assert sentence in str(caught.value)


def test_a_profile_of_inputs_alone_is_refused():
    with pytest.raises(ValueError, match="it has 0 nodes besides the inputs; it must have 1 to 4096"):
        read_profile(INPUT, "net")


def test_a_profile_of_too_many_nodes_is_refused():
    lines = [CONVOLUTION.replace("node2", f"node{index}") for index in range(4097)]
    with pytest.raises(ValueError, match="it has 4097 nodes besides the inputs; it must have 1 to 4096"):
        read_profile("".join(lines), "net")


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the folder of published workloads is absent")
@pytest.mark.parametrize("name", FILES)
def test_published_profiles(name):
    n_layers, n_tensors, first, seconds = FILES[name]
    workload = read_workload(FOLDER / f"{name}.txt")
    assert workload.name == name
    assert (len(workload.layers), len(workload.tensors)) == (n_layers, n_tensors)
    assert workload.layers[0].kind == first
    assert sum(layer.compute["v100"] for layer in workload.layers) == pytest.approx(seconds, rel=1e-3)
    place = {layer.name: index for index, layer in enumerate(workload.layers)}
    for tensor in workload.tensors:
        assert all(place[tensor.producer] < place[consumer] for consumer in tensor.consumers)
