"""A repository that somebody else wrote, from end to end.

Its own scripts are adopted and tested; its network is trained on its data in a generated project, in two
stages of a pipeline, quantised, and served; here and over ssh. A page has the results of both.
"""

import json
import random
import signal
import subprocess
import sys
import urllib.request
from importlib import metadata

import pytest
import small_projects
from pages import Page
from processes import wait_for

from stageplan import cli
from stageplan.generate.results import TestResult as Verdicts
from stageplan.generate.results import read_result

for package in ("torch", "safetensors", "onnxruntime", "onnxscript", "fastapi", "uvicorn"):
    pytest.importorskip(package)

NUMBERS, CATEGORIES, VOCABULARY = 4, 2, 20
NETWORK = f"""
import torch
from torch import nn


class Rows(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.categories = nn.Embedding({CATEGORIES * VOCABULARY}, width)
        self.numbers = nn.Linear({NUMBERS}, width)

    def forward(self, numbers, categories):
        places = categories + {VOCABULARY} * torch.arange({CATEGORIES}, device=categories.device)
        return self.categories(places).sum(1) + self.numbers(numbers)


class Clicks(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.rows = Rows(width)
        self.hidden = nn.Sequential(*(nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(6)))
        self.click = nn.Linear(width, 1)

    def forward(self, numbers, categories):
        return self.click(self.hidden(self.rows(numbers, categories)))


def make(width=256):
    torch.manual_seed(1)
    return Clicks(width)
"""
TRAIN = f"""
import argparse, csv, os, torch
from clicknet import make
from safetensors.torch import save_file

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=60)
parser.add_argument("--batch", type=int, default=128)
parser.add_argument("--output", default="out")
options = parser.parse_known_args()[0]
rows = list(csv.reader(open("data/clicks.csv")))[1:]
clicks = torch.tensor([float(row[0]) for row in rows])
numbers = torch.tensor([[float(x) for x in row[1:{1 + NUMBERS}]] for row in rows])
categories = torch.tensor([[int(x) for x in row[{1 + NUMBERS}:]] for row in rows])
net = make(32)
optimizer = torch.optim.Adam(net.parameters(), 3e-3)
random = torch.Generator().manual_seed(0)
for step in range(options.steps):
    chosen = torch.randint(len(rows), (options.batch,), generator=random)
    outputs = net(numbers[chosen], categories[chosen])[:, 0]
    loss = torch.nn.functional.binary_cross_entropy_with_logits(outputs, clicks[chosen])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"step {{step}} loss: {{loss.item():.4f}} ips: 1")
with torch.no_grad():
    right = ((net(numbers, categories)[:, 0] > 0) == (clicks > 0)).float().mean().item()
print(f"acc: {{right:.4f}}")
os.makedirs(options.output, exist_ok=True)
save_file(net.state_dict(), options.output + "/net.safetensors")
"""
EXPORT = """
import sys, torch
from clicknet import make
from safetensors.torch import load_file

words = dict(word.split("=") for word in sys.argv[1:] if "=" in word)
net = make(32)
net.load_state_dict(load_file(words["weights"] + "/net.safetensors"))
program = torch.export.export(net, (torch.zeros(2, NUMBERS), torch.zeros(2, CATEGORIES, dtype=torch.long)))
torch.export.save(program, words["save"] + "/net.pt2")
""".replace("NUMBERS", str(NUMBERS)).replace("CATEGORIES", str(CATEGORIES))
INFER = """
import sys, torch

words = dict(word.split("=") for word in sys.argv[1:] if "=" in word)
torch.set_num_threads(int(words["threads"]))
net = torch.export.load(words["model"] + "/net.pt2").module()
answer = net(torch.zeros(2, NUMBERS), torch.ones(2, CATEGORIES, dtype=torch.long))
print("answer:", answer.sigmoid()[0].item())
""".replace("NUMBERS", str(NUMBERS)).replace("CATEGORIES", str(CATEGORIES))
# Of the small project's: one processor, one combination of inference.
TIPC = small_projects.TIPC
for old, new in {
    "model_name:line": "model_name:clicks",
    "gpu_list:-1|0|0,1": "gpu_list:-1",
    "use_gpu:False|True|True": "use_gpu:False",
    "--epochs:lite_train_lite_infer=40": "--steps:lite_train_lite_infer=60",
    "--batch:4": "--batch:128",
    "use_gpu:True|False": "use_gpu:False",
    "mkldnn:True|False": "mkldnn:True",
    "threads:1|6": "threads:2",
    "batch:1|16": "batch:2",
    "trt:False|True": "trt:False",
    "precision:fp32|fp16|int8": "precision:fp32",
}.items():
    assert old in TIPC
    TIPC = TIPC.replace(old, new)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The user's files: a network, data, a script, and a configuration of TIPC."""
    folder = tmp_path_factory.mktemp("user") / "clicks"
    (folder / "data").mkdir(parents=True)
    draw = random.Random(3)
    tastes = [draw.gauss(0, 1.5) for _ in range(CATEGORIES * VOCABULARY)]
    lines = [",".join(["click", *(f"n{i}" for i in range(NUMBERS)), *(f"c{i}" for i in range(CATEGORIES))])]
    for _ in range(3000):
        numbers = [draw.gauss(0, 1) for _ in range(NUMBERS)]
        categories = [draw.randrange(VOCABULARY) for _ in range(CATEGORIES)]
        liked = sum(tastes[i * VOCABULARY + c] for i, c in enumerate(categories)) + numbers[0]
        row = [int(liked > 0), *(f"{x:.4f}" for x in numbers), *categories]
        lines.append(",".join(map(str, row)))
    (folder / "data" / "clicks.csv").write_text("\n".join(lines) + "\n")
    (folder / "clicknet.py").write_text(NETWORK)
    for name, text in {"train.py": TRAIN, "export.py": EXPORT, "infer.py": INFER}.items():
        (folder / name).write_text(text)
    (folder / "train_infer_python.txt").write_text(TIPC)
    return folder


