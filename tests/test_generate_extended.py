"""The extended function: order of extensions, the plan, and pipelined training equal to one process."""

import json
import re

import msgspec
import pytest
from projects import REPORT, drive, make_spec, write
from test_generate_basic import Recorder

from stageplan.generate import StepError, basic, extended, generate
from stageplan.generate.results import changed_artefacts

RATE = 1e9  # bytes/s
PREDICTED = 250.0  # examples/s
LAYERS = ("embedding", "block0", "block1", "head")
TYPES = [{"name": "cpu", "price": 1.0, "limit": 2}, {"name": "fast", "price": 3.0, "limit": 1, "speed": 2.0}]


def test_extensions_come_after_their_requirements():
    assert extended.ordered(["onnx"]) == ("onnx",)
    order = extended.ordered(["replicas", "server"])
    assert set(order) == {"pipeline", "replicas", "server"}
    assert order.index("pipeline") < order.index("replicas")
    assert extended.ordered([]) == ()


def test_table_and_server_come_after_all_variants():
    order = extended.ordered(["server", "int8", "distill"])
    assert set(order) == {"server", "int8", "onnx", "distill", "variants"}
    before = {order.index(step) for step in ("onnx", "int8", "distill")}
    assert max(before) < min(order.index("server"), order.index("variants"))
    assert set(extended.ordered(["server", "onnx"])) == {"onnx", "server"}


# The plan -----------------------------------------------------------------------------------------------


@pytest.fixture
def workload(tmp_path):
    """Times of the layers: the blocks take nearly all of them."""
    seconds = dict(zip(LAYERS, (0.01, 0.4, 0.4, 0.03), strict=True))
    layers = [
        {"name": name, "kind": "Layer", "compute": {"cpu": time}, "memory": 1e6}
        for name, time in seconds.items()
    ]
    path = tmp_path / "workload.json"
    path.write_text(json.dumps({"name": "w", "batch": 16, "layers": layers, "ties": [["embedding", "head"]]}))
    return path


def spec_for(types=TYPES, **fields):
    return make_spec(hardware={"types": types}, extend={"steps": ["pipeline"]}, **fields)


@pytest.mark.parametrize("method", ["auto", "exact", "genetic", "reinforce"])
def test_fastest_plan_fills_and_drains_the_pipeline(workload, method):
    extend = {"steps": ["pipeline"], "pipeline": {"method": method}}
    plan = extended._plan(make_spec(hardware={"types": TYPES}, extend=extend), False, workload, RATE)
    assert [(stage.type, stage.devices) for stage in plan.stages] == [("cpu", 1), ("fast", 1), ("cpu", 1)]
    first, blocks, last = 0.01 / 4, 0.8 / 2 / 4, 0.03 / 4  # seconds of a micro-batch, of which there are four
    assert plan.time == pytest.approx((3 * blocks + first + blocks + last) / 16)


def test_replicas_allow_several_devices_a_stage(workload):
    plan = extended._plan(spec_for([TYPES[0] | {"limit": 4}]), True, workload, RATE)
    assert max(stage.devices for stage in plan.stages) > 1
    assert sum(stage.devices for stage in plan.stages) == 4


def test_min_throughput_gives_the_cheapest_plan_that_reaches_it(workload):
    plan = extended._plan(spec_for(service={"min_throughput": 15.0}), False, workload, RATE)
    assert plan.throughput >= 15
    assert [stage.type for stage in plan.stages] == ["cpu"]


def test_unreachable_throughput_gives_the_shortfall(workload):
    with pytest.raises(StepError, match=r"throughput: \S+ examples/s, allowed 1000, \S+ short"):
        extended._plan(spec_for(service={"min_throughput": 1000.0}), False, workload, RATE)


def test_type_without_times_is_like_the_measured_one():
    types = extended._cluster(spec_for(), RATE).types
    assert [type_.like for type_ in types] == [None, "cpu"]


def test_measured_rate_of_transfers_counts_where_none_is_given():
    types = extended._cluster(spec_for([TYPES[0], TYPES[1] | {"bandwidth": 7.0, "link": 8.0}]), RATE).types
    assert [(type_.bandwidth, type_.link) for type_ in types] == [(RATE, RATE), (7.0, 8.0)]


def test_speeds_are_relative_to_the_measured_type():
    faster = {"name": "faster", "price": 9.0, "like": "fast", "speed": {"default": 3.0, "Conv2d": 5.0}}
    assert extended._speeds(spec_for([*TYPES, faster])) == {"cpu": 1.0, "fast": 2.0, "faster": 6.0}


