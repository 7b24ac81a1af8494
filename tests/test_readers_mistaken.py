"""Files on the way to a workload or a plan, given in place of one: a sentence says what to run first."""

import json
from pathlib import Path

import pytest

import stageplan as sp
from stageplan.plan_file import read_plan
from stageplan.readers import read_devices


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Write files of every kind into the directory of the test."""
    monkeypatch.chdir(tmp_path)
    problem = sp.Problem.from_arrays([[1.0, 2.0]], [1.0, 1.0], limit=[1, 1])
    plan = sp.Plan.of(problem, [0])
    front = sp.pareto(problem, points=2)
    layers = [{"name": "a", "compute": {"t": 1.0}}]
    kinds = {
        "plan": plan.to_dict(),
        "front": front.to_dict(),
        "config": {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": 2},
        "workload": {"name": "net", "layers": layers},
        "kernels": {"device": "t4", "precision": "fp16", "kernels": []},
        "spec": {"name": "x", "task": "causal-language-model", "target": "local"},
    }
    for name, document in kinds.items():
        Path(f"{name}.json").write_text(json.dumps(document))
    Path("model").mkdir()
    Path("model/config.json").write_text(json.dumps(kinds["config"]))
    Path("net.onnx").write_bytes(b"\x08\x01\xff")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "plan.json",
            "plan.json: it holds a plan; give the workload that was planned, which stageplan profile",
        ),
        ("front.json", "front.json: it holds a front of plans; give the workload that was planned"),
        ("config.json", "it is the configuration of a model; run stageplan profile hf:config.json --device"),
        ("model", "model: it is a directory of a model; run stageplan profile hf:model/config.json --device"),
        (
            "net.onnx",
            "net.onnx: it is a model; run stageplan profile net.onnx --device DEVICE -o WORKLOAD first",
        ),
        (
            "hf:gpt2",
            "hf:gpt2: it is a model; run stageplan profile hf:gpt2 --device DEVICE -o WORKLOAD first",
        ),
        ("my.net:make", "my.net:make: it is a model; run stageplan profile my.net:make --device DEVICE"),
        ("kernels.json", "it holds measured kernels; run stageplan devices --fit kernels.json -o CATALOGUE"),
        ("spec.json", "it holds a specification; run stageplan generate spec.json -o DIRECTORY"),
    ],
)
@pytest.mark.parametrize("read", [sp.read_workload, sp.read_cluster, sp.read_goal])
def test_in_place_of_a_workload_or_a_cluster(files, read, name, sentence):
    with pytest.raises(ValueError, match=r".") as caught:
        read(name)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "workload.json",
            "workload.json: it holds a workload; run stageplan plan workload.json -o PLAN first",
        ),
        ("front.json", "front.json: it holds a front of plans; run stageplan plan WORKLOAD -o PLAN"),
        ("config.json", "it is the configuration of a model; run stageplan profile hf:config.json --device"),
        ("net.onnx", "net.onnx: it is not valid JSON of a plan"),
    ],
)
def test_in_place_of_a_plan(files, name, sentence):
    with pytest.raises(ValueError, match=r".") as caught:
        read_plan(name)
    assert sentence in str(caught.value)


def test_in_place_of_a_catalogue(files):
    with pytest.raises(ValueError, match=r"^plan.json: it holds a plan; give the workload"):
        read_devices("plan.json")


def test_a_configuration_in_place_of_a_model(files):
    pytest.importorskip("torch")
    with pytest.raises(
        ValueError, match=r"model is 'model/config.json'; a configuration is given as hf:model/c"
    ):
        sp.profile("model/config.json", devices=["t4"])


def test_files_of_names_that_models_have(tmp_path, monkeypatch):
    """A workload beside a function's name is a workload."""
    monkeypatch.chdir(tmp_path)
    Path("net").write_text('{"name": "net", "layers": [{"name": "a", "compute": {"t": 1.0}}]}')
    assert sp.read_workload("net").name == "net"
