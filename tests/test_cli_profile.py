import errno
import json
import os
import re

import pytest
from commands import fail

import stageplan as sp
from stageplan.cli import main
from stageplan.plan_file import read_plan

torch = pytest.importorskip("torch")

TINY = {"model_type": "gpt2", "n_layer": 2, "n_embd": 16, "n_head": 2, "vocab_size": 31, "n_positions": 24}


@pytest.fixture
def tiny(tmp_path):
    pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    return f"hf:{tmp_path}"


@pytest.mark.parametrize("name", ["w.toml", "w.json"])
def test_a_profile_is_written_and_planned(tiny, tmp_path, capsys, name):
    path = tmp_path / name
    arguments = [
        "--device",
        "t4",
        "--device",
        "a100-80g",
        "--precision",
        "fp16",
        "--batch",
        "4",
        "--sequence",
        "8",
    ]
    assert main(["profile", tiny, *arguments, "-o", str(path)]) == 0
    table = capsys.readouterr().out
    assert "transformer.h.1" in table
    workload = sp.read_workload(path)
    assert workload == sp.profile(tiny, devices=["t4", "a100-80g"], precision="fp16", batch=4, sequence=8)
    assert (
        main(["plan", str(path), "--device", "t4:2", "--device", "a100-80g:2", "--objective", "throughput"])
        == 0
    )
    assert "transformer.wte" in capsys.readouterr().out


def test_a_model_that_is_served(tiny, tmp_path, capsys):
    path, plan = str(tmp_path / "w.toml"), str(tmp_path / "plan.json")
    flags = ["--mode", "decode", "--context", "20", "--concurrency", "6", "--batch", "3", "--kv-cache", "fp8"]
    assert main(["profile", tiny, "--device", "a100-80g", *flags, "-o", path]) == 0
    options = {"mode": "decode", "context": 20, "concurrency": 6, "batch": 3, "kv_cache": "fp8"}
    assert sp.read_workload(path) == sp.profile(tiny, devices=["a100-80g"], **options)
    assert "examples/s are tokens/s" in capsys.readouterr().err
    assert main(["plan", path, "--device", "a100-80g:2", "--objective", "throughput", "-o", plan]) == 0
    out, err = capsys.readouterr()
    assert re.search(r"^serving: .* tokens/s, .* s per token of a sequence, ", out, re.M)
    assert err == (
        "stageplan: note: a plan has at most 2 stages, one for each group of 3 of 6 sequences (profile with "
        "another --batch for more)\n"
    )
    assert main(["plan", path, "--device", "a100-80g:2", "--max-stages", "2"]) == 0
    assert capsys.readouterr().err == ""
    saved = read_plan(plan)
    assert saved.conditions.context == 20
    assert saved.serving.tokens_per_second > 0


@pytest.mark.parametrize(
    ("flags", "fields"),
    [
        ([], {}),
        (["--optimizer", "sgd", "--zero", "2"], {"optimizer": "sgd", "zero": 2}),
        (["--strategy", "recompute"], {"strategies": ["recompute"]}),
        (["--strategy", "tp=1,2", "--strategy", "recompute"], {"strategies": ["tp=1,2", "recompute"]}),
        (["--mode", "inference"], {"mode": "inference"}),
    ],
)
def test_a_profile_needs_no_batch_and_no_schedule(tiny, tmp_path, capsys, flags, fields):
    path = str(tmp_path / "w.json")
    assert main(["profile", tiny, "--device", "a100-80g", "--sequence", "8", *flags, "-o", path]) == 0
    assert sp.read_workload(path) == sp.profile(tiny, devices=["a100-80g"], sequence=8, **fields)
    plan = ["plan", path, "--device", "a100-80g:2", "--objective", "throughput"]
    assert main(plan) == 0
    assert ("--batch" in capsys.readouterr().err) == (fields.get("mode") is None)
    schedule = ["--schedule", "1f1b", "--microbatches", "4", "--batch"]
    assert main([*plan, *schedule, "4"]) == 0
    assert capsys.readouterr().err == ""
    assert main([*plan, *schedule, "8"]) == 0
    note = (
        "stageplan: note: the workspace of a layer has what it gathers with ZeRO 2, which counts for each 1"
    )
    assert capsys.readouterr().err.startswith(note) == (fields.get("zero") == 2)


def test_captured_graphs_have_no_launches(tiny, tmp_path):
    arguments = ["profile", tiny, "--sequence", "4", "--device", "t4", "-o"]
    assert main([*arguments, str(tmp_path / "eager.json")]) == 0
    assert main([*arguments, str(tmp_path / "graphs.json"), "--graphs"]) == 0
    eager, graphs = (sp.read_workload(tmp_path / name) for name in ("eager.json", "graphs.json"))
    assert graphs == sp.profile(tiny, sequence=4, devices=["t4"], graphs=True)
    assert all(
        a.compute["t4"] > 5 * b.compute["t4"] for a, b in zip(eager.layers, graphs.layers, strict=True)
    )


def test_table_is_printed_where_the_file_cannot_be_written(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "fsync", fail(OSError(errno.ENOSPC, "No space left on device")))
    path = tmp_path / "net.json"
    assert main(["profile", tiny, "--sequence", "4", "--device", "t4", "-o", str(path)]) == 2
    out, err = capsys.readouterr()
    assert err.splitlines()[-1] == f"stageplan: error: {path}: No space left on device"
    assert out.splitlines()[0].split()[-1] == "t4"
    assert not path.exists()


