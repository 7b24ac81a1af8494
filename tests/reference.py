"""The cost model in plain Python: the oracle that every faster implementation is tested against.

Nothing here is fast and nothing is clever: each function is one equation. Times are seconds per example,
prices are per hour, a scheme is one label a layer, ``devices`` is one count a stage.

A problem ``p`` is anything with these attributes (``L`` layers, ``T`` types):

=====================  ===========================================================================
compute                (L, T) seconds; inf where the type cannot run the layer
send, receive          (L, T) seconds to pass a layer's output on, to take its input in
compute_parallel       (L, T) fraction of compute that k devices share (alpha)
transfer_parallel      (T,)   fraction of transfer that k devices share (beta)
memory                 (L,)   bytes
workspace              (L,)   bytes while a layer runs, the largest of a stage; or None
price, limit           (T,)   per device-hour; devices there are, inf where unlimited
capacity, bandwidth    (T,)   bytes a stage may hold; bytes per second; inf where unlimited
fixed_price            per hour, whatever is rented
tensors                tuple of (producer, consumers, bytes)
label_types            the type of each label
goal                   objective, examples, min_throughput, max_duration, max_cost, max_price, overlap,
                       merge, split, max_devices_per_stage
=====================  ===========================================================================
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, product
from math import fsum, inf, isinf
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeAlias

import numpy as np

EPS = 1e-9
"""The one tolerance: x meets an upper limit y when x <= y (1 + EPS)."""

MOST_DEVICES = 2**20
"""No stage has more devices than this."""

Scheme: TypeAlias = Sequence[int]
Devices: TypeAlias = tuple[int, ...]


class Stage(NamedTuple):
    """Layers of one label that run together."""

    label: int
    layers: tuple[int, ...]


class Load(NamedTuple):
    """What a stage has to do: serial and parallel seconds of compute (W) and transfer (D)."""

    ws: float
    wp: float
    ds: float
    dp: float
    memory: float
    unsupported: int


class Score(NamedTuple):
    """Cost of all examples, seconds per example, sum of the relative excesses over limits, $ an hour."""

    cost: float
    tau: float
    violation: float
    price: float


class Plan(NamedTuple):
    """Devices of each stage, and their totals."""

    devices: Devices
    score: Score


# Numbers -----------------------------------------------------------------------------------------------


def meets(x: float, limit: float) -> bool:
    """Say whether x keeps the upper limit, under the tie rule."""
    return x <= limit * (1 + EPS)


def less(x: float, y: float) -> bool:
    """Say whether x is less than y by more than a tie: y does not meet x."""
    return not meets(y, x)


def excess(x: float, limit: float, unit: float) -> float:
    """Give how far x is above the limit in units, 0 where it meets the limit."""
    return 0.0 if meets(x, limit) else (x - limit) / unit


# From schemes to loads ---------------------------------------------------------------------------------


def label_types(limit: Sequence[float], n_layers: int, merge: str, split: bool) -> tuple[int, ...]:
    """Give the type of each label: one label a type, two of them, or one a device."""
    labels_of = [1] * len(limit)
    if split and merge == "adjacent":
        labels_of = [2] * len(limit)
    elif split:
        labels_of = [int(min(n, n_layers)) for n in limit]
    return tuple(t for t, n in enumerate(labels_of) for _ in range(n))


def stages(p: Any, scheme: Scheme) -> list[Stage]:
    """Merge the layers of a scheme: runs of one label, or all layers of a label; in order of first layers."""
    layers = range(len(scheme))
    if p.goal.merge == "type":
        return [Stage(c, tuple(x for x in layers if scheme[x] == c)) for c in dict.fromkeys(scheme)]
    return [Stage(c, tuple(run)) for c, run in groupby(layers, key=lambda x: scheme[x])]


def boundary_seconds(p: Any, scheme: Scheme, stage: Stage) -> float:
    """Sum send and receive where a neighbour has another label; the ends of the pipeline cost nothing."""
    t, last = p.label_types[stage.label], len(scheme) - 1
    sent = sum(p.send[x, t] for x in stage.layers if x < last and scheme[x + 1] != stage.label)
    received = sum(p.receive[x, t] for x in stage.layers if x > 0 and scheme[x - 1] != stage.label)
    return float(sent + received)


def crosses(tensor: tuple[int, Sequence[int], float], layers: Iterable[int]) -> bool:
    """Say whether a tensor is made inside and used outside, or made outside and used inside."""
    producer, consumers, _ = tensor
    inside = set(layers)
    if producer in inside:
        return any(c not in inside for c in consumers)
    return any(c in inside for c in consumers)


def tensor_seconds(p: Any, stage: Stage) -> float:
    """Sum the bytes that cross the stage's boundary, each tensor once, over the bandwidth."""
    crossing = sum(tensor[2] for tensor in p.tensors if crosses(tensor, stage.layers))
    return float(crossing / p.bandwidth[p.label_types[stage.label]])


