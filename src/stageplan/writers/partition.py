"""The parts of a plan that pipeline runtimes need: its stages, their layers, and the ranks that run them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from ..cluster import RECOMPUTE
from ..errors import InputError
from ..fields import show
from ..goal import Goal
from ..plan import Plan, Stage
from ..plan_file import SavedPlan, StageDocument
from ..problem import Problem
from ..workload import Conditions

BLOCKS = ("block", "encoder", "decoder")
"""Kinds of the repeated layers of a transformer."""


_STRATEGY = re.compile(
    rf"((?P<parallel>[te]p)(?P<degree>[1-9][0-9]*))?((^|\+)(?P<recompute>{'|'.join(RECOMPUTE)}))?"
)


class Way(NamedTuple):
    """How a replica runs: by tensor or expert parallelism, with recomputation.

    Attributes
    ----------
    parallel : {"", "tp", "ep"}
        Whether several devices share it: each has a part of each weight, or also whole experts.
    recompute : {"", "recompute", "selective"}
        What runs again for the backward pass: nothing, whole layers, or the cores of their attention.
    """

    parallel: str
    recompute: str

    @classmethod
    def of(cls, strategy: str, degree: int) -> Way | None:
        """Return the way that a strategy names; None if that does not tell how so many devices share it."""
        named = _STRATEGY.fullmatch(strategy)
        if named is None or int(named["degree"] or 1) != degree or (named["degree"] == "1"):
            return None
        return cls(named["parallel"] or "", named["recompute"] or "")


class Part(NamedTuple):
    """A stage: indices of its layers, its device type, replicas, devices of each, and how these share it."""

    layers: tuple[int, ...]
    type: str
    replicas: int
    degree: int
    strategy: str

    @classmethod
    def of(cls, layers: Iterable[int], stage: Stage | StageDocument) -> Part:
        """Return the part of a stage; one that does not tell replicas has one device for each."""
        replicas = stage.devices if stage.replicas is None else stage.replicas
        if replicas < 1 or stage.devices % replicas:
            raise InputError(
                f"a stage has {replicas} replicas on {stage.devices} devices; each must have the same number"
            )
        return cls(tuple(layers), stage.type, replicas, stage.devices // replicas, stage.strategy)

    @property
    def devices(self) -> int:
        """Devices of all replicas."""
        return self.replicas * self.degree

    @property
    def way(self) -> Way | None:
        """How the devices of a replica share it, by the name of its strategy; None if that is not known."""
        return Way.of(self.strategy, self.degree)


class Rank(NamedTuple):
    """A process of a runtime, and what it runs.

    Attributes
    ----------
    rank, stage, replica : int
        Its number, the stage that it runs and which replica of that stage; all begin with 0. The ranks that
        share a replica by tensor parallelism follow one another.
    device_type : str
        The device type that it has to be started on.
    """

    rank: int
    stage: int
    replica: int
    device_type: str


class Microbatches(NamedTuple):
    """Microbatches of an iteration, the examples of each in one replica, and those of the iteration."""

    number: int
    examples: int
    batch: int


class Partition(NamedTuple):
    """The stages of a plan, without times and prices.

    Attributes
    ----------
    layers, kinds : tuple of str
        Name and kind of each layer.
    parameters : tuple of float
        Bytes of the parameters of each layer.
    ties : tuple of tuple of int
        Groups of layers that share weights.
    stages : tuple of Part
        In the order of their first layers.
    modules : tuple of tuple of str
        Paths of modules that are placed with each layer.
    conditions : Conditions
        Architecture, mode and precision that were planned for.
    goal : Goal
        Its schedule is that of the runtime.
    room : tuple of float, or None
        Of a model that is served, the sequences whose keys and values fit into each stage, as in `Serving`;
        None where they are not known.
    """

    layers: tuple[str, ...]
    kinds: tuple[str, ...]
    parameters: tuple[float, ...]
    ties: tuple[tuple[int, ...], ...]
    stages: tuple[Part, ...]
    modules: tuple[tuple[str, ...], ...]
    conditions: Conditions
    goal: Goal
    room: tuple[float, ...] | None = None

    @classmethod
    def of(cls, plan: Plan) -> Partition:
        """Return the partition of a plan."""
        problem = plan.problem
        made = cls.of_problem(problem, tuple(Part.of(stage.layers, stage) for stage in plan.stages))
        served = problem.conditions.served and problem.goal.schedule is None
        return made._replace(room=plan.serving().room) if served else made

    @classmethod
    def of_problem(cls, problem: Problem, stages: tuple[Part, ...]) -> Partition:
        """Return a partition of a problem's layers."""
        return cls(
            problem.layer_names,
            problem.layer_kinds,
            problem.parameters,
            problem.ties,
            stages,
            problem.layer_modules,
            problem.conditions,
            problem.goal,
        )

    @classmethod
    def of_saved(cls, saved: SavedPlan) -> Partition:
        """Return the partition of a plan's file.

        Raises
        ------
        ValueError
            The file lacks layers or stages, or names a layer that it does not have.
        """
        if not saved.stages or not saved.layers:
            raise InputError("the plan file lacks layers and stages; pass --workload")
        names = tuple(layer.name for layer in saved.layers)
        index = {name: i for i, name in enumerate(names)}
        for name in (
            name for group in (*saved.ties, *(stage.layers for stage in saved.stages)) for name in group
        ):
            if name not in index:
                raise InputError(f"a stage or tie has layer {show(name)}, which is not in the plan's layers")
        return cls(
            names,
            tuple(layer.kind for layer in saved.layers),
            tuple(layer.parameters for layer in saved.layers),
            tuple(tuple(index[name] for name in tie) for tie in saved.ties),
            tuple(Part.of((index[name] for name in stage.layers), stage) for stage in saved.stages),
            tuple(layer.modules for layer in saved.layers),
            saved.conditions,
            saved.goal or Goal(),
            None if saved.serving is None else saved.serving.rooms(),
        )

    def check(self) -> None:
        """Check that every layer is in exactly one stage; ValueError if not."""
        placed = sorted(layer for stage in self.stages for layer in stage.layers)
        if placed != list(range(len(self.layers))):
            raise InputError(
                f"its stages have {len(placed)} layers; each of {len(self.layers)} must be in one stage"
            )

    def bounds(self) -> tuple[int, ...]:
        """First layer of each stage, and the number of layers at the end.

        Raises
        ------
        ValueError
            The layers of a stage are not adjacent.
        """
        bounds = [0]
        for number, stage in enumerate(self.stages, start=1):
            if stage.layers != tuple(range(bounds[-1], bounds[-1] + len(stage.layers))):
                raise InputError(
                    f"stage {number} has layers that are not adjacent; each stage must be a run "
                    "of adjacent layers (merge 'adjacent')"
                )
            bounds.append(bounds[-1] + len(stage.layers))
        return tuple(bounds)

    def placement(self) -> list[int]:
        """Return the stage of each layer."""
        stage_of = {layer: number for number, stage in enumerate(self.stages) for layer in stage.layers}
        return [stage_of[layer] for layer in range(len(self.layers))]

    def replicas(self) -> int:
        """Replicas of each stage, which is the degree of data parallelism.

        Raises
        ------
        ValueError
            The stages have different numbers of replicas.
        """
        counts = {stage.replicas for stage in self.stages}
        if len(counts) > 1:
            listed = ", ".join(str(stage.replicas) for stage in self.stages)
            raise InputError(
                f"its stages have {listed} replicas; the runtime runs the same number of each stage "
                "(plan with --same-replicas)"
            )
        return counts.pop()

    @property
    def degree(self) -> int:
        """Devices that share each replica, the same in all stages."""
        return self.stages[0].degree

    @property
    def way(self) -> Way:
        """How each replica runs, the same in all stages."""
        return self.stages[0].way or Way("", "")

    def microbatches(self) -> Microbatches | None:
        """Microbatches of the plan's schedule, if it has one.

        Raises
        ------
        ValueError
            The replicas of a stage cannot share them evenly.
        """
        if self.goal.schedule is None or self.goal.batch is None or self.goal.microbatches is None:
            return None
        examples, replicas = self.goal.batch // self.goal.microbatches, self.replicas()
        if examples % replicas:
            raise InputError(
                f"a microbatch has {examples} examples for {replicas} replicas; the runtime gives each the "
                "same number (another batch or number of microbatches)"
            )
        return Microbatches(self.goal.microbatches, examples // replicas, self.goal.batch)

    def ranks(self) -> tuple[Rank, ...]:
        """Return ranks in the order of stages: all replicas of the first stage, then those of the second."""
        return self._numbered((s, r) for s, stage in enumerate(self.stages) for r in range(stage.replicas))

    def ranks_by_replica(self) -> tuple[Rank, ...]:
        """Return ranks in the order of pipelines: all stages of the first replica, then those of the second.

        Raises
        ------
        ValueError
            The stages have different numbers of replicas.
        """
        return self._numbered((s, r) for r in range(self.replicas()) for s in range(len(self.stages)))

    def _numbered(self, places: Iterable[tuple[int, int]]) -> tuple[Rank, ...]:
        return tuple(
            Rank(rank, stage, replica, self.stages[stage].type)
            for rank, (stage, replica) in enumerate(
                place for place in places for _ in range(self.stages[place[0]].degree)
            )
        )

    def note_on_servers(self) -> str:
        """Return a note for runtimes that run a single replica, each of which is started on its own."""
        replicas = self.replicas()
        return f"start it {replicas} times, each on the ranks of one replica" if replicas > 1 else ""

    def parted_ties(self) -> tuple[tuple[int, ...], ...]:
        """Return groups of layers that share weights but not a stage."""
        stage_of = {layer: i for i, stage in enumerate(self.stages) for layer in stage.layers}
        return tuple(tie for tie in self.ties if len({stage_of[layer] for layer in tie}) > 1)

    def block_counts(self) -> tuple[int, ...]:
        """Blocks of each stage of a language model."""
        return self.decoders().counts()

    def decoders(self) -> Decoders:
        """Find the blocks of a language model: embeddings before them, norm and head after them.

        Raises
        ------
        ValueError
            The layers do not have that form.
        """
        blocks = [i for i, kind in enumerate(self.kinds) if kind in BLOCKS]
        if not blocks:
            known = ", ".join(sorted({kind for kind in self.kinds if kind})) or "not known"
            raise InputError(
                f"it has no layer of kind {' or '.join(BLOCKS)}, which the runtime counts (kinds: {known})"
            )
        first, last = blocks[0], blocks[-1]
        if blocks != list(range(first, last + 1)):
            between = next(i for i in range(first, last) if i not in blocks)
            raise InputError(
                f"layer {self.layers[between]} is between blocks; the runtime has only blocks there"
            )
        if "embedding" not in self.kinds[:first]:
            raise InputError(
                "there is no layer of kind embedding before the blocks; the runtime runs language models"
            )
        return Decoders(first, last + 1, self.bounds())


class Written(NamedTuple):
    """A plan as a runtime takes it: a value, a text with it, its ranks, and a note for people."""

    value: Any
    text: str
    ranks: tuple[Rank, ...]
    note: str = ""


class Decoders(NamedTuple):
    """First block of a language model, end of its blocks, and the bounds of its stages."""

    first: int
    end: int
    bounds: tuple[int, ...]

    def counts(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        clipped = [min(max(bound, self.first), self.end) for bound in self.bounds]
        return tuple(b - a for a, b in pairwise(clipped))

    def with_ends(self, counts: Sequence[int]) -> tuple[int, ...]:
        """Bounds of stages by their blocks; embeddings are in the first, norm and head in the last."""
        return (0, *(self.first + end for end in accumulate(counts[:-1])), self.bounds[-1])
