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


class Attention(nn.Module):
    """Attention of separate operations, whose core checkpointing may run again."""

    def __init__(self, again=False, kernel=False):
        super().__init__()
        self.again, self.kernel = again, kernel
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def core(self, query, key, value):
        if self.kernel:
            return nn.functional.scaled_dot_product_attention(query, key, value)
        scores = query @ key.transpose(-1, -2) / 2
        return nn.functional.dropout(scores.softmax(-1), 0.1) @ value

    def forward(self, x):
        parts = [
            part.contiguous() for part in self.qkv(x).unflatten(-1, (2, 12)).transpose(1, 2).chunk(3, -1)
        ]
        mixed = checkpoint(self.core, *parts, use_reentrant=True) if self.again else self.core(*parts)
        return x + self.out(mixed.transpose(1, 2).flatten(-2))


def attentions(again=False, kernel=False):
    network = nn.Sequential(nn.Linear(8, 8), *(Attention(again, kernel) for _ in range(2)), nn.Linear(8, 5))
    return sp.profile(
        network,
        torch.rand(3, 16, 8),
        devices=[ON],
        strategies=["selective"],
        layers=list("0123"),
        graphs=True,
    )


def test_the_core_of_attention_keeps_what_checkpointing_of_it_keeps():
    layers, checkpointed = attentions().layers, attentions(again=True).layers
    for layer, other in zip(layers[1:3], checkpointed[1:3], strict=True):
        assert layer.activations[f"{ON}/selective"] == other.activations < layer.activations[ON]
        more = layer.activations[ON] - other.activations
        assert layer.workspace[f"{ON}/selective"] - layer.workspace[ON] == more
        again = layer.compute[f"{ON}/selective"] - layer.compute[ON]
        assert again == pytest.approx(other.compute[ON] - layer.compute[ON], rel=0.2)
        assert again > 0
    assert layers[0].activations == checkpointed[0].activations


def test_attention_that_is_one_kernel_keeps_no_scores():
    workload = attentions(kernel=True)
    assert all(not isinstance(layer.activations, dict) for layer in workload.layers)
    assert (
        "strategy selective keeps as much as without it: no attention here keeps its scores" in workload.notes
    )


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
            r"strategies\[0\] is 'tp2'; it must be 'recompute', 'selective', or degrees",
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
