"""Valid inputs that mutations begin with, made by the library itself where it writes them."""

from __future__ import annotations

import io
import json
from functools import cache
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper

import stageplan as sp

NET: dict[str, Any] = {
    "name": "net",
    "cluster": "types.toml",
    "batch": 4,
    "mode": "train",
    "precision": "fp32",
    "sequence": 16,
    "architecture": "Net",
    "layers": [
        {
            "name": "a",
            "kind": "Linear",
            "compute": {"slow": 0.004, "fast": 0.001},
            "memory": 10.0,
            "modules": ["m.a"],
        },
        {
            "name": "b",
            "compute": {"slow": 0.002, "fast": None},
            "send": {"slow": 0.001, "fast": 0.001},
            "parameters": 4.0,
        },
        {
            "name": "c",
            "compute": {"slow": 0.001, "fast": 0.002},
            "receive": 0.1,
            "compute_parallel": 0.9,
            "flops": 8,
        },
    ],
    "tensors": [{"producer": "a", "consumers": ["b", "c"], "bytes": 100}],
    "ties": [["a", "c"]],
    "goal": {"min_throughput": 300.0, "objective": "cost", "examples": 1000, "max_devices_per_stage": 1},
}
SHARED: dict[str, Any] = NET | {
    "layers": [
        layer
        | {
            "compute": layer["compute"] | {"slow/tp2": 0.0005, "slow/half": 0.003},
            "memory": {"slow": 10.0, "slow/tp2": 5.0, "fast": 10.0},
            "activations": 3.0,
            "gradients": {"slow": 4.0, "fast": 4.0},
            "sharded": 2.0,
            "workspace": 1.0,
            "update": 0.001,
        }
        for layer in NET["layers"]
    ],
    "goal": {"schedule": "1f1b", "microbatches": 2, "batch": 4, "max_stages": 2},
}
TYPES: dict[str, Any] = {
    "name": "types",
    "fixed_price": 0.1,
    "types": [
        {
            "name": "slow",
            "price": 1.0,
            "limit": 8,
            "capacity": 1e9,
            "bandwidth": 1e9,
            "transfer_parallel": 0.5,
            "machine": 4,
            "link": 1e10,
            "network": 1e9,
            "strategies": {"half": 1},
        },
        {"name": "fast", "price": 3.0, "like": "slow", "speed": {"Linear": 2.0, "default": 1.5}},
    ],
}
DEVICES: dict[str, Any] = {
    "devices": [
        {
            "name": "slow", "title": "Slow", "peak": {"fp32": 1e12, "bf16": 2e12}, "memory": 1e9,
            "memory_bandwidth": 1e10, "link": 1e10, "network": 1e9, "per_machine": 8, "price": 1.0,
            "price_names": ["Slow"], "compute_fraction": 0.4, "bandwidth_fraction": 0.7, "source": "x",
            "date": "y", "kernel_seconds": 1e-6, "launch_seconds": 1e-5, "link_latency": 1e-5,
            "link_fraction": 0.5,
            "efficiency": {"bf16": {"compute_fraction": 0.5, "bandwidth_fraction": 0.5}},
        },
        {"name": "fast", "peak": {"fp32": 1e13}, "memory": 1e9, "memory_bandwidth": 1e11},
        {"name": "v100", "peak": {"fp32": 1e13}, "memory": 1e9, "memory_bandwidth": 1e11, "price": 2.0},
    ]
}  # fmt: skip
GRAPH: dict[str, Any] = {
    "maxFPGAs": 2, "maxCPUs": 1, "maxSizePerFPGA": 100.0,
    "nodes": [
        {"id": i, "name": f"n{i}", "supportedOnFpga": 1, "cpuLatency": 2.0, "fpgaLatency": 1.0,
         "isBackwardNode": int(i > 3), "colorClass": i % 4, "size": 1.0}
        for i in range(8)
    ],
    "edges": [{"sourceId": i, "destId": i + 1, "cost": 0.1} for i in (0, 1, 2, 4, 5, 6)],
}  # fmt: skip
SPEC: dict[str, Any] = {
    "name": "net", "task": "click-through-rate", "target": "ssh:me@example.org:2222", "seed": 7,
    "service": {"model": {"preset": "small", "layers": 3, "width": 32, "heads": 4, "vocabulary": 100},
                "input_shape": [4, 6], "batch": 32, "precision": "bfloat16", "metric": "loss",
                "threshold": 0.5,
                "max_latency": 0.1, "min_throughput": 100},
    "hardware": {"cores": 2, "memory": 1e9, "instruction_sets": ["avx2"], "accelerators": 1,
    "driver": "550.54",
                 "types": [{"name": "cpu", "price": 1.0, "limit": 2, "capacity": 1e9}]},
    "environment": {"reuse": "/venv", "torch": "2.13.0", "requirements": ["numpy==2.4.6"],
                    "index": "https://example.org/simple"},
    "training": {"steps": 10, "quick_steps": 2, "learning_rate": 0.1, "time_limit": 100.0},
    "data": {"file": "clicks.csv"},
    "extend": {"steps": ["pipeline", "onnx"], "pipeline": {"method": "exact", "microbatches": 2},
               "server": {"port": 8080}, "accumulation": 4, "sparsity": 0.5},
    "ssh": {"directory": "/srv/net", "connect_timeout": 5},
}  # fmt: skip
PRICES = b"""\
InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone
vm,H100,8,40,320,"{'Gpus': [{'Name': 'H100'}]}",55.04,20,east-1,a
vm2,T4,1,4,16,,0.526,0.1578,east-2,a
cpu,,,4,16,,0.2,0.1,east-2,a
,tpu-v4-8,1,,,tpu-v4-8,12.88,4.51,us-central2,us-central2-b
big,A100-80GB,8.0,96,1000,A100-80GB,,,east-1,a
"""
_NODES = (
    ("node1 -- Input0", 0.0, 0.0, "0.0", 0.0),
    ("node2 -- Conv2d(3, 64)", 1.0, 2.0, "100", 8.0),
    ("node3 -- ReLU()", 0.5, 0.5, "[10; 20]", 0.0),
    ("node4 -- Linear(8, 8)", 2.0, 3.0, "5", 9.0),
)
_FIELDS = " -- forward_compute_time={}, backward_compute_time={}, activation_size={}, parameter_size={}\n"
_EDGES = "\tnode1 -- node2\n\tnode2 -- node3\n\tnode2 -- node4\n\tnode3 -- node4\n"
PIPEDREAM = ("".join(node + _FIELDS.format(*values) for node, *values in _NODES) + _EDGES).encode()
CONFIGURATIONS: tuple[dict[str, Any], ...] = (
    {"model_type": "bert", "architectures": ["BertForMaskedLM"], "hidden_size": 8, "num_hidden_layers": 2,
     "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 32, "max_position_embeddings": 16,
     "hidden_act": "gelu", "layer_norm_eps": 1e-12},
    {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 8, "num_hidden_layers": 2,
     "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 16, "vocab_size": 32,
     "max_position_embeddings": 16, "rope_theta": 10000.0, "rope_scaling": None, "tie_word_embeddings": True},
    {"model_type": "vit", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
     "intermediate_size": 16, "image_size": 16, "patch_size": 4, "num_channels": 3},
)  # fmt: skip


