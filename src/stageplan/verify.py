"""Verification of plans from the definitions, in plain Python, independent of the native core."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import numpy as np

from .errors import InputError
from .plan import Plan, Stage, check_plan
from .problem import Problem, check_problem
from .verify_options import check_option, check_same, time_by_schedule, unsupported

TOLERANCE = 1e-9
"""A value meets an upper limit when it exceeds it by at most this fraction."""

_ROUNDING = 1e-9  # sums in another order
_SUMS = 1e-15  # of the sum over all layers: rounding error of a stage's part of it


class Verified(NamedTuple):
    """The recomputed numbers of a plan.

    Attributes
    ----------
    cost : float
        $ for all examples.
    throughput : float
        Examples per second.
    price : float
        $/hour.
    feasible : bool
        Whether it meets every limit.
    """

    cost: float
    throughput: float
    price: float
    feasible: bool


def verify(problem: Problem, plan: Plan) -> Verified:
    """Recompute a plan from its scheme and its devices, and compare all its numbers.

    Stages are merged, timed (Amdahl's law) and priced again; every limit is checked, and that no stage has
    more devices than the throughput of the plan requires.

    Parameters
    ----------
    problem
        The problem that the plan is for.
    plan
        A plan, such as a result's.

    Returns
    -------
    Verified

    Raises
    ------
    ValueError
        Naming the first number of the plan that differs from the recomputed one.
    TypeError
        The arguments are not a `Problem` and a `Plan`.

    Examples
    --------
    >>> import stageplan as sp
    >>> problem = sp.Problem.from_arrays(
    ...     compute=[[4.0, 1.0], [2.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0], limit=[2, 2],
    ...     min_throughput=0.5, examples=3600,
    ... )
    >>> sp.verify(problem, sp.solve(problem).plan)
    Verified(cost=7.0, throughput=1.0, price=7.0, feasible=True)
    """
    check_problem(problem)
    check_plan(plan)
    scheme = plan.scheme.tolist()
    if len(scheme) != problem.n_layers or not all(0 <= label < problem.n_labels for label in scheme):
        raise InputError(f"plan.scheme is not a scheme of {problem.name}; it must be one label per layer")
    merged = list(_merge(problem, scheme))
    if [(s.label, s.layers) for s in plan.stages] != merged:
        raise InputError("plan.stages are not the stages of plan.scheme")
    for i, stage in enumerate(plan.stages):
        name, slowest = f"plan.stages[{i}]", max(other.time for other in plan.stages)
        if problem.by_options:
            check_option(problem, plan, i, name)
        else:
            _check_stage(problem, scheme, stage, name, slowest)
        if stage.bottleneck != (stage.time >= slowest):
            raise InputError(
                f"{name}.bottleneck is {stage.bottleneck}; the slowest stage takes {slowest:g} s"
            )
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
    """Seconds of transfer of a stage on one device: at its ends, and of tensors that cross its boundaries."""
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
    times = [(float(problem.compute[x, t]), float(problem.compute_parallel[x, t])) for x in layers]
    runs = [(seconds, parallel) for seconds, parallel in times if not math.isinf(seconds)]
    serial = math.fsum(seconds * (1 - parallel) for seconds, parallel in runs)
    shared = math.fsum(seconds * parallel for seconds, parallel in runs)
    transfer, parallel = _transfer(problem, scheme, layers, t), float(problem.transfer_parallel[t])
    return serial + shared / k, transfer * (1 - parallel) + transfer * parallel / k


def _time(problem: Problem, scheme: list[int], layers: tuple[int, ...], t: int, k: int) -> float:
    compute, transfer = stage_times(problem, scheme, layers, t, k)
    return max(compute, transfer) if problem.goal.overlap else compute + transfer


def _check_stage(problem: Problem, scheme: list[int], stage: Stage, name: str, slowest: float) -> None:
    t, k = int(problem.label_types[stage.label]), stage.devices
    if stage.type != problem.type_names[t]:
        raise InputError(f"{name}.type is {stage.type!r}; its label is of type {problem.type_names[t]!r}")
    if k < 1:
        raise InputError(f"{name}.devices is {k}; it must be 1 or more")
    compute, transfer = stage_times(problem, scheme, stage.layers, t, k)
    runs = problem.compute[:, t]
    check_same(f"{name}.compute", stage.compute, compute, _SUMS * float(runs[np.isfinite(runs)].sum()))
    all_tensors = sum(size for _, _, size in problem.tensors) / float(problem.bandwidth[t])
    check_same(f"{name}.transfer", stage.transfer, transfer, all_tensors)
    together = max if problem.goal.overlap else sum
    check_same(f"{name}.time", stage.time, together((stage.compute, stage.transfer)))
    memory = math.fsum(problem.memory[list(stage.layers)])
    if problem.workspace is not None:
        memory += float(problem.workspace[list(stage.layers)].max())
    check_same(f"{name}.memory", stage.memory, memory, _SUMS * float(problem.memory.sum()))
    check_same(f"{name}.price", stage.price, float(problem.price[t]) * k)
    if k > 1 and _time(problem, scheme, stage.layers, t, k - 1) < slowest * (1 - _ROUNDING):
        raise InputError(f"{name}.devices is {k}; one less is sufficient for the throughput of the plan")


def _check_whole(problem: Problem, plan: Plan) -> Verified:
    examples = problem.goal.examples
    price = _price(problem, plan)
    if problem.by_options:
        check_same("plan.time", plan.time, time_by_schedule(problem, plan.stages))
    else:
        check_same("plan.time", plan.time, max(stage.time for stage in plan.stages))
    found = Verified(
        cost=examples / 3600 * plan.time * price,
        throughput=1 / plan.time if plan.time > 0 else math.inf,
        price=price,
        feasible=not list(_broken(problem, plan)) and _allowed(problem, plan),
    )
    for name in ("cost", "throughput", "price"):
        check_same(f"plan.{name}", getattr(plan, name), getattr(found, name))
    check_same("plan.duration", plan.duration, examples * plan.time)
    if plan.feasible != found.feasible or bool(plan.violations) == found.feasible:
        broken = ", ".join(_broken(problem, plan)) or "none"
        raise InputError(f"plan.violations name {len(plan.violations)} limits; broken are: {broken}")
    return found


def _allowed(problem: Problem, plan: Plan) -> bool:
    """Check the plan cost of a plan that meets all limits, in Python; whether it is finite."""
    if problem.plan_cost is None:
        return True
    cost = problem.plan_cost(plan)
    check_same("plan.plan_cost", math.nan if plan.plan_cost is None else plan.plan_cost, cost)
    return cost < math.inf


def _price(problem: Problem, plan: Plan) -> float:
    """$/hour, summed by type."""
    price = problem.fixed_price
    for t, each in enumerate(problem.price.tolist()):
        price += each * _rented(problem, plan, t)
    return price


def _rented(problem: Problem, plan: Plan, t: int) -> int:
    """Count the devices of a type: whole machines where the goal asks for them."""
    used = sum(stage.devices for stage in plan.stages if problem.label_types[stage.label] == t)
    if not problem.goal.whole_machines or problem.machine is None or math.isinf(problem.machine[t]):
        return used
    size = int(problem.machine[t])
    return math.ceil(used / size) * size


def _broken(problem: Problem, plan: Plan) -> Iterator[str]:
    """Name the limits that a plan breaks, by its own numbers, which are checked before."""
    goal = problem.goal
    for t, name in enumerate(problem.type_names):
        stages = [stage for stage in plan.stages if problem.label_types[stage.label] == t]
        if _rented(problem, plan, t) > problem.limit[t]:
            yield f"devices of {name}"
        if any(not _meets(stage.memory, float(problem.capacity[t])) for stage in stages):
            yield f"memory of {name}"
        if problem.by_options:
            cannot_run = any(unsupported(problem, stage) for stage in stages)
        else:
            cannot_run = any(math.isinf(problem.compute[x, t]) for stage in stages for x in stage.layers)
        if cannot_run:
            yield f"layers that {name} cannot run"
        if any(stage.devices > (goal.max_devices_per_stage or math.inf) for stage in stages):
            yield f"devices per stage of {name}"
    if len(plan.stages) > (goal.max_stages or math.inf):
        yield "stages"
    for what, value, allowed in (
        ("throughput", plan.time, None if goal.min_throughput is None else 1 / goal.min_throughput),
        ("duration", plan.time, None if goal.max_duration is None else goal.max_duration / goal.examples),
        ("cost", plan.cost, goal.max_cost),
        ("price", plan.price, goal.max_price),
    ):
        if allowed is not None and not _meets(value, allowed):
            yield what


def _meets(value: float, limit: float) -> bool:
    return value <= limit * (1 + TOLERANCE)
