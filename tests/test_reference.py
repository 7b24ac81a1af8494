"""The oracle against itself: by hand, by definition, and by trying everything."""

from collections.abc import Callable
from math import inf, isclose
from typing import Any

import numpy as np
import pytest
import reference as ref
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import open_problems, problems, random_problem, schemes

Make = Callable[..., Any]

checked = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])


def from_arrays(*args: Any, **kwargs: Any) -> Any:
    """Make the package's own problem."""
    return pytest.importorskip("stageplan").Problem.from_arrays(*args, **kwargs)


both = pytest.mark.parametrize("make", [ref.plain_problem, from_arrays])


def same(a: float, b: float) -> bool:
    """Say whether two numbers differ by a few ties at most."""
    return isclose(a, b, rel_tol=1e-8, abs_tol=1e-12)


# By hand -----------------------------------------------------------------------------------------------


@both
def test_cost_and_devices_by_hand(make: Make) -> None:
    """Two stages: running faster than one device each is cheaper, running faster still is not.

    Stage 0, layer 0 on type 0: W = 4, half of it parallel; D = send = 1. Stage 1, layer 1 on type 1: W = 6,
    all parallel; D = receive = 2. Neither end of the pipeline pays (the 9s). ET = max(CT, DT):

        k = 1, 1    ET = max(2 + 2/1, 1/1) = 4, max(6/1, 2/1) = 6    tau = 6    6 * (2 + 3 + 1) = 36
        k = 1, 2    ET =                     4, max(6/2, 2/2) = 3    tau = 4    4 * (2 + 3 + 2) = 28
        k = 2, 2    ET = max(2 + 2/2, 1/2) = 3,                 3    tau = 3    3 * (2 + 6 + 2) = 30

    and an hour of 3600 examples costs as much as the last column.
    """
    p = make(
        compute=[[4, 9], [9, 6]],
        price=[3, 1],
        fixed_price=2,
        examples=3600,
        send=[[1, 9], [9, 9]],
        receive=[[9, 9], [9, 2]],
        compute_parallel=[[0.5, 1], [1, 1]],
    )
    assert ref.score(p, (0, 1), (1, 1)) == (36, 6, 0, 6)
    assert ref.score(p, (0, 1), (1, 2)) == (28, 4, 0, 7)
    assert ref.score(p, (0, 1), (2, 2)) == (30, 3, 0, 10)
    assert ref.provision(p, (0, 1)) == ((1, 2), (28, 4, 0, 7))
    assert ref.evaluate(p, (0, 1), target=1 / 3) == ((2, 2), (30, 3, 0, 10))


@both
@pytest.mark.parametrize(
    ("merge", "transfers"),
    [
        # Layer 0 | layer 1 | layer 2. The 6 bytes have two consumers and count once a stage:
        # stage 0: 6 out, 10 in, at 2 a second; stage 1: 6 in, 4 out, at 1; stage 2: 6 in, 4 in, 10 out, at 2.
        ("adjacent", [8, 10, 10]),
        # Layers 0 and 2 | layer 1. The 10 bytes stay inside: 6 out, 4 in, at 2; 6 in, 4 out, at 1.
        ("type", [5, 10]),
    ],
)
def test_tensors_by_hand(make: Make, merge: str, transfers: list[float]) -> None:
    """Tensors count once a stage where they cross it; the last one runs backwards."""
    tensors = [(0, (1, 2), 6), (1, (2,), 4), (2, (0,), 10)]
    p = make(compute=np.ones((3, 2)), price=[1, 1], tensors=tensors, bandwidth=[2, 1], merge=merge)
    loads = [ref.load(p, (0, 1, 0), s) for s in ref.stages(p, (0, 1, 0))]
    assert [x.ds + x.dp for x in loads] == transfers
    assert [x.wp for x in loads] == ([1, 1, 1] if merge == "adjacent" else [2, 1])


@both
def test_violations_by_hand(make: Make) -> None:
    """Four seconds in one need four devices: each of four limits is broken, and the fifth is met.

    devices (4 - 2) / 2 = 1, memory 3/2 - 1 = 1/2, cost 4/2 - 1 = 1, price 4/3 - 1 = 1/3.
    """
    limits = {"limit": [2], "memory": [3], "capacity": [2], "max_cost": 2, "max_price": 3}
    p = make(compute=[[4]], price=[1], examples=3600, min_throughput=1, **limits)
    devices, score = ref.provision(p, (0,))
    assert devices == (4,)
    assert score[:2] == (4, 1)
    assert isclose(score.violation, 1 + 1 / 2 + 1 + 1 / 3)