SPEC = f"""
name = "clicks"
task = "click-through-rate"

[service]
model = {{ factory = "clicknet:make", path = "clicks/clicknet.py", vocabulary = {VOCABULARY} }}
input_shape = [{NUMBERS}, {CATEGORIES}]
batch = 64
metric = "auc"
threshold = 0.8

[data]
file = "clicks/data/clicks.csv"

[hardware]
types = [{{ name = "a", price = 1.0, limit = 1 }}, {{ name = "b", price = 1.0, limit = 1 }}]

[training]
steps = 60
learning_rate = 3e-3

[environment]
reuse = "{sys.executable}"
torch = "{metadata.version("torch")}"

[extend]
steps = ["pipeline", "int8", "server"]
server = {{ variant = "int8" }}
"""


@pytest.fixture(scope="module")
def made(repository):
    """The run of a project that has the user's network: made, extended and tested."""
    folder = repository.parent
    (folder / "spec.toml").write_text(SPEC)
    assert cli.main(["generate", f"{folder}/spec.toml", "-o", f"{folder}/made", "--mode", "full"]) == 0
    return folder / "made"


def test_its_own_scripts_are_adopted_and_tested(repository, tmp_path, capsys):
    run = str(tmp_path / "run")
    arguments = ["--python", sys.executable, "--metric", "train:loss=loss: ([0-9.]+)", "--max", "loss=0.65"]
    tipc = ["--tipc", f"{repository}/train_infer_python.txt", "--mode", "lite_train_lite_infer"]
    assert cli.main(["adopt", str(repository), "-o", run, *arguments, *tipc]) == 0
    assert cli.main(["test", run]) == 0, capsys.readouterr().out
    result = read_result(tmp_path / "run/test-result.json", Verdicts)
    assert result.passed
    assert {case.name.split()[0] for case in result.cases} >= {"train", "export", "infer"}


def test_its_network_is_trained_in_stages_quantised_and_served(made):
    result = read_result(made / "test-result.json", Verdicts)
    assert result.passed, str(result)
    stages = json.loads((made / "project/plan.json").read_text())["stages"]
    assert sorted((stage["type"], stage["devices"]) for stage in stages) == [("a", 1), ("b", 1)]
    cases = {case.name: case.status for case in result.cases}
    wanted = ("train", "evaluate", "pipeline", "variant int8", "server")
    assert {name: cases.get(name) for name in wanted} == dict.fromkeys(wanted, "PASS")


def test_a_user_asks_the_server(made):
    """The int8 network answers a row as people write it."""
    project = made / "project"
    address = project / "artefacts/server.json"
    address.unlink(missing_ok=True)
    with subprocess.Popen([sys.executable, "serve.py"], cwd=project) as server:
        try:
            where = json.loads(wait_for(lambda: address.exists() and address.read_text()))
            rows = [[0.1, -1.0, 0.5, 2.0, 3, 7], {"n0": 0.1, "n1": -1, "n2": 0.5, "n3": 2, "c0": 3, "c1": 7}]
            request = urllib.request.Request(
                f"http://{where['host']}:{where['port']}/answer", json.dumps({"rows": rows}).encode()
            )
            with urllib.request.urlopen(request, timeout=60) as reply:
                answers = json.load(reply)
        finally:
            server.send_signal(signal.SIGTERM)
    first, second = answers["answers"]
    assert first == second
    assert 0 < first["chance"] < 1


def test_a_page_has_both_results(repository, made, tmp_path):
    assert cli.main(["report", str(made), "-o", f"{tmp_path}/page.html"]) == 0
    texts = Page((tmp_path / "page.html").read_text()).texts
    assert "Test of clicks" in texts
    assert "int8" in texts


def test_the_same_over_ssh(repository, ssh_server, tmp_path):
    """Without training, and so without its threshold; without stages and variants, which are made as here."""
    folder = repository.parent
    there = f'\n[ssh]\nconfig = "{ssh_server.config}"\ndirectory = "{tmp_path}/there"\n'
    spec = SPEC.replace("threshold = 0.8\n", "").replace('"pipeline", "int8", ', "")
    spec = spec.replace('server = { variant = "int8" }\n', "")
    (folder / "there.toml").write_text(spec + there)
    command = ["generate", f"{folder}/there.toml", "-o", f"{tmp_path}/made", "--mode", "infer"]
    assert cli.main([*command, "--target", ssh_server.target]) == 0
    result = read_result(tmp_path / "made/test-result.json", Verdicts)
    assert {case.name: case.status for case in result.cases}["server"] == "PASS"
