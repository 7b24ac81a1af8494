import json
import sys
from collections import UserDict

import msgspec
import numpy as np
import pytest

import stageplan as sp
from stageplan.output import to_text
from stageplan.profiling.machine import hardware_name
from stageplan.profiling.profile import layer_table

torch = pytest.importorskip("torch")

from networks import Returning, Stack, Tied  # noqa: E402

DEVICE = sp.Device(
    name="plain",
    peak={"fp32": 1e9, "fp16": 2e9, "bf16": 2e9, "tf32": 1e9},
    memory=1e9,
    memory_bandwidth=1e9,
    compute_fraction=1,
    bandwidth_fraction=1,
)
SLOW = sp.Device(
    name="slow",
    peak={"fp32": 1e6},
    memory=1e9,
    memory_bandwidth=1e6,
    compute_fraction=1,
    bandwidth_fraction=1,
)


@pytest.fixture
def tiny(tmp_path):
    """A configuration of GPT-2 in a file."""
    pytest.importorskip("transformers")
    path = tmp_path / "config.json"
    fields = {
        "model_type": "gpt2",
        "n_layer": 3,
        "n_embd": 16,
        "n_head": 2,
        "vocab_size": 31,
        "n_positions": 24,
    }
    path.write_text(json.dumps(fields))
    return f"hf:{path}"


def stack(**options):
    return sp.profile(Stack(), torch.rand(3, 4), **{"devices": [DEVICE]} | options)


def test_torch_is_not_imported_before_it_is_needed():
    import subprocess

    code = "import sys, stageplan; print([m for m in ('torch', 'transformers', 'onnx') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_estimate_adds_up_rooflines_of_operations():
    workload = sp.profile(torch.nn.Linear(4, 8), torch.rand(3, 4), devices=[DEVICE], mode="inference")
    (layer,) = workload.layers
    moved, flops = 4 * (3 * 4 + 4 * 8 + 8 + 3 * 8), 2 * 3 * 4 * 8
    assert (layer.name, layer.kind, layer.flops) == ("Linear", "linear", flops)
    assert layer.compute == {"plain": max(flops, moved) / 1e9}
    assert layer.backward == {}
    assert (layer.parameters, layer.activations, layer.memory) == (160, 0, 160)
    assert layer.workspace == 4 * 3 * (4 + 8)  # input and output
    assert workload.batch == 3


def test_a_pass_of_a_layer_takes_at_least_its_launches():
    eager = msgspec.structs.replace(DEVICE, launch_seconds=1.0)
    (layer,) = sp.profile(torch.nn.Linear(4, 8), torch.rand(3, 4), devices=[eager]).layers
    (plain,) = sp.profile(torch.nn.Linear(4, 8), torch.rand(3, 4), devices=[eager], graphs=True).layers
    forward = layer.compute["plain"] - layer.backward["plain"]
    assert forward == round(forward) >= 1
    assert layer.backward["plain"] >= 0.5  # half a launch for each operation that autograd starts
    assert plain.compute["plain"] < 1e-5


def test_a_workload_that_trains():
    workload = stack()
    assert [layer.name for layer in workload.layers] == [
        "stem",
        *(f"blocks.{i}" for i in range(3)),
        "norm",
        "out",
    ]
    for layer in workload.layers:
        assert 0 < layer.backward["plain"] < layer.compute["plain"]
        assert layer.memory == 4 * layer.parameters  # weight, gradient, two moments
    assert [tensor.consumers for tensor in workload.tensors] == [
        (layer.name,) for layer in workload.layers[1:]
    ]
    assert {tensor.bytes for tensor in workload.tensors} == {2 * 3 * 8 * 4}  # there, and its gradient back
    assert (workload.name, workload.batch, workload.ties) == ("Stack", 3, ())


def test_inference_keeps_nothing():
    workload = stack(mode="inference")
    assert {tensor.bytes for tensor in workload.tensors} == {3 * 8 * 4}
    assert all(not layer.activations for layer in workload.layers)
    slow = stack()
    assert all(
        a.compute["plain"] < b.compute["plain"] for a, b in zip(workload.layers, slow.layers, strict=True)
    )


