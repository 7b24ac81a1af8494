"""Megatron-LM: ``--pipeline-model-parallel-layout``; E is the embeddings, t a block, L what is behind.

Rules: the guide "Custom Pipeline Model Parallel Layout" of Megatron Core. Empty stages are legal there.
"""

from __future__ import annotations

from .defaults import Default, even
from .split import Split, Written


def write(split: Split) -> Written:
    """Return the layout, and the arguments of a training command."""
    decoders = split.decoders()
    for bound in decoders.bounds[1:-1]:
        if bound < decoders.first or bound > decoders.end:
            raise ValueError(
                f"a stage begins with {split.layers[bound]}; the runtime must have all embeddings in one "
                "stage, and all behind the blocks in one stage"
            )
    if any(decoders.first <= layer < decoders.end for tie in split.parted_ties() for layer in tie):
        split.refuse_parted_ties("the runtime keeps the embeddings and the head equal, and nothing else")
    split.replicas()
    stages = ["t" * count if count < 2 else f"t*{count}" for count in decoders.counts()]
    stages[0] = "E" + stages[0]
    stages[-1] += "L"
    layout = "|".join(stages)
    arguments = [
        f"--num-layers {decoders.end - decoders.first}",
        f"--pipeline-model-parallel-size {len(stages)}",
        f'--pipeline-model-parallel-layout "{layout}"',
    ]
    if not split.ties:
        arguments.append("--untie-embeddings-and-output-weights")
    return Written(layout, " \\\n".join(arguments) + "\n")


def default(split: Split) -> Default:
    """As many blocks in each stage, which must be possible."""
    decoders, stages = split.decoders(), len(split.stages)
    blocks = decoders.end - decoders.first
    if blocks % stages:
        return Default(f"none, as {blocks} layers cannot be split evenly by {stages}", None)
    return Default("as many layers in each stage", decoders.with_ends(even(blocks, stages)))
