"""Variants of a generated project: each is measured, and what it breaks is said."""

import json
import runpy
import shutil
import subprocess
import sys

import pytest
from inside import imported
from projects import drive, make_spec, write

from stageplan.generate.basic import cases_text
from stageplan.generate.cases import Script
from stageplan.readers.bounded import from_toml
from stageplan.readers.documents import build

for package in ("torch", "safetensors", "onnxruntime", "onnxscript"):
    pytest.importorskip(package, reason="the generated project makes variants with it")

COMMANDS = (
    ["train", "train_and_save"],
    ["export", "export"],
    ["onnx_export", "onnx_export"],
    ["bfloat16", "bfloat16"],
    ["int8", "int8"],
    ["channels", "channels"],
    ["distill", "distill"],
    ["export_stages", "export_stages"],
    ["compare_variants", "compare_variants"],
)
STAGES = [
    {"type": "cpu", "layers": ["embedding", "cross0"], "devices": 1},
    {"type": "fast", "layers": ["cross1", "head"], "devices": 1},
]
TYPES = [{"name": "cpu", "price": 1.0}, {"name": "fast", "price": 1.0, "speed": 1e6}]
LIMITS = {"max_latency": 30.0, "min_throughput": 0.001}
# A network of one's own: a hidden layer that another one reads too, and one with a norm of batches.
OWN = """
import channels, common, torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 16), nn.Linear(16, 4), nn.Linear(16, 4)
        self.d = nn.Sequential(nn.Conv2d(1, 6, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 2, 1))
    def forward(self, numbers, categories):
        hidden = torch.relu(self.a(numbers))
        both = self.b(hidden) + self.c(hidden)
        return self.d(both[:, None, None, :]).sum((1, 2, 3))
def own(config, quick):
    net = Net()
    found = [(one.before, one.behind, one.norms) for one in channels.find(config, net)]
    channels.remove(config, net, 0.5)
    return found, list(net.d[1].running_mean.shape), net.d[3].in_channels, list(net.a.weight.shape)
"""


