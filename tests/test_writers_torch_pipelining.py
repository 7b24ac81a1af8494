"""Stages for torch.distributed.pipelining, which train as the whole module does."""

import ast
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from pipeline_processes import run_workers
from writers import language_model, plan_of

import stageplan as sp

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
needs_transformers = pytest.mark.skipif(
    find_spec("transformers") is None, reason="transformers is not installed"
)
traces = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # of torch.export in itself


def test_the_text_says_where_to_split_and_what_runs_where():
    exported = sp.export(plan_of(language_model(4), [0] * 3 + [1] + [0] * 3), "torch")
    assert exported.value == ["layers.2", "layers.3"]
    tree = ast.parse(exported.text)
    stages = next(
        ast.literal_eval(n.value)
        for n in tree.body
        if isinstance(n, ast.Assign) and n.targets[0].id == "STAGES"
    )
    assert stages == [
        ["tok_embeddings", "layers.0", "layers.1"],
        ["layers.2"],
        ["layers.3", "norm", "lm_head"],
    ]
    assert '"layers.2": SplitPoint.BEGINNING,\n    "layers.3": SplitPoint.BEGINNING,\n' in exported.text
    assert "REPLICAS = 1  # of each stage\nRANKS = [(0, 'a'), (1, 'b'), (2, 'a')]" in exported.text
    assert 'MESH = {"pp": 3, "dp": 1, "tp": 1}' in exported.text
    assert "def tie" not in exported.text


def test_tensor_parallelism_is_a_dimension_of_the_mesh():
    columns = {"column_type": [0, 1], "column_degree": [2, 2], "batch": 4, "limit": [4, 4]}
    problem = sp.Problem.from_arrays([[1e-3, 1e-3]] * 2, [1.0, 1.0], objective="throughput", **columns)
    plan = sp.Plan.of(problem, [0, 1])
    exported = sp.export(plan, "torch")
    assert 'MESH = {"pp": 2, "dp": 2, "tp": 2}' in exported.text
    assert [(rank.stage, rank.replica) for rank in exported.ranks[:4]] == [(0, 0), (0, 0), (0, 1), (0, 1)]
    assert 'parallelize_module on it with mesh["tp"]' in exported.note
    with pytest.raises(
        ValueError, match=r"stage 1 runs on 2 devices by strategy 'tp2'; the script runs each"
    ):
        sp.export(plan, "torch", script=True)


def test_names_cannot_break_out_of_the_text():
    names = ['"""', 'a"\nraise SystemExit', "'\nraise SystemExit #"]
    layers = [sp.Layer(name=name, compute={"a": 1e-3, "b": 2e-3}) for name in names]
    plan = plan_of(sp.Workload(name="net", layers=layers, ties=[names[::2]]), [0, 1, 0])
    for to in ("torch", "deepspeed", "paddle"):
        tree = ast.parse(sp.export(plan, to).text)
        assert not any(isinstance(node, ast.Raise) for node in tree.body)


def test_cut_ties_are_kept_equal():
    exported = sp.export(plan_of(language_model(4, tied=True), [0] * 3 + [1] * 4), "torch")
    ast.parse(exported.text)
    assert "def tie(pipe, index):" in exported.text
    assert exported.note.startswith("tok_embeddings and lm_head share weights: tie() keeps them equal")


@needs_torch
@needs_transformers
def test_two_processes_train_a_tied_gpt2_like_one(tmp_path):
    """To rounding; and without the gradients of the tied weights added up, they do not."""
    losses = run_workers(tmp_path / "ranks", replicas=1)[1]
    assert len(losses["whole"]) == 4
    assert losses["split_module"] == pytest.approx(losses["whole"], abs=1e-6)
    assert losses["export"] == losses["split_module"]
    assert max(abs(a - b) for a, b in zip(losses["untied"], losses["whole"], strict=True)) > 1e-4


@needs_torch
def test_gradients_are_summed_over_stages_and_averaged_over_replicas(monkeypatch):
    """Groups of ranks, by a stand-in of torch.distributed; tests/check_runtimes.py runs the processes."""
    import torch
    import torch.distributed as dist

    monkeypatch.setattr(dist, "new_group", tuple)
    monkeypatch.setattr(dist, "get_rank", lambda: 3)
    monkeypatch.setattr(dist, "all_reduce", lambda gradient, group: gradient.mul_(1 + sum(group)))
    plan = plan_of(language_model(4, tied=True), [0] * 4 + [1] * 3, counts=(2, 2))
    exported, text = sp.export(plan, "torch"), {}
    assert exported.note.startswith("average() keeps the replicas of a stage equal; tok_embeddings and ")
    exec(exported.text, text)
    head = torch.nn.Linear(1, 1, bias=False)
    head.weight.grad = torch.ones(1, 1)
    pipe = SimpleNamespace(
        replicated_params=[{"submod_0": "tok_embeddings.weight", "submod_1": "weight"}],
        get_stage_module=lambda index: head,
    )
    text["tie"](pipe, 1)()
    assert head.weight.grad.item() == 1 + (1 + 3)  # ranks of replica 1 of both stages
    text["average"](head, (2, 3))
    assert head.weight.grad.item() == 5 * (1 + 5) / 2


@pytest.fixture
def net():
    torch = pytest.importorskip("torch")

    class Skip(torch.nn.Module):
        """Layers in a row, and what the first makes is used by the last as well."""

        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = (torch.nn.Linear(4, 4) for _ in range(3))

        def forward(self, x):
            first = self.a(x).relu()
            return self.c(self.b(first) + 1) * first

    torch.manual_seed(0)
    return Skip()


def plan_for(names, scheme, **goal):
    layers = [sp.Layer(name=name, compute={"a": 1e-3, "b": 2e-3}) for name in names]
    return plan_of(sp.Workload(name="net", layers=layers), scheme, **goal)


@traces
def test_stages_in_turn_are_the_module(net):
    import torch

    x = torch.rand(2, 4)
    split = sp.split_module(net, plan_for("abc", [0, 1, 0]), (x,))
    assert [sorted(dict(stage.named_children())) for stage in split.modules] == [["a"], ["b"], ["c"]]
    assert split.shared == ()
    first = split.modules[0](x)
    third = split.modules[2](split.modules[1](first), first)
    assert torch.equal(third, net(x))


@traces
def test_the_module_stays_as_it_was(net):
    import torch

    x = torch.rand(2, 4)
    sp.split_module(net, plan_for("abc", [0, 1, 1]), (x,))
    assert not any({"forward", "_orig_forward"} & vars(part).keys() for part in net.modules())
    assert len(sp.split_module(net, plan_for("abc", [0, 0, 1]), (x,)).modules) == 2


@traces
def test_plans_of_other_modules_are_refused(net):
    import torch

    x = torch.rand(2, 4)
    with pytest.raises(ValueError, match="layer 'd' is not a module of Skip; the plan must be made for it"):
        sp.split_module(net, plan_for("abd", [0, 0, 1]), (x,))
    apart = plan_for("abc", [0, 1, 0], merge="type")
    with pytest.raises(ValueError, match="stage 1 has layers that are not adjacent"):
        sp.split_module(net, apart, (x,))


def test_without_torch_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.distributed.pipelining", None)
    with pytest.raises(
        ImportError, match=r'torch is not installed; pip install "stageplan\[torch\]" installs it'
    ):
        sp.split_module(None, plan_for("abc", [0, 1, 1]))


def test_importing_stageplan_does_not_import_torch():
    code = "import sys, stageplan; assert 'torch' not in sys.modules"
    source = Path(sp.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": str(source)})
