"""Recomputation as a strategy: what layers keep, how long they run, and plans that choose it."""

import pytest

import stageplan as sp

torch = pytest.importorskip("torch")

from networks import Stack  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

ON = "a100-80g"
AGAIN = "a100-80g/recompute"


def kept_by(layer):
    """Bytes that a layer keeps under the strategy."""
    return layer.activations[AGAIN] if isinstance(layer.activations, dict) else layer.activations


def profile(module, example, **options):
    return sp.profile(module, example, devices=[ON], strategies=["recompute"], **options)


class Blocks(nn.Module):
    """Blocks, which checkpointing may run again for their backward pass."""

    def __init__(self, again=False):
        super().__init__()
        self.again = again
        self.stem = nn.Linear(8, 8)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(8, width), nn.GELU(), nn.Linear(width, 8)) for width in (16, 32, 64)
        )
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=True) if self.again else block(x)
        return self.head(x)


PATHS = ["stem", *(f"blocks.{i}" for i in range(3)), "head"]


@pytest.fixture(scope="module")
def layers():
    return profile(Blocks(), torch.rand(3, 8), layers=PATHS).layers


def test_layers_keep_what_checkpointing_keeps(layers):
    checkpointed = sp.profile(Blocks(again=True), torch.rand(3, 8), devices=[ON], layers=PATHS).layers
    kept = [kept_by(layer) for layer in layers]
    assert kept == [4 * 3 * width for width in (8, 8, 8, 8, 8 + 5)]
    assert sum(kept) == sum(layer.activations for layer in checkpointed)
    for layer, width in zip(layers[1:4], (16, 32, 64), strict=True):
        assert layer.activations[ON] == 4 * 3 * (8 + 2 * width)  # input, and before and behind the GELU
        assert layer.workspace[AGAIN] - layer.workspace[ON] == layer.activations[ON]


def test_the_backward_pass_has_the_time_of_a_forward_pass_more(layers):
    for layer in layers[1:4]:
        forward = layer.compute[ON] - layer.backward[ON]
        assert layer.compute[AGAIN] - layer.compute[ON] == pytest.approx(forward)
        assert layer.backward[AGAIN] - layer.backward[ON] == pytest.approx(forward)


def test_a_layer_that_keeps_no_less_is_not_run_again(layers):
    head = layers[-1]
    assert head.activations == 4 * 3 * (8 + 5)  # its input, and its output for the loss
    assert head.compute[ON] == head.compute[AGAIN]


def test_plans_recompute_where_memory_is_short():
    workload = profile(Stack((512, 512, 512)), torch.rand(64, 4))
    whole = sp.Problem(workload, cluster()).memory[:, 0].sum()
    schedule = {"schedule": "1f1b", "microbatches": 2, "batch": 128, "max_devices_per_stage": 1}
    goal = sp.Goal(objective="throughput", max_stages=1, **schedule)
    plenty = sp.solve(sp.Problem(workload, cluster(), goal)).plan
    assert [stage.strategy for stage in plenty.stages] == [""]
    assert plenty.stages[0].memory > whole
    short = sp.Problem(workload, cluster(capacity=0.9 * plenty.stages[0].memory), goal)
    plan = sp.solve(short).plan
    assert plan.feasible
    assert [stage.strategy for stage in plan.stages] == ["recompute"]
    assert sp.verify(short, plan).throughput < plenty.throughput


def cluster(**fields):
    return sp.Cluster(name="one", types=[sp.DeviceType(name=ON, price=1.0, limit=1, **fields)])


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (
            {"strategies": ["tp2"]},
            ValueError,
            r"strategies\[0\] is 'tp2'; it must be 'recompute', or degrees",
        ),
        ({"strategies": "recompute"}, TypeError, "strategies is 'recompute'; it must be a list"),
        (
            {"strategies": ["recompute"], "mode": "inference"},
            ValueError,
            "it must be absent where mode is 'inference'",
        ),
    ],
)
def test_wrong_strategies_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        sp.profile(Stack(), torch.rand(3, 4), devices=[ON], **options)
