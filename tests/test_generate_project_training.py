"""The training of a generated project: schedules, clipping, logs, validation, checkpoints and precision."""

import math
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from projects import drive, make_spec, write

pytest.importorskip("torch", reason="the generated project computes with PyTorch")
pytest.importorskip("safetensors", reason="the generated project keeps weights in safetensors")

CHECKPOINTS = {
    "quick_steps": 12, "micro_batches": 4, "checkpoint_every": 5, "checkpoint_parts": 3, "validate_every": 3,
    "schedule": "cosine",
}  # fmt: skip
STEPS = {
    "plain": ("plain_training", {}),
    "constant": ("learning_rates", {"warm_up_steps": 4, "learning_rate": 1.0}),
    "linear": ("learning_rates", {"warm_up_steps": 4, "learning_rate": 1.0, "schedule": "linear"}),
    "cosine": ("learning_rates", {"warm_up_steps": 0, "learning_rate": 1.0, "schedule": "cosine"}),
    "clipped": ("clipped", {"clip_norm": 0.01}),
    "not clipped": ("clipped", {"clip_norm": 1e3}),
    "interrupted": ("interrupted", CHECKPOINTS),
    "interrupted in float16": ("interrupted", CHECKPOINTS | {"precision": "float16"}),
    "noisy": ("noisy", CHECKPOINTS),
    "other checkpoints": ("other_checkpoints", {}),
    "logged": ("logged", {"quick_steps": 7, "clip_norm": 0.1}),
    "validated": ("logged", {"quick_steps": 60, "validate_every": 4, "patience": 2, "learning_rate": 0.3}),
    "board": ("logged", {"quick_steps": 4, "validate_every": 3, "tensorboard": True}),
    "scaled": ("scaled", {"precision": "float16"}),
    "unsupported": ("unsupported", {"precision": "float16"}),
    "diverges": ("logged", {"learning_rate": 1e30, "quick_steps": 5}),
    "rows": ("chosen_rows", {}),
    "refused": ("refused", {}),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each check found, in a project of its own for all."""
    folder = write(tmp_path_factory.mktemp("training") / "project", make_spec("click-through-rate"))
    shutil.copyfile(Path(__file__).with_name("training_checks.py"), folder / "checks.py")
    steps = {
        name: ["checks", check, {"train": fields}, True]
        for name, (check, fields) in STEPS.items()
        if name != "board" or find_spec("tensorboard")
    }
    for name, limits in {"latency": {"max_latency": 1e-9}, "throughput": {"min_throughput": 1e12}}.items():
        steps[name] = ["train", "train_and_save", {"infer": limits}, True]
    return dict(zip(steps, drive(folder, *steps.values()), strict=True))


def test_training_by_default_is_a_plain_loop(found):
    assert found["plain"] == [True, 0]


def test_learning_rate_follows_its_schedule(found):
    rising = [0.25, 0.5, 0.75, 1.0]
    assert found["constant"] == rising + [1.0] * 8
    assert found["linear"] == pytest.approx(rising + [1 - i / 8 for i in range(8)])
    assert found["cosine"] == pytest.approx([(1 + math.cos(math.pi * i / 12)) / 2 for i in range(12)])


def test_gradients_are_cut_to_their_greatest_norm(found):
    before, after = found["clipped"]
    assert before > 0.01
    assert after == pytest.approx(0.01, rel=1e-4)
    before, after = found["not clipped"]
    assert before == pytest.approx(after, rel=1e-5)


def test_comparisons_are_without_dropout_and_statistics_of_batches(found):
    exact, usual = found["noisy"]["differences"]
    assert exact < 1e-5 < usual


@pytest.mark.parametrize("name", ["interrupted", "interrupted in float16", "noisy"])
def test_interrupted_training_ends_as_without_interruption(found, name):
    """It goes on from the checkpoint of the fifth step, and logs the sixth and seventh again."""
    numbers = found[name]
    assert numbers["interruption"] == "interrupted"
    assert numbers["left"] == [
        "best.safetensors", "checkpoint.safetensors", "model.safetensors", "train.csv", "validation.csv",
    ]  # fmt: skip
    assert numbers["lines"] == 7
    assert numbers["same"] == [True] * 4  # numbers, weights, and both logs
    assert numbers["end"] == ["model.safetensors", "train.csv", "validation.csv"]


def test_checkpoint_of_another_training_is_refused(found):
    start = "/checkpoint is of another training; delete it to start again: "
    longer, scaled, wider = found["other checkpoints"]
    assert longer == f"{start}it has 3 steps, of 2"
    assert scaled.startswith(f"{start}'scaler/")
    assert wider.startswith(f"{start}The size of tensor a ")


def test_every_step_is_logged(found):
    numbers, lines, validations, _, tags = found["logged"]
    assert [line["step"] for line in lines] == [str(step) for step in range(1, 8)]
    assert list(lines[0]) == ["step", "loss", "learning_rate", "gradient_norm", "examples_per_second"]
    assert float(lines[0]["loss"]) == numbers["first_loss"]
    assert float(lines[6]["learning_rate"]) == pytest.approx(0.007)
    assert all(float(line["examples_per_second"]) > 0 for line in lines)
    assert (validations, tags, numbers["steps"]) == ([], [], 7)
    assert "best_step" not in numbers


def test_best_weights_are_kept_and_training_stops_early(found):
    numbers, lines, validations, kept, _ = found["validated"]
    values = [float(line["auc"]) for line in validations]
    assert kept == numbers["best_metric"] == max(values)
    best = values.index(max(values))
    assert numbers["best_step"] == int(validations[best]["step"])
    assert numbers["stopped_early"] == 1
    assert len(values) - 1 - best == 2
    assert len(lines) == numbers["steps"] == int(validations[-1]["step"]) < 60


def test_last_step_is_validated(found):
    if "board" not in found:
        pytest.skip("TensorBoard is not installed")
    _, _, validations, _, tags = found["board"]
    assert [line["step"] for line in validations] == ["3", "4"]
    assert tags == ["train/loss", "train/gradient_norm", "validation/auc"]


def test_float16_scales_the_loss_and_leaves_out_infinite_gradients(found):
    before, after, difference, changed = found["scaled"]
    assert (before, after, changed) == (65536, 32768, False)
    assert 0 < difference < 0.01


def test_training_that_cannot_succeed_ends_at_once(found):
    assert "precision is 'float16'; PyTorch " in found["unsupported"]
    assert found["diverges"].startswith("ValueError: the loss of step ")
    assert found["diverges"].endswith("; it must be finite")
    measured = "which is impossible: the untrained network needs "
    assert f"max_latency is 1e-09 s, {measured}" in found["latency"]
    assert f"min_throughput is 1e+12 examples/s, {measured}" in found["throughput"]


def test_validation_has_rows_of_its_own(found):
    training, _, evaluation, fewer, validation, same = found["rows"]
    assert evaluation == same == [0, 10, 20]
    assert sorted(training + evaluation) == [row for row in range(37) if row != 30]
    assert validation == [1, 11, 21]
    assert sorted(fewer + validation + evaluation) == [row for row in range(37) if row not in (30, 31)]


def test_wrong_fields_of_the_configuration_are_named(found):
    assert found["refused"] == [
        f"config.json: train: {said}"
        for said in (
            "schedule is 'step'; it must be one of 'constant', 'cosine', 'linear'",
            "warm_up_steps is -1; it must be a whole number, 0 or more",
            "clip_norm is 0; it must be more than 0, or null",
            "clip_norm is '1'; it must be more than 0, or null",
            "validate_every is 1.5; it must be a whole number, 0 or more",
            "patience is 2; it must be 0 where validate_every is 0",
            "checkpoint_every is True; it must be a whole number, 0 or more",
            "checkpoint_parts is -1; it must be a whole number, 0 or more",
            "micro_batches is 0; it must be a whole number, 1 or more",
            "tensorboard is 'yes'; it must be true or false",
            "precision is 'float8'; it must be one of 'float32', 'bfloat16', 'float16'",
            "learning_rate is -0.1; it must be more than 0",
            "steps is None; it must be a whole number, 1 or more",
        )
    ]
