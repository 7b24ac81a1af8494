"""Annealing of placements: the best of small problems, and the values that are known of published graphs."""

from math import isclose
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Draw, objective_of
from msgspec.structs import replace
from strategies import redraw

import stageplan as sp
from stageplan import _core

FOLDER = Path(__file__).parents[2] / "shared" / "workloads" / "dnn-partitioning"

# Largest load of the best placements known, not contiguous; for resnet50, of the best contiguous split.
KNOWN = {
    "bert24_inference": 17.71471875,
    "bert24_training": 39.789538879394534,
    "gnmt_inference": 31.687310546875,
    "operators_bert_l-3_inference": 21.90838,
    "resnet50_inference": 33.774666015625,
    "resnet50_training": 78.6318125,
}


def rank(plan: sp.Plan) -> tuple[float, float]:
    return plan.violation, objective_of(plan)


def same(a: sp.Plan, b: sp.Plan) -> bool:
    return all(isclose(x, y, rel_tol=1e-8) for x, y in zip(rank(a), rank(b), strict=True))


def anneal(
    problem: sp.Problem, steps: int, *, seed: int = 0, threads: int = 1, initial: Any = None
) -> _core.Annealing:
    first = np.empty((0, problem.n_layers), np.int8) if initial is None else initial
    search = _core.Annealing(problem.core, 64, seed, threads, first)
    for _ in range(steps):
        search.step()
    return search


def small(rng: np.random.Generator, draw: Draw, **fixed: Any) -> sp.Problem:
    return redraw(
        lambda: draw(rng, max_layers=7, max_types=3, merge="type", **fixed)[0],
        lambda problem: problem.n_labels**problem.n_layers <= 20_000,
    )


def graph(n_layers: int = 40, **fixed: Any) -> sp.Problem:
    """Two chains that exchange tensors, on two types with four and two devices."""
    rng = np.random.default_rng(11)
    tensors = [(x, (x + 2, (x + 7) % n_layers), int(rng.integers(1, 32)) / 16) for x in range(n_layers - 2)]
    arguments = {
        "tensors": tensors, "bandwidth": [2.0, 5.0], "limit": [4, 2], "objective": "throughput",
        "merge": "type", "split": True, "overlap": False, "max_devices_per_stage": 1,
    }  # fmt: skip
    return sp.Problem.from_arrays(rng.integers(1, 64, (n_layers, 2)) / 16, [1.0, 2.0], **arguments | fixed)


@pytest.mark.parametrize("fixed", [{}, {"max_devices_per_stage": 1}], ids=["devices", "one device"])
def test_nearly_always_the_best(draw: Draw, fixed: dict[str, Any]) -> None:
    rng, missed, feasible = np.random.default_rng(14), 0, 0
    for seed in range(150):
        problem = small(rng, draw, **fixed)
        best = sp.solve(problem, "enumerate").plan
        found = sp.Plan.of(problem, anneal(problem, 200, seed=seed).best)
        assert rank(found) >= rank(best) or same(found, best)
        missed += not same(found, best)
        feasible += best.feasible
    assert missed <= 1
    assert 30 < feasible < 120


@pytest.mark.parametrize("fixed", [{}, {"max_devices_per_stage": None, "objective": "cost"}], ids=str)
def test_threads_do_not_matter(fixed: dict[str, Any]) -> None:
    runs = [anneal(graph(800, **fixed), 20, threads=threads) for threads in (1, 2, 5)]
    assert len({(run.best.tobytes(), run.evaluations, run.best_score.time) for run in runs}) == 1


def test_the_seed_decides() -> None:
    runs = [anneal(graph(), 5, seed=seed) for seed in (1, 1, 2)]
    schemes = [run.best.tolist() for run in runs]
    assert schemes[0] == schemes[1] != schemes[2]


def test_the_same_on_every_machine() -> None:
    search = anneal(graph(), 30, seed=5)
    assert (search.best_score.time, search.evaluations) == (14.34375, 15045)


def test_the_score_is_that_of_the_plan() -> None:
    problem = graph(memory=np.ones(40), capacity=[9.0, 12.0], min_throughput=0.06)
    search = anneal(problem, 50)
    plan = sp.Plan.of(problem, search.best)
    assert plan.feasible
    score = search.best_score
    assert (score.violation, score.time, score.cost) == (plan.violation, plan.time, plan.cost)


