"""DeepSpeed: a `PipelineModule` whose layers are split by the plan; it takes no list, so a class says it."""

from __future__ import annotations

from .defaults import Default, balanced, even, to_bounds
from .split import Split, Written

_TEXT = '''\
"""A DeepSpeed pipeline, split by a plan: {stages} stages of {count} layers."""

from deepspeed.pipe import PipelineModule, TiedLayerSpec

PARTS = {parts}  # first layer of each stage, and the number of layers
LAYERS = {layers}
TIED = {tied}  # layers that share weights, but not a stage


class PlannedPipeline(PipelineModule):
    """`layers` are to be those of LAYERS, in order; the other arguments are a PipelineModule's."""

    def __init__(self, layers, **arguments):
        layers = list(layers)
        if len(layers) != PARTS[-1]:
            raise ValueError(f"there are {{len(layers)}} layers; the plan has {{PARTS[-1]}}")
        for group in TIED:
            keys = {{layers[i].key if isinstance(layers[i], TiedLayerSpec) else None for i in group}}
            if len(keys) != 1 or None in keys:
                raise ValueError(f"layers {{group}} share weights; they must be TiedLayerSpecs of one key")
        super().__init__(layers=layers, num_stages=len(PARTS) - 1, **arguments)

    def _partition_layers(self, method="plan"):
        self.parts = list(PARTS)
        stage = self._topo.get_coord(self.global_rank).pipe
        self._set_bounds(start=self.parts[stage], stop=self.parts[stage + 1])
'''


def write(split: Split) -> Written:
    """Return the bounds of the stages, and a module that defines the pipeline's class."""
    bounds = list(split.bounds())
    split.replicas()
    text = _TEXT.format(
        stages=len(split.stages),
        count=len(split.layers),
        parts=bounds,
        layers=list(split.layers),
        tied=[list(tie) for tie in split.parted_ties()],
    )
    return Written(bounds, text)


def default(split: Split) -> Default:
    """Balance by parameters, or evenly by layers where the plan does not know its parameters."""
    if any(split.parameters) and len(split.layers) > len(split.stages):
        return Default("balanced by parameters", balanced(split.parameters, len(split.stages)))
    bounds = to_bounds(even(len(split.layers), len(split.stages)))
    return Default("even by layers (the plan does not know its parameters)", bounds)
