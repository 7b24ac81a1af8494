"""The built-in cost of a stage as a function: exact solves beside those of the built-in cost, and fills.

``python -m benchmarks.bench_stage_cost`` prints medians of CPU time, and of the ratios, in turns in one run.
"""

from functools import partial

import numpy as np
import pytest

import stageplan as sp
from benchmarks.support.instances import family
from benchmarks.support.measure import compare, cpu

COUNTS = 64  # devices that a stage may have
GOALS = {"each stage alone": {"max_devices_per_stage": COUNTS}, "shared limits": {"limit": COUNTS}}
SIZES = ((16, 4), (64, 8), (128, 8))
SEEDS = range(3)


@sp.stage_cost
def amdahl(stage, layers, device):
    """Take as long as by stageplan's own model."""
    compute = layers.sum.serial + layers.sum.parallel / stage.devices
    transfer = layers.last.send if stage.last + 1 < stage.total else 0.0
    beta = device.transfer_parallel
    return max(compute, transfer * (1 - beta) + transfer * beta / stage.devices)


@sp.stage_cost
def rising(stage, layers, device):
    """Take longer again with more than some devices, which hold less each: no option replaces another."""
    together = 1 + 0.0005 * (stage.devices - 1) ** 2
    return (layers.sum.serial + layers.sum.parallel / stage.devices) * together, 1 / stage.devices


def rewritten(problem: sp.Problem, cost: sp.StageCost = amdahl, threads: int = 1) -> sp.Problem:
    parallel = problem.compute * problem.compute_parallel
    return problem.with_stage_cost(
        cost, layers={"serial": problem.compute - parallel, "parallel": parallel}, threads=threads
    )


def solve(problem: sp.Problem) -> sp.Result:
    return sp.solve(problem, "exact", threads=1)


def same(found: sp.Result, best: sp.Result) -> bool:
    """Whether both plans are proven to be the best, and cost the same."""
    return found.proven and best.proven and np.isclose(found.plan.cost, best.plan.cost, rtol=1e-9, atol=0)


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize(("L", "T"), SIZES[:2])
def test_solve(benchmark, L, T, goal):
    problem = family(L, T, **GOALS[goal])
    assert same(benchmark(solve, rewritten(problem)), solve(problem))


@pytest.mark.parametrize("goal", GOALS)
def test_solve_times_that_rise_again(benchmark, goal):
    problem = rewritten(family(6, 2, **GOALS[goal]), rising)
    assert same(benchmark(solve, problem), sp.solve(problem, "enumerate"))


@pytest.mark.parametrize(("L", "T"), [(64, 8), (256, 8)])
def test_fill(benchmark, L, T):
    problem = family(L, T, max_devices_per_stage=COUNTS)
    filled = benchmark.pedantic(rewritten, args=(problem,), rounds=3)
    options = filled.options
    assert len(options.time) == L * (L + 1) // 2 * T * COUNTS
    last = options.of(0, L - 1, T - 1, L)
    serial = (problem.compute * (1 - problem.compute_parallel))[:, -1].sum()
    parallel = (problem.compute * problem.compute_parallel)[:, -1].sum()
    np.testing.assert_allclose(options.time[last], serial + parallel / np.arange(1, COUNTS + 1), rtol=1e-12)


def main() -> None:
    print(
        f"{COUNTS} counts of devices; CPU ms of exact solves: built in, the same as a function, their ratio,"
    )
    print("the first solve after the fill, and the fill")
    for L, T in SIZES:
        for goal, limits in GOALS.items():
            for seed in SEEDS:
                problem = family(L, T, seed, **limits)
                rewritten(problem)
                filled = []
                fill = cpu(lambda problem=problem, filled=filled: filled.append(rewritten(problem)))
                first = cpu(partial(solve, filled[0]))
                pair = compare(partial(solve, problem), partial(solve, filled[0]))
                agreed = "" if same(solve(filled[0]), solve(problem)) else "  THE PLANS DIFFER"
                print(
                    f"{L:>3} x {T} seed {seed} {goal:>16}  {1e3 * pair.ours:7.2f} {1e3 * pair.rival:7.2f}"
                    f"  {pair.ratio:5.2f}  {1e3 * first:7.2f} {1e3 * fill:7.1f}{agreed}"
                )


if __name__ == "__main__":
    main()