def workspace(p: Any, stage: Stage) -> float:
    """Give the bytes that only one layer of a stage takes at a time: the largest."""
    return 0.0 if p.workspace is None else float(np.max(p.workspace[list(stage.layers)]))


def load(p: Any, scheme: Scheme, stage: Stage) -> Load:
    """Sum what the layers of a stage ask for; a layer its type cannot run takes no time and is counted."""
    t = p.label_types[stage.label]
    supported = [x for x in stage.layers if not isinf(p.compute[x, t])]
    transfer, beta = boundary_seconds(p, scheme, stage) + tensor_seconds(p, stage), p.transfer_parallel[t]
    return Load(
        ws=fsum(p.compute[x, t] * (1 - p.compute_parallel[x, t]) for x in supported),
        wp=fsum(p.compute[x, t] * p.compute_parallel[x, t] for x in supported),
        ds=float(transfer * (1 - beta)),
        dp=float(transfer * beta),
        memory=fsum(p.memory[x] for x in stage.layers) + workspace(p, stage),
        unsupported=len(stage.layers) - len(supported),
    )


# From devices to time and back -------------------------------------------------------------------------


def time(p: Any, work: Load, k: int) -> float:
    """Give the seconds per example of a stage with k devices (Amdahl)."""
    compute, transfer = work.ws + work.wp / k, work.ds + work.dp / k
    return max(compute, transfer) if p.goal.overlap else compute + transfer


def most_devices(p: Any) -> int:
    """Give the most devices that any stage may have."""
    return min(p.goal.max_devices_per_stage or MOST_DEVICES, MOST_DEVICES)


def reaches(p: Any, work: Load, tau: float) -> bool:
    """Say whether some number of devices brings the stage's time to tau."""
    return meets(time(p, work, most_devices(p)), tau)


def devices(p: Any, work: Load, t: int, tau: float) -> int:
    """Give the fewest devices of type t that bring a stage to tau.

    Where none do: the fewest that are as fast as all the devices that it may have.
    """
    most = most_devices(p)
    if not reaches(p, work, tau):
        tau = time(p, work, int(min(most, max(p.limit[t], 1))))
    return 1 + bisect_left(range(1, most + 1), True, key=lambda k: meets(time(p, work, k), tau))


def goal_time(p: Any) -> float:
    """Give the seconds per example that the goal allows, inf where it does not say."""
    by_throughput = inf if p.goal.min_throughput is None else 1 / p.goal.min_throughput
    by_duration = inf if p.goal.max_duration is None else p.goal.max_duration / p.goal.examples
    return float(min(by_throughput, by_duration))


# Scores ------------------------------------------------------------------------------------------------


class Loaded(NamedTuple):
    """A merged scheme: type and load of each stage."""

    types: tuple[int, ...]
    loads: tuple[Load, ...]


def loaded(p: Any, scheme: Scheme) -> Loaded:
    """Merge a scheme and load its stages."""
    merged = stages(p, scheme)
    types = tuple(int(p.label_types[s.label]) for s in merged)
    return Loaded(types, tuple(load(p, scheme, s) for s in merged))


def bottleneck(p: Any, work: Loaded, ks: Devices) -> float:
    """Give tau, the time of the slowest stage."""
    return max(time(p, w, k) for w, k in zip(work.loads, ks, strict=True))


def counts(p: Any, work: Loaded, ks: Devices) -> list[int]:
    """Count the devices of each type over all stages."""
    return [sum(k for t, k in zip(work.types, ks, strict=True) if t == u) for u in range(len(p.price))]


def hourly(p: Any, work: Loaded, ks: Devices) -> float:
    """Give the price per hour: the fixed price, and then the devices of one type after the other."""
    rate = float(p.fixed_price)
    for each, count in zip(p.price, counts(p, work, ks), strict=True):
        rate += float(each * count)
    return rate


def device_excess(p: Any, work: Loaded, ks: Devices) -> float:
    """Sum over types how far the devices of all stages are above the limit, relative to it; no tolerance."""
    used = counts(p, work, ks)
    return sum(max(0.0, n - limit) / max(limit, 1) for n, limit in zip(used, p.limit, strict=True))


