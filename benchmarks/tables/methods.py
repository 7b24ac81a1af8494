"""Print how well methods choose a device type for each layer: costs beside the proven optimum, and CPU time.

python -m benchmarks.tables.methods [--only SUBSTRING] [--quick]
"""

import argparse
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from itertools import islice
from statistics import median
from typing import NamedTuple

# Idle threads of a BLAS spin, which counts as CPU time; numpy reads this when it is imported.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from rich.console import Console
from rich.table import Table

import stageplan as sp
from benchmarks.support.instances import WORKLOADS, family, mixed, on_kin
from benchmarks.support.measure import cpu, no_garbage_collection
from benchmarks.tables.reinforce import learn

MOST_SCHEMES = 1 << 18  # of brute force
RUNS = 100  # schemes that Bayesian optimisation begins with, behind those of one type
LIMIT = 4  # devices of each type, in the family with limits

NOTES = """\
Costs as multiples of the optimum, which method "exact" proves and which uses two types or more; "none": no
plan within the limits was found. All are provisioned exactly. One core; CPU seconds (time.process_time).
Workloads: the built-in examples with their goals, profiles of PipeDream at eight times a V100's throughput,
  and the main family of benchmarks/support/instances.py. Types, but for the family's: like those of the
  example's cluster (the profiles': V100, T4, A100), with log-normal speeds by kind of layer and prices; where
  one type alone is best, half of its devices are taken away, as often as it takes. One problem a column and
  number of types, with one seed each; medians of the columns' evaluations and seconds.
LSTM, RNN, genetic: as solve runs them, until 200 generations are no better. Their evaluations are mostly
  those of local search, which looks at many plans without scoring a whole one.
LSTM alone, RNN alone: the best plan of {episodes:,} episodes of the policy, without local search.
random: as many evaluations as LSTM, but {random:,} at most; random episodes: as many as a policy alone.
  Both draw runs of layers, as the first population of genetic does, not layer by layer.
Bayesian: Optuna's TPESampler, multivariate, one categorical a layer, of types that can run it; it minimises
  the logarithm of the cost with the violation of the limits as constraint, and begins with the plans of one
  type and {runs} schemes of random runs (without them it is mostly worse). It gets {bayes:g} CPU s, more
  than any other method here takes at the median, in which it comes to fewer evaluations.
brute force: where there are at most {most:,} schemes."""


@dataclass(frozen=True)
class Settings:
    """How far to go."""

    types: tuple[int, ...]
    workloads: int  # number of columns
    episodes: int  # of a policy alone
    random: int  # most schemes
    bayes: float  # CPU seconds


THOROUGH = Settings(types=(2, 4, 8, 16, 64), workloads=7, episodes=10_000, random=1_000_000, bayes=4.0)
QUICK = Settings(types=(2, 8), workloads=3, episodes=2_000, random=100_000, bayes=1.0)


@dataclass(frozen=True)
class Case:
    """A problem, its best plan, and how many schemes the methods before have scored on it."""

    best: sp.Plan
    settings: Settings
    scored: dict[str, int] = field(default_factory=dict)

    @property
    def problem(self) -> sp.Problem:
        return self.best.problem


class Found(NamedTuple):
    """The best cost of a number of scored schemes; infinite if no plan is feasible."""

    cost: float
    evaluations: int


Method = Callable[[Case], Found | None]  # None where it cannot be run


# Methods ---------------------------------------------------------------------------------------------------


def _cost(plan: sp.Plan) -> float:
    return plan.cost if plan.feasible else math.inf


def solved(case: Case, method: str, **options: object) -> Found:
    result = sp.solve(case.problem, method, threads=1, **options)
    return Found(_cost(result.plan), result.evaluations)


def brute_force(case: Case) -> Found | None:
    if case.problem.n_labels**case.problem.n_layers > MOST_SCHEMES:
        return None
    return solved(case, "enumerate")


def alone(cell: str, case: Case) -> Found:
    """Let a policy learn without local search."""
    search = learn(case.problem, 0, rnn=cell == "rnn")
    while search.evaluations < case.settings.episodes:
        search.step()
    return Found(_cost(sp.Plan.of(case.problem, search.best)), search.evaluations)


def random(case: Case) -> Found:
    most = case.settings.random
    return solved(case, "random", stop=sp.MaxEvaluations(min(case.scored.get("LSTM", most), most)))


def random_episodes(case: Case) -> Found:
    return solved(case, "random", stop=sp.MaxEvaluations(case.settings.episodes))


def one_type(choose: Callable[[list[float]], float], case: Case) -> Found:
    """Choose of the plans of one type alone."""
    problem = case.problem
    plans = [sp.Plan.of(problem, np.full(problem.n_layers, t)) for t in range(problem.n_types)]
    return Found(choose([_cost(plan) for plan in plans]), len(plans))


def runs(problem: sp.Problem, rng: np.random.Generator) -> list[int]:
    """Draw a scheme as the native searches do: few long runs of layers, or many short ones."""
    change = 0.5 ** rng.integers(problem.n_layers.bit_length())
    scheme = [0] * problem.n_layers
    for layer in range(problem.n_layers):
        begins = layer == 0 or rng.random() < change
        scheme[layer] = int(rng.integers(problem.n_labels)) if begins else scheme[layer - 1]
    return scheme


