"""Kernels and threads: the same bits whatever the instruction set, the number of threads and the machine.

To renew the golden values: ``python tests/test_scorer.py``.
"""

import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterable
from math import inf
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import reference as ref
from msgspec.structs import replace

import stageplan as sp
from stageplan import _core
from stageplan.result import Method
from stageplan.score import _THREAD_GENES

# Hashes of scores; of searches cost, violation, evaluations and a hash. No function that libraries round
# differently (exp, pow) may have a part in them.
GOLDEN = {
    "scores": "a38fc07efa24ece5",
    "prices": "3cb6e3a7ed1b7f7f",
    "breeding": "28252beecb4ce358",
    "threads": "ceba521e043a8d79",
    "islands": "8412.186736 0.000000 200688 289b09bbce405973",
    "islands at a target": "6172.352142 0.000000 170949 0568083e39b1860d",
    "restarts": "6076.947237 0.000000 123075 f3f94ccdce992eb7",
    "random": "9984.586518 0.000000 3072 2ba4d408b2e548c7",
    "greedy": "4100.224927 0.000000 84 1e578f6c88ab8825",
    "enumerate": "3922.141219 0.000000 19683 a7b9a49417bd7026",
}

LAYERS = (1, 2, 7, 16, 63, 64, 65, 100, 130, 256, 257, 300)
TYPES = (1, 2, 3, 5, 8, 9, 16, 17, 40, 64, 128)
SIZES = (1, 15, 16, 17, 63, 64, 65, 130, 393)
THREADS = (1, 2, 8)
TARGETS = (0.02, 0.3, 4.0)

# Problems and populations ------------------------------------------------------------------------------


