"""What a plan serves: tokens per second, the times that a sequence waits, and room for sequences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from .errors import InputError
from .fields import show
from .verify_options import column_of

if TYPE_CHECKING:
    from .plan import Plan, Stage


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan of a language model serves, in steady state.

    The model is the one of the workload: as many sequences as its `concurrency` at all times, each with
    `context` tokens. Queues of requests, scheduling, sampling, the tokenizer, and prompts that are read
    between two steps of decoding are left out.

    Attributes
    ----------
    tokens_per_second : float
        Tokens that all sequences together get when they are decoded; of a workload of mode ``"prefill"``, the
        tokens of prompts that are read.
    time_per_token : float or None
        Seconds from a token of a sequence to its next one: a pass through all stages, or longer where other
        groups of sequences keep the slowest stage busy. None with mode ``"prefill"``.
    time_to_first_token : float or None
        Seconds of the pass of one prompt of `context` tokens (with mode ``"prefill"``: of a batch of them)
        through all stages, each on one replica, that finds them idle. None if the workload lacks the times.
    room : tuple of float
        Sequences of `context` tokens whose keys and values fit into the memory of each stage, of all its
        replicas together, besides weights and workspace, parts of a sequence among them; inf where memory has
        no limit.
    """

    tokens_per_second: float
    time_per_token: float | None
    time_to_first_token: float | None
    room: tuple[float, ...]

    @property
    def sequences(self) -> float:
        """Whole sequences that fit into the stage with the least room, and so into the plan."""
        least = min(self.room)
        return math.floor(least) if math.isfinite(least) else least

    def __str__(self) -> str:
        parts = [f"{self.tokens_per_second:,.4g} tokens/s"]
        if self.time_per_token is not None:
            parts.append(f"{self.time_per_token:.4g} s per token of a sequence")
        if self.time_to_first_token is not None:
            parts.append(f"{self.time_to_first_token:.4g} s to its first one")
        if math.isfinite(self.sequences):
            parts.append(f"memory for {self.sequences:,.0f} sequences")
        return ", ".join(parts)


def serving_of(plan: Plan) -> Serving:
    """Compute what a plan serves, as `Plan.serving`."""
    conditions, goal = plan.problem.conditions, plan.problem.goal
    if not conditions.served:
        raise InputError(
            f"mode of the workload is {show(conditions.mode)}; it must be 'prefill' or 'decode', with a "
            "context and a concurrency"
        )
    if goal.schedule is not None:
        raise InputError(f"schedule is {show(goal.schedule)}; it must be absent where a model is served")
    context, concurrency = float(conditions.context or 0), float(conditions.concurrency or 0)
    rooms = tuple(room_of(plan, stage) for stage in plan.stages)
    if conditions.mode == "prefill":
        return Serving(
            tokens_per_second=plan.throughput * context,
            time_per_token=None,
            time_to_first_token=_alone(plan, plan.problem.compute * conditions.batch, conditions.batch),
            room=rooms,
        )
    # A step of the next token begins when that of the last one is through all stages.
    through = conditions.batch * math.fsum(stage.compute + stage.transfer / 2 for stage in plan.stages)
    step = max(concurrency * plan.time, through)
    prefill = plan.problem.prefill
    return Serving(
        tokens_per_second=concurrency / step if step > 0 else math.inf,
        time_per_token=step,
        time_to_first_token=None if prefill is None else _alone(plan, prefill, context),
        room=rooms,
    )


def _alone(plan: Plan, compute: npt.NDArray[np.float64], examples: float) -> float:
    """Seconds of a pass through all stages, on one replica of each, by the seconds of the layers.

    It passes on the tensors of some examples between stages: both ends of a transfer count it, and it happens
    once.
    """
    problem, seconds = plan.problem, []
    for stage in plan.stages:
        t = int(problem.label_types[stage.label])
        beta = float(problem.transfer_parallel[t])
        moved = stage.transfer / (1 - beta + beta / stage.replicas)
        own = compute[list(stage.layers), column_of(problem, stage, t)]
        seconds += [*own.tolist(), examples * moved / 2]
    return math.fsum(seconds)


def room_of(plan: Plan, stage: Stage) -> float:
    """Count the sequences whose keys and values fit into a stage, of all its replicas together."""
    cache = cache_of(plan, stage)
    capacity = float(plan.problem.capacity[plan.problem.label_types[stage.label]])
    if cache == 0 or math.isinf(capacity):
        return math.inf
    held = stage.memory - cache * float(plan.problem.conditions.concurrency or 0) / stage.replicas
    return max(0.0, capacity - held) / cache * stage.replicas


def cache_of(plan: Plan, stage: Stage) -> float:
    """Bytes of the keys and values of one sequence, on each device of the replica that has it."""
    problem = plan.problem
    if problem.sharded is None:
        return 0.0
    column = column_of(problem, stage, int(problem.label_types[stage.label]))
    cache = math.fsum(problem.sharded[list(stage.layers), column].tolist())
    return cache / float(problem.conditions.concurrency or 1)
