"""What a workload on a cluster becomes."""

import pickle
from math import inf
from typing import Any

import pytest

import stageplan as sp
from stageplan.cluster import Cluster, DeviceType
from stageplan.workload import Layer, Tensor, Workload

LAYERS = (
    Layer(
        name="in",
        kind="embed",
        compute={"old": 8, "cpu": 4},
        send=0.4,
        receive={"old": 2, "gpu": 0},
        memory=7,
    ),
    Layer(name="mid", kind="dense", compute={"old": 8, "gpu": None}, compute_parallel={"old": 0.5, "cpu": 1}),
    Layer(name="out", compute={"old": 12, "cpu": inf}, send={"old": 4, "gpu": 8}),
)
TENSORS = (
    Tensor(producer="in", consumers=("mid", "out"), bytes=100),
    Tensor(producer="out", consumers=("in",), bytes=8),
)
FAST = DeviceType(
    name="fast", price=5, limit=3, capacity=9, bandwidth=2, transfer_parallel=0.5, like="gpu", speed=2
)
GPU = DeviceType(name="gpu", price=2, like="old", speed={"embed": 4, "default": 2})
CPU = DeviceType(name="cpu", price=1, like="old")


def lower(*types: DeviceType, **workload: Any) -> sp.Problem:
    """Put a network, of which four examples were measured on a type that is not for rent, on some types."""
    net = Workload(**{"name": "net", "layers": LAYERS, "tensors": TENSORS, "batch": 4} | workload)
    return sp.Problem(net, Cluster(name="lab", types=types, fixed_price=0.5), sp.Goal(examples=10))


def test_lowering() -> None:
    """Times and bytes are of one example; memory is not divided, and fractions are carried over unscaled."""
    p = lower(FAST, GPU, CPU)
    assert p.compute.tolist() == [[0.25, 0.5, 1], [inf, inf, 2], [0.75, 1.5, inf]]
    assert p.send.tolist() == [[0.1] * 3, [0] * 3, [2, 2, 1]]
    assert p.receive.tolist() == [[0, 0, 0.5], [0] * 3, [0] * 3]
    assert p.compute_parallel.tolist() == [[1] * 3, [0.5, 0.5, 1], [1] * 3]
    assert p.memory.tolist() == [7, 0, 0]
    assert p.tensors == ((0, (1, 2), 25), (2, (0,), 2))
    assert [x.tolist() for x in (p.limit, p.capacity)] == [[3, inf, inf], [9, inf, inf]]
    assert [x.tolist() for x in (p.bandwidth, p.transfer_parallel)] == [[2, inf, inf], [0.5, 1, 1]]
    assert (p.price.tolist(), p.fixed_price, p.goal.examples) == ([5, 2, 1], 0.5, 10)
    assert (p.layer_names, p.type_names) == (("in", "mid", "out"), ("fast", "gpu", "cpu"))
    assert str(p).startswith("net on lab: 3 layers on 3 device types (fast, gpu, cpu); ")
    assert pickle.loads(pickle.dumps(p)) == p


def test_a_layer_without_a_time() -> None:
    tpu = DeviceType(name="tpu", price=1, like="npu")
    with pytest.raises(ValueError, match=r"^layer 'in' has no time on device type 'tpu'; it must be in"):
        lower(GPU, tpu)
    with pytest.raises(ValueError, match="is inf on every type; at least one type must run the layer"):
        lower(GPU)


def test_a_table_without_a_type() -> None:
    layer = Layer(name="in", compute={"gpu": 1, "cpu": 2}, send={"gpu": 1})
    types = (DeviceType(name="gpu", price=1), DeviceType(name="cpu", price=1))
    with pytest.raises(ValueError, match=r"^layer 'in' has no send for device type 'cpu'; its table must"):
        lower(*types, layers=(layer,), tensors=())


def test_other_nouns() -> None:
    net, lab = Workload(name="net", layers=LAYERS), Cluster(name="lab", types=(CPU,))
    for arguments, name in (((lab, net), "workload"), ((net, net), "cluster"), ((net, lab, {}), "goal")):
        with pytest.raises(TypeError, match=rf"^{name} is .*; it must be a {name.capitalize()}$"):
            sp.Problem(*arguments)
