"""llama.cpp: ``--tensor-split``, the blocks of each GPU, and which of them are on the processor instead.

Layer i of those on GPUs, of which the last is the output, runs on the first GPU whose cumulative share of
``--tensor-split`` is more than i's share of all, so that numbers of layers are exact (``load_tensors`` in
its ``llama-model.cpp``).  Blocks before the first GPU are left out of ``--n-gpu-layers``; the weights of
others are put on the processor by ``--override-tensor``, by names such as ``blk.7.ffn_up.weight``.  The
embeddings are always on the processor.
"""

from __future__ import annotations

from .defaults import Default
from .limits import Limits
from .partition import Partition, Written

LIMITS = Limits(mode="inference", cuts="blocks", pipelines=False)
PROCESSOR = "cpu"
"""Device types with names that begin so are processors, and all others GPUs."""


def write(partition: Partition) -> Written:
    """Return the arguments of ``llama-server`` and its other programs; each replica is its own process."""
    counts = partition.block_counts()
    on_gpu = [not stage.type.startswith(PROCESSOR) for stage in partition.stages]
    first = on_gpu.index(True) if any(on_gpu) else len(counts)
    layers, overrides, end = [], [], 0
    for number, (count, gpu) in enumerate(zip(counts, on_gpu, strict=True)):
        begin, end = end, end + count
        if gpu:
            layers.append(count)
        elif number > first:
            layers[-1] += count
            overrides.append(rf"blk\.({'|'.join(map(str, range(begin, end)))})\.=CPU")
    if overrides and not on_gpu[-1]:
        overrides.append("^output=CPU")
    if layers:
        layers[-1] += 1  # the output
    arguments = ["--n-gpu-layers", str(sum(layers))]
    if len(layers) > 1:
        arguments += ["--split-mode", "layer", "--tensor-split", ",".join(map(str, layers))]
    if overrides:
        arguments += ["--override-tensor", ",".join(overrides)]
    words = [f"'{word}'" if "|" in word or "^" in word or "\\" in word else word for word in arguments]
    text = " ".join(words) + "\n"
    return Written(arguments, text, partition.ranks_by_replica(), _note(partition, on_gpu, bool(overrides)))


def _note(partition: Partition, on_gpu: list[bool], overrides: bool) -> str:
    gpus = [stage.type for stage, gpu in zip(partition.stages, on_gpu, strict=True) if gpu]
    notes = [f"its GPUs must be, in order (--device): {', '.join(gpus)}"] if len(gpus) > 1 else []
    if overrides:
        notes.append("blocks that are overridden keep their cache on the GPU before them")
    servers = partition.note_on_servers()
    return "; ".join([*notes, *([servers] if servers else [])])


def default(partition: Partition) -> Default:
    """By the free memory of each GPU, which is not known here."""
    return Default("none, as it is by the free memory of each GPU", None)
