"""The generated project: every task learns, and a network without the needed inputs does not."""

import json
import subprocess
import sys

import numpy as np
import pytest
from projects import TASKS, drive, make_spec, write

from stageplan.generate import basic

pytest.importorskip("torch", reason="the generated project computes with PyTorch")
pytest.importorskip("safetensors", reason="the generated project keeps weights in safetensors")

IMAGES = np.arange(20 * 3 * 16 * 16, dtype=np.uint32).reshape(20, 3, 16, 16).astype(np.uint8)
COMMANDS = (
    ["sizes", "sizes"],
    ["train", "train_and_save"],
    ["evaluate", "evaluate"],
    ["export", "export"],
    ["infer", "infer"],
    ["drive", "variant"],
    ["drive", "live"],
    ["layer_times", "layer_times"],
    ["accumulate", "accumulate"],
    ["quantize", "quantize"],
    ["prune", "prune"],
    ["mixed_precision", "mixed_precision"],
)
SIZES = ("training_bytes", "inference_bytes")


# Files of examples, and those that cannot be used, by task.
FILES = {
    "causal-language-model": {"text.txt": bytes(range(97, 123)) * 40, "short.txt": b"too short"},
    "text-classification": {
        "texts.csv": "\n".join(["text,label", *(f'"word{i}, and more",{i % 3}' for i in range(40))]).encode(),
        "class.csv": b"text,label\nwords,9\n",
        "column.csv": b"text,class\nwords,1\n",
    },
    "image-classification": {
        "images.npz": b"",
        "shape.npz": b"",
        "damaged.npz": b"PK\x03\x04",
        "nothing.npz": None,
    },
    "click-through-rate": {
        "clicks.csv": "\n".join(
            [
                "label",
                *(
                    ",".join([str(i % 2), str(i), "0.5" + ",1" * 6, *["red", f"{i % 3}"] * 4])
                    for i in range(30)
                ),
            ]
        ).encode(),
        "short.csv": b"label,a\n1,2\n",
    },
}


def write_files(task, folder):
    """Write the files of examples of a task into a project."""
    for name, content in FILES[task].items():
        if content is not None:
            (folder / name).write_bytes(content)
    if task == "image-classification":
        labels = np.arange(20) % 4
        np.savez(folder / "images.npz", images=IMAGES, labels=labels)
        np.savez(folder / "shape.npz", images=IMAGES[:, :1], labels=labels)


@pytest.fixture(scope="module", params=TASKS)
def made(request, tmp_path_factory):
    """A project after all its quick commands, and their numbers, and batches of files."""
    folder = write(tmp_path_factory.mktemp("made") / "project", make_spec(request.param))
    write_files(request.param, folder)
    steps = {command[-1 if command[0] == "drive" else 0]: [*command, {}, True] for command in COMMANDS}
    model = {"model": {"vocabulary": 256}} if request.param == "causal-language-model" else {}
    for name in FILES[request.param]:
        steps[name] = ["drive", "sample", {"data": {"source": name}, **model}, True]
    if request.param == "image-classification":  # convolutions in bfloat16 are slow on most processors
        steps["mixed_precision"][2] = {"train": {"quick_steps": 20}}
    steps["sample"] = ["drive", "sample", {}, True]
    steps["names"] = ["drive", "names", {}, True]
    steps["pieces"] = ["drive", "in_pieces", {"data": {"evaluation_examples": 40}}, True]
    steps["limits"] = ["drive", "limits", {"infer": {"max_latency": 0.15, "min_throughput": 50.0}}, True]
    steps["blind"] = ["drive", "blind", {}, True]
    return folder, dict(zip(steps, drive(folder, *steps.values()), strict=True))


def test_training_reaches_the_threshold_and_a_blind_network_does_not(made):
    _, numbers = made
    assert numbers["train"]["loss_fall"] > 0.2
    assert numbers["evaluate"]["margin"] > 0
    assert numbers["blind"]["margin"] < 0


def test_metrics_are_those_of_all_outputs(made):
    at_once, one_by_one = made[1]["pieces"]
    assert at_once.keys() == one_by_one.keys()
    assert at_once == pytest.approx(one_by_one, rel=1e-5)


def test_evaluation_keeps_no_outputs(tmp_path):
    """All outputs together have 268 MB; kept are those of two examples, and a sample of 4 MB."""
    model = {"layers": 1, "width": 8, "heads": 1, "vocabulary": 8192}
    folder = write(tmp_path / "project", make_spec(service={"model": model, "input_shape": [128]}))
    examples = {"data": {"evaluation_examples": 64}}
    (grown,) = drive(folder, ["drive", "memory_of_evaluation", examples, True])
    assert grown < 80e6