class Numbers:
    """Random numbers made without any function that rounds its own way, so that they are everywhere the same.

    NumPy promises that of the bits of a generator, not of what it makes of them.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def below(self, bound: int, *shape: int) -> Any:
        return ((np.asarray(self._bits.random_raw(shape or None)) >> 32) * bound >> 32).astype(np.int64)

    def between(self, low: float, high: float, *shape: int) -> Any:
        return low + (high - low) * (self.below(2**31, *shape) / 2**31)

    def chance(self, one_in: int) -> bool:
        return not self.below(one_in)

    def spread(self, *shape: int) -> Any:
        """Draw between 1/6 and 6, around 1."""
        return self.between(0.2, 1.2, *shape) / self.between(0.2, 1.2, *shape)


def arguments(numbers: Numbers, layers: int, types: int) -> dict[str, Any]:
    """Draw a problem that has any of the terms of the cost model; its limits bind or not."""
    drawn: dict[str, Any] = {"compute": numbers.spread(layers, types), "price": numbers.spread(types)}
    terms = {
        "fixed_price": lambda: float(numbers.spread()),
        "overlap": lambda: False,
        "compute_parallel": lambda: numbers.between(0.8, 1.0, layers, types),
        "transfer_parallel": lambda: numbers.between(0.8, 1.0, types),
        "send": lambda: numbers.spread(layers, types) / 4,
        "receive": lambda: numbers.spread(layers, types) / 4,
        "memory": lambda: numbers.spread(layers),
        "capacity": lambda: layers * numbers.spread(types) / 2,
        "tensors": lambda: [(i, (i + 1, layers - 1), float(numbers.spread())) for i in range(layers - 2)],
        "bandwidth": lambda: 8 * numbers.spread(types),
        "split": lambda: 2 * types <= 128,
        "min_throughput": lambda: float(numbers.spread()) / 4,
        "max_cost": lambda: 1e4 * layers * float(numbers.spread()),
        "max_price": lambda: layers * float(numbers.spread()),
        "max_devices_per_stage": lambda: int(numbers.below(6)) + 1,
    }
    drawn |= {name: term() for name, term in terms.items() if numbers.chance(3)}
    most = (0, 3, 30, 300, 5000)[numbers.below(5)]  # of the limits on devices; 0: there are none
    if most:
        drawn["limit"] = numbers.below(most, types) + 1.0
    if types > 1 and numbers.chance(3):
        drawn["compute"][numbers.below(8, layers) == 0, numbers.below(types)] = inf
    return drawn


def population(numbers: Numbers, labels: int, size: int, layers: int) -> Any:
    """Draw schemes of many stages, of few, and of both in turn, a third each."""
    many = numbers.below(labels, size, layers)
    few = np.where(
        numbers.below(layers, size, layers) == 0, many, np.repeat(many[:, ::20], 20, axis=1)[:, :layers]
    )
    rare = (numbers.below(12, size) == 0)[:, None]
    third = np.arange(size)[:, None] * 3 // size
    return np.where((third == 0) | ((third == 2) & rare), many, few).astype(np.int8)


def cases() -> Any:
    """Yield arguments and schemes: all numbers of layers with all numbers of types."""
    numbers = Numbers(1)
    for layers, types in itertools.product(LAYERS, TYPES):
        if layers * layers * types <= 2**19 or numbers.chance(3):  # larger tables take long
            given = arguments(numbers, layers, types)
            labels = types * (2 if given.get("split") else 1)
            yield given, population(numbers, labels, sum(SIZES), layers)


def large() -> tuple[sp.Problem, Any]:
    """Make enough schemes for several threads, with the last block not full."""
    numbers = Numbers(2)
    given = arguments(numbers, 65, 9) | {"limit": numbers.below(30, 9) + 1.0, "split": True}
    schemes = population(numbers, 18, 3 * 4096 + 77, 65)
    assert schemes.size > _THREAD_GENES
    return sp.Problem.from_arrays(**given), schemes


def example(layers: int = 64, **fixed: Any) -> sp.Problem:
    numbers = Numbers(3)
    compute, price, send = numbers.spread(layers, 8), numbers.spread(8), numbers.spread(layers, 8) / 4
    return sp.Problem.from_arrays(compute, price, send=send, compute_parallel=0.97, limit=[40] * 8, **fixed)


# What every instruction set has to tell ------------------------------------------------------------------


def digest(*scores: Iterable[Any]) -> str:
    return hashlib.sha256(
        b"".join(x.tobytes() for score in scores for x in score if x is not None)
    ).hexdigest()[:16]


def score_all() -> str:
    """Score all cases, in parts of many sizes and now and then exactly provisioned."""
    found = []
    for number, (given, schemes) in enumerate(cases()):
        problem = sp.Problem.from_arrays(**given)
        parts = np.split(schemes, np.cumsum(SIZES)[:-1])
        found += [sp.evaluate(problem, part, TARGETS[number % 3]) for part in parts]
        if number % 8 == 0:
            found.append(sp.evaluate(problem, schemes[::40].copy()))
    return digest(*found)


def price_all() -> str:
    """Price some of the cases an hour, in parts of many sizes."""
    found = []
    for number, (given, schemes) in enumerate(cases()):
        if number % 4 == 1:
            problem = sp.Problem.from_arrays(**given | {"objective": "price"})
            parts = np.split(schemes, np.cumsum(SIZES)[:-1])
            found += [sp.evaluate(problem, part, TARGETS[number % 3])[3:] for part in parts]
    return digest(*found)


def score_by(threads: int) -> str:
    problem, schemes = large()
    return digest(*(sp.evaluate(problem, schemes, target, threads=threads) for target in (0.3, None)))


def told(result: sp.Result) -> str:
    """Tell all that threads and instruction sets may not change."""
    steps = re.sub(r" (work|price|bound)=[^,]+,", "", repr([replace(p, runtime=0) for p in result.history]))
    history = steps + repr(result.plan.scheme)
    code = hashlib.sha256(history.encode()).hexdigest()[:16]
    return f"{result.plan.cost:.6f} {result.plan.violation:.6f} {result.evaluations} {code}"


def search(threads: int) -> dict[str, str]:
    """Search in every way; the first two have three islands and pass schemes on once."""
    at_target, one_device = example(min_throughput=0.1), example(max_devices_per_stage=1)
    small = sp.Problem.from_arrays(Numbers(4).spread(9, 3), [1, 2, 3], limit=[6, 4, 3], min_throughput=0.9)
    runs: dict[str, tuple[sp.Problem, Method, int, int]] = {
        "islands": (one_device, "genetic", 9000, 18),
        "islands at a target": (at_target, "genetic", 9000, 18),
        "restarts": (at_target, "genetic", 16, 60),
        "random": (at_target, "random", 256, 3),
        "greedy": (small, "greedy", 256, 99),
        "enumerate": (small, "enumerate", 256, 99),
    }
    return {
        name: told(sp.solve(p, method, population=n, stop=sp.MaxGenerations(most), threads=threads))
        for name, (p, method, n, most) in runs.items()
    }


def breed() -> str:
    """Breed schemes that fill a register, that do not, and that are longer."""
    numbers, found = Numbers(6), []
    for layers, labels in itertools.product((1, 2, 3, 31, 63, 64, 65, 130), (1, 2, 128)):
        parents, fitness = population(numbers, labels, 99, layers), numbers.spread(99)
        parts = [(1, 31), (32, 65), (97, 3)]
        found += [_core.testing.breed(parents, fitness, labels, layers, *part).tobytes() for part in parts]
    return hashlib.sha256(b"".join(found)).hexdigest()[:16]


def report() -> dict[str, Any]:
    return {
        "scores": score_all(),
        "prices": price_all(),
        "breeding": breed(),
        "threads": [score_by(n) for n in THREADS],
        "searches": [search(n) for n in THREADS],
    }


Run: TypeAlias = subprocess.CompletedProcess[str]


def run(instruction_set: str, *argv: str) -> Run:
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"STAGEPLAN_ISA": instruction_set, "PYTHONPATH": os.pathsep.join(paths)}
    argv = (sys.executable, *argv)
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=os.environ | environment)


@pytest.fixture(scope="module", params=_core.instruction_sets())
def reported(request: pytest.FixtureRequest) -> dict[str, Any]:
    done = run(request.param, __file__)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    assert found.pop("set") == request.param
    return found


# The same bits -------------------------------------------------------------------------------------------


def test_scores(reported: dict[str, Any]) -> None:
    assert reported["scores"] == GOLDEN["scores"]


def test_prices(reported: dict[str, Any]) -> None:
    assert reported["prices"] == GOLDEN["prices"]


def test_breeding(reported: dict[str, Any]) -> None:
    assert reported["breeding"] == GOLDEN["breeding"]


def test_scores_by_threads(reported: dict[str, Any]) -> None:
    assert reported["threads"] == [GOLDEN["threads"]] * len(THREADS)


def test_searches(reported: dict[str, Any]) -> None:
    """With any number of threads the same, and as every other set and machine has it."""
    first, *others = reported["searches"]
    assert others == [first] * len(others)
    assert first == search(1)
    assert first == {name: GOLDEN[name] for name in first}


def test_scores_are_the_oracles() -> None:
    for number, (given, schemes) in enumerate(cases()):
        target, some = TARGETS[number % 3], schemes[number % 60 :: 120]
        if number % 4 == 0 and some.shape[1] * len(given["price"]) < 5000:
            given = given | {"objective": "price"} if number % 8 == 0 else given
            check(sp.Problem.from_arrays(**given), ref.plain_problem(**given), schemes, some, target)


def check(problem: sp.Problem, oracle: Any, schemes: Any, some: Any, target: float) -> None:
    """Compare some schemes, scored among others, with the oracle."""
    rows = {row.tobytes(): i for i, row in enumerate(schemes)}
    scores = sp.evaluate(problem, schemes, target)
    for row in some:
        i = rows[row.tobytes()]
        expected = ref.evaluate(oracle, row.tolist(), target).score
        assert scores.cost[i] == pytest.approx(expected.cost, rel=1e-8)
        assert 1 / scores.throughput[i] == pytest.approx(expected.tau, rel=1e-8)
        assert scores.violation[i] == pytest.approx(expected.violation, rel=1e-6, abs=0)
        if scores.price is not None:
            assert scores.price[i] == pytest.approx(expected.price, rel=1e-8)


@pytest.mark.parametrize("layers", [254, 255, 256, 257])
@pytest.mark.parametrize("row", [0, 3, 59, 60, 63])
def test_schemes_with_one_stage_per_layer_among_schemes_of_one_stage(layers: int, row: int) -> None:
    problem = sp.Problem.from_arrays(np.ones((layers, 2)), [1, 2])
    schemes = np.zeros((64, layers), np.int8)
    schemes[row] = np.arange(layers) % 2
    alone = sp.evaluate(problem, schemes[[row]], 0.5)
    assert [x[row] for x in sp.evaluate(problem, schemes, 0.5)[:3]] == [x[0] for x in alone[:3]]


def test_more_stages_than_words_can_index() -> None:
    """They are scored from the stage table; still longer networks are in test_score.py."""
    numbers = Numbers(5)
    given = arguments(numbers, 363, 128) | {"max_devices_per_stage": 300}
    schemes = population(numbers, 128, 40, 363)
    check(sp.Problem.from_arrays(**given), ref.plain_problem(**given), schemes, schemes[::13], 0.3)


# Instruction sets by name --------------------------------------------------------------------------------

NAMED = f"STAGEPLAN_ISA is 'sse9'; this processor has {', '.join(_core.instruction_sets())}\n"
SCORE = "import numpy, stageplan as sp; p = sp.Problem.from_arrays([[1.0]], [1.0])\n"


@pytest.mark.parametrize(
    "call", ["evaluate(p, numpy.zeros((1, 1), 'i1'), 1.0)", "solve(p)", "solve(p, 'random')"]
)
def test_unknown_instruction_set(call: str) -> None:
    done = run("sse9", "-c", f"{SCORE}sp.{call}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(f"stageplan.errors.InputError: {NAMED}")


def test_unknown_instruction_set_on_the_command_line() -> None:
    done = run("sse9", "-m", "stageplan", "plan", "bert-large")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"stageplan: error: {NAMED}")


def test_an_empty_name_chooses_the_best_instruction_set() -> None:
    done = run("", "-c", f"{SCORE}print(sp.solve(p).instruction_set)")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{_core.instruction_sets()[0]}\n", "")


# Threads -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threads", "error"),
    [(0, ValueError), (-1, ValueError), (4097, ValueError), (1.5, TypeError), (True, TypeError)],
)
@pytest.mark.parametrize("size", [1, _THREAD_GENES])
def test_bad_threads(threads: Any, error: type[Exception], size: int) -> None:
    problem = sp.Problem.from_arrays([[1.0]], [1.0])
    with pytest.raises(
        error, match=rf"^threads is {threads}; it must be a whole number, at least 1, at most 4096$"
    ):
        sp.evaluate(problem, np.zeros((size, 1), np.int8), threads=threads)
    with pytest.raises(error, match=rf"^threads is {threads}; "):
        sp.solve(problem, threads=threads)


@pytest.mark.parametrize("target", [None, 0.3])
@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("bad", [[0], [4095, 4096], [5000, 12364], [12364]])
def test_the_first_gene_that_is_not_a_label(target: float | None, threads: int, bad: list[int]) -> None:
    """Also where other threads find others, sooner."""
    problem, schemes = large()
    schemes[bad, -1] = 18
    schemes[bad[1:], 0] = -1
    where = rf"^schemes\[{bad[0]}, 64\] is 18; it must be a label from 0 to 17$"
    for _ in range(10 if target else 1):
        with pytest.raises(ValueError, match=where):
            sp.evaluate(problem, schemes, target, threads=threads)


FEW_THREADS = """
import numpy as np, resource, stageplan as sp
problem, schemes = sp.Problem.from_arrays([[1.0]], [1.0]), np.zeros((4_000_000, 1), np.int8)
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
print(sp.evaluate(problem, schemes, 1.0, threads=4096).throughput.sum())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory that stacks of threads take")
@pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="sanitizers reserve more than that")
def test_fewer_threads_than_asked_for() -> None:
    done = run("baseline", "-c", FEW_THREADS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "4000000.0\n", "")