def planned(*devices, layers=LAYERS):
    """Write a plan with a layer in each stage but the last, which has the rest."""
    cuts = [*([layer] for layer in layers[: len(devices) - 1]), layers[len(devices) - 1 :]]
    stages = zip(cuts, devices, strict=True)
    return json.dumps(
        {"stages": [{"type": "cpu", "layers": names, "devices": count} for names, count in stages]}
    ).encode()


def test_plan_with_too_many_processes_is_refused():
    spec = spec_for()
    extended._check_plan(spec, ["pipeline"], planned(1, 1, 1, 1), "plan.json")
    with pytest.raises(StepError, match=r"needs 5 processes, extend.pipeline.max_processes is 4: 1 short"):
        extended._check_plan(spec, ["pipeline"], planned(1, 1, 1, 1, 1, layers=tuple("abcde")), "plan.json")
    with pytest.raises(ValueError, match=r"gives a stage 2 devices; then 'replicas' must be in"):
        extended._check_plan(spec, ["pipeline"], planned(2, 1), "plan.json")
    extended._check_plan(spec, ["pipeline", "replicas"], planned(2, 1), "plan.json")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b'{"scheme": [0]}', "it must be a valid plan in JSON"),
        (b"", "it must be a valid plan in JSON"),
        (b'{"stages": []}', "it must be a valid plan in JSON"),
        (planned(0, 1), "it must be a valid plan in JSON: Expected `int` >= 1"),
        (
            planned(1, 1, layers=("embedding",)),
            "it must be a valid plan in JSON: Expected `array` of length >= 1",
        ),
        (
            planned(1, 1, layers=("stem", "block0", "head")),
            "which has the layers stem, block0, head; they must be embedding, block0, block1, head, in this",
        ),
    ],
)
def test_plan_that_does_not_match_is_refused_before_any_step(tmp_path, text, sentence):
    (tmp_path / "my.json").write_bytes(text)
    pipeline = {"plan": str(tmp_path / "my.json")}
    spec = make_spec(extend={"steps": ["pipeline"], "pipeline": pipeline}, environment={"reuse": "/nowhere"})
    with pytest.raises(ValueError, match=r"extend.pipeline.plan is .*my.json") as caught:
        generate(spec, tmp_path / "out")
    assert sentence in str(caught.value)
    assert not (tmp_path / "out").exists()


# The step -----------------------------------------------------------------------------------------------


def build(tmp_path, *steps):
    spec = make_spec(extend={"steps": steps})
    first = basic.build(spec, REPORT, Recorder(tmp_path), tmp_path, training="quick")
    return spec, first


def test_extensions_add_files_and_cases_and_do_not_change_the_basic_function(tmp_path):
    spec, first = build(tmp_path, "quantize", "checkpoint")
    result = extended.extend(spec, REPORT, target := Recorder(tmp_path), tmp_path, first, training="quick")
    assert [arguments[1] for arguments, _ in target.ran] == ["quantize.py", "resume.py"]
    assert {artefact.path for artefact in result.artefacts} == {
        "artefacts/metrics/quantize.json", "artefacts/metrics/resume.json", "extended.json",
    }  # fmt: skip
    assert changed_artefacts(tmp_path / "project", first) == []
    assert json.loads((tmp_path / "project/extended.json").read_bytes()) == {"checkpoint": {"every": 5}}
    cases = (tmp_path / "cases.toml").read_text()
    assert 'name = "quantize"' in cases
    assert 'name = "onnx"' not in cases


def test_other_extensions_replace_earlier_ones(tmp_path):
    spec, first = build(tmp_path, "quantize")
    extended.extend(spec, REPORT, Recorder(tmp_path), tmp_path, first, training="quick")
    other = msgspec.structs.replace(spec, extend=make_spec(extend={"steps": ["prune"]}).extend)
    result = extended.extend(other, REPORT, Recorder(tmp_path), tmp_path, first, training="quick")
    assert [artefact.path for artefact in result.artefacts] == [
        "artefacts/metrics/prune.json", "extended.json",
    ]  # fmt: skip
    assert not (tmp_path / "project/quantize.py").exists()
    assert not (tmp_path / "project/artefacts/metrics/quantize.json").exists()