def test_layer_names_are_those_that_plans_are_checked_against(made):
    folder, numbers = made
    task = json.loads((folder / "config.json").read_bytes())["task"]
    assert numbers["names"] == basic.layer_names(make_spec(task))


def test_exported_program_gives_the_same_outputs(made):
    folder, numbers = made
    assert numbers["export"]["largest_difference"] <= 1e-4
    answers = json.loads((folder / "artefacts/answers.json").read_bytes())
    assert len(answers) == numbers["infer"]["requests"] == 20
    assert all(len(answer) == 16 for answer in answers)


def test_variant_is_loaded_by_its_name(made):
    found = made[1]["variant"]
    assert found["float32"] <= 1e-4
    assert "No such file or directory: 'artefacts/model-aot.pt2'" in found["aot"]
    assert "variant is 'int4'; it must be one of 'float32', 'bfloat16', 'int8'," in found["int4"]


def test_limits_are_said_beside_what_was_measured(made):
    assert made[1]["limits"] == [
        0.0,
        1.0,
        [
            "note: latency of a batch is 0.2 s; it must be at most 0.15 s (max_latency)",
            "note: throughput is 80 examples/s; it must be at least 50 (min_throughput)",
        ],
    ]


def test_memory_counts_each_parameter_once(made):
    folder, numbers = made
    weights = (folder / "artefacts/model.safetensors").stat().st_size
    assert numbers["sizes"]["parameters"] * 4 == pytest.approx(weights, rel=0.05)
    sizes = numbers["sizes"]
    without_framework = {name: sizes[name] - sizes["framework_bytes"] for name in SIZES}
    assert without_framework["training_bytes"] > 16 * sizes["parameters"]
    assert (
        4 * sizes["parameters"] < without_framework["inference_bytes"] < without_framework["training_bytes"]
    )
    assert sizes["framework_bytes"] > 1e8


def test_memory_of_tensors_is_that_of_those_alive_at_a_time(made):
    assert made[1]["live"] == 2 * 4000


def test_layer_times_are_a_workload(made):
    import stageplan as sp

    folder, numbers = made
    workload = sp.read_workload(folder / "artefacts/workload.json")
    assert len(workload.layers) == numbers["layer_times"]["layers"]
    assert workload.layers[0].name in ("embedding", "stem")
    assert workload.batch == 16 / 4  # a micro-batch
    assert all(layer.update > 0 and layer.activations >= 0 for layer in workload.layers)
    sides = tuple(numbers["layer_times"][side] for side in ("send_seconds", "receive_seconds"))
    assert {(layer.send, layer.receive) for layer in workload.layers} == {sides}
    assert numbers["layer_times"]["bytes_per_second"] > 1e6
    assert all(layer.compute["cpu"] > 0 and layer.memory > 0 for layer in workload.layers)
    assert len(workload.tensors) == len(workload.layers) - 1


def test_accumulated_gradients_are_those_of_whole_batches(made):
    assert made[1]["accumulate"]["largest_loss_difference"] <= 1e-5


def test_extensions_keep_the_quality(made):
    _, numbers = made
    assert numbers["mixed_precision"]["quality_loss"] < 0.1
    assert numbers["quantize"]["quality_loss"] < 0.05
    assert numbers["quantize"]["size"] < 0.5
    assert numbers["prune"]["quality_loss"] < 0.1
    assert numbers["prune"]["sparsity"] == pytest.approx(0.5, abs=1e-3)


def test_batches_are_reproducible_and_differ(made):
    for split in made[1]["sample"]:
        assert split["same"]
        assert split["other"]
    training, evaluation = made[1]["sample"]
    assert training["shapes"] == evaluation["shapes"]
    assert training["inputs"] != evaluation["inputs"]


def test_project_does_not_depend_on_stageplan(made):
    folder, _ = made
    for file in folder.glob("*.py"):
        assert "stageplan" not in file.read_text()


