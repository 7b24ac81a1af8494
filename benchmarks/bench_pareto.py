"""Fronts of 20 proven points beside 20 single proofs: the same answers, and the CPU time of both.

``python -m benchmarks.bench_pareto`` prints the table; pytest checks the answers.
"""

from functools import partial
from statistics import median

import pytest

import stageplan as sp
from benchmarks.support.instances import family
from benchmarks.support.measure import compare

POINTS = 20
SPAN = 3.0  # throughput of the last point, of that of the cheapest plan
CASES = [(limit, seed) for limit in (None, 12, 8) for seed in range(4)]
MOST_WORK = sp.MaxGenerations(64)  # of work for a single proof, for some limits defy it


def ends(limit: int | None, seed: int, L: int = 64, T: int = 8) -> tuple[sp.Problem, float]:
    """Make a problem of the main family, and the throughput at which its front ends."""
    problem = family(L, T, seed, limit)
    return problem, SPAN * sp.solve(problem, "exact").plan.throughput


def front(problem: sp.Problem, most: float) -> sp.Front:
    return sp.pareto(problem, points=POINTS, max_throughput=most)


def one_by_one(problem: sp.Problem, most: float) -> list[sp.Result]:
    """Solve for the same throughputs, each from nothing."""
    slowest = sp.solve(problem, "exact").plan.throughput
    targets = [slowest * (most / slowest) ** (i / (POINTS - 1)) for i in range(POINTS)]
    return [sp.solve(problem.replace(min_throughput=x), "exact", stop=MOST_WORK) for x in targets]


@pytest.mark.parametrize(("limit", "seed"), [(None, 0), (12, 0)])
def test_front(benchmark, limit, seed):
    problem, most = ends(limit, seed, 24, 4)
    found = benchmark(front, problem, most)
    assert found.status == "optimal"
    singles = [single for single in one_by_one(problem, most) if single.plan.feasible]
    assert len(singles) > 5
    for single in singles:
        fast = [p.plan.cost for p in found.points if p.plan.throughput >= single.plan.throughput * (1 - 1e-8)]
        assert min(fast) >= single.plan.cost * (1 - 1e-8)


def main() -> None:
    print("64 layers, 8 types, 20 throughputs; CPU ms of a whole front, of 20 single proofs, and the ratio")
    ratios = []
    for limit, seed in CASES:
        problem, most = ends(limit, seed)
        pair = compare(partial(front, problem, most), partial(one_by_one, problem, most), rounds=5)
        found = front(problem, most)
        proven = sum(point.status == "optimal" for point in found.points)
        ratios.append(pair.ratio)
        print(
            f"limit {limit or 'none':>4} seed {seed}  {1e3 * pair.ours:7.1f} {1e3 * pair.rival:7.1f}"
            f"  {pair.ratio:5.1f}   {proven} of {len(found.points)} different points proven"
        )
    print(f"median ratio {median(ratios):.1f}, least {min(ratios):.1f}")


if __name__ == "__main__":
    main()
