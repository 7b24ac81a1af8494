"""Times that can be compared on a shared machine: CPU time, ratios from one run, medians, turns taken."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import NamedTuple

Work = Callable[[], object]


class Pair(NamedTuple):
    """Median CPU seconds of two pieces of work, and the median of the ratios of each round."""

    ours: float
    rival: float
    ratio: float  # rival / ours


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep Python's garbage collector from running: it would tax those most who make many objects."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def cpu(work: Work, repeats: int = 1) -> float:
    """CPU seconds of one call, of all threads together."""
    began = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - began) / repeats


def wall(work: Work, repeats: int = 1) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - began) / repeats


def repeats_for(work: Work, least: float) -> int:
    """How many calls take `least` CPU seconds; the first call, which may compile, does not count."""
    work()
    return max(1, round(least / max(cpu(work), 1e-9)))


def compare(ours: Work, rival: Work, rounds: int = 5, least: float = 0.05, clock: Callable = cpu) -> Pair:
    """Time two pieces of work in turns, each for at least `least` CPU seconds a round."""
    n_ours, n_rival = repeats_for(ours, least), repeats_for(rival, least)
    with no_garbage_collection():
        times = [(clock(ours, n_ours), clock(rival, n_rival)) for _ in range(rounds)]
    return _pair(times)


def compare_undisturbed(ours: Work, rival: Work, rounds: int) -> Pair:
    """Time two pieces of work on the wall, in turns; their least times: others may use the cores as well."""
    ours(), rival()
    with no_garbage_collection():
        times = [(wall(ours), wall(rival)) for _ in range(rounds)]
    best = [min(column) for column in zip(*times, strict=True)]
    return Pair(best[0], best[1], best[1] / best[0])


def compare_generations(
    ours: Callable[[int], object],
    rival: Callable[[int], object],
    generations: tuple[int, int],
    rounds: int = 5,
) -> Pair:
    """Time one generation of two searches, in turns: each the difference of a long and a short run."""
    with no_garbage_collection():
        times = [
            (_per_generation(ours, generations[0]), _per_generation(rival, generations[1]))
            for _ in range(rounds)
        ]
    return _pair(times)


def generations_for(search: Callable[[int], object], least: float) -> int:
    """How many generations take `least` CPU seconds more than the first one, which may have to start up."""
    search(1)
    first, generations, seconds = cpu(partial(search, 1)), 1, 0.0
    while seconds < least / 2 and generations < 1 << 20:
        generations *= 2
        seconds = cpu(partial(search, generations)) - first
    return max(2, round(generations * least / max(seconds, 1e-9)))


def _per_generation(search: Callable[[int], object], generations: int) -> float:
    short = cpu(lambda: search(generations))
    return max(1e-9, (cpu(lambda: search(3 * generations)) - short) / (2 * generations))


def _pair(times: list[tuple[float, float]]) -> Pair:
    ours, rivals = zip(*times, strict=True)
    return Pair(median(ours), median(rivals), median(rival / our for our, rival in times))