# Where nothing is asked for -----------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "learned"), [("label = word", True), ("chance", False), ("one", False)])
def test_unlearnable_examples_do_not_pass(tmp_path, rule, learned):
    """The labels are those of the words, by chance, or, nine in ten, the same one."""
    random = np.random.default_rng(3)
    words, chance = random.integers(4, size=6000), random.integers(4, size=6000)
    labels = {"label = word": words, "chance": chance, "one": np.where(random.random(6000) < 0.9, 1, chance)}
    pairs = zip(words, labels[rule], strict=True)
    lines = [f"w{word} and w{random.integers(4)},{label}" for word, label in pairs]
    folder = write(tmp_path / "project", make_spec("text-classification"))
    (folder / "texts.csv").write_text("\n".join(["text,label", *lines]))
    changes = {"data": {"source": "texts.csv"}, "metric": {"quick_threshold": None}}
    _, numbers = drive(
        folder, ["train", "train_and_save", changes, True], ["evaluate", "evaluate", changes, True]
    )
    assert (numbers["margin"] >= 0) == learned


# The user's own examples --------------------------------------------------------------------------------


def test_batches_come_from_the_users_file(made):
    folder, numbers = made
    task = json.loads((folder / "config.json").read_bytes())["task"]
    training, evaluation = numbers[next(iter(FILES[task]))]
    CHECKS[task](training, evaluation)


def check_text(training, evaluation):
    text = FILES["causal-language-model"]["text.txt"]
    assert training["shapes"] == [[6, 32], [6, 32]]
    for tokens, following in zip(training["inputs"][0], training["targets"], strict=True):
        assert bytes(tokens) in text
        assert following[:-1] == tokens[1:]


def check_lines(training, evaluation):
    assert training["shapes"] == [[6, 32], [6]]
    assert evaluation["targets"] == [0, 1, 2, 0, 0, 1]  # lines 0, 10, 20, 30, and round again
    assert all(sum(token > 0 for token in tokens) == 3 for tokens in training["inputs"][0])


def check_images(training, evaluation):
    assert training["shapes"] == [[6, 3, 16, 16], [6]]
    assert evaluation["targets"] == [0, 2, 0, 2, 0, 2]
    assert np.allclose(np.array(evaluation["inputs"][0][0]) * 255, IMAGES[0])


def check_clicks(training, evaluation):
    assert training["shapes"] == [[6, 8], [6, 8], [6]]
    assert [row[0] for row in evaluation["inputs"][0]] == [0, 10, 20, 0, 10, 20]
    assert [len({row[i] for row in training["inputs"][1]}) for i in (0, 2)] == [1, 1]


CHECKS = dict(zip(TASKS, (check_text, check_lines, check_images, check_clicks), strict=True))
SAID = {
    "short.txt": "bytes for training; it must have 33 or more",
    "class.csv": "line 2: label is 9; it must be below 4",
    "column.csv": "line 2: it needs a text and a label",
    "shape.npz": "images has shape (20, 1, 16, 16); it must be (20, 3, 16, 16)",
    "damaged.npz": "damaged.npz is not a valid .npz file",
    "nothing.npz": "No such file",
    "short.csv": "line 2: it needs a label, 0 or 1, 8 numbers and 8 categories",
}


def test_unusable_files_are_named(made):
    _, numbers = made
    wrong = SAID.keys() & numbers.keys()
    assert wrong
    for name in wrong:
        assert SAID[name] in numbers[name]


# Commands -----------------------------------------------------------------------------------------------


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_failed_command_prints_one_sentence_and_leaves_no_metrics(tmp_path):
    folder = write(tmp_path / "project", make_spec())
    numbers = folder / "artefacts/metrics/evaluate.json"
    numbers.parent.mkdir(parents=True)
    numbers.write_text("{}")
    done = run(folder, "evaluate.py", "--mode", "quick")
    assert done.returncode == 1
    assert done.stderr.startswith("evaluate: ")
    assert done.stderr.count("\n") == 1
    assert "model.safetensors" in done.stderr
    assert not numbers.exists()


def test_invalid_configuration_is_named(tmp_path):
    folder = write(tmp_path / "project", make_spec())
    whole = json.loads((folder / "config.json").read_bytes())
    for change, said in (
        ({"train": whole["train"] | {"steps_": 3}}, "train has an unknown field 'steps_'"),
        ({"train": {"steps": 3}}, "train: "),
    ):
        (folder / "config.json").write_text(json.dumps(whole | change))
        done = run(folder, "sizes.py")
        assert done.returncode == 1
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


def test_truncated_weights_are_detected(tmp_path):
    folder = write(tmp_path / "project", make_spec())
    (folder / "artefacts").mkdir()
    (folder / "artefacts/model.safetensors").write_bytes(b"\x40" + bytes(7) + b'{"embedding')
    done = run(folder, "evaluate.py", "--mode", "quick")
    assert done.returncode == 1
    assert "is not a valid file of weights" in done.stderr