def test_first_schemes_are_kept() -> None:
    problem = graph()
    first = anneal(problem, 40)
    later = anneal(problem, 0, seed=9, initial=np.vstack([np.zeros((2, 40), np.int8), first.best]))
    assert later.best.tolist() == first.best.tolist()
    assert later.evaluations == 3 + problem.n_labels


def test_a_contiguous_plan_is_a_start() -> None:
    """Its stages keep their layers and types, and with a device each their loads."""
    contiguous, by_type = (graph(merge=merge) for merge in ("adjacent", "type"))
    best = sp.solve(contiguous, seed=1, population=64).plan
    start = _core.testing.relabel_contiguous(contiguous.core, best.scheme, by_type.core)
    plan = sp.Plan.of(by_type, start)
    assert plan.feasible
    assert [(s.type, s.layers) for s in plan.stages] == [(s.type, s.layers) for s in best.stages]
    assert plan.time == pytest.approx(best.time, rel=1e-9)
    assert anneal(by_type, 0, initial=start[None]).best_score.time <= plan.time
    assert anneal(by_type, 100, initial=start[None]).best_score.time < plan.time


def test_without_split_a_contiguous_scheme_stays_as_it_is() -> None:
    contiguous, by_type = (graph(merge=merge, split=False) for merge in ("adjacent", "type"))
    scheme = np.tile([0, 1, 1, 0], 10).astype(np.int8)
    assert _core.testing.relabel_contiguous(contiguous.core, scheme, by_type.core).tolist() == scheme.tolist()


def test_stages_beyond_the_labels_share_them() -> None:
    contiguous, by_type = (graph(merge=merge, limit=[2, 0]) for merge in ("adjacent", "type"))
    scheme = np.repeat([0, 1, 0, 2], 10).astype(np.int8)  # the last on a type without any device
    relabelled = _core.testing.relabel_contiguous(contiguous.core, scheme, by_type.core)
    assert relabelled.tolist() == np.repeat([0, 1, 0, 0], 10).tolist()


def test_as_a_method() -> None:
    problem = graph()
    result = sp.solve(problem, "annealing", seed=3, population=64, stop=sp.MaxGenerations(10))
    assert result.plan.scheme.tolist() == anneal(problem, 10, seed=3).best.tolist()
    assert 1 / result.bound <= result.plan.time


def test_stages_must_hold_layers_from_anywhere() -> None:
    with pytest.raises(ValueError, match=r"^method 'annealing' needs merge 'type', whose stages hold layers"):
        sp.solve(graph(merge="adjacent"), "annealing")


def test_auto_continues_from_the_best_contiguous_plan() -> None:
    contiguous = sp.solve(graph(merge="adjacent"), "exact")
    assert contiguous.status.startswith("optimal")
    result = sp.solve(graph(), stop=sp.MaxGenerations(40))
    assert result.plan.feasible
    assert result.plan.time < contiguous.plan.time
    assert result.status == "feasible"
    assert 0 < result.gap < 1
    assert result.evaluations > contiguous.evaluations


def test_auto_ends_where_a_bound_says_so() -> None:
    """Twenty layers of one kind on two devices that pay no transfers."""
    problem = sp.Problem.from_arrays(
        np.ones((20, 1)),
        [1.0],
        limit=[2],
        objective="throughput",
        merge="type",
        split=True,
        max_devices_per_stage=1,
    )
    result = sp.solve(problem)
    assert (result.status, result.gap) == ("optimal", 0)
    assert result.plan.time == 10


@pytest.mark.parametrize("name", KNOWN)
def test_published_graphs(name: str) -> None:
    """Within a second or so; the largest load is that of the files' own formula, as in test_published."""
    path = FOLDER / f"{name}.json"
    if not path.exists():
        pytest.skip("the folder of published workloads is absent")
    goal = sp.read_goal(path)
    assert goal is not None
    problem = sp.Problem(sp.read_workload(path), sp.read_cluster(path), replace(goal, merge="type"))
    plan = sp.Plan.of(problem, anneal(problem, 6000).best)
    assert plan.feasible
    assert plan.time <= KNOWN[name] * (1 + 1e-6)