def test_failed_extension_does_not_change_the_project(tmp_path):
    spec, first = build(tmp_path, "quantize", "prune")
    with pytest.raises(StepError, match=r"extended: prune.py ended with exit status 1"):
        extended.extend(spec, REPORT, Recorder(tmp_path, "prune"), tmp_path, first, training="quick")
    assert not (tmp_path / "project/quantize.py").exists()
    assert {path.name for path in tmp_path.iterdir()} == {".stageplan-files.json", "cases.toml", "project"}


def test_stages_run_must_match_the_plan(tmp_path):
    (tmp_path / "artefacts").mkdir()
    stages = [("a", ["x", "y"], 2), ("b", ["z"], 1)]
    (tmp_path / "plan.json").write_text(
        json.dumps({"stages": [{"type": t, "layers": layers, "devices": k} for t, layers, k in stages]})
    )
    ran = [{"type": "a", "layers": ["x", "y"], "ranks": [0, 1]}, {"type": "b", "layers": ["z"], "ranks": [2]}]
    (tmp_path / "artefacts/pipeline.json").write_text(json.dumps(ran))
    assert [stage.ranks for stage in extended._stages_run(tmp_path)] == [(0, 1), (2,)]
    (tmp_path / "artefacts/pipeline.json").write_text(json.dumps(ran[:1]))
    with pytest.raises(StepError, match="the plan has"):
        extended._stages_run(tmp_path)


# Pipelined training -------------------------------------------------------------------------------------


def plan(*stages):
    stages = [{"type": "cpu", "layers": s, "devices": k} for s, k in stages]
    return {"plan.json": {"stages": stages, "throughput": PREDICTED}}


PLANS = {
    "two processes": plan((LAYERS[:2], 1), (LAYERS[2:], 1)),
    "three processes": plan((LAYERS[:1], 1), (LAYERS[1:3], 1), (LAYERS[3:], 1)),
    "replicas, more behind": plan((LAYERS[:2], 1), (LAYERS[2:], 2)),
    "replicas, more before": plan((LAYERS[:2], 3), (LAYERS[2:], 2)),
    "replicas alone": plan((LAYERS, 2)),
}


# With gradients that are cut in every step, and a learning rate that falls.
CLIPPED = {"train": {"clip_norm": 0.05, "schedule": "cosine", "warm_up_steps": 2}}
OTHERS = ("not tied", "gpipe", "clipped", "replayed", "crowded", "simulated", "a layer too few", "no device")


@pytest.fixture(scope="module")
def pipelined(tmp_path_factory):
    """Metrics of training by each plan, by the other schedule, and with shared weights not tied."""
    pytest.importorskip("torch", reason="the generated project computes with PyTorch")
    pytest.importorskip("safetensors", reason="the generated project keeps weights in safetensors")
    folder = write(tmp_path_factory.mktemp("pipelined") / "project", make_spec())
    text = (folder / "pipeline.py").read_text()
    broken = text.replace("groups |= dict.fromkeys(tie, dist.new_group(holders))", "dist.new_group(holders)")
    assert broken != text
    (folder / "broken.py").write_text(broken)
    settings = json.loads((folder / "extended.json").read_bytes())
    settings["pipeline"]["schedule"] = "gpipe"
    steps = [
        step for files in PLANS.values() for step in (written(files), ["pipeline", "pipeline", {}, True])
    ]
    steps += [written(PLANS["two processes"]), ["broken", "pipeline", {}, True]]
    steps += [written(PLANS["replicas, more before"] | {"extended.json": settings})]
    steps += [["pipeline", "pipeline", {}, True]]
    steps += [written(PLANS["three processes"]), ["pipeline", "pipeline", CLIPPED, True]]
    steps += [["drive", "replayed", {}, True], ["drive", "crowded", {}, True]]
    simulated = {"plan.json": {"stages": [{"type": "h100", "layers": LAYERS, "devices": 1}]}}
    steps += [written(simulated), ["pipeline", "pipeline", {}, True]]
    for wrong in (plan((LAYERS[:1], 1), (LAYERS[2:], 1)), plan((LAYERS[:1], 0), (LAYERS[1:], 1))):
        steps += [written(wrong), ["pipeline", "pipeline", {}, True]]
    results = [result for result in drive(folder, *steps) if result is not None]
    return dict(zip([*PLANS, *OTHERS], results, strict=True))


def written(files):
    return ["drive", "write", files, True]


