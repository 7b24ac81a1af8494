"""Published workloads from file to plan: each load is recomputed from the file by the paper's formula."""

import json
from collections import defaultdict
from pathlib import Path

import pytest

from stageplan import cli

SHARED = Path(__file__).parents[2] / "shared" / "workloads"

# Tarnawski et al. 2020: largest load of the best contiguous split.
CONTIGUOUS = {
    "bert24_inference": 17.78990625,
    "bert24_training": 41.7458125,
    "gnmt_inference": 32.910658203125,
    "resnet50_inference": 33.774666015625,
    "resnet50_training": 78.6318125,
    "operators_bert_l-3_inference": 27.9185676799125,
}
PIPEDREAM = ("alexnet", "gnmt", "resnet18", "resnet50", "vgg16")

TWO_TYPES = """
name = "two"

[[types]]
name = "v100"
price = 3.06
limit = 8
capacity = 16e9
bandwidth = 1.25e9
transfer_parallel = 0.95

[[types]]
name = "t4"
price = 0.53
limit = 16
capacity = 16e9
bandwidth = 1.25e9
transfer_parallel = 0.95
like = "v100"
speed = { default = 0.4, LSTM = 0.5 }
"""


def find(folder: str, file: str) -> Path:
    path = SHARED / folder / file
    if not path.exists():
        pytest.skip(f"the published workloads are not at {SHARED}")
    return path


def plan(tmp_path: Path, *argv: object) -> tuple[int, dict]:
    output = tmp_path / "plan.json"
    status = cli.main(["plan", *map(str, argv), "-o", str(output)])
    return status, json.loads(output.read_text())


def load(graph: dict, placed: set[int], accelerator: bool) -> float:
    """Work of the nodes on a device and, on an accelerator, each tensor that crosses its border, once."""
    work = sum(n["fpgaLatency" if accelerator else "cpuLatency"] for n in graph["nodes"] if n["id"] in placed)
    if not accelerator:
        return work
    crossing = {
        e["sourceId"]: e["cost"]
        for e in graph["edges"]
        if (e["sourceId"] in placed) != (e["destId"] in placed)
    }
    return work + sum(crossing.values())


def nodes_of(graph: dict, layers: list[str], every: list[str]) -> set[int]:
    """Nodes of layers, which are named after their first node; nodes of a colour class are one layer."""
    groups = defaultdict(set)
    for node in graph["nodes"]:
        groups[("class", node["colorClass"]) if "colorClass" in node else ("node", node["id"])].add(
            node["id"]
        )
    uses = defaultdict(int)
    for node in graph["nodes"]:
        uses[node["name"]] += 1
    by_name = {}
    for node in graph["nodes"]:
        group = groups[("class", node["colorClass"]) if "colorClass" in node else ("node", node["id"])]
        for name in (node["name"], f"{node['name']}#{node['id']}"):
            if name in every:
                by_name.setdefault(name, group)
    return set().union(*(by_name[name] for name in layers))


def check_loads(graph: dict, found: dict) -> list[float]:
    """Every node is on one device, and the stage times are the loads of the file; returns these."""
    every = [layer for stage in found["stages"] for layer in stage["layers"]]
    placed = [nodes_of(graph, stage["layers"], every) for stage in found["stages"]]
    assert sum(map(len, placed)) == len(set().union(*placed)) == len(graph["nodes"])
    loads = [load(graph, p, s["type"] == "accelerator") for p, s in zip(placed, found["stages"], strict=True)]
    assert [s["time"] for s in found["stages"]] == pytest.approx(loads, rel=1e-9)
    assert [s["devices"] for s in found["stages"]] == [1] * len(loads)
    types = [s["type"] for s in found["stages"]]
    assert types.count("accelerator") <= graph["maxFPGAs"]
    assert types.count("cpu") <= graph["maxCPUs"]
    return loads


@pytest.mark.parametrize("name", CONTIGUOUS)
def test_dnn_partitioning(tmp_path: Path, name: str) -> None:
    path = find("dnn-partitioning", f"{name}.json")
    status, found = plan(tmp_path, path)
    assert (status, found["feasible"]) == (0, True)
    loads = check_loads(json.loads(path.read_text()), found)
    assert max(loads) <= 1.01 * CONTIGUOUS[name]
    assert max(loads) >= CONTIGUOUS[name] * (1 - 1e-9)


@pytest.mark.parametrize("name", CONTIGUOUS)
def test_dnn_partitioning_from_anywhere(tmp_path: Path, name: str) -> None:
    """Devices that may hold any layers do better than contiguous splits."""
    path = find("dnn-partitioning", f"{name}.json")
    status, found = plan(tmp_path, path, "--merge", "type", "--seed", 1)
    assert (status, found["feasible"]) == (0, True)
    assert max(check_loads(json.loads(path.read_text()), found)) < CONTIGUOUS[name]


@pytest.mark.parametrize("name", PIPEDREAM)
def test_pipedream(tmp_path: Path, name: str) -> None:
    path = find("pipedream", f"{name}.txt")
    cluster = tmp_path / "two.toml"
    cluster.write_text(TWO_TYPES)
    status, found = plan(tmp_path, path, "--cluster", cluster, "--min-throughput", 2, "--examples", 10000)
    assert (status, found["feasible"]) == (0, True)
    assert found["throughput"] >= 2 * (1 - 1e-9)
    assert found["cost"] == pytest.approx(10000 / found["throughput"] / 3600 * found["price"])
