"""Megatron-LM: ``--pipeline-model-parallel-layout``; E is the embeddings, t a block, L the rest.

A layer of kind ``"mtp"`` behind the blocks, which predicts further tokens, is m.  Rules: the guide "Custom
Pipeline Model Parallel Layout" of Megatron Core. Stages without blocks are allowed.
"""

from __future__ import annotations

from ..cluster import RECOMPUTE, SELECTIVE
from .architectures import check_blocks
from .defaults import Default, even
from .limits import Limits
from .partition import Partition, Written

LIMITS = Limits(
    mode="train",
    cuts="around blocks",
    ties="ends apart",
    tensor_parallel=True,
    expert_parallel=True,
    recompute=RECOMPUTE,
    schedules=("1f1b",),
    zero=1,
)


def write(partition: Partition) -> Written:
    """Return the layout, and the arguments of a training command.

    Ranks are numbered stage by stage (Megatron's order tp-cp-ep-dp-pp).
    """
    check_blocks(partition)
    decoders = partition.decoders()
    predicting = partition.kinds[decoders.end :].count("mtp")
    stages = ["t" * count if count < 2 else f"t*{count}" for count in decoders.counts()]
    stages[0] = "E" + stages[0]
    stages[-1] += "m" * predicting + "L"
    layout = "|".join(stages)
    arguments = [f"--num-layers {decoders.end - decoders.first}"]
    if predicting:
        arguments.append(f"--mtp-num-layers {predicting}")
    arguments += [
        *_sizes(partition),
        f"--pipeline-model-parallel-size {len(stages)}",
        f'--pipeline-model-parallel-layout "{layout}"',
    ]
    if (microbatches := partition.microbatches()) is not None:
        arguments += [
            f"--micro-batch-size {microbatches.examples}",
            f"--global-batch-size {microbatches.batch}",
        ]
    if partition.way.recompute == SELECTIVE:
        arguments += ["--recompute-granularity selective", "--recompute-modules core_attn"]
    elif partition.way.recompute:
        arguments += [
            "--recompute-granularity full",
            "--recompute-method uniform",
            "--recompute-num-layers 1",
        ]
    if partition.conditions.zero == 1:
        arguments.append("--use-distributed-optimizer")
    if not partition.ties:
        arguments.append("--untie-embeddings-and-output-weights")
    return Written(layout, " \\\n".join(arguments) + "\n", partition.ranks())


def _sizes(partition: Partition) -> list[str]:
    """Return the sizes of tensor and expert parallelism, of which experts take the same ranks."""
    if partition.degree == 1:
        return []
    sizes = [f"--tensor-model-parallel-size {partition.degree}"]
    if partition.way.parallel == "ep":
        sizes += [
            f"--expert-model-parallel-size {partition.degree}",
            "--expert-tensor-parallel-size 1",
            "--sequence-parallel",  # required by experts with tensor parallelism
        ]
    return sizes


def default(partition: Partition) -> Default:
    """Give each stage the same number of blocks, if that is possible."""
    decoders, stages = partition.decoders(), len(partition.stages)
    blocks = decoders.end - decoders.first
    if blocks % stages:
        return Default(f"none, as {blocks} layers are not divisible by {stages}", None)
    return Default("the same number of layers in each stage", decoders.with_ends(even(blocks, stages)))
