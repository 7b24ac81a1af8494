"""Paddle: ``seg_method`` of a `PipelineLayer`, the first layer of each stage and the number of layers."""

from __future__ import annotations

from .defaults import Default, even, to_bounds
from .split import Split, Written

_TEXT = '''\
"""A Paddle pipeline, split by a plan: {stages} stages of {count} layers."""

from paddle.distributed.fleet.meta_parallel import PipelineLayer, SharedLayerDesc

SEG_METHOD = {bounds}  # first layer of each stage, and the number of layers
LAYERS = {layers}
SHARED = {shared}  # layers that share weights, but not a stage


def planned_pipeline(layers, **arguments):
    """Make a PipelineLayer of `layers`, which are to be those of LAYERS, in order."""
    layers = list(layers)
    if len(layers) != SEG_METHOD[-1]:
        raise ValueError(f"there are {{len(layers)}} layers; the plan has {{SEG_METHOD[-1]}}")
    for group in SHARED:
        keys = {{layers[i].layer_name if isinstance(layers[i], SharedLayerDesc) else None for i in group}}
        if len(keys) != 1 or None in keys:
            raise ValueError(f"layers {{group}} share weights; they must be SharedLayerDescs of one key")
    return PipelineLayer(layers=layers, num_stages=len(SEG_METHOD) - 1, seg_method=SEG_METHOD, **arguments)
'''


def write(split: Split) -> Written:
    """Return ``seg_method``, and a module that makes the pipeline."""
    bounds = list(split.bounds())
    split.replicas()
    text = _TEXT.format(
        stages=len(split.stages),
        count=len(split.layers),
        bounds=bounds,
        layers=list(split.layers),
        shared=[list(tie) for tie in split.parted_ties()],
    )
    return Written(bounds, text)


def default(split: Split) -> Default:
    """As even as can be, the last stages longer (``seg_method="uniform"``)."""
    return Default("uniform by layers", to_bounds(even(len(split.layers), len(split.stages))[::-1]))
