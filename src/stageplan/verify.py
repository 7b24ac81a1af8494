"""Checks of plans from the definitions, in plain Python: nothing of the native core is used."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from .plan import Plan, Stage
from .problem import Problem, check_problem

TOLERANCE = 1e-9
"""A value meets an upper limit when it exceeds it by at most this fraction."""

_ROUNDING = 1e-9  # sums in another order


class Verified(NamedTuple):
    """What a plan comes to, recomputed.

    Attributes
    ----------
    cost : float
        $ for all examples.
    throughput : float
        Examples per second.
    price : float
        $/hour.
    feasible : bool
        Whether it keeps every limit.
    """

    cost: float
    throughput: float
    price: float
    feasible: bool


def verify(problem: Problem, plan: Plan) -> Verified:
    """Recompute a plan from its scheme and its devices, and compare it with what it says.

    Stages are merged, loaded, timed (Amdahl's law) and priced anew; every limit is checked, and that no stage
    has a device more than the plan's speed takes.

    Parameters
    ----------
    problem
        What the plan is to be a plan of.
    plan
        A plan, such as a result's.

    Returns
    -------
    Verified

    Raises
    ------
    ValueError
        Naming the first number of the plan that is not what it comes to.
    TypeError
        Where the arguments are no problem and no plan.
    """
    check_problem(problem)
    if not isinstance(plan, Plan):
        raise TypeError(f"plan is {type(plan).__name__}; it must be a Plan")
    scheme = plan.scheme.tolist()
    if len(scheme) != problem.n_layers or not all(0 <= label < problem.n_labels for label in scheme):
        raise ValueError(f"plan.scheme is no scheme of {problem.name}; it must be one label a layer")
    merged = list(_merge(problem, scheme))
    if [(s.label, s.layers) for s in plan.stages] != merged:
        raise ValueError("plan.stages are not the stages of plan.scheme")
    for i, stage in enumerate(plan.stages):
        _check_stage(problem, scheme, stage, f"plan.stages[{i}]", plan.time)
    return _check_whole(problem, plan)


def _merge(problem: Problem, scheme: list[int]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Label and layers of each stage, in the order of their first layers."""
    layers = range(len(scheme))
    if problem.goal.merge == "type":
        for label in dict.fromkeys(scheme):
            yield label, tuple(x for x in layers if scheme[x] == label)
    else:
        for label, run in groupby(layers, key=lambda x: scheme[x]):
            yield label, tuple(run)


def _transfer(problem: Problem, scheme: list[int], layers: tuple[int, ...], t: int) -> float:
    """Seconds of transfer of a stage on one device: its ends, and the tensors that cross its border."""
    inside, seconds = set(layers), 0.0
    for x in layers:
        if x + 1 < len(scheme) and scheme[x + 1] != scheme[x]:
            seconds += float(problem.send[x, t])
        if x > 0 and scheme[x - 1] != scheme[x]:
            seconds += float(problem.receive[x, t])
    for producer, consumers, size in problem.tensors:
        users = [c in inside for c in consumers]
        if not all(users) if producer in inside else any(users):
            seconds += size / float(problem.bandwidth[t])
    return seconds


def stage_times(
    problem: Problem, scheme: list[int], layers: tuple[int, ...], t: int, k: int
) -> tuple[float, float]:
    """Seconds per example of compute and of transfer on k devices of type t."""
    compute = 0.0
    for x in layers:
        seconds, parallel = float(problem.compute[x, t]), float(problem.compute_parallel[x, t])
        if not math.isinf(seconds):
            compute += seconds * (1 - parallel) + seconds * parallel / k
    parallel = float(problem.transfer_parallel[t])
    return compute, _transfer(problem, scheme, layers, t) * (1 - parallel + parallel / k)


def _time(problem: Problem, scheme: list[int], layers: tuple[int, ...], t: int, k: int) -> float:
    compute, transfer = stage_times(problem, scheme, layers, t, k)
    return max(compute, transfer) if problem.goal.overlap else compute + transfer


def _check_stage(problem: Problem, scheme: list[int], stage: Stage, name: str, slowest: float) -> None:
    t, k = int(problem.label_types[stage.label]), stage.devices
    if stage.type != problem.type_names[t]:
        raise ValueError(f"{name}.type is {stage.type!r}; its label is of type {problem.type_names[t]!r}")
    if k < 1:
        raise ValueError(f"{name}.devices is {k}; it must be 1 or more")
    compute, transfer = stage_times(problem, scheme, stage.layers, t, k)
    _check(f"{name}.compute", stage.compute, compute)
    all_tensors = sum(size for _, _, size in problem.tensors) / float(problem.bandwidth[t])
    _check(f"{name}.transfer", stage.transfer, transfer, all_tensors)
    _check(f"{name}.time", stage.time, _time(problem, scheme, stage.layers, t, k))
    _check(f"{name}.memory", stage.memory, sum(float(problem.memory[x]) for x in stage.layers))
    _check(f"{name}.price", stage.price, float(problem.price[t]) * k)
    if stage.bottleneck != (stage.time >= slowest):
        raise ValueError(f"{name}.bottleneck is {stage.bottleneck}; the slowest stage takes {slowest:g} s")
    if k > 1 and _time(problem, scheme, stage.layers, t, k - 1) < slowest:
        raise ValueError(f"{name}.devices is {k}; one less would do for the plan's throughput")


def _check_whole(problem: Problem, plan: Plan) -> Verified:
    examples = problem.goal.examples
    price = problem.fixed_price + sum(stage.price for stage in plan.stages)
    found = Verified(
        cost=examples * plan.time / 3600 * price,
        throughput=1 / plan.time if plan.time > 0 else math.inf,
        price=price,
        feasible=not list(_broken(problem, plan, price)),
    )
    for name in ("cost", "throughput", "price"):
        _check(f"plan.{name}", getattr(plan, name), getattr(found, name))
    _check("plan.duration", plan.duration, examples * plan.time)
    if plan.feasible != found.feasible or bool(plan.violations) == found.feasible:
        broken = ", ".join(_broken(problem, plan, price)) or "none"
        raise ValueError(f"plan.violations name {len(plan.violations)} limits; broken are: {broken}")
    return found


def _broken(problem: Problem, plan: Plan, price: float) -> Iterator[str]:
    """Name the limits that a plan with right stages breaks."""
    goal = problem.goal
    for t, name in enumerate(problem.type_names):
        stages = [stage for stage in plan.stages if problem.label_types[stage.label] == t]
        if sum(stage.devices for stage in stages) > problem.limit[t]:
            yield f"devices of {name}"
        if any(not _meets(stage.memory, float(problem.capacity[t])) for stage in stages):
            yield f"memory of {name}"
        if any(math.isinf(problem.compute[x, t]) for stage in stages for x in stage.layers):
            yield f"layers that {name} cannot run"
        if any(stage.devices > (goal.max_devices_per_stage or math.inf) for stage in stages):
            yield f"devices per stage of {name}"
    for what, value, allowed in (
        ("throughput", plan.time, None if goal.min_throughput is None else 1 / goal.min_throughput),
        ("duration", goal.examples * plan.time, goal.max_duration),
        ("cost", goal.examples * plan.time / 3600 * price, goal.max_cost),
        ("price", price, goal.max_price),
    ):
        if allowed is not None and not _meets(value, allowed):
            yield what


def _meets(value: float, limit: float) -> bool:
    return value <= limit * (1 + TOLERANCE)


def _check(name: str, said: float, found: float, scale: float = 0.0) -> None:
    """Compare two numbers; `scale` is what was added up and taken away again on the way to them."""
    if not (said == found or math.isclose(said, found, rel_tol=_ROUNDING, abs_tol=_ROUNDING * scale * 1e-3)):
        raise ValueError(f"{name} is {said:.12g}; recomputed it is {found:.12g}")
