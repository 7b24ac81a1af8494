"""What a pipeline runtime needs to know of a plan, and the questions that all runtimes ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from ..fields import show
from ..plan import Plan
from ..plan_file import SavedPlan

BLOCKS = ("block", "encoder", "decoder")
"""Kinds of the repeated layers of a transformer."""


class Part(NamedTuple):
    """A stage: indices of its layers, its device type, and how many devices share it."""

    layers: tuple[int, ...]
    type: str
    devices: int


class Split(NamedTuple):
    """A plan without its numbers.

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
    """

    layers: tuple[str, ...]
    kinds: tuple[str, ...]
    parameters: tuple[float, ...]
    ties: tuple[tuple[int, ...], ...]
    stages: tuple[Part, ...]

    @classmethod
    def of(cls, plan: Plan) -> Split:
        """Take what runtimes need from a plan."""
        problem = plan.problem
        stages = tuple(Part(stage.layers, stage.type, stage.devices) for stage in plan.stages)
        return cls(problem.layer_names, problem.layer_kinds, problem.parameters, problem.ties, stages)

    @classmethod
    def of_saved(cls, saved: SavedPlan) -> Split:
        """Take what runtimes need from a plan's file.

        Raises
        ------
        ValueError
            The file says too little, or contradicts itself.
        """
        if not saved.stages or not saved.layers:
            raise ValueError("it does not say its layers and stages; its workload must be given")
        names = tuple(layer.name for layer in saved.layers)
        index = {name: i for i, name in enumerate(names)}
        for name in (
            name for group in (*saved.ties, *(stage.layers for stage in saved.stages)) for name in group
        ):
            if name not in index:
                raise ValueError(f"its layer {show(name)} is unknown; it must be one of its layers")
        return cls(
            names,
            tuple(layer.kind for layer in saved.layers),
            tuple(layer.parameters for layer in saved.layers),
            tuple(tuple(index[name] for name in tie) for tie in saved.ties),
            tuple(Part(tuple(index[n] for n in s.layers), s.type, s.devices) for s in saved.stages),
        )

    def check(self) -> None:
        """Refuse what is no partition of the layers, with a ValueError."""
        placed = sorted(layer for stage in self.stages for layer in stage.layers)
        if placed != list(range(len(self.layers))):
            raise ValueError(
                f"its stages hold {len(placed)} layers; each of {len(self.layers)} must be in one stage"
            )

    def bounds(self) -> tuple[int, ...]:
        """First layer of each stage, and the number of layers at the end.

        Raises
        ------
        ValueError
            The layers of a stage are no neighbours.
        """
        bounds = [0]
        for number, stage in enumerate(self.stages, start=1):
            if stage.layers != tuple(range(bounds[-1], bounds[-1] + len(stage.layers))):
                raise ValueError(
                    f"stage {number} holds layers that are no neighbours; a pipeline's stages must follow "
                    "one another (merge 'adjacent')"
                )
            bounds.append(bounds[-1] + len(stage.layers))
        return tuple(bounds)

    def replicas(self) -> int:
        """Devices that share each stage, which is the degree of data parallelism.

        Raises
        ------
        ValueError
            The stages do not all have as many.
        """
        counts = {stage.devices for stage in self.stages}
        if len(counts) > 1:
            listed = ", ".join(str(stage.devices) for stage in self.stages)
            raise ValueError(
                f"its stages have {listed} devices; the runtime must have as many in each "
                "(plan with --max-devices-per-stage 1)"
            )
        return counts.pop()

    def parted_ties(self) -> tuple[tuple[int, ...], ...]:
        """List the groups of layers that share weights but not a stage."""
        stage_of = {layer: i for i, stage in enumerate(self.stages) for layer in stage.layers}
        return tuple(tie for tie in self.ties if len({stage_of[layer] for layer in tie}) > 1)

    def refuse_parted_ties(self, reason: str) -> None:
        """Refuse a plan that parts layers which share weights: trained apart, they drift apart."""
        for tie in self.parted_ties():
            names = " and ".join(self.layers[layer] for layer in tie)
            raise ValueError(f"{names} share weights but not a stage; {reason}")

    def block_counts(self) -> tuple[int, ...]:
        """Blocks of each stage of a language model.

        Raises
        ------
        ValueError
            The layers are no language model's, or a stage has no block.
        """
        decoders = self.decoders()
        for bound in decoders.bounds[1:-1]:
            if not decoders.first < bound < decoders.end:
                raise ValueError(
                    f"a stage begins with {self.layers[bound]}; the runtime must have embeddings with the "
                    "first block, and all behind the blocks with the last one"
                )
        return decoders.counts()

    def decoders(self) -> Decoders:
        """Read the layers as a language model's: embeddings, blocks, and what comes behind them.

        Raises
        ------
        ValueError
            They are not of that form.
        """
        blocks = [i for i, kind in enumerate(self.kinds) if kind in BLOCKS]
        if not blocks:
            known = ", ".join(sorted({kind for kind in self.kinds if kind})) or "not known"
            raise ValueError(
                f"no layer is of kind {' or '.join(BLOCKS)}, and the runtime counts those (kinds: {known})"
            )
        first, last = blocks[0], blocks[-1]
        if blocks != list(range(first, last + 1)):
            between = next(i for i in range(first, last) if i not in blocks)
            raise ValueError(
                f"layer {self.layers[between]} stands between blocks, and the runtime only has blocks there"
            )
        if "embedding" not in self.kinds[:first]:
            raise ValueError(
                "no layer before the blocks is of kind embedding; the runtime runs language models"
            )
        return Decoders(first, last + 1, self.bounds())


class Written(NamedTuple):
    """What a runtime takes, a text with it, and what people have to know about it."""

    value: Any
    text: str
    note: str = ""


class Decoders(NamedTuple):
    """Where the blocks of a language model begin and end, and its stages' bounds."""

    first: int
    end: int
    bounds: tuple[int, ...]

    def counts(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        clipped = [min(max(bound, self.first), self.end) for bound in self.bounds]
        return tuple(b - a for a, b in pairwise(clipped))

    def with_ends(self, counts: Sequence[int]) -> tuple[int, ...]:
        """Bounds of stages of so many blocks, with the embeddings in the first and the rest in the last."""
        return (0, *(self.first + end for end in accumulate(counts[:-1])), self.bounds[-1])
