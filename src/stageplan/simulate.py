"""The timeline of a plan's schedule: every forward and backward pass of an iteration, event by event."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from .arguments import check_number
from .errors import InputError
from .goal import Goal
from .output import compose, table, to_text
from .plan import Plan, Stage
from .problem import Problem
from .workload import Conditions

if TYPE_CHECKING:
    from rich.console import Group

    from .plan_file import StageDocument

MAX_PASSES = 2**22
"""Most passes of an iteration that are simulated."""

Schedule = Literal["gpipe", "1f1b"]

FORWARD = 1 / 3
"""Fraction of a training step that the forward pass takes: the backward pass is two products for its one."""


class Event(NamedTuple):
    """A pass of one microbatch through one stage.

    Attributes
    ----------
    start, end : float
        Seconds from the start of the iteration in which the stage computes (without overlap: and transfers).
    stage, microbatch : int
        Which ones, from 0.
    direction : {"forward", "backward"}
        Which pass.
    arrival : float
        When the next stage (backward: the one before) has its result.
    departure : float
        When the transfer of its result begins, which ends at `arrival`.
    """

    start: float
    end: float
    stage: int
    microbatch: int
    direction: Literal["forward", "backward"]
    arrival: float
    departure: float


@dataclass(frozen=True, eq=False)
class Simulation:
    """One iteration of a plan, event by event. Made by `Plan.simulate`.

    Attributes
    ----------
    plan : Plan
        What runs.
    events : tuple of Event
        By start, then by stage.
    duration : float
        Seconds of the iteration, from the first pass to the last all-reduce and update.
    predicted : float
        What the plan's closed form says it is, in seconds.
    """

    plan: Plan
    events: tuple[Event, ...]
    duration: float
    predicted: float

    @property
    def error(self) -> float:
        """How far the closed form is off, as a fraction of the duration; positive where it is longer."""
        return self.predicted / self.duration - 1 if self.duration else 0.0

    @property
    def busy(self) -> npt.NDArray[np.float64]:
        """Seconds that each stage computes (without overlap: or transfers), shape (stages,)."""
        seconds = np.zeros(len(self.plan.stages))
        for event in self.events:
            seconds[event.stage] += event.end - event.start
        return seconds

    @property
    def bubble(self) -> npt.NDArray[np.float64]:
        """Fraction of the iteration in which each stage is idle, shape (stages,)."""
        if not self.duration:
            return np.zeros(len(self.plan.stages))
        return 1 - self.busy / self.duration

    @property
    def in_flight(self) -> npt.NDArray[np.int64]:
        """Most microbatches between forward and backward pass in each stage, shape (stages,)."""
        now = np.zeros(len(self.plan.stages), dtype=np.int64)
        most = now.copy()
        for event in self.events:
            now[event.stage] += 1 if event.direction == "forward" else -1
            most = np.maximum(most, now)
        return most

    def trace(self, path: str | os.PathLike[str]) -> None:
        """Write the iteration as a trace in Chrome's JSON format, which Perfetto shows.

        Each stage has three tracks: its passes, its transfers, and its all-reduce and update.

        Raises
        ------
        OSError
            The file cannot be written.
        """
        from .report.trace import write_trace

        write_trace(path, self.plan.problem.goal, self.plan.stages, self.events)

    def __rich__(self) -> Group:
        rows: list[tuple[str, ...]] = [("stage", "type", "busy", "bubble", "in flight")]
        columns = (self.plan.stages, self.busy.tolist(), self.bubble.tolist(), self.in_flight.tolist())
        for i, (stage, busy, bubble, most) in enumerate(zip(*columns, strict=True)):
            rows.append((str(i + 1), stage.type, f"{busy:.4g} s", f"{bubble:.1%}", str(most)))
        goal = self.plan.problem.goal
        return compose(
            f"{goal.schedule} of {goal.microbatches} microbatches: an iteration takes {self.duration:.6g} s, "
            f"by the closed form {self.predicted:.6g} s ({self.error:+.1%})",
            table(rows, left=(1,)),
        )

    def __str__(self) -> str:
        return to_text(self)

    __repr__ = __str__


def simulate(plan: Plan, forward: float | None) -> Simulation:
    """Run one iteration of a plan's schedule: see `Plan.simulate`."""
    problem, goal = plan.problem, plan.problem.goal
    if forward is None:
        forward = default_forward(problem.conditions)
    check_number("forward", forward, above=0, maximum=1)
    fractions = [forward_of(problem, stage, float(forward)) for stage in plan.stages]
    events = run_iteration(goal, plan.stages, fractions)
    assert goal.batch is not None
    return Simulation(
        plan=plan,
        events=tuple(events),
        duration=max(end for _, end in syncs_of(goal, plan.stages, events)),
        predicted=plan.time * goal.batch,
    )


def default_forward(conditions: Conditions) -> float:
    """Return the fraction of the forward pass where the backward times are not known."""
    return FORWARD if conditions.mode in (None, "train") else 1.0