@cache
def built_in(field: str) -> tuple[bytes, ...]:
    """Return the built-in documents that have a field, small ones only."""
    files = (
        file.read_bytes()
        for file in (resources.files("stageplan") / "data").iterdir()
        if file.name[-4:] == "toml"
    )
    return tuple(file for file in files if f"\n[[{field}]]".encode() in file and len(file) < 20_000)


@cache
def workload() -> sp.Workload:
    """Return a small workload."""
    fields = {key: value for key, value in NET.items() if key not in ("cluster", "goal")}
    return msgspec.convert(fields, sp.Workload)


@cache
def cluster() -> sp.Cluster:
    """Return the cluster that it runs on."""
    return msgspec.convert(TYPES, sp.Cluster)


@cache
def problem() -> sp.Problem:
    """Return a small problem."""
    return sp.Problem(workload(), cluster(), sp.Goal(min_throughput=300.0, max_devices_per_stage=1))


@cache
def result() -> sp.Result:
    """Return a result with a policy."""
    return sp.solve(problem(), "reinforce", stop=sp.MaxGenerations(2), population=4)


@cache
def front() -> dict[str, Any]:
    """Return a front's document."""
    found = sp.pareto(problem(), points=3, stop=sp.MaxGenerations(3))
    document: dict[str, Any] = json.loads(msgspec.json.encode(found.to_dict()))
    return document


