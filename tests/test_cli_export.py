"""``stageplan export`` and ``devices``."""

import json
import sys
from pathlib import Path

import msgspec
import pytest
from commands import DEVICES

import stageplan as sp
from stageplan.readers import read_cluster, read_goal, read_workload
from stageplan.writers import RUNTIMES

MODEL = """
name = "model"
ties = [["tok_embeddings", "output"]]
[[layers]]
name = "tok_embeddings"
kind = "embedding"
compute = { slow = 0.001, fast = 0.001 }
[[layers]]
name = "layers.0"
kind = "block"
compute = { slow = 0.003, fast = 0.001 }
[[layers]]
name = "layers.1"
kind = "block"
compute = { slow = 0.003, fast = 0.001 }
[[layers]]
name = "output"
kind = "head"
compute = { slow = 0.001, fast = 0.001 }
[goal]
max_devices_per_stage = 1
"""


@pytest.fixture
def model(run):
    """Write a model, and a plan of it: slow runs the first two layers, fast the others."""
    Path("model.toml").write_text(MODEL)
    cluster, workload = read_cluster("types.toml"), read_workload("model.toml")
    plan = sp.Plan.of(sp.Problem(workload, cluster, read_goal("model.toml")), [0, 0, 1, 1])
    Path("model.json").write_bytes(msgspec.json.encode(plan.to_dict()))
    return plan


def test_export_of_a_file_alone(run, model):
    ranks = "stage 0 on slow: rank 0\nstage 1 on fast: rank 1\n"
    assert run("export", "model.json", "--to", "megatron") == (0, sp.export(model, "megatron").text, ranks)
    assert run("export", "model.json", "--to", "device-map", "-o", "-")[:2] == (
        0,
        sp.export(model, "device-map").text,
    )


@pytest.mark.parametrize("to", RUNTIMES)
def test_export_compares_with_the_default_partition(run, model, to):
    argv = ("export", "model.json", "--to", to, "--workload", "model.toml", "--cluster", "types.toml")
    if to == "torchtitan":
        status, out, err = run(*argv)
        assert (status, out) == (2, "")
        assert "model.json: torchtitan cannot run this plan: tok_embeddings and output share weights" in err
        return
    exported = sp.export(model, to)
    assert run(*argv) == (0, exported.text, f"{exported.remarks}\n")
    assert run(*argv, "-o", "out") == (0, f"{exported.remarks}\n", "")
    assert Path("out").read_text() == exported.text
    table = Path("out.ranks.json")
    if to == "json":
        assert not table.exists()
    else:
        assert table.read_text() == exported.rank_table()


@pytest.mark.parametrize("compared", [(), ("--workload", "model.toml", "--cluster", "types.toml")])
def test_a_note_on_a_throughput_that_a_runtime_does_not_reach(run, model, compared):
    """With or without the workload: stages of 4 and 2 ms are 250 examples/s, 167 in turn."""
    plan = sp.Plan.of(model.problem.replace(min_throughput=200), model.scheme)
    Path("model.json").write_bytes(msgspec.json.encode(plan.to_dict()))
    status, _, err = run("export", "model.json", "--to", "device-map", *compared)
    assert status == 0
    assert "device-map runs the stages in turn, but" in err
    assert "the prediction breaks the plan's min_throughput: 166.667, allowed 200" in err


def test_export_of_a_plan_that_breaks_limits(run, model):
    plan = sp.Plan.of(model.problem.replace(min_throughput=1e6), model.scheme)
    Path("model.json").write_bytes(msgspec.json.encode(plan.to_dict()))
    sentence = "stageplan: model.json: the plan is not feasible; it is not exported\n"
    argv = ("export", "model.json", "--to", "vllm", "-o", "out")
    assert run(*argv) == (1, "", sentence)
    assert run(*argv, "--workload", "model.toml", "--cluster", "types.toml") == (1, "", sentence)
    assert not list(Path().glob("out*"))


