"""The state of searches between two steps: bytes from which another search continues with the same bits."""

from typing import Any

import numpy as np
import pytest
from option_problems import draw_problem

import stageplan as sp
from stageplan import _core


def example(n_layers: int = 16, **fixed: Any) -> sp.Problem:
    rng = np.random.default_rng(6)
    compute, send = rng.lognormal(0, 0.8, (n_layers, 3)), rng.lognormal(-3, 0.5, (n_layers, 3))
    return sp.Problem.from_arrays(
        compute, [1.0, 1.4, 2.0], **{"send": send, "limit": [6, 4, 3], "min_throughput": 1.0} | fixed
    )


PROBLEMS = {
    "limits": example(),
    "one device a stage": example(max_devices_per_stage=1, min_throughput=None),
    "exact provisioning": example(objective="throughput"),
    "nothing fits": example(max_price=1.5),
    "options": draw_problem(np.random.default_rng(3), max_layers=12),
    "a schedule": draw_problem(np.random.default_rng(8), max_layers=12),
}


def make(problem: sp.Problem, threads: int = 1, population: int = 40, seed: int = 5) -> _core.Genetic:
    none = np.empty((0, problem.n_layers), np.int8)
    return _core.Genetic(problem.core, population, seed, threads, none)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_restored_search_continues_with_the_same_bits(name: str) -> None:
    problem = PROBLEMS[name]
    search = make(problem)
    states = [search.state()]
    for _ in range(60):
        search.step()
        states.append(search.state())
    for at in (0, 1, 17, 40):
        restored = make(problem)
        restored.restore(states[at])
        assert restored.state() == states[at]
        restored.step(60 - at)
        assert restored.state() == states[-1]
        assert (restored.evaluations, restored.work) == (search.evaluations, search.work)
        assert np.array_equal(restored.best, search.best)


@pytest.mark.parametrize("threads", [1, 3])
def test_islands_that_run_ahead_continue_on_any_number_of_threads(threads: int) -> None:
    """Some results of the last run are still to come, and migration is due after 16 generations."""
    problem = example(64)
    search = make(problem, population=9000)
    states = []
    for _ in range(19):
        states.append(search.state())
        search.step()
    for at in (0, 7, 16):
        restored = make(problem, threads, population=9000)
        restored.restore(states[at])
        restored.step(19 - at)
        assert restored.state() == search.state()


def test_a_changed_byte_is_refused() -> None:
    search = make(PROBLEMS["limits"])
    search.step(20)
    state, rng = search.state(), np.random.default_rng(1)
    for _ in range(200):
        raw = bytearray(state)
        raw[rng.integers(len(raw))] ^= 1 << rng.integers(8)
        with pytest.raises(sp.InputError, match="the state of the search is damaged"):
            make(PROBLEMS["limits"]).restore(bytes(raw))


@pytest.mark.parametrize("state", [b"", b"1234567", bytes(8), bytes(100), "long", "cut short"])
def test_what_is_not_a_state_is_refused(state: bytes | str) -> None:
    whole = make(PROBLEMS["limits"]).state()
    raw = (
        {"long": whole + b"0", "cut short": whole[:-1]}.get(state, state) if isinstance(state, str) else state
    )
    with pytest.raises(sp.InputError, match="the state of the search is damaged"):
        make(PROBLEMS["limits"]).restore(raw)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other",
    [
        lambda: make(PROBLEMS["limits"], population=41),
        lambda: make(example(15)),
        lambda: make(PROBLEMS["options"]),
        lambda: make(PROBLEMS["exact provisioning"], population=41),
    ],
)
def test_the_state_of_another_search_is_refused(other: Any) -> None:
    with pytest.raises(sp.InputError, match="of another one"):
        make(PROBLEMS["limits"]).restore(other().state())
