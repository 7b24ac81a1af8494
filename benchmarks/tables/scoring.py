"""Print how fast stageplan is beside its rivals, and beside the figures that it has to reach.

python -m benchmarks.tables.scoring [--only SUBSTRING] [--quick]
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

# Idle threads of a BLAS spin, which counts as CPU time; numpy reads this when it is imported.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from numba import njit
from rich.console import Console
from rich.table import Table

import stageplan as sp
from benchmarks.support import peers
from benchmarks.support.baselines import NumbaGenetic, NumbaScorer, NumpyScorer, empty_scores, one_thread
from benchmarks.support.instances import POPULATIONS, best_plan, family
from benchmarks.support.measure import (
    compare,
    compare_generations,
    compare_undisturbed,
    cpu,
    generations_for,
    no_garbage_collection,
    wall,
)
from stageplan import _core

COUNT_LIMIT = 16  # devices of each type in the rows on speed: all rivals have to count them
LIMIT = 4  # and in those on searches within limits
POPULATION = 16_384
STEADY = 100  # generations after which a search has left its start behind, roughly
PROBE_BYTES = 2**30
BRIEF = 0.1  # CPU seconds

NOTES = f"""\
All on one core and in one run: CPU seconds (time.process_time, all threads added up), ours and the rival's
in turns; medians of the rounds, the ratio that of the rounds' ratios. Python's garbage collector is off.
evaluate: {POPULATION:,} schemes at a target, {COUNT_LIMIT} devices of each type. random: random genes;
  evolved: children of one parent of five stages, one point mutation on average. All rivals give the same
  cost, throughput and violation in float64, which is checked before the clock starts. numba writes into
  arrays that are there already, and so does ours beside it and in the rows on scaling; else both allocate.
  numba: @njit(parallel=True, fastmath=True), prange over schemes, limited to one thread; of two inner loops,
  by runs and by layers, the one that is faster on the population. NumPy: all schemes at once, layer by layer.
generation: of solve(method="genetic") with all that belongs to it (local search, restarts, tables), and of
  the rival, each the difference of two run lengths, ours of {STEADY} generations or more. The numba genetic
  algorithm has the same operators; serial or prange, whichever is faster.
  Peers have the numba batch fitness, and pymoo, PyGAD and DEAP operators of the same kind that do not loop
  over genes in Python. pygmo: the fastest of sga (which takes no batch fitness), gaco and pso_gen; evosax:
  the faster of SimpleGA and MR15_GA, jitted. All rivals score at the least throughput; solve does what it
  takes to find the best one.
search: CPU seconds of solve, with its default population, until its plan costs at most 1 % more than the
  optimum, which method "exact" proves; ratio: the slowest of ten problems, each with a seed of its own
  (median in front). Limits: {LIMIT} devices of each type.
