"""A plan: one scheme, merged into stages, provisioned and priced."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from . import _core
from .errors import InputError, InputTypeError
from .fields import printable
from .goal import Goal
from .output import compose, table, to_json, to_text, write_whole
from .plan_cost import PlanCost, explained
from .problem import Problem, check_problem
from .quantities import show_bytes, show_seconds
from .readers.bounded import about, as_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Group, RenderableType

    from .report.page import Report
    from .serving import Serving
    from .simulate import Simulation


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """Layers of one device type that run together.

    Attributes
    ----------
    layers : tuple of int
        Indices of its layers.
    type : str
        Name of the device type.
    label : int
        The gene that its layers share.
    devices : int
        Devices that share it.
    time : float
        Seconds per example.
    compute, transfer : float
        Its parts, seconds per example.
    memory : float
        Bytes resident on each of its devices.
    price : float
        $/hour of its devices.
    bottleneck : bool
        Whether it is the slowest stage.
    strategy : str
        Name of the strategy of its replicas; ``""`` where the type has no strategies.
    replicas : int
        Copies of the stage that share the examples.
    in_flight : int
        Microbatches that it holds at once; 1 without a schedule.
    sync : float
        Seconds per example of the all-reduce of its replicas and of the update.
    """

    layers: tuple[int, ...]
    type: str
    label: int
    devices: int
    time: float
    compute: float
    transfer: float
    memory: float
    price: float
    bottleneck: bool
    strategy: str = ""
    replicas: int = 1
    in_flight: int = 1
    sync: float = 0.0


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that a plan breaks.

    Attributes
    ----------
    limit : str
        Name of the limit.
    value, allowed : float
        Value of the plan, and the allowed maximum (for throughput: minimum).
    unit : str
        Unit of both.
    """

    limit: str
    value: float
    allowed: float
    unit: str

    @property
    def excess(self) -> float:
        """Distance of the value from the allowed one."""
        return abs(self.value - self.allowed)

    def __str__(self) -> str:
        direction = "short" if self.value < self.allowed else "over"
        return (
            f"{self.limit}: {self.value:.6g} {self.unit}, allowed {self.allowed:.6g}, "
            f"{self.excess:.4g} {direction}"
        )