def test_notes_are_printed_and_written(tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> net (float[3, 2] x) => (float[3, 2] y)'
        "<float[2, 2] w = {1, 2, 3, 4}> { y = MatMul(x, w) }"
    )
    onnx.save(model, tmp_path / "net.onnx")
    path = tmp_path / "w.toml"
    assert main(["profile", str(tmp_path / "net.onnx"), "--device", "t4", "-o", str(path)]) == 0
    (note,) = sp.read_workload(path).notes
    assert capsys.readouterr().err == f"stageplan: note: {note}\n"


def test_flags_are_what_python_takes(capsys):
    arguments = ["--input", "3x4", "--device", "t4", "--mode", "inference", "-o", "-"]
    assert main(["profile", "networks:stack", *arguments, "--layers", "stem,blocks.1"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [layer["name"] for layer in document["layers"]] == ["stem", "blocks.1"]
    assert document["batch"] == 3
    assert main(["profile", "networks:stack", *arguments, "--depth", "9"]) == 0
    assert len(json.loads(capsys.readouterr().out)["layers"]) == 9


def test_measuring(tiny, capsys):
    arguments = ["--on", "cpu", "--sequence", "4", "--repeats", "8", "--max-spread", "100"]
    assert main(["profile", tiny, "--measure", "cpu", *arguments]) == 0
    out, err = capsys.readouterr()
    table = out.splitlines()
    assert table[0].split()[-2:] == ["cpu", "spread"]
    assert table[1].endswith("%")
    assert err.startswith("stageplan: note: times of cpu were measured on this machine's processor, ")


def test_measuring_on_a_gpu_that_is_not_there(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["profile", "networks:stack_with_example", "--measure", "h200", "--on", "cuda"]) == 2
    assert capsys.readouterr() == (
        "",
        "stageplan: error: --on is 'cuda', but there is no GPU here that torch can use; it must be 'cpu'\n",
    )


def test_a_catalogue_of_ones_own(tmp_path, capsys):
    path = tmp_path / "devices.toml"
    path.write_text(
        'devices = [{ name = "mine", peak = { fp32 = 1e9 }, memory = 1e9, memory_bandwidth = 1e9 }]'
    )
    assert (
        main(["profile", "networks:stack", "--input", "3x4", "--catalogue", str(path), "--device", "mine"])
        == 0
    )
    assert capsys.readouterr().out.splitlines()[0].split()[-1] == "mine"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--device is missing; at least one device, or measure, must be given"),
        (["--device", "t5"], "--device is 't5'; it must be one of t4, "),
        (["--device", "t4", "--batch", "-1"], "--batch is -1; it must be a whole number, at least 1"),
        (
            ["--device", "t4", "--input", "3xx4"],
            "argument --input: it is '3xx4'; it must be whole numbers as",
        ),
        (
            ["--device", "t4", "--axis", "a=0"],
            "argument --axis: it is 'a=0'; it must be a name and a size as",
        ),
        (["--device", "t4", "--axis", "a=3"], "--axis is given, but model is not an ONNX file"),
        (["--device", "t4", "--input", "0x4"], "argument --input: it is '0x4'; it must be whole numbers as"),
        (
            ["--device", "t4", "--input", "3x4", "--batch", "2"],
            "--batch is 2; it must be the first of shape, 3",
        ),
        (
            ["--device", "t4"],
            "--input is None; 'networks:stack' gives no example, so shape or sequence",
        ),
        (
            ["--device", "t4", "--input", "3x4", "--layers", "x"],
            "layers[0] is 'x'; it must be the path of a mod",
        ),
        (
            ["--device", "t4", "--input", "3x4", "--layers", "stem", "--depth", "1"],
            "argument --depth: not allowed",
        ),
        (
            ["--device", "t4", "--input", "3x5"],
            "module Stack cannot run without values, on the meta device: ",
        ),
        (
            ["--measure", "x", "--device", "t4", "--input", "3x4"],
            "--measure is 'x'; it must be 'cpu' or the name of a device of the catalogue",
        ),
        (
            ["--measure", "t4", "--input", "3x4"],
            "--measure is 't4', which calls itself 'Tesla T4', but this machine's processor calls itself ",
        ),
        (["--device", "t4", "--on", "cuda"], "--on is 'cuda', which says where to measure; measure must"),
        (
            ["--measure", "cpu", "--check", "--on", "cuda"],
            "--check runs the stages on the processor; --on must",
        ),
    ],
)
def test_bad_input_is_one_sentence(arguments, words, capsys, tmp_path, monkeypatch):
    path = tmp_path / "out.toml"
    assert main(["profile", "networks:stack", *arguments, "-o", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"stageplan: error: {words}"), err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_absent_library_is_one_sentence(capsys, monkeypatch):
    import sys

    monkeypatch.delitem(sys.modules, "stageplan.profiling.huggingface", raising=False)
    monkeypatch.delattr("stageplan.profiling.huggingface", raising=False)
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert main(["profile", "hf:gpt2", "--device", "t4"]) == 2
    assert capsys.readouterr().err.startswith(
        "stageplan: error: transformers is needed to read this model; pip"
    )
