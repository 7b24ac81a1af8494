"""Lines on long work, on the logger ``stageplan``; where they go is up to the program that calls."""

from __future__ import annotations

import logging
import math
import time

from .plan import Plan
from .progress import Progress

LOGGER = logging.getLogger("stageplan")
LOGGER.addHandler(logging.NullHandler())
PAUSE = 1.0  # seconds between two lines

_last = -math.inf  # when the last line was due


def due() -> bool:
    """Whether to log a line now: level INFO is on, and the last line was a second ago, of whatever search."""
    global _last
    if not LOGGER.isEnabledFor(logging.INFO):
        return False
    now = time.monotonic()
    if now - _last < PAUSE:
        return False
    _last = now
    return True


def search_line(
    best: Progress | Plan,
    objective: str,
    *,
    bound: float,
    gap: float,
    evaluations: int,
    work: int,
    runtime: float,
) -> str:
    """Describe the state of a search: time, best plan, bound, gap and rate."""
    seconds = max(runtime, 1e-9)
    broken = f", violation {best.violation:.3g}" if best.violation else ""
    return (
        f"{runtime:.1f} s: best {_plan_cost(best)}${best.cost:,.6g}, {best.throughput:,.6g} examples/s, "
        f"${best.price:,.6g}/h{broken}; {_proven(objective, bound)}, gap {_percent(gap)}; "
        f"{evaluations:,} schemes ({evaluations / seconds:,.0f}/s), work {work:,} ({work / seconds:,.0f}/s)"
    )


def progress_line(progress: Progress) -> str:
    """Describe the state of a search in 80 columns: time, best plan, bound, gap and rate of work."""
    p, objective, seconds = progress, progress.objective, max(progress.runtime, 1e-9)
    best = _plan_cost(p) + (f"${p.price:,.6g}/h" if objective == "price" else f"${p.cost:,.6g}")
    broken = f" (violation {p.violation:.2g})" if p.violation else ""
    proven = _proven(objective, p.bound).replace(" examples", "")
    return (
        f"{seconds:.{0 if seconds >= 100 else 1}f} s: {best} at {p.throughput:,.6g}/s{broken}; "
        f"{proven}, gap {_percent(p.gap)}; work {_short(p.work / seconds)}/s"
    )


def _short(number: float) -> str:
    for scale, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= scale:
            return f"{number / scale:.3g}{unit}"
    return f"{number:.3g}"


def log_progress(progress: Progress) -> None:
    """Log the state of a search, where a line is due."""
    if due():
        LOGGER.info(
            "%s",
            search_line(
                progress,
                progress.objective,
                bound=progress.bound,
                gap=progress.gap,
                evaluations=progress.evaluations,
                work=progress.work,
                runtime=progress.runtime,
            ),
        )


def _plan_cost(best: Progress | Plan) -> str:
    return "" if best.plan_cost is None else f"plan cost {best.plan_cost:,.6g}, "


def _proven(objective: str, bound: float) -> str:
    if bound in (math.inf if objective == "throughput" else 0, -math.inf):
        return "no bound"
    if math.isinf(bound) or bound == 0:
        return "bound: infeasible"
    if objective == "throughput":
        return f"bound {bound:,.6g} examples/s"
    return f"bound ${bound:,.6g}{'/h' if objective == 'price' else ''}"


def _percent(gap: float) -> str:
    return f"{100 * gap:.3g} %" if math.isfinite(gap) else "unknown"
