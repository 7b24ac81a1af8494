"""What a plan has to achieve."""

from typing import Annotated, Literal

from msgspec import Struct

from .fields import Count, Positive, check_fields, positive


class Goal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a plan has to achieve, and what it may look like.

    Parameters
    ----------
    objective
        ``"cost"``: the cheapest plan; ``"throughput"``: the fastest.
    examples
        Examples to process; they scale duration and cost.
    min_throughput
        Examples per second that a plan must reach.
    max_duration
        Seconds in which all examples must be processed.
    max_cost
        Most that processing all examples may cost, $.
    max_price
        Most that the devices may cost, $/hour.
    overlap
        Whether a stage transfers while it computes, so that the longer of the two counts, or their sum.
    merge
        ``"adjacent"``: a stage is a run of neighbouring layers; ``"type"``: all layers of a type are one
        stage, wherever they stand (no pipeline runtime takes such a plan).
    split
        Whether neighbouring layers on one type may be cut into several stages. Without it they are one stage,
        though a type may appear again further on.
    max_devices_per_stage
        Most devices that share one stage, at most 1,048,576. That many is also the default: where more might
        matter to what is proven, results say so. Where stages are chosen among options it is 256 unless told.
    schedule
        ``"gpipe"`` or ``"1f1b"``: the pipeline runs `microbatches` of a batch, fills and drains; None: it
        never does.
    microbatches
        Microbatches of an iteration.
    batch
        Examples of an iteration, a multiple of `microbatches`.
    max_stages
        Most stages of the plan.
    whole_machines
        Whether devices are rented by the machine, those of a type over all stages together.
    same_strategy, same_replicas
        Whether all stages have one strategy, by name, and as many replicas as each other.

    Raises
    ------
    ValueError, TypeError
        Where a field is not as described.

    Examples
    --------
    >>> import stageplan as sp
    >>> goal = sp.Goal(objective="throughput", max_price=50)
    >>> print(goal)
    fastest plan for 1e+06 examples, at most $50/h
    >>> sp.Goal(max_price=-1)
    Traceback (most recent call last):
        ...
    ValueError: max_price is -1; it must be more than 0 $/hour and finite, or absent (goal)
    """

    objective: Literal["cost", "throughput"] = "cost"
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
    microbatches: Count | None = None
    batch: Count | None = None
    max_stages: Count | None = None
    whole_machines: bool = False
    same_strategy: bool = False
    same_replicas: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "goal")
        if self.schedule is None:
            if self.microbatches is not None:
                raise ValueError(
                    f"microbatches is {self.microbatches}; it must be absent without a schedule (goal)"
                )
            return
        if self.microbatches is None or self.batch is None:
            name = "batch" if self.batch is None else "microbatches"
            raise ValueError(f"{name} is absent; it must be given with a schedule (goal)")
        if self.batch % self.microbatches:
            raise ValueError(
                f"batch is {self.batch}; it must be a multiple of microbatches, {self.microbatches} (goal)"
            )

    def __str__(self) -> str:
        limits = {
            "at least {:g} examples/s": self.min_throughput,
            "at most {:g} s": self.max_duration,
            "at most ${:g}": self.max_cost,
            "at most ${:g}/h": self.max_price,
        }
        wanted = "cheapest" if self.objective == "cost" else "fastest"
        asked = [text.format(value) for text, value in limits.items() if value is not None]
        return ", ".join([f"{wanted} plan for {self.examples:g} examples", *asked])
