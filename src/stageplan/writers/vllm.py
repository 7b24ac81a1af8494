"""vLLM: the environment variable ``VLLM_PP_LAYER_PARTITION``, blocks of each stage.

The embeddings are in the first stage, norm and head in the last; tied weights are loaded in both.
"""

from __future__ import annotations

from .architectures import check_pipeline
from .defaults import Default
from .partition import Partition, Written


def write(partition: Partition) -> Written:
    """Return the partition, and the lines of a shell script."""
    check_pipeline(partition, "vllm")
    counts = partition.block_counts()
    listed = ",".join(map(str, counts))
    partition.schedule()
    degree = partition.tensor_parallel()
    shared = "" if degree == 1 else f" --tensor-parallel-size {degree}"
    replicas = "" if partition.replicas() == 1 else f" --data-parallel-size {partition.replicas()}"
    return Written(
        listed,
        f"export VLLM_PP_LAYER_PARTITION={listed}\n"
        f"# vllm serve MODEL --pipeline-parallel-size {len(counts)}{shared}{replicas}\n",
        partition.ranks_by_replica(),
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
