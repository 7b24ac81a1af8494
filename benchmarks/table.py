"""Print how fast stageplan is beside its rivals, and beside the figures that it has to reach.

python benchmarks/table.py [--only SUBSTRING] [--quick]
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
import peers
from baselines import NumbaGenetic, NumbaScorer, NumpyScorer, one_thread
from best_known import BEST_KNOWN, LIMIT
from instances import POPULATIONS, family
from measure import compare, compare_generations, cpu, generations_for, wall
from numba import njit
from optimum import optimum
from rich.console import Console
from rich.table import Table

import stageplan as sp

COUNT_LIMIT = 16  # devices of each type in the rows on speed: all rivals have to count them
POPULATION = 16_384
PROBE_BYTES = 2**30

NOTES = f"""\
All on one core and in one run: CPU seconds (time.process_time, all threads added up), ours and the rival's
in turns; medians of the rounds, the ratio that of the rounds' ratios. Python's garbage collector is off.
evaluate: {POPULATION:,} schemes at a target, {COUNT_LIMIT} devices of each type. random: random genes;
  evolved: children of one parent of five stages, one point mutation on average. All rivals give the same
  cost, throughput and violation in float64, which is checked before the clock starts.
  numba: @njit(parallel=True, fastmath=True), prange over schemes, limited to one thread; of two inner loops,
  by runs and by layers, the one that is faster on the population. NumPy: all schemes at once, layer by layer.
generation: of solve(method="genetic") with all that belongs to it, and of the rival, each the difference of
  two run lengths. The numba genetic algorithm has the same operators; serial or prange, whichever is faster.
  Peers have the numba batch fitness, and pymoo, PyGAD and DEAP operators of the same kind that do not loop
  over genes in Python. pygmo: the fastest of sga (which takes no batch fitness), gaco and pso_gen; evosax:
  the faster of SimpleGA and MR15_GA, jitted. All rivals score at the least throughput; solve does what it
  takes to find the best one.
search: CPU seconds of solve until its plan costs at most 1 % more than the reference; median over problems,
  each with a seed of its own. Reference: without limits the optimum, proven to 0.01 %; with limits ({LIMIT}
  devices of each type) the best plan known from long runs, within the stated gap of a proven bound.
