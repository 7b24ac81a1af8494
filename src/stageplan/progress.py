"""State of a search, as callbacks and stopping criteria see it."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from . import _core
from .plan import Plan
from .problem import Problem


class Progress(Struct, frozen=True, kw_only=True, dict=True, eq=False):
    """State of a search after a step.

    Attributes
    ----------
    generation : int
        Steps of the search so far.
    evaluations : int
        Schemes scored so far.
    work : int
        Amount of computation, counted the same on every machine: with method exact, stages, labels and device
        counts examined; with the others, genes of the schemes scored.
    stagnation : int
        Generations since the best plan improved.
    runtime : float
        Seconds since the search began.
    cost, throughput, price, violation : float
        Of the best scheme so far: $, examples/s, $/hour, and 0 if it is feasible.
    plan_cost : float or None
        Of the best scheme so far, if the problem has a `plan_cost`.
    bound : float
        Proven so far, as `Result.bound`: no plan costs less, is faster or costs less per hour. 0 (throughput
        infinite, a plan cost -inf) while nothing is proven. Only exact and auto raise it during the search;
        that of the result may be better.
    objective : str
        ``"cost"``, ``"throughput"`` or ``"price"``.
    problem : Problem
        The problem.
    scheme : ndarray of int8, shape (L,)
        The best scheme so far; read-only.

    Examples
    --------
    >>> import stageplan as sp
    >>> problem = sp.Problem.from_arrays([[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0], examples=3600)
    >>> result = sp.solve(problem, "exact", callback=lambda progress: print(progress.gap))
    0.0
    >>> result.history[-1].plan == result.plan
    True
    """

    generation: int
    evaluations: int
    work: int
    stagnation: int
    runtime: float
    cost: float
    throughput: float
    price: float
    violation: float
    bound: float
    objective: str
    problem: Problem
    scheme: npt.NDArray[np.int8]
    plan_cost: float | None = None

    @cached_property
    def plan(self) -> Plan:
        """The best plan so far, exactly provisioned when it is first asked for."""
        return Plan.of(self.problem, self.scheme)

    @property
    def gap(self) -> float:
        """Relative optimality gap, as `Result.gap`; infinite while nothing is proven, or no plan feasible."""
        if self.violation > 0:
            return math.inf
        if self.plan_cost is not None:
            return relative_gap(self.plan_cost, self.bound)
        if self.objective == "throughput":
            return relative_gap(_inverse(self.throughput), _inverse(self.bound))
        return relative_gap(self.cost if self.objective == "cost" else self.price, self.bound)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values, for JSON; None where they are infinite."""
        return {
            name: None if isinstance(value, float) and math.isinf(value) else value
            for name, value in self._numbers()
        }

    def _numbers(self) -> list[tuple[str, Any]]:
        left_out = {"problem", "scheme"} | ({"plan_cost"} if self.plan_cost is None else set())
        return [(name, getattr(self, name)) for name in self.__struct_fields__ if name not in left_out]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Progress) and self._numbers() == other._numbers()

    def __hash__(self) -> int:
        return hash(tuple(self._numbers()))

    def __repr__(self) -> str:
        return f"Progress({', '.join(f'{name}={value!r}' for name, value in self._numbers())})"


def relative_gap(value: float, bound: float) -> float:
    """Return how far an objective that is to be least is above its bound; 0 within a tie."""
    if value <= bound or value <= bound * (1 + _core.TIE):
        return 0.0
    return value / bound - 1 if bound > 0 else math.inf


def _inverse(number: float) -> float:
    return 1 / number if number > 0 else math.inf
