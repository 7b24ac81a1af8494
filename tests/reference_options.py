"""Strategies, schedules, memory by position and all-reduce by definition, in plain Python: the oracle.

Everything is tried: all options of each stage, all schemes. Nothing of the native core is used.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from math import ceil, inf
from typing import Any, NamedTuple

import reference as ref

Scheme = Sequence[int]
FEW_DEVICES = 256  # of a stage, unless the goal says how many


class Option(NamedTuple):
    """What a stage may be; seconds per example, bytes a device."""

    devices: int
    column: int
    replicas: int
    busy: float  # the longer of compute and transfer, or their sum
    through: float  # compute and transfer
    sync: float  # all-reduce and update, an iteration
    memory: float
    flight: float  # for each microbatch in flight
    unsupported: int


class Score(NamedTuple):
    """A plan's numbers."""

    cost: float
    time: float
    price: float
    violation: float


class Plan(NamedTuple):
    """The options of all stages, and their score."""

    options: tuple[Option, ...]
    score: Score


def examples_of_microbatch(p: Any) -> float:
    """Divide the batch; without a schedule all of it is one microbatch."""
    return (p.goal.batch or 1) / (p.goal.microbatches or 1)


def in_flight(p: Any, stages_to_end: int) -> int:
    """Count the microbatches in flight in a stage; the last one is one stage from the end."""
    if p.goal.schedule is None:
        return 1
    return p.goal.microbatches if p.goal.schedule == "gpipe" else min(stages_to_end, p.goal.microbatches)


def columns_of(p: Any, t: int) -> list[int]:
    """List the columns of a type."""
    return [t] if p.column_type is None else [c for c, u in enumerate(p.column_type) if u == t]


def entry(p: Any, name: str, layers: Sequence[int], c: int) -> list[float]:
    """Read an array by layer and column for the layers of a stage; 0 where it is absent."""
    array = getattr(p, name)
    if array is None:
        return [0.0 for _ in layers]
    return [float(array[x] if array.ndim == 1 else array[x, c]) for x in layers]


def degree_of(p: Any, c: int) -> int:
    """Give the devices of a replica."""
    return 1 if p.column_degree is None else int(p.column_degree[c])


