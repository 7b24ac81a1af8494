"""The basic function: the files it writes, the order of its commands, and requirements it refuses."""

import json
import tomllib

import msgspec
import pytest
from projects import REPORT, TASKS, make_spec

from stageplan.generate import StepError, basic, generate
from stageplan.generate.cases import read_script
from stageplan.generate.layout import METRICS
from stageplan.generate.target import Finished

GIB = 2**30


class Recorder:
    """A target that runs nothing: each command writes one number, or fails."""

    name = "local"

    def __init__(self, root, failing=None):
        self.root, self.failing, self.ran = root, failing, []

    def place(self, folder):
        self.placed = sorted(path.name for path in folder.iterdir())

    def collect(self, folder):
        pass

    def remove(self, folder):
        self.removed = folder

    def run(self, arguments, folder, *, limit, variables=None):
        self.ran.append((arguments, limit))
        command = arguments[1].removesuffix(".py")
        if command == self.failing:
            return Finished(status=1, output=f"{command}: the disk is full\n")
        path = folder / METRICS / f"{command}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        numbers = {"parameters": 1e9, "training_bytes": 16e9, "device_bytes": 32e9}
        numbers["inference_bytes"] = 4e9
        path.write_text(json.dumps(numbers if command == "sizes" else {"number": 1.0}))
        return Finished(output=f"note: {command} is as required\n{{}}")


def test_commands_run_in_order_and_the_manifest_lists_their_artefacts(tmp_path):
    target = Recorder(tmp_path)
    result = basic.build(make_spec(), REPORT, target, tmp_path, training="quick")
    assert [arguments[1] for arguments, _ in target.ran] == [
        "sizes.py", "train.py", "evaluate.py", "export.py", "infer.py",
    ]  # fmt: skip
    assert all(arguments[2:] == ["--mode", "quick"] for arguments, _ in target.ran)
    assert [artefact.path for artefact in result.artefacts] == [
        f"artefacts/metrics/{command}.json" for command in sorted(("sizes", *basic.COMMANDS))
    ]
    assert result.metrics["train"] == {"number": 1.0}
    assert result.training == "quick"
    assert result.notes[:2] == ("sizes is as required", "train is as required")
    assert "\n  train is as required\n" in str(result)
    assert {path.name for path in tmp_path.iterdir()} == {".stageplan-files.json", "cases.toml", "project"}
    assert target.removed.name.startswith(".project-")


def test_project_has_only_the_files_of_its_task(tmp_path):
    basic.build(
        make_spec("click-through-rate"), REPORT, target := Recorder(tmp_path), tmp_path, training="full"
    )
    assert target.placed == [
        "README.md", "checkpoint.py", "common.py", "config.json", "data.py", "division.py", "evaluate.py",
        "export.py", "first_inference.py", "infer.py", "loading.py", "logs.py", "network.py", "parallel.py",
        "requirements.lock", "requirements.txt", "sequence.py", "sizes.py", "train.py",
    ]  # fmt: skip
    assert (tmp_path / "project/requirements.txt").read_text() == "torch==2\n"


def test_failed_command_leaves_no_files(tmp_path):
    with pytest.raises(
        StepError, match=r"basic: export.py ended with exit status 1: export: the disk is full"
    ):
        basic.build(make_spec(), REPORT, Recorder(tmp_path, "export"), tmp_path, training="quick")
    assert list(tmp_path.iterdir()) == []


def test_time_limit_comes_from_the_specification(tmp_path):
    spec = make_spec(training={"time_limit": 77.0})
    basic.build(spec, REPORT, target := Recorder(tmp_path), tmp_path, training="quick")
    assert {limit for _, limit in target.ran} == {77.0}
    by_name = {case.name: case.time_limit for case in read_script(tmp_path / "cases.toml").case}
    assert by_name["train"] == 77
    assert by_name["train quickly"] == 300


# The configuration --------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_configuration_of_a_preset(task, preset):
    spec = make_spec(task, service={"model": {"preset": preset}}, hardware={"cores": 3})
    made = basic.configuration(spec, None)
    assert made["threads"] == 3
    assert made["train"]["batch"] == made["infer"]["batch"] == spec.service.batch
    assert made["train"]["quick_steps"] < made["train"]["steps"]
    assert made["model"].keys() >= set(basic._SHAPES[task])
    assert (made["metric"]["quick_threshold"] is not None) == (preset == "tiny")


def test_given_sizes_replace_the_preset():
    spec = make_spec(
        service={"model": {"layers": 5, "width": 48, "heads": 3}, "input_shape": [20], "threshold": 7.5},
        training={"steps": 9},
    )
    made = basic.configuration(spec, None)
    assert made["model"] == {"layers": 5, "width": 48, "heads": 3, "vocabulary": 32, "tokens": 20}
    assert made["train"]["steps"] == 9
    assert made["metric"] == {
        "name": "perplexity", "higher_is_better": False, "threshold": 7.5, "quick_threshold": None,
    }  # fmt: skip


def test_training_is_as_specified():
    training = {
        "schedule": "linear", "warm_up_steps": 0, "clip_norm": 0.5, "micro_batches": 4, "validate_every": 7,
        "patience": 2, "checkpoint_every": 9, "checkpoint_parts": 1, "tensorboard": True,
    }  # fmt: skip
    spec = make_spec(training=training, service={"precision": "float16"})
    made = basic.configuration(spec, None)["train"]
    assert made.items() >= (training | {"precision": "float16"}).items()
    by_default = basic.configuration(make_spec(training={"tensorboard": True, "checkpoint_every": 3}), None)
    assert by_default["metric"]["threshold"] is not None  # the same is learned


