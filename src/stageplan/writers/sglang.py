"""SGLang: the environment variable ``SGLANG_PP_LAYER_PARTITION``, blocks of each stage.

The embeddings are in the first stage, norm and head in the last; tied weights are loaded in both.
"""

from __future__ import annotations

from .architectures import check_pipeline
from .defaults import Default, even
from .limits import Limits
from .partition import Partition, Written

LIMITS = Limits(mode="inference", cuts="blocks", tensor_parallel=True, expert_parallel=True)


def write(partition: Partition) -> Written:
    """Return the partition, and the lines of a shell script."""
    check_pipeline(partition, "sglang")
    counts = partition.block_counts()
    listed = ",".join(map(str, counts))
    degree = partition.degree
    shared = "" if degree == 1 else f" --tp-size {degree}"
    shared += f" --ep-size {degree}" if partition.way.parallel == "ep" else ""
    replicas = "" if partition.replicas() == 1 else f" --dp-size {partition.replicas()}"
    return Written(
        listed,
        f"export SGLANG_PP_LAYER_PARTITION={listed}\n"
        f"# python -m sglang.launch_server --model-path MODEL --pp-size {len(counts)}{shared}{replicas}\n",
        partition.ranks_by_replica(),
    )


def default(partition: Partition) -> Default:
    """As evenly as possible; the last stages have one more (SGLang's ``get_pp_indices``)."""
    counts = partition.block_counts()
    longer_last = even(sum(counts), len(counts))[::-1]
    return Default("even, the rest on the last stages", partition.decoders().with_ends(longer_last))