def most_replicas(p: Any, t: int, c: int) -> int:
    """Give the most replicas of a stage that any option has."""
    most = min(p.goal.max_devices_per_stage or FEW_DEVICES, p.limit[t])
    replicas = max(1, int(most // degree_of(p, c)))
    return int(min(replicas, examples_of_microbatch(p))) if p.goal.schedule else replicas


def rate(p: Any, t: int, devices: int) -> float:
    """Give the bytes/s of an all-reduce: inside one machine, or between machines."""
    link = inf if p.link is None else float(p.link[t])
    network = link if p.network is None else float(p.network[t])
    return link if devices <= (inf if p.machine is None else p.machine[t]) else network


def column_option(p: Any, layers: Sequence[int], t: int, c: int, r: int) -> Option:
    """Work out a stage on column c with r replicas."""
    m, k = examples_of_microbatch(p), degree_of(p, c) * r
    fullest = ceil(m / r)
    share = fullest / m if p.goal.schedule else 1 / r
    times = entry(p, "compute", layers, c)
    alphas = entry(p, "compute_parallel", layers, c)
    runs = [(w, alpha) for w, alpha in zip(times, alphas, strict=True) if w < inf]
    compute = sum(w * (1 - alpha) + w * alpha * share for w, alpha in runs)
    last = len(p.compute) - 1
    moved = float(p.send[layers[-1], c]) if layers[-1] < last else 0.0
    moved += float(p.receive[layers[0], c]) if layers[0] > 0 else 0.0
    moved += sum(x[2] for x in p.tensors if ref.crosses(x, layers)) / float(p.bandwidth[t])
    beta = float(p.transfer_parallel[t])
    transfer = moved * (1 - beta) + moved * beta * share
    batch = p.goal.batch is not None
    gradients = sum(entry(p, "gradients", layers, c)) if batch else 0.0
    reduced = 0.0 if r == 1 else 2 * (r - 1) / r * gradients / rate(p, t, k)
    memory = sum(entry(p, "memory", layers, c)) + sum(entry(p, "sharded", layers, c)) / r
    running = fullest / p.conditions.batch if batch else 1  # of what the workspace is for
    return Option(
        devices=k,
        column=c,
        replicas=r,
        busy=max(compute, transfer) if p.goal.overlap else compute + transfer,
        through=compute + transfer,
        sync=reduced + sum(entry(p, "update", layers, c)),
        memory=memory + running * max(entry(p, "workspace", layers, c)),
        flight=fullest * sum(entry(p, "activations", layers, c)) if batch else 0.0,
        unsupported=len(times) - len(runs),
    )


def listed_options(p: Any, layers: Sequence[int], t: int) -> list[Option]:
    """Pick the options that the problem lists for a stage."""
    o = p.options
    return [
        Option(int(k), i, 1, float(o.time[i]), float(o.pass_time[i]), 0.0, float(o.memory[i]),
               ceil(examples_of_microbatch(p)) * float(o.activations[i]), 0)
        for i, k in enumerate(o.devices)
        if (o.first[i], o.last[i], o.type[i]) == (layers[0], layers[-1], t)
        and k <= (p.goal.max_devices_per_stage or inf)
    ]  # fmt: skip


def all_options(p: Any, layers: Sequence[int], t: int) -> list[Option]:
    """List all options of a stage, good or not."""
    if p.options is not None:
        return listed_options(p, layers, t)
    return [
        column_option(p, layers, t, c, r)
        for c in columns_of(p, t)
        for r in range(1, most_replicas(p, t, c) + 1)
        if not (p.goal.equal_shares and p.goal.schedule and examples_of_microbatch(p) % r)
        if degree_of(p, c) <= (p.goal.max_devices_per_stage or inf)
    ]


def group(p: Any, option: Option) -> tuple[Any, Any]:
    """Give what has to be the same in all stages."""
    if p.options is not None:
        return None, None
    names = p.column_strategy or ("",) * p.compute.shape[1]
    strategy = names[option.column] if p.goal.same_strategy else None
    return strategy, option.replicas if p.goal.same_replicas else None


def violation_of(p: Any, option: Option, t: int, flying: int) -> float:
    """Add up what an option breaks by itself: memory above the capacity, layers that it cannot run."""
    needed = option.memory + flying * option.flight
    return option.unsupported + ref.excess(needed, p.capacity[t], p.capacity[t])


def least_violating(p: Any, options: Sequence[Option], t: int, flying: int) -> list[Option]:
    """Keep of each group the options that break the least."""
    least: dict[Any, float] = {}
    for o in options:
        least[group(p, o)] = min(least.get(group(p, o), inf), violation_of(p, o, t, flying))
    return [o for o in options if violation_of(p, o, t, flying) == least[group(p, o)]]


def rented(p: Any, types: Sequence[int], options: Sequence[Option]) -> list[int]:
    """Count devices of each type: whole machines where the goal asks for them."""
    counts = [
        sum(o.devices for o, u in zip(options, types, strict=True) if u == t) for t in range(len(p.price))
    ]
    if not p.goal.whole_machines:
        return counts
    return [
        n if size == inf else int(-(-n // size) * size) for n, size in zip(counts, p.machine, strict=True)
    ]


def plan_time(p: Any, options: Sequence[Option]) -> float:
    """Give seconds per example: the closed form of the schedule."""
    batch = p.goal.batch or 1
    if p.goal.schedule is None:
        return max(o.busy + o.sync / batch for o in options)
    M = p.goal.microbatches
    steady, through = max(o.busy for o in options), sum(o.through for o in options)
    return ((M - 1) * steady + through) / M + max(o.sync for o in options) / batch


def score(p: Any, types: Sequence[int], options: Sequence[Option]) -> Score:
    """Score the options of all stages, in order."""
    counts, time = rented(p, types, options), plan_time(p, options)
    price = float(p.fixed_price + sum(each * n for each, n in zip(p.price, counts, strict=True)))
    cost = p.goal.examples / 3600 * time * price
    broken = [(len(options), p.goal.max_stages), (time, ref.goal_time(p)), (price, p.goal.max_price)]
    violation = sum(ref.excess(x, limit, limit) for x, limit in [*broken, (cost, p.goal.max_cost)] if limit)
    violation += sum(max(0.0, n - limit) / max(limit, 1) for n, limit in zip(counts, p.limit, strict=True))
    for i, (option, t) in enumerate(zip(options, types, strict=True)):
        violation += violation_of(p, option, t, in_flight(p, len(options) - i))
    return Score(float(cost), float(time), price, float(violation))


def objective(p: Any, s: Score) -> float:
    """Give the number that the goal minimises."""
    return {"cost": s.cost, "throughput": s.time, "price": s.price}[p.goal.objective]


def choices(p: Any, scheme: Scheme) -> Iterator[tuple[tuple[int, ...], tuple[Option, ...]]]:
    """Try every choice of options for the stages of a scheme, (types, options), in every group."""
    merged = ref.stages(p, scheme)
    types = tuple(int(p.label_types[s.label]) for s in merged)
    by_stage = []
    for i, (stage, t) in enumerate(zip(merged, types, strict=True)):
        options = all_options(p, stage.layers, t)
        by_stage.append(least_violating(p, options, t, in_flight(p, len(merged) - i)))
    groups = sorted({group(p, o) for options in by_stage for o in options}, key=str)
    for g in groups:
        for chosen in product(*([o for o in options if group(p, o) == g] for options in by_stage)):
            yield types, chosen


def provision(p: Any, scheme: Scheme) -> Plan | None:
    """Choose the best feasible options of a scheme; None where no choice is feasible."""
    best = None
    for types, chosen in choices(p, scheme):
        found = score(p, types, chosen)
        if found.violation == 0 and (best is None or objective(p, found) < objective(p, best.score)):
            best = Plan(chosen, found)
    return best


def brute_force(p: Any) -> tuple[tuple[int, ...], Plan] | None:
    """Find the best feasible plan over all schemes; None where there is none."""
    best = None
    for scheme in product(range(len(p.label_types)), repeat=len(p.compute)):
        plan = provision(p, scheme)
        if plan and (best is None or objective(p, plan.score) < objective(p, best[1].score)):
            best = scheme, plan
    return best