def bayesian(case: Case) -> Found | None:
    """Search with Optuna, whose constraints are met where they are at most 0."""
    if not find_spec("optuna"):
        return None
    import optuna

    problem, settings = case.problem, case.settings
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(multivariate=True, seed=0)
    study = optuna.create_study(sampler=sampler)
    able = {f"layer{i}": np.flatnonzero(times < math.inf).tolist() for i, times in enumerate(problem.compute)}
    rng, best, end = np.random.default_rng(0), math.inf, time.process_time() + settings.bayes
    firsts = [[t] * problem.n_layers for t in range(problem.n_types)]
    for first in (*firsts, *(runs(problem, rng) for _ in range(RUNS))):
        pairs = zip(able.items(), first, strict=True)
        study.enqueue_trial({name: t if t in types else types[0] for (name, types), t in pairs})
    while time.process_time() < end:
        trial = study.ask()
        scheme = [trial.suggest_categorical(name, types) for name, types in able.items()]
        scores = sp.evaluate(problem, np.array([scheme], np.int8), threads=1)
        trial.set_constraint("limits", float(scores.violation[0]))
        study.tell(trial, math.log(scores.cost[0]))
        best = min(best, scores.cost[0] if scores.violation[0] == 0 else math.inf)
    return Found(best, len(study.trials))


METHODS: dict[str, Method] = {
    "exact": partial(solved, method="exact"),
    "brute force": brute_force,
    "LSTM": partial(solved, method="reinforce"),
    "RNN": partial(solved, method="reinforce", cell="rnn"),
    "LSTM alone": partial(alone, "lstm"),
    "RNN alone": partial(alone, "rnn"),
    "genetic": partial(solved, method="genetic"),
    "greedy": partial(solved, method="greedy"),
    "Bayesian": bayesian,
    "random": random,
    "random episodes": random_episodes,
    "one type, best": partial(one_type, min),
    "one type, worst": partial(one_type, max),
}

# The tables ------------------------------------------------------------------------------------------------


def workloads() -> Iterator[tuple[str, Callable[[int, int], sp.Problem]]]:
    """Name each column, and how to make its problem of a number of types and a seed."""
    for name in ("ctr", "resnet50", "bert-large"):
        yield name, partial(on_kin, name)
    yield "L=16", partial(family, 16)
    yield f"L=64, {LIMIT} each", partial(family, 64, limit=LIMIT)
    if WORKLOADS.is_dir():
        for name in ("vgg16", "gnmt"):
            yield name, partial(on_kin, name)


class Reading(NamedTuple):
    """A method on a problem."""

    ratio: float  # of its cost to the optimum
    evaluations: int
    seconds: float  # CPU


def read(name: str, case: Case) -> Reading | None:
    """Run a method; None where it cannot be run."""
    found: list[Found | None] = []
    seconds = cpu(lambda: found.append(METHODS[name](case)))
    if found[0] is None:
        return None
    ratio, evaluations = found[0].cost / case.best.cost, found[0].evaluations
    if ratio < 1 - 1e-8:
        raise ValueError(f"a plan costs {ratio} of the proven optimum of {case.problem}")
    case.scored[name] = evaluations
    return Reading(ratio, evaluations, seconds)


def _ratio(ratio: float) -> str:
    if math.isinf(ratio):
        return "[red]none[/]"
    style = "green" if ratio <= 1.01 else "yellow" if ratio <= 1.05 else "red"
    return f"[{style}]{f'{ratio:.3f}' if ratio < 100 else f'{ratio:.0f}'}[/]"


def _work(readings: list[Reading]) -> tuple[str, str]:
    evaluations = median(reading.evaluations for reading in readings)
    return f"{evaluations:,.0f}", f"{median(reading.seconds for reading in readings):.2g}"


def table_of(columns: dict[str, Case], T: int, rows: dict[str, list[Reading | None]]) -> Table:
    """Costs of each method on each workload with T types."""
    table = Table(
        "cost / optimum", *columns, "evaluations", "CPU s", title=f"{T} types", title_justify="left"
    )
    for name, readings in rows.items():
        done = [reading for reading in readings if reading]
        if done:
            cells = (_ratio(reading.ratio) if reading else "-" for reading in readings)
            table.add_row(name, *cells, *_work(done))
    return _aligned(table)


def summary(rows: dict[str, list[Reading]]) -> Table:
    """All problems together."""
    table = Table(
        "all together", "problems", "no plan", "within 1 %", "median", "worst", "evaluations", "CPU s"
    )
    for name, readings in rows.items():
        ratios = [reading.ratio for reading in readings]
        found = [ratio for ratio in ratios if math.isfinite(ratio)]
        counts = len(ratios), len(ratios) - len(found), sum(ratio <= 1.01 for ratio in ratios)
        extremes = [_ratio(median(ratios)), _ratio(max(found, default=math.inf))]
        table.add_row(name, *map(str, counts), *extremes, *_work(readings))
    return _aligned(table)


def _aligned(table: Table) -> Table:
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="run the methods whose name holds this text")
    parser.add_argument("--quick", action="store_true", help="fewer types, workloads and evaluations")
    options = parser.parse_args()
    settings = QUICK if options.quick else THOROUGH
    progress, console = Console(stderr=True), Console(width=140)
    every: dict[str, list[Reading]] = {name: [] for name in METHODS if options.only in name}
    for T in settings.types:
        columns = {
            name: Case(mixed(partial(make, T)), settings)
            for name, make in islice(workloads(), settings.workloads)
        }
        rows = {}
        for name in every:
            progress.print(f"running {name} on {T} types ...", style="dim")
            with no_garbage_collection():
                rows[name] = [read(name, case) for case in columns.values()]
            every[name].extend(filter(None, rows[name]))
        console.print(table_of(columns, T, rows))
    console.print(summary({name: readings for name, readings in every.items() if readings}))
    notes = NOTES.format(**vars(settings), runs=RUNS, most=MOST_SCHEMES)
    console.print(notes, markup=False, highlight=False)


if __name__ == "__main__":
    main()
