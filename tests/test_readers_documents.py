import json

import pytest

from stageplan.cluster import Cluster, DeviceType
from stageplan.goal import Goal
from stageplan.readers import documents, read_cluster, read_goal, read_workload
from stageplan.workload import Layer, Tensor, Workload

WORKLOAD = """
name = "net"
batch = 32
cluster = "lab.toml"
ties = [["embed", "head"]]

[[layers]]
name = "embed"
kind = "embedding"
compute = { cpu = 1, gpu = inf }
send = { cpu = 0.5, gpu = 0.25 }

[[layers]]
name = "head"
compute = { cpu = 2.0, gpu = 0.5 }
compute_parallel = 0.9
memory = 1e9

[[tensors]]
producer = "embed"
consumers = ["head"]
bytes = 4096

[goal]
min_throughput = 100.0
max_cost = 5.0
"""
CLUSTER = """
name = "lab"
fixed_price = 0.5
types = [
  { name = "cpu", price = 0.1, capacity = 64e9 },
  { name = "gpu", price = 2, limit = 8, bandwidth = 1e9, like = "cpu", speed = { default = 20, conv = 40 } },
]
"""
WORKLOAD_JSON = {
    "name": "net",
    "batch": 32,
    "cluster": "lab.toml",
    "ties": [["embed", "head"]],
    "layers": [
        {
            "name": "embed",
            "kind": "embedding",
            "compute": {"cpu": 1, "gpu": None},
            "send": {"cpu": 0.5, "gpu": 0.25},
        },
        {"name": "head", "compute": {"cpu": 2, "gpu": 0.5}, "compute_parallel": 0.9, "memory": 1e9},
    ],
    "tensors": [{"producer": "embed", "consumers": ["head"], "bytes": 4096}],
    "goal": {"min_throughput": 100.0, "max_cost": 5.0},
}


