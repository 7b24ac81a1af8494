"""SGLang: the environment variable ``SGLANG_PP_LAYER_PARTITION``, blocks of each stage.

The embeddings are in the first stage, the norm and the head in the last; tied ones are loaded at both ends.
"""

from __future__ import annotations

from .defaults import Default, even
from .split import Split, Written


def write(split: Split) -> Written:
    """Return the partition, and the environment and the command."""
    counts = split.block_counts()
    partition = ",".join(map(str, counts))
    replicas = "" if split.replicas() == 1 else f" --dp-size {split.replicas()}"
    return Written(
        partition,
        f"export SGLANG_PP_LAYER_PARTITION={partition}\n"
        f"# python -m sglang.launch_server --model-path MODEL --pp-size {len(counts)}{replicas}\n",
    )


def default(split: Split) -> Default:
    """As even as can be, the last stages longer (SGLang's ``get_pp_indices``)."""
    counts = split.block_counts()
    longer_last = even(sum(counts), len(counts))[::-1]
    return Default("even, the rest on the last stages", split.decoders().with_ends(longer_last))