def test_memory_of_mixed_precision():
    half, full = stack(precision="bf16"), stack()
    for a, b in zip(half.layers, full.layers, strict=True):
        assert 2 * a.parameters == b.parameters
        assert a.memory == 8 * a.parameters  # 16 bytes for each 2
        assert a.activations <= b.activations < 2.5 * a.activations  # the norm keeps numbers of 4 bytes
    assert half.layers[0].activations < full.layers[0].activations


def test_weights_of_several_precisions_are_noted():
    module = torch.nn.Sequential(torch.nn.Linear(4, 4).bfloat16(), torch.nn.Linear(4, 16))
    workload = sp.profile(module, torch.rand(3, 4), devices=[DEVICE])
    assert workload.precision == "fp32"
    assert workload.notes == (
        "the weights have several precisions (80 % float32, 20 % bfloat16); all count as fp32",
    )
    workload = sp.profile(module, torch.rand(3, 4), devices=[DEVICE], precision="bf16")
    assert [layer.parameters for layer in workload.layers] == [40, 160]
    assert workload.notes[0].endswith("; all count as bf16")


def test_frozen_weights_have_no_gradients_and_no_state():
    module = Stack()
    for weight in module.blocks.parameters():
        weight.requires_grad_(False)
    layers = sp.profile(module, torch.rand(3, 4), devices=[DEVICE]).layers
    assert layers[1].memory == layers[1].parameters
    assert layers[-1].memory == 4 * layers[-1].parameters


class Towers(Stack):
    """Has a part that texts do not run, and a table."""

    def __init__(self):
        super().__init__()
        self.tower = torch.nn.Linear(100, 100)
        self.norm.register_buffer("table", torch.zeros(50))


@pytest.mark.parametrize("mode", ["train", "inference"])
def test_weights_that_do_not_run_and_buffers_are_memory(mode):
    plain = sp.profile(Stack(), torch.rand(3, 4), devices=[DEVICE], mode=mode)
    workload = sp.profile(Towers(), torch.rand(3, 4), devices=[DEVICE], mode=mode)
    more = [a.memory - b.memory for a, b in zip(workload.layers, plain.layers, strict=True)]
    assert more == [4 * 100 * 101, 0, 0, 0, 4 * 50, 0]
    weights = [a.parameters - b.parameters for a, b in zip(workload.layers, plain.layers, strict=True)]
    assert weights == [4 * 100 * 101, 0, 0, 0, 0, 0]
    assert workload.layers[0].modules == ("tower",)
    share = 100 * 10_100 / (10_100 + sum(weight.numel() for weight in Stack().parameters()))
    assert workload.notes == (
        f"{share:.3g} % of the weights do not run on this example (tower); they count as memory, and "
        f"their time is left out",
    )
    assert plain.notes == ()
    assert [layer.compute for layer in workload.layers] == [layer.compute for layer in plain.layers]


def test_a_network_without_weights_is_one_layer():
    module = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.MaxPool1d(2))
    workload = sp.profile(module, torch.rand(3, 4), devices=[DEVICE], mode="inference")
    assert [(layer.name, layer.parameters) for layer in workload.layers] == [("Sequential", 0)]
    with pytest.raises(ValueError, match="none of its outputs depends on weights that train"):
        sp.profile(module, torch.rand(3, 4), devices=[DEVICE])


def test_shared_weights_count_in_the_first_layer_and_are_resident_in_both():
    workload = sp.profile(Tied(), torch.zeros(3, 5, dtype=torch.long), devices=[DEVICE], mode="inference")
    embed, mix, head = workload.layers
    assert workload.ties == (("embed", "head"),)
    assert (embed.parameters, mix.parameters, head.parameters) == (160, 80, 0)
    assert head.memory >= 160


def test_several_devices():
    workload = stack(devices=["a100-80g", DEVICE, SLOW])
    assert list(workload.layers[0].compute) == ["a100-80g", "plain", "slow"]
    for layer in workload.layers:
        assert layer.compute["slow"] == pytest.approx(1000 * layer.compute["plain"])
    catalogue = {"mine": DEVICE}
    assert stack(devices=["mine"], catalogue=catalogue) == stack()


def test_a_batch():
    assert stack(batch=1).batch == 1
    assert sp.profile(Stack(), (torch.rand(7, 4),), devices=[DEVICE]).batch == 7
    assert sp.profile(Stack(), {"x": torch.rand(7, 4)}, devices=[DEVICE]).batch == 7


