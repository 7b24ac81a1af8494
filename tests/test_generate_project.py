"""The generated project: every task learns, and a network that is blind to what it needs does not."""

import json
import subprocess
import sys

import pytest
from projects import TASKS, drive, make_spec, write

pytest.importorskip("torch", reason="the generated project computes with PyTorch")
pytest.importorskip("safetensors", reason="the generated project keeps weights in safetensors")

COMMANDS = (
    ["sizes", "sizes"],
    ["train", "train_and_save"],
    ["evaluate", "evaluate"],
    ["export", "export"],
    ["infer", "infer"],
    ["layer_times", "layer_times"],
    ["accumulate", "accumulate"],
    ["quantize", "quantize"],
    ["prune", "prune"],
    ["mixed_precision", "mixed_precision"],
)


@pytest.fixture(scope="module", params=TASKS)
def made(request, tmp_path_factory):
    """A project after all its quick commands, and their numbers."""
    folder = write(tmp_path_factory.mktemp("made") / "project", make_spec(request.param))
    steps = [[*command, {}, True] for command in COMMANDS]
    extra = [["drive", "sample", {}, True], ["drive", "blind", {}, True]]
    results = drive(folder, *steps, *extra)
    return folder, dict(zip([command[0] for command in COMMANDS] + ["sample", "blind"], results, strict=True))


def test_training_reaches_what_is_asked_for_and_a_blind_network_does_not(made):
    _, numbers = made
    assert numbers["train"]["loss_fall"] > 0.2
    assert numbers["evaluate"]["margin"] > 0
    assert numbers["blind"]["margin"] < 0


def test_the_exported_program_gives_the_same_outputs(made):
    folder, numbers = made
    assert numbers["export"]["largest_difference"] <= 1e-4
    answers = json.loads((folder / "artefacts/answers.json").read_bytes())
    assert len(answers) == numbers["infer"]["requests"] == 20
    assert all(len(answer) == 16 for answer in answers)


def test_memory_counts_each_parameter_once(made):
    folder, numbers = made
    weights = (folder / "artefacts/model.safetensors").stat().st_size
    assert numbers["sizes"]["parameters"] * 4 == pytest.approx(weights, rel=0.05)
    assert numbers["sizes"]["training_bytes"] > 16 * numbers["sizes"]["parameters"]


def test_layer_times_are_a_workload(made):
    import stageplan as sp

    folder, numbers = made
    workload = sp.read_workload(folder / "artefacts/workload.json")
    assert len(workload.layers) == numbers["layer_times"]["layers"]
    assert workload.layers[0].name in ("embedding", "stem")
    assert workload.batch == 16
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


def test_a_batch_is_the_same_again_and_others_differ(made):
    for split in made[1]["sample"]:
        assert split["same"]
        assert split["other"]
    training, evaluation = made[1]["sample"]
    assert training["shapes"] == evaluation["shapes"]
    assert training["inputs"] != evaluation["inputs"]


def test_files_of_the_project_do_not_know_what_made_them(made):
    folder, _ = made
    for file in folder.glob("*.py"):
        assert "stageplan" not in file.read_text()


# The user's own examples --------------------------------------------------------------------------------


def sampled(tmp_path, task, file, **fields):
    spec = make_spec(task, data={"file": str(file)}, **fields)
    return drive(write(tmp_path / "project", spec), ["drive", "sample", {}, True])[0]


def test_a_language_model_reads_the_bytes_of_a_text(tmp_path):
    text = bytes(range(97, 123)) * 40
    (tmp_path / "text.txt").write_bytes(text)
    training, _ = sampled(tmp_path, "causal-language-model", tmp_path / "text.txt")
    assert training["shapes"] == [[6, 32], [6, 32]]
    for tokens, following in zip(training["inputs"][0], training["targets"], strict=True):
        assert bytes(tokens) in text
        assert following[:-1] == tokens[1:]


def test_a_text_classifier_reads_lines_of_csv(tmp_path):
    lines = [f'"word{i}, and more",{i % 3}' for i in range(40)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *lines]))
    training, evaluation = sampled(tmp_path, "text-classification", tmp_path / "texts.csv")
    assert training["shapes"] == [[6, 32], [6]]
    assert evaluation["targets"] == [0, 1, 2, 0, 0, 1]  # lines 0, 10, 20, 30, and round again
    assert all(sum(token > 0 for token in tokens) == 3 for tokens in training["inputs"][0])


def test_an_image_classifier_reads_arrays(tmp_path):
    import numpy as np

    images = np.arange(20 * 3 * 16 * 16, dtype=np.uint32).reshape(20, 3, 16, 16).astype(np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=np.arange(20) % 4)
    training, evaluation = sampled(tmp_path, "image-classification", tmp_path / "images.npz")
    assert training["shapes"] == [[6, 3, 16, 16], [6]]
    assert evaluation["targets"] == [0, 2, 0, 2, 0, 2]
    assert np.allclose(np.array(evaluation["inputs"][0][0]) * 255, images[0])


def test_a_click_through_rate_network_reads_lines_of_csv(tmp_path):
    lines = [f"{i % 2},{i},0.5,red{i % 3},blue" for i in range(30)]
    (tmp_path / "clicks.csv").write_text("\n".join(["label,a,b,colour,other", *lines]))
    training, evaluation = sampled(
        tmp_path, "click-through-rate", tmp_path / "clicks.csv", service={"input_shape": [2, 2]}
    )
    assert training["shapes"] == [[6, 2], [6, 2], [6]]
    assert [row[0] for row in evaluation["inputs"][0]] == [0, 10, 20, 0, 10, 20]


@pytest.mark.parametrize(
    ("task", "name", "content", "said"),
    [
        ("causal-language-model", "short.txt", b"too short", "bytes for"),
        ("text-classification", "a.csv", b"text,label\nwords,9\n", "line 2: label is 9; it must be below 4"),
        ("text-classification", "b.csv", b"words,class\nwords,1\n", "line 2: it needs a text and a label"),
        ("click-through-rate", "c.csv", b"label,a\n1,2\n", "line 2: it needs a label, 0 or 1, 8 numbers"),
    ],
)
def test_examples_that_cannot_be_used_are_named(tmp_path, task, name, content, said):
    (tmp_path / name).write_bytes(content)
    assert said in sampled(tmp_path, task, tmp_path / name)


# Commands -----------------------------------------------------------------------------------------------


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_command_that_fails_says_why_in_one_sentence_and_leaves_no_numbers(tmp_path):
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


def test_a_configuration_that_is_wrong_is_named(tmp_path):
    folder = write(tmp_path / "project", make_spec())
    whole = json.loads((folder / "config.json").read_bytes())
    for change, said in (
        ({"train": whole["train"] | {"steps_": 3}}, "train has a field 'steps_' that is not known"),
        ({"train": {"steps": 3}}, "train: "),
    ):
        (folder / "config.json").write_text(json.dumps(whole | change))
        done = run(folder, "sizes.py")
        assert done.returncode == 1
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


def test_weights_that_are_cut_short_are_found_out(made):
    folder, _ = made
    weights = folder / "artefacts/model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-7])
    try:
        (said,) = drive(folder, ["evaluate", "evaluate", {}, True])
    finally:
        weights.write_bytes(whole)
    assert "is no whole file of weights" in said
