"""torchtitan: ``module_fqns_per_model_part`` of its language models, by torchtitan's own module names."""

from __future__ import annotations

import json

from .defaults import Default
from .split import Split, Written


def write(split: Split) -> Written:
    """Return the names of the modules of each part, and the section of a TOML configuration."""
    split.refuse_parted_ties("the runtime does not keep weights of several stages equal")
    names = _names(split)
    parts = [[names[layer] for layer in stage.layers] for stage in split.stages]
    rows = "".join(f"    {json.dumps(part)},\n" for part in parts)
    replicas = split.replicas()
    replicate = f"data_parallel_replicate_degree = {replicas}\n" if replicas > 1 else ""
    return Written(
        parts,
        f"[parallelism]\npipeline_parallel_degree = {len(parts)}\n{replicate}"
        f"module_fqns_per_model_part = [\n{rows}]\n",
    )


def _names(split: Split) -> list[str]:
    decoders = split.decoders()
    behind = split.kinds[decoders.end :]
    if decoders.first != 1 or behind != ("norm", "head"):
        found = ", ".join(kind or "?" for kind in (*split.kinds[: decoders.first], "blocks", *behind))
        raise ValueError(
            f"its layers are {found}; the runtime's models have one embedding, blocks, a norm and a head"
        )
    return ["tok_embeddings", *(f"layers.{i}" for i in range(decoders.end - 1)), "norm", "output"]


def default(split: Split) -> Default:
    """As even as can be, the first stages longer; embeddings, and norm with head, count as a block each."""
    decoders, stages = split.decoders(), len(split.stages)
    blocks = decoders.end - decoders.first
    base, left = divmod(blocks + 2, stages)
    if base < 1:
        return Default(f"none, as {blocks + 2} layers are too few for {stages} stages", None)
    counts = [base + (i < left) - (i == 0) - (i == stages - 1) for i in range(stages)]
    return Default("even, embeddings and head as a layer each", decoders.with_ends(counts))