def test_layers_of_ones_own():
    assert [layer.name for layer in stack(layers=["stem", "blocks.2"]).layers] == ["stem", "blocks.2"]
    assert len(stack(layers=2).layers) == 6
    assert len(stack(layers=3).layers) == 9
    total = sum(layer.compute["plain"] for layer in stack().layers)
    for layers in (["blocks.1"], 3):
        other = sum(layer.compute["plain"] for layer in stack(layers=layers).layers)
        assert other == pytest.approx(total)


def test_a_configuration_of_transformers(tiny, products_alone):
    workload = sp.profile(tiny, devices=[DEVICE], batch=2, sequence=10)
    names = [layer.name for layer in workload.layers]
    assert names == [
        "transformer.wte",
        "transformer.wpe",
        *(f"transformer.h.{i}" for i in range(3)),
        "transformer.ln_f",
        "lm_head",
    ]
    kinds = [layer.kind for layer in workload.layers]
    assert kinds == ["embedding", "embedding", "block", "block", "block", "norm", "head"]
    assert workload.ties == (("transformer.wte", "lm_head"),)
    assert workload.batch == 2
    block = 2 * 20 * (12 * 16 * 16) + 2 * 2 * 10 * 11 * 16  # causal: 10 * 11 / 2 pairs of tokens
    assert [layer.flops for layer in workload.layers[2:5]] == [block] * 3
    assert workload.layers[-1].flops == 2 * 20 * 16 * 31


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_experts_count_as_often_as_tokens_choose_them(tmp_path, precision, products_alone):
    pytest.importorskip("transformers")
    fields = {
        "model_type": "mixtral", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 31, "num_local_experts": 4,
        "num_experts_per_tok": 2,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(fields))
    workload = sp.profile(f"hf:{tmp_path}", devices=[DEVICE], precision=precision, sequence=10)
    block = workload.layers[1]
    experts, router, attention = (
        2 * 10 * 2 * 3 * 16 * 24,
        2 * 10 * 16 * 4,
        2 * 10 * 4 * 16 * 16 + 2 * 10 * 11 * 16,
    )
    assert block.flops == experts + router + attention
    size = 4 if precision == "fp32" else 2
    assert block.parameters == size * (4 * 3 * 16 * 24 + 16 * 4 + 4 * 16 * 16 + 2 * 16)  # of all experts
    assert block.backward["plain"] > 0