def scheduled() -> dict[str, Any]:
    """Return the document of a plan with a schedule."""
    return plan() | {"goal": plan()["goal"] | {"schedule": "1f1b", "microbatches": 4, "batch": 8}}


@cache
def plan() -> dict[str, Any]:
    """Return a plan's document."""
    document: dict[str, Any] = json.loads(msgspec.json.encode(result().to_dict()))
    return document


@cache
def policy() -> bytes:
    """Return a policy's file."""
    policy = result().policy
    assert policy is not None
    with TemporaryDirectory() as folder:
        policy.save(file := Path(folder, "policy.npz"))
        return file.read_bytes()


def policy_with(changes: dict[str, Any]) -> bytes:
    """Return a policy's file, arrays of which are replaced; those that are None are left out."""
    with np.load(io.BytesIO(policy())) as file:
        arrays = dict(file) | changes
    stream = io.BytesIO()
    np.savez(stream, **{name: array for name, array in arrays.items() if array is not None})
    return stream.getvalue()


@cache
def schemes() -> bytes:
    """Return an .npy of schemes."""
    stream = io.BytesIO()
    np.save(stream, np.array([[0, 0, 1], [1, 1, 0]], np.int8))
    return stream.getvalue()


@cache
def network() -> onnx.ModelProto:
    """Return a small ONNX network."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 4], [0.5] * 16)
    bias = helper.make_tensor("b", TensorProto.FLOAT, [4], [0.5] * 4)
    shape = helper.make_tensor("s", TensorProto.INT64, [2], [-1, 4])
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], name="first", transB=1),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Reshape", ["r", "s"], ["q"], name="reshape"),
        helper.make_node("MatMul", ["q", "w"], ["y"], name="second"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])]
    graph = helper.make_graph(nodes, "net", inputs, outputs, [weight, bias, shape])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


@cache
def cases() -> bytes:
    """Return a test script."""
    return (resources.files("stageplan.generate") / "project" / "basic" / "cases.toml").read_bytes()


@cache
def results() -> dict[str, dict[str, Any]]:
    """Return documents of the steps' results, by name."""
    item = {"name": "cores", "status": "OK", "found": "2", "wanted": "1"}
    artefact = {"path": "artefacts/weights.pt", "bytes": 10, "sha256": "0" * 64}
    metrics = {"train": {"loss": 0.5}}
    basic = {"training": "quick", "config_sha256": "0" * 64, "artefacts": [artefact], "metrics": metrics}
    basic |= {"versions": {"torch": "2"}, "seconds": 1.0}
    case = {"name": "train", "status": "PASS", "must_pass": True, "seconds": 1.0}
    stage = {"type": "cpu", "layers": ["a"], "ranks": [0]}
    return {
        "environment": {"target": "local", "python": "/p", "items": [item], "requirements": ["torch==2"],
                        "lock": [], "seconds": 1.0},
        "basic": basic,
        "extended": basic | {"steps": ["pipeline"], "stages": [stage]},
        "test": {"name": "net", "mode": "full", "cases": [case], "seconds": 1.0},
    }  # fmt: skip
