"""Other planners' models as user-defined stage costs: their answers and seconds, ours, and the proof.

    python -m benchmarks.tables.peers

The functions are those of ``stageplan docs own-physics``. Ours are CPU seconds to fill the options and to
solve them, once compiled; theirs are those that came with the data, on the same kind of machine.
"""

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

import stageplan as sp
from benchmarks.support.measure import cpu, no_garbage_collection
from benchmarks.support.own_physics import (
    DNN_PARTITIONING,
    PIPEDREAM,
    Answer,
    dnn_partitioning,
    iteration_of,
    pipedream,
    sailor_runs,
    solve_load,
    solve_pipedream,
)

ROUNDS = 5


class Row(NamedTuple):
    """A case of a peer, beside our answer."""

    peer: str
    case: str
    answer: Answer
    value: float
    seconds: float
    proof: str


def planned(
    peer: str, case: str, answer: Answer, problem: sp.Problem, solve: Callable[[sp.Problem], sp.Result]
) -> Row:
    """Solve a case; the first time compiles."""
    result = solve(problem)
    seconds = median(cpu(partial(solve, problem)) for _ in range(ROUNDS))
    return Row(peer, case, answer, result.plan.time, seconds, result.status)


def rows() -> Iterator[Row]:
    for (model, devices), answer in PIPEDREAM.items():
        problem = pipedream(model, devices)
        yield planned("PipeDream", f"{model} on {devices}", answer, problem, solve_pipedream)
    for name, answer in DNN_PARTITIONING.items():
        yield planned("dnn-partitioning", name, answer, dnn_partitioning(name), solve_load)
    for run in sailor_runs():
        answer = Answer(run["sailor_formula_seconds"], float("nan"))
        yield Row("Sailor", run["name"], answer, iteration_of(run), float("nan"), "of their plan")


def main() -> None:
    table = Table("peer", "case", "their answer", "ours", "their s", "our CPU s", "times faster", "proof")
    with no_garbage_collection():
        for row in rows():
            theirs, ours = row.answer.seconds, row.seconds
            times = [f"{x:.4g}" if x == x else "" for x in (theirs, ours, theirs / ours)]
            table.add_row(
                row.peer, row.case, f"{row.answer.value:.9g}", f"{row.value:.9g}", *times, row.proof
            )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