# Operations of one forward pass, as published; where attention is causal, half of its pairs of tokens.
PUBLISHED = {
    # The parts in Kaplan et al. 2020 (arXiv:2001.08361), table 1, with all logits: 1024 tokens, 12 layers.
    "gpt2": (1024, 1024 * (12 * (24 * 768**2 + 2 * 1024 * 768) + 2 * 768 * 50257)),
    # Narayanan et al. 2021 (arXiv:2104.04473), appendix: 24 B s h^2 + 4 B s^2 h a layer; logits 2 B s h V.
    "bert-large-uncased": (512, 24 * (24 * 512 * 1024**2 + 4 * 512**2 * 1024) + 2 * 512 * 1024 * 30522),
    # 4.09 billion multiply-adds: docs.pytorch.org, torchvision.models.resnet50.
    "resnet-50": (None, 2 * 4.09e9),
    # A token: 2 N and attention, Chowdhery et al. 2022 (arXiv:2204.02311), appendix B; N without embeddings.
    "llama-2-70b": (4096, 4096 * (2 * (68.977e9 - 32000 * 8192) + 2 * 80 * 8192 * 4096)),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_operations_are_as_published(name):
    pytest.importorskip("transformers")
    sequence, flops = PUBLISHED[name]
    workload = sp.profile(
        f"hf:{name}", devices=["a100-80g"], mode="inference", precision="bf16", sequence=sequence
    )
    assert sum(layer.flops for layer in workload.layers) == pytest.approx(flops, rel=0.02)


def test_modules_made_by_a_function(monkeypatch, tmp_path):
    workload = sp.profile("networks:stack", shape=(3, 4), devices=[DEVICE])
    assert workload.layers == stack().layers
    assert (workload.name, workload.batch) == ("networks:stack", 3)
    assert sp.profile("networks:stack_with_example", devices=[DEVICE]).layers == stack().layers
    (tmp_path / "mine.py").write_text("import torch\ndef make():\n    return torch.nn.Embedding(5, 4)\n")
    monkeypatch.chdir(tmp_path)
    assert sp.profile("mine:make", sequence=9, batch=2, devices=[DEVICE]).batch == 2
    assert str(tmp_path) not in sys.path


def test_measured_times(tiny):
    workload = sp.profile(tiny, measure="cpu", sequence=16, repeats=12, max_spread=10)
    for layer in workload.layers:
        assert set(layer.compute) == {"cpu"}
        assert 0 < layer.backward["cpu"] < layer.compute["cpu"]
        assert layer.spread > 0
    assert workload.notes[0] == (
        f"times of cpu were measured on this machine's processor, {hardware_name('cpu')}"
    )
    assert workload.layers[2].compute["cpu"] > workload.layers[5].compute["cpu"]  # a block, the last norm


def test_measured_times_are_carried_over_by_the_ratio_of_estimates():
    options = {"mode": "inference", "repeats": 12, "max_spread": 10.0}
    here = msgspec.structs.replace(DEVICE, hardware_names=[hardware_name("cpu")])
    workload = stack(measure="plain", devices=[here, SLOW], **options)
    for layer in workload.layers:
        assert list(layer.compute) == ["plain", "slow"]
        assert layer.compute["slow"] == pytest.approx(1000 * layer.compute["plain"])
    assert workload.layers[0].compute["plain"] != stack(**options).layers[0].compute["plain"]


LINKED = msgspec.structs.replace(DEVICE, link=1e9, link_latency=1e-6, link_fraction=0.5, per_machine=4)


def test_strategies_are_columns_of_the_tables():
    layer = stack(devices=[LINKED], strategies=["tp=1,2,4", "recompute"]).layers[1]
    plain = ("plain", "plain/recompute")
    pairs = ("plain/tp2", "plain/tp2+recompute", "plain/tp4", "plain/tp4+recompute")
    assert tuple(layer.compute) == tuple(layer.backward) == (*plain, *pairs)
    weights = (2 * 8 * 16 + 16 + 8) * 4
    own = [
        (2 * 8 * 16 + 16) * 4 / degree + 8 * 4 for degree in (2, 4)
    ]  # the bias of the second product is whole
    expected = dict.fromkeys(plain, weights) | dict(zip(pairs, (own[0], own[0], own[1], own[1]), strict=True))
    assert layer.gradients == expected
    assert layer.memory == {name: 4 * bytes_ for name, bytes_ in expected.items()}
    assert layer.parameters == weights
    cluster = sp.Cluster(name="one", types=[sp.DeviceType(name="plain", price=1.0)])
    problem = sp.Problem(stack(devices=[LINKED], strategies=["tp=2,4"]), cluster)
    assert problem.column_degree.tolist() == [1, 2, 4]
    assert problem.column_strategy == ("", "tp2", "tp4")


def test_all_reduces_take_time_over_the_link():
    free = msgspec.structs.replace(LINKED, link=1e30, link_latency=0.0)
    linked, unlinked = (stack(devices=[d], strategies=["tp=2", "recompute"]).layers for d in (LINKED, free))
    each = LINKED.all_reduce_seconds(3 * 8 * 4, 2)
    assert each == 1e-6 + 3 * 8 * 4 / (0.5 * 1e9)
    for layer, other in zip(linked, unlinked, strict=True):
        reduces = 1 if layer.kind == "block" else 0
        for name, times in (("plain/tp2", 1), ("plain/tp2+recompute", 2)):
            backward = layer.backward[name] - other.backward[name]
            assert backward == pytest.approx(times * reduces * each, abs=1e-12)
            assert layer.compute[name] - other.compute[name] == pytest.approx(
                backward + reduces * each, abs=1e-12
            )


def test_strategies_are_of_devices_with_a_link():
    workload = stack(devices=[LINKED, SLOW], strategies=["tp=2"])
    assert [set(layer.compute) for layer in workload.layers] == [{"plain", "slow", "plain/tp2"}] * 6
    assert workload.notes[-2:] == (
        "strategy tp=2 needs as many linked devices in a machine; slow has 1",
        "tensor parallelism divides 89.28 % of the weights; whole on each device: stem, norm, out",
    )


def test_plans_divide_layers_where_memory_is_short():
    workload = stack(devices=[LINKED], strategies=["tp=4"])
    goal = {"schedule": "1f1b", "microbatches": 1, "batch": 3, "max_stages": 1, "objective": "throughput"}
    plenty = plan_on(workload, 1e9, goal)
    assert [stage.strategy for stage in plenty.stages] == [""]
    short = plan_on(workload, 0.8 * plenty.stages[0].memory, goal)
    assert short.feasible
    assert [(stage.strategy, stage.devices) for stage in short.stages] == [("tp4", 4)]


def plan_on(workload, capacity, goal):
    types = [sp.DeviceType(name="plain", price=1.0, limit=4, capacity=capacity)]
    return sp.solve(sp.Problem(workload, sp.Cluster(name="one", types=types), sp.Goal(**goal))).plan


def test_parts_of_devices_are_measured():
    here = msgspec.structs.replace(LINKED, hardware_names=[hardware_name("cpu")])
    options = {"repeats": 12, "max_spread": 1e9, "strategies": ["tp=2"]}
    module = Stack()
    weights = [weight.clone() for weight in module.parameters()]
    workload = sp.profile(module, torch.rand(3, 4), measure="plain", devices=[here, SLOW], **options)
    assert all(set(layer.compute) == {"plain", "slow", "plain/tp2"} for layer in workload.layers)
    assert all(layer.compute["plain/tp2"] > 0 for layer in workload.layers)
    assert all(map(torch.equal, weights, module.parameters()))
    with pytest.raises(
        ValueError, match="tp=2 needs the link of the device that is measured; it must be in the"
    ):
        sp.profile(module, torch.rand(3, 4), measure="cpu", **options)


def test_a_module_measured_on_a_gpu_must_be_on_the_current_one(monkeypatch):
    monkeypatch.setattr("stageplan.profiling.machine._gpu", lambda: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    with pytest.raises(ValueError, match="model has weights on cpu; they must be on cuda:1, where it is to"):
        sp.profile(Stack(), torch.rand(3, 4), measure="h200", on="cuda")


def test_a_module_must_be_where_it_is_measured():
    module = Stack().to("meta")
    with pytest.raises(
        ValueError, match="model has weights on meta; they must be on cpu, where it is to run"
    ):
        sp.profile(module, torch.rand(3, 4), measure="cpu")
    with pytest.raises(
        ValueError, match="model is 'networks:without_values'; it cannot run on cpu: Cannot copy"
    ):
        sp.profile("networks:without_values", measure="cpu")


def test_profiles_can_be_planned():
    workload = stack(devices=["t4", "a100-80g"])
    cluster = sp.make_cluster(["t4:2", "a100-80g:1"])
    result = sp.solve(sp.Problem(workload, cluster, sp.Goal(objective="throughput")))
    assert result.plan.feasible
    assert result.plan.problem.layer_kinds[1] == "block"


def test_a_table_of_layers():
    table, sizes = to_text(layer_table(stack())).splitlines(), ("memory", "workspace", "kept")
    assert table[0].split() == ["layer", "kind", "parameters", "forward", *sizes, "plain"]
    assert len(table) == 1 + 6 + 1
    assert len({len(line) for line in table[:-1]}) == 1
    assert table[-1] == str(stack())


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"devices": []}, ValueError, "device is missing; at least one device, or"),
        ({"devices": "t4"}, TypeError, "devices is 't4'; it must be a list"),
        ({"devices": ["t5"]}, ValueError, "device is 't5'; it must be one of t4, l4,"),
        ({"devices": ["t4"], "precision": "bf16"}, ValueError, "precision is 'bf16'; it must be one that"),
        ({"devices": ["mi355x"], "precision": "tf32"}, ValueError, "that mi355x has: fp32, fp16, bf16$"),
        ({"mode": "eval"}, ValueError, "mode is 'eval'; it must be one of 'train'"),
        ({"precision": "fp8"}, ValueError, "precision is 'fp8'; it must be one of 'fp32',"),
        ({"batch": 0}, ValueError, "batch is 0; it must be a whole number, at least 1"),
        ({"batch": -2}, ValueError, "batch is -2; it must be a whole number, at least 1"),
        ({"sequence": 1.5}, TypeError, "sequence is 1.5; it must be a whole number, at least 1"),
        ({"shape": (0, 4)}, ValueError, r"shape is \(0, 4\); it must be a list of whole"),
        ({"repeats": 0}, ValueError, "repeats is 0; it must be a whole number, at least 2"),
        ({"max_spread": 0}, ValueError, "max_spread is 0; it must be a finite number, more than 0"),
        ({"layers": "stem"}, TypeError, "layers is 'stem'; it must be a list of paths, or a depth"),
        ({"layers": 0}, ValueError, "layers is 0; it must be a whole number, at least 1"),
        ({"layers": ["x"]}, ValueError, r"layers\[0\] is 'x'; it must be the path of a module"),
        ({"measure": "unknown"}, ValueError, "measure is 'unknown'; it must be 'cpu' or the name of a"),
        ({"measure": "a100-80g"}, ValueError, "measure is 'a100-80g', which calls itself 'NVIDIA A100-SXM4"),
        ({"measure": "plain"}, ValueError, "measure is 'plain', which has no hardware_names, but this"),
        ({"measure": "cpu"}, ValueError, "measure is 'cpu', and the catalogue has no device of that name"),
        ({"measure": "cpu", "on": "gpu"}, ValueError, "on is 'gpu'; it must be one of 'cpu', 'cuda'"),
        ({"on": "cpu"}, ValueError, "on is 'cpu', which says where to measure; measure must be given too"),
        ({"measure": "cpu", "devices": [], "precision": "fp16"}, ValueError, "precision is 'fp16', but the"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        stack(**options)


@pytest.mark.parametrize(
    ("model", "example", "options", "words"),
    [
        (Stack(), None, {}, "example is None; it must be what the module is called with"),
        (torch.nn.LazyLinear(4), torch.rand(1, 4), {}, "model cannot be read: it has parameters of unknown"),
        (Returning(), torch.rand(1, 4), {}, "layers cannot be told: module 'first' runs again"),
        ("hf:gpt2", torch.rand(1, 4), {}, "example is given, but model is 'hf:gpt2'; an example goes with"),
        ("gpt2", None, {}, "model is 'gpt2'; it must be hf:NAME, package.module:function"),
        ("nowhere:stack", None, {"shape": (1, 4)}, "model is 'nowhere:stack'; it cannot be made: No module"),
        ("networks:nobody", None, {"shape": (1, 4)}, "model is 'networks:nobody'; it cannot be made: module"),
        ("networks:unmakable", None, {}, "model is 'networks:unmakable'; it cannot be made: no weights here"),
        ("networks:nothing", None, {"shape": (1, 4)}, "gives None; it must give a torch module"),
        ("networks:stack", None, {}, "shape is None; 'networks:stack' gives no example"),
        ("networks:stack", None, {"shape": (3, 4), "batch": 2}, "batch is 2; it must be the first of"),
    ],
)  # fmt: skip
def test_wrong_models_are_refused(model, example, options, words):
    with pytest.raises(ValueError, match=words):
        sp.profile(model, example, devices=[DEVICE], **options)


def test_output_of_a_tokenizer_is_a_mapping():
    example = UserDict(x=torch.rand(3, 4))
    assert sp.profile(Stack(), example, devices=[DEVICE]) == stack()


@pytest.mark.parametrize("example", [5, "text"])
def test_examples_of_another_type_are_refused(example):
    with pytest.raises(TypeError, match=r"example is .*; it must be a tensor"):
        sp.profile(Stack(), example, devices=[DEVICE])


def test_a_model_of_another_type_is_refused():
    with pytest.raises(TypeError, match="model is 3; it must be a torch module, hf:NAME"):
        sp.profile(3, devices=[DEVICE])


@pytest.mark.parametrize(
    ("model", "library", "importer"),
    [
        ("hf:gpt2", "transformers", "huggingface"),
        ("hf:gpt2", "torch", "modules"),
        ("a.onnx", "onnx", "onnx_file"),
    ],
)
def test_absent_libraries_are_named_with_what_installs_them(model, library, importer, monkeypatch):
    import stageplan.profiling

    monkeypatch.delitem(sys.modules, f"stageplan.profiling.{importer}", raising=False)
    monkeypatch.delattr(stageplan.profiling, importer, raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf'{library} is needed .*; pip install "stageplan\[{library}\]"'):
        sp.profile(model, devices=["t4"])


def test_estimates_are_the_same_every_time():
    first, second = stack(), stack()
    assert first == second
    assert np.isfinite([layer.compute["plain"] for layer in first.layers]).all()
