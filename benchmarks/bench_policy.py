"""One update of a policy: fixed work; what was learned is checked against the native network."""

import numpy as np
import pytest
import torch

from benchmarks.support import policies


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def check(learner, task):
    """One update from the first weights is what the native network makes of the same choices."""
    ours = policies.Native(task)
    choices = learner.update()
    ours.follow(choices)
    assert choices.shape == task.own.shape[:2]
    assert np.abs(ours.weights - task.weights).max() == pytest.approx(policies.RATE, rel=1e-3)
    same = np.isclose(learner.weights, ours.weights, atol=policies.RATE / 20)
    assert same.mean() > 0.999  # Adam's first step tells nothing of gradients but their signs


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_native(benchmark, cell):
    task = policies.make_task(cell)
    check(policies.Native(task), task)
    benchmark(policies.Native(task).update)


@pytest.mark.parametrize(
    ("kind", "cell"),
    [(policies.TorchLoop, "lstm"), (policies.TorchLoop, "rnn"), (policies.TorchTwoPasses, "lstm")],
)
def test_torch(benchmark, kind, cell):
    task = policies.make_task(cell)
    check(kind(task), task)
    benchmark(kind(task).update)


def test_choices_are_drawn_by_their_probabilities():
    """All three draw each label at the first step as often as it is likely."""
    task = policies.make_task(episodes=4000, steps=1)
    counts = [
        np.bincount(kind(task).update()[0], minlength=4)
        for kind in (policies.Native, policies.TorchLoop, policies.TorchTwoPasses)
    ]
    np.testing.assert_allclose(counts, np.mean(counts, axis=0)[None].repeat(3, axis=0), atol=150)
