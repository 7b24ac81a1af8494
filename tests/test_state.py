"""The state of searches between two steps: bytes from which another search continues with the same bits."""

import math
import struct
from collections.abc import Callable

import numpy as np
import pytest
from option_problems import draw_problem

import stageplan as sp
from stageplan import _core


def example(n_layers: int = 16, **fixed: object) -> sp.Problem:
    rng = np.random.default_rng(6)
    compute, send = rng.lognormal(0, 0.8, (n_layers, 3)), rng.lognormal(-3, 0.5, (n_layers, 3))
    return sp.Problem.from_arrays(
        compute, [1.0, 1.4, 2.0], **{"send": send, "limit": [6, 4, 3], "min_throughput": 1.0} | fixed
    )


def many_boxes() -> sp.Problem:
    """Draw a problem by options for which the exact method takes some steps."""
    rng, types, degrees = np.random.default_rng(0), np.repeat(np.arange(4), 3), np.tile([1, 2, 4], 4)
    speed = rng.lognormal(0, 0.7, 4)
    fit = rng.lognormal(0, 0.8, (4, 4))[np.arange(24) // 4 % 4]
    compute = rng.lognormal(0, 0.6, (24, 1)) / 24 * (fit / speed)[:, types] / degrees**0.85
    memory = rng.lognormal(0, 0.3, (24, 1)) / degrees
    return sp.Problem.from_arrays(
        compute,
        speed**0.9,
        limit=[6] * 4,
        column_type=types,
        column_degree=degrees,
        compute_parallel=rng.uniform(0.8, 1.0, compute.shape),
        memory=memory,
        activations=0.2 * memory,
        gradients=memory,
        link=[50.0] * 4,
        network=[5.0] * 4,
        machine=[2.0] * 4,
        capacity=[9.6] * 4,
        schedule="1f1b",
        microbatches=16,
        batch=128,
    )


def many_intervals() -> sp.Problem:
    """Draw a problem for which the exact method takes some steps: devices are scarce at its rate."""
    rng = np.random.default_rng(2)
    compute, send = rng.lognormal(0, 0.8, (96, 8)), rng.lognormal(-1, 1, (96, 1)) * np.ones(8)
    return sp.Problem.from_arrays(
        compute, rng.lognormal(0, 0.3, 8), limit=[6] * 8, send=send, compute_parallel=0.97,
        transfer_parallel=0.95, min_throughput=0.6,
    )  # fmt: skip


LIMITS = example()
PROBLEMS = {
    "limits": LIMITS,
    "one device a stage": example(max_devices_per_stage=1, min_throughput=None),
    "exact provisioning": example(objective="throughput"),
    "nothing fits": example(max_price=1.5),
    "stages of any layers": example(merge="type"),
    "few layers": example(5, merge="type"),
    "options": draw_problem(np.random.default_rng(3), max_layers=12),
    "a schedule": draw_problem(np.random.default_rng(8), max_layers=12),
    "many intervals": many_intervals(),
    "many boxes": many_boxes(),
}

Make = Callable[[sp.Problem, int], _core.Search]


def no_schemes(problem: sp.Problem) -> np.ndarray:
    return np.empty((0, problem.n_layers), np.int8)


def genetic(problem: sp.Problem, threads: int = 1, population: int = 40) -> _core.Genetic:
    return _core.Genetic(problem.core, population, 5, threads, no_schemes(problem))


def reinforce(problem: sp.Problem, threads: int) -> _core.Reinforce:
    learned = _core.Learned(False, problem.n_types, problem.n_labels, 5)
    return _core.Reinforce(problem.core, learned, 8, 5, threads, no_schemes(problem))


def front(problem: sp.Problem, _: int) -> _core.Front:
    fast = sp.solve(problem, "genetic", stop=sp.MaxGenerations(5)).plan
    targets = [fast.time * factor for factor in (1.6, 1.3, 1.0)]
    return _core.Front(problem.core, targets, 0.01, 1e-9, fast.scheme[None])


MAKERS: dict[str, Make] = {
    "genetic": genetic,
    "reinforce": reinforce,
    "front": front,
    "auto": lambda p, threads: _core.Auto(p.core, 40, 5, threads, no_schemes(p)),
    "annealing": lambda p, threads: _core.Annealing(p.core, 40, 5, threads, no_schemes(p)),
    "exact": lambda p, _: _core.Exact(p.core, no_schemes(p)),
    "exact by options": lambda p, _: _core.OptionSearch(p.core, no_schemes(p)),
    "random": lambda p, threads: _core.RandomSearch(p.core, 5, threads),
    "enumerate": lambda p, threads: _core.Enumeration(p.core, threads),
    "greedy": lambda p, _: _core.GreedySearch(p.core),
}


@pytest.mark.parametrize(
    ("method", "name", "steps"),
    [
        *(("genetic", name, 60) for name in PROBLEMS if not name.startswith("many")),
        *(("auto", name, 30) for name in PROBLEMS),
        *(("random", name, 3) for name in ("limits", "a schedule")),
        *(("reinforce", name, 5) for name in ("limits", "stages of any layers", "options")),
        ("front", "limits", 8),
        ("annealing", "stages of any layers", 60),
        ("exact", "many intervals", 30),
        ("exact by options", "many boxes", 30),
        ("enumerate", "few layers", 9),
        ("greedy", "limits", 2),
    ],
)
def test_a_restored_search_continues_with_the_same_bits(method: str, name: str, steps: int) -> None:
    problem, make = PROBLEMS[name], MAKERS[method]
    search = make(problem, 1)
    states = [search.state()]
    for _ in range(steps):
        if search.done:
            break
        search.step()
        states.append(search.state())
    last = len(states) - 1
    for at in sorted({0, min(1, last), last // 3, last * 2 // 3, last}):
        restored = make(problem, 2)
        restored.restore(states[at])
        assert restored.state() == states[at]
        for _ in range(last - at):
            restored.step()
        assert restored.state() == states[-1]
        assert (restored.done, restored.evaluations, restored.work) == (
            search.done, search.evaluations, search.work
        )  # fmt: skip
        assert restored.bound == search.bound
        assert np.array_equal(restored.best, search.best)


@pytest.mark.parametrize(
    ("method", "name"), [("exact", "many intervals"), ("exact by options", "many boxes")]
)
def test_these_exact_searches_take_some_steps(method: str, name: str) -> None:
    search, steps = MAKERS[method](PROBLEMS[name], 1), 0
    while not search.done:
        search.step()
        steps += 1
    assert steps >= 3


@pytest.mark.parametrize("threads", [1, 3])
def test_islands_that_run_ahead_continue_on_any_number_of_threads(threads: int) -> None:
    """Some results of the last run are still to come, and migration is due after 16 generations."""
    problem = example(64)
    search = genetic(problem, population=9000)
    states = []
    for _ in range(19):
        states.append(search.state())
        search.step()
    for at in (0, 7, 16):
        restored = genetic(problem, threads, population=9000)
        restored.restore(states[at])
        restored.step(19 - at)
        assert restored.state() == search.state()


def test_a_search_can_be_taken_back() -> None:
    search = MAKERS["auto"](PROBLEMS["nothing fits"], 1)
    first = search.state()
    for _ in range(4):
        search.step()
    later = search.state()
    search.restore(first)
    for _ in range(4):
        search.step()
    assert search.state() == later


@pytest.mark.parametrize(
    ("method", "name"), [("genetic", "limits"), ("exact", "many intervals"), ("reinforce", "limits")]
)
def test_a_changed_byte_is_refused(method: str, name: str) -> None:
    search = MAKERS[method](PROBLEMS[name], 1)
    search.step()
    state, rng = search.state(), np.random.default_rng(1)
    for _ in range(40):
        raw = bytearray(state)
        raw[rng.integers(len(raw))] ^= 1 << rng.integers(8)
        with pytest.raises(sp.InputError, match="the state of the search is damaged"):
            search.restore(bytes(raw))


@pytest.mark.parametrize("state", [b"", b"1234567", bytes(8), bytes(100), "long", "cut short"])
def test_what_is_not_a_state_is_refused(state: bytes | str) -> None:
    whole = genetic(LIMITS).state()
    raw = {"long": whole + b"0", "cut short": whole[:-1]}[state] if isinstance(state, str) else state
    with pytest.raises(sp.InputError, match="the state of the search is damaged"):
        genetic(LIMITS).restore(raw)


@pytest.mark.parametrize(
    "other",
    [
        lambda: genetic(LIMITS, population=41),
        lambda: genetic(example(15)),
        lambda: genetic(PROBLEMS["options"]),
        lambda: MAKERS["random"](LIMITS, 1),
        lambda: MAKERS["exact"](LIMITS, 1),
    ],
)
def test_the_state_of_another_search_is_refused(other: Callable[[], _core.Search]) -> None:
    with pytest.raises(sp.InputError, match="of another one"):
        genetic(LIMITS).restore(other().state())


# Numbers that no search has, with a checksum that fits ---------------------------------------------------


def checksum(raw: bytes) -> bytes:
    """The last bytes of a state, of those before it."""
    total = len(raw)
    for at in range(0, len(raw), 8):
        total = (total ^ int.from_bytes(raw[at : at + 8], "big")) * 0x9E3779B97F4A7C15 % 2**64
        total ^= total >> 32
    return total.to_bytes(8, "little")


def refuse(search: _core.Search, raw: bytes) -> None:
    with pytest.raises(sp.InputError, match=r"^the state of the search is damaged, or of another one$"):
        search.restore(raw + checksum(raw))


def test_the_checksum_is_that_of_a_state() -> None:
    state = genetic(LIMITS).state()
    assert state[-8:] == checksum(state[:-8])


@pytest.mark.parametrize("value", [math.nan, -1.0])
@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("genetic", "limits"),
        ("genetic", "a schedule"),
        ("annealing", "stages of any layers"),
        ("exact", "limits"),
        ("exact by options", "a schedule"),
        ("auto", "nothing fits"),
        ("random", "limits"),
    ],
)
def test_a_score_that_no_plan_has_is_refused(method: str, name: str, value: float) -> None:
    search = MAKERS[method](PROBLEMS[name], 1)
    search.step()
    raw = search.state()[:-8]
    for number in (search.best_score.time, search.best_score.cost):
        known = struct.pack("<d", number)
        assert known in raw
        refuse(search, raw.replace(known, struct.pack("<d", value)))


def test_a_scheme_without_genes_is_refused() -> None:
    """Wherever a scheme is kept: 16 genes behind their number."""
    search = genetic(PROBLEMS["one device a stage"])
    search.step(40)
    raw, schemes = search.state()[:-8], 0
    for at in range(len(raw) - 24):
        if raw[at : at + 8] == (16).to_bytes(8, "little") and max(raw[at + 8 : at + 24]) < 3:
            schemes += 1
            refuse(search, raw[:at] + bytes(8) + raw[at + 24 :])
    assert schemes >= 3


@pytest.mark.parametrize("weight", [math.nan, math.inf, 0.0, 1e9])
def test_a_weight_that_no_window_search_has_is_refused(weight: float) -> None:
    search = genetic(LIMITS)
    raw = search.state()[:-8]
    at = raw.rindex(struct.pack("<d", 1.0))  # of the island, whose search has not begun
    refuse(search, raw[:at] + struct.pack("<d", weight) + raw[at + 8 :])