def test_the_rank_table_is_not_written_beside_a_device(run, model):
    assert run("export", "model.json", "--to", "vllm", "-o", "/dev/null")[0] == 0
    assert not Path("/dev/null.ranks.json").exists()


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ("export", "the following arguments are required: PLAN, --to"),
        ("export model.json --to tensorflow", "argument --to: invalid choice: 'tensorflow'"),
        ("export nowhere.json --to vllm", "nowhere.json: No such file or directory"),
        (
            "export scheme.json --to vllm",
            "scheme.json: the plan file lacks layers and stages; pass --workload",
        ),
        (
            "export wrong.json --to vllm",
            "wrong.json: a stage or tie has layer 'x', which is not in the plan's layers",
        ),
        (
            "export part.json --to vllm",
            "part.json: vllm cannot run this plan: its stages have 2 layers; each of 4",
        ),
        ("export model.json --to vllm --cluster types.toml", "model.json: --cluster requires --workload"),
        ("export model.json --to vllm --workload-batch 2", "--workload-batch requires --workload"),
        (
            "export model.json --to vllm --workload net.toml",
            "model.json: the plan is of model on types with 4 layers; net on types has 3",
        ),
        (
            "export model.json --to vllm -o model.json",
            "--output is model.json, which is read too; it must be",
        ),
        ("export m.ranks.json --to vllm -o m", "the table of ranks is m.ranks.json, which is read too"),
        ("export model.json --to vllm --workload model.toml -o model.toml", "model.toml, which is read too"),
        ("export model.json --to vllm -o nowhere/x", "--output is nowhere/x; its directory"),
    ],
)
def test_bad_exports(refused, model, argv, sentence):
    Path("scheme.json").write_text('{"scheme": [0, 0, 1, 1]}')
    text = Path("model.json").read_text()
    Path("m.ranks.json").write_text(text)
    Path("wrong.json").write_text(text.replace('"layers":["layers.1","output"]', '"layers":["x"]'))
    Path("part.json").write_text(text.replace('"layers":["layers.1","output"]', '"layers":[]'))
    before = {path: path.read_text() for path in Path().iterdir()}
    assert sentence in refused(*argv.split())
    assert {path: path.read_text() for path in Path().iterdir()} == before


def test_a_device_is_fitted_to_measured_kernels(run):
    device = sp.read_devices()["a100-80g"]
    kernels = [
        {"flops": flops, "bytes": moved, "seconds": 2e-6 + max(flops / 1e14, moved / 1e12)}
        for flops in (1e6, 1e9, 1e11)
        for moved in (1e4, 1e7, 1e9)
    ]
    measured = {"device": "a100-80g", "precision": "bf16", "kernels": kernels}
    Path("measured.json").write_text(json.dumps(measured))
    status, _, err = run("devices", "--fit", "measured.json", "-o", "mine.json")
    assert status == 0
    assert err.startswith("fitted to 9 kernels in bf16: estimates are ")
    fitted = sp.read_devices("mine.json")["a100-80g"]
    assert fitted.efficiency["bf16"].compute_fraction == pytest.approx(1e14 / device.peak["bf16"], rel=0.02)
    assert fitted.efficiency["bf16"].training_fraction == device.efficiency["bf16"].training_fraction
    assert fitted.kernel_seconds == pytest.approx(2e-6, rel=0.1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"device": "mine"}, "measured.json: device is 'mine'; it must be one of t4, "),
        ({"precision": "fp8"}, "measured.json: precision is 'fp8'; it must be one that t4 has: "),
        (
            {"kernels": [{"flops": 1, "bytes": 1}]},
            "measured.json: kernels[0].seconds is missing; it must be ",
        ),
        ({"kernels": []}, "measured.json: kernels has 0 items; it must be a list of 3 kernels or more"),
    ],
)
def test_bad_measured_kernels_are_refused(run, changes, sentence):
    kernels = [{"flops": 1, "bytes": 1, "seconds": 1}] * 3
    measured = {"device": "t4", "precision": "fp16", "kernels": kernels} | changes
    Path("measured.json").write_text(json.dumps(measured))
    status, _, err = run("devices", "--fit", "measured.json")
    assert status == 2
    assert sentence in err


def test_devices_are_listed(run):
    status, out, err = run("devices")
    assert (status, err) == (0, "")
    devices, rest = out.split("prices in $/hour")
    peaks, rest = rest.split("dense peaks")
    for listed in (devices.splitlines()[1:], peaks.splitlines()[2:]):
        assert [line.split()[0] for line in listed] == list(sp.read_devices())
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "a100-40g 2.745 - 1.844 40 1555 300 6.25 8" in lines  # $/hour on demand, spot, reserved; ...
    assert "a100-80g bf16 0.8 0.65 0.5 0.4 0.75 6.3 48" in lines
    Path("mine.toml").write_text(DEVICES)
    assert run("devices", "--catalogue", "mine.toml", "-o", "mine.json")[0] == 0
    assert sp.read_devices("mine.json") == sp.read_devices("mine.toml")


def test_the_lists_of_devices_fit_80_columns(run, monkeypatch):
    whole = run("devices")[1].split()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = run("devices")
    assert max(map(len, out.splitlines())) <= 80
    assert out.split() == whole


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ("devices --catalogue net.toml", "net.toml: it holds no devices; it must hold a catalogue"),
        ("devices --region x", "--region requires a price list"),
        ("devices --pricing free", "argument --pricing: invalid choice: 'free'"),
    ],
)
def test_bad_input_is_one_sentence(refused, argv, sentence):
    assert sentence in refused(*argv.split())


def test_export_of_a_script(run, refused, model):
    status, out, _ = run("export", "model.json", "--to", "torch", "--script")
    assert (status, out) == (0, sp.export(model, "torch", script=True).text)
    assert "--script requires --to torch; it is given with --to vllm" in refused(
        "export", "model.json", "--to", "vllm", "--script"
    )
