"""Groups of the sequences that are decoded: a step decodes one, while others are in other stages."""

from __future__ import annotations

import msgspec

from .problem import Problem


def with_groups(problem: Problem, groups: int) -> Problem:
    """Divide the sequences of a workload that decodes in another number of groups, the most stages of a plan.

    Of a step, the part that replicas do not divide stays: reading the weights, and starting kernels. The rest
    is proportional to its sequences; where arithmetic and not memory limits a step, a smaller one takes less.
    """
    conditions, parallel = problem.conditions, problem.compute_parallel
    batch = float(conditions.concurrency or 1) / groups
    ratio = batch / conditions.batch
    fields = problem._fields() | {
        "compute": problem.compute * ((1 - parallel) / ratio + parallel),
        "compute_parallel": parallel * ratio / (1 - parallel + parallel * ratio),
        "conditions": msgspec.structs.replace(conditions, batch=batch),
    }
    return Problem._of(fields, msgspec.structs.replace(problem.goal, max_stages=None))