@pytest.mark.parametrize("name", [*PLANS, "gpipe", "clipped"])
def test_stages_train_as_one_process_does(pipelined, name):
    numbers = pipelined[name]
    assert numbers["compared_steps"] == 5
    assert numbers["largest_loss_difference"] <= 1e-5
    assert numbers["largest_copy_difference"] == 0
    assert numbers["as_planned"] == 1
    others = {"gpipe": "replicas, more before", "clipped": "three processes"}
    stages = PLANS[others.get(name, name)]["plan.json"]["stages"]
    assert numbers["stages"] == len(stages)
    assert numbers["processes"] == sum(stage["devices"] for stage in stages)


@pytest.mark.parametrize("name", [*PLANS, "gpipe"])
def test_speed_is_beside_the_prediction_and_that_of_one_process(pipelined, name):
    numbers = pipelined[name]
    speed = numbers["throughput"]
    assert 0 < speed <= 16 / numbers["slowest_stage_seconds"]
    assert numbers["predicted_over_measured"] == pytest.approx(PREDICTED / speed)
    assert numbers["speedup"] == pytest.approx(speed / numbers["one_process_throughput"])
    assert (numbers["transfer_bytes"] > 0) == (numbers["stages"] > 1)
    assert numbers["simulated_types"] == 0


def test_batch_is_replayed_with_a_device_for_each_process(pipelined):
    assert pipelined["replayed"] == [9.5, 6.75, 12.5]
    assert pipelined["simulated"]["simulated_types"] == 1


def test_more_processes_than_cores_do_not_test_the_prediction(pipelined):
    more, as_many = pipelined["crowded"]
    assert re.match(r"note: \d+ processes shared \d+ cores, .* does not test the prediction\n$", more)
    assert as_many == ""


def test_untied_shared_weights_are_detected(pipelined):
    assert pipelined["not tied"]["largest_copy_difference"] > 0
    assert pipelined["not tied"]["largest_loss_difference"] > 1e-5


def test_plan_of_other_layers_is_refused(pipelined):
    assert "they must be" in pipelined["a layer too few"]
    assert "a stage without layers or devices" in pipelined["no device"]


# Others -------------------------------------------------------------------------------------------------


def test_resumed_training_is_bit_identical(tmp_path):
    pytest.importorskip("torch", reason="the generated project computes with PyTorch")
    folder = write(tmp_path / "project", make_spec("click-through-rate"))
    (numbers,) = drive(folder, ["resume", "resume", {}, True])
    assert numbers == {
        "steps": 15, "resumed_inside_a_step": 1, "differing_tensors": 0, "differing_losses": 0,
    }  # fmt: skip


def test_data_parallel_training_equals_one_process(tmp_path):
    pytest.importorskip("torch", reason="the generated project computes with PyTorch")
    folder = write(tmp_path / "project", make_spec())
    (folder / "broken").mkdir()
    (folder / "broken/train.py").write_text("import sys\nsys.exit('train: too bad')")
    (folder / "break_.py").write_text(
        "from pathlib import Path\nimport data_parallel\n"
        "def break_(config, quick): data_parallel._run_torchrun(Path('broken'), 1)"
    )
    changes = {"train": {"micro_batches": 2, "clip_norm": 0.5, "schedule": "linear"}}
    numbers, failure = drive(
        folder, ["data_parallel", "data_parallel", changes, True], ["break_", "break_", {}, True]
    )
    assert (numbers["processes"], numbers["compared_steps"]) == (2, 5)
    assert numbers["largest_loss_difference"] <= 1e-5
    assert not (folder / "artefacts").exists()
    assert failure == "RuntimeError: torchrun ended with exit status 1: train: too bad"


@pytest.mark.parametrize("task", ["click-through-rate"])
def test_onnx_and_server_outputs_equal_the_networks(tmp_path, task):
    for package in ("torch", "onnxscript", "onnxruntime", "fastapi", "uvicorn"):
        pytest.importorskip(package, reason="the generated project exports and serves with it")
    folder = write(tmp_path / "project", make_spec(task))
    *_, onnx, server = drive(
        folder,
        ["train", "train_and_save", {"train": {"quick_steps": 5}}, True],
        ["export", "export", {}, True],
        ["onnx_export", "onnx_export", {}, True],
        ["ask_server", "ask_server", {}, True],
    )
    assert onnx["largest_difference"] <= 1e-4
    assert server["largest_difference"] <= 1e-4
    assert (server["answer_difference"], server["nonsense_accepted"]) == (0, 0)
    assert server["too_large_status"] == 413
    assert not (folder / "artefacts/server.json").exists()
