"""The search that learns, the policies that it makes, and the files that they are kept in."""

import io
import itertools
import math
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference as ref
from conftest import Draw, objective_of
from hypothesis import given, settings
from strategies import problems

import stageplan as sp
from stageplan import _core

CELLS = ("lstm", "rnn")


def arrays(n_layers: int, n_types: int, seed: int = 0, **fixed: Any) -> sp.Problem:
    """Layers in runs of four of a kind, each fast on other types."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, -(-n_layers // 4)).repeat(4)[:n_layers]
    speed = rng.lognormal(0, 0.6, n_types)
    compute = rng.lognormal(0, 0.5, (n_layers, 1)) * rng.lognormal(0, 0.8, (3, n_types))[kind] / speed
    given = {
        "send": rng.lognormal(-1.5, 0.8, (n_layers, 1)).repeat(n_types, 1),
        "compute_parallel": 0.97,
        "transfer_parallel": 0.95,
        "min_throughput": 8 / n_layers,
        "examples": 3600.0,
    }
    return sp.Problem.from_arrays(compute, speed**0.9, **given | fixed)


def learn(
    problem: sp.Problem,
    generations: int,
    *,
    seed: int = 0,
    rnn: bool = False,
    episodes: int = 16,
    threads: int = 1,
    alone: bool = False,
    learned: _core.Learned | None = None,
) -> _core.Reinforce:
    if learned is None:
        learned = _core.Learned(rnn, problem.n_types, problem.n_labels, seed)
    none = np.empty((0, problem.n_layers), np.int8)
    search = _core.Reinforce(problem.core, learned, episodes, seed, threads, none, alone)
    for _ in range(generations):
        search.step()
    return search


def state(search: _core.Reinforce) -> tuple[Any, ...]:
    learned = search.learned
    numbers = (search.best, learned.weights, learned.first, learned.second, search.elites)
    return *(array.tobytes() for array in numbers), learned.baseline, search.evaluations


def rank(plan: sp.Plan) -> tuple[float, float]:
    return plan.violation, objective_of(plan)


def close(a: sp.Plan, b: sp.Plan, tolerance: float = 1e-8) -> bool:
    return all(math.isclose(x, y, rel_tol=tolerance) for x, y in zip(rank(a), rank(b), strict=True))


# The best plan -----------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(arguments=problems(max_layers=6, max_types=3))
def test_brute_force(arguments: dict[str, Any]) -> None:
    """Never better than the best plan, exactly provisioned, and feasible wherever one type alone is."""
    problem, oracle = sp.Problem.from_arrays(**arguments), ref.plain_problem(**arguments)
    if problem.n_labels**problem.n_layers > 2000:
        return
    found = sp.solve(problem, "reinforce", population=4, stop=sp.MaxGenerations(10))
    _, best = ref.brute_force(oracle)
    least = (best.score.violation, ref.objective(oracle, best.score))
    score = ref.Score(found.plan.cost, found.plan.time, found.plan.violation, found.plan.price)
    assert not ref.better(oracle, score, best.score) or np.allclose(rank(found.plan), least, rtol=1e-6)
    assert found.plan == sp.Plan.of(problem, found.plan.scheme)
    for label in range(problem.n_labels):
        assert rank(found.plan) <= rank(sp.Plan.of(problem, np.full(problem.n_layers, label)))


def test_nearly_always_the_best(draw: Draw) -> None:
    rng, missed, feasible = np.random.default_rng(41), 0, 0
    for seed in range(80):
        problem, _ = draw(rng, max_layers=8, max_types=3, merge="adjacent")
        if problem.n_labels**problem.n_layers > 6561:
            continue
        best = sp.solve(problem, "enumerate").plan
        found = sp.solve(problem, "reinforce", seed=seed, population=16, stop=sp.NoImprovement(60)).plan
        missed += not close(found, best)
        feasible += best.feasible
    assert missed <= 2
    assert feasible > 20


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("limit", [None, 6])
def test_within_a_per_cent_of_what_is_proven(cell: Any, limit: int | None) -> None:
    for seed in range(3):
        problem = arrays(24, 6, seed, limit=None if limit is None else [limit] * 6)
        best = sp.solve(problem, "exact")
        found = sp.solve(problem, "reinforce", seed=seed, cell=cell, stop=sp.MaxGenerations(150))
        assert best.status.startswith("optimal")
        assert best.plan.cost * (1 - 1e-9) <= found.plan.cost <= 1.01 * best.plan.cost
        assert found.policy is not None
        assert found.policy.cell == cell


@pytest.mark.parametrize("rnn", [False, True], ids=CELLS)
def test_the_policy_alone_learns(rnn: bool) -> None:
    """Rewards rise, and what it decodes becomes much better than what an untrained one does."""
    gained = []
    for seed in range(3):
        problem = arrays(16, 4, seed)
        features, best = _core.Features(problem.core), sp.solve(problem, "exact").plan.cost
        first = learn(problem, 1, seed=seed, rnn=rnn, alone=True)
        last = learn(problem, 200, seed=seed, rnn=rnn, alone=True)
        assert last.learned.baseline > first.learned.baseline + 0.1
        plans = [sp.Plan.of(problem, features.decode(search.learned)) for search in (first, last)]
        assert plans[1].cost < 1.15 * best
        assert last.best_score.cost < 1.1 * best
        gained.append(plans[0].cost / plans[1].cost)
    assert np.mean(gained) > 1.1


@pytest.mark.parametrize(
    ("n_layers", "n_types", "fixed"),
    [
        (40, 64, {"split": True}),
        (4096, 3, {}),
        (30, 4, {"split": True, "limit": [3, 2, 2, 1]}),
        (20, 3, {"merge": "type"}),
        (24, 3, {"objective": "throughput", "limit": [5, 5, 5]}),
        (1, 1, {}),
    ],
    ids=str,
)
def test_all_kinds_of_problems(n_layers: int, n_types: int, fixed: dict[str, Any]) -> None:
    problem = arrays(n_layers, n_types, **fixed)
    result = sp.solve(problem, "reinforce", population=4, stop=sp.MaxGenerations(2))
    assert result.policy is not None
    assert result.policy.generations == 2
    assert result.plan == sp.Plan.of(problem, result.plan.scheme)


def test_a_type_that_cannot_run_a_layer_is_never_chosen() -> None:
    compute = np.ones((12, 3))
    compute[::2, 0] = compute[1::3, 1] = math.inf
    problem = sp.Problem.from_arrays(compute, [1.0, 2.0, 30.0], min_throughput=1.0, compute_parallel=0.9)
    search = learn(problem, 5, alone=True)
    for scheme in search.elites.reshape(-1, 12):
        assert np.isfinite(compute[np.arange(12), scheme]).all()


# The same answer ---------------------------------------------------------------------------------------


def test_the_seed_decides() -> None:
    problem = arrays(20, 4)
    runs = [state(learn(problem, 6, seed=seed)) for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[1] != runs[2]


@pytest.mark.parametrize("fixed", [{}, {"split": True, "limit": [4, 4, 4, 4]}], ids=str)
def test_threads_do_not_matter(fixed: dict[str, Any]) -> None:
    problem = arrays(40, 4, **fixed)
    runs = [state(learn(problem, 6, episodes=30, threads=threads)) for threads in (1, 2, 5)]
    assert runs[0] == runs[1] == runs[2]


def report() -> None:
    """Print what a short run has learned, for another instruction set to compare with."""
    for rnn in (False, True):
        search = learn(arrays(24, 5, split=True), 8, rnn=rnn)
        print(search.learned.weights.tobytes().hex(), search.best.tolist(), search.evaluations)


def test_instruction_sets_do_not_matter() -> None:
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    said = {
        subprocess.run(
            [sys.executable, __file__],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"STAGEPLAN_ISA": name, "PYTHONPATH": path},
        ).stdout
        for name in _core.instruction_sets()
    }
    assert len(said) == 1
    assert min(said).count("\n") == 2


# Policies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("fixed", [{}, {"split": True, "limit": [4, 4, 4, 4]}], ids=str)
def test_to_go_on_is_as_good_as_not_to_stop(cell: Any, fixed: dict[str, Any], tmp_path: Path) -> None:
    problem, stop = arrays(30, 4, **fixed), sp.MaxGenerations(7)
    given = {"seed": 5, "population": 20}
    whole = sp.solve(problem, "reinforce", cell=cell, stop=sp.MaxGenerations(14), **given)
    half = sp.solve(problem, "reinforce", cell=cell, stop=stop, **given)
    assert half.policy is not None
    half.policy.save(tmp_path / "p.npz")
    policy = sp.Policy.load(tmp_path / "p.npz")
    assert policy == half.policy
    rest = sp.solve(problem, "reinforce", policy=policy, stop=stop, **given)
    assert rest.policy == whole.policy != half.policy
    assert rest.plan == whole.plan
    assert rest.policy.plan(problem) == whole.policy.plan(problem)
    other = sp.solve(problem, "reinforce", policy=policy, stop=stop, seed=6, population=20)
    assert other.policy != whole.policy


def test_a_result_reports_the_plan_of_the_policy_without_search() -> None:
    problem = arrays(12, 3)
    result = sp.solve(problem, "reinforce", cell="rnn", stop=sp.MaxGenerations(5))
    assert result.policy is not None
    alone = result.policy.plan(problem)
    *_, line, last = str(result).splitlines()
    scores = f"${alone.cost:,.6g} at {alone.throughput:,.6g} examples/s"
    assert line == f"policy without search (rnn): {scores}, feasible"
    assert last.startswith(f"{result.status}; reinforce, seed 0: ")


def test_on_another_problem_training_continues_from_the_weights() -> None:
    """With other prices, limits and layers it begins better than one that has learned nothing."""
    gained = []
    for seed in range(3):
        learned = learn(arrays(16, 4, seed), 200, seed=seed).learned
        base = arrays(16, 4, seed)
        price = base.price * np.random.default_rng(seed).lognormal(0, 0.1, 4)
        changed = base.replace(price=price, limit=[12.0] * 4, min_throughput=0.6)
        features = _core.Features(changed.core)
        warm, cold = (
            sp.Plan.of(changed, features.decode(x)) for x in (learned, _core.Learned(False, 4, 4, seed))
        )
        gained.append(features.reward(warm.cost, warm.time, warm.violation, warm.price))
        gained[-1] -= features.reward(cold.cost, cold.time, cold.violation, cold.price)
    assert min(gained) > -0.05
    assert np.mean(gained) > 0.1


def test_another_problem_has_other_rewards_and_schemes() -> None:
    first = sp.solve(arrays(12, 4), "reinforce", stop=sp.MaxGenerations(3)).policy
    longer = arrays(20, 4, 1)
    again = sp.solve(longer, "reinforce", policy=first, stop=sp.MaxGenerations(3)).policy
    assert first is not None
    assert again is not None
    assert (first.generations, again.generations, again.steps) == (3, 6, 6)
    assert again.schemes.shape[1] == 20
    assert sp.solve(longer, "reinforce", policy=first, stop=sp.MaxGenerations(0)).policy is not None
    assert first.plan(longer).problem == longer


def test_a_policy_tells_problems_with_other_strategies_and_memory_apart() -> None:
    base = arrays(8, 4)
    others = [base.replace(workspace=[size] * 8, capacity=[9.0] * 4) for size in (1.0, 2.0)]
    others += [others[0].replace(sharded=[size] * 8) for size in (1.0, 2.0)]
    policy = sp.solve(others[0], "reinforce", stop=sp.MaxGenerations(1)).policy
    assert policy is not None
    assert [policy.knows(problem) for problem in (base, *others)] == [False, True, False, False, False]


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (
            arrays(8, 3),
            "problem has device types type0, type1, type2; they must be those of the policy, type0, ",
        ),
        (arrays(8, 4, split=True), "problem has 8 labels; it must have as many as the policy, 4"),
    ],
    ids=["types", "labels"],
)
def test_a_problem_that_a_policy_does_not_fit(problem: sp.Problem, text: str) -> None:
    policy = sp.solve(arrays(8, 4), "reinforce", stop=sp.MaxGenerations(1)).policy
    assert policy is not None
    with pytest.raises(ValueError, match=f"^{text}"):
        sp.solve(problem, "reinforce", policy=policy)
    with pytest.raises(ValueError, match=f"^{text}"):
        policy.plan(problem)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "p.npz"
    policy = sp.solve(arrays(8, 3), "reinforce", stop=sp.MaxGenerations(1)).policy
    assert policy is not None
    policy.save(path)
    return path


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"format": "stageplan policy 9"}, "its format is not 'stageplan policy 1'"),
        ({"weights": None}, "it has no weights"),
        ({"weights": np.zeros(3, np.float32)}, "weights has 3 numbers; it must have "),
        ({"weights": np.zeros(3)}, "weights is float64 of shape (3,)"),
        ({"first_moment": np.full(3, np.nan, np.float32)}, "first_moment has numbers that are not finite"),
        ({"cell": "gru"}, "cell is 'gru'; it must be one of 'lstm', 'rnn'"),
        ({"n_labels": 0}, "n_labels is 0; it must be from 1 to 128"),
        ({"steps": -1}, "steps is -1; it must be a whole number from 0 to 4611686018427387904"),
        ({"steps": 2**63 - 1}, "steps is 9223372036854775807; it must be "),
        ({"generations": 1.5}, "generations is 1.5; it must be a whole number from 0 to 4611686018427387904"),
        ({"baseline": math.inf}, "baseline is inf; it must be finite, or NaN for none"),
        ({"second_moment": np.full(3, -1, np.float32)}, "second_moment has numbers below 0"),
        ({"schemes": np.full((1, 8), 3, np.int8)}, "schemes has other labels; they must be from 0 to 2"),
        ({"schemes": np.zeros(8, np.int8)}, "schemes is int8 of shape (8,)"),
        ({"type_names": np.array(3)}, "type_names is int64 of shape (); it must be text"),
        (
            {"seed": np.array(None, dtype=object)},
            "it is not a valid .npz file: Object arrays cannot be loaded when allow_pickle=False",
        ),
    ],
    ids=str,
)
def test_invalid_policy_files_are_refused(
    saved: Path, tmp_path: Path, change: dict[str, Any], text: str
) -> None:
    values = {k: v for k, v in (dict(np.load(saved)) | change).items() if v is not None}
    np.savez(tmp_path / "bad.npz", **values)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        sp.Policy.load(tmp_path / "bad.npz")
    assert str(error.value).startswith(f"{tmp_path / 'bad.npz'}: it is not a valid policy file: {text}")


def test_files_of_other_kinds_are_not_policies(saved: Path, tmp_path: Path) -> None:
    for raw in (b"", b"x", saved.read_bytes()[:500]):
        (tmp_path / "bad.npz").write_bytes(raw)
        with pytest.raises(
            ValueError,
            match=r"bad.npz: it is not a valid policy file: it is not a valid .npz file: File is not a zip",
        ):
            sp.Policy.load(tmp_path / "bad.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(ValueError, match=r"one.npy: it is not a valid policy file: "):
        sp.Policy.load(tmp_path / "one.npy")
    with pytest.raises(FileNotFoundError):
        sp.Policy.load(tmp_path / "none.npz")


# The fields of a zip file's directory, and where they stand in its entries.
DAMAGES = [("version", 6, 200), ("flags", 8, 1), ("flags", 8, 32), ("compression", 10, 77)]


@pytest.mark.parametrize(("name", "place", "value"), DAMAGES, ids=str)
def test_a_damaged_file(saved: Path, tmp_path: Path, name: str, place: int, value: int) -> None:
    raw = bytearray(saved.read_bytes())
    raw[raw.index(b"PK\x01\x02") + place] = value
    (tmp_path / "bad.npz").write_bytes(raw)
    with pytest.raises(ValueError, match=r"bad.npz: it is not a valid policy file: "):
        sp.Policy.load(tmp_path / "bad.npz")


def test_a_damaged_header(tmp_path: Path) -> None:
    array = io.BytesIO()
    np.save(array, np.zeros(1))
    with zipfile.ZipFile(tmp_path / "bad.npz", "w") as file:
        file.writestr("format.npy", array.getvalue().replace(b"), }", b"(, ("))
    with pytest.raises(ValueError, match=r"bad.npz: it is not a valid policy file: "):
        sp.Policy.load(tmp_path / "bad.npz")


def test_a_file_is_whole_or_absent(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = sp.Policy.load(saved)

    def fail(*_: object, **__: object) -> None:
        raise OSError("full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="full"):
        policy.save(tmp_path / "p.npz")
    assert not list(tmp_path.iterdir())


def test_a_policy_says_what_it_is(saved: Path) -> None:
    policy = sp.Policy.load(saved)
    assert repr(policy) == "Policy(lstm, 1 generations, device types type0, type1, type2)"
    assert policy != 5
    assert sp.solve(arrays(8, 3), "greedy").policy is None


# Thresholds --------------------------------------------------------------------------------------------


def test_the_first_plan_within_both_thresholds() -> None:
    problem = arrays(24, 4)
    best = sp.solve(problem, "exact").plan
    wanted = problem.replace(max_cost=1.3 * best.cost, max_duration=best.duration, min_throughput=None)
    first = sp.solve(wanted, "reinforce", seed=3, stop=sp.FirstFeasible())
    assert first.plan.feasible
    assert first.plan.cost <= 1.3 * best.cost
    assert first.plan.duration <= best.duration * (1 + 1e-9)
    assert [p.violation == 0 for p in first.history[:-1]] == [False] * (len(first.history) - 1)
    impossible = problem.replace(max_cost=0.9 * best.cost)
    result = sp.solve(impossible, "reinforce", stop=sp.FirstFeasible() | sp.MaxGenerations(40))
    assert (result.generations, result.plan.feasible) == (40, False)
    assert result.status.startswith("infeasible")
    assert {v.limit for v in result.plan.violations} <= {"cost", "throughput"}


def test_the_incumbent_is_the_fastest_within_the_cost_threshold() -> None:
    for seed in range(3):
        problem = arrays(12, 3, seed, limit=[9, 9, 9])
        cheapest = sp.solve(problem, "exact").plan
        problem = problem.replace(max_cost=1.2 * cheapest.cost)
        result = sp.solve(problem, "reinforce", accept="incumbent", seed=seed, stop=sp.MaxGenerations(100))
        fastest = sp.solve(problem.replace(objective="throughput"), "exact").plan
        assert result.plan.problem.goal.objective == "throughput"
        assert result.plan.cost <= problem.goal.max_cost * (1 + 1e-9)
        assert fastest.duration * (1 - 1e-9) <= result.plan.duration <= 1.02 * fastest.duration
        accepted = [p for p in result.history if p.violation == 0]
        assert all(a.throughput < b.throughput for a, b in itertools.pairwise(accepted))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"accept": "incumbent"}, ValueError, "accept is 'incumbent' without max_cost; the goal must have"),
        ({"accept": "all"}, ValueError, "accept is 'all'; it must be one of 'best', 'incumbent'"),
        ({"cell": "gru"}, ValueError, "cell is 'gru'; it must be one of 'lstm', 'rnn'"),
        ({"policy": "p.npz"}, TypeError, "policy is str; it must be a Policy"),
        ({"population": 2**31 - 1}, ValueError, "population is 2147483647; it must be a whole number, at "),
        (
            {"cell": "rnn", "method": "greedy"},
            ValueError,
            "cell is given with method 'greedy'; it requires",
        ),
        ({"accept": "best", "method": "auto"}, ValueError, "accept is given with method 'auto'; it requires"),
    ],
    ids=str,
)
def test_bad_input_is_refused(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^{text}"):
        sp.solve(arrays(6, 2), **{"method": "reinforce"} | arguments)


def test_incumbents_need_an_end() -> None:
    problem = arrays(6, 2, max_cost=1e9)
    with pytest.raises(
        ValueError, match=r"^accept is 'incumbent', as if objective is 'throughput', which nothing"
    ):
        sp.solve(problem, "reinforce", accept="incumbent")


def test_a_cell_that_is_not_the_policys(saved: Path) -> None:
    with pytest.raises(ValueError, match=r"^cell is 'rnn'; it must be that of the policy, 'lstm'"):
        sp.solve(arrays(8, 3), "reinforce", policy=sp.Policy.load(saved), cell="rnn")


if __name__ == "__main__":
    report()
