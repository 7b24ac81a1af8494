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

# Blocks in stages, of which each has its way around it.
class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(4, 4)
        self.stages = nn.ModuleList(nn.Sequential(Block(), Block()) for _ in range(2))
        self.head = nn.Linear(4, 1)
    def forward(self, numbers, categories):
        numbers = self.stem(numbers)
        for stage in self.stages:
            numbers = stage(numbers)
        return self.head(numbers)

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.BatchNorm1d(4))
    def forward(self, hidden):
        return hidden + self.inner(hidden)

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(20, 8)
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 8, batch_first=True) for _ in range(2))
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.tokens.weight
    def forward(self, tokens):
        hidden, mask = self.tokens(tokens), torch.ones(4, 4, dtype=torch.bool).triu(1)
        for block in self.blocks:
            hidden = block(hidden, src_mask=mask)
        return self.head(hidden)

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

def nested():
    return Nested()

def tied():
    return Tied()

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


def steps(*names):
    modules = {"chained": "drive", "losses": "drive"}
    functions = {"train": "train_and_save"}
    return [[modules.get(name, name), functions.get(name, name), {}, True] for name in names]


def test_own_function_is_checked_trained_exported_and_divided(tmp_path):
    folder = write(tmp_path / "project", of_factory(tmp_path))
    commands = ("initial", "sizes", "train", "evaluate", "export", "infer", "chained", "layer_times")
    found = dict(zip(commands, drive(folder, *steps(*commands)), strict=True))
    assert found["initial"]["parameters"] == found["sizes"]["parameters"] == 3 * 80 + 112 + 273
    assert found["train"]["steps"] == 20
    assert found["export"]["largest_difference"] <= 1e-4
    assert found["infer"]["requests"] == 5
    names = found["chained"]["names"]
    assert names[-2:] == ["top/0", "top/2"]  # the activation between them works in place
    assert found["chained"] == {"names": names, "difference": 0, "missing": []}
    assert found["layer_times"]["layers"] == len(names)


def of_function(name):
    return {"model": {"source": {"factory": f"factories:{name}"}}}


def test_what_is_no_network_for_the_task_is_refused_in_a_sentence(tmp_path):
    folder = write(tmp_path / "project", of_factory(tmp_path))
    arguments = {"model": {"source": {"factory": "factories:click", "arguments": {"depth": 3}}}}
    absent, shape = {"model": {"source": {"factory": "absent:net"}}}, {"model": {"numbers": 5}}
    changes = [*map(of_function, ("absent", "nothing", "wide")), absent, arguments, shape]
    said = drive(folder, *(["initial", "initial", change, True] for change in changes))
    sentences = [
        "factory is 'factories:absent'; factories has no function 'absent'",
        "factory is 'factories:nothing', which returns int; it must return a torch.nn.Module",
        "the network gives outputs of shape [8]; for click-through-rate it must be [2]",
        "factory is 'absent:net'; absent cannot be imported: No module named 'absent'",
        "factory is 'factories:click', which fails with {'depth': 3}: TypeError: click() got an unexpected",
        "the network does not take inputs of shape [2, 5], [2, 3]: mat1 and mat2 shapes cannot be multiplied",
    ]
    for sentence, found in zip(sentences, said, strict=True):
        assert sentence in found


def test_blocks_of_stages_are_layers_and_a_network_without_blocks_works(tmp_path):
    folder = write(tmp_path / "project", of_factory(tmp_path))
    nested, divided, trained = drive(
        folder,
        ["drive", "chained", of_function("nested"), True],
        ["division", "division", of_function("plain"), True],
        ["train", "train_and_save", of_function("plain"), True],
    )
    assert nested["names"] == ["stem", "stages/0", "stages/0/1", "stages/1", "stages/1/1", "head"]
    assert (nested["difference"], nested["missing"]) == (0, [])
    assert "the network cannot be divided into stages: it is no chain of blocks, a list or" in divided
    assert trained["steps"] == 20


def test_weight_that_two_layers_share_stays_one_in_stages(tmp_path):
    (tmp_path / "factories.py").write_text(FACTORIES)
    model = {"factory": "factories:tied", "path": str(tmp_path / "factories.py"), "vocabulary": 20}
    spec = make_spec(service={"model": model, "input_shape": [4], "batch": 8}, training={"clip_norm": 0.5})
    folder = write(tmp_path / "project", spec)
    (whole,) = drive(folder, *steps("chained"))
    names = ["tokens", "blocks/0", "blocks/1", "head"]
    assert whole == {"names": names, "difference": pytest.approx(0, abs=1e-5), "missing": []}
    stages = [{"type": "cpu", "layers": part, "devices": 1} for part in (names[:2], names[2:])]
    (folder / "plan.json").write_text(json.dumps({"stages": stages}))
    (trained,) = drive(folder, ["pipeline", "pipeline", {}, True])
    assert trained["as_planned"] == 1
    assert trained["largest_loss_difference"] <= 1e-5
    assert trained["largest_copy_difference"] == 0


# Networks of transformers -------------------------------------------------------------------------------


GPT2 = {
    "model_type": "gpt2", "n_layer": 2, "n_embd": 16, "n_head": 2, "vocab_size": 90, "n_positions": 9,
    "bos_token_id": 1, "eos_token_id": 1,
}  # fmt: skip


def test_network_of_transformers_by_its_configuration_and_weights(tmp_path):
    pytest.importorskip("transformers")
    from safetensors.numpy import load_file, save_file

    (tmp_path / "net").mkdir()
    (tmp_path / "net/config.json").write_text(json.dumps(GPT2))
    service = {"model": {"hf": str(tmp_path / "net")}, "input_shape": [8], "batch": 8}
    folder = write(tmp_path / "project", make_spec(service=service))
    initial, whole, (ours, theirs) = drive(folder, *steps("initial", "chained", "losses"))
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert initial["parameters"] == 90 * 16 + 9 * 16 + 2 * 3280 + 2 * 16
    names = ["transformer/wte", "transformer/h/0", "transformer/h/1", "transformer/ln_f"]
    assert whole == {"names": names, "difference": 0, "missing": []}

    given = load_file(folder / "artefacts/model.safetensors")
    weights = {name.removeprefix("module."): tensor for name, tensor in given.items()}
    save_file(weights, folder / "own/model.safetensors", {"format": "pt"})
    wider = json.loads((folder / "own/config.json").read_text()) | {"n_inner": 12}
    seed = {"seed": 99}  # of random weights, of which there are none
    _, exported, _, said = drive(
        folder,
        ["initial", "initial", seed, True],
        ["export", "export", seed, True],
        ["drive", "write", {"own/config.json": wider}, True],
        ["initial", "initial", seed, True],
    )
    written = load_file(folder / "artefacts/model.safetensors")
    assert all((written[name] == tensor).all() for name, tensor in given.items())
    assert exported["largest_difference"] <= 1e-4
    assert "the weights in own are of another network: transformer.h.0.mlp.c_fc.bias has shape (64,)" in said
    assert "; by own/config.json it must be (12,)" in said


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_networks_by_name(tmp_path, library):
    pytest.importorskip(library, exc_type=ImportError, reason=f"{library} does not load beside this PyTorch")
    service = {"model": {library: "resnet18", "classes": 4}, "input_shape": [3, 32, 32], "batch": 8}
    folder = write(tmp_path / "project", make_spec("image-classification", service=service))
    initial, names = drive(folder, *steps("initial", "names"))
    assert initial["parameters"] == 11_178_564
    assert len(names) > 4
