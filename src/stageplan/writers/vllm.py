"""vLLM: the environment variable ``VLLM_PP_LAYER_PARTITION``, blocks of each stage, and flags.

The embeddings are in the first stage, norm and head in the last; tied weights are loaded in both.  Of a model
that is planned to be served, the flags say how many sequences of how many tokens there are, in which memory.
"""

from __future__ import annotations

import math

from ..device import USABLE_MEMORY
from ..errors import InputError
from ..fields import show
from .architectures import check_pipeline
from .defaults import Default
from .limits import Limits
from .partition import Partition, Written

LIMITS = Limits(mode="inference", cuts="blocks", tensor_parallel=True, expert_parallel=True)

BLOCK = 16
"""Tokens of a block of keys and values, where vLLM chooses it (vllm.config.CacheConfig)."""

# Names of precisions, and those that a cache can have besides the model's own.
DTYPES = {"fp32": "float32", "tf32": "float32", "fp16": "float16", "bf16": "bfloat16"}
CACHE_DTYPES = {"fp16": "float16", "bf16": "bfloat16", "fp8": "fp8"}


def write(partition: Partition) -> Written:
    """Return the partition, and the lines of a shell script."""
    check_pipeline(partition, "vllm")
    counts = partition.block_counts()
    listed = ",".join(map(str, counts))
    degree = partition.degree
    shared = "" if degree == 1 else f" --tensor-parallel-size {degree}"
    experts = partition.way.parallel == "ep"
    shared += " --enable-expert-parallel" if experts else ""
    notes = [_pool(partition)]
    if experts and partition.replicas() > 1:
        notes.append("experts are divided among all replicas, which takes less memory than planned")
    replicas = "" if partition.replicas() == 1 else f" --data-parallel-size {partition.replicas()}"
    flags = f" --pipeline-parallel-size {len(counts)}{shared}{replicas}{_serving_flags(partition)}"
    return Written(
        listed,
        f"export VLLM_PP_LAYER_PARTITION={listed}\n# vllm serve MODEL{flags}\n",
        partition.ranks_by_replica(),
        "; ".join(filter(None, notes)),
    )


def _serving_flags(partition: Partition) -> str:
    """Return the flags of a model that is served: sequences of each replica, and the memory that they use."""
    conditions = partition.conditions
    if conditions.context is None or conditions.concurrency is None:
        return ""
    sequences = math.ceil(conditions.concurrency / partition.replicas())
    flags = f" --max-model-len {conditions.context} --max-num-seqs {sequences}"
    flags += f" --gpu-memory-utilization {USABLE_MEMORY:g}"
    if conditions.precision in DTYPES:
        flags += f" --dtype {DTYPES[conditions.precision]}"
    if conditions.kv_cache in (None, conditions.precision):
        return flags
    if conditions.kv_cache not in CACHE_DTYPES:
        raise InputError(
            f"it is planned for a cache of {show(conditions.kv_cache)}; the runtime has one of the model's "
            f"precision, or of {', '.join(CACHE_DTYPES)}"
        )
    return f"{flags} --kv-cache-dtype {CACHE_DTYPES[conditions.kv_cache]}"


def _pool(partition: Partition) -> str:
    """Predict the pool of keys and values: every rank has as many blocks as the one with the least room.

    Source: vLLM's ``get_kv_cache_configs`` (vllm.v1.core.kv_cache_utils).
    """
    context, room = partition.conditions.context, partition.room
    if room is None or context is None or math.isinf(min(room)):
        return ""
    replicas = partition.replicas()
    least = room.index(min(room))
    blocks = int(room[least] / replicas * context // BLOCK)
    each = "" if replicas == 1 else " of each replica"
    rooms = ", ".join(f"{stage / replicas:,.4g}" for stage in room)
    return (
        f"the pool of keys and values{each} has {blocks:,} blocks of {BLOCK} tokens, as stage {least} on "
        f"{partition.stages[least].type} has memory for: {blocks * BLOCK / context:,.4g} sequences of "
        f"{context:,} tokens (stages: {rooms})"
    )


def default(partition: Partition) -> Default:
    """As evenly as possible; the remainder goes to the stages before the last, from the back.

    Source: vLLM's notes on "Improve pipeline partitioning" (vllm-project/vllm, pull request 13839).
    """
    counts = partition.block_counts()
    base, left = divmod(sum(counts), len(counts))
    even = [base] * len(counts)
    for place in range(2, left + 2):
        even[-place] += 1
    return Default("even, the rest on the stages before the last", partition.decoders().with_ends(even))
