"""What a workload on a cluster becomes."""

import pickle
import re
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


# Strategies ---------------------------------------------------------------------------------------------

A100 = DeviceType(
    name="a100", price=3, limit=8, machine=8, link=3e11, network=5e10, strategies={"recompute": 1, "quad": 4}
)
H100 = DeviceType(name="h100", price=6, like="a100", speed=2)
SPLIT = Layer(
    name="body",
    compute={"a100": 8, "a100/tp2": 4.4, "a100/quad": 2.4, "cpu": 80},
    send={"a100": 1, "a100/tp2": 0.5, "cpu": 0},
    memory={"a100": 64, "a100/tp2": 32, "a100/quad": 16, "cpu": 64},
    activations={"a100": 8, "a100/tp2": 4, "a100/quad": 2, "cpu": 8},
    sharded=16,
)
HEAD = Layer(name="head", compute={"a100": 2, "a100/tp2": 1, "a100/quad": 0.5, "h100/quad": None, "cpu": 9})
BATCH = sp.Goal(schedule="1f1b", microbatches=4, batch=8)


def strategies(*types: DeviceType, layers: Any = (SPLIT, HEAD), goal: sp.Goal = BATCH) -> sp.Problem:
    net = Workload(name="net", layers=layers, batch=2)
    return sp.Problem(net, Cluster(name="lab", types=types), goal)


def test_strategies_become_columns() -> None:
    """Layers say which strategies there are, types how many devices they take; like types have them too."""
    p = strategies(A100, DeviceType(name="cpu", price=1), H100)
    assert p.by_options
    assert (p.n_types, p.n_labels) == (3, 3)
    assert p.column_type.tolist() == [0, 0, 0, 1, 2, 2, 2]
    assert p.column_degree.tolist() == [1, 2, 4, 1, 1, 2, 4]
    assert p.column_strategy == ("", "tp2", "quad", "", "", "tp2", "quad")
    assert p.compute.tolist() == [[4, 2.2, 1.2, 40, 2, 1.1, 0.6], [1, 0.5, 0.25, 4.5, 0.5, 0.25, inf]]


def test_tables_by_strategy() -> None:
    """What a table lacks of a strategy is as its type has it; activations are of one example."""
    p = strategies(A100, DeviceType(name="cpu", price=1))
    assert p.send[0].tolist() == [0.5, 0.25, 0.5, 0]
    assert p.memory.tolist() == [[64, 32, 16, 64], [0] * 4]
    assert p.activations.tolist() == [[4, 2, 1, 4], [0] * 4]
    assert p.sharded.tolist() == [[16] * 4, [0] * 4]
    assert p.gradients is None
    assert [x.tolist() for x in (p.machine, p.link, p.network)] == [[8, inf], [3e11, inf], [5e10, inf]]


def test_a_table_that_says_one_number_for_all_types() -> None:
    layer = Layer(name="body", compute={"a100": 1, "cpu": 2}, memory={"a100": 5, "cpu": 5}, activations=3)
    p = strategies(DeviceType(name="a100", price=1), DeviceType(name="cpu", price=1), layers=(layer,),
                   goal=sp.Goal())  # fmt: skip
    assert p.memory.tolist() == [8]
    assert p.column_type is None
    assert not p.by_options


def test_activations_without_a_batch_are_those_of_the_batch_of_the_workload() -> None:
    """They stay on each device; with a batch in the goal they count for each example in flight."""
    layer = Layer(name="body", compute={"a100": 1}, memory=5, activations=3)
    p = strategies(A100, layers=(layer,), goal=sp.Goal(min_throughput=1))
    assert not p.by_options
    assert p.memory.tolist() == [8]
    assert sp.solve(p).plan.stages[0].memory == 8
    assert p.replace(memory=[7]).memory.tolist() == [10]
    assert p.replace(price=[2]).memory.tolist() == [8]
    assert pickle.loads(pickle.dumps(p)) == p
    later = p.replace(schedule="gpipe", microbatches=4, batch=4)
    assert later.by_options
    assert (later.memory.tolist(), later.activations.tolist()) == ([5], [[1.5]])
    assert later.replace(schedule=None, microbatches=None, batch=None) == p


