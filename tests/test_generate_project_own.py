"""Generated projects of the user's own networks: they are checked, run, trained, and divided into stages."""

import json

import pytest
from projects import drive, make_spec, write

pytest.importorskip("torch", reason="the generated project computes with PyTorch")
pytest.importorskip("safetensors", reason="the generated project keeps weights in safetensors")

FACTORIES = """
import torch
from torch import nn

class Click(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(10, width) for _ in range(3))
        self.bottom = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, width))
        self.top = nn.Sequential(nn.Linear(4 * width, width), nn.ReLU(inplace=True), nn.Linear(width, 1))
    def forward(self, numbers, categories):
        vectors = [table(categories[:, i]) for i, table in enumerate(self.tables)]
        return self.top(torch.cat([self.bottom(numbers), *vectors], 1))

class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
    def forward(self, numbers, categories):
        return numbers @ self.weight

def click(width=8):
    return Click(width)

def plain():
    return Plain()

def nothing():
    return 3

class Wide(Plain):
    def forward(self, numbers, categories):
        return numbers

def wide():
    return Wide()
"""
CLICK = "click-through-rate"


def of_factory(folder, function="click", **fields):
    (folder / "factories.py").write_text(FACTORIES)
    model = {"factory": f"factories:{function}", "path": str(folder / "factories.py"), "vocabulary": 10}
    return make_spec(CLICK, service={"model": model | fields, "input_shape": [4, 3]})


def steps(*modules):
    functions = {"train": "train_and_save", "names": "names"}
    return [["drive" if one == "names" else one, functions.get(one, one), {}, True] for one in modules]


def in_stages(folder, names):
    """Train in two stages that divide the layers; return the numbers."""
    half = len(names) // 2
    stages = [{"type": "cpu", "layers": part, "devices": 1} for part in (names[:half], names[half:])]
    (folder / "plan.json").write_text(json.dumps({"stages": stages}))
    return drive(folder, ["pipeline", "pipeline", {}, True])[0]


def equals_one_process(numbers):
    return (
        numbers["as_planned"] == 1
        and numbers["largest_loss_difference"] <= 1e-5
        and numbers["largest_copy_difference"] == 0
    )


def test_own_function_from_check_to_stages(tmp_path):
    folder = write(tmp_path / "project", of_factory(tmp_path))
    commands = ("initial", "sizes", "train", "evaluate", "export", "infer", "names", "layer_times")
    found = dict(zip(commands, drive(folder, *steps(*commands)), strict=True))
    assert found["initial"]["parameters"] == found["sizes"]["parameters"] == 3 * 80 + 112 + 273
    assert found["train"]["steps"] == 20
    assert found["export"]["largest_difference"] <= 1e-4
    assert found["names"][-2:] == ["top/0", "top/2"]  # the activation between them works in place
    assert found["layer_times"]["layers"] == len(found["names"])
    assert equals_one_process(in_stages(folder, found["names"]))


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("absent", "factory is 'factories:absent'; factories has no function 'absent'"),
        ("nothing", "factory is 'factories:nothing', which returns int; it must return a torch.nn.Module"),
        ("wide", "the network gives outputs of shape [8]; for click-through-rate it must be [2]"),
    ],
)
def test_functions_that_make_no_network_for_the_task_are_refused(tmp_path, function, sentence):
    folder = write(tmp_path / "project", of_factory(tmp_path, function))
    assert sentence in drive(folder, *steps("initial"))[0]


def test_wrong_arguments_and_shapes_are_refused_in_a_sentence(tmp_path):
    wrong = write(tmp_path / "arguments", of_factory(tmp_path, arguments={"depth": 3}))
    assert "which fails with {'depth': 3}: TypeError: " in drive(wrong, *steps("initial"))[0]
    shape = make_spec(CLICK, service={"model": of_factory(tmp_path).service.model, "input_shape": [5, 3]})
    folder = write(tmp_path / "shape", shape)
    assert "the network does not take inputs of shape [2, 5], [2, 3]: " in drive(folder, *steps("initial"))[0]


def test_network_that_is_no_chain_works_without_stages(tmp_path):
    folder = write(tmp_path / "project", of_factory(tmp_path, "plain"))
    trained, divided = drive(folder, *steps("train", "division"))
    assert trained["steps"] == 20
    assert divided.startswith("ValueError: the network cannot be divided: it is no chain of blocks")


# Networks of transformers -------------------------------------------------------------------------------


def of_hf(folder, kind):
    """Write a configuration of a small network; return the specification."""
    transformers = pytest.importorskip("transformers")
    if kind == "gpt2":
        sizes = {"n_layer": 2, "n_embd": 16, "n_head": 2, "vocab_size": 90, "n_positions": 8}
        config = transformers.GPT2Config(**sizes, bos_token_id=1, eos_token_id=1)
        task, shape = "causal-language-model", [8]
    elif kind == "bert":
        sizes = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 8}
        config = transformers.BertConfig(**sizes, vocab_size=90, num_labels=3)
        task, shape = "text-classification", [8]
    else:
        config = transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16], depths=[2, 2], layer_type="bottleneck", num_labels=3
        )
        task, shape = "image-classification", [3, 32, 32]
    config.save_pretrained(folder)
    return make_spec(task, service={"model": {"hf": str(folder)}, "input_shape": shape, "batch": 8})


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("gpt2", ["transformer/wte", "transformer/h/0", "transformer/h/1", "transformer/ln_f"]),
        ("resnet", ["resnet/embedder/embedder/convolution", "resnet/encoder/stages/0"]),
    ],
)
def test_network_of_transformers_from_its_configuration(tmp_path, kind, names):
    folder = write(tmp_path / "project", of_hf(tmp_path / "net", kind))
    initial, exported, infers, found = drive(folder, *steps("initial", "export", "infer", "names"))
    assert initial["parameters"] > 1000
    assert exported["largest_difference"] <= 1e-4
    assert infers["requests"] == 5
    assert found[: len(names)] == names
    assert equals_one_process(in_stages(folder, found))


def test_weights_are_loaded_and_those_of_another_network_refused(tmp_path):
    spec = of_hf(tmp_path / "net", "bert")
    import transformers
    from safetensors.torch import load_file

    config = transformers.BertConfig.from_pretrained(tmp_path / "net")
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / "net")
    folder = write(tmp_path / "project", spec)
    (initial,) = drive(folder, *steps("initial"))
    assert initial["parameters"] == sum(
        t.numel() for t in load_file(tmp_path / "net/model.safetensors").values()
    )
    written = load_file(folder / "artefacts/model.safetensors")
    given = load_file(tmp_path / "net/model.safetensors")
    assert all(written[f"module.{name}"].equal(tensor) for name, tensor in given.items())
    wider = json.loads((folder / "own/config.json").read_text()) | {"intermediate_size": 12}
    (folder / "own/config.json").write_text(json.dumps(wider))
    (said,) = drive(folder, *steps("initial"))
    assert "the weights in own are of another network: bert.encoder.layer.0.intermediate.dense" in said
    assert "has shape (8,); by own/config.json it must be (12,)" in said or "(8, 16)" in said


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_networks_by_name(tmp_path, library):
    pytest.importorskip(library, exc_type=ImportError, reason=f"{library} does not load beside this PyTorch")
    service = {"model": {library: "resnet18", "classes": 4}, "input_shape": [3, 32, 32], "batch": 8}
    folder = write(tmp_path / "project", make_spec("image-classification", service=service))
    initial, names = drive(folder, *steps("initial", "names"))
    assert initial["parameters"] == 11_178_564
    assert len(names) > 4
