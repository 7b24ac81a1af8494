"""The outcome of a search, and what it proves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from . import _core
from .learning.policy import Policy
from .output import compose, to_text
from .plan import Plan
from .problem import Problem
from .progress import Progress, relative_gap
from .row import row_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Group

    from .report.page import Report

Method = Literal["auto", "exact", "genetic", "reinforce", "annealing", "greedy", "random", "enumerate"]
Status = Literal[
    "optimal", "optimal over this order", "feasible", "infeasible", "infeasible over this order", "unknown"
]


@dataclass(frozen=True)
class Result:
    """The outcome of a search.

    Attributes
    ----------
    plan : Plan
        The best plan, exactly provisioned.
    status : str
        ``"optimal"`` (proven), ``"feasible"``, ``"infeasible"`` (proven: no plan meets all limits) or
        ``"unknown"`` (no feasible plan found, none excluded). If the workload is a graph whose layers can be
        ordered in other ways, the proof covers only plans whose stages are intervals of this order:
        ``"optimal over this order"``, ``"infeasible over this order"``.
    bound : float
        Proven, within the scope given by `status`: no plan costs less, $, with objective throughput none is
        faster, examples/s, with objective price none costs less per hour, $/hour. Infinite (throughput 0) if
        it is proven that no plan is feasible. With a `plan_cost`, -inf, for nothing is known of the function;
        but after method enumerate, its least value over all schemes, each provisioned for the objective.
    gap : float
        Relative optimality gap: (objective - bound) / bound of cost, seconds per example or price; 0 if the
        plan is proven optimal (up to ties of 1e-9), infinite if it is not feasible or nothing is proven.
    evaluations, generations, work : int
        Schemes scored, steps of the search, and work as in `Progress`.
    history : tuple of Progress
        The progress at each improvement of the plan, and where the bound alone has closed a hundredth of the
        gap that was left; with its bound and, when asked for, its plan.
    runtime : float
        Seconds.
    interrupted : bool
        Whether Ctrl-C ended the search early.
    method, seed, version, instruction_set
        How it was computed.
    policy : Policy or None
        The policy trained by method reinforce; ``policy.plan(problem)`` plans without search. None also if
        that search was stopped before its first step.

    Examples
    --------
    >>> import stageplan as sp
    >>> problem = sp.Problem.from_arrays([[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0], examples=3600)
    >>> result = sp.solve(problem.replace(max_price=4.0, objective="throughput"))
    >>> print(result)
    arrays: 2 layers on 2 device types (type0, type1); fastest plan for 3600 examples, at most $4/h
    stage  type   devices  layers  time  compute  transfer  memory  $/h  share
        1  type1        1  layer0   1 s      1 s      0 ns     0 B    3  75.0%  <- bottleneck
        2  type0        1  layer1   1 s      1 s      0 ns     0 B    1  25.0%  <- bottleneck
    cost $4.00   throughput 1 examples/s   duration 3,600 s   price $4/h
    feasible
      price: 4 $/h, allowed 4, met
    proven: no plan is faster than 1 examples/s; gap 0
    optimal; auto, seed 0: 4 schemes scored in 1 generations
    """

    plan: Plan
    status: Status
    bound: float
    gap: float
    evaluations: int
    generations: int
    work: int
    history: tuple[Progress, ...]
    runtime: float
    interrupted: bool
    method: Method
    seed: int
    version: str
    instruction_set: str
    policy: Policy | None = None

    @property
    def proven(self) -> bool:
        """Whether the plan is proven optimal, or the problem infeasible, in the scope given by `status`."""
        return self.status.startswith(("optimal", "infeasible"))

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values, for JSON."""
        search = {
            name: getattr(self, name)
            for name in (
                "method", "seed", "status", "evaluations", "generations", "work",
                "runtime", "interrupted", "version", "instruction_set",
            )
        }  # fmt: skip
        for name in ("bound", "gap"):
            value = getattr(self, name)
            search[name] = value if math.isfinite(value) else None
        search["proof_devices"] = self.proof_devices
        history = [p.to_dict() for p in self.history]
        return self.plan.to_dict() | {"search": search | {"history": history}}

    def to_row(self) -> dict[str, Any]:
        """Return the result as one row of a table.

        Returns
        -------
        dict
            By column, as ``stageplan docs sweeps`` lists them: plain values, None for no limit and for
            numbers that are infinite.
        """
        return row_of(self)

    def report(self) -> Report:
        """Make a report: an HTML page in one file with pictures of the plan and of the search.

        Returns
        -------
        Report
            ``.save("report.html")`` writes it.
        """
        from .report.report import of_plan

        return of_plan(self)

    def plot(self) -> Figure:
        """Draw the plan, as `Plan.plot`, and the best plan and the bound over time, with matplotlib.

        Returns
        -------
        matplotlib.figure.Figure
            Its ``savefig("result.pdf")`` writes PDF, SVG or PNG.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        from .report.plots import plot_plan

        return plot_plan(self)

    def _repr_html_(self) -> str:
        from .report.notebook import html_of_plan

        return html_of_plan(self)

    def __rich__(self) -> Group:
        how = " (interrupted)" if self.interrupted else ""
        last = (
            f"{self.status}; {self.method}, seed {self.seed}: {self.evaluations:,} schemes scored in "
            f"{self.generations:,} generations{how}"
        )
        return compose(self.plan, self._proof(), self._beyond(), self._without_search(), last)

    def __str__(self) -> str:
        return to_text(self)

    def __repr__(self) -> str:
        gap = "" if math.isinf(self.gap) else f", gap {self.gap:.3g}"
        ended = ", interrupted" if self.interrupted else ""
        return f"<Result: {self.status}{gap}, {self.method}, seed {self.seed}{ended}; {self.plan!r}>"

    def _without_search(self) -> str:
        if self.policy is None:
            return ""
        plan = self.policy.plan(self.plan.problem)
        return (
            f"policy without search ({self.policy.cell}): ${plan.cost:,.6g} at {plan.throughput:,.6g} "
            f"examples/s, {'feasible' if plan.feasible else 'NOT feasible'}"
        )

    @property
    def proof_devices(self) -> int | None:
        """Maximum devices per stage that the proof covers; None if it covers all that the goal allows."""
        return devices_covered(self.plan.problem, *self._to_beat())

    def _to_beat(self) -> tuple[float, float]:
        """$ and $/hour of the plan: what is to be least where it is feasible, the rest infinite."""
        plan, objective = self.plan, self.plan.problem.goal.objective
        cost = plan.cost if plan.feasible and objective == "cost" else math.inf
        return cost, plan.price if plan.feasible and objective == "price" else math.inf

    def _proof(self) -> str:
        problem = self.plan.problem
        if problem.plan_cost is not None:
            return self._proof_of_plan_cost(problem.plan_cost.name)
        proven = proven_over(problem, *self._to_beat())
        if self.status.startswith("infeasible"):
            return f"{proven}: no plan meets all limits"
        what = {
            "cost": f"costs less than ${self.bound:,.6g}",
            "throughput": f"is faster than {self.bound:,.6g} examples/s",
            "price": f"costs less than ${self.bound:,.6g} per hour",
        }[problem.goal.objective]
        gap = f"; gap {self.gap:.3g}" if math.isfinite(self.gap) else ""
        return f"{proven}: no plan {what}{gap}"

    def _proof_of_plan_cost(self, name: str) -> str:
        scope = f"all schemes, each with the devices that are best for {self.plan.problem.goal.objective}"
        if not self.proven:
            return f"not proven: no bound of {name} is known; method 'enumerate' compares all schemes"
        if self.status.startswith("infeasible"):
            return f"proven over {scope}: no plan meets all limits"
        return f"proven over {scope}: no plan has a lower {name} than {self.bound:,.6g}"

    def _beyond(self) -> str:
        """Describe what is proven of plans with more devices per stage, which may be cheaper."""
        problem = self.plan.problem
        if problem.plan_cost is not None:
            return ""
        if self.gap == 0 or math.isinf(self._to_beat()[0]) or self.proof_devices is None:
            return ""
        return f"proven: with any number of devices no plan costs less than ${cost_lower_bound(problem):,.6g}"


def gap_of(plan: Plan, bound: float) -> float:
    """Return the relative optimality gap; infinite if the plan is not feasible."""
    if not plan.feasible:
        return math.inf
    if plan.plan_cost is not None:
        return relative_gap(plan.plan_cost, bound)
    value = {"cost": plan.cost, "throughput": plan.time, "price": plan.price}
    return relative_gap(value[plan.problem.goal.objective], bound)


def in_objective_unit(problem: Problem, bound: float) -> float:
    """Convert a bound to the unit of the objective: $, $/hour, or examples/s from seconds per example."""
    if problem.goal.objective != "throughput" or problem.plan_cost is not None:
        return bound
    return 1 / bound if bound > 0 else math.inf


def status_of(plan: Plan, bound: float, gap: float) -> Status:
    """Return the status of the best plan of a search."""
    if plan.feasible:
        return optimal_status(plan.problem) if gap == 0 else "feasible"
    if bound < math.inf:
        return "unknown"
    return "infeasible" if plan.problem.has_one_order else "infeasible over this order"


def optimal_status(problem: Problem) -> Status:
    """Status of a plan that is proven optimal, over this order of the layers or over all orders."""
    return "optimal" if problem.has_one_order else "optimal over this order"


def proven_over(problem: Problem, cost: float = math.inf, price: float = math.inf) -> str:
    """Begin a sentence with the scope of a proof: all plans, or those over this order of the layers.

    Plans that cost more than `cost`, or more than `price` per hour, are irrelevant to the proof.
    """
    devices = devices_covered(problem, cost, price)
    order = "" if problem.has_one_order else " over this order of the layers"
    return (
        f"proven{order}" if devices is None else f"proven{order} with at most {devices:,} devices per stage"
    )


def devices_covered(problem: Problem, cost: float = math.inf, price: float = math.inf) -> int | None:
    """Return the default of maximum devices per stage if plans with more might be better, else None."""
    goal, types = problem.goal, problem.limit > _core.MAX_DEVICES
    if goal.max_devices_per_stage is not None or not types.any():
        return None
    rent = problem.fixed_price + float(problem.price[types].min()) * _core.MAX_DEVICES
    if rent > min(price, goal.max_price or math.inf) * (1 + _core.TIE) or cost <= cost_lower_bound(
        problem
    ) * (1 + _core.TIE):
        return None
    bound = goal.examples / 3600 * _time_lower_bound(problem) * rent
    return None if bound > min(cost, goal.max_cost or math.inf) * (1 + _core.TIE) else _core.MAX_DEVICES


def cost_lower_bound(problem: Problem) -> float:
    """Lower bound of the cost, $, with any number of devices: that of each layer's work alone."""
    runs, seconds = _runs(problem)
    work = np.where(runs, seconds * problem.price, math.inf).min(axis=1).sum()
    return problem.goal.examples / 3600 * float(work + _time_lower_bound(problem) * problem.fixed_price)


def _time_lower_bound(problem: Problem) -> float:
    """Lower bound of seconds per example: the slowest layer, each on all devices of its best type."""
    runs, seconds = _runs(problem)
    shared = seconds * problem.compute_parallel
    best = np.where(runs, seconds - shared + shared / np.maximum(problem.limit, 1.0), math.inf)
    return float(best.min(axis=1).max())


def _runs(problem: Problem) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Return which layers can run on which types, and their seconds there, 0 elsewhere: both (L, T)."""
    runs = (problem.limit >= 1) & np.isfinite(problem.compute)
    return runs, np.where(runs, problem.compute, 0.0)
