"""Print how good the search that learns is, alone and with local search, and the figures to reach.

python -m benchmarks.tables.reinforce [--only SUBSTRING] [--quick]
"""

import argparse
from collections.abc import Callable, Iterator
from math import inf
from statistics import median
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

import stageplan as sp
from benchmarks.support.instances import FAMILIES, best_plan, family
from benchmarks.support.measure import cpu, no_garbage_collection
from stageplan import _core

NOTES = """\
All on one core, CPU seconds (time.process_time). Searches stop by themselves, after 200 generations without a
better plan; costs are fractions of the proven optimum's, of instances whose optimum uses two types or more.
alone: 200 generations of 32 episodes without local search and without plans of one type: the best plan that
  the policy chose by itself, and what it decodes in the end.
warm: a policy that has learned one problem for 200 generations begins with a changed one: schemes scored
  until it has a plan as cheap as the best of a cold start's 200 generations (within half a per cent), by
  those of the cold start; median and worst. Alone: without the schemes found before. Solve: all looked at."""

GENERATIONS, EPISODES = 200, 32


class Row(NamedTuple):
    """A line of the table; `measure` takes whether to be quick."""

    what: str
    measure: Callable[[bool], str]
    reach: str
    aim: str


Case = tuple[sp.Problem, float]  # and the cost of its best plan


def instances(
    L: int, T: int, count: int, first: int = 0, name: str = "main", **goal: object
) -> Iterator[Case]:
    """Those of a family, from a seed on, whose proven best plan uses at least two types.

    Raises
    ------
    ValueError
        There are too few among 20 seeds for each.
    """
    found = 0
    for seed in range(first, first + 20 * count):
        problem = family(L, T, seed, **goal) if name == "main" else FAMILIES[name](L, T, seed)
        plan = best_plan(problem)
        if len({stage.type for stage in plan.stages}) >= 2:
            found += 1
            yield problem, plan.cost
        if found == count:
            return
    raise ValueError(f"of {20 * count} problems of {name} with {L} x {T}, {found} mix types; {count} must")


def learn(
    problem: sp.Problem, seed: int, *, rnn: bool = False, learned: _core.Learned | None = None
) -> _core.Reinforce:
    """Begin a search by the policy alone, which has made no generation yet."""
    learned = learned or _core.Learned(rnn, problem.n_types, problem.n_labels, seed)
    none = np.empty((0, problem.n_layers), np.int8)
    return _core.Reinforce(problem.core, learned, EPISODES, seed, 1, none, alone=True)


# Answers ---------------------------------------------------------------------------------------------------


def ratio(plan: sp.Plan, best: float) -> float:
    return plan.cost / best if plan.feasible else inf


def quality(ratios: list[float]) -> str:
    return f"{median(ratios):.4f}; {max(ratios):.4f}"


def small(quick: bool) -> str:
    sizes = ((6, 2), (8, 3), (10, 2), (10, 3))
    cases = [case for L, T in sizes for case in instances(L, T, 1 if quick else 5)]
    found = [sp.solve(p, "reinforce", threads=1).plan.cost <= best * (1 + 1e-8) for p, best in cases]
    return f"{sum(found)} of {len(found)}"


def search(L: int, count: int, seeds: int, **given: object) -> Callable[[bool], str]:
    def measure(quick: bool) -> str:
        cases = list(instances(L, 8, 2 if quick else count, **given))
        runs = [(p, best, seed) for p, best in cases for seed in range(1 if quick else seeds)]
        seconds, ratios = [], []
        for problem, best, seed in runs:
            results: list[sp.Result] = []
            work = lambda: results.append(sp.solve(problem, "reinforce", seed=seed, threads=1))  # noqa: B023, E731
            seconds.append(cpu(work))
            ratios.append(ratio(results[0].plan, best))
        return f"{quality(ratios)} in {median(seconds):.2f} s"

    return measure


def alone(L: int, *, rnn: bool = False, **given: object) -> Callable[[bool], str]:
    def measure(quick: bool) -> str:
        best_ones, decoded = [], []
        for seed, (problem, best) in enumerate(instances(L, 8, 2 if quick else 10, **given)):
            search = learn(problem, seed, rnn=rnn)
            for _ in range(GENERATIONS):
                search.step()
            best_ones.append(ratio(sp.Plan.of(problem, search.best), best))
            scheme = _core.Features(problem.core).decode(search.learned)
            decoded.append(ratio(sp.Plan.of(problem, scheme), best))
        return f"{quality(best_ones)}, decoded {quality(decoded)}"

    return measure


# Warm starts -----------------------------------------------------------------------------------------------


