"""DeepSpeed: a subclass of `PipelineModule` with the stages of the plan.

`PipelineModule` has no argument for bounds of stages, so its hook `_partition_layers` is overridden.
"""

from __future__ import annotations

from ..cluster import FULL
from .defaults import Default, balanced, even, to_bounds
from .limits import Limits
from .partition import Partition, Written

LIMITS = Limits(mode="train", recompute=(FULL,), schedules=("1f1b",), zero=1)

_TEXT = '''\
"""A DeepSpeed pipeline: {count} layers in {stages} stages, as planned."""

from deepspeed.pipe import PipelineModule, TiedLayerSpec

PARTS = {parts}  # first layer of each stage, and the number of layers
LAYERS = {layers}
TIED = {tied}  # layers that share weights but not a stage
REPLICAS = {replicas}  # of each stage
TYPES = {types}  # device type of each rank


class PlannedPipeline(PipelineModule):
    """Takes the layers named in LAYERS, in that order, and arguments of PipelineModule."""

    def __init__(self, layers, **arguments):
        layers = list(layers)
        if len(layers) != PARTS[-1]:
            raise ValueError(f"there are {{len(layers)}} layers; the plan has {{PARTS[-1]}}")
        for group in TIED:
            keys = {{layers[i].key if isinstance(layers[i], TiedLayerSpec) else None for i in group}}
            if len(keys) != 1 or None in keys:
                raise ValueError(f"layers {{group}} share weights; they must be TiedLayerSpecs of one key")
        super().__init__(layers=layers, num_stages=len(PARTS) - 1, {recompute}**arguments)

    def _partition_layers(self, method="plan"):
        if self._topo.get_dim("data") != REPLICAS or self._topo.world_size() != len(TYPES):
            raise ValueError(f"the plan needs {{len(TYPES)}} ranks, {{REPLICAS}} for each stage")
        self.parts = list(PARTS)
        stage = self._topo.get_coord(self.global_rank).pipe
        self._set_bounds(start=self.parts[stage], stop=self.parts[stage + 1])
'''


def write(partition: Partition) -> Written:
    """Return the bounds of the stages, and Python source that defines the pipeline's class."""
    bounds = list(partition.bounds())
    settings = []
    if (microbatches := partition.microbatches()) is not None:
        settings += [
            f"train_batch_size {microbatches.batch}",
            f"train_micro_batch_size_per_gpu {microbatches.examples}",
            f"gradient_accumulation_steps {microbatches.number}",
        ]
    if partition.conditions.zero == 1:
        settings.append("zero_optimization of stage 1")
    note = f"its configuration takes {', '.join(settings)}" if settings else ""
    ranks = partition.ranks()  # the axes of its topology are pipeline, data
    text = _TEXT.format(
        stages=len(partition.stages),
        count=len(partition.layers),
        parts=bounds,
        layers=list(partition.layers),
        tied=[list(tie) for tie in partition.parted_ties()],
        replicas=partition.replicas(),
        recompute="activation_checkpoint_interval=1, " if partition.way.recompute else "",
        types=[rank.device_type for rank in ranks],
    )
    return Written(bounds, text, ranks, note)


def default(partition: Partition) -> Default:
    """Balance by parameters, or by layers if the plan has no parameters."""
    if any(partition.parameters) and len(partition.layers) > len(partition.stages):
        return Default("balanced by parameters", balanced(partition.parameters, len(partition.stages)))
    bounds = to_bounds(even(len(partition.layers), len(partition.stages)))
    return Default("even by layers (the plan has no parameters)", bounds)
