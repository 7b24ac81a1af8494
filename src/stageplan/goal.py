"""The goal: objective and limits of plans."""

from typing import Annotated, Literal

from msgspec import Struct

from .errors import InputError
from .fields import Count, Positive, check_fields, fields_of, positive, show, whole

Objective = Literal["cost", "throughput", "price"]
_WANTED = {
    "cost": "cheapest plan",
    "throughput": "fastest plan",
    "price": "plan with the lowest hourly price",
}


class Goal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The objective of plans, their limits and their form.

    Parameters
    ----------
    objective
        ``"cost"``: the cheapest plan for all examples, $; ``"throughput"``: the fastest plan; ``"price"``:
        the plan whose devices cost least per hour, $/hour, such as the cheapest one for a `min_throughput`.
    examples
        Number of examples to process; duration and cost are proportional to it.
    min_throughput
        Minimum examples per second.
    max_duration
        Maximum seconds to process all examples.
    max_cost
        Maximum cost of processing all examples, $.
    max_price
        Maximum price of the devices, $/hour.
    overlap
        Whether a stage transfers while it computes: its time is the longer of the two, otherwise their sum.
    merge
        ``"adjacent"``: a stage is a run of neighbouring layers; ``"type"``: all layers of a type are one
        stage, wherever they stand (no pipeline runtime takes such a plan).
    split
        Whether neighbouring stages may have the same device type. Without it, neighbouring layers on one type
        are one stage; the type may appear again further on.
    max_devices_per_stage
        Maximum devices per stage, at most 1,048,576, which is the default; 256 if stages are chosen among
        options. Results state whether a proof depends on the default of 1,048,576.
    schedule
        ``"gpipe"`` or ``"1f1b"``: the pipeline runs `microbatches` of a batch, and fills and drains; None:
        continuous, without fill and drain.
    microbatches
        Microbatches per iteration.
    batch
        Examples per iteration, a multiple of `microbatches`.
    max_stages
        Maximum number of stages.
    whole_machines
        Whether devices are rented by the machine, those of a type over all stages together.
    same_strategy, same_replicas
        Whether all stages have the same strategy, by name, and the same number of replicas.
    equal_shares
        Whether, with a schedule, all replicas of a stage get the same number of examples of a microbatch.

    Raises
    ------
    ValueError, TypeError
        A field has a wrong type, or a value that is not allowed.

    Examples
    --------
    >>> import stageplan as sp
    >>> goal = sp.Goal(objective="throughput", max_price=50)
    >>> print(goal)
    fastest plan for 1e+06 examples, at most $50/h
    >>> sp.Goal(max_price=-1)
    Traceback (most recent call last):
        ...
    stageplan.errors.InputError: max_price is -1; it must be more than 0 $/hour and finite, or absent (goal)
    """

    objective: Objective = "cost"
    examples: Positive = 1e6
    min_throughput: Annotated[float, positive("examples/s")] | None = None
    max_duration: Annotated[float, positive("seconds")] | None = None
    max_cost: Annotated[float, positive("$")] | None = None
    max_price: Annotated[float, positive("$/hour")] | None = None
    overlap: bool = True
    merge: Literal["adjacent", "type"] = "adjacent"
    split: bool = False
    max_devices_per_stage: Count | None = None
    schedule: Literal["gpipe", "1f1b"] | None = None
    microbatches: Annotated[int, whole(1, 2**31 - 1)] | None = None
    batch: Annotated[int, whole(1, 2**53)] | None = None
    max_stages: Annotated[int, whole(1, 2**31 - 1)] | None = None
    whole_machines: bool = False
    same_strategy: bool = False
    same_replicas: bool = False
    equal_shares: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "goal")
        if self.schedule is None:
            if self.microbatches is not None:
                raise InputError(
                    f"microbatches is {self.microbatches}; it must be absent without a schedule (goal)"
                )
            return
        if self.microbatches is None or self.batch is None:
            name = "batch" if self.batch is None else "microbatches"
            raise InputError(f"{name} is absent; it must be given with a schedule (goal)")
        if self.batch % self.microbatches:
            raise InputError(
                f"batch is {show(self.batch)}; it must be a multiple of microbatches, "
                f"{show(self.microbatches)} (goal)"
            )

    def __repr__(self) -> str:
        """Name the fields that differ from their defaults."""
        values = {field.name: getattr(self, field.name) for field in fields_of(Goal)}
        given = (f"{f.name}={values[f.name]!r}" for f in fields_of(Goal) if values[f.name] != f.default)
        return f"Goal({', '.join(given)})"

    def __str__(self) -> str:
        limits = {
            "at least {:g} examples/s": self.min_throughput,
            "at most {:g} s": self.max_duration,
            "at most ${:g}": self.max_cost,
            "at most ${:g}/h": self.max_price,
        }
        asked = [text.format(value) for text, value in limits.items() if value is not None]
        if self.max_stages is not None:
            asked.append(f"at most {self.max_stages} stage{'s' if self.max_stages > 1 else ''}")
        if self.schedule is not None and self.batch is not None and self.microbatches is not None:
            examples = self.batch // self.microbatches
            asked.append(f"{self.schedule}: {self.microbatches} microbatches of {examples} examples")
        return ", ".join([f"{_WANTED[self.objective]} for {self.examples:g} examples", *asked])


def labelling(goal: Goal) -> str:
    """Describe which labels a device type has."""
    return f"split and merge {goal.merge!r}" if goal.split else "no split"
