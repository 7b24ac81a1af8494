"""TensorRT-LLM: ``pp_partition``, the blocks of each stage, and sizes of parallelism, as YAML of its LLM API.

The embeddings are in the first stage, norm and head in the last.  Facts: ``TorchLlmArgs`` in the reference of
its LLM API, and the documentation of ``trtllm-serve``.
"""

from __future__ import annotations

from .defaults import Default, even
from .limits import Limits
from .partition import Partition, Written

LIMITS = Limits(mode="inference", cuts="blocks", tensor_parallel=True, expert_parallel=True)


def write(partition: Partition) -> Written:
    """Return the arguments of the LLM API, and a YAML file with them; each replica is a server of its own."""
    arguments: dict[str, int | list[int]] = {
        "tensor_parallel_size": partition.degree,
        "pipeline_parallel_size": len(partition.stages),
        "pp_partition": list(partition.block_counts()),
    }
    if partition.way.parallel == "ep":
        arguments["moe_expert_parallel_size"] = partition.degree
    lines = [
        "# trtllm-serve MODEL --config THIS_FILE (earlier versions: --extra_llm_api_options THIS_FILE)",
        *(f"{name}: {value}" for name, value in arguments.items()),
    ]
    return Written(
        arguments, "\n".join(lines) + "\n", partition.ranks_by_replica(), partition.note_on_servers()
    )


def default(partition: Partition) -> Default:
    """As evenly as possible; the first stages have one more (its ``Mapping.pp_layers``)."""
    counts = partition.block_counts()
    return Default("even by blocks", partition.decoders().with_ends(even(sum(counts), len(counts))))
