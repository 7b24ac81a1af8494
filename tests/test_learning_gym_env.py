"""The Gymnasium environment: the interface, and that an episode is the plan of its scheme."""

import subprocess
import sys
from collections.abc import Iterator
from math import inf, log
from typing import Any

import gymnasium
import numpy as np
import pytest
from conftest import Draw, objective_of
from gymnasium.utils.env_checker import check_env

import stageplan as sp
from stageplan.learning.gym_env import PlacementEnv

rng_of = np.random.default_rng


def many_types() -> sp.Problem:
    rng = rng_of(0)
    return sp.Problem.from_arrays(rng.lognormal(0, 1, (12, 64)), rng.lognormal(0, 1, 64), limit=[2] * 64)


def unsupported() -> sp.Problem:
    compute = [[1.0, inf, 2.0], [inf, inf, 1.0], [3.0, 1.0, inf], [1.0, 1.0, 1.0]]
    return sp.Problem.from_arrays(compute, [1.0, 2.0, 3.0], min_throughput=0.25)


def tensors() -> sp.Problem:
    links = [(0, (1, 3), 4.0), (1, (2,), 1.0), (4, (2,), 2.0)]
    times = rng_of(1).lognormal(0, 1, (5, 2))
    return sp.Problem.from_arrays(times, [1.0, 2.0], tensors=links, bandwidth=[1.0, 3.0], max_price=20.0)


def split(merge: Any = "adjacent") -> sp.Problem:
    times = rng_of(2).lognormal(0, 1, (6, 3))
    return sp.Problem.from_arrays(
        times, [1.0, 2.0, 4.0], limit=[4, 3, 2], split=True, merge=merge, objective="throughput"
    )


def nothing_costs() -> sp.Problem:
    return sp.Problem.from_arrays(np.zeros((3, 2)), [0.0, 0.0], memory=[1.0, 2.0, 3.0], capacity=[4.0, inf])


PROBLEMS = {
    "ctr": lambda: sp.Problem(sp.read_workload("ctr"), sp.read_cluster("ctr"), sp.read_goal("ctr")),
    "many types": many_types,
    "unsupported": unsupported,
    "tensors": tensors,
    "split": split,
    "devices by type": lambda: split(merge="type"),
    "one layer on one type": lambda: sp.Problem.from_arrays([[1.0]], [1.0]),
    "nothing costs": nothing_costs,
}


def play(env: PlacementEnv, scheme: Any) -> tuple[float, dict[str, Any]]:
    """Choose the labels of a scheme; the reward and the info of the last step."""
    observation, info = env.reset()
    for layer, label in enumerate(scheme):
        assert observation in env.observation_space
        observation, reward, terminated, truncated, info = env.step(int(label))
        assert terminated == (layer == len(scheme) - 1)
        assert not truncated
        assert reward == 0 or terminated
    return reward, info


@pytest.mark.parametrize("name", PROBLEMS)
def test_gymnasium_finds_nothing_wrong(name: str) -> None:
    made = gymnasium.make("stageplan/Placement-v0", problem=PROBLEMS[name](), disable_env_checker=True)
    check_env(made.unwrapped)  # a warning is an error


def test_found_by_the_module() -> None:
    env = gymnasium.make("stageplan.learning.gym_env:stageplan/Placement-v0", problem=tensors())
    observation, _ = env.reset(seed=3)
    assert observation in env.observation_space
    assert isinstance(env.unwrapped, PlacementEnv)


@pytest.mark.parametrize("seed", range(60))
def test_episode_is_the_plan_of_its_scheme(draw: Draw, seed: int) -> None:
    rng = rng_of(seed)
    problem, _ = draw(rng)
    env = PlacementEnv(problem)
    for _ in range(3):
        scheme = rng.integers(0, problem.n_labels, problem.n_layers)
        reward, info = play(env, scheme)
        plan = sp.Plan.of(problem, scheme)
        np.testing.assert_array_equal(info["scheme"], scheme)
        assert info["cost"] == plan.cost
        assert info["throughput"] == plan.throughput
        assert info["price"] == plan.price
        assert info["violation"] == plan.violation
        assert np.isfinite(reward)


@pytest.mark.parametrize("seed", range(30))
def test_better_plans_earn_more(draw: Draw, seed: int) -> None:
    rng = rng_of(seed)
    problem, _ = draw(rng)
    env = PlacementEnv(problem)
    earned = []
    for _ in range(12):
        reward, info = play(env, rng.integers(0, problem.n_labels, problem.n_layers))
        value = {"cost": info["cost"], "throughput": 1 / info["throughput"], "price": info["price"]}
        objective = value[problem.goal.objective] if info["violation"] == 0 else 0.0
        earned.append(((info["violation"], objective), reward))
    earned.sort()
    rewards = [reward for _, reward in earned]
    assert rewards == sorted(rewards, reverse=True)