def stage_excess(p: Any, work: Loaded) -> float:
    """Sum what no number of devices changes: memory above the capacity and unsupported layers."""
    pairs = zip(work.types, work.loads, strict=True)
    return sum(excess(w.memory, p.capacity[t], p.capacity[t]) + w.unsupported for t, w in pairs)


def score_loaded(p: Any, work: Loaded, ks: Devices) -> Score:
    """Score a merged scheme with given devices."""
    tau, rate, tau_goal = bottleneck(p, work, ks), hourly(p, work, ks), goal_time(p)
    cost = p.goal.examples / 3600 * tau * rate
    limits = [(tau, tau_goal), (cost, p.goal.max_cost), (rate, p.goal.max_price)]
    violation = sum(excess(x, limit, limit) for x, limit in limits if limit is not None)
    violation += device_excess(p, work, ks) + stage_excess(p, work)
    return Score(float(cost), tau, float(violation), rate)


def score(p: Any, scheme: Scheme, ks: Devices) -> Score:
    """Score a scheme with given devices, one count a stage."""
    return score_loaded(p, loaded(p, scheme), ks)


def objective(p: Any, s: Score) -> float:
    """Give the number that the goal minimises."""
    return float({"cost": s.cost, "throughput": s.tau, "price": s.price}[p.goal.objective])


def better(p: Any, a: Score, b: Score) -> bool:
    """Say whether a is better than b by more than a tie: less violation, or as much and less objective."""
    if less(a.violation, b.violation) or less(b.violation, a.violation):
        return less(a.violation, b.violation)
    return less(objective(p, a), objective(p, b))


# Provisioning ------------------------------------------------------------------------------------------


def state(p: Any, work: Loaded, tau: float) -> Devices:
    """Give k(tau): the fewest devices of every stage that reach tau."""
    return tuple(devices(p, w, t, tau) for t, w in zip(work.types, work.loads, strict=True))


def breakpoints(p: Any, work: Loaded, start: Devices, cap: int) -> list[float]:
    """List every tau at which k(tau) changes, slowest first, up to cap devices a stage beyond the start."""
    tops = [min(most_devices(p), k + cap) for k in start]
    ranges = zip(work.loads, start, tops, strict=True)
    times = {time(p, w, k) for w, first, top in ranges for k in range(first, top + 1)}
    slowest = max(time(p, w, top) for w, top in zip(work.loads, tops, strict=True))
    return sorted((tau for tau in times if tau >= slowest), reverse=True)


def provision(p: Any, scheme: Scheme, cap: int = 200) -> Plan:
    """Provision a scheme by definition: the best of all k(tau), tau <= tau_goal; the slowest among equals.

    Parameters
    ----------
    p : problem
    scheme : sequence of int
        Label of each layer.
    cap : int
        Devices a stage beyond the start that are looked at, so that this ends.

    Returns
    -------
    Plan
        Where a stage cannot reach tau_goal: the fewest devices for the best tau that it can reach.
    """
    work, tau_goal = loaded(p, scheme), goal_time(p)
    start = state(p, work, tau_goal)
    best = Plan(start, score_loaded(p, work, start))
    if not meets(best.score.tau, tau_goal):
        ks = state(p, work, best.score.tau)
        return Plan(ks, score_loaded(p, work, ks))
    for tau in breakpoints(p, work, start, cap):
        ks = state(p, work, min(tau, tau_goal))
        candidate = Plan(ks, score_loaded(p, work, ks))
        best = candidate if better(p, candidate.score, best.score) else best
    return best


def evaluate(p: Any, scheme: Scheme, target: float | None = None) -> Plan:
    """Score a scheme with the fewest devices that reach the target, or provisioned exactly (None)."""
    if target is None:
        return provision(p, scheme)
    work = loaded(p, scheme)
    ks = state(p, work, 1 / target)
    return Plan(ks, score_loaded(p, work, ks))


# Everything there is -----------------------------------------------------------------------------------


def rank(p: Any) -> Callable[[Score], tuple[float, float, float]]:
    """Give the key that orders scores without tolerance: violation, objective, cost."""
    return lambda s: (s.violation, objective(p, s), s.cost)


def brute_devices(p: Any, scheme: Scheme, kmax: int) -> Plan:
    """Provision a scheme by trying all device counts up to kmax."""
    work = loaded(p, scheme)
    counts = range(1, min(kmax, most_devices(p)) + 1)
    plans = (Plan(ks, score_loaded(p, work, ks)) for ks in product(counts, repeat=len(work.types)))
    return min(plans, key=lambda plan: rank(p)(plan.score))