def run_iteration(
    goal: Goal, stages: Sequence[Stage | StageDocument], forward: Sequence[float]
) -> list[Event]:
    """Run the passes of one iteration; `forward` as in `run_schedule`.

    Raises
    ------
    ValueError
        The goal has no schedule, or one of more than 4,194,304 passes.
    """
    if goal.schedule is None or goal.microbatches is None or goal.batch is None:
        raise InputError("goal.schedule is None; it must be 'gpipe' or '1f1b' to be simulated")
    passes = 2 * goal.microbatches * len(stages)
    if passes > MAX_PASSES:
        raise InputError(f"the schedule has {passes:,} passes; it must have at most {MAX_PASSES:,}")
    examples = goal.batch / goal.microbatches
    return run_schedule(
        goal.schedule,
        goal.microbatches,
        [stage.compute * examples for stage in stages],
        [max(stage.transfer, 0.0) * examples for stage in stages],
        forward,
        overlap=goal.overlap,
    )


def syncs_of(
    goal: Goal, stages: Sequence[Stage | StageDocument], events: Iterable[Event]
) -> list[tuple[float, float]]:
    """Return when each stage's all-reduce and update begin, after its last pass, and end."""
    begins = [0.0] * len(stages)
    for event in events:
        begins[event.stage] = max(begins[event.stage], event.arrival)
    return [
        (begin, begin + stage.sync * (goal.batch or 1)) for begin, stage in zip(begins, stages, strict=True)
    ]


def forward_of(problem: Problem, stage: Stage, default: float) -> float:
    """Fraction of a stage's time that its forward pass takes."""
    if problem.backward is None or stage.devices == 0:  # then it has no option, and so no strategy
        return default
    column = problem.type_names.index(stage.type)
    if problem.column_type is not None and problem.column_strategy is not None:
        pairs = list(zip(problem.column_type.tolist(), problem.column_strategy, strict=True))
        column = pairs.index((column, stage.strategy))
    layers = list(stage.layers)
    seconds = problem.compute[layers, column].sum()
    return float(1 - problem.backward[layers, column].sum() / seconds) if 0 < seconds < math.inf else default


def run_schedule(
    schedule: Schedule,
    microbatches: int,
    compute: Sequence[float],
    transfer: Sequence[float],
    forward: Sequence[float],
    *,
    overlap: bool,
) -> list[Event]:
    """Run the passes of one iteration.

    Of each stage, `compute` and `transfer` are seconds a microbatch, and `forward` is their fraction that
    belongs to the forward pass.
    """
    count = len(compute)
    stages = [
        _Stage(i, _order(schedule, count - i, microbatches), compute[i], transfer[i], forward[i], overlap)
        for i in range(count)
    ]
    stages[0].arrived.update({(i, True): 0.0 for i in range(microbatches)})
    return sorted(_run(stages), key=lambda event: (event.start, event.stage, event.end))


Pass = tuple[int, bool]  # microbatch, and whether it is the forward pass


def _order(schedule: Schedule, stages: int, microbatches: int) -> Iterator[Pass]:
    """List the passes of the stage that has `stages` stages from itself to the end."""
    ahead = microbatches if schedule == "gpipe" else min(stages, microbatches)
    for i in range(ahead):
        yield i, True
    for i in range(microbatches):
        yield i, False
        if i + ahead < microbatches:
            yield i + ahead, True


class _Stage:
    """A stage while it runs: its next pass, and when its devices and its link are free."""

    def __init__(
        self,
        place: int,
        order: Iterator[Pass],
        compute: float,
        transfer: float,
        forward: float,
        overlap: bool,
    ) -> None:
        self.place = place
        self.order = order
        self.next: Pass | None = next(order)
        self.compute, self.transfer, self.overlap, self.forward = compute, transfer, overlap, forward
        self.free = self.link_free = 0.0
        self.arrived: dict[Pass | None, float] = {}  # inputs, and when

    def run_next(self) -> Event:
        """Run the pass whose input has arrived."""
        assert self.next is not None
        microbatch, is_forward = self.next
        fraction = self.forward if is_forward else 1 - self.forward
        start = max(self.free, self.arrived.pop(self.next))
        end = start + fraction * self.compute
        departure = max(end, self.link_free)
        arrival = departure + fraction * self.transfer
        self.link_free = arrival
        self.free = end if self.overlap else arrival
        self.next = next(self.order, None)
        direction: Literal["forward", "backward"] = "forward" if is_forward else "backward"
        return Event(start, self.free, self.place, microbatch, direction, arrival, departure)


def _run(stages: list[_Stage]) -> Iterator[Event]:
    """Run the passes of all stages, each when the one that it waits for is done."""
    waiting = deque(stages[:1])
    while waiting:
        stage = waiting.popleft()
        while stage.next in stage.arrived:
            event = stage.run_next()
            yield event
            is_forward = event.direction == "forward"
            if is_forward and stage is stages[-1]:
                stage.arrived[event.microbatch, False] = event.arrival
            elif is_forward or stage is not stages[0]:
                receiver = stages[stage.place + (1 if is_forward else -1)]
                receiver.arrived[event.microbatch, is_forward] = event.arrival
                waiting.append(receiver)
