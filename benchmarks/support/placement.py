"""Print how well layers of published graphs are placed, contiguous or not, and how fast the graphs are read.

python -m benchmarks.support.placement [--seconds S] [--seeds N]
"""

import argparse
import os
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

os.environ["OPENBLAS_NUM_THREADS"] = "1"

from msgspec.structs import replace
from rich.console import Console
from rich.table import Table
from stageplan._core.testing import placement_bound

import stageplan as sp
from benchmarks.support.measure import cpu

FOLDER = Path(__file__).parents[3] / "shared" / "workloads" / "dnn-partitioning"


class Published(NamedTuple):
    """Largest load of the best contiguous split and of the best placement known; seconds of their program."""

    contiguous: float
    known: float
    seconds: float


# Tarnawski et al. 2020; what is known of placements: their integer program, or quick annealing.
PUBLISHED = {
    "bert24_inference": Published(17.78990625, 17.71471875, 0.006),
    "bert24_training": Published(41.7458125, 39.789538879394534, 0.006),
    "gnmt_inference": Published(32.910658203125, 31.687310546875, 12.2),
    "resnet50_inference": Published(33.774666015625, 33.774666015625, 0.44),
    "resnet50_training": Published(78.6318125, 78.6318125, 0.50),
    "operators_bert_l-3_inference": Published(27.9185676799125, 21.90838, 1.96),
}

NOTES = """\
All on one core: CPU seconds (time.process_time). read: read_workload, the order chosen, median of 7.
contiguous, known: largest load of the best contiguous split, and of the best placement known before (for
  resnet50 none is known below the contiguous one). found: solve with merge "type", the median and
  the worst of the seeds after so many CPU seconds; green: at or below the known one with every seed.
reached: CPU seconds until the known value, median of the seeds; below the contiguous one for resnet50.
bound: no placement is better; gap: of the best one found."""


def problem_of(name: str) -> sp.Problem:
    """An instance whose devices may hold layers from anywhere."""
    path = FOLDER / f"{name}.json"
    goal = sp.read_goal(path)
    assert goal is not None
    return sp.Problem(sp.read_workload(path), sp.read_cluster(path), replace(goal, merge="type"))


class Run(NamedTuple):
    """The largest load found, and the CPU seconds until a target was reached."""

    found: float
    reached: float


def search(problem: sp.Problem, seed: int, seconds: float, target: float) -> Run:
    """Search for a number of CPU seconds."""
    began, reached = time.process_time(), float("inf")

    def stop(progress: sp.Progress) -> bool:
        nonlocal reached
        now = time.process_time() - began
        if progress.violation == 0 and 1 / progress.throughput <= target * (1 + 1e-6):
            reached = min(reached, now)
        return now >= seconds

    return Run(sp.solve(problem, seed=seed, stop=stop, threads=1).plan.time, reached)


def cells(name: str, seconds: float, seeds: int) -> tuple[str, ...]:
    """A line of the table."""
    published, problem = PUBLISHED[name], problem_of(name)
    read = partial(sp.read_workload, FOLDER / f"{name}.json")
    reading = median(cpu(read) for _ in range(7))
    runs = [search(problem, seed, seconds, published.known) for seed in range(seeds)]
    loads = [run.found for run in runs]
    bound = placement_bound(problem.core).time
    style = "green" if max(loads) <= published.known * (1 + 1e-6) else "red"
    return (
        name,
        f"{1e3 * reading:.2f} ms",
        f"{published.contiguous:.6g}",
        f"{published.known:.6g}",
        f"[{style}]{median(loads):.6g}, {max(loads):.6g}[/]",
        f"{median(run.reached for run in runs):.3g} s",
        f"{bound:.5g}",
        f"{min(loads) / bound - 1:.1%}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="CPU seconds of each search")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds each instance is searched with")
    options = parser.parse_args()
    if not FOLDER.is_dir():
        parser.exit(2, f"the published instances are not at {FOLDER}\n")
    table = Table("instance", "read", "contiguous", "known", "found", "reached", "bound", "gap")
    progress, console = Console(stderr=True), Console(width=120)
    for name in PUBLISHED:
        progress.print(f"measuring {name} ...", style="dim")
        table.add_row(*cells(name, options.seconds, options.seeds))
    console.print(table)
    console.print(NOTES, markup=False, highlight=False)


if __name__ == "__main__":
    main()