def test_reward_is_minus_the_logarithm_of_the_objective() -> None:
    problem = sp.Problem.from_arrays(
        [[1.0, 1.0], [8.0, 2.0]], [1.0, 3.0], max_devices_per_stage=1, min_throughput=0.1
    )
    env = PlacementEnv(problem)
    single = min(sp.Plan.of(problem, [t, t]).cost for t in (0, 1))
    for scheme in ([0, 0], [0, 1], [1, 1], [1, 0]):
        reward, info = play(env, scheme)
        assert reward == pytest.approx(-log(info["cost"] / single), abs=1e-12)


def test_same_reward_in_other_units() -> None:
    times, price = rng_of(4).lognormal(0, 1, (6, 3)), np.array([1.0, 2.0, 5.0])
    for scheme in rng_of(5).integers(0, 3, (5, 6)):
        rewards = [
            play(PlacementEnv(sp.Problem.from_arrays(a * times, b * price, limit=[9] * 3)), scheme)[0]
            for a, b in ((1.0, 1.0), (1e-6, 1.0), (1.0, 64.0))
        ]
        assert rewards == pytest.approx([rewards[0]] * 3, rel=1e-9)


def within_masks(env: PlacementEnv, begun: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """List all schemes that no mask excludes."""
    _, info = env.reset()
    for label in begun:
        *_, info = env.step(label)
    np.testing.assert_array_equal(env.action_masks(), info["action_mask"] == 1)
    if len(begun) == env.problem.n_layers:
        yield begun
        return
    for label in np.flatnonzero(info["action_mask"]).tolist():
        yield from within_masks(env, (*begun, label))


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("seed", range(15))
def test_masks_leave_the_best_plan(draw: Draw, seed: int, split: bool) -> None:
    rng, labels = rng_of(seed), 99
    while labels > 6:
        problem, _ = draw(rng, max_layers=4, max_types=3, split=split)
        labels = problem.n_labels
    best = sp.solve(problem, "enumerate").plan
    plans = [sp.Plan.of(problem, scheme) for scheme in within_masks(PlacementEnv(problem))]
    feasible = [plan for plan in plans if plan.feasible]
    assert plans
    assert bool(feasible) == best.feasible
    if feasible:
        assert min(map(objective_of, feasible)) == pytest.approx(objective_of(best), rel=1e-9)


def test_mask_of_types_that_cannot_run_a_layer() -> None:
    env = PlacementEnv(unsupported())
    _, info = env.reset()
    assert info["action_mask"].tolist() == [1, 0, 1]
    *_, info = env.step(0)
    assert info["action_mask"].tolist() == [0, 0, 1]
    *_, info = env.step(2)
    assert info["action_mask"].tolist() == [1, 1, 0]


def test_a_masked_label_may_be_chosen() -> None:
    reward, info = play(PlacementEnv(unsupported()), [1, 1, 2, 0])
    worst, _ = play(PlacementEnv(unsupported()), [0, 2, 0, 0])
    assert info["violation"] > 0
    assert reward < worst


def test_only_one_of_equivalent_labels_is_allowed() -> None:
    env = PlacementEnv(split())
    _, info = env.reset()
    assert info["action_mask"].tolist() == [1, 0] * 3
    *_, info = env.step(2)
    assert info["action_mask"].tolist() == [1, 0, 1, 1, 1, 0]


def test_observation_has_the_previous_choice_and_remaining_devices() -> None:
    problem = sp.Problem.from_arrays(np.ones((3, 2)), [1.0, 1.0], limit=[2, 2], min_throughput=1.0)
    env = PlacementEnv(problem)
    first, _ = env.reset()
    same, *_ = env.step(0)
    assert first[-2:].tolist() == [0, 0]
    assert same[-2:].tolist() == [1, 0]
    env.reset()
    env.step(0)
    stays, *_ = env.step(0)
    env.reset()
    env.step(0)
    changes, *_ = env.step(1)
    assert changes[-2:].tolist() == [0, 1]
    assert (stays[:-2] != changes[:-2]).any()
    last, *_ = env.step(1)
    assert not last[:-2].any()


def test_random_episodes_within_the_masks_and_a_greedy_one() -> None:
    """A policy that takes, of the labels that are left, what is best for a whole network, beats chance."""
    problem = PROBLEMS["ctr"]()
    env = PlacementEnv(problem)
    chance = []
    for seed in range(20):
        _, info = env.reset()
        env.action_space.seed(seed)
        terminated = False
        while not terminated:
            _, reward, terminated, _, info = env.step(env.action_space.sample(info["action_mask"]))
        chance.append(reward)
    _, info = env.reset()
    scheme: list[int] = []
    for layer in range(problem.n_layers):
        allowed = np.flatnonzero(info["action_mask"]).tolist()
        rest = problem.n_layers - layer
        ranked = [sp.Plan.of(problem, [*scheme, *([label] * rest)]) for label in allowed]
        keys = [(plan.violation, plan.cost) for plan in ranked]
        scheme.append(allowed[keys.index(min(keys))])
        _, reward, _, _, info = env.step(scheme[-1])
    assert reward > max(chance)


@pytest.mark.parametrize("action", [-1, 2, 0.5, "0", None])
def test_wrong_action(action: Any) -> None:
    env = PlacementEnv(tensors())
    env.reset()
    with pytest.raises(ValueError, match=r"^action is .*; it must be a label from 0 to 1$"):
        env.step(action)


def test_no_step_after_the_last_layer() -> None:
    env = PlacementEnv(tensors())
    play(env, [0] * 5)
    with pytest.raises(gymnasium.error.ResetNeeded, match="no layer is left"):
        env.step(0)
    assert env.action_masks().all()


def test_no_problem() -> None:
    with pytest.raises(TypeError, match=r"^problem is str; it must be a Problem$"):
        PlacementEnv("ctr")  # type: ignore[arg-type]


def test_runs_side_by_side() -> None:
    envs = gymnasium.make_vec("stageplan/Placement-v0", num_envs=3, problem=tensors())
    envs.reset(seed=0)
    for _ in range(5):
        _, rewards, terminated, _, infos = envs.step(np.array([0, 1, 1]))
    assert terminated.all()
    assert infos["cost"][1] == infos["cost"][2] == sp.Plan.of(tensors(), [1] * 5).cost
    assert rewards[1] == rewards[2]


def run_without_gymnasium(code: str) -> subprocess.CompletedProcess[str]:
    hidden = "import sys; sys.modules['gymnasium'] = None; "
    return subprocess.run([sys.executable, "-c", hidden + code], capture_output=True, text=True)


def test_package_does_without_gymnasium() -> None:
    assert run_without_gymnasium("import stageplan").returncode == 0
    done = run_without_gymnasium("import stageplan.learning.gym_env")
    assert done.stderr.splitlines()[-1] == (
        'ImportError: stageplan.learning.gym_env needs gymnasium: pip install "stageplan[gym]"'
    )


def test_package_does_not_import_gymnasium() -> None:
    code = "import sys, stageplan; sys.exit('gymnasium' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_an_observation_is_what_the_table_says() -> None:
    """By hand: u is 2 s, of 2 devices of the second type, for the first has too little memory; v is 1."""
    problem = sp.Problem.from_arrays(
        [[4.0, 1.0], [2.0, 1.0], [1.0, 2.0]], [1.0, 3.0], limit=[4, 4], min_throughput=0.5,
        send=np.full((3, 2), 0.4), memory=[1.0, 2.0, 3.0], capacity=[4.0, inf],
    )  # fmt: skip
    env = PlacementEnv(problem)
    first, _ = env.reset()
    after, *_ = env.step(0)
    assert first.shape == (16 + 9 * 2 + 2,)
    np.testing.assert_allclose(first[:2], [-1, log(3) / 4], rtol=1e-6)
    np.testing.assert_allclose(first[12 + 8 * 2 :], [1, 1, 0, 0, 0, 0, 0, 0])
    layer = [0, log(2) / 4, 0, 0, *[0] * 8]
    type_0 = [1, log(2), 0, log(1 + 0.4 / 2), 2 / 4, log(1 / 2), log(1 + 7 / 2 / 4), log(1 + 1)]
    np.testing.assert_allclose(after[:20], layer + type_0, rtol=1e-5, atol=1e-7)
    stage = [1, 1 - 2 / 2, log(1 + 1) / 2, log(1 + 2) / 2]
    np.testing.assert_allclose(after[28:], [1, 1, *stage, 1, 0], rtol=1e-5, atol=1e-7)
    closed, *_ = env.step(1)
    np.testing.assert_allclose(closed[28:30], [(4 - 2) / 4, 1])  # 4 s within the goal's 2 s
    np.testing.assert_allclose(closed[34:], [0, 1])
