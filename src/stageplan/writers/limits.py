"""What each runtime can run, as data beside its writer; plans are checked against it, and made within it."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ..errors import InputError
from ..fields import show
from ..workload import Mode
from .partition import Partition, Way


class Limits(NamedTuple):
    """What a runtime can run.

    Attributes
    ----------
    mode : {"train", "inference"} or None
        What it does, inference in any mode that does not train; None: both.
    cuts : {"layers", "blocks", "around blocks"}
        Before which layers a stage may begin: any; blocks of a language model, but not the first one; or
        these, the first block, and the first layer behind the blocks.
    adjacent : bool
        Whether a stage has to be a run of adjacent layers.
    ties : {"apart", "ends apart", "together"}
        Which layers that share weights may be in several stages: all; those that are not blocks; none.
    replicas : {"any", "same", "one"}
        Replicas of each stage.
    tensor_parallel, expert_parallel : bool
        Whether it knows these strategies; the same one in all stages.
    recompute : tuple of str
        Strategies of recomputation that it knows.
    any_strategy : bool
        Whether it takes all strategies, in any stage.
    schedules : tuple of str
        The schedules that it runs.
    pipelines : bool
        Whether stages work on several examples at once; if not, each waits for the one before it.
    zero : int
        The highest stage of ZeRO in which replicas divide what they keep.
    """

    mode: Mode | None = None
    cuts: Literal["layers", "blocks", "around blocks"] = "layers"
    adjacent: bool = True
    ties: Literal["apart", "ends apart", "together"] = "apart"
    replicas: Literal["any", "same", "one"] = "same"
    tensor_parallel: bool = False
    expert_parallel: bool = False
    recompute: tuple[str, ...] = ()
    any_strategy: bool = False
    schedules: tuple[str, ...] = ()
    pipelines: bool = True
    zero: int = 0

    def runs(self, strategy: str, degree: int) -> bool:
        """Whether it knows a strategy of so many devices a replica."""
        way = Way.of(strategy, degree)
        if self.any_strategy or way is None:
            return self.any_strategy
        known = {"": True, "tp": self.tensor_parallel, "ep": self.expert_parallel}
        return known[way.parallel] and way.recompute in ("", *self.recompute)

    def begins(self, partition: Partition) -> list[int]:
        """Layers at which a stage other than the first may begin.

        Raises
        ------
        ValueError
            The runtime runs language models only, and the layers are not those of one.
        """
        first, end = 1, len(partition.layers) - 1
        if self.cuts != "layers":
            decoders, around = partition.decoders(), self.cuts == "around blocks"
            first, end = decoders.first + (not around), min(decoders.end - (not around), end)
        spans = [(min(tie), max(tie)) for tie in partition.ties if self._keeps_together(partition, tie)]
        return [b for b in range(first, end + 1) if not any(a < b <= z for a, z in spans)]

    def _keeps_together(self, partition: Partition, tie: tuple[int, ...]) -> bool:
        if self.ties == "ends apart":
            decoders = partition.decoders()
            return any(decoders.first <= layer < decoders.end for layer in tie)
        return self.ties == "together"

    def check(self, partition: Partition) -> None:
        """Raise a ValueError that says what of a plan the runtime cannot run, and what it can."""
        self._check_mode(partition)
        if self.adjacent:
            self._check_cuts(partition)
        self._check_ties(partition)
        self._check_replicas(partition)
        self._check_strategies(partition)
        self._check_zero(partition)
        self._check_schedule(partition)

    def _check_mode(self, partition: Partition) -> None:
        mode = partition.conditions.mode
        if self.mode is not None and mode is not None and (mode == "train") != (self.mode == "train"):
            does = "trains" if self.mode == "train" else "serves"
            raise InputError(
                f"its workload was profiled for mode {mode!r}, and the runtime only {does} models "
                f"(profile with --mode {self.mode})"
            )

    def _check_cuts(self, partition: Partition) -> None:
        bounds = partition.bounds()
        if self.cuts == "layers":
            return
        decoders = partition.decoders()
        around = self.cuts == "around blocks"
        keeps = (
            "all embeddings in one stage, and all layers after the blocks in one stage"
            if around
            else "embeddings in the stage of the first block, and all layers after the blocks in the stage "
            "of the last block"
        )
        for bound in bounds[1:-1]:
            if not decoders.first + (not around) <= bound <= decoders.end - (not around):
                raise InputError(f"a stage begins with {partition.layers[bound]}; the runtime keeps {keeps}")

    def _check_ties(self, partition: Partition) -> None:
        ends = self.ties == "ends apart"
        keeps = "keeps only embeddings and head equal" if ends else "does not keep copies of weights equal"
        for tie in partition.parted_ties():
            if self._keeps_together(partition, tie):
                names = " and ".join(partition.layers[layer] for layer in tie)
                raise InputError(f"{names} share weights but not a stage; the runtime {keeps}")

    def _check_replicas(self, partition: Partition) -> None:
        if self.replicas == "any":
            return
        replicas = partition.replicas()
        if self.replicas == "one" and replicas > 1:
            raise InputError(
                f"its stages have {replicas} replicas; the runtime runs one of each stage "
                "(plan with --max-devices-per-stage 1)"
            )

    def _check_strategies(self, partition: Partition) -> None:
        if self.any_strategy:
            return
        for number, stage in enumerate(partition.stages, start=1):
            if not self.runs(stage.strategy, stage.degree):
                raise InputError(
                    f"stage {number} runs on {stage.degree} devices by strategy {show(stage.strategy)}; "
                    f"the runtime {self._known_strategies()}"
                )
        degrees = [stage.degree for stage in partition.stages]
        if len(set(degrees)) > 1:
            raise InputError(
                f"its stages have replicas of {', '.join(map(str, degrees))} devices; the runtime runs all "
                "stages with the same tensor parallelism (plan with --same-strategy)"
            )
        if len({stage.way for stage in partition.stages}) > 1:
            listed = ", ".join(show(stage.strategy) for stage in partition.stages)
            raise InputError(
                f"its stages have strategies {listed}; the runtime runs all with the same one (plan with "
                "--same-strategy)"
            )

    def _known_strategies(self) -> str:
        known = []
        if self.tensor_parallel:
            known.append("tensor parallelism, named as 'tp4' over 4 devices")
        if self.expert_parallel:
            known.append("expert parallelism, named as 'ep4'")
        if self.recompute:
            known.append(f"recomputation, named {' or '.join(map(repr, self.recompute))}")
        return (
            f"takes none, or {', or '.join(known)}" if known else "runs each replica on one device as it is"
        )

    def _check_zero(self, partition: Partition) -> None:
        zero = partition.conditions.zero or 0
        if zero > self.zero and self.replicas == "same":
            raise InputError(
                f"its replicas divide what they keep by ZeRO stage {zero}; the runtime has at most stage "
                f"{self.zero} in a pipeline (profile with --zero {self.zero})"
            )

    def _check_schedule(self, partition: Partition) -> None:
        schedule = partition.goal.schedule
        if schedule is not None and schedule not in self.schedules:
            runs = (
                f"runs {' and '.join(map(repr, self.schedules))}"
                if self.schedules
                else "has no schedule of its own"
            )
            raise InputError(f"it is planned for schedule {schedule!r}; the runtime {runs}")
        if self.replicas != "any":
            partition.microbatches()
