import numpy as np
import pytest

torch = pytest.importorskip("torch")

from networks import Stack  # noqa: E402
from torch import nn  # noqa: E402

from stageplan.profiling import torch_times  # noqa: E402
from stageplan.profiling.torch_times import Times, measure  # noqa: E402

PATHS = ["stem", "blocks.0", "blocks.1", "blocks.2", "norm", "out"]


class Clock:
    """Stands in for the CPU time of the process, which other work on the machine makes longer."""

    seconds = 0.0


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(torch_times.time, "process_time", lambda: Clock.seconds)


class Busy(torch.autograd.Function):
    """Computes for a number of seconds of CPU time, forward and backward."""

    @staticmethod
    def forward(ctx, x, forward, backward):
        ctx.seconds = backward
        work(forward)
        return x * 1

    @staticmethod
    def backward(ctx, gradient):
        work(ctx.seconds)
        return gradient, None, None


def work(seconds):
    Clock.seconds += seconds


class Worker(nn.Module):
    def __init__(self, forward, backward):
        super().__init__()
        self.seconds = forward, backward
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return Busy.apply(x * self.weight, *self.seconds)


def run(module, paths, x, train=True, repeats=4, max_spread=10.0):
    return measure(module, (x,), {}, paths, train=train, repeats=repeats, max_spread=max_spread)


@pytest.mark.usefixtures("clock")
def test_times_are_those_that_layers_take():
    module = nn.Sequential(Worker(0.004, 0.008), Worker(0.012, 0.004), Worker(0.002, 0.016))
    times = run(module, ["0", "1", "2"], torch.ones(3))
    np.testing.assert_allclose(times.forward, [0.004, 0.012, 0.002])
    np.testing.assert_allclose(times.backward, [0.008, 0.004, 0.016])
    assert times.passes == 4


@pytest.mark.usefixtures("clock")
def test_inference_has_no_backward_pass():
    times = run(
        nn.Sequential(Worker(0.002, 0.01), Worker(0.004, 0.01)), ["0", "1"], torch.ones(3), train=False
    )
    np.testing.assert_allclose(times.forward, [0.002, 0.004])
    assert not times.backward.any()


@pytest.mark.usefixtures("clock")
def test_time_between_layers_belongs_to_the_previous_one():
    class Between(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            x = Busy.apply(self.first(x), 0.005, 0.0)
            return self.second(x)

    times = run(Between(), ["first", "second"], torch.ones(2, 3))
    np.testing.assert_allclose(times.forward, [0.005, 0])


def test_the_clock_is_the_cpu_time_of_the_process():
    """Without a stand-in: every layer takes some."""
    times = run(Stack(), PATHS, torch.rand(3, 4))
    assert (times.forward > 0).all()
    assert (times.backward > 0).all()


def test_the_module_is_left_as_it_was():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).eval()
    module[0].weight.grad = gradient = torch.ones_like(module[0].weight)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    threads = torch.get_num_threads()
    run(module, ["0", "1"], torch.rand(2, 1, 5, 5))
    assert not module.training
    assert module[0].weight.grad is gradient
    assert module[1].weight.grad is None
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not module[0]._forward_hooks
    assert torch.get_num_threads() == threads


@pytest.mark.usefixtures("clock")
def test_repeats_that_are_apart_are_refused():
    class Restless(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.count = nn.Linear(3, 3), 0

        def forward(self, x):
            self.count += 1
            return Busy.apply(self.layer(x), 0.001 if self.count % 2 else 0.003, 0.0)

    with pytest.raises(
        ValueError, match=r"max_spread is 0.05, but 8 repeats are [\d.]+ apart; measure with more"
    ):
        run(Restless(), ["layer"], torch.ones(2, 3), repeats=8, max_spread=0.05)


def test_it_ends_early_where_times_repeat(monkeypatch):
    ticks = iter(range(10**9))
    monkeypatch.setattr(torch_times.time, "process_time", lambda: float(next(ticks)))
    times = run(Stack(), PATHS, torch.rand(3, 4), repeats=50, max_spread=0.05)
    assert times.passes == torch_times.LEAST
    assert not times.spread.any()
    np.testing.assert_array_equal(times.forward, [2, 1, 1, 1, 1, 1])  # the first: from the start of the pass
    np.testing.assert_array_equal(times.backward, [1, 1, 1, 1, 1, 2])


def test_small_layers_count_little_in_whether_times_repeat():
    """Their times are near the resolution of a GPU's events, while the pass repeats."""
    times = Times(np.array([1.0, 1e-3, 1e-3]), np.zeros(3), np.array([0.01, 0.5, 0.5]), 8)
    assert times.apart == pytest.approx((0.01 + 0.0005 + 0.0005) / 1.002)
