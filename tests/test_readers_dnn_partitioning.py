import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from stageplan._core import OrderSplits
from stageplan.goal import Goal
from stageplan.readers import read_cluster, read_goal, read_workload
from stageplan.readers.order import Devices

FOLDER = Path(__file__).parents[2] / "shared" / "workloads" / "dnn-partitioning"

# Layers, tensors, accelerators, published optimum over contiguous splits.
FILES = {
    "bert24_inference": (32, 30, 6, 17.78990625),
    "bert24_training": (32, 60, 6, 41.7458125),
    "gnmt_inference": (96, 79, 6, 32.910658203125),
    "resnet50_inference": (177, 176, 6, 33.774666015625),
    "resnet50_training": (177, 352, 6, 78.6318125),
    "operators_bert_l-3_inference": (128, 127, 3, 27.9185676799125),
}
published = pytest.mark.skipif(not FOLDER.is_dir(), reason="the folder of published workloads is absent")


def node(id_, **fields):
    base = {"id": id_, "name": f"node{id_}", "supportedOnFpga": 1, "cpuLatency": 10.0, "fpgaLatency": 1.0}
    return {**base, "isBackwardNode": 0, "size": 100.0, **fields}


def edge(source, target, cost=0.5):
    return {"sourceId": source, "destId": target, "cost": cost, "size": 1.0}


def instance(nodes, edges, **fields):
    return {"maxSizePerFPGA": 1e9, "maxFPGAs": 2, "maxCPUs": 1, "nodes": nodes, "edges": edges, **fields}


@pytest.fixture
def write(tmp_path):
    """Return a function that writes an instance to a file, and returns its path."""

    def write(nodes, edges, **fields):
        path = tmp_path / "net.json"
        path.write_text(json.dumps(instance(nodes, edges, **fields)))
        return path

    return write


def tensors_of(workload):
    return [(tensor.producer, tensor.consumers, tensor.bytes) for tensor in workload.tensors]


def test_an_instance_holds_all_three(write):
    path = write([node(5), node(3, supportedOnFpga=False)], [edge(5, 3)])
    workload, cluster = read_workload(path), read_cluster(path)
    assert [layer.compute for layer in workload.layers] == [
        {"accelerator": 1.0, "cpu": 10.0},
        {"accelerator": None, "cpu": 10.0},
    ]
    assert [layer.memory for layer in workload.layers] == [100.0, 100.0]
    assert tensors_of(workload) == [("node5", ("node3",), 0.5)]
    accelerator, cpu = cluster.types
    assert (accelerator.name, accelerator.limit, accelerator.capacity, accelerator.bandwidth) == (
        "accelerator", 2, 1e9, 1.0
    )  # fmt: skip
    assert (cpu.name, cpu.limit, cpu.capacity, cpu.bandwidth) == ("cpu", 1, None, None)
    assert accelerator.price == cpu.price == 1.0
    assert read_goal(path) == Goal(
        objective="throughput", examples=1, split=True, overlap=False, max_devices_per_stage=1
    )


def test_nodes_of_a_class_are_one_layer_with_a_tensor_a_node(write):
    nodes = [node(1, colorClass=7), node(2, colorClass=7), node(3), node(4)]
    workload = read_workload(
        write(nodes, [edge(1, 2), edge(1, 3), edge(2, 3, 0.25), edge(2, 4, 0.25), edge(3, 4)])
    )
    merged = workload.layers[0]
    assert (merged.name, merged.memory, merged.compute["cpu"]) == ("node1", 200.0, 20.0)
    assert tensors_of(workload) == [
        ("node1", ("node3",), 0.5),
        ("node1", ("node3", "node4"), 0.25),
        ("node3", ("node4",), 0.5),
    ]


@pytest.mark.parametrize("turned", [True, False])
def test_the_forward_half_orders_a_training_graph(write, turned):
    forward = [(1, 2), (2, 3)]
    backward = [(b + 10, a + 10) if turned else (a + 10, b + 10) for a, b in forward]
    nodes = [node(id_, colorClass=id_) for id_ in (3, 1, 2)]
    nodes += [node(id_ + 10, colorClass=id_, isBackwardNode=1) for id_ in (3, 1, 2)]
    stored = [(3, 13), (1, 12)] if turned else []
    workload = read_workload(write(nodes, [edge(*ends) for ends in forward + backward + stored]))
    assert [layer.name for layer in workload.layers] == ["node1", "node2", "node3"]
    assert len(workload.tensors) == 4


def test_gradients_order_layers_without_a_forward_node(write):
    nodes = [node(id_, isBackwardNode=1) for id_ in (1, 2, 3)]
    workload = read_workload(write(nodes, [edge(1, 2), edge(2, 3)]))
    assert [layer.name for layer in workload.layers] == ["node3", "node2", "node1"]


def test_layers_that_need_each_other_are_merged(write):
    nodes = [node(0), node(1, colorClass=1), node(2), node(3, colorClass=1)]
    workload = read_workload(write(nodes, [edge(0, 1), edge(1, 2), edge(2, 3)]))
    assert [layer.name for layer in workload.layers] == ["node0", "node1"]
    assert workload.layers[1].compute["accelerator"] == 3.0
    assert tensors_of(workload) == [("node0", ("node1",), 0.5)]


def test_names_that_are_missing_or_repeated_get_the_id(write):
    workload = read_workload(write([node(1, name="add"), node(2, name="add"), node(3, name="")], []))
    assert sorted(layer.name for layer in workload.layers) == ["#3", "add#1", "add#2"]