def test_workspaces_add_up_in_stages_of_all_layers_of_a_type() -> None:
    layers = [Layer(name=name, compute={"a100": 1}, memory=5, workspace=3) for name in "ab"]
    p = strategies(A100, layers=layers, goal=sp.Goal(merge="type"))
    assert not p.by_options
    assert (p.memory.tolist(), p.workspace) == ([8, 8], None)
    assert sp.verify(p, sp.solve(p).plan).feasible
    adjacent = p.replace(merge="adjacent")
    assert (adjacent.memory.tolist(), adjacent.workspace.tolist()) == ([5, 5], [[3], [3]])
    assert sp.Plan.of(adjacent, [0, 0]).stages[0].memory == 13
    assert adjacent.replace(merge="type") == p


def test_activations_without_a_batch_of_several_columns() -> None:
    p = strategies(A100, DeviceType(name="cpu", price=1), goal=sp.Goal())
    assert p.memory.tolist() == [[72, 36, 18, 72], [0] * 4]
    assert sp.verify(p, sp.solve(p).plan).feasible


def test_backward_times_where_all_layers_have_them() -> None:
    body = Layer(name="body", compute={"a100": 8, "a100/tp2": 4}, backward={"a100": 6, "a100/tp2": 3})
    p = strategies(A100, H100, layers=(body,))
    assert p.backward.tolist() == [[3, 1.5, 1.5, 0.75]]
    assert p.replace(compute=p.compute * 2).backward is None
    assert pickle.loads(pickle.dumps(p)) == p
    head = Layer(name="head", compute={"a100": 1, "a100/tp2": 1})
    assert strategies(A100, layers=(body, head)).backward is None


def test_only_strategies_that_need_several_devices() -> None:
    layer = Layer(name="body", compute={"a100/tp2": 1})
    p = strategies(A100, layers=(layer,))
    assert (p.column_degree.tolist(), p.column_strategy) == ([2], ("tp2",))


def test_type_with_a_slash_in_its_name() -> None:
    """A type's own name comes before another one's strategy."""
    layer = Layer(name="body", compute={"a": 1, "a/x": 2})
    p = strategies(DeviceType(name="a", price=1), DeviceType(name="a/x", price=1), layers=(layer,))
    assert p.compute.tolist() == [[0.5, 1]]
    assert p.column_type is None


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"compute": {"a100": 1, "a100/fast": 1}},
            "strategy 'fast' of device type 'a100' has no number of devices; it must be in the type's "
            "strategies, or have a name such as 'tp4'",
        ),
        (
            {"compute": {"a100": 1, "a100/tp3": 1}},
            "layer 'body' has no time on device type 'a100' under strategy 'tp3'; it must be in the layer's "
            "compute, or the type must be like one that is",
        ),
        (
            {"compute": {"a100": 1}, "workspace": {"a100/quad": 1}},
            "layer 'head' has no workspace for device type 'a100'; its table must have one",
        ),
    ],
)
def test_wrong_strategies(fields: dict[str, Any], sentence: str) -> None:
    head = Layer(name="head", **fields)
    body = Layer(name="body", compute={"a100": 1} | ({"a100/fast": 1} if "a100/fast" in head.compute else {}))
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        strategies(A100, layers=(body, head))


def test_gradients_count_once_there_is_a_batch() -> None:
    layer = Layer(name="body", compute={"a100": 1}, gradients=4e11)
    p = strategies(A100, layers=(layer,), goal=sp.Goal(min_throughput=4))
    assert not p.by_options
    assert sp.verify(p, sp.solve(p).plan).throughput == 4
    stages = p.replace(max_stages=1)
    assert sp.verify(stages, sp.solve(stages).plan).throughput == 4
    reduced = p.replace(batch=8)
    assert reduced.gradients.tolist() == [[4e11]]
    assert sp.Plan.of(reduced, [0]).stages[0].sync > 0


def test_updates_need_a_batch() -> None:
    layer = Layer(name="body", compute={"a100": 1}, update=0.5)
    with pytest.raises(ValueError, match=r"^batch is absent; it must be given where there are update"):
        strategies(A100, layers=(layer,), goal=sp.Goal())
    assert strategies(A100, layers=(layer,), goal=sp.Goal(batch=4)).update.tolist() == [[0.5]]
