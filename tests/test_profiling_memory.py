"""Memory of layers by optimizer and stage of ZeRO, and what training takes on a real device."""

import json
from pathlib import Path

import pytest

import stageplan as sp

torch = pytest.importorskip("torch")

from networks import Stack, Tied  # noqa: E402

MEASURED = Path(__file__).parents[2] / "shared" / "measured" / "h200.json"
BYTES = 2  # of a weight in bf16


def profile(module=None, **options):
    defaults = {"devices": ["a100-80g"], "precision": "bf16"}
    return sp.profile(module or Stack(), torch.rand(3, 4), **defaults | options)


def bytes_a_parameter(workload, field):
    """Bytes of each parameter, the same in all layers."""
    found = {getattr(layer, field) / layer.parameters * BYTES for layer in workload.layers}
    assert len(found) == 1
    return found.pop()


@pytest.mark.parametrize(
    ("optimizer", "state"), [(None, 12), ("adam", 12), ("adam8bit", 6), ("momentum", 8), ("sgd", 4)]
)
def test_each_optimizer_has_its_state_and_a_copy_of_the_weights(optimizer, state):
    workload = profile(optimizer=optimizer)
    assert bytes_a_parameter(workload, "memory") == 2 + 2 + state
    assert bytes_a_parameter(workload, "sharded") == 0
    assert bytes_a_parameter(workload, "gradients") == 2
    assert (workload.optimizer, workload.zero) == (optimizer or "adam", 0)


def test_weights_of_4_bytes_have_no_copy():
    for layer in profile(precision="fp32", optimizer="sgd").layers:
        assert (layer.memory, layer.gradients) == (2 * layer.parameters, layer.parameters)


@pytest.mark.parametrize(("zero", "sharded", "reduced"), [(1, 12, 2), (2, 14, 2), (3, 16, 3)])
def test_zero_divides_among_replicas(zero, sharded, reduced):
    workload, plain = profile(zero=zero), profile()
    assert bytes_a_parameter(workload, "sharded") == sharded
    assert bytes_a_parameter(workload, "memory") == 16 - sharded
    assert bytes_a_parameter(workload, "gradients") == reduced
    for layer, whole in zip(workload.layers, plain.layers, strict=True):
        assert layer.activations == whole.activations
        # Gradients, and with stage 3 the weights, are whole while the layer runs.
        assert layer.workspace - whole.workspace == (zero - 1) * layer.parameters


def test_frozen_weights_are_held_and_divided_by_stage_3_alone():
    module = Stack()
    for weight in module.parameters():
        weight.requires_grad_(False)
    module.out.weight.requires_grad_(True)
    for zero in range(4):
        block = profile(module, zero=zero).layers[1]
        assert block.gradients == 0
        assert (block.memory, block.sharded) == ((block.parameters, 0), (0, block.parameters))[zero == 3]


def test_inference_holds_weights_once_and_its_largest_workspace():
    workload = sp.profile(Stack(), torch.rand(3, 4), devices=["a100-80g"], mode="inference")
    for layer in workload.layers:
        assert (layer.memory, layer.activations, layer.gradients) == (layer.parameters, 0, 0)
    # The input of a block, which is added to its output, what its first product makes, and its ReLU of that.
    assert workload.layers[1].workspace == 3 * 4 * (8 + 16 + 16)
    cluster = sp.Cluster(name="one", types=[sp.DeviceType(name="a100-80g", price=1)])
    problem = sp.Problem(workload, cluster)
    assert not problem.by_options
    (stage,) = sp.Plan.of(problem, [0] * 6).stages
    assert stage.memory == sum(layer.memory for layer in workload.layers) + 3 * 4 * (8 + 16 + 16)


def test_shared_weights_are_noted_with_what_trains_them():
    example = torch.zeros(3, 5, dtype=torch.long)
    for options, bytes_ in (({}, 16 * 40), ({"zero": 3}, 16 * 40), ({"mode": "inference"}, 2 * 40)):
        workload = sp.profile(Tied(), example, devices=["a100-80g"], precision="bf16", **options)
        words = (
            f"embed and head share weights of {bytes_} bytes, what trains them included, which count in each"
        )
        assert workload.notes[-1].startswith(words)
    assert not any("share" in note for note in profile().notes)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"optimizer": "lion"}, ValueError, "optimizer is 'lion'; it must be"),
        ({"zero": 4}, ValueError, "zero is 4; it must be"),
        ({"zero": 1.5}, TypeError, "zero is 1.5; it must be"),
        ({"zero": 0, "mode": "inference"}, ValueError, "zero is 0; it must be absent where mode is"),
        (
            {"optimizer": "sgd", "mode": "inference"},
            ValueError,
            "optimizer is 'sgd'; it must be absent where",
        ),
    ],
)
def test_wrong_options_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        profile(**options)


def one_device(workload):
    """Bytes of a whole network on one device."""
    cluster = sp.Cluster(name="one", types=[sp.DeviceType(name="h100-sxm", price=1)])
    plan = sp.Plan.of(sp.Problem(workload, cluster), [0] * len(workload.layers))
    return plan.stages[0].memory


NETWORKS = {
    "gpt2": {"model": "hf:gpt2", "batch": 8, "sequence": 512},
    "bert": {"model": "hf:bert-large-uncased", "batch": 8, "sequence": 512},
    "resnet50": {"model": "hf:resnet-50", "batch": 64},
}


@pytest.mark.skipif(not MEASURED.exists(), reason="measurements are not in ../shared")
@pytest.mark.parametrize("name", NETWORKS)
def test_training_takes_what_a_device_measured(name):
    pytest.importorskip("transformers")
    peak = json.loads(MEASURED.read_text())["training_peak_bytes_one_device_fp32_adamw"][name]["peak"]
    workload = sp.profile(**NETWORKS[name], devices=["h100-sxm"], precision="fp32")
    assert one_device(workload) == pytest.approx(peak, rel=0.15)