@pytest.mark.parametrize(
    "fields",
    [
        {"service": {"model": {"layers": 3}}},
        {"service": {"batch": 4}},
        {"service": {"input_shape": [64]}},
        {"training": {"quick_steps": 3}},
        {"training": {"clip_norm": 1.0}},
        {"training": {"schedule": "cosine"}},
        {"data": {"file": "text.txt"}},
    ],
)
def test_no_default_threshold_without_the_unchanged_preset(fields):
    made = basic.configuration(make_spec(**fields), None)
    assert made["metric"]["threshold"] is None
    assert made["metric"]["quick_threshold"] is None


def test_text_has_a_token_for_each_byte():
    assert basic.configuration(make_spec(data={"file": "text.txt"}), "x")["model"]["vocabulary"] == 256
    with pytest.raises(ValueError, match=r"service.model.vocabulary is 99; for a text it must be 256"):
        basic.configuration(
            make_spec(data={"file": "text.txt"}, service={"model": {"vocabulary": 99}}), "examples.txt"
        )


@pytest.mark.parametrize(
    ("task", "model", "sentence"),
    [
        (
            "causal-language-model",
            {"classes": 3},
            "classes is 3; for causal-language-model it must be absent",
        ),
        ("image-classification", {"heads": 3}, "heads is 3; for image-classification it must be absent"),
        ("causal-language-model", {"width": 30}, "width is 30; it must be a multiple of 4"),
        ("image-classification", {"width": 6}, "width is 6; it must be a multiple of 4"),
    ],
)
def test_sizes_not_valid_for_the_task_are_refused(task, model, sentence):
    with pytest.raises(ValueError, match=sentence):
        basic.configuration(make_spec(task, service={"model": model}), None)


def test_sizes_not_valid_for_the_task_are_refused_before_any_step(tmp_path):
    spec = make_spec(service={"model": {"classes": 3}}, environment={"reuse": "/nowhere"})
    with pytest.raises(ValueError, match=r"service.model.classes is 3"):
        generate(spec, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Memory -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hardware", "sentence"),
    [
        ({"memory": 8.0 * GIB}, r"needs 14.9 GiB, hardware.memory is 8 GiB: 6.9\d* GiB short"),
        ({"memory": 64.0 * GIB}, r"needs 14.9 GiB, the target has 10 GiB: 4.9\d* GiB short"),
        ({}, r"needs 14.9 GiB, the target has 10 GiB: 4.9\d* GiB short"),
        (
            {"device": "cuda", "accelerator_memory": 4.0 * GIB},
            r"hardware.accelerator_memory is 4 GiB: 10.9 GiB short",
        ),
    ],
)
def test_too_little_memory_is_refused_with_the_shortfall(hardware, sentence):
    sizes = {"parameters": 1e9, "training_bytes": 16e9, "device_bytes": 10 * GIB}
    with pytest.raises(StepError, match=sentence):
        basic.check_memory(make_spec(hardware=hardware), sizes)


def test_enough_memory_is_accepted():
    sizes = {"parameters": 1e9, "training_bytes": 16e9, "device_bytes": 32e9}
    basic.check_memory(make_spec(hardware={"memory": 16e9}), sizes)


def test_measured_memory_is_beside_the_prediction_and_the_requirement():
    metrics = {
        "sizes": {"training_bytes": 1.5 * GIB, "inference_bytes": 0.5 * GIB, "peak_memory": 0.25 * GIB},
        "train": {"peak_memory": 2.0 * GIB},
        "infer": {"peak_memory": 0.5 * GIB},
    }
    assert basic.memory_notes(make_spec(), metrics) == [
        "train occupied 2 GiB at its peak, predicted were 1.5 GiB (predicted / measured 0.75)",
        "infer occupied 0.5 GiB at its peak, predicted were 0.5 GiB (predicted / measured 1.00)",
    ]
    enough, too_little = (make_spec(hardware={"memory": gib * GIB}) for gib in (3, 1))
    assert basic.memory_notes(enough, metrics)[0].endswith(", hardware.memory is 3 GiB")
    with pytest.raises(StepError, match=r"train.py occupied 2 GiB .* hardware.memory is 1 GiB: 1 GiB short"):
        basic.memory_notes(too_little, metrics)


# The cases ----------------------------------------------------------------------------------------------


def test_packaged_cases_are_valid_and_their_files_exist(tmp_path):
    from stageplan.generate.extended import _EXTENSIONS, ordered

    for steps in ([], *([name] for name in _EXTENSIONS), _EXTENSIONS):
        extensions = [name for name in ordered(steps) if _EXTENSIONS[name].command is not None]
        basic.write_cases(make_spec(), tmp_path, extensions)
        script = read_script(tmp_path / "cases.toml")
        for mode in ("quick", "infer", "full"):
            chosen = [case for case in script.case if mode in case.modes]
            assert chosen
            assert all(("--mode" in case.command) <= ("quick" in case.command) for case in chosen)
        for case in script.case:
            assert basic.packaged("basic", case.command[0]).is_file() or any(
                case.command[0] in _EXTENSIONS[name].files for name in extensions
            )


def test_default_thresholds_are_of_metrics_of_their_task():
    for task in TASKS:
        for preset in tomllib.loads(basic.packaged(task, "defaults.toml").read_text()).values():
            assert msgspec.convert(preset["model"], dict[str, int])
            for metrics in (preset.get("threshold", {}), preset.get("quick_threshold", {})):
                for metric in metrics:
                    make_spec(task, service={"metric": metric})