@both
def test_out_of_reach_by_hand(make: Make) -> None:
    """Two of four seconds are serial, one is allowed: all five devices there are give 2 + 2/5."""
    p = make(compute=[[4]], price=[1], examples=3600, min_throughput=1, limit=[5], compute_parallel=0.5)
    devices, score = ref.provision(p, (0,))
    assert devices == (5,)
    assert isclose(score.violation, 2.4 - 1)


@both
def test_fewest_devices_among_equal_costs(make: Make) -> None:
    """Where all is parallel and nothing else is paid, every count costs the same and one device is taken."""
    p = make(compute=[[0.7]], price=[0.3], max_devices_per_stage=50)
    assert ref.provision(p, (0,)).devices == (1,)


@both
def test_no_work_is_free(make: Make) -> None:
    """A pipeline that takes no time costs nothing, whatever it rents."""
    assert ref.provision(make(compute=[[0.0]], price=[5]), (0,)) == ((1,), (0, 0, 0, 5))


@both
def test_unsupported_and_no_devices(make: Make) -> None:
    """A layer that its type cannot run is one violation, a device of a type that has none is another."""
    p = make(compute=[[inf, 1]], price=[1, 1], limit=[0, 1])
    assert ref.score(p, (0,), (1,)) == (0, 0, 2, 1)
    assert ref.score(p, (1,), (1,)).violation == 0


@both
@pytest.mark.parametrize(
    ("merge", "split", "types"),
    [
        ("adjacent", False, [0, 1]),
        ("type", False, [0, 1]),
        ("adjacent", True, [0, 0, 1, 1]),
        ("type", True, [0, 1, 1, 1]),
    ],
)
def test_labels(make: Make, merge: str, split: bool, types: list[int]) -> None:
    """Three layers, one device of type 0 and five of type 1, of which three at most are of use."""
    p = make(compute=np.ones((3, 2)), price=[1, 1], limit=[1, 5], merge=merge, split=split)
    assert list(p.label_types) == types


# By trying everything ----------------------------------------------------------------------------------


def check_provisioning(p: Any, scheme: list[int]) -> bool:
    """Compare provisioning with all device counts; give whether any of them is feasible."""
    plan, best = ref.provision(p, scheme), ref.brute_devices(p, scheme, 6)
    assert plan.score == ref.score(p, scheme, plan.devices)
    if best.score.violation > 0:
        assert plan.score.violation >= best.score.violation * (1 - 1e-8)
        return False
    assert plan.score.violation == 0
    assert same(ref.objective(p, plan.score), ref.objective(p, best.score))
    assert p.goal.objective == "price" or plan.score.cost <= best.score.cost * (1 + 1e-8)
    return True


@checked
@given(problems(max_layers=4, max_types=3, most_devices=5), st.data())
def test_provisioning_is_best_of_all_counts(arguments: dict[str, Any], data: st.DataObject) -> None:
    """No other device counts are better where any are feasible."""
    p = ref.plain_problem(**arguments)
    check_provisioning(p, data.draw(schemes(p.n_labels, p.n_layers)))