# Fault -> (file, what is there, what is planted, the case that finds it, what it says).
FAULTS = {
    "scales of zeros": (
        "int8.py",
        "name: tensor.numpy()",
        "name: (tensor * 0).numpy()",
        "int8",
        "quality_loss is ",
    ),
    "nothing quantised": ("int8.py", '"Conv", "Gather", "Gemm", "MatMul"', '"Conv"', "int8", "size is "),
    "bfloat16 of other weights": (
        "bfloat16.py",
        "Half(load_weights(config))",
        "Half(__import__('common').build(config))",
        "bfloat16",
        "quality_loss is ",
    ),
    "no channel removed": (
        "channels.py",
        "by_group.shape[1] * (1 - fraction)",
        "by_group.shape[1]",
        "prune channels quickly",
        "ValueError: the network has no hidden channels that could be removed",
    ),
    "student as large as the teacher": (
        "distill.py",
        "max(1, layers // 2)",
        "layers",
        "distill quickly",
        "parameters is 1 in ",
    ),
    "stages of other weights": (
        "export_stages.py",
        "            tensor.copy_(weights[owners.get(name, name)])\n",
        "            pass\n",
        "stages",
        "largest_difference is ",
    ),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with all variants but native code, and what the commands returned."""
    spec = make_spec("click-through-rate", hardware={"types": TYPES}, extend={"steps": ["pipeline"]})
    folder = write(tmp_path_factory.mktemp("variants") / "project", spec)
    (folder / "plan.json").write_text(json.dumps({"stages": STAGES}))
    (folder / "own_network.py").write_text(OWN)
    wrong = [planted(folder, place, *fault) for place, fault in enumerate(FAULTS.values())]
    changes = {"infer": LIMITS, "train": {"quick_steps": 60}, "metric": {"quick_threshold": 0.6}}
    first, then = ([[*command, changes, True] for command in part] for part in (COMMANDS[:3], COMMANDS[3:]))
    found = iter(drive(folder, *first, *wrong, *then, ["own_network", "own", {}, True]))
    numbers = {name: next(found) for name, *_ in COMMANDS[:3]}
    faults = {name: next(found) for name in FAULTS}
    numbers |= {name: next(found) for name, *_ in COMMANDS[3:]}
    return folder, numbers | {"faults": faults, "own": next(found)}


def planted(folder, place, file, old, new, *_):
    """Write a file with a fault; return the step that runs it."""
    text = (folder / file).read_text()
    assert text.count(old) == 1
    function = file.removesuffix(".py")
    (folder / f"wrong{place}.py").write_text(text.replace(old, new))
    return [f"wrong{place}", function, {"train": {"quick_steps": 4}}, True]


def rows(folder):
    return {row["name"]: row for row in json.loads((folder / "artefacts/variants.json").read_bytes())}


def test_variants_keep_the_quality(made):
    _, numbers = made
    assert numbers["bfloat16"]["quality_loss"] < 0.05
    assert numbers["int8"]["quality_loss"] < 0.05
    assert numbers["channels"]["quality_loss"] < 0.1
    assert numbers["distill"]["quality_loss"] < 0.1
    assert numbers["export_stages"] == {"stages": 2, "largest_difference": pytest.approx(0, abs=1e-4)}


def test_variants_are_smaller(made):
    folder, numbers = made
    size = {name: row["bytes"] for name, row in rows(folder).items()}
    assert size["int8"] < size["onnx"] * 0.8
    assert size["bfloat16"] < size["float32"]
    assert numbers["channels"]["removed"] == 2 * 16  # halves of the two hidden layers, of 32 each
    assert numbers["channels"]["parameters"] < 0.95
    assert numbers["distill"]["parameters"] < 0.8


def test_int8_computes_in_integers(made):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(made[0] / "artefacts/model-int8.onnx")
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("QuantizeLinear") > 0
    assert any(tensor.data_type == onnx.TensorProto.INT8 for tensor in model.graph.initializer)


def test_table_has_all_variants_with_their_requirements(made):
    found = rows(made[0])
    assert list(found) == ["float32", "bfloat16", "int8", "pruned", "distilled", "pipelined", "onnx"]
    for row in found.values():
        assert 0 < row["p50"] <= row["p95"] <= row["p99"]
        assert row["throughput"] > 0
        assert [one["name"] for one in row["requirements"]] == [
            "quick_threshold", "max_latency", "min_throughput",
        ]  # fmt: skip
        assert [one["value"] for one in row["requirements"]] == [row["value"], row["p95"], row["throughput"]]
        assert all(one["met"] for one in row["requirements"])
    assert found["float32"]["largest_difference"] == 0
    assert found["onnx"]["largest_difference"] < 1e-4 < found["bfloat16"]["largest_difference"]
    assert made[1]["compare_variants"]["int8.p95"] == found["int8"]["p95"]


def test_pipeline_is_replayed_and_says_so(made):
    row = rows(made[0])["pipelined"]
    assert row["note"] == "replayed from processor time, a device for each stage; simulated: fast"
    assert row["files"] == ["artefacts/model-stage0.pt2", "artefacts/model-stage1.pt2"]


def test_hidden_channels_of_ones_own_network_are_found(made):
    found, means, inputs, first = made[1]["own"]
    assert found == [["d.0", "d.3", ["d.1"]]]
    assert (means, inputs, first) == ([3], 3, [16, 8])


@pytest.mark.parametrize(
    ("task", "removed", "sizes"),
    [
        ("causal-language-model", 2 * (38 + 1), [[90, 32]] * 2),
        # As many in each of the four groups of a norm.
        ("image-classification", 4 + 8 + 8, [[12, 16, 3, 3], [24, 16, 3, 3], [24, 32, 3, 3]]),
    ],
)
@pytest.mark.filterwarnings("ignore")  # of PyTorch about itself
def test_whole_channels_and_heads_are_removed(tmp_path, monkeypatch, task, removed, sizes):
    folder = write(tmp_path / "project", make_spec(task))
    with imported(folder, monkeypatch, "channels") as modules:
        module = modules.common.build(modules.config)
        whole = modules.channels.parameters_of(module)
        assert modules.channels.remove(modules.config, module, 0.3) == removed
        module(*modules.data.batch(modules.config, "evaluation", 0, 2)[0])
        named = module.named_parameters()
        found = [list(p.shape) for name, p in named if name.endswith(("network.0.weight", "first.weight"))]
        assert found == sizes
        assert modules.channels.parameters_of(module) < 0.85 * whole


# Requirements -------------------------------------------------------------------------------------------


def checked(folder, name):
    command = [sys.executable, "check_variant.py", name]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_broken_requirement_is_said_with_its_value(made, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(made[0], folder)
    (folder / "artefacts/metrics").mkdir(exist_ok=True)
    table = list(rows(folder).values())
    table[2]["requirements"][1] |= {"value": 31.5, "met": False}
    (folder / "artefacts/variants.json").write_text(json.dumps(table))
    done = checked(folder, "int8")
    assert "note: p95 in seconds of int8 is 31.5; it must be at most 30 (max_latency)" in done.stdout
    assert "note: auc of int8 is " in done.stdout
    numbers = json.loads((folder / "artefacts/metrics/variant-int8.json").read_bytes())
    assert numbers["broken_requirements"] == 1
    assert checked(folder, "base").returncode == 0
    failed = checked(folder, "aot")
    assert failed.returncode == 1
    said = "check_variant: artefacts/variants.json has no variant 'aot'; it has float32, bfloat16, int8, "
    assert failed.stderr == f"{said}pruned, distilled, pipelined, onnx\n"


# Native code, and ExecuTorch ----------------------------------------------------------------------------


def test_native_code_is_skipped_without_a_compiler(tmp_path, monkeypatch, capsys):
    """The whole of it takes long: ``tests/check_native_code.py``."""
    folder = write(tmp_path / "project", make_spec())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with imported(folder, monkeypatch), pytest.raises(SystemExit) as ended:
        runpy.run_path("aot.py", run_name="__main__")
    assert ended.value.code == 77
    assert capsys.readouterr().out.startswith("aot: there is no C++ compiler; install g++, or name one in ")


def test_executorch_gives_the_same_outputs(made):
    pytest.importorskip("executorch", reason="the generated project exports with it")
    folder, _ = made
    (numbers,) = drive(folder, ["executorch_export", "executorch_export", {}, True])
    assert numbers["largest_difference"] < 1e-4


# Faults -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_of_a_variant_fails_its_case(made, fault):
    *_, name, said = FAULTS[fault]
    extensions = ("pipeline", "onnx", "bfloat16", "int8", "prune-channels", "distill", "stages")
    script = build(Script, from_toml(cases_text(make_spec(), extensions).decode())).case
    (case,) = (case for case in script if case.name == name)
    assert wrong_with(case, made[1]["faults"][fault]).startswith(said)


def wrong_with(case, numbers):
    """Return what a case says about the numbers of its command, or about its failure."""
    if isinstance(numbers, str):
        return numbers
    return "; ".join(said for metric in case.metrics if (said := metric.failure(numbers[metric.name])))