speed-up: on the wall; the least times of many rounds, for others may use the cores as well.
bandwidth: a numba sum over {PROBE_BYTES >> 20} MiB of uint64, one thread."""


@dataclass(frozen=True)
class Settings:
    """How long to measure."""

    rounds: int
    seconds: float  # of each piece of work in each round
    steady: int  # least generations of a search
    seeds: int
    cap: float  # CPU seconds that a search may take


THOROUGH = Settings(rounds=7, seconds=0.1, steady=STEADY, seeds=10, cap=10.0)
QUICK = Settings(rounds=5, seconds=0.02, steady=10, seeds=2, cap=1.0)


@dataclass(frozen=True)
class Reading:
    """What a row shows."""

    ours: str
    rival: str
    ratio: float | None


@dataclass(frozen=True)
class Row:
    """A line of the table: `reach` is the least ratio, or the greatest where `at_most`; `aim` is better."""

    what: str
    measure: Callable[[Settings], Reading | str]  # or why it cannot be measured
    reach: float | None = None
    aim: float | None = None
    at_most: bool = False

    def figures(self) -> tuple[str, str]:
        sign = "<=" if self.at_most else ">="
        return tuple("" if figure is None else f"{sign} {figure:g}" for figure in (self.reach, self.aim))

    def style(self, ratio: float) -> str:
        if self.reach is None:
            return "default"
        better = [ratio <= f if self.at_most else ratio >= f for f in (self.reach, self.aim)]
        return ("red", "yellow", "green")[sum(better)]


# Scoring ---------------------------------------------------------------------------------------------------


def check_same(ours: sp.Scores, rival: sp.Scores) -> None:
    """Refuse a rival that computes something else."""
    for name, a, b in zip(sp.Scores._fields, ours[:3], rival[:3], strict=False):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12, err_msg=name)


def population_of(kind: str, L: int, T: int, n: int = POPULATION):
    problem, schemes = family(L, T, limit=COUNT_LIMIT), POPULATIONS[kind](L, T, n)
    return problem, schemes, partial(sp.evaluate, problem, schemes, target=1.0, threads=1)


def into_arrays(work: Callable, n: int) -> Callable:
    """Let work write into arrays that are there already, and in memory."""
    out = empty_scores(n)
    for array in out:
        array.fill(0)
    return partial(work, out=out)


def against_numba(kind: str, L: int, T: int, settings: Settings) -> Reading:
    problem, schemes, ours = population_of(kind, L, T)
    ours = into_arrays(ours, len(schemes))
    rivals = [
        into_arrays(partial(NumbaScorer(problem, by=by), schemes), len(schemes)) for by in NumbaScorer.BY
    ]
    for rival in rivals:
        check_same(ours(), rival())
    fastest = min(rivals, key=lambda rival: cpu(rival, 5))
    return _rates(compare(ours, fastest, settings.rounds, settings.seconds), len(schemes), "schemes/s")


def by_instruction_set(name: str, kind: str, L: int, T: int, settings: Settings) -> Reading | str:
    """Time against numba with another instruction set, which a process chooses once and for all."""
    if name not in _core.instruction_sets():
        return "not on this processor"
    work = (
        "import dataclasses, json; from benchmarks.tables import scoring; scoring.one_thread(); "
        f"reading = scoring.against_numba({kind!r}, {L}, {T}, scoring.{settings}); "
        "print(json.dumps(dataclasses.asdict(reading)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", work],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"STAGEPLAN_ISA": name},
        stdout=subprocess.PIPE,
        check=True,
    )
    return Reading(**json.loads(done.stdout))


def against_numpy(kind: str, L: int, T: int, settings: Settings) -> Reading:
    problem, schemes, ours = population_of(kind, L, T)
    rival = partial(NumpyScorer(problem), schemes)
    check_same(ours(), rival())
    return _rates(compare(ours, rival, settings.rounds, settings.seconds), len(schemes), "schemes/s")


def _rates(pair, count: int, unit: str) -> Reading:
    return Reading(_si(count / pair.ours, unit), _si(count / pair.rival, unit), pair.ratio)


def large_population(settings: Settings) -> Reading:
    """Speed with a population of a million, beside one of 16 thousand."""
    large, small = (into_arrays(population_of("random", 64, 8, n)[-1], n) for n in (1_000_000, POPULATION))
    pair = compare(large, small, settings.rounds, settings.seconds)
    return Reading(
        _si(1_000_000 / pair.ours, "schemes/s"),
        _si(POPULATION / pair.rival, "schemes/s"),
        pair.ratio * 1_000_000 / POPULATION,
    )


def time_per_scheme(ours: tuple[int, int], other: tuple[int, int], settings: Settings) -> Reading:
    """Nanoseconds of each gene with one (L, T), beside another."""
    works = [into_arrays(population_of("random", L, T)[-1], POPULATION) for L, T in (ours, other)]
    pair = compare(*works, settings.rounds, settings.seconds)
    genes = POPULATION * ours[0], POPULATION * other[0]
    ratio = genes[1] / genes[0] / pair.ratio
    return Reading(
        f"{pair.ours / genes[0] * 1e9:.3g} ns/gene", f"{pair.rival / genes[1] * 1e9:.3g} ns/gene", ratio
    )


def one_scheme(settings: Settings) -> Reading:
    """Microseconds of a call for one scheme, beside one call for a whole population."""
    single, many = (population_of("random", 64, 8, n)[-1] for n in (1, POPULATION))
    pair = compare(single, many, settings.rounds, settings.seconds)
    return Reading(
        f"{pair.ours * 1e6:.3g} us", f"{pair.rival / POPULATION * 1e6:.3g} us/scheme", pair.ours * 1e6
    )


@njit
def _read(words):
    total = np.uint64(0)
    for i in range(len(words)):
        total += words[i]
    return total


def bandwidth(settings: Settings) -> Reading:
    """Bytes of scheme scored, beside bytes that a core can read."""
    _, schemes, ours = population_of("evolved", 256, 8, 262_144)
    words = np.ones(PROBE_BYTES // 8, np.uint64)
    pair = compare(into_arrays(ours, len(schemes)), partial(_read, words), settings.rounds, settings.seconds)
    rates = schemes.nbytes / pair.ours, words.nbytes / pair.rival
    return Reading(_si(rates[0], "B/s"), _si(rates[1], "B/s"), pair.ratio * schemes.nbytes / words.nbytes)


def two_threads(clock: Callable, settings: Settings) -> Reading:
    """Two threads beside one: CPU time that they waste, or wall time that they save on idle cores."""
    one = into_arrays(population_of("random", 64, 8, 262_144)[-1], 262_144)
    two = partial(one, threads=2)
    if clock is wall:
        pair = compare_undisturbed(two, one, round(settings.rounds * settings.seconds * 1000))
    else:
        pair = compare(two, one, settings.rounds, settings.seconds)
    ratio = pair.ratio if clock is wall else 1 / pair.ratio
    return Reading(f"{pair.ours * 1e3:.3g} ms", f"{pair.rival * 1e3:.3g} ms", ratio)


# Generations -----------------------------------------------------------------------------------------------


def our_search(problem: sp.Problem, population: int) -> Callable[[int], float]:
    """Make a search of a number of generations, from the start each time."""

    def run(generations: int) -> float:
        stop = sp.MaxGenerations(generations)
        return sp.solve(problem, "genetic", population=population, stop=stop, threads=1).plan.cost

    return run


def generation(rivals: list[Callable[[int], float]], population: int, settings: Settings) -> Reading:
    """Time whole generations against the fastest rival."""
    ours = our_search(family(64, 8), population)
    lengths = [generations_for(rival, settings.seconds) for rival in rivals]
    speeds = [cpu(partial(rival, n)) / n for rival, n in zip(rivals, lengths, strict=True)]
    best = int(np.argmin(speeds))
    generations = max(settings.steady, generations_for(ours, settings.seconds)), lengths[best]
    pair = compare_generations(ours, rivals[best], generations, settings.rounds)
    return _rates(pair, population, "children/s")


def against_numba_genetic(population: int, settings: Settings) -> Reading:
    rivals = [NumbaGenetic(family(64, 8), population, parallel=p).advance for p in (False, True)]
    return generation(rivals, population, settings)


def against_peer(library: str, population: int, settings: Settings) -> Reading | str:
    if reason := peers.why_absent(library):
        return reason
    names = [name for name in peers.PEERS if name.split()[0] == library]
    rivals = [peers.start(name, family(64, 8), population) for name in names]
    return generation(rivals, population, settings)


def large_generation(settings: Settings) -> Reading:
    """Children per second with a population of a million, beside one of 16 thousand."""
    sizes = 1_000_000, POPULATION
    searches = [our_search(family(64, 8), size) for size in sizes]
    lengths = 10, settings.steady
    pair = compare_generations(*searches, lengths, settings.rounds)
    rates = sizes[0] / pair.ours, sizes[1] / pair.rival
    return Reading(_si(rates[0], "children/s"), _si(rates[1], "children/s"), pair.ratio * sizes[0] / sizes[1])


# Searches --------------------------------------------------------------------------------------------------


def search_time(problem: sp.Problem, best: float, seed: int, cap: float) -> float:
    """CPU seconds until a plan costs at most 1 % more than the best one; infinite above the cap."""
    reached, began = sp.Target(1.01 * best), time.process_time()

    def stop(progress: sp.Progress) -> bool:
        return reached(progress) or time.process_time() - began > cap

    results: list[sp.Result] = []
    work = partial(sp.solve, problem, "genetic", seed=seed, stop=stop, threads=1)
    times = [cpu(lambda: results.append(work()))]
    if times[0] < BRIEF:  # so short that chance would show
        times += [cpu(work) for _ in range(4)]
    plan = results[0].plan
    return median(times) if plan.feasible and plan.cost <= 1.01 * best else float("inf")


def search(L: int, T: int, limit: int | None, settings: Settings) -> Reading:
    """Search problems, each with a seed of its own."""
    seeds = range(settings.seeds)
    problems = [family(L, T, seed, limit=limit) for seed in seeds]
    best = [best_plan(problem).cost for problem in problems]
    sp.solve(problems[0], "genetic", stop=sp.MaxGenerations(1), threads=1)  # what is done once is not timed
    with no_garbage_collection():
        times = [search_time(*case, settings.cap) for case in zip(problems, best, seeds, strict=True)]
    ours = f"{median(times):.3g} s, {sum(np.isfinite(times))} of {len(times)}"
    return Reading(ours, "optimum", max(times))


# The table -------------------------------------------------------------------------------------------------


def rows() -> Iterator[Row]:
    yield from scoring_rows()
    yield from generation_rows()
    yield from scaling_rows()
    yield from search_rows()


def scoring_rows() -> Iterator[Row]:
    for kind, L, T, *figures in (
        ("random", 64, 2, 10, 14),
        ("random", 64, 8, 10, 14),
        ("random", 64, 64, 6, 9),
        ("evolved", 64, 8, 4, 7),
        ("evolved", 64, 64, 3.5, 6),
        ("evolved", 256, 8, 6, 9),
    ):
        yield Row(f"evaluate / numba, {kind} L={L} T={T}", partial(against_numba, kind, L, T), *figures)
    for name in ("avx2", "baseline"):
        for kind in ("random", "evolved"):
            what = f"evaluate / numba, {kind} L=64 T=8, {name}"
            yield Row(what, partial(by_instruction_set, name, kind, 64, 8))
    yield Row("evaluate / NumPy, random L=64 T=8", partial(against_numpy, "random", 64, 8), 50, 90)


LIBRARIES = {  # ratios to reach and to aim at
    "pymoo": (500, 1000),
    "DEAP": (500, 1000),
    "PyGAD": (500, 1000),
    "pygmo": (110, 200),
    "evosax": (25, 50),
}


def generation_rows() -> Iterator[Row]:
    for population in (1_000, 10_000, 100_000):
        what = f"generation / numba genetic, population {population:,}"
        yield Row(what, partial(against_numba_genetic, population), 14, 25)
    for library, figures in LIBRARIES.items():
        for population in (1_000, 10_000):
            what = f"generation / {library}, population {population:,}"
            yield Row(what, partial(against_peer, library, population), *figures)


def scaling_rows() -> Iterator[Row]:
    longer, wider = partial(time_per_scheme, (256, 8), (64, 8)), partial(time_per_scheme, (64, 64), (64, 2))
    yield Row("evaluate, population 1M / 16k, random", large_population, 0.85, 0.98)
    yield Row("generation, population 1M / 16k", large_generation)
    yield Row("time per gene, L=256 / L=64, random", longer, 1.3, 1.0, at_most=True)
    yield Row("time per gene, T=64 / T=2, random", wider, 2.6, 2.0, at_most=True)
    yield Row("CPU time, 2 threads / 1", partial(two_threads, cpu), 1.1, 1.03, at_most=True)
    yield Row("speed-up on the wall, 2 threads / 1", partial(two_threads, wall), 1.7, 1.95)
    yield Row("evaluate of one scheme, us / population", one_scheme, 5, 2, at_most=True)
    yield Row("bytes scored / bytes read, evolved L=256", bandwidth, 0.15, 0.5)


def search_rows() -> Iterator[Row]:
    large = ((64, 64), (256, 8))
    figures = {(16, 4): (0.003, 0.001), (64, 8): (0.1, 0.03)} | dict.fromkeys(large, (2.0, 0.3))
    for (L, T), (reach, aim) in figures.items():
        what = f"search, CPU s to 1 %, L={L} T={T}"
        yield Row(what, partial(search, L, T, None), reach, aim, at_most=True)
    for L, T in large:
        what = f"search, CPU s to 1 %, L={L} T={T}, limits"
        yield Row(what, partial(search, L, T, LIMIT), *figures[L, T], at_most=True)


def _si(value: float, unit: str) -> str:
    for prefix, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:.3g} {prefix} {unit}"
    return f"{value:.3g} {unit}"


def _cells(row: Row, settings: Settings) -> tuple[str, ...]:
    reading = row.measure(settings)
    if isinstance(reading, str):
        return row.what, "-", reading, "", *row.figures()
    style = row.style(reading.ratio)
    return row.what, reading.ours, reading.rival, f"[{style}]{reading.ratio:.3g}[/]", *row.figures()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="measure the rows whose name holds this text")
    parser.add_argument("--quick", action="store_true", help="shorter rounds, fewer seeds: rough figures")
    options = parser.parse_args()
    one_thread()
    table = Table("what", "ours", "rival's", "ratio", "reach", "aim")
    progress, console = Console(stderr=True), Console(width=120)
    for row in rows():
        if options.only in row.what:
            progress.print(f"measuring {row.what} ...", style="dim")
            table.add_row(*_cells(row, QUICK if options.quick else THOROUGH))
    console.print(table)
    console.print(NOTES, markup=False, highlight=False)


if __name__ == "__main__":
    main()
