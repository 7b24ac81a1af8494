"""The policy's network beside torch's modules: logits, gradients, steps of Adam; weights both ways."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from stageplan._core.testing import Adam, Rollout

from stageplan._core import PolicyShape

torch = pytest.importorskip("torch", reason="torch is not installed")
from stageplan.learning.policy_torch import PolicyModule  # noqa: E402

SHAPES = [("lstm", 5, 3, 4, 16), ("rnn", 5, 3, 4, 16), ("lstm", 0, 2, 7, 20), ("rnn", 3, 0, 1, 1)]
STEPS, EPISODES = 9, 6


@pytest.fixture(params=SHAPES, ids=str)
def shape(request: pytest.FixtureRequest) -> tuple[Any, ...]:
    return request.param


def inputs(shape: tuple[Any, ...]) -> tuple[Any, Any, Any]:
    """Draw what all episodes share, what each has of its own, and choices."""
    _, shared, own, labels, _ = shape
    random = np.random.default_rng(3)
    previous = random.integers(-1, labels, (STEPS, EPISODES), dtype=np.int32)
    sizes = ((STEPS, shared), (STEPS, EPISODES, own))
    return (*(random.normal(size=size).astype(np.float32) for size in sizes), previous)


def weights_of(shape: tuple[Any, ...]) -> Any:
    return (np.random.default_rng(4).normal(size=PolicyShape(*shape).weights) / 3).astype(np.float32)


def play(shape: tuple[Any, ...], weights: Any) -> tuple[Rollout, Any]:
    rollout = Rollout(PolicyShape(*shape), EPISODES, STEPS)
    rollout.begin(weights)
    return rollout, np.array([rollout.step(*step) for step in zip(*inputs(shape), strict=True)])


def tensors(shape: tuple[Any, ...]) -> list[Any]:
    shared, own, previous = inputs(shape)
    return [torch.from_numpy(shared), torch.from_numpy(own), torch.from_numpy(previous).long()]


def test_logits(shape: tuple[Any, ...]) -> None:
    module, weights = PolicyModule(*shape), weights_of(shape)
    module.load_weights(weights)
    logits, _ = module(*tensors(shape))
    np.testing.assert_allclose(logits.detach().numpy(), play(shape, weights)[1], rtol=1e-5, atol=1e-5)


def test_logits_step_by_step(shape: tuple[Any, ...]) -> None:
    module, state, steps = PolicyModule(*shape), None, []
    for s in range(STEPS):
        logits, state = module(*(x[s : s + 1] for x in tensors(shape)), state)
        steps.append(logits)
    np.testing.assert_allclose(torch.cat(steps).detach(), module(*tensors(shape))[0].detach(), atol=1e-6)


def test_updates(shape: tuple[Any, ...]) -> None:
    """Gradients, clipping and Adam: one clipped step, one that is not, from the weights of the first."""
    module, weights = PolicyModule(*shape), weights_of(shape)
    module.load_weights(weights)
    theirs, ours = torch.optim.Adam(module.parameters(), lr=0.01), Adam(len(weights))
    direction = np.random.default_rng(5).normal(size=(STEPS, EPISODES, shape[3])).astype(np.float32)
    for most in (0.5, 1e9):
        theirs.zero_grad()
        (module(*tensors(shape))[0] * torch.from_numpy(direction)).sum().backward()
        gradient = play(shape, weights)[0].backward(direction)
        scale = np.abs(gradient).max()
        np.testing.assert_allclose(module.flat_gradient(), gradient, rtol=1e-4, atol=1e-5 * scale)
        norm = torch.nn.utils.clip_grad_norm_(module.parameters(), most)
        assert ours.update(weights, gradient, 0.01, most) == pytest.approx(float(norm), rel=1e-5)
        theirs.step()
        np.testing.assert_allclose(module.flat_weights(), weights, rtol=1e-5, atol=2e-5)


def test_weights_both_ways(shape: tuple[Any, ...]) -> None:
    module, weights = PolicyModule(*shape), weights_of(shape)
    assert not np.array_equal(module.flat_weights(), weights)
    module.load_weights(weights)
    assert module.flat_weights().dtype == np.float32
    np.testing.assert_array_equal(module.flat_weights(), weights)
    np.testing.assert_array_equal(module.flat_gradient(), np.zeros_like(weights))
    assert not module.cell.bias_hh_l0.any()
    other = PolicyModule(*shape).double()
    other.load_weights(module.flat_weights())
    np.testing.assert_array_equal(other.flat_weights(), weights)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("gru", 1, 1, 2, 8), ValueError, "cell is 'gru'; it must be one of 'lstm', 'rnn'"),
        (
            ("rnn", -1, 1, 2, 8),
            ValueError,
            "shared is -1; it must be a whole number, at least 0, at most 65536",
        ),
        (
            ("rnn", 1, 1.5, 2, 8),
            TypeError,
            "own is 1.5; it must be a whole number, at least 0, at most 65536",
        ),
        (
            ("rnn", 1, 1, 0, 8),
            ValueError,
            "labels is 0; it must be a whole number, at least 1, at most 65536",
        ),
        (
            ("rnn", 1, 1, 2, 0),
            ValueError,
            "hidden is 0; it must be a whole number, at least 1, at most 65536",
        ),
        (("rnn", 1, 1, 2, 65537), ValueError, "hidden is 65537; it must be .*, at least 1, at most 65536"),
    ],
)
def test_bad_arguments(arguments: tuple[Any, ...], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^{text}$"):
        PolicyModule(*arguments)


def test_bad_weights() -> None:
    module = PolicyModule("rnn", 1, 1, 2, 1)
    with pytest.raises(ValueError, match=r"^weights has shape \(3,\); it must be \(10,\)$"):
        module.load_weights(np.zeros(3))
    with pytest.raises(ValueError, match=r"^weights\[4\] is not finite; all must be$"):
        module.load_weights(np.where(np.arange(10) == 4, np.nan, 1.0))


ABSENT = """
import sys
sys.modules["torch"] = None
import stageplan
try:
    import stageplan.learning.policy_torch
except ImportError as error:
    print(error)
"""


def test_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", ABSENT], capture_output=True, text=True, check=False)
    expected = 'torch is required for a policy as a module; pip install "stageplan[torch]" installs it\n'
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")


def test_torch_is_not_imported_by_the_package() -> None:
    code = "import stageplan, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
