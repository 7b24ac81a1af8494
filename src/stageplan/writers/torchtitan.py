"""torchtitan: flags of its training command; modules have the names of its language models.

A name that a model does not have is ignored there, and the module left out, so names must be exact.
"""

from __future__ import annotations

from ..errors import InputError
from .defaults import Default
from .limits import Limits
from .partition import Partition, Written

_SCHEDULES = {"gpipe": "GPipe", "1f1b": "1F1B"}
LIMITS = Limits(
    mode="train",
    ties="together",
    tensor_parallel=True,
    expert_parallel=True,
    schedules=tuple(_SCHEDULES),
    zero=3,
)


def write(partition: Partition) -> Written:
    """Return the names of the modules of each stage, and the flags.

    Ranks are numbered stage by stage (its mesh is pipeline, replicas, shards).
    """
    schedule = partition.goal.schedule
    microbatches = partition.microbatches()
    names = _names(partition)
    parts = [[names[layer] for layer in stage.layers] for stage in partition.stages]
    replicas, degree, zero = partition.replicas(), partition.degree, partition.conditions.zero or 0
    flags = [
        f"--parallelism.pipeline-parallel-degree {len(parts)}",
        f"--parallelism.data-parallel-replicate-degree {1 if zero else replicas}",
        f"--parallelism.data-parallel-shard-degree {replicas if zero else 1}",
    ]
    if zero == 3:
        flags.append("--parallelism.fsdp-reshard-after-forward always")
    if schedule is not None and microbatches is not None:
        flags += [
            f"--parallelism.pipeline-parallel-schedule {_SCHEDULES[schedule]}",
            f"--parallelism.pipeline-parallel-microbatch-size {microbatches.examples}",
            f"--training.local-batch-size {microbatches.number * microbatches.examples}",
        ]
    if degree > 1:
        flags.append(f"--parallelism.tensor-parallel-degree {degree}")
    if partition.way.parallel == "ep":
        flags.append(f"--parallelism.expert-parallel-degree {degree}")
    flags += ["--parallelism.module-fqns-per-model-part", *(f"  {','.join(part)}" for part in parts)]
    return Written(parts, " \\\n".join(flags) + "\n", partition.ranks())


def _names(partition: Partition) -> list[str]:
    decoders = partition.decoders()
    behind = partition.kinds[decoders.end :]
    if decoders.first != 1 or behind != ("norm", "head"):
        found = ", ".join(kind or "?" for kind in (*partition.kinds[: decoders.first], "blocks", *behind))
        raise InputError(
            f"its layers are {found}; the runtime's models have one embedding, blocks, a norm and a head"
        )
    return ["tok_embeddings", *(f"layers.{i}" for i in range(decoders.end - 1)), "norm", "lm_head"]


def default(partition: Partition) -> Default:
    """As evenly as possible; embeddings count as a block, and so do norm and head."""
    decoders, stages = partition.decoders(), len(partition.stages)
    blocks = decoders.end - decoders.first
    base, left = divmod(blocks + 2, stages)
    if base < 1:
        return Default(f"none, as {blocks + 2} layers are too few for {stages} stages", None)
    counts = [base + (i < left) - (i == 0) - (i == stages - 1) for i in range(stages)]
    return Default("even, embeddings and head as a layer each", decoders.with_ends(counts))
