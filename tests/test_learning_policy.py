"""The network of a policy beside the same in plain numpy, and its gradient beside differences.

To renew the golden value: ``python tests/test_policy.py``.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import reference as ref
from hypothesis import given, settings
from hypothesis import strategies as st
from stageplan._core.testing import Adam, Adam64, Rollout, Rollout64, elementary

from stageplan._core import PolicyShape, instruction_set, instruction_sets

GOLDEN = "f46172e3cb793cfd"

CELLS = ("lstm", "rnn")


class Case(NamedTuple):
    """A network, its weights and the inputs of a rollout."""

    cell: str
    shape: PolicyShape
    weights: Any
    shared: Any
    own: Any
    previous: Any

    @property
    def parts(self) -> dict[str, Any]:
        return split(self.shape, self.weights)

    @property
    def size(self) -> tuple[int, int]:
        steps, episodes = self.previous.shape
        return episodes, steps


def split(shape: PolicyShape, flat: Any) -> dict[str, Any]:
    return {
        name: flat[at : at + rows * columns].reshape(rows, columns) for name, at, rows, columns in shape.parts
    }


def make_case(seed: int, cell: str, shared: int, own: int, labels: int, hidden: int, *size: int) -> Case:
    random, (episodes, steps) = np.random.default_rng(seed), size
    shape = PolicyShape(cell, shared, own, labels, hidden)
    previous = random.integers(-1, labels, (steps, episodes), dtype=np.int32)
    numbers = [random.normal(size=n) for n in (shape.weights, (steps, shared), (steps, episodes, own))]
    return Case(cell, shape, *numbers, previous)


few = st.integers(0, 3)
some = st.integers(1, 6)
cases = st.builds(make_case, few, st.sampled_from(CELLS), few, few, some, some | st.just(17), some, some)


def run(case: Case, weights: Any, kind: Any = Rollout64) -> tuple[Any, Any]:
    """Give the rollout after all steps and the logits of each."""
    rollout, real = kind(case.shape, *case.size), weights.dtype
    rollout.begin(weights)
    inputs = zip(case.shared.astype(real), case.own.astype(real), case.previous, strict=True)
    return rollout, np.array([rollout.step(*step) for step in inputs])


# Forward and backward ------------------------------------------------------------------------------------


@given(cases)
def test_logits(case: Case) -> None:
    _, logits = run(case, case.weights)
    expected = ref.policy_logits(case.cell, case.parts, *case[3:])
    np.testing.assert_allclose(logits, expected, rtol=1e-9, atol=1e-12)


@given(cases)
def test_logits_in_single_precision(case: Case) -> None:
    _, logits = run(case, case.weights.astype(np.float32), Rollout)
    assert logits.dtype == np.float32
    expected = ref.policy_logits(case.cell, case.parts, *case[3:])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


@given(cases)
@settings(max_examples=40)
def test_gradient(case: Case) -> None:
    """Of a weighted sum of all logits, beside central differences of it, by each weight."""
    direction = np.random.default_rng(1).normal(size=(*case.previous.shape, case.shape.parts[-1][3]))

    def value(weights: Any) -> float:
        return float((run(case, weights)[1] * direction).sum())

    gradient = run(case, case.weights)[0].backward(direction)
    step, differences = 1e-5, np.empty_like(gradient)
    for i in range(len(gradient)):
        weights = [case.weights.copy() for _ in range(2)]
        weights[0][i] -= step
        weights[1][i] += step
        differences[i] = (value(weights[1]) - value(weights[0])) / (2 * step)
    np.testing.assert_allclose(gradient, differences, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("cell", CELLS)
def test_gradient_of_a_long_rollout(cell: str) -> None:
    """Along a line, of more rows than are summed at a time."""
    case = make_case(6, cell, 3, 2, 5, 12, 16, 40)
    random = np.random.default_rng(2)
    weights, line = case.weights / 5, random.normal(size=case.shape.weights) / 10
    direction = random.normal(size=(40, 16, 5))
    gradient = run(case, weights)[0].backward(direction)
    step = 1e-5
    values = [(run(case, weights + sign * step * line)[1] * direction).sum() for sign in (-1, 1)]
    assert gradient @ line == pytest.approx((values[1] - values[0]) / (2 * step), rel=1e-6)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("size", [(5, 7), (16, 50)])
def test_gradient_in_single_precision(cell: str, size: tuple[int, int]) -> None:
    case = make_case(3, cell, 5, 3, 4, 40, *size)
    case = case._replace(weights=case.weights / 10)
    direction = np.random.default_rng(1).normal(size=(*case.previous.shape, 4))
    expected = run(case, case.weights)[0].backward(direction)
    gradient = run(case, case.weights.astype(np.float32), Rollout)[0].backward(direction.astype(np.float32))
    assert np.abs(gradient - expected).max() < 1e-5 * np.abs(expected).max()


def test_fewer_steps_than_there_is_room_for() -> None:
    """A rollout may stop early, and begins anew with nothing left of what was."""
    case, short = make_case(1, "lstm", 2, 2, 3, 5, 4, 6), 3
    rollout = Rollout64(case.shape, *case.size)
    for steps in (6, short):
        rollout.begin(case.weights)
        for s in range(steps):
            rollout.step(case.shared[s], case.own[s], case.previous[s])
        direction = np.ones((steps, 4, 3))
        gradient = rollout.backward(direction)
    alone = case._replace(**{name: getattr(case, name)[:short] for name in ("shared", "own", "previous")})
    np.testing.assert_array_equal(gradient, run(alone, case.weights)[0].backward(direction))


@pytest.mark.parametrize("cell", CELLS)
def test_episodes_do_not_touch_each_other(cell: str) -> None:
    case = make_case(2, cell, 3, 2, 4, 20, 7, 9)
    _, logits = run(case, case.weights)
    for e in range(7):
        alone = case._replace(own=case.own[:, [e]], previous=np.ascontiguousarray(case.previous[:, [e]]))
        np.testing.assert_array_equal(run(alone, case.weights)[1][:, 0], logits[:, e])


def test_bad_sizes() -> None:
    case = make_case(1, "lstm", 2, 2, 3, 5, 4, 1)
    rollout, step = Rollout64(case.shape, *case.size), (case.shared[0], case.own[0], case.previous[0])
    with pytest.raises(ValueError, match=rf"^weights has 3 numbers; it must have {case.shape.weights}$"):
        rollout.begin(np.zeros(3))
    rollout.begin(case.weights)
    with pytest.raises(ValueError, match=r"^own has 2 numbers; it must have 8$"):
        rollout.step(step[0], case.own[0, 0], step[2])
    rollout.step(*step)
    with pytest.raises(ValueError, match=r"^there are 1 steps; begin anew$"):
        rollout.step(*step)
    with pytest.raises(ValueError, match=r"^dlogits has 1 numbers; it must have 12$"):
        rollout.backward(np.zeros(1))


# Sampling ------------------------------------------------------------------------------------------------


def test_sample() -> None:
    """Each choice is the label at which its uniform number stands, and goes into the next step."""
    case = make_case(4, "lstm", 3, 2, 5, 8, 6, 11)
    uniform = np.random.default_rng(5).random((11, 6))
    rollout = Rollout64(case.shape, *case.size)
    rollout.begin(case.weights)
    choices, probabilities = rollout.sample(case.shared, case.own, uniform)
    previous = np.vstack([np.full((1, 6), -1, np.int32), choices[:-1]])
    logits = ref.policy_logits("lstm", case.parts, case.shared, case.own, previous)
    expected = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-9)
    np.testing.assert_array_equal(choices, (uniform[..., None] >= expected.cumsum(axis=2)).sum(axis=2))


# Adam ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "real", "close"), [(Adam, np.float32, 2e-6), (Adam64, np.float64, 1e-12)])
def test_adam(kind: Any, real: type, close: float) -> None:
    """Steps with a gradient that is clipped, one that is not, and one of zeros."""
    random = np.random.default_rng(0)
    ours = random.normal(size=37).astype(real)
    theirs, first, second = ours.astype(float), np.zeros(37), np.zeros(37)
    optimizer = kind(37)
    for steps in range(1, 30):
        gradient = (random.normal(size=37) * (0.0, 0.01, 10.0)[steps % 3]).astype(real)
        norm = optimizer.update(ours, gradient, 0.01, 1.0)
        assert norm == pytest.approx(np.linalg.norm(gradient.astype(float)), rel=1e-6)
        theirs, first, second = ref.adam(
            theirs, ref.clip(gradient.astype(float), 1.0), first, second, steps, 0.01
        )
        np.testing.assert_allclose(ours, theirs, rtol=close, atol=close)


# Elementary functions ------------------------------------------------------------------------------------

EXACT: dict[str, Any] = {
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "logistic": lambda x: np.where(x < 0, np.exp(-abs(x)), 1) / (1 + np.exp(-abs(x))),
}
ULPS = {"exp": 1.25, "log": 1.25, "tanh": 3.0, "logistic": 3.0}


def arguments(name: str, real: Any) -> Any:
    """Draw numbers from the whole range of a function, and many from where it bends."""
    random, limits = np.random.default_rng(7), np.finfo(real)
    if name == "log":
        everywhere = np.exp2(random.uniform(np.log2(limits.smallest_subnormal), limits.maxexp - 1e-3, 20000))
        return np.concatenate([everywhere, random.uniform(0.5, 2, 20000)]).astype(real)
    least, most = 0.9999 * np.log(limits.tiny), 0.9999 * np.log(limits.max)
    near, far = random.uniform(-2, 2, 20000), random.uniform(least, most, 20000)
    small = np.exp2(random.uniform(-100, 1, 2000)) * random.choice([-1, 1], 2000)
    return np.concatenate([near, far, small]).astype(real)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_elementary(name: str, real: Any) -> None:
    """Beside functions of longer numbers, in units of the last place."""
    x = arguments(name, real)
    exact = EXACT[name](x.astype(np.longdouble))
    error = np.abs(elementary(name, x) - exact) / np.spacing(np.abs(exact).astype(real))
    assert float(error.max()) < ULPS[name]


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_elementary_at_the_ends(real: Any) -> None:
    def of(name: str, *values: float) -> list[float]:
        return elementary(name, np.array(values, real)).tolist()

    inf, nan, most = np.inf, np.nan, float(np.finfo(real).max)
    assert of("exp", -inf, -1e4, 0.0, 1e4, inf) == [0, 0, 1, inf, inf]
    assert of("log", -0.0, 0.0, 1.0, inf) == [-inf, -inf, 0, inf]
    assert of("tanh", -inf, -most, -0.0, 0.0, most, inf) == [-1, -1, 0, 0, 1, 1]
    assert of("logistic", -inf, -most, 0.0, most, inf) == [0, 0, 0.5, 1, 1]
    assert np.signbit(of("tanh", -0.0))
    assert np.isnan(of("log", -1.0, -inf, nan)).all()
    for name in EXACT:
        assert np.isnan(of(name, nan)).all()


# The same bits -------------------------------------------------------------------------------------------


def report() -> str:
    """Hash some updates of several networks, of all sizes that registers have to do with."""
    digest = hashlib.sha256()
    for cell in CELLS:
        for hidden, labels, episodes in [
            (1, 1, 1),
            (5, 3, 2),
            (16, 16, 4),
            (33, 17, 7),
            (64, 4, 16),
            (100, 128, 9),
        ]:
            train(digest, cell, hidden, labels, episodes, steps=12)
    return digest.hexdigest()[:16]


def train(digest: Any, cell: str, hidden: int, labels: int, episodes: int, steps: int) -> None:
    numbers = np.random.PCG64(hidden)  # only the bits of a generator are the same on every machine

    def draw(*size: int) -> Any:
        return (numbers.random_raw(size) >> np.uint64(11)) / 2**53

    shape = PolicyShape(cell, 6, 3, labels, hidden)
    weights = ((draw(shape.weights) - 0.5) / 4).astype(np.float32)
    shared, own = draw(steps, 6).astype(np.float32), draw(steps, episodes, 3).astype(np.float32)
    rollout, adam = Rollout(shape, episodes, steps), Adam(shape.weights)
    for _ in range(3):
        rollout.begin(weights)
        choices, probabilities = rollout.sample(shared, own, draw(steps, episodes))
        gradient = rollout.backward(
            probabilities - (choices[..., None] == np.arange(labels)).astype(np.float32)
        )
        adam.update(weights, gradient, 0.01, 1.0)
        for array in (choices, probabilities, gradient, weights):
            digest.update(array.tobytes())


@pytest.mark.parametrize("name", instruction_sets())
def test_instruction_sets(name: str) -> None:
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"STAGEPLAN_ISA": name, "PYTHONPATH": paths}
    argv = [sys.executable, __file__]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [name, GOLDEN]


if __name__ == "__main__":
    print(instruction_set(), report())