SHAPES = [{"merge": m, "split": s} for m in ("adjacent", "type") for s in (False, True)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("objective", ["cost", "throughput", "price"])
def test_provisioning_of_many(shape: dict[str, Any], objective: str) -> None:
    """The same on many problems from a generator; both feasible and infeasible ones are among them."""
    rng, feasible = np.random.default_rng(5), 0
    for _ in range(40):
        n_layers, n_types, most = (int(rng.integers(1, high)) for high in (5, 4, 6))
        goal: dict[str, Any] = {"objective": objective, "max_devices_per_stage": most}
        p = ref.plain_problem(**random_problem(rng, n_layers, n_types, **goal, **shape))
        feasible += check_provisioning(p, rng.integers(0, p.n_labels, n_layers).tolist())
    assert 0 < feasible < 40


def walked(p: Any, scheme: list[int]) -> ref.Plan:
    """Provision by giving one device after the other to the slowest stage."""
    work = ref.loaded(p, scheme)
    ks = list(ref.state(p, work, ref.goal_time(p)))
    reached = max(ref.goal_time(p), ref.bottleneck(p, work, tuple(ks)))
    ks = list(ref.state(p, work, reached))
    best = ref.Plan(tuple(ks), ref.score_loaded(p, work, tuple(ks)))
    while ref.meets(best.score.tau, ref.goal_time(p)):
        times = [ref.time(p, w, k) for w, k in zip(work.loads, ks, strict=True)]
        slowest = times.index(max(times))
        ks[slowest] += 1
        if ks[slowest] > ref.most_devices(p) or ref.time(p, work.loads[slowest], ks[slowest]) >= max(times):
            break
        candidate = ref.Plan(tuple(ks), ref.score_loaded(p, work, tuple(ks)))
        best = candidate if ref.better(p, candidate.score, best.score) else best
    return best


@checked
@given(problems(), st.data())
def test_provisioning_is_a_walk(arguments: dict[str, Any], data: st.DataObject) -> None:
    """One device at a time to the slowest stage passes all the states that the definition looks at."""
    p = ref.plain_problem(**arguments)
    scheme = data.draw(schemes(p.n_labels, p.n_layers))
    assert walked(p, scheme) == ref.provision(p, scheme)


@checked
@given(problems(max_layers=3, max_types=2), st.data())
def test_no_scheme_is_better_than_the_best(arguments: dict[str, Any], data: st.DataObject) -> None:
    """Trying all schemes gives one of them, and no other is better."""
    p = ref.plain_problem(**arguments)
    scheme, best = ref.brute_force(p)
    assert best == ref.provision(p, scheme)
    other = ref.provision(p, data.draw(schemes(p.n_labels, p.n_layers)))
    assert ref.objective(p, best.score) <= ref.objective(p, other.score) * (1 + 1e-8) or other.score.violation


# What must hold of any score ---------------------------------------------------------------------------


def feasible_in_words(p: Any, scheme: list[int], plan: ref.Plan) -> bool:
    """Say whether a plan meets every limit of a problem, each checked for itself."""
    merged, slack = ref.stages(p, scheme), 1 + ref.EPS
    types = [int(p.label_types[s.label]) for s in merged]
    held = [sum(p.memory[list(s.layers)]) + max(p.workspace[list(s.layers)]) for s in merged]
    cost, tau, _, _ = plan.score
    rate = p.fixed_price + sum(p.price[t] * k for t, k in zip(types, plan.devices, strict=True))
    counts = np.bincount(types, plan.devices, minlength=p.n_types)
    return bool(
        all(np.isfinite(p.compute[x, t]) for s, t in zip(merged, types, strict=True) for x in s.layers)
        and all(m <= p.capacity[t] * slack for m, t in zip(held, types, strict=True))
        and np.all(counts <= p.limit * slack)
        and (p.goal.min_throughput is None or tau <= 1 / p.goal.min_throughput * slack)
        and (p.goal.max_duration is None or tau <= p.goal.max_duration / p.goal.examples * slack)
        and (p.goal.max_cost is None or cost <= p.goal.max_cost * slack)
        and (p.goal.max_price is None or rate <= p.goal.max_price * slack)
    )


@checked
@given(problems(), st.data())
def test_violation_is_zero_exactly_where_feasible(arguments: dict[str, Any], data: st.DataObject) -> None:
    """The sum of excesses is 0 where every limit is met, and positive elsewhere."""
    p = ref.plain_problem(**arguments)
    scheme = data.draw(schemes(p.n_labels, p.n_layers))
    target = data.draw(st.none() | st.sampled_from([0.05, 0.5, 2.0]))
    plan = ref.evaluate(p, scheme, target)
    assert plan.score.violation >= 0
    assert (plan.score.violation == 0) == feasible_in_words(p, scheme, plan)


@checked
@given(open_problems(), st.floats(0.01, 2.0), st.data())
def test_a_target_takes_the_fewest_devices(
    arguments: dict[str, Any], target: float, data: st.DataObject
) -> None:
    """Each stage reaches the target, or the best it can, and would not with one device less."""
    p = ref.plain_problem(**arguments)
    scheme = data.draw(schemes(p.n_labels, p.n_layers))
    loads = ref.loaded(p, scheme).loads
    for work, k in zip(loads, ref.evaluate(p, scheme, target).devices, strict=True):
        reached = max(1 / target, ref.time(p, work, ref.MOST_DEVICES))
        assert ref.meets(ref.time(p, work, k), reached)
        assert k == 1 or not ref.meets(ref.time(p, work, k - 1), reached)


@checked
@given(problems(), st.data())
def test_both_merges_agree_where_labels_are_runs(arguments: dict[str, Any], data: st.DataObject) -> None:
    """A label whose layers stand together is the same stage under either merge."""
    drawn = arguments | {"split": False}
    one, other = (ref.plain_problem(**drawn | {"merge": m}) for m in ("adjacent", "type"))
    scheme = sorted(data.draw(schemes(one.n_labels, one.n_layers)))
    assert ref.provision(one, scheme) == ref.provision(other, scheme)