def test_other_threads_of_python_go_on() -> None:
    """The interpreter's lock is let go: nothing else would make this thread give way."""
    (problem, schemes), ticks, over = large(), [0], threading.Event()

    def tick() -> None:
        while not over.is_set():
            ticks[0] += 1
            time.sleep(0)

    other, interval = threading.Thread(target=tick), sys.getswitchinterval()
    scorer, scores = problem.scorer(0.3), sp.evaluate(problem, schemes, 0.3)
    sys.setswitchinterval(1000)
    other.start()
    try:
        for _ in range(1000):
            before = ticks[0]
            scorer.evaluate(schemes, *scores, 1)
            if ticks[0] > before:
                break
        else:
            pytest.fail("no tick")
    finally:
        over.set()
        sys.setswitchinterval(interval)
        other.join()


# Into given arrays ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", THREADS)
def test_out(threads: int) -> None:
    problem, schemes = large()
    expected = sp.evaluate(problem, schemes, 0.3)
    out = sp.Scores(*np.full((3, len(schemes)), -1.0))
    tracemalloc.start()
    try:
        returned = sp.evaluate(problem, schemes, 0.3, threads=threads, out=out)
        assert tracemalloc.get_traced_memory()[1] < out.cost.nbytes / 4
    finally:
        tracemalloc.stop()
    assert returned is out
    np.testing.assert_array_equal(out[:3], expected[:3])


def read_only() -> Any:
    array = np.empty(3)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("name", sp.Scores._fields)
@pytest.mark.parametrize(
    "array",
    [
        np.empty(3, np.float32),
        np.empty(3, ">f8"),
        np.empty(2),
        np.empty((1, 3)),
        np.empty(6)[::2],
        read_only(),
        [0.0] * 3,
    ],
    ids=["float32", "big-endian", "short", "2-d", "strided", "read-only", "list"],
)
def test_bad_out(name: str, array: Any) -> None:
    problem, out = sp.Problem.from_arrays([[1.0]], [1.0]), sp.Scores(*(np.empty(3) for _ in range(3)))
    with pytest.raises(
        ValueError, match=rf"^out\.{name} is .*; it must be a writeable float64 array of shape \(3,\)$"
    ):
        sp.evaluate(problem, np.zeros((3, 1), np.int8), out=out._replace(**{name: array}))


if __name__ == "__main__":
    print(json.dumps({"set": _core.instruction_set()} | report(), indent=1))
