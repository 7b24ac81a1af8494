"""A decoder of transformers that several processes run by its plan, a part each; they meet by gloo."""

import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

import stageplan as sp

CONTEXT = multiprocessing.get_context("spawn")
TIMEOUT = 300.0  # seconds


class Ran(NamedTuple):
    """What a process saw: losses, alone and together, bytes of its weights, and its least CPU seconds."""

    alone: float
    together: float
    bytes: int
    whole: float  # of a step, alone
    step: float  # of a step of its part, together
    reduce_large: float  # of all-reduces of 2 MB and 4 bytes
    reduce_small: float


def decoder(sizes: Mapping[str, int]) -> nn.Module:
    """Make a small Llama."""
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(**sizes, use_cache=False, attn_implementation="sdpa")
    return transformers.LlamaForCausalLM(config)


def example(batch: int, tokens: int) -> dict[str, Tensor]:
    """Make a batch for which the decoder gives a loss."""
    ids = torch.randint(64, (batch, tokens), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "labels": ids}


def gradient_bytes(workload: sp.Workload, column: str) -> float:
    """Bytes of the gradients of a device, which are those of its weights."""
    tables = (layer.gradients for layer in workload.layers)
    return sum(table[column] if isinstance(table, Mapping) else table for table in tables)


def run(sizes: Mapping[str, int], batch: int, tokens: int, degree: int, steps: int) -> list[Ran]:
    """Run the decoder in as many processes, by the plan of its configuration."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = (folder, degree, dict(sizes), example(batch, tokens), steps)
        ranks = [
            CONTEXT.Process(target=_rank, args=(rank, *arguments), daemon=True) for rank in range(degree)
        ]
        for rank in ranks:
            rank.start()
        try:
            for rank in ranks:
                rank.join(TIMEOUT)
        finally:
            for rank in ranks:
                rank.kill()
                rank.join()
        return [Ran(**json.loads(Path(folder, f"{rank}.json").read_text())) for rank in range(degree)]


def _rank(
    rank: int, folder: str, degree: int, sizes: Mapping[str, int], inputs: dict[str, Tensor], steps: int
) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from transformers.distributed.tensor_parallel import apply_tensor_parallelism

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=degree)
    module: Any = decoder(sizes)

    def step() -> float:
        module.zero_grad()
        loss = module(**inputs).loss
        loss.backward()
        return float(loss.detach())

    alone, whole = step(), _least(step, steps)
    mesh = init_device_mesh("cpu", (degree,))
    apply_tensor_parallelism(module, mesh, module._expand_parallel_plan(module.tp_plan))
    together = step()
    held = sum(_own(weight).numel() * _own(weight).element_size() for weight in module.parameters())
    large, small = torch.zeros(2**19), torch.zeros(1)
    seconds = {
        "whole": whole,
        "step": _least(step, steps),
        "reduce_large": _least(lambda: dist.all_reduce(large), 5 * steps),
        "reduce_small": _least(lambda: dist.all_reduce(small), 5 * steps),
    }
    Path(folder, f"{rank}.json").write_text(
        json.dumps({"alone": alone, "together": together, "bytes": held, **seconds})
    )
    dist.barrier()  # no process exits while the other waits for it
    dist.destroy_process_group()


def _own(weight: Any) -> Tensor:
    """Part of a weight that a process has."""
    local: Tensor = weight.to_local() if hasattr(weight, "to_local") else weight
    return local


def _least(work: Callable[[], object], steps: int) -> float:
    """Least CPU seconds of this process."""
    found = []
    for _ in range(steps):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)
