"""exo: the layers of each node, and the shard of each, for a placement with pipeline sharding.

A shard has the blocks from ``start_layer`` to ``end_layer``, without the last (``PipelineShardMetadata`` in
its ``shards.py``); the embeddings are in the first, norm and head in the last.  ``node_layers`` is a field of
its placement request, by node, in versions with manual allocation (exo-explore/exo, pull request 2253).
"""

from __future__ import annotations

import json
from itertools import accumulate, pairwise

from .defaults import Default
from .limits import Limits
from .partition import Partition, Written

LIMITS = Limits(mode="inference", cuts="blocks", pipelines=False)


def write(partition: Partition) -> Written:
    """Return the layers by node, and the shards by rank; each replica is an instance of its own."""
    counts = partition.block_counts()
    bounds = [0, *accumulate(counts)]
    shards = [
        {
            "device_rank": rank,
            "world_size": len(counts),
            "start_layer": begin,
            "end_layer": end,
            "n_layers": bounds[-1],
        }
        for rank, (begin, end) in enumerate(pairwise(bounds))
    ]
    node_layers = {f"NODE{rank}": count for rank, count in enumerate(counts)}
    document = {"sharding": "Pipeline", "node_layers": node_layers, "shards": shards}
    nodes = ", ".join(f"NODE{rank} of type {stage.type}" for rank, stage in enumerate(partition.stages))
    notes = [f"write the ids of your nodes: {nodes}", partition.note_on_servers()]
    return Written(
        document,
        json.dumps(document, indent=2) + "\n",
        partition.ranks_by_replica(),
        "; ".join(filter(None, notes)),
    )


def default(partition: Partition) -> Default:
    """In proportion to the memory of the nodes, which is not known here."""
    return Default("none, as it is by the free memory of each node", None)
