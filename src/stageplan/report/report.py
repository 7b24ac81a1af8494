"""Reports of plans, fronts and sweeps: which pictures, in which order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ..front import Front
from ..front_file import FrontDocument
from ..goal import Goal
from ..plan import Plan
from ..plan_file import PlanDocument, RepairDocument, SearchDocument
from ..quantities import show_bytes, show_seconds
from ..result import Result
from ..sweeps.results import SweepResults
from . import front as fronts
from . import grid, limits, placement, search, stages, sweep, timeline
from .memory import TOTAL, Memory, memory_of
from .page import Report, bullets, figure, head, legend, numbers, page, pair, paragraph, section, table, tiles
from .subject import Subject, devices_of, front_document
from .svg import escape

_MOST_STRIPS = 100  # of the plans of a front


def of_plan(plan: Plan | Result) -> Report:
    """Make the report of a plan, or of the result of a search: see `Result.report`."""
    return of_subject(Subject.of(plan.plan if isinstance(plan, Result) else plan, plan.to_dict()))


def of_front(front: Front) -> Report:
    """Make the report of a front: see `Front.report`."""
    return of_front_document(front_document(front.to_dict()))


# Plans --------------------------------------------------------------------------------------------------


def of_subject(subject: Subject) -> Report:
    """Make the report of a plan."""
    document = subject.document
    held = None if subject.plan is None else memory_of(subject.plan)
    line = _line(subject)
    parts = [
        head(document.problem, _goal(subject.goal), verdict(document), document.feasible),
        tiles(_tiles(subject, line)),
        placement_of(subject),
        _schedule(subject, line),
        pair(_times(subject), _costs(subject)),
        _memory(subject, held),
        _limits(subject, held),
        _search(document),
        _repair(document.repair),
        section("What was assumed", bullets([*limits.assumptions(subject), *limits.unknown(subject)])),
    ]
    return page(f"Plan of {document.problem}", parts)


def _goal(goal: Goal) -> str:
    text = str(goal)
    return f"{text[0].upper()}{text[1:]}."


def verdict(document: PlanDocument) -> str:
    """Say whether a plan meets its limits, and what is proven of it."""
    found = document.search
    count = len(document.violations)
    state = (
        "It meets every limit" if document.feasible else f"It breaks {count} limit{'s' if count > 1 else ''}"
    )
    if found is None:
        return f"{state}."
    ended = " The search was interrupted." if found.interrupted else ""
    return f"{state}. {_proof(document, found)}{ended}"


def _proof(document: PlanDocument, found: SearchDocument) -> str:
    scope = " over this order of the layers" if "over this order" in found.status else ""
    if found.proof_devices is not None:
        scope += f" with at most {found.proof_devices:,} devices per stage"
    if found.status.startswith("infeasible"):
        return f"Proven{scope}: no plan meets all limits."
    if found.bound is None:
        return "Nothing is proven of other plans."
    objective = (document.goal or Goal()).objective
    what = {
        "cost": f"costs less than ${found.bound:,.6g}",
        "throughput": f"is faster than {found.bound:,.6g} examples/s",
        "price": f"costs less than ${found.bound:,.6g} per hour",
    }[objective]
    if document.plan_cost is not None:
        scope += f" over all schemes, each with the devices that are best for {objective}"
        what = f"has a lower plan cost than {found.bound:,.6g}"
    gap = "" if not document.feasible or found.gap is None else f" (gap {found.gap:.2%})" if found.gap else ""
    best = "Proven optimal" if found.status.startswith("optimal") else "Proven"
    return f"{best}{scope}: no plan {what}{gap}."


def _tiles(subject: Subject, line: timeline.Timeline | None) -> Iterator[tuple[str, str]]:
    document = subject.document
    if document.plan_cost is not None:
        yield "plan cost", _digits(document.plan_cost)
    yield "cost", f"${document.cost:,.2f}"
    yield "throughput, examples/s", _digits(document.throughput)
    yield "duration, s", _digits(document.duration)
    yield "price, $/h", f"{document.price:,.4g}"
    yield "stages", f"{len(document.stages):,}"
    yield "devices", f"{devices_of(document):,}"
    if line is not None and line.duration:
        idle = 1 - sum(map(line.busy, range(len(line.passes)))) / len(line.passes) / line.duration
        yield "iteration, simulated", show_seconds(line.duration)
        yield "bubble, mean of stages", f"{idle:.1%}"
    served = document.serving
    if served is not None:
        yield "tokens/s", _digits(served.tokens_per_second)
        if served.time_per_token is not None:
            yield "time per token", show_seconds(served.time_per_token)
        if served.time_to_first_token is not None:
            yield "time to first token", show_seconds(served.time_to_first_token)


def _digits(value: float | None) -> str:
    """Write a number without an exponent, as far as that is short; None is infinite."""
    if value is None:
        return "infinite"
    return f"{value:,.0f}" if 1e6 <= value < 1e12 else f"{value:,.6g}"


def _line(subject: Subject) -> timeline.Timeline | None:
    """Simulate the schedule of a plan; None where it has none, or too many passes."""
    if 0 < timeline.count_passes(subject) <= timeline.MOST_PASSES:
        return timeline.timeline_of(subject)
    return None


def schedule_of(subject: Subject) -> str:
    """Show the schedule of a plan."""
    return _schedule(subject, _line(subject))


def placement_of(subject: Subject) -> str:
    """Show which layers are on which device types."""
    document = subject.document
    left_out = len(subject.runs()) > placement.MOST_RUNS
    return section(
        "Placement",
        figure(
            placement.strip(subject),
            "Layers from left to right; each row is a device type. Above them the stages; in them strategy "
            "and replicas (×), as far as there is room."
            + (f" The first {placement.MOST_RUNS:,} runs of layers are drawn." if left_out else ""),
        ),
        numbers(placement.HEAD, placement.rows(document), placement.WORDS),
    )


def _schedule(subject: Subject, line: timeline.Timeline | None) -> str:
    if line is None:
        passes = timeline.count_passes(subject)
        reason = f"The schedule has {passes:,} passes; a report shows at most {timeline.MOST_PASSES:,}."
        return section("Schedule of one iteration", paragraph(reason)) if passes else ""
    drawn = timeline.blocks(line)
    grouped = any(block.passes > 1 for made in drawn for block in made)
    caption = (
        f"One iteration of {subject.goal.batch or 0:,} examples over time, simulated pass by pass; a row for "
        f"each stage. {limits.of_schedule(subject)}"
    )
    if grouped:
        caption += (
            " Neighbouring passes are drawn together, since there are many; --trace writes each of them."
        )
    return section(
        "Schedule of one iteration",
        legend(timeline.kinds(line, drawn)),
        figure(
            timeline.picture_of(subject, line, drawn), " ".join([caption, stages.drawn(subject.document)])
        ),
        numbers(timeline.HEAD, timeline.rows(subject, line), (1,)),
    )


def _times(subject: Subject) -> str:
    document = subject.document
    caption = "Seconds per example; the slowest stage is marked. " + stages.drawn(document)
    rows = [
        (str(i), stage.type, *map(show_seconds, (stage.time, stage.compute, stage.transfer, stage.sync)))
        for i, stage in enumerate(document.stages, start=1)
    ]
    names = ("stage", "type", "time", "compute", "transfer", "all-reduce, update")
    return section(
        "Time by stage",
        legend(stages.kinds(document)),
        figure(stages.times(subject), caption),
        numbers(names, rows, (1,)),
    )


def _costs(subject: Subject) -> str:
    document = subject.document
    rest = document.price - sum(stage.price for stage in document.stages)
    caption = "$ of all examples, and share of the price."
    if rest > 1e-9 * document.price:
        caption += f" Besides: ${rest:,.4g}/h for devices that no stage uses, or at a fixed price."
    rows = [
        (
            str(i),
            stage.type,
            f"{stage.devices:,}",
            f"${stage.price:,.4g}",
            f"${stages.cost_of(document, stage):,.2f}",
        )
        for i, stage in enumerate(document.stages, start=1)
    ]
    return section(
        "Cost by stage",
        legend(_types(subject)),
        figure(stages.costs(subject), " ".join([caption, stages.drawn(document)])),
        numbers(("stage", "type", "devices", "$/h", "cost"), rows, (1,)),
    )


def _types(subject: Subject) -> list[tuple[str, str]]:
    return [(f"t{placement.color_of(subject.types, name)}", name) for name in subject.types]


def _memory(subject: Subject, held: list[Memory] | None) -> str:
    if held is None:
        held = [Memory({TOTAL: stage.memory}) for stage in subject.document.stages]
    names = stages.parts_in(held)
    rows = [
        (
            str(i),
            stage.type,
            *(show_bytes(each.parts.get(name, 0.0)) for name in names),
            show_bytes(each.total),
            "no limit" if each.capacity == float("inf") else show_bytes(each.capacity),
        )
        for i, (stage, each) in enumerate(zip(subject.document.stages, held, strict=True), start=1)
    ]
    known = "A mark is the capacity." if subject.plan is not None else "The file has no capacities."
    return section(
        "Memory by stage",
        legend([(stages.PART_COLORS[name], name) for name in names]),
        figure(
            stages.memory(subject, held),
            f"Bytes of each device, at their most. {known} {stages.drawn(subject.document)}",
        ),
        numbers(("stage", "type", *names, "in all", "capacity" if subject.plan else "–"), rows, (1,)),
    )


def _limits(subject: Subject, held: list[Memory] | None) -> str:
    found = limits.limits_of(subject, held)
    if not found:
        return section("Limits", paragraph("The goal has no limits.", ""))
    return section(
        "Limits",
        figure(limits.picture_of(found), "How much of each limit the plan uses; a mark is the limit."),
        numbers(limits.HEAD, limits.rows(found), (0, 3, 4)),
    )


def _search(document: PlanDocument) -> str:
    history, found = search.history_of(document), document.search
    if history is None or found is None:
        return ""
    picture = search.picture_of(history)
    how = (
        f"Method {found.method}, seed {found.seed}: {found.evaluations:,} schemes scored in "
        f"{found.generations:,} generations and {show_seconds(found.runtime)}."
    )
    key = [("t0", "best plan that meets all limits")] * bool(history.best)
    key += [("t5", "bound: no plan is better")] * bool(history.bounds)
    return section(
        "Search",
        "" if picture is None else legend(key) + figure(picture),
        paragraph(how),
        numbers(search.HEAD, search.rows(document)),
    )


def _repair(repair: RepairDocument | None) -> str:
    if repair is None or not repair.suggestions:
        return ""
    rows = [
        (
            str(i), change.limit, f"{change.now:,.6g}", f"{change.needed:,.6g}", change.unit,
            "proven smallest" if suggestion.proven else "",
        )
        for i, suggestion in enumerate(repair.suggestions, start=1)
        for change in suggestion.changes
    ]  # fmt: skip
    text = "Each of these numbered changes is sufficient; those of one number are made together."
    return section(
        "Changes that would be sufficient",
        paragraph(text, ""),
        table(("", "limit", "now", "sufficient", "unit", ""), rows, (1, 4, 5)),
    )


# Fronts -------------------------------------------------------------------------------------------------


def of_front_document(front: FrontDocument) -> Report:
    """Make the report of a front."""
    picture = fronts.picture_of(front)
    key = [
        ("t0", "cheapest plan at a throughput"),
        ("t5", "bound: no plan is below"),
    ]
    subjects = [Subject(point.plan) for point in front.points[:_MOST_STRIPS]]
    types = list(dict.fromkeys(name for subject in subjects for name in subject.types))
    strips = "".join(
        f"<h3>{escape(_point_name(number, subject))}</h3>{figure(placement.small_strip(subject, types))}"
        for number, subject in enumerate(subjects, start=1)
    )
    colors = legend((f"t{placement.color_of(types, name)}", name) for name in types)
    proven = "" if not front.points else f" {_proven_points(front)}"
    parts = [
        head(front.problem, _goal(front.goal), _front_state(front) + proven, bool(front.points)),
        section(
            f"{front.against.capitalize()} against throughput",
            "" if picture is None else legend(key) + figure(picture, _front_caption(front)),
            numbers(fronts.HEAD, fronts.rows(front), open_=True),
        ),
        section("Plans of the front", colors + strips if strips else ""),
        section("What was assumed", bullets(_front_assumptions(front))),
    ]
    return page(f"Front of {front.problem}", parts)


def _point_name(number: int, subject: Subject) -> str:
    plan = subject.document
    rate = "infinite" if plan.throughput is None else f"{plan.throughput:,.4g}"
    return (
        f"{number} · {rate} examples/s, ${plan.cost:,.2f}, ${plan.price:,.4g}/h, {devices_of(plan):,} devices"
    )


def _front_state(front: FrontDocument) -> str:
    if not front.points:
        proven = front.status.startswith("infeasible")
        return "Proven: no plan meets all limits." if proven else "No plan was found that meets all limits."
    scope = " over this order of the layers" if "over this order" in front.status else ""
    if front.gap is None:
        return f"{len(front.points)} plans."
    if front.gap == 0:
        return f"Proven{scope}: the front is complete."
    return (
        f"Proven{scope}: for any plan, a point at least as fast costs at most {100 * front.gap:.3g} % more."
    )


def _proven_points(front: FrontDocument) -> str:
    proven = sum(point.status.startswith("optimal") for point in front.points)
    return f"{proven} of {len(front.points)} plans are proven the cheapest at their throughput."


def _front_caption(front: FrontDocument) -> str:
    text = "Between both lines, in the shaded part, there may be a better plan. An open dot is not proven."
    return text + (" The search was interrupted." if front.interrupted else "")


def _front_assumptions(front: FrontDocument) -> Iterator[str]:
    if front.points:
        yield from limits.assumptions(Subject(front.points[0].plan))
    yield (
        "For the schedule and the memory of one point, plan with its throughput as minimum "
        "(stageplan plan --min-throughput) and report that plan."
    )


# Sweeps -------------------------------------------------------------------------------------------------


def of_sweep(results: SweepResults) -> Report:
    """Make the report of a sweep: see `SweepResults.report`."""
    cells, plans = grid.grid_of(results), sweep.plans_of(results)
    count = sum(results.statuses.values())
    state = f"{count:,} of {len(results.sweep):,} set-ups have rows."
    if results.failed:
        state += f" {results.failed:,} of them failed."
    parts = [
        head(
            results.sweep.name or "Sweep", repr(results.sweep), state, results.complete and not results.failed
        ),
        tiles((status, f"{number:,}") for status, number in results.statuses.items()),
        _heat_map(cells),
        *map(_sweep_front, plans),
        section("Why set-ups failed", bullets(_errors(results))),
        section("Axes", table(("axis", "values", "first", "last"), list(_axes(results)), (0, 2, 3))),
    ]
    return page(f"Sweep {results.sweep.name}", parts)


def _heat_map(cells: grid.Grid) -> str:
    if not cells.across.name:
        return ""
    over = f" over {' and '.join(cells.over)}" if cells.over else ""
    best = {"cost": "Lowest cost", "price": "Lowest price", "throughput": "Highest throughput"}[cells.measure]
    names = f"{cells.across.name}{f' and {cells.up.name}' if cells.up.name else ''}"
    shown = sweep.color_key(cells) if cells.feasible.any() else None
    return section(
        f"{best} by {names}",
        figure(
            sweep.heat_map(cells),
            f"Each cell is the best of the plans{over} that meet all limits; dashed cells have none. "
            "Where an axis has many values, neighbours share a cell.",
        ),
        "" if shown is None else figure(shown),
        numbers(
            (f"{cells.up.name} \\ {cells.across.name}", *cells.across.labels), sweep.grid_rows(cells), (0,)
        ),
    )


def _sweep_front(plans: sweep.Plans) -> str:
    picture = sweep.front_picture(plans)
    shown = (
        ""
        if picture is None
        else figure(
            picture,
            "The line is the cheapest plan at a throughput; the darker a place, the more plans are there.",
        )
    )
    title = f"Front of {plans.workload}, {plans.examples:,.10g} examples"
    return section(
        title, shown, numbers(sweep.HEAD, sweep.front_rows(plans), (6,), open_=len(plans.front) <= 20)
    )


def _errors(results: SweepResults) -> list[str]:
    found = results.errors().most_common(20) if results.failed else []
    return [f"{count:,} failed: {reason}" for reason, count in found]


def _axes(results: SweepResults) -> Iterator[tuple[str, ...]]:
    for dimension in results.sweep.dimensions:
        at = partial(grid.value_at, dimension)
        yield ", ".join(dimension.axes), f"{len(dimension):,}", at(0), at(len(dimension) - 1)