def other_prices(problem: sp.Problem, random: np.random.Generator) -> sp.Problem:
    return problem.replace(price=problem.price * random.lognormal(0, 0.15, problem.n_types))


def other_goal(problem: sp.Problem, random: np.random.Generator) -> sp.Problem:
    return problem.replace(min_throughput=random.uniform(0.6, 1.4), limit=[12.0] * problem.n_types)


def other_network(problem: sp.Problem, random: np.random.Generator) -> sp.Problem:
    """Half as many layers again, of the same kinds in other runs."""
    starts = random.integers(0, problem.n_layers // 4, problem.n_layers // 4 + problem.n_layers // 8) * 4
    rows = (starts[:, None] + np.arange(4)).ravel()
    size = random.lognormal(0, 0.4, (len(rows), 1))
    return sp.Problem.from_arrays(
        problem.compute[rows] * size,
        problem.price,
        send=problem.send[rows] * size[::-1],
        compute_parallel=problem.compute_parallel[rows],
        transfer_parallel=problem.transfer_parallel,
        examples=problem.goal.examples,
        min_throughput=1.0,
    )


Track = list[tuple[int, float]]  # schemes scored and the best feasible cost so far, after each generation


def track_alone(problem: sp.Problem, seed: int, policy: sp.Policy | None) -> tuple[Track, sp.Policy]:
    """Learn without local search; of a policy its weights alone are used."""
    learned = None
    if policy is not None:
        learned = policy.learned()
        learned.turn_to_another()
    search, seen = learn(problem, seed, learned=learned), []
    for _ in range(GENERATIONS):
        search.step()
        score = search.best_score
        seen.append((search.evaluations, score.cost if score.violation == 0 else inf))
    return seen, sp.Policy.of(problem, search, seed)


def track(problem: sp.Problem, seed: int, policy: sp.Policy | None) -> tuple[Track, sp.Policy]:
    """Learn as solve() does."""
    seen = []

    def callback(progress: sp.Progress) -> None:
        seen.append((progress.evaluations, progress.cost if progress.violation == 0 else inf))

    stop = sp.MaxGenerations(GENERATIONS)
    result = sp.solve(problem, "reinforce", seed=seed, policy=policy, stop=stop, callback=callback, threads=1)
    return seen, result.policy


def reached(seen: Track, cost: float) -> float:
    return next((evaluations for evaluations, least in seen if least <= cost), inf)


def warm(L: int, change: Callable[..., sp.Problem], track: Callable[..., tuple[Track, sp.Policy]]):
    def measure(quick: bool) -> str:
        fractions = []
        for seed, (problem, _) in enumerate(instances(L, 8, 2 if quick else 10, first=700)):
            policy = track(problem, seed, None)[1]
            changed = change(problem, np.random.default_rng(seed))
            cold, warm = track(changed, seed + 1000, None)[0], track(changed, seed + 2000, policy)[0]
            cost = 1.005 * cold[-1][1]
            fractions.append(reached(warm, cost) / reached(cold, cost))
        return f"{median(fractions):.2f}; {max(fractions):.2f}"

    return measure


# The table -------------------------------------------------------------------------------------------------


def rows() -> Iterator[Row]:
    yield Row("optimum at L <= 10, T <= 3", small, "20 of 20", "")
    yield Row(
        "L=16 T=8, 10 x 3 seeds: median; worst", search(16, 10, 3), "1.01; 1.05 in 2 s", "1.00; 1.02 in 0.3 s"
    )
    yield Row("the same on other seeds", search(16, 10, 3, first=500), "1.01; 1.05", "1.00; 1.02")
    yield Row("L=64 T=8, limit 4: median; worst", search(64, 10, 1, limit=4), "1.05", "1.01")
    yield Row("the same on other seeds", search(64, 10, 1, first=500, limit=4), "1.05", "1.01")
    for name in ("one cheap type", "faster than asked"):
        yield Row(f"L=64 T=8, {name}", search(64, 5, 1, name=name), "1.05", "1.01")
    for cell in ("lstm", "rnn"):
        for L in (16, 64):
            yield Row(f"{cell} alone, L={L} T=8: median; worst", alone(L, rnn=cell == "rnn"), "", "")
    for what, change in (("prices", other_prices), ("goal", other_goal), ("network", other_network)):
        for L in (16, 64):
            yield Row(f"warm / cold, L={L}, other {what}, alone", warm(L, change, track_alone), "0.5", "0.1")
            yield Row(f"warm / cold, L={L}, other {what}, solve", warm(L, change, track), "0.5", "0.1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="measure the rows whose name holds this text")
    parser.add_argument("--quick", action="store_true", help="fewer instances: rough figures")
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