@pytest.mark.parametrize(
    ("nodes", "edges", "sentence"),
    [
        ([], [], "nodes has 0 items; it must have 1 to 65536"),
        ({}, [], "nodes is {}; it must be a list"),
        ([3], [], "nodes[0] is 3; it must be a table"),
        ([node(1), node(1)], [], "nodes[1].id is 1; it must differ from the ids before it"),
        ([{"id": 1}], [], "nodes[0].cpuLatency is missing; it must be a time, 0 or more and finite"),
        (
            [node(1, fpgaLatency=-1)],
            [],
            "nodes[0].fpgaLatency is -1; it must be a time, 0 or more and finite",
        ),
        ([node(1, supportedOnFpga=2)], [], "nodes[0].supportedOnFpga is 2; it must be 0, 1, true or false"),
        ([node(1, colorClass="x")], [], "nodes[0].colorClass is 'x'; it must be a whole number"),
        ([node(1)], [edge(1, 1)], "edges[0].destId is 1; it must differ from the sourceId"),
        ([node(1)], [edge(1, 9)], "edges[0].destId is 9; it must be the id of a node"),
        ([node(1)], [edge(9, 1)], "edges[0].sourceId is 9; it must be the id of a node"),
        (
            [node(1), node(2), node(3)],
            [edge(1, 2), edge(1, 3, 2)],
            "edges[1].cost is 2.0; it must be 0.5, as on",
        ),
        ([node(1), node(2)], [edge(1, 2), edge(2, 1)], "edges go round in a cycle of 2 nodes, "),
        ([node(index) for index in range(4097)], [], "nodes make 4097 layers; they must make at most 4096"),
    ],
)
def test_a_bad_graph_is_refused(write, nodes, edges, sentence):
    with pytest.raises(ValueError, match=r"net\.json: ") as caught:
        read_workload(write(nodes, edges))
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"maxFPGAs": -1}, "maxFPGAs is -1; it must be a whole number of devices from 0 to 2**53"),
        ({"maxCPUs": 1.5}, "maxCPUs is 1.5; it must be a whole number of devices from 0 to 2**53"),
        ({"maxSizePerFPGA": 0}, "maxSizePerFPGA is 0; it must be more than 0 bytes and finite"),
    ],
)
def test_bad_devices_are_refused(write, fields, sentence):
    path = write([node(1)], [], **fields)
    for read in (read_workload, read_cluster):
        with pytest.raises(ValueError, match=r"net\.json: ") as caught:
            read(path)
        assert sentence in str(caught.value)


@published
@pytest.mark.parametrize("name", FILES)
def test_published_instances(name):
    n_layers, n_tensors, accelerators, _ = FILES[name]
    document = json.loads((FOLDER / f"{name}.json").read_text())
    workload, cluster = read_workload(FOLDER / f"{name}.json"), read_cluster(FOLDER / f"{name}.json")
    assert (len(workload.layers), len(workload.tensors)) == (n_layers, n_tensors)
    assert [type_.limit for type_ in cluster.types] == [accelerators, 1]
    for type_, key in (("accelerator", "fpgaLatency"), ("cpu", "cpuLatency")):
        total = sum(layer.compute[type_] for layer in workload.layers)
        assert total == pytest.approx(sum(item[key] for item in document["nodes"]))
    assert sum(layer.memory for layer in workload.layers) == sum(item["size"] for item in document["nodes"])
    place = {layer.name: index for index, layer in enumerate(workload.layers)}
    for tensor in workload.tensors:
        assert all(place[tensor.producer] < place[consumer] for consumer in tensor.consumers)


@published
@pytest.mark.parametrize("name", FILES)
def test_the_order_reaches_the_published_contiguous_optimum(name):
    workload, cluster = read_workload(FOLDER / f"{name}.json"), read_cluster(FOLDER / f"{name}.json")
    assert _contiguous_optimum(workload, cluster) == pytest.approx(FILES[name][3], rel=1e-9)


def _contiguous_optimum(workload, cluster):
    """Least largest load over all splits of the layers into one interval a device."""
    n = len(workload.layers)
    place = {layer.name: index for index, layer in enumerate(workload.layers)}
    tensors = [
        (place[tensor.producer], [place[consumer] for consumer in tensor.consumers], tensor.bytes)
        for tensor in workload.tensors
    ]
    devices = [
        Devices(
            type_.limit, [layer.compute[type_.name] for layer in workload.layers], type_.bandwidth is not None
        )
        for type_ in cluster.types
    ]
    on_accelerator, on_cpu = OrderSplits(tensors, devices).loads(list(range(n)))
    memory = np.concatenate(([0.0], np.cumsum([layer.memory for layer in workload.layers])))
    on_accelerator[memory[None, 1:] - memory[:-1, None] > cluster.types[0].capacity] = np.inf
    reach = np.full((devices[0].number + 1, devices[1].number + 1, n + 1), np.inf)
    reach[:, :, 0] = 0.0
    for used in product(*(range(kind.number + 1) for kind in devices)):
        for step, loads in (((1, 0), on_accelerator), ((0, 1), on_cpu)):
            fewer = tuple(np.subtract(used, step))
            if min(fewer) >= 0:
                last = np.maximum(reach[fewer][:-1, None], loads).min(axis=0)
                reach[used][1:] = np.minimum(reach[used][1:], np.minimum(last, reach[fewer][1:]))
    return reach[-1, -1, -1]
