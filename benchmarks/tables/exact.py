"""Print what the exact method proves, how fast, and beside HiGHS, with the figures that it has to reach.

python -m benchmarks.tables.exact [--only SUBSTRING] [--quick]
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from stageplan._core.testing import placement_bound

import stageplan as sp
from benchmarks.support.instances import best_plan, family, published, scheduled
from benchmarks.support.measure import cpu, no_garbage_collection
from benchmarks.support.placement import FOLDER, PUBLISHED, problem_of, search
from stageplan import _core

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))
import arc_model
from strategies import random_problem, redraw

NOTES = """\
All on one core, CPU seconds (time.process_time), medians of five.
brute force: random problems of up to 8 layers and 3 types with limits, memory, split and all objectives.
HiGHS: the least price per hour at the goal's throughput with 1 to 4 devices of each type; the arc
  formulation of tests/arc_model.py, its solver's time alone, ours with all that it needs.
fixed target: the same without limits; the problem's prefix sums are there already.
free target: solve(method="exact") to a gap of 0, or to 0.1 %.
limited: fewer devices of 0 to 6 types than the best plan without limits uses; a third of the problems fastest
  for a price per hour. Proven means optimal or infeasible.
1F1B: 32 microbatches, 6 strategies a type; limited: to 16, 8 and 5 devices of each type.
published graphs: their largest load; contiguous: read, ordered and proven, beside the seconds of their
  program; anywhere: solve with merge "type"; at least: a bound of any placement."""

CAP = 2.0  # CPU seconds of a limited instance
SEARCH = 0.2  # and of a genetic search to 1 % of the optimum


class Row(NamedTuple):
    """A line of the table; `measure` takes whether to be quick."""

    what: str
    measure: Callable[[bool], str]
    reach: str
    aim: str


def timed(work: Callable[[], object], rounds: int = 5) -> float:
    work()
    return median(cpu(work) for _ in range(rounds))


# Correctness -----------------------------------------------------------------------------------------------


def small(rng: np.random.Generator) -> sp.Problem:
    def drawn() -> sp.Problem:
        fixed = {
            "split": bool(rng.random() < 0.5),
            "objective": str(rng.choice(["cost", "throughput", "price"])),
            "max_devices_per_stage": int(rng.integers(1, 9)),
        }
        arguments = random_problem(rng, int(rng.integers(1, 9)), int(rng.integers(1, 4)), **fixed)
        return sp.Problem.from_arrays(**arguments)

    return redraw(drawn, lambda problem: problem.n_labels**problem.n_layers <= 50_000)


def agrees(problem: sp.Problem) -> bool:
    best, found = sp.solve(problem, "enumerate"), sp.solve(problem, "exact")
    if best.status != found.status:
        return False
    a, b = (
        {"cost": plan.cost, "throughput": plan.time, "price": plan.price}[problem.goal.objective]
        for plan in (best.plan, found.plan)
    )
    return not best.plan.feasible or abs(a - b) <= 1e-9 * a


def brute_force(quick: bool) -> str:
    rng, n = np.random.default_rng(0), 50 if quick else 500
    return f"{sum(agrees(small(rng)) for _ in range(n))} of {n}"


# Beside HiGHS ----------------------------------------------------------------------------------------------


def limited_at_target(L: int, T: int, seed: int) -> sp.Problem:
    return family(L, T, seed, limit=np.random.default_rng(seed).integers(1, 5, T))


def beside_highs(L: int, T: int, quick: bool) -> str:
    ratios, same, seeds = [], 0, range(2 if quick else 5)
    for seed in seeds:
        problem = limited_at_target(L, T, seed)

        def ours(problem: sp.Problem = problem) -> tuple[float, float, object]:
            return _core.testing.cheapest_at(
                _core.Scorer(problem.core, None), 1 / problem.goal.min_throughput
            )

        rival, price = arc_model.model(problem), []
        seconds = cpu(lambda rival=rival, price=price: price.append(arc_model.price(rival)))
        found, bound, _ = ours()
        same += bool(
            found == price[0] or np.isclose(found, price[0], rtol=1e-7, atol=0)
        ) and bound >= found * (1 - 1e-9)
        ratios.append(seconds / timed(ours))
    return f"{same} of {len(seeds)} equal, {min(ratios):.0f}x to {max(ratios):.0f}x faster"


# Speed -----------------------------------------------------------------------------------------------------


def fixed_target(L: int, T: int, quick: bool) -> str:
    times = []
    for seed in range(1 if quick else 3):
        scorer = family(L, T, seed).scorer(None)
        times.append(timed(partial(_core.testing.cheapest_at, scorer, 1.0)))
    return f"{1e3 * median(times):.3g} ms"


def free_target(L: int, T: int, gap: float, quick: bool) -> str:
    times = []
    for seed in range(2 if quick else 5):
        problem = family(L, T, seed)
        times.append(timed(partial(to_gap, problem, gap), 1 if L > 256 else 5))
    return f"{1e3 * median(times):.3g} ms (slowest {1e3 * max(times):.3g})"


def to_gap(problem: sp.Problem, gap: float) -> None:
    if gap == 0:
        assert sp.solve(problem, "exact").gap == 0
        return
    exact = _core.Exact(problem.core, np.empty((0, problem.n_layers), np.int8))
    while not exact.done and exact.best_score.cost > (1 + gap) * exact.bound:
        exact.step()


def limited(seed: int) -> sp.Problem:
    """Take devices away from up to six types, those first that the best plan without limits uses."""
    rng = np.random.default_rng(seed)
    L, T = int(rng.choice([16, 32, 64, 128, 256])), int(rng.choice([4, 8, 16, 32]))
    plan = sp.solve(family(L, T, seed), "exact").plan
    counts = np.zeros(T)
    for stage in plan.stages:
        counts[plan.problem.label_types[stage.label]] += stage.devices
    limit = np.full(T, np.inf)
    used, idle = np.flatnonzero(counts), np.flatnonzero(counts == 0)
    for t in [*rng.permutation(used), *rng.permutation(idle)][: rng.integers(0, 7)]:
        limit[t] = rng.integers(0, max(1, counts[t])) if counts[t] else rng.integers(0, 4)
    if not limit.any():
        limit[0] = 1
    goal = {}
    if rng.random() < 0.3:
        goal = {"objective": "throughput", "max_price": plan.price * rng.uniform(1.2, 3)}
    return family(L, T, seed, limit=limit, **goal)


def many_limited(quick: bool) -> str:
    proven, times, n = 0, [], 20 if quick else 200
    for seed in range(n):
        problem, results = limited(seed), []
        times.append(
            cpu(lambda p=problem, r=results: r.append(sp.solve(p, "exact", stop=sp.MaxRuntime(CAP))))
        )
        proven += results[0].proven and times[-1] <= CAP
    return f"{proven} of {n}, median {1e3 * median(times):.3g} ms"


def under_schedule(L: int, T: int, quick: bool) -> str:
    times = []
    for seed in range(1 if quick else 5):
        results: list[sp.Result] = []
        times.append(cpu(lambda s=seed, r=results: r.append(sp.solve(scheduled(L, T, s), "exact"))))
        assert results[0].status == "optimal"
    return f"{1e3 * median(times):.3g} ms (slowest {1e3 * max(times):.3g})"


def limited_under_schedule(L: int, T: int, quick: bool) -> str:
    proven, times = 0, []
    for seed in range(2 if quick else 6):
        for limit in (16, 8, 5):
            problem, results = scheduled(L, T, seed, limit), []
            times.append(
                cpu(lambda p=problem, r=results: r.append(sp.solve(p, "exact", stop=sp.MaxRuntime(CAP))))
            )
            proven += results[0].proven and times[-1] <= CAP
    return f"{proven} of {len(times)}, median {1e3 * median(times):.3g} ms"


def searched_under_schedule(L: int, T: int, quick: bool) -> str:
    """Search genetically until a plan costs at most 1 % more than the proven optimum."""
    times, seeds = [], range(2 if quick else 10)
    for seed in seeds:
        best = best_plan(scheduled(L, T, seed)).cost
        problem, stop = scheduled(L, T, seed), sp.Target(1.01 * best) | sp.MaxRuntime(CAP)
        times.append(cpu(lambda p=problem, s=stop: sp.solve(p, "genetic", population=128, stop=s)))
    within = sum(seconds <= SEARCH for seconds in times)
    spread = f"median {1e3 * median(times):.3g} ms (slowest {1e3 * max(times):.3g})"
    return f"{within} of {len(seeds)} in {SEARCH:g} s, {spread}"


def contiguous(name: str, quick: bool) -> str:
    """Read a published graph and prove its best contiguous split."""

    def work() -> sp.Result:
        return sp.solve(published(FOLDER / f"{name}.json"), "exact", stop=sp.MaxRuntime(10))

    result, seconds = work(), timed(work, 1 if quick else 5)
    ratio = PUBLISHED[name].seconds / seconds
    return f"{result.plan.time:.9g} ({result.status}), {1e3 * seconds:.3g} ms, {ratio:.2g}x faster"


def placed(name: str, quick: bool) -> str:
    """Place the layers of a published graph anywhere, within a number of CPU seconds."""
    seconds, known = 1.0 if quick else 5.0, PUBLISHED[name].known
    run = search(problem_of(name), 0, seconds, known)
    bound = placement_bound(problem_of(name).core).time
    return (
        f"{run.found:.9g} in {seconds:g} s (as good as known after {run.reached:.2g} s), at least {bound:.5g}"
    )


# The table -------------------------------------------------------------------------------------------------


def rows() -> Iterator[Row]:
    yield Row("equals brute force", brute_force, "500 of 500", "")
    for L, T in ((16, 4), (32, 8), (64, 8)):
        yield Row(f"beside HiGHS, L={L} T={T}", partial(beside_highs, L, T), "20x", "100x")
    yield Row("limited, proven in 2 s", many_limited, "95 %", "100 %")
    yield Row("fixed target, L=64 T=8", partial(fixed_target, 64, 8), "0.05 ms", "0.02 ms")
    yield Row("fixed target, L=1000 T=64", partial(fixed_target, 1000, 64), "20 ms", "5 ms")
    yield Row("free target, L=64 T=8", partial(free_target, 64, 8, 0.0), "3 ms", "1 ms")
    yield Row("free target, L=256 T=64", partial(free_target, 256, 64, 0.0), "200 ms", "50 ms")
    yield Row("free target to 0.1 %, L=1000 T=64", partial(free_target, 1000, 64, 1e-3), "2 s", "0.5 s")
    for L, T, reach, aim in ((32, 2, "20 ms", "5 ms"), (64, 4, "0.4 s", "50 ms"), (128, 8, "6 s", "1 s")):
        yield Row(f"1F1B, L={L} T={T}", partial(under_schedule, L, T), reach, aim)
    yield Row(
        "1F1B limited, L=64 T=4, proven in 2 s", partial(limited_under_schedule, 64, 4), "80 %", "100 %"
    )
    yield Row(
        "1F1B genetic, L=64 T=8, to 1 % of the optimum",
        partial(searched_under_schedule, 64, 8),
        "10 of 10 in 0.2 s",
        "0.05 s",
    )
    for name, known in PUBLISHED.items() if FOLDER.is_dir() else ():
        yield Row(f"{name}, contiguous", partial(contiguous, name), f"{known.contiguous:.9g}", "")
        yield Row(f"{name}, anywhere", partial(placed, name), f"{known.known:.9g}", "lower")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="measure the rows whose name holds this text")
    parser.add_argument("--quick", action="store_true", help="fewer seeds: rough figures")
    options = parser.parse_args()
    table = Table("what", "measured", "reach", "aim")
    progress, console = Console(stderr=True), Console(width=140)
    for row in rows():
        if options.only in row.what:
            progress.print(f"measuring {row.what} ...", style="dim")
            with no_garbage_collection():
                table.add_row(row.what, row.measure(options.quick), row.reach, row.aim)
    console.print(table)
    console.print(NOTES, markup=False, highlight=False)


if __name__ == "__main__":
    main()