@pytest.fixture
def toml(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text(WORKLOAD)
    (tmp_path / "lab.toml").write_text(CLUSTER)
    return path


def test_a_workload_document(toml):
    assert read_workload(toml) == Workload(
        name="net",
        layers=(
            Layer(
                name="embed",
                kind="embedding",
                compute={"cpu": 1, "gpu": None},
                send={"cpu": 0.5, "gpu": 0.25},
            ),
            Layer(name="head", compute={"cpu": 2, "gpu": 0.5}, compute_parallel=0.9, memory=1e9),
        ),
        tensors=(Tensor(producer="embed", consumers=("head",), bytes=4096),),
        ties=(("embed", "head"),),
        batch=32,
    )
    assert type(read_workload(toml)) is Workload
    assert read_goal(toml) == Goal(min_throughput=100.0, max_cost=5.0)


def test_a_workload_document_names_its_cluster(toml):
    lab = read_cluster(toml.parent / "lab.toml")
    assert lab == Cluster(
        name="lab",
        fixed_price=0.5,
        types=(
            DeviceType(name="cpu", price=0.1, capacity=64e9),
            DeviceType(
                name="gpu", price=2, limit=8, bandwidth=1e9, like="cpu", speed={"default": 20, "conv": 40}
            ),
        ),
    )
    assert read_cluster(toml) == lab
    assert read_goal(toml.parent / "lab.toml") is None


def test_json_and_toml_say_the_same(toml):
    twin = toml.with_suffix(".json")
    twin.write_text(json.dumps(WORKLOAD_JSON))
    assert read_workload(twin) == read_workload(toml)
    assert read_goal(twin) == read_goal(toml)
    assert read_cluster(twin) == read_cluster(toml)


def change(**fields):
    return {**WORKLOAD_JSON, **fields}


def with_layer(**fields):
    return change(layers=[{**WORKLOAD_JSON["layers"][0], **fields}, WORKLOAD_JSON["layers"][1]])


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (
            with_layer(memory=-1.0),
            "layers[0].memory is -1.0; it must be 0 or more bytes and finite, or a table of that by device "
            "type (layer 'embed')",
        ),
        (
            with_layer(memory="1 apple"),
            "layers[0].memory is '1 apple'; it must be 0 or more bytes and finite",
        ),
        (
            with_layer(compute={"cpu": -2}),
            "layers[0].compute['cpu'] is -2; compute must be a table from each",
        ),
        (with_layer(compute={"cpu": None}), "it must have a finite time for 1 device type or more"),
        (
            with_layer(speed=3),
            "layers[0].speed is not a known field; it must be one of name, compute, kind, send,",
        ),
        (with_layer(name="head"), "layers[1].name is 'head'; it must differ from layers[0].name"),
        (
            change(layers=[{"name": "a"}]),
            "layers[0].compute is missing; it must be a table from each device type",
        ),
        (change(layers=[]), "layers has 0 items; it must be a list of 1 to 4096 layers"),
        (change(layers=3), "layers is 3; it must be a list of 1 to 4096 layers"),
        (change(layers=["conv"]), "layers[0] is 'conv'; it must be a table"),
        (
            change(tensors=[{"producer": "x", "consumers": ["head"], "bytes": 1}]),
            "tensors[0].producer is 'x'",
        ),
        (change(ties=[["embed", 3]]), "ties[0] is ('embed', 3); ties must be a list of groups"),
        (change(goal={"max_cost": -1}), "goal.max_cost is -1; it must be"),
        (
            change(goal={"budget": 1}),
            "goal.budget is not a known field; it must be one of objective, examples,",
        ),
        (change(goal=3), "goal is 3; it must be a table of the goal's fields"),
        (change(cluster=3), "cluster is 3; it must be the name of a built-in cluster"),
        (change(**{"x" * 99: 1}), "xxx...xxx"),
    ],
)
def test_a_bad_workload_document_is_refused(tmp_path, document, sentence):
    path = tmp_path / "net.json"
    path.write_text(json.dumps(document))
    for read in (read_workload, read_goal, read_cluster):
        with pytest.raises(ValueError, match=r"net\.json: ") as caught:
            read(path)
        assert sentence in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("price = 2", "price = -2", "types[1].price is -2; it must be 0 or more $/hour and finite"),
        ("limit = 8", "limit = 8.5", "types[1].limit is 8.5; it must be a whole number of devices"),
        ('like = "cpu"', 'like = "gpu"', "types[1].like is 'gpu'; it must not be cyclic"),
        (
            "fixed_price = 0.5",
            "fixed_price = 1979-05-27",
            "fixed_price is datetime.date(1979, 5, 27); it must be",
        ),
        ('name = "lab"', "", "name is missing; it must be text of 1 character or more"),
    ],
)
def test_a_bad_cluster_document_is_refused(tmp_path, old, new, sentence):
    path = tmp_path / "lab.toml"
    path.write_text(CLUSTER.replace(old, new))
    with pytest.raises(ValueError, match=r"lab\.toml: ") as caught:
        read_cluster(path)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(("kind", "field"), [("workload", "layers"), ("cluster", "types")])
def test_schema_names_the_fields(kind, field):
    schema = json.loads(json.dumps(documents.schema(kind)))
    definition = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    assert field in definition["properties"]
    assert definition["additionalProperties"] is False


def test_schema_of_an_unknown_kind():
    with pytest.raises(ValueError, match="kind is 'plan'; it must be one of 'workload', 'cluster'"):
        documents.schema("plan")


def test_bytes_may_have_a_unit():
    types = [{"name": "gpu", "price": 1, "capacity": "80GB", "bandwidth": "25 GB/s"}]
    (gpu,) = documents.read_cluster({"name": "lab", "types": types}).types
    assert (gpu.capacity, gpu.bandwidth) == (8e10, 2.5e10)
    layers = [{"name": "a", "compute": {"gpu": 1}, "memory": {"gpu": "2GiB"}, "activations": "1MB"}]
    (layer,) = documents.read_workload({"name": "net", "layers": layers}).layers
    assert (layer.memory, layer.activations) == ({"gpu": 2**31}, 1e6)


@pytest.mark.parametrize(("field", "value"), [("capacity", "80 apples"), ("price", "2GB"), ("name", "")])
def test_other_texts_are_refused(field, value):
    with pytest.raises((TypeError, ValueError), match=rf"types\[0\]\.{field} is "):
        documents.read_cluster({"name": "lab", "types": [{"name": "gpu", "price": 1, field: value}]})
