"""A Pareto front of cost, or hourly price, against throughput."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from .fields import printable
from .output import compose, table, to_text
from .plan import Plan
from .problem import Problem
from .result import Status, proven_over

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Group

    from .report.page import Report

Against = Literal["cost", "price"]


@dataclass(frozen=True)
class Point:
    """A plan of a front.

    Attributes
    ----------
    plan : Plan
        The cheapest plan found with at least its throughput, which is the minimum throughput of its goal.
    status : str
        ``"optimal"``, or ``"optimal over this order"`` as in `Result`, if it is proven that no plan at least
        as fast is cheaper, else ``"feasible"``.
    bound : float
        Proven: no plan at least as fast costs less, $ or $/hour.
    gap : float
        (cost or price - bound) / bound.
    """

    plan: Plan
    status: Status
    bound: float
    gap: float

    @property
    def proven(self) -> bool:
        """Whether no plan at least as fast is cheaper, in the scope given by `status`."""
        return self.status.startswith("optimal")


@dataclass(frozen=True)
class Front:
    """A Pareto front: plans of which none is both faster and cheaper than another.

    Attributes
    ----------
    problem : Problem
        The problem; its objective is ignored.
    against : str
        ``"cost"`` or ``"price"``: the axis besides throughput.
    points : tuple of Point
        The cheapest plan first; each next one is faster and costs more.
    status : str
        ``"optimal"`` (all points are proven), ``"feasible"``, ``"infeasible"`` (proven: no feasible plan) or
        ``"unknown"`` (none found); with ``" over this order"`` as in `Result`.
    gap : float
        Proven: for each feasible plan that is not faster than the last point, the front has a plan at least
        as fast that costs at most this fraction more; infinite if nothing is proven.
    fastest : float
        Proven: no plan is faster, examples/s; infinite if `max_throughput` limits the front.
    evaluations, generations : int
        Schemes scored, steps of all searches.
    runtime : float
        Seconds.
    interrupted : bool
        Whether Ctrl-C ended it early.
    version : str
        Of the package.
    """

    problem: Problem
    against: Against
    points: tuple[Point, ...]
    status: Status
    gap: float
    fastest: float
    evaluations: int
    generations: int
    runtime: float
    interrupted: bool
    version: str

    @property
    def proven(self) -> bool:
        """Whether all points are proven, or the problem infeasible, in the scope given by `status`."""
        return self.status.startswith(("optimal", "infeasible"))

    def to_dict(self) -> dict[str, Any]:
        """Return the front as plain values, for JSON; None means infinity."""
        points = [
            {"status": p.status, "bound": p.bound, "gap": _finite(p.gap), "plan": p.plan.to_dict()}
            for p in self.points
        ]
        return {
            "format": "stageplan front 1",
            "problem": self.problem.name,
            "goal": msgspec.to_builtins(self.problem.goal),
            "against": self.against,
            "status": self.status,
            "gap": _finite(self.gap),
            "fastest": _finite(self.fastest),
            "points": points,
            "evaluations": self.evaluations,
            "generations": self.generations,
            "runtime": self.runtime,
            "interrupted": self.interrupted,
            "version": self.version,
        }

    def report(self) -> Report:
        """Make a report: an HTML page in one file with the front, its bound and its plans.

        Returns
        -------
        Report
            ``.save("report.html")`` writes it.
        """
        from .report.report import of_front

        return of_front(self)

    def plot(self) -> Figure:
        """Draw the front and its bound with matplotlib.

        Returns
        -------
        matplotlib.figure.Figure
            Its ``savefig("front.pdf")`` writes PDF, SVG or PNG.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        from .report.plots import plot_front

        return plot_front(self)

    def _repr_html_(self) -> str:
        from .report.notebook import html_of_front

        return html_of_front(self)

    def __rich__(self) -> Group:
        points = [table([_COLUMNS, *map(_cells, self.points)])] if self.points else []
        return compose(str(self.problem), *points, *self._proof())

    def __str__(self) -> str:
        return to_text(self)

    def __repr__(self) -> str:
        count = f"{len(self.points):,} point{'' if len(self.points) == 1 else 's'}"
        ended = ", interrupted" if self.interrupted else ""
        return printable(
            f"<Front of {self.problem.name}: {count} of throughput against {self.against}, "
            f"{self.status}{ended}>"
        )

    def _proof(self) -> list[str]:
        how = " (interrupted)" if self.interrupted else ""
        proven = proven_over(self.problem)
        if not self.points:
            return [(f"{proven}: no plan meets all limits" if self.proven else "no plan was found") + how]
        lines = []
        if math.isfinite(self.fastest):
            lines.append(f"{proven}: no plan is faster than {self.fastest:,.6g} examples/s")
        fastest = self.points[-1].plan
        if self.against == "cost":
            proven = proven_over(self.problem, cost=fastest.cost)
        else:
            proven = proven_over(self.problem, price=fastest.price)
        if math.isfinite(self.gap):
            lines.append(
                f"{proven}: for any plan, a point at least as fast costs at most {100 * self.gap:.3g} % more"
                if self.gap
                else f"{proven}: the front is complete"
            )
        cheapest = sum(point.proven for point in self.points)
        return [
            *lines,
            f"{len(self.points)} points, {cheapest} {proven} to be the cheapest at their throughput{how}",
        ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


_COLUMNS = ("examples/s", "cost", "$/h", "devices", "stages", "gap")


def _cells(point: Point) -> tuple[str, ...]:
    plan = point.plan
    return (
        f"{plan.throughput:,.6g}",
        f"${plan.cost:,.2f}",
        f"{plan.price:,.4g}",
        str(sum(stage.devices for stage in plan.stages)),
        str(len(plan.stages)),
        "proven" if point.proven else f"{point.gap:.2%}",
    )