def brute_force(p: Any, cap: int = 200) -> tuple[tuple[int, ...], Plan]:
    """Provision all schemes and give the best and its plan, the first among equals."""
    schemes = product(range(len(p.label_types)), repeat=len(p.compute))
    plans = ((scheme, provision(p, scheme, cap)) for scheme in schemes)
    best = next(plans)
    for candidate in plans:
        best = candidate if better(p, candidate[1].score, best[1].score) else best
    return best


# A problem without the package -------------------------------------------------------------------------

GOAL_DEFAULTS: dict[str, Any] = {
    "objective": "cost",
    "examples": 1e6,
    "min_throughput": None,
    "max_duration": None,
    "max_cost": None,
    "max_price": None,
    "overlap": True,
    "merge": "adjacent",
    "split": False,
    "max_devices_per_stage": None,
}


def plain_problem(compute: Any, price: Any, **kwargs: Any) -> SimpleNamespace:
    """Make a problem of the arguments of ``Problem.from_arrays``, without checking any of them."""
    table = np.asarray(compute, dtype=float)
    n_layers, n_types = table.shape
    goal = SimpleNamespace(**{name: kwargs.pop(name, default) for name, default in GOAL_DEFAULTS.items()})

    def array(name: str, shape: tuple[int, ...], default: float) -> Any:
        given = kwargs.pop(name, None)
        return np.broadcast_to(np.asarray(default if given is None else given, dtype=float), shape)

    limit = array("limit", (n_types,), inf)
    p = SimpleNamespace(
        compute=table,
        send=array("send", table.shape, 0.0),
        receive=array("receive", table.shape, 0.0),
        compute_parallel=array("compute_parallel", table.shape, 1.0),
        transfer_parallel=array("transfer_parallel", (n_types,), 1.0),
        memory=array("memory", (n_layers,), 0.0),
        workspace=array("workspace", (n_layers,), 0.0),
        price=np.asarray(price, dtype=float),
        limit=limit,
        capacity=array("capacity", (n_types,), inf),
        bandwidth=array("bandwidth", (n_types,), inf),
        fixed_price=float(kwargs.pop("fixed_price", 0.0)),
        tensors=tuple((a, tuple(c), float(b)) for a, c, b in kwargs.pop("tensors", None) or ()),
        goal=goal,
        n_layers=n_layers,
        n_types=n_types,
        label_types=label_types(limit, n_layers, goal.merge, goal.split),
    )
    p.n_labels = len(p.label_types)
    if kwargs:
        raise TypeError(f"no such arguments: {', '.join(kwargs)}")
    return p


# The network of a policy -------------------------------------------------------------------------------


def policy_logits(cell: str, weights: dict[str, Any], shared: Any, own: Any, previous: Any) -> Any:
    """Give the logits of each step, (steps, episodes, labels): an LSTM or a plain RNN and a linear head.

    ``shared`` is (steps, numbers of a step), ``own`` (steps, episodes, numbers of an episode), ``previous``
    (steps, episodes) a label or -1 for none. Gates stand in the order of torch: input, forget, cell, output.
    """
    w, (steps, episodes), hidden = SimpleNamespace(**weights), previous.shape, len(weights["recurrent"])
    h = c = np.zeros((episodes, hidden))
    logits = []
    for s in range(steps):
        chosen = np.arange(len(w.input_previous)) == previous[s][:, None]
        z = shared[s] @ w.input_shared + own[s] @ w.input_own + chosen @ w.input_previous
        z = z + h @ w.recurrent + w.bias
        if cell == "rnn":
            h = np.tanh(z)
        else:
            i, f, g, o = np.split(z, 4, axis=1)
            c = logistic(f) * c + logistic(i) * np.tanh(g)
            h = logistic(o) * np.tanh(c)
        logits.append(h @ w.head + w.head_bias)
    return np.array(logits)


def logistic(x: Any) -> Any:
    """Give the logistic function."""
    return 1 / (1 + np.exp(-x))


def clip(gradient: Any, most: float) -> Any:
    """Scale a gradient down to a norm of at most `most`."""
    return gradient * min(1.0, most / (float(np.linalg.norm(gradient)) + 1e-6))


def adam(weights: Any, gradient: Any, first: Any, second: Any, steps: int, rate: float) -> Any:
    """Give weights and moments after step number `steps`, from 1 on (Kingma, Ba 2015, algorithm 1)."""
    first = 0.9 * first + 0.1 * gradient
    second = 0.999 * second + 0.001 * gradient**2
    direction = first / (1 - 0.9**steps) / (np.sqrt(second / (1 - 0.999**steps)) + 1e-8)
    return weights - rate * direction, first, second
