"""vLLM: the environment variable ``VLLM_PP_LAYER_PARTITION``, blocks of each stage.

The embeddings are in the first stage, the norm and the head in the last; tied ones are loaded at both ends.
"""

from __future__ import annotations

from .defaults import Default
from .split import Split, Written


def write(split: Split) -> Written:
    """Return the partition, and the environment and the command."""
    counts = split.block_counts()
    partition = ",".join(map(str, counts))
    return Written(
        partition,
        f"export VLLM_PP_LAYER_PARTITION={partition}\n"
        f"# vllm serve MODEL --pipeline-parallel-size {len(counts)}{_replicas(split.replicas())}\n",
    )


def _replicas(count: int) -> str:
    return "" if count == 1 else f" --data-parallel-size {count}"


def default(split: Split) -> Default:
    """As even as can be; what is left over goes to the stages before the last, from the back on.

    Source: vLLM's notes on "Improve pipeline partitioning" (vllm-project/vllm, pull request 13839).
    """
    counts = split.block_counts()
    base, left = divmod(sum(counts), len(counts))
    even = [base] * len(counts)
    for place in range(2, left + 2):
        even[-place] += 1
    return Default("even, the rest on the stages before the last", split.decoders().with_ends(even))
