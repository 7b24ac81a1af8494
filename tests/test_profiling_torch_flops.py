import pytest

torch = pytest.importorskip("torch")

from torch import library, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

import stageplan as sp  # noqa: E402

DEVICE = sp.Device(name="plain", peak={"fp32": 1e9}, memory=1e9, memory_bandwidth=1e9)


class Calling(nn.Module):
    """A layer, and a function behind it."""

    def __init__(self, function, width=8):
        super().__init__()
        self.layer, self.function = nn.Linear(width, width, bias=False), function

    def forward(self, x):
        return self.function(self.layer(x))


def profile(module, example, mode="inference"):
    return sp.profile(module, example, devices=[DEVICE], mode=mode)


def flops_behind(function, *shape, mode="inference"):
    """FLOPs of a function, of what a layer makes; nothing may be without a formula."""
    example = torch.zeros(shape)
    workload = profile(Calling(function, shape[-1]), example, mode)
    assert workload.notes == ()
    return sum(layer.flops for layer in workload.layers) - 2 * example.numel() * shape[-1]


@pytest.mark.parametrize(
    ("function", "flops"),
    [
        (torch.relu, 32),
        (torch.Tensor.relu_, 32),
        (lambda x: x + x, 32),
        (lambda x: x.sum(-1), 32),
        (lambda x: x.mean(), 32),
        (lambda x: x.softmax(-1), 5 * 32),
        (lambda x: functional.layer_norm(x, (8,)), 5 * 32),
        (lambda x: x.t().contiguous().view(4, 8), 0),
        (lambda x: torch.cat([x, x]), 0),
        (lambda x: x.sort().values, 32),
        (lambda x: torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist"), 3 * 32 * 4),
        (lambda x: torch._euclidean_dist(x, x), 2 * 32 * 4),
        (lambda x: functional.hardswish(x), 32),
        (lambda x: torch._assert_async((x > 0).all()) or x.clone().unsqueeze_(0).squeeze_(0), 32 + 32),
        (lambda x: torch.mv(x, x[0]), 2 * 32),
        (lambda x: x.relu().dot(x.relu()) if x.dim() == 1 else torch.dot(x[0], x[0]), 2 * 8),
        (lambda x: torch.addbmm(x.t() @ x, x[None].mT, x[None]), 2 * 2 * 8 * 4 * 8),
        (lambda x: torch.linalg.solve_triangular(x[:, :4], x, upper=True), 4 * 32),
        (lambda x: x // 2, 32),
        (lambda x: functional.bilinear(x, x, torch.zeros(3, 8, 8)), 3 * 4 * 3 * 8 * 8),
        (lambda x: torch.fft.fft(x + 0j), 32 + 5 * 32 * 3),
        (lambda x: torch.fft.rfft(x).real, 2.5 * 32 * 3),
    ],
)
def test_functions(function, flops):
    assert flops_behind(function, 4, 8) == flops


@pytest.mark.parametrize(
    ("function", "flops"),
    [
        (lambda x: functional.max_pool2d(x, 3), 9 * 2 * 4),
        (lambda x: functional.avg_pool2d(x, 2), 4 * 2 * 16),
        (lambda x: functional.adaptive_avg_pool2d(x, 1), 128),
        (lambda x: functional.interpolate(x, scale_factor=2), 0),
        (lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"), 8 * 512),
        (lambda x: functional.group_norm(x, 1), 5 * 128),
    ],
)
def test_functions_of_images(function, flops):
    assert flops_behind(function, 1, 2, 8, 8) == flops


@pytest.mark.parametrize(
    "function", [torch.relu, functional.softplus, functional.gelu, lambda x: x.softmax(-1), lambda x: x[:2]]
)
def test_gradients_have_formulas_too(function):
    flops_behind(function, 4, 8, mode="train")


@pytest.fixture(scope="module")
def odd():
    """An operator that stageplan cannot know; torch keeps it to the end of the process."""
    library.define("stageplan_tests::odd", "(Tensor x) -> Tensor")
    library.impl("stageplan_tests::odd", "Meta", torch.empty_like)
    return torch.ops.stageplan_tests.odd


def test_operators_without_a_formula_are_noted_with_their_share(odd):
    workload = profile(Calling(lambda x: odd(odd(x))), torch.zeros(4, 8))
    assert workload.layers[0].flops == 2 * 32 * 8 + 2 * 32
    assert workload.notes == (
        "no FLOPs formula for stageplan_tests.odd (2 times), which move 50.0% of all bytes: counted as "
        "one FLOP for each number that they make",
    )
