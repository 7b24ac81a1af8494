import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from stageplan.profiling import values as values_module  # noqa: E402
from stageplan.profiling.torch_module import trace  # noqa: E402
from stageplan.profiling.values import LARGEST, LARGEST_WHOLE, followed, keep_buffers  # noqa: E402


def values_of(make):
    """Values of what a function makes on the meta device, and the same made on the processor."""
    with followed() as values:
        made = make()
    assert made.is_meta
    return values.of(made), make()


MADE = {
    "numbers": lambda: torch.tensor([[3, 1], [2, 5]]),
    "tensors": lambda: torch.tensor([torch.arange(3).sum(), torch.ones([]).long()]),
    "views": lambda: torch.arange(12).view(3, 4).t()[1:, ::2],
    "masks": lambda: torch.arange(5)[:, None] >= torch.arange(5),
    "places": lambda: torch.tensor([0, 1, 1, 0, 1]).bool().nonzero(),
    "selection": lambda: torch.arange(6)[torch.arange(6) % 2 == 0],
    "repeats": lambda: torch.arange(3).repeat_interleave(torch.tensor([2, 0, 1])),
    "nothing": lambda: torch.bincount(torch.zeros(3).bool().nonzero()[:, 0], minlength=2),
    "names": lambda: torch.ones(int(f"{torch.tensor([1, 3])[1]}")),
    "loop": lambda: torch.ones(sum(torch.tensor([2, 3]).tolist())),
    "filled": lambda: torch.zeros(2, 3).fill_(7),
    "like": lambda: torch.ones_like(torch.rand(3)),
    "expanded": lambda: torch.arange(3).expand(2, 3) + 1,
}


@pytest.mark.parametrize("name", MADE)
def test_values_are_those_of_the_processor(name):
    found, wanted = values_of(MADE[name])
    assert torch.equal(found, wanted)
    assert found.dtype == wanted.dtype


def test_writing_through_a_view_changes_the_whole():
    def make():
        whole = torch.zeros(3, 3)
        whole[1, 1:] = torch.tensor([4.0, 5.0])
        return whole

    found, wanted = values_of(make)
    assert torch.equal(found, wanted)


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.rand(3),
        lambda: torch.zeros(3).add_(torch.rand(3)),
        lambda: torch.zeros(LARGEST + 1),
        lambda: torch.arange(3) * torch.rand(3),
        lambda: torch.ones(LARGEST_WHOLE + 1, dtype=torch.int8),
    ],
)
def test_random_and_large_tensors_have_no_values(make):
    with followed() as values:
        assert values.of(make()) is None


def test_values_of_tensors_that_are_gone_make_room(monkeypatch):
    monkeypatch.setattr(values_module, "MOST_BYTES", 100)
    with followed() as values:
        first = torch.zeros(10)
        for _ in range(5):
            assert values.of(torch.ones(10)) is not None
        second, third = torch.ones(10), torch.ones(10)
        assert [values.of(tensor) is None for tensor in (first, second, third)] == [False, False, True]


def test_choices_are_spread_evenly():
    with followed() as values:
        scores = torch.rand(4, 3)
        experts = scores.topk(2).indices
        assert values.of(experts).tolist() == [[0, 1], [2, 0], [1, 2], [0, 1]]
        assert values.of(scores.argmax(0)).tolist() == [0, 1, 2]
        assert values.of(scores.max(1, keepdim=True).indices).tolist() == [[0], [1], [2], [0]]
        assert values.of(scores.argmax()).item() == 0
        assert values.of(scores.sort(0).indices)[:, 0].tolist() == [0, 1, 2, 3]
        assert values.of(scores.topk(2).values) is None


def test_buffers_keep_their_values():
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("positions", torch.arange(4))
            self.register_buffer("noise", torch.rand(4))
            self.weight = nn.Parameter(torch.ones(4))

    with followed() as values:
        module = Positions()
    keep_buffers(module, values)
    assert module.positions.tolist() == [0, 1, 2, 3]
    assert module.noise.is_meta
    assert module.weight.is_meta


class Experts(nn.Module):
    """Routes each token to some of its experts, as mixtures of experts do in a loop."""

    def __init__(self, experts=4, chosen=2):
        super().__init__()
        self.router = nn.Linear(8, experts)
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(experts))
        self.chosen = chosen

    def forward(self, x):
        weights, chosen = self.router(x).softmax(-1).topk(self.chosen)
        mask = nn.functional.one_hot(chosen, len(self.experts)).permute(2, 1, 0)
        out = torch.zeros_like(x)
        for expert in (mask.sum((1, 2)) > 0).nonzero().flatten().tolist():
            place, row = torch.where(mask[expert])
            out.index_add_(0, row, self.experts[expert](x[row]) * weights[row, place, None])
        return out


def test_a_mixture_of_experts_runs_with_tokens_spread_evenly(products_alone):
    found, calls = trace(Experts(), (torch.rand(6, 8),), {}, dtype=torch.float32, train=True)
    assert [call.path for call in calls] == ["", "router", *(f"experts.{index}" for index in range(4))]
    forward = sum(operation.flops for operation in found.operations)
    assert forward == 2 * 6 * 8 * 4 + 2 * (6 * 2) * 8 * 8  # 2 of 4 experts for each of 6 tokens


def test_values_of_an_example_decide(products_alone):
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x, mask, lengths):
            parts = self.layer(x[mask]).split(lengths.tolist())
            return torch.cat(parts[1:])

    given = torch.rand(5, 8), torch.tensor([1, 0, 1, 1, 0]).bool(), torch.tensor([1, 2])
    found, _ = trace(Masked(), given, {}, dtype=torch.float32, train=True)
    assert sum(operation.flops for operation in found.operations) == 2 * 3 * 8 * 8
