"""Best plans known of problems with limits of devices, and how this file's figures are found.

    python benchmarks/best_known.py [seconds of each search]

prints the table below anew. Prices on the limits (Lagrange multipliers) make a problem without limits, whose
optimum is a lower bound and whose plans, where they keep the limits, are upper ones; a long search goes on
from the best of those. Where another long search found a better plan, its cost stands.
"""

import sys
from typing import NamedTuple

import numpy as np
from baselines import Tables, tables
from instances import Schemes, family
from optimum import Provision, least

import stageplan as sp

LIMIT = 4
STEPS = 150
KEPT = 32  # plans that a search begins with


class Best(NamedTuple):
    """Cost of the best plan known, and a proven lower bound of the least cost."""

    cost: float
    bound: float


BEST_KNOWN: dict[tuple[int, int, int], Best] = {  # by layers, types, seed
    (64, 64, 0): Best(2.305474, 2.28009125),
    (64, 64, 1): Best(2.67775911, 2.62415233),
    (64, 64, 2): Best(2.59059983, 2.55495814),
    (64, 64, 3): Best(2.68827399, 2.68474397),
    (64, 64, 4): Best(2.27078282, 2.27066182),
    (256, 8, 0): Best(5.32256109, 5.28241312),
    (256, 8, 1): Best(6.2042088, 6.02145039),
    (256, 8, 2): Best(5.72172328, 5.38168146),
    (256, 8, 3): Best(4.490013, 4.42398093),
    (256, 8, 4): Best(4.61584062, 4.6155554),
}


class Relaxation:
    """Looks for prices on the limits that make the bound as high as it gets."""

    def __init__(self, t: Tables) -> None:
        self.t = t
        self.rent = np.zeros_like(t.price)
        self.bound, self.cost = 0.0, np.inf
        self.plans: dict[bytes, tuple[float, Schemes]] = {}

    def run(self, steps: int) -> None:
        """Climb by subgradients, in steps that halve where the bound stops rising."""
        length, stalled = 1.0, 0
        for _ in range(steps):
            rise = self._step(length)
            stalled = 0 if rise else stalled + 1
            if stalled == 6:
                length, stalled = length / 2, 0

    def _step(self, length: float) -> bool:
        t = self.t
        found = least(t, t.price + self.rent, t.fixed_price - float(self.rent @ t.limit), 1e-4, self._look)
        excess = found.plan.counts - t.limit
        excess[(self.rent == 0) & (excess < 0)] = 0.0
        rise, self.bound = found.bound > self.bound, max(found.bound, self.bound)
        aim = min(self.cost, 1.1 * self.bound)
        norm = found.plan.time * t.hours * float(excess @ excess)
        if norm > 0:
            self.rent = np.maximum(0.0, self.rent + length * max(aim - found.cost, 1e-6) / norm * excess)
        return rise

    def _look(self, plan: Provision) -> None:
        t = self.t
        excess = float(np.maximum(0, plan.counts - t.limit).sum())
        cost = t.hours * plan.time * (t.fixed_price + float(t.price @ plan.counts))
        if excess == 0:
            self.cost = min(self.cost, cost)
        self.plans[plan.scheme.tobytes()] = (cost * (1 + excess), plan.scheme)

    def best_plans(self, n: int) -> Schemes:
        """Schemes that cost least, with their excess over the limits counted in."""
        order = sorted(self.plans.values(), key=lambda item: item[0])[:n]
        return np.array([scheme for _, scheme in order], np.int8)


def find(L: int, T: int, seed: int, seconds: float) -> Best:
    """Find the figures of one problem."""
    problem = family(L, T, seed, limit=LIMIT)
    relaxation = Relaxation(tables(problem, 1.0))
    relaxation.run(STEPS)
    initial = relaxation.best_plans(KEPT)
    plans = [
        sp.solve(problem, "genetic", initial=initial, seed=s, stop=sp.MaxRuntime(seconds / 2)).plan
        for s in (0, 1)
    ]
    costs = (plan.cost for plan in plans if plan.feasible)
    return Best(float(min([relaxation.cost, *costs])), relaxation.bound)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    for L, T in ((64, 64), (256, 8)):
        for seed in range(5):
            best = find(L, T, seed, seconds)
            print(f"    ({L}, {T}, {seed}): Best({best.cost:.9g}, {best.bound:.9g}),", flush=True)


if __name__ == "__main__":
    main()
