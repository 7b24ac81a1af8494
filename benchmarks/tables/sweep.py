"""Print what sweeps cost beside the native call, their memory, and how they scale.

python -m benchmarks.tables.sweep [--quick]
"""

import argparse
import heapq
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.table import Table

import stageplan as sp
from benchmarks.support.instances import family
from benchmarks.support.measure import cpu
from benchmarks.support.sweeps import write_sweep
from stageplan.engines import run_tasks
from stageplan.sweeps.processes import Processes

NOTES = """\
CPU seconds, of all processes together; set-ups differ in a throughput target and a price.
command: a process of its own, with the start of Python and all imports.
workers: set-ups a CPU second, over those of one process with two threads.
engine: CPU seconds of the caller for each task that does nothing (of Dask: with its scheduler); from it, what
fraction of 10,000 workers is busy while they run chunks of a second, ten each, handed out one at a time."""

WORKERS = 10_000
CHUNK = 2**16  # set-ups
MEMORY = """
import resource, sys, stageplan as sp
results = sp.sweep(sys.argv[1], sys.argv[2], threads=1)
swept = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
results.merge(sys.argv[2] + ".parquet")
front = results.front()
print(swept, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, sum(results.statuses.values()))
"""


@contextmanager
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


def over_solve_many(L: int, T: int, count: int) -> tuple[str, str]:
    """A sweep of count x count set-ups from TOML to Parquet, over the native call."""
    with folder() as place:
        file = write_sweep(place, L, T, count, count, CHUNK)
        sweep = sp.read_sweep(file)
        problem = sweep.problem(0)
        changes = sweep.changes(problem, 0, len(sweep))
        sp.sweep(
            write_sweep(place, 8, 2, 2, 2, CHUNK), place / "first", threads=1
        )  # which imports what it needs
        write_sweep(place, L, T, count, count, CHUNK)
        native = [cpu(lambda: sp.solve_many(problem, **changes, threads=1)) for _ in range(3)]
        swept = [cpu(lambda i=i: sp.sweep(file, place / f"{i}", threads=1)) for i in range(3)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = ["sweep", file, "-o", place / "rows", "--threads", "1"]
        subprocess.run([sys.executable, "-m", "stageplan", *command], stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    base = min(native)
    return (
        f"{count**2:,} set-ups {L} x {T}, TOML to Parquet / solve_many",
        f"{min(swept) / base:.2f} ({min(swept):.2f} / {base:.2f} s); command {whole / base:.2f}",
    )


def alone(L: int, T: int, count: int) -> tuple[str, str]:
    """Exact set-ups of other prices and throughput targets a core-second, and on two threads over one."""
    problem, rng = family(L, T), np.random.default_rng(0)
    price, targets = problem.price * rng.lognormal(0, 0.2, (count, T)), rng.uniform(0.5, 1.5, count)

    def solve(threads: int) -> tuple[float, float]:
        began = time.perf_counter()
        used = cpu(lambda: sp.solve_many(problem, price=price, min_throughput=targets, threads=threads))
        return used, time.perf_counter() - began

    one, two = (np.min([solve(threads) for _ in range(3)], axis=0) for threads in (1, 2))
    return (
        f"solve_many, {count:,} set-ups {L} x {T}",
        f"{count / one[0]:,.0f} a core-second, {1e3 * one[0] / count:.3f} ms each; "
        f"two threads / one: wall {one[1] / two[1]:.2f}, CPU {two[0] / one[0]:.2f}",
    )


def by_workers(workers: int, count: int) -> tuple[str, str]:
    """Set-ups a CPU second of processes, over those of one process with two threads."""
    with folder() as place:
        file = write_sweep(place, 16, 4, count, count, chunk=500)
        sweep = sp.read_sweep(file)
        began = time.perf_counter()
        threads = cpu(lambda: sp.sweep(sweep, place / "threads", threads=2))
        middle = time.perf_counter()
        used = [0.0]

        def measure(_: sp.SweepResults) -> None:
            used[0] = sum(cpu_of(process.pid) for process in multiprocessing.active_children())

        caller = cpu(lambda: sp.sweep(sweep, place / "workers", workers=workers, callback=measure))
        ended = time.perf_counter()
    processes = caller + used[0]
    return (
        f"{workers} workers / 1 process with 2 threads, {count**2:,} set-ups 16 x 4",
        f"{threads / processes:.2f} (wall {(middle - began) / (ended - middle):.2f})",
    )


def cpu_of(number: int) -> float:
    """CPU seconds of a process."""
    fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class AtOnce(Executor):
    """Does each call when it is submitted: what remains is the cost of handing out."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def engine(name: str, make: Callable[[], Executor], tasks: int) -> tuple[str, str]:
    """Cost of a task, and what fraction of many workers it can keep busy."""
    with make() as executor:
        list(run_tasks(executor, abs, range(100)))  # which starts the workers
        seconds = cpu(lambda: sum(1 for _ in run_tasks(executor, abs, range(tasks)))) / tasks
    busy = simulate(seconds, WORKERS, 10 * WORKERS, 1.0)
    return f"engine: {name}", f"{1e6 * seconds:.0f} us a task; {WORKERS:,} workers busy {100 * busy:.0f} %"


def simulate(cost: float, workers: int, tasks: int, seconds: float) -> float:
    """Fraction of workers that are busy, if a caller hands out one task at a time, at a cost each."""
    free = [0.0] * workers
    caller = 0.0
    for _ in range(tasks):
        caller = max(caller, free[0]) + cost
        heapq.heapreplace(free, caller + seconds)
    return tasks * seconds / (workers * max(free))


def dask() -> Executor:
    from distributed import Client, LocalCluster

    return Client(LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)).get_executor()


def million(count: int) -> tuple[str, str]:
    """Peak memory of a sweep of count x count set-ups, and after merging them and finding their front."""
    with folder() as place:
        file = write_sweep(place, 8, 2, count, count, CHUNK)
        command = [sys.executable, "-c", MEMORY, file, place / "rows"]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    swept, merged, rows = map(int, said.split())
    assert rows == count**2
    return (
        f"peak memory, {rows:,} set-ups 8 x 2; with merge and front",
        f"{swept >> 10} MB; {merged >> 10} MB",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer set-ups")
    quick = parser.parse_args().quick
    table = Table("what", "measured", title="Sweeps")
    for row in rows(quick):
        table.add_row(*row)
    Console().print(table, NOTES)


def rows(quick: bool) -> Iterator[tuple[str, str]]:
    yield alone(16, 4, 1000 if quick else 20_000)
    yield alone(64, 8, 100 if quick else 10_000)
    yield over_solve_many(16, 4, 30 if quick else 100)
    yield over_solve_many(8, 2, 50 if quick else 300)
    yield by_workers(2, 40 if quick else 140)
    yield by_workers(4, 40 if quick else 140)
    yield million(200 if quick else 1000)
    tasks = 500 if quick else 5000
    yield engine("hand out alone", AtOnce, tasks)
    yield engine("threads", lambda: ThreadPoolExecutor(2), tasks)
    yield engine("workers", lambda: Processes(2), tasks)
    yield engine("Dask", dask, tasks)


if __name__ == "__main__":
    main()
