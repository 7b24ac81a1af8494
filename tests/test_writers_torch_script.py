"""The script for torchrun, run by it: processes train as one does."""

import ast
import os
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest
from writers import plan_of

import stageplan as sp

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")

JOB = """
import torch
from torch import nn


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.middle, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.last.weight = self.first.weight

    def forward(self, x):
        return self.last(self.middle(self.first(x).tanh()).tanh())


def job():
    module = Tied()
    torch.manual_seed(1)
    batches = [(torch.rand(16, 4), torch.rand(16, 4)) for _ in range(3)]
    return module, nn.functional.mse_loss, lambda weights: torch.optim.SGD(weights, lr=0.5), batches


def serve():
    module, _, _, batches = job()
    return module, [inputs for inputs, _ in batches]


def losses():
    module, loss_of, make_optimizer, batches = job()
    optimizer = make_optimizer(module.parameters())
    for inputs, target in batches:
        optimizer.zero_grad()
        loss = loss_of(module(inputs), target)
        loss.backward()
        optimizer.step()
        yield loss.item()
"""


def plan(mode="train", replicas=1, scheme=(0, 1, 1), **goal):
    names = ("first", "middle", "last")
    layers = [sp.Layer(name=name, compute={"a": 1e-3, "b": 1e-3}) for name in names]
    workload = sp.Workload(name="net", layers=layers, ties=[("first", "last")], mode=mode)
    counts = (replicas, replicas)
    return plan_of(workload, scheme, counts=counts, batch=16, same_replicas=True, **goal)


def run(folder, text, function, processes):
    """Lines that torchrun prints."""
    (folder / "train.py").write_text(text)
    (folder / "jobs.py").write_text(JOB)
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(processes),
    ]
    done = subprocess.run(
        [*torchrun, "train.py", f"jobs:{function}"],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def losses_alone():
    namespace = {}
    exec(JOB, namespace)
    return list(namespace["losses"]())


def losses_of(lines, replica=0):
    found = (re.fullmatch(rf"iteration \d+, replica {replica}: loss (\S+), .* examples/s", x) for x in lines)
    return [float(match[1]) for match in found if match]


@needs_torch
def test_two_processes_train_as_one_does(tmp_path):
    """With weights that both stages have."""
    text = sp.export(plan(schedule="1f1b", microbatches=4), "torch", script=True).text
    lines = run(tmp_path, text, "job", 2)
    assert losses_of(lines) == pytest.approx(losses_alone(), abs=2e-6)


@needs_torch
def test_replicas_train_as_one_process_does(tmp_path):
    """Each has the loss of its half of a batch."""
    text = sp.export(plan(replicas=2, scheme=(0, 0, 0)), "torch", script=True).text
    lines = run(tmp_path, text, "job", 2)
    halves = zip(losses_of(lines), losses_of(lines, replica=1), strict=True)
    assert [sum(pair) / 2 for pair in halves] == pytest.approx(losses_alone(), abs=2e-6)


@needs_torch
def test_inference_runs_every_batch(tmp_path):
    text = sp.export(plan("inference", scheme=(0, 0, 0)), "torch", script=True).text
    lines = run(tmp_path, text, "serve", 1)
    assert [line.partition(":")[0] for line in lines] == [f"batch {i}, replica 0" for i in range(3)]


@pytest.mark.parametrize("mode", ["prefill", "decode"])
def test_plans_of_models_that_are_served_are_refused(mode):
    sentence = rf"torch cannot run this plan: its workload was profiled for mode '{mode}', and the script "
    with pytest.raises(ValueError, match=sentence):
        sp.export(plan(mode), "torch", script=True)


def test_the_script_has_the_plan():
    exported = sp.export(plan(replicas=2, schedule="gpipe", microbatches=4), "torch", script=True)
    tree = ast.parse(exported.text)
    values = {
        node.targets[0].id: ast.unparse(node.value) for node in tree.body if isinstance(node, ast.Assign)
    }
    assert values["SPLIT_SPEC"] == "{'middle': SplitPoint.BEGINNING}"
    assert values["STAGES"] == "[['first'], ['middle', 'last']]"
    assert (values["REPLICAS"], values["MICROBATCHES"]) == ("2", "4")
    assert values["RANKS"] == "[(0, 'a'), (0, 'a'), (1, 'b'), (1, 'b')]"
    assert "ScheduleGPipe(stage, MICROBATCHES, loss_fn=loss_of)" in exported.text
    assert exported.runtime == "torch"


def test_only_torch_has_a_script():
    with pytest.raises(ValueError, match="script requires to 'torch'; it is 'vllm'"):
        sp.export(plan(), "vllm", script=True)