@dataclass(frozen=True, eq=False)
class Plan:
    """A scheme, merged, provisioned and priced. Made by `Plan.of`.

    Attributes
    ----------
    problem : Problem
        The problem that it is a plan for.
    scheme : ndarray of int8, shape (L,)
        Label of each layer, read-only.
    stages : tuple of Stage
        In the order of their first layers.
    cost, duration : float
        $ and seconds for all examples.
    throughput : float
        Examples per second.
    time : float
        Seconds per example: of the slowest stage, or with a schedule of the whole iteration, divided by its
        batch.
    price : float
        $/hour of all devices that are rented.
    violation : float
        Sum of the relative excesses over the limits, 0 where the plan is feasible.
    violations : tuple of Violation
        The limits that it breaks, and by how much.
    plan_cost : float or None
        By the problem's `plan_cost`; infinite if it does not allow the plan, or if the plan breaks a limit.

    Examples
    --------
    >>> import stageplan as sp
    >>> problem = sp.Problem.from_arrays([[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0], max_price=3)
    >>> plan = sp.Plan.of(problem, [1, 0])
    >>> plan.feasible, plan.price, plan.time
    (False, 4.0, 1.0)
    >>> [(stage.type, stage.layers, stage.devices) for stage in plan.stages]
    [('type1', (0,), 1), ('type0', (1,), 1)]
    >>> print(plan.violations[0])
    price: 4 $/h, allowed 3, 1 over
    """

    problem: Problem
    scheme: npt.NDArray[np.int8]
    stages: tuple[Stage, ...]
    cost: float
    duration: float
    throughput: float
    time: float
    price: float
    violation: float
    violations: tuple[Violation, ...]
    plan_cost: float | None = None

    @classmethod
    def of(cls, problem: Problem, scheme: npt.ArrayLike) -> Plan:
        """Provision one scheme exactly: with the number of devices of each stage that is best for the goal.

        Parameters
        ----------
        problem
            The problem.
        scheme : array_like of int, shape (L,)
            Label of each layer.

        Returns
        -------
        Plan

        Raises
        ------
        TypeError, ValueError
            The scheme is not one label per layer.
        """
        check_problem(problem)
        row = _row(problem, scheme)
        reports, score = problem.scorer(None).provision(row)
        cost = None
        if problem.plan_cost is not None:
            with explained(problem.plan_cost):
                score, cost = problem.scorer(None).score_plan(row)
        slowest = max(report.time for report in reports)
        price = hourly_price(problem, [(report.type, report.devices) for report in reports])
        violations = tuple(_violations(problem, reports, score, price)) if score.violation > 0 else ()
        if problem.plan_cost is not None and score.violation > 0 and not violations:
            violations = (_not_allowed(problem.plan_cost),)
        return cls(
            problem=problem,
            scheme=row,
            stages=tuple(_stage(problem, report, slowest) for report in reports),
            cost=score.cost,
            duration=problem.goal.examples * score.time,
            throughput=1 / score.time if score.time > 0 else math.inf,
            time=score.time,
            price=price,
            violation=score.violation,
            violations=violations,
            plan_cost=cost,
        )

    @property
    def feasible(self) -> bool:
        """Whether the plan breaks no limit."""
        return self.violation == 0

    @property
    def cut_ties(self) -> tuple[tuple[str, ...], ...]:
        """Groups of layers that share weights but not a stage; in training, their copies become different."""
        stage_of = {layer: i for i, stage in enumerate(self.stages) for layer in stage.layers}
        names = self.problem.layer_names
        return tuple(
            tuple(names[layer] for layer in tie)
            for tie in self.problem.ties
            if len({stage_of[layer] for layer in tie}) > 1
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Plan):
            return NotImplemented
        return np.array_equal(self.scheme, other.scheme) and self.problem == other.problem

    def __hash__(self) -> int:
        return hash((self.problem, self.scheme.tobytes()))

    def __reduce__(self) -> tuple[Any, ...]:
        return Plan.of, (self.problem, self.scheme)

    def simulate(self, forward: float | None = None) -> Simulation:
        """Run one iteration of the plan's schedule in simulated time, pass by pass.

        A stage runs its passes in the schedule's order, each as soon as its input has arrived. It passes the
        result on over its link, one transfer after another: while it computes on, or, where the goal's
        `overlap` is off, before it does. After its last pass it all-reduces and updates.

        Parameters
        ----------
        forward
            Fraction of a stage's compute and transfer that belongs to the forward pass, more than 0, at most
            1, where the workload does not know its backward times. Default: 1 where they are those of
            inference, else a third.

        Returns
        -------
        Simulation

        Raises
        ------
        TypeError, ValueError
            The goal has no schedule, or one of more than 4,194,304 passes; forward is not such a fraction.

        Examples
        --------
        >>> import stageplan as sp
        >>> problem = sp.Problem.from_arrays(
        ...     [[1.0], [2.0]], price=[1.0], split=True, max_devices_per_stage=1,
        ...     schedule="1f1b", microbatches=4, batch=4,
        ... )
        >>> run = sp.Plan.of(problem, [0, 1]).simulate()
        >>> run.duration, run.predicted, run.in_flight.tolist()
        (9.0, 9.0, [2, 1])
        """
        from .simulate import simulate

        return simulate(self, forward)

    def serving(self) -> Serving:
        """Compute what the plan serves: tokens per second, and how long sequences wait.

        Its workload must be one of mode ``"prefill"`` or ``"decode"``, as `profile` makes it.

        Returns
        -------
        Serving

        Raises
        ------
        ValueError
            The workload has another mode, or the goal a schedule.
        """
        from .serving import serving_of

        return serving_of(self)

    def report(self) -> Report:
        """Make a report: an HTML page in one file with pictures of the plan, and the numbers behind them.

        Returns
        -------
        Report
            ``.save("report.html")`` writes it.
        """
        from .report.report import of_plan

        return of_plan(self)

    def plot(self) -> Figure:
        """Draw placement, schedule, and time and memory of the stages with matplotlib.

        Returns
        -------
        matplotlib.figure.Figure
            Its ``savefig("plan.pdf")`` writes PDF, SVG or PNG.

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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan to a file, JSON, atomically, as ``stageplan plan -o`` does.

        Raises
        ------
        OSError
            The file cannot be written.

        Examples
        --------
        >>> import stageplan as sp
        >>> problem = sp.Problem.from_arrays([[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0])
        >>> plan = sp.solve(problem).plan
        >>> plan.save("plan.json")
        >>> sp.Plan.load("plan.json", problem) == plan
        True
        """
        content = to_json(self.to_dict()) + b"\n"
        write_whole(as_path("path", path), lambda stream: stream.write(content))

    @classmethod
    def load(cls, path: str | os.PathLike[str], problem: Problem) -> Plan:
        """Read the scheme of a plan file, and provision it for a problem.

        Parameters
        ----------
        path : path-like
            A file written by `save` or ``stageplan plan -o``; it has no times of layers, nor prices.
        problem
            The problem that it is a plan for, or another one with the same layers and device types.

        Raises
        ------
        OSError
            The file cannot be read.
        TypeError, ValueError
            It is not a valid plan file, or its scheme does not fit the problem.
        """
        from .plan_file import read_plan, restore

        check_problem(problem)
        saved = read_plan(path)
        with about(Path(path)):
            return restore(problem, saved)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values, for JSON."""
        names = self.problem.layer_names
        stages = [
            msgspec.to_builtins(stage) | {"layers": [names[i] for i in stage.layers]} for stage in self.stages
        ]
        return {
            "format": "stageplan plan 1",
            "problem": self.problem.name,
            "goal": msgspec.to_builtins(self.problem.goal),
            "conditions": msgspec.to_builtins(self.problem.conditions),
            "cost": self.cost,
            "duration": self.duration,
            "throughput": self.throughput,
            "price": self.price,
            **self._plan_cost(),
            "feasible": self.feasible,
            "violation": self.violation,
            "violations": [msgspec.to_builtins(v) for v in self.violations],
            "stages": stages,
            "layers": self._layers(),
            "ties": [[names[i] for i in tie] for tie in self.problem.ties],
            "cut_ties": [list(tie) for tie in self.cut_ties],
            "scheme": self.scheme.tolist(),
            **self._serving(),
        }

    def _plan_cost(self) -> dict[str, Any]:
        if self.plan_cost is None:
            return {}
        return {"plan_cost": self.plan_cost if math.isfinite(self.plan_cost) else None}

    def _serving(self) -> dict[str, Any]:
        if not self.problem.conditions.served or self.problem.goal.schedule is not None:
            return {}
        return {"serving": msgspec.to_builtins(self.serving())}

    def _layers(self) -> list[dict[str, Any]]:
        problem = self.problem
        rows = zip(problem.layer_names, problem.layer_kinds, problem.parameters, strict=True)
        layers = [{"name": name, "kind": kind, "parameters": size} for name, kind, size in rows]
        for layer, modules in zip(layers, problem.layer_modules, strict=True):
            if modules:
                layer["modules"] = list(modules)
        return layers

    def __rich__(self) -> Group:
        lines = [
            f"cost ${self.cost:,.2f}   throughput {self.throughput:,.6g} examples/s   "
            f"duration {self.duration:,.6g} s   price ${self.price:,.4g}/h",
            "feasible" if self.feasible else "NOT feasible:",
        ]
        if self.problem.plan_cost is not None and self.plan_cost is not None:
            lines.insert(0, f"{self.problem.plan_cost.name} {self.plan_cost:,.6g}")
        if self.feasible and self.problem.conditions.served and self.problem.goal.schedule is None:
            lines.append(f"serving: {self.serving()}")
        lines += [f"  {violation}" for violation in self.violations]
        lines += [
            f"  {limit.limit}: {limit.value:.6g} {limit.unit}, allowed {limit.allowed:.6g}, met"
            for limit, within in goal_limits(self.problem.goal, self.time, self.cost, self.price)
            if within
        ]
        lines += [f"note: {' & '.join(tie)} share weights but not a stage" for tie in self.cut_ties]
        return compose(str(self.problem), _table(self), *lines)

    def __str__(self) -> str:
        return to_text(self)

    def __repr__(self) -> str:
        stages = f"{len(self.stages)} stage{'s' if len(self.stages) > 1 else ''}"
        return printable(
            f"<Plan of {self.problem.name}: {stages}, ${self.cost:,.6g}, {self.throughput:,.6g} examples/s, "
            f"${self.price:,.6g}/h, {'feasible' if self.feasible else 'not feasible'}>"
        )


def check_plan(plan: object) -> None:
    """Raise TypeError unless it is a `Plan`."""
    if not isinstance(plan, Plan):
        raise InputTypeError(f"plan is {type(plan).__name__}; it must be a Plan")


def _row(problem: Problem, scheme: npt.ArrayLike) -> npt.NDArray[np.int8]:
    try:
        array = np.asarray(scheme)
    except ValueError:
        raise InputError(
            f"scheme is ragged; it must be one label for each of {problem.n_layers} layers"
        ) from None
    if array.size and array.dtype.kind not in "iu":
        raise InputTypeError(f"scheme has dtype {array.dtype}; it must be whole numbers")
    if array.shape != (problem.n_layers,):
        raise InputError(f"scheme has shape {array.shape}; it must be ({problem.n_layers},)")
    wrong = np.flatnonzero((array < 0) | (array >= problem.n_labels))
    if wrong.size:
        raise InputError(
            f"scheme[{wrong[0]}] is {array[wrong[0]]}; it must be a label from 0 to {problem.n_labels - 1}"
        )
    row = array.astype(np.int8)
    row.flags.writeable = False
    return row


def _stage(problem: Problem, report: _core.Stage, slowest: float) -> Stage:
    return Stage(
        layers=tuple(report.layers),
        type=problem.type_names[report.type],
        label=report.label,
        devices=report.devices,
        time=report.time,
        compute=report.compute,
        transfer=report.transfer,
        memory=report.memory,
        price=float(problem.price[report.type] * report.devices),
        bottleneck=report.time >= slowest,
        strategy=_strategy(problem, report.column),
        replicas=report.replicas,
        in_flight=report.in_flight,
        sync=report.sync,
    )


def _strategy(problem: Problem, column: int) -> str:
    names = problem.column_strategy
    return "" if names is None or column < 0 else names[column]


def _violations(
    problem: Problem, reports: list[_core.Stage], score: _core.Score, price: float
) -> Iterator[Violation]:
    """Yield every limit that is broken, with the tolerance of the native core."""
    yield from _stage_violations(problem, reports)
    counts = rented(problem, [(report.type, report.devices) for report in reports])
    for name, used, limit in zip(problem.type_names, counts, problem.limit, strict=True):
        if used > limit:
            yield Violation(limit=f"devices of {name}", value=used, allowed=float(limit), unit="devices")
    most = problem.goal.max_stages
    if most is not None and len(reports) > most:
        yield Violation(limit="stages", value=len(reports), allowed=most, unit="stages")
    for limit, within in goal_limits(problem.goal, score.time, score.cost, price):
        if not within:
            yield limit


def _not_allowed(plan_cost: PlanCost) -> Violation:
    return Violation(limit=f"{plan_cost.name} is inf", value=1.0, allowed=0.0, unit="plans")


def rented(problem: Problem, used: list[tuple[int, int]]) -> list[int]:
    """Count the devices of each type that stages, given as (type, devices), make one rent."""
    counts = [0] * problem.n_types
    for t, devices in used:
        counts[t] += devices
    if not problem.goal.whole_machines or problem.machine is None:
        return counts
    sizes = problem.machine.tolist()
    return [
        n if math.isinf(size) else int(-(-n // size) * size) for n, size in zip(counts, sizes, strict=True)
    ]


def hourly_price(problem: Problem, used: list[tuple[int, int]]) -> float:
    """$/hour of the devices of stages, given as (type, devices), added up by type as the core does."""
    price = problem.fixed_price
    for each, count in zip(problem.price.tolist(), rented(problem, used), strict=True):
        price += each * count
    return price


def goal_limits(goal: Goal, time: float, cost: float, price: float) -> Iterator[tuple[Violation, bool]]:
    """Yield every limit of the goal and whether it is met; for throughput and duration by the stage time."""
    throughput = 1 / time if time > 0 else math.inf
    slowest = math.inf if goal.min_throughput is None else 1 / goal.min_throughput
    longest = math.inf if goal.max_duration is None else goal.max_duration / goal.examples
    for limit, value, allowed, unit, within in (
        ("throughput", throughput, goal.min_throughput, "examples/s", meets(time, slowest)),
        ("duration", goal.examples * time, goal.max_duration, "s", meets(time, longest)),
        ("price", price, goal.max_price, "$/h", meets(price, goal.max_price or math.inf)),
        ("cost", cost, goal.max_cost, "$", meets(cost, goal.max_cost or math.inf)),
    ):
        if allowed is not None:
            yield Violation(limit=limit, value=value, allowed=allowed, unit=unit), within


def _stage_violations(problem: Problem, reports: list[_core.Stage]) -> Iterator[Violation]:
    for i, report in enumerate(reports, start=1):
        type_name, capacity = problem.type_names[report.type], float(problem.capacity[report.type])
        if not meets(report.memory, capacity):
            yield Violation(
                limit=f"memory of stage {i} on {type_name}",
                value=report.memory,
                allowed=capacity,
                unit="bytes",
            )
        if problem.options is not None:
            if report.devices == 0:
                yield Violation(
                    limit=f"options of stage {i} on {type_name}",
                    value=float(len(report.layers)),
                    allowed=0.0,
                    unit="layers without one",
                )
            continue
        column = report.column if problem.by_options else report.type
        for layer in report.layers:
            if column < 0 or math.isinf(problem.compute[layer, column]):
                name = problem.layer_names[layer]
                yield Violation(limit=f"{type_name} cannot run {name}", value=1.0, allowed=0.0, unit="layers")


def meets(value: float, limit: float) -> bool:
    """Whether a value meets an upper limit, which it may exceed by the tolerance."""
    return value <= limit * (1 + _core.TOLERANCE)


_COLUMNS = ("stage", "type", "devices", "layers", "time", "compute", "transfer", "memory", "$/h", "share", "")
_OPTION_COLUMNS = (*_COLUMNS[:3], "strategy", "replicas", "in flight", *_COLUMNS[3:])


def _table(plan: Plan) -> RenderableType:
    columns = _OPTION_COLUMNS if plan.problem.by_options else _COLUMNS
    rows = [columns, *(_cells(plan, i, stage) for i, stage in enumerate(plan.stages, start=1))]
    spare = [columns.index(name) for name in ("share", "transfer", "compute", "")]
    return table(rows, left=(1, columns.index("layers"), len(columns) - 1), spare=spare)


def _cells(plan: Plan, number: int, stage: Stage) -> tuple[str, ...]:
    share = stage.price / plan.price if plan.price else 0.0
    chosen = (stage.strategy or "-", str(stage.replicas), str(stage.in_flight))
    return (
        str(number),
        stage.type,
        str(stage.devices),
        *(chosen if plan.problem.by_options else ()),
        _span(plan.problem.layer_names, stage.layers),
        *(show_seconds(x) for x in (stage.time, stage.compute, stage.transfer)),
        show_bytes(stage.memory),
        f"{stage.price:.4g}",
        f"{share:.1%}",
        "<- bottleneck" if stage.bottleneck else "",
    )


def _span(names: tuple[str, ...], layers: tuple[int, ...]) -> str:
    first, last = (names[layers[i]] for i in (0, -1))
    if len(layers) == 1:
        return first
    between = ".." if layers[-1] - layers[0] + 1 == len(layers) else " & "
    return f"{first}{between}{last} ({len(layers)})"