bandwidth: a numba sum over {PROBE_BYTES >> 20} MiB of uint64, one thread."""


@dataclass(frozen=True)
class Settings:
    """How long to measure."""

    rounds: int
    seconds: float  # of each piece of work in each round
    seeds: int
    cap: float  # seconds that a search may take


THOROUGH = Settings(rounds=7, seconds=0.1, seeds=10, cap=10.0)
QUICK = Settings(rounds=5, seconds=0.02, seeds=2, cap=1.0)


@dataclass(frozen=True)
class Reading:
    """What a row shows."""

    ours: str
    rival: str
    ratio: float | None


@dataclass(frozen=True)
class Row:
    """A line of the table: `reach` is the least ratio, or the greatest where `at_most`."""

    what: str
    measure: Callable[[Settings], Reading | str]  # or why it cannot be measured
    reach: float | None = None
    at_most: bool = False

    def target(self) -> str:
        return "" if self.reach is None else f"{'<=' if self.at_most else '>='} {self.reach:g}"

    def met(self, ratio: float) -> bool:
        return self.reach is None or (ratio <= self.reach if self.at_most else ratio >= self.reach)


# Scoring ---------------------------------------------------------------------------------------------------


def check_same(ours: sp.Scores, rival: sp.Scores) -> None:
    """Refuse a rival that computes something else."""
    for name, a, b in zip(sp.Scores._fields, ours, rival, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12, err_msg=name)


def population_of(kind: str, L: int, T: int, n: int = POPULATION):
    problem, schemes = family(L, T, limit=COUNT_LIMIT), POPULATIONS[kind](L, T, n)
    return problem, schemes, partial(sp.evaluate, problem, schemes, target=1.0, threads=1)


def against_numba(kind: str, L: int, T: int, settings: Settings) -> Reading:
    problem, schemes, ours = population_of(kind, L, T)
    rivals = [partial(NumbaScorer(problem, by=by), schemes) for by in NumbaScorer.BY]
    for rival in rivals:
        check_same(ours(), rival())
    fastest = min(rivals, key=lambda rival: cpu(rival, 5))
    return _rates(compare(ours, fastest, settings.rounds, settings.seconds), len(schemes), "schemes/s")


def against_numpy(kind: str, L: int, T: int, settings: Settings) -> Reading:
    problem, schemes, ours = population_of(kind, L, T)
    rival = partial(NumpyScorer(problem), schemes)
    check_same(ours(), rival())
    return _rates(compare(ours, rival, settings.rounds, settings.seconds), len(schemes), "schemes/s")


def _rates(pair, count: int, unit: str) -> Reading:
    return Reading(_si(count / pair.ours, unit), _si(count / pair.rival, unit), pair.ratio)


def large_population(settings: Settings) -> Reading:
    """Speed with a population of a million, beside one of 16 thousand."""
    large, small = (population_of("random", 64, 8, n)[-1] for n in (1_000_000, POPULATION))
    pair = compare(large, small, settings.rounds, settings.seconds)
    return Reading(
        _si(1_000_000 / pair.ours, "schemes/s"),
        _si(POPULATION / pair.rival, "schemes/s"),
        pair.ratio * 1_000_000 / POPULATION,
    )


def time_per_scheme(ours: tuple[int, int], other: tuple[int, int], settings: Settings) -> Reading:
    """Nanoseconds of each gene with one (L, T), beside another."""
    works = [population_of("random", L, T)[-1] for L, T in (ours, other)]
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
    _, schemes, ours = population_of("evolved", 256, 8, 65_536)
    words = np.ones(PROBE_BYTES // 8, np.uint64)
    pair = compare(ours, partial(_read, words), settings.rounds, settings.seconds)
    rates = schemes.nbytes / pair.ours, words.nbytes / pair.rival
    return Reading(_si(rates[0], "B/s"), _si(rates[1], "B/s"), pair.ratio * schemes.nbytes / words.nbytes)


def two_threads(clock: Callable, settings: Settings) -> Reading:
    """Two threads beside one: CPU time that they waste, or wall time that they save."""
    _, _, one = population_of("random", 64, 8, 262_144)
    pair = compare(partial(one, threads=2), one, settings.rounds, settings.seconds, clock)
    ratio = 1 / pair.ratio if clock is cpu else pair.ratio
    return Reading(f"{pair.ours * 1e3:.3g} ms", f"{pair.rival * 1e3:.3g} ms", ratio)


# Generations -----------------------------------------------------------------------------------------------


def our_search(problem: sp.Problem, population: int) -> Callable[[int], float]:
    """Make a search of so many generations, from the start each time."""

    def run(generations: int) -> float:
        stop = sp.MaxGenerations(generations)
        return sp.solve(problem, population=population, stop=stop, threads=1).plan.cost

    return run


def generation(rivals: list[Callable[[int], float]], population: int, settings: Settings) -> Reading:
    """Time whole generations against the fastest rival."""
    ours = our_search(family(64, 8), population)
    lengths = [generations_for(rival, settings.seconds) for rival in rivals]
    speeds = [cpu(partial(rival, n)) / n for rival, n in zip(rivals, lengths, strict=True)]
    best = int(np.argmin(speeds))
    generations = generations_for(ours, settings.seconds), lengths[best]
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
    lengths = 1, generations_for(searches[1], settings.seconds)
    pair = compare_generations(*searches, lengths, settings.rounds)
    rates = sizes[0] / pair.ours, sizes[1] / pair.rival
    return Reading(_si(rates[0], "children/s"), _si(rates[1], "children/s"), pair.ratio * sizes[0] / sizes[1])


# Searches --------------------------------------------------------------------------------------------------


def search_time(problem: sp.Problem, reference: float, seed: int, cap: float) -> float:
    """CPU seconds until a plan costs at most 1 % more than the reference; infinite above the cap."""
    stop = sp.Target(1.01 * reference) | sp.MaxRuntime(cap)
    results: list[sp.Result] = []
    seconds = cpu(lambda: results.append(sp.solve(problem, seed=seed, stop=stop, threads=1)))
    plan = results[0].plan
    return seconds if plan.feasible and plan.cost <= 1.01 * reference else float("inf")


def search(L: int, T: int, seeds: int, settings: Settings) -> Reading:
    """Search problems without limits, each with a seed of its own."""
    problems = [family(L, T, seed) for seed in range(min(seeds, settings.seeds))]
    references = [optimum(problem).cost for problem in problems]
    return _search_reading(problems, references, "optimum", settings)


def search_limited(L: int, T: int, settings: Settings) -> Reading:
    """Search problems with limits."""
    known = [BEST_KNOWN[L, T, seed] for seed in range(5)][: settings.seeds]
    problems = [family(L, T, seed, limit=LIMIT) for seed in range(len(known))]
    gap = max(best.cost / best.bound - 1 for best in known)
    return _search_reading(problems, [best.cost for best in known], f"best known, gap {gap:.1%}", settings)


def _search_reading(problems, references, rival: str, settings: Settings) -> Reading:
    pairs = enumerate(zip(problems, references, strict=True))
    times = [search_time(problem, reference, seed, settings.cap) for seed, (problem, reference) in pairs]
    reached = sum(np.isfinite(times))
    middle = median(times)
    ours = f"{middle:.3g} s" if np.isfinite(middle) else f"never in {settings.cap:g} s"
    return Reading(f"{ours}, {reached} of {len(times)}", rival, middle)


# The table -------------------------------------------------------------------------------------------------


def rows() -> Iterator[Row]:
    yield from scoring_rows()
    yield from generation_rows()
    yield from scaling_rows()
    yield from search_rows()


def scoring_rows() -> Iterator[Row]:
    for kind, L, T, reach in (
        ("random", 64, 2, 12),
        ("random", 64, 8, 9),
        ("random", 64, 64, 5),
        ("evolved", 64, 8, 3.9),
        ("evolved", 64, 64, 3.9),
        ("evolved", 256, 8, 3.9),
    ):
        yield Row(f"evaluate / numba, {kind} L={L} T={T}", partial(against_numba, kind, L, T), reach)
    yield Row("evaluate / NumPy, random L=64 T=8", partial(against_numpy, "random", 64, 8), 50)


LIBRARIES = {"pymoo": 1000, "DEAP": 100, "PyGAD": 300, "pygmo": 180, "evosax": 39}  # ratio to reach


def generation_rows() -> Iterator[Row]:
    for population, reach in ((1_000, 23), (10_000, 23), (100_000, 8)):
        what = f"generation / numba genetic, population {population:,}"
        yield Row(what, partial(against_numba_genetic, population), reach)
    for library, reach in LIBRARIES.items():
        for population in (1_000, 10_000):
            what = f"generation / {library}, population {population:,}"
            yield Row(what, partial(against_peer, library, population), reach)


def scaling_rows() -> Iterator[Row]:
    yield Row("evaluate, population 1M / 16k, random", large_population, 0.9)
    yield Row("generation, population 1M / 16k", large_generation, 0.37)
    yield Row("time per gene, L=256 / L=64, random", partial(time_per_scheme, (256, 8), (64, 8)), 1.1, True)
    yield Row("time per gene, T=64 / T=2, random", partial(time_per_scheme, (64, 64), (64, 2)), 2.4, True)
    yield Row("CPU time, 2 threads / 1", partial(two_threads, cpu), 1.1, True)
    yield Row("speed-up on the wall, 2 threads / 1", partial(two_threads, wall), 1.8)
    yield Row("evaluate of one scheme, us / population", one_scheme, 5, True)
    yield Row("bytes scored / bytes read, evolved L=256", bandwidth, 0.25)


def search_rows() -> Iterator[Row]:
    for L, T, seeds, reach in ((16, 4, 10, 0.01), (64, 8, 10, 0.08), (64, 64, 5, 1.0), (256, 8, 5, 1.0)):
        what = f"search, CPU s to 1 %, L={L} T={T}"
        yield Row(what, partial(search, L, T, seeds), reach, True)
    for L, T in ((64, 64), (256, 8)):
        what = f"search, CPU s to 1 %, L={L} T={T}, limits"
        yield Row(what, partial(search_limited, L, T), 1.0, True)


def _si(value: float, unit: str) -> str:
    for prefix, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:.3g} {prefix} {unit}"
    return f"{value:.3g} {unit}"


def _cells(row: Row, settings: Settings) -> tuple[str, ...]:
    reading = row.measure(settings)
    if isinstance(reading, str):
        return row.what, "-", reading, "", row.target()
    style = "green" if row.met(reading.ratio) else "red"
    return row.what, reading.ours, reading.rival, f"[{style}]{reading.ratio:.3g}[/]", row.target()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="measure the rows whose name holds this text")
    parser.add_argument("--quick", action="store_true", help="shorter rounds, fewer seeds: rough figures")
    options = parser.parse_args()
    one_thread()
    table = Table("what", "ours", "rival's", "ratio", "to reach")
    progress, console = Console(stderr=True), Console(width=120)
    for row in rows():
        if options.only in row.what:
            progress.print(f"measuring {row.what} ...", style="dim")
            table.add_row(*_cells(row, QUICK if options.quick else THOROUGH))
    console.print(table)
    console.print(NOTES, markup=False, highlight=False)


if __name__ == "__main__":
    main()
