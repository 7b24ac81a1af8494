"""Exact optimum of a problem without limits, to measure searches against: written for clarity, in numba.

For a fixed stage time tau the cheapest devices are a shortest path over (layer, last type):

    F[b][t] = min over a <= b of (least F[a - 1] of another type) + price[t] * devices(a..b, t, tau)

A plan whose stage time lies between low and high costs at least ``low * (fixed price + F(high))``, since F
falls with tau; the best tau is found by bisecting intervals, those of the least bound first.
"""

import heapq
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from baselines import Array, Tables, devices_for, tables
from numba import njit

import stageplan as sp

FASTEST = 1e-4  # least stage time that is looked at, of the time that the goal allows


class Provision(NamedTuple):
    """The cheapest devices for a stage time."""

    price: float  # $/hour of all devices; inf where no scheme reaches the time
    time: float  # stage time that they take
    counts: Array  # devices of each type
    scheme: npt.NDArray[np.int8]


class Optimum(NamedTuple):
    """Cost of the best plan found, a proven lower bound of the least cost, and the plan."""

    cost: float
    bound: float
    plan: Provision


@njit(error_model="numpy")
def _cheapest_stage(work, price, others, t, b):
    """Least price of layers 0..b whose last stage is of type t; where that begins, its time and devices."""
    serial, parallel, send_serial, send_parallel, allowed = work
    best, begin, time, devices = np.inf, -1, 0.0, 0.0
    sum_serial, sum_parallel = 0.0, 0.0
    for a in range(b, -1, -1):
        sum_serial += serial[a, t]
        sum_parallel += parallel[a, t]
        if max(sum_serial, send_serial[b, t]) >= allowed:
            break
        k = devices_for(sum_serial, sum_parallel, send_serial[b, t], send_parallel[b, t], allowed, 0.0)
        total = others[a, t] + price[t] * k
        if total < best:
            best, begin, devices = total, a, k
            time = max(sum_serial + sum_parallel / k, send_serial[b, t] + send_parallel[b, t] / k)
    return best, begin, time, devices


@njit(error_model="numpy")
def _least_of_another(totals, others):
    """Least total of any type but t, for each t."""
    first = np.argmin(totals)
    second = np.inf
    for t in range(len(totals)):
        if t != first:
            second = min(second, totals[t])
    others[:] = totals[first]
    others[first] = second


@njit(error_model="numpy")
def _cheapest(work, price):
    """Table of stages: totals, begins, times and devices, each (layers, types)."""
    layers, types = work[0].shape
    totals, times = np.empty((layers, types)), np.empty((layers, types))
    devices = np.empty((layers, types))
    begins = np.empty((layers, types), np.int64)
    others = np.zeros((layers + 1, types))
    for b in range(layers):
        for t in range(types):
            stage = _cheapest_stage(work, price, others, t, b)
            totals[b, t], begins[b, t], times[b, t], devices[b, t] = stage
        _least_of_another(totals[b], others[b + 1])
    return totals, begins, times, devices


def _walk(totals, begins, times, devices) -> Provision:
    """Follow the best plan backwards."""
    layers, types = totals.shape
    counts, scheme, time = np.zeros(types), np.zeros(layers, np.int8), 0.0
    b, last = layers - 1, -1
    while b >= 0:
        row = totals[b].copy()
        if last >= 0:
            row[last] = np.inf
        last = int(row.argmin())
        a = begins[b, last]
        scheme[a : b + 1] = last
        counts[last] += devices[b, last]
        time = max(time, times[b, last])
        b = a - 1
    return Provision(float(totals[-1].min()), time, counts, scheme)


def provision(t: Tables, tau: float, price: Array) -> Provision:
    """Find the cheapest devices whose stages each take at most tau."""
    work = (t.serial, t.parallel, t.send_serial, t.send_parallel, tau * t.allowed)
    found = _cheapest(work, price)
    if not np.isfinite(found[0][-1].min()):
        return Provision(np.inf, np.inf, np.empty(0), np.empty(0, np.int8))
    return _walk(*found)


def least(
    t: Tables, price: Array, fixed: float, gap: float, look: Callable[[Provision], object] = lambda _: None
) -> Optimum:
    """Find the least ``tau * (fixed + price of devices)``, up to a relative gap; `look` sees every plan."""

    def value(tau: float, rate: float) -> float:
        return t.hours * tau * rate

    def bound(low: float, high: float, rate: float) -> float:
        return min(value(low, rate), value(high, rate))

    plan = provision(t, t.goal, price)
    if not np.isfinite(plan.price):
        raise ValueError("no plan reaches the throughput")
    look(plan)
    low, rate = FASTEST * t.goal, fixed + plan.price
    best = value(plan.time, rate)
    intervals = [(bound(low, plan.time, rate), low, plan.time, rate)]
    while intervals and intervals[0][0] < best - gap * abs(best):
        _, low, high, rate = heapq.heappop(intervals)
        middle = (low * high) ** 0.5
        heapq.heappush(intervals, (bound(middle, high, rate), middle, high, rate))
        found = provision(t, middle, price)
        if np.isfinite(found.price):
            look(found)
            rate = fixed + found.price
            if value(found.time, rate) < best:
                best, plan = value(found.time, rate), found
            heapq.heappush(intervals, (bound(low, found.time, rate), low, found.time, rate))
    return Optimum(best, min([best, *(interval[0] for interval in intervals[:1])]), plan)


def optimum(problem: sp.Problem, gap: float = 1e-4) -> Optimum:
    """Find the least cost where devices are not limited, up to a relative gap."""
    t = tables(problem, 1.0)
    return least(t, t.price, t.fixed_price, gap)
