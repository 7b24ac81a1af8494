"""Scores among options at a target: by definition, on every instruction set and any number of threads."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference as ref
import reference_options as oracle
from option_problems import draw_problem

import stageplan as sp
from stageplan import _core

TARGETS = (0.05, 0.3, 0.7, 2.0, 10.0)


def choose(problem: sp.Problem, options: list[Any], time: float) -> Any:
    """The first option, by devices, within the stage time; or the fastest one."""
    batch = 1 if problem.goal.schedule else problem.goal.batch or 1
    keyed = [
        (o.devices, o.busy + (0 if problem.goal.schedule else o.sync / batch), o.through, o) for o in options
    ]
    keyed.sort(key=lambda row: (row[0], row[1], row[2] if problem.goal.schedule else 0, row[3].sync))
    within = [row[3] for row in keyed if row[1] <= time * (1 + _core.TOLERANCE)]
    return within[0] if within else min(keyed, key=lambda row: (row[1], row[0]))[3]


def score_at(problem: sp.Problem, scheme: np.ndarray, target: float) -> Any:
    merged, scores = ref.stages(problem, scheme), []
    M, S = problem.goal.microbatches or 1, len(merged)
    time = M / ((M + S - 1) * target) if problem.goal.schedule else 1 / target
    types = [int(problem.label_types[s.label]) for s in merged]
    lists = [
        oracle.least_violating(
            problem, oracle.all_options(problem, s.layers, t), t, oracle.in_flight(problem, S - i)
        )
        for i, (s, t) in enumerate(zip(merged, types, strict=True))
    ]
    for group in sorted({oracle.group(problem, o) for options in lists for o in options}, key=str):
        own = [[o for o in options if oracle.group(problem, o) == group] for options in lists]
        if all(own):
            chosen = [choose(problem, options, time) for options in own]
            scores.append(oracle.score(problem, types, chosen))
    return min(scores, key=lambda s: (s.violation, oracle.objective(problem, s)), default=None)


@pytest.mark.parametrize("part", range(3))
def test_scores_are_those_of_the_formula(part: int) -> None:
    for seed in range(50 * part, 50 * part + 50):
        rng = np.random.default_rng(seed)
        problem = draw_problem(rng, max_layers=7)
        schemes = rng.integers(0, problem.n_labels, (6, problem.n_layers)).astype(np.int8)
        target = float(rng.choice(TARGETS))
        found = sp.evaluate(problem, schemes, target)
        for i, scheme in enumerate(schemes):
            expected = score_at(problem, scheme, target)
            if expected is None:
                continue
            got = (found.violation[i], found.cost[i], 1 / found.throughput[i])
            wanted = (expected.violation, expected.cost, expected.time)
            assert got == pytest.approx(wanted, rel=1e-8, abs=1e-9), (seed, i)


PROGRAM = """
import sys
import numpy as np
import stageplan as sp
from option_problems import draw_problem
digest = []
for seed in range(40):
    rng = np.random.default_rng(seed)
    problem = draw_problem(rng, max_layers=int(rng.integers(1, 140)))
    L = problem.n_layers
    few = np.repeat(rng.integers(0, problem.n_labels, (40, L)), 5, axis=1)[:, :L]
    schemes = np.vstack([few, rng.integers(0, problem.n_labels, (20, L))]).astype(np.int8)
    for threads in (1, 3):
        found = sp.evaluate(problem, schemes, 0.3, threads=threads)
        digest.append(found.cost.tobytes() + found.throughput.tobytes() + found.violation.tobytes())
assert digest[::2] == digest[1::2]
sys.stdout.buffer.write(b"".join(digest))
"""


def test_instruction_sets_and_threads_agree() -> None:
    results = set()
    for name in _core.instruction_sets():
        environment = os.environ | {"STAGEPLAN_ISA": name}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=Path(__file__).parent, env=environment, capture_output=True
        )
        assert done.returncode == 0, done.stderr.decode()
        results.add(done.stdout)
    assert len(results) == 1
