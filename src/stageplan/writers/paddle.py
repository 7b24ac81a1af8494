"""Paddle: ``seg_method`` of a `PipelineLayer`: the first layer of each stage, and the number of layers."""

from __future__ import annotations

from .defaults import Default, even, to_bounds
from .limits import Limits
from .partition import Partition, Written

LIMITS = Limits(mode="train", tensor_parallel=True, schedules=("1f1b",))

_TEXT = '''\
"""A Paddle pipeline: {count} layers in {stages} stages, as planned."""

from paddle.distributed.fleet.meta_parallel import PipelineLayer, SharedLayerDesc

SEG_METHOD = {bounds}  # first layer of each stage, and the number of layers
LAYERS = {layers}
SHARED = {shared}  # layers that share weights but not a stage
TYPES = {types}  # device type of each rank

# strategy.hybrid_configs = {{"dp_degree": {replicas}, "mp_degree": {degree}, "pp_degree": {stages}}}
{pipeline}

def planned_pipeline(layers, **arguments):
    """Make a PipelineLayer of the layers named in LAYERS, in that order."""
    layers = list(layers)
    if len(layers) != SEG_METHOD[-1]:
        raise ValueError(f"there are {{len(layers)}} layers; the plan has {{SEG_METHOD[-1]}}")
    for group in SHARED:
        keys = {{layers[i].layer_name if isinstance(layers[i], SharedLayerDesc) else None for i in group}}
        if len(keys) != 1 or None in keys:
            raise ValueError(f"layers {{group}} share weights; they must be SharedLayerDescs of one key")
    return PipelineLayer(layers=layers, num_stages=len(SEG_METHOD) - 1, seg_method=SEG_METHOD, **arguments)
'''


def write(partition: Partition) -> Written:
    """Return ``seg_method``, and Python source that makes the pipeline."""
    bounds = list(partition.bounds())
    microbatches, pipeline = partition.microbatches(), ""
    if microbatches is not None:
        pipeline = (
            f'# strategy.pipeline_configs = {{"accumulate_steps": {microbatches.number}, '
            f'"micro_batch_size": {microbatches.examples}}}\n'
        )
    ranks = partition.ranks_by_replica()  # the axes of its topology are data, pipeline, tensors
    text = _TEXT.format(
        stages=len(partition.stages),
        count=len(partition.layers),
        bounds=bounds,
        layers=list(partition.layers),
        shared=[list(tie) for tie in partition.parted_ties()],
        replicas=partition.replicas(),
        degree=partition.degree,
        pipeline=pipeline,
        types=[rank.device_type for rank in ranks],
    )
    return Written(bounds, text, ranks)


def default(partition: Partition) -> Default:
    """As evenly as possible; the last stages have one more (``seg_method="uniform"``)."""
    return Default("uniform by layers", to_bounds(even(len(partition.layers), len(partition.stages))[::-1]))
