"""Limits that a plan meets or breaks, and what was assumed."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..plan import Plan, Violation, goal_limits, rented
from ..quantities import show_bytes, show_seconds
from .memory import Memory
from .scale import show_number
from .subject import Subject
from .svg import Picture

_ROW = 34
_MOST = 60  # that are shown


def limits_of(subject: Subject, held: list[Memory] | None) -> list[tuple[Violation, bool]]:
    """Return the limits of a plan, and whether each is met: those that it breaks, and others as far as known.

    Of memory, that of the fullest stage of each device type is among them.
    """
    document = subject.document
    broken = {violation.limit: violation for violation in document.violations}
    limits = [(violation, False) for violation in broken.values()]
    goal = list(goal_limits(subject.goal, subject.time, document.cost, document.price))
    if subject.plan is not None:
        goal += [(limit, True) for limit in _of_hardware(subject.plan, held or [])]
    return limits + [(limit, True) for limit, _ in goal if limit.limit not in broken]


def _of_hardware(plan: Plan, held: list[Memory]) -> Iterator[Violation]:
    """Yield the limits of devices and of memory, and that of stages."""
    problem = plan.problem
    used = [(problem.type_names.index(stage.type), stage.devices) for stage in plan.stages]
    for t, count in enumerate(rented(problem, used)):
        if count and math.isfinite(problem.limit[t]):
            limit, allowed = f"devices of {problem.type_names[t]}", float(problem.limit[t])
            yield Violation(limit=limit, value=float(count), allowed=allowed, unit="devices")
    for t in dict.fromkeys(t for t, _ in used):
        stages = [i for i, (u, _) in enumerate(used) if u == t and math.isfinite(held[i].capacity)]
        fitting = [i for i in stages if held[i].total <= held[i].capacity * (1 + 1e-9)]
        for i in sorted(fitting, key=lambda i: -held[i].total)[:1]:
            limit = f"memory of stage {i + 1} on {problem.type_names[t]}"
            yield Violation(limit=limit, value=held[i].total, allowed=held[i].capacity, unit="bytes")
    if problem.goal.max_stages is not None:
        allowed = float(problem.goal.max_stages)
        yield Violation(limit="stages", value=float(len(plan.stages)), allowed=allowed, unit="stages")


def picture_of(limits: list[tuple[Violation, bool]]) -> Picture:
    """Draw how much of each limit a plan uses; a mark is where it ends."""
    picture = Picture(_ROW * min(len(limits), _MOST), "Limits")
    for row, (limit, met) in enumerate(limits[:_MOST]):
        top, part = _ROW * row, _used(limit)
        reach = 0.75  # of the picture, where a limit ends
        picture.heading(top + 11, f"{'✓' if met else '✗'} {limit.limit}", "" if met else "strong")
        picture.text(1, top + 11, _values(limit), "", "end")
        picture.rect(0, top + 15, 1, 14, "track")
        kind = "t2" if met else "over"
        picture.rect(
            0, top + 15, min(part * reach, 1.0), 14, f"{kind} edge", f"{limit.limit}: {part:.1%} of the limit"
        )
        picture.line(reach, top + 15, reach, top + 29, "mark", f"limit {show(limit.allowed, limit.unit)}")
    return picture


def _used(limit: Violation) -> float:
    """Fraction of a limit that a plan uses; of a throughput, of the longest time of an example."""
    value, allowed = (limit.value, limit.allowed)
    if limit.limit == "throughput":
        value, allowed = allowed, value
    return value / allowed if allowed > 0 else math.inf if value > 0 else 0.0


def _values(limit: Violation) -> str:
    if limit.limit == "throughput":
        return f"{show_number(limit.value)}, at least {show_number(limit.allowed)} {limit.unit}"
    return f"{show(limit.value, limit.unit)} of {show(limit.allowed, limit.unit)}"


def show(value: float, unit: str) -> str:
    """Write a value of a unit."""
    if unit == "bytes":
        return show_bytes(value)
    if unit == "s":
        return show_seconds(value) if value < 60 else f"{value:,.6g} s"
    if unit in ("$", "$/h"):
        return f"${value:,.6g}{unit[1:]}"
    return f"{value:,.6g}"


HEAD = ("limit", "value", "allowed", "unit", "")


def rows(limits: list[tuple[Violation, bool]]) -> list[tuple[str, ...]]:
    """Return the numbers of the limits."""
    return [
        (limit.limit, f"{limit.value:,.6g}", f"{limit.allowed:,.6g}", limit.unit, "met" if met else "broken")
        for limit, met in limits
    ]


def assumptions(subject: Subject) -> Iterator[str]:
    """Yield what the numbers of a plan rest on."""
    document, goal = subject.document, subject.goal
    yield _of_conditions(subject)
    if goal.schedule is None:
        yield (
            "The pipeline never drains: the time of an example is that of the slowest stage, without fill "
            "and drain."
        )
    else:
        yield (
            f"Each iteration of {goal.batch:,} examples runs {goal.microbatches:,} microbatches by "
            f"{goal.schedule}, and fills and drains the pipeline."
        )
    yield (
        "Stages transfer while they compute: the time of a stage is the longer of the two."
        if goal.overlap
        else "Stages do not transfer while they compute: the time of a stage is the sum of the two."
    )
    yield f"Costs are those of {goal.examples:,.10g} examples, at the prices of the devices per hour."
    for text, holds in (
        ("Whole machines are rented.", goal.whole_machines),
        ("All stages have the same strategy.", goal.same_strategy),
        ("All stages have the same number of replicas.", goal.same_replicas),
        ("All replicas of a stage get the same number of examples of a microbatch.", goal.equal_shares),
        ("Layers of one device type are one stage, wherever they stand.", goal.merge == "type"),
    ):
        if holds:
            yield text
    for tie in document.cut_ties[:_MOST]:
        names = " and ".join(tie)
        yield f"{names} share weights but not a stage; in training, their copies become different."


def unknown(subject: Subject) -> Iterator[str]:
    """Yield what the report cannot show."""
    if subject.plan is None:
        yield (
            "The file of a plan does not have the capacity and the number of devices, nor what the memory "
            "holds; with the workload (--workload), the report shows them."
        )
    if subject.document.search is None:
        yield "How the plan was found is not known here: there is no bound, and no history of a search."


def _of_conditions(subject: Subject) -> str:
    conditions = subject.document.conditions
    known = [
        f"mode {conditions.mode}" if conditions.mode else "",
        f"precision {conditions.precision}" if conditions.precision else "",
        f"batches of {conditions.batch:g}",
        f"sequences of {conditions.sequence:,} tokens" if conditions.sequence else "",
        f"a context of {conditions.context:,} tokens" if conditions.context else "",
        f"{conditions.concurrency:,} sequences at a time" if conditions.concurrency else "",
        f"optimizer {conditions.optimizer}" if conditions.optimizer else "",
        f"ZeRO stage {conditions.zero}" if conditions.zero is not None else "",
        f"keys and values in {conditions.kv_cache}" if conditions.kv_cache else "",
    ]
    return f"Times and sizes of layers are those of the workload: {', '.join(filter(None, known))}."


def of_schedule(subject: Subject) -> str:
    """Say what the simulated schedule assumes of forward and backward passes."""
    fractions = subject.forward()
    if subject.plan is not None and subject.plan.problem.backward is not None:
        return "The backward passes take the times that the workload has for them."
    return f"The forward pass is assumed to take {fractions[0]:.0%} of a stage's time."
