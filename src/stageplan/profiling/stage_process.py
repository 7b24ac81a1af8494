"""The process of one stage of a pipeline, which runs and times it."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from ..fields import first_line
from ..plan import Plan
from ..writers import SplitModule, split_module
from .models import load_that_runs
from .modules import Loaded
from .network import Options
from .tensors import map_tensors, tensors_in

WARM_UP = 1  # steps


class Times(NamedTuple):
    """Seconds of each step: on the wall, and of this process's CPU time."""

    wall: list[float]
    cpu: list[float]


def run_stage(
    rank: int,
    folder: str,
    max_seconds: float,
    plan: Plan,
    model: Any,
    example: Any,
    options: Options,
    microbatches: int,
    steps: int,
) -> None:
    """Run a stage of a plan, and write its `Times` to ``RANK.json``, or what went wrong to ``RANK.error``.

    Parameters
    ----------
    rank
        Of the stage.
    folder
        Where the processes meet and write.
    max_seconds
        Longest wait for the others.
    plan, model, example, options, microbatches, steps
        As in `stageplan.check`.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.set_grad_enabled(options.train)
    try:
        loaded = load_that_runs(model, example, options)
        split = _split(loaded, plan, options.train)
        _meet(rank, len(plan.stages), folder, max_seconds)
        times = _time(_step(rank, split, loaded, options.train, microbatches), steps)
    except Exception as error:
        Path(folder, f"{rank}.error").write_text(f"{type(error).__name__}: {first_line(error)}")
        sys.exit(1)
    Path(folder, f"{rank}.json").write_text(json.dumps(times._asdict()))


def _split(loaded: Loaded, plan: Plan, train: bool) -> SplitModule:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)  # of torch.export in itself
        return split_module(loaded.module.train(train), plan, loaded.args, loaded.kwargs)


def _meet(rank: int, stages: int, folder: str, max_seconds: float) -> None:
    meeting, patience = f"file://{folder}/meet", timedelta(seconds=max_seconds)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=stages, timeout=patience)


def _step(
    rank: int, split: SplitModule, loaded: Loaded, train: bool, microbatches: int
) -> Callable[[], None]:
    """Return a function that runs all microbatches through the pipeline; the first stage gets them."""
    from torch.distributed.pipelining import Schedule1F1B, ScheduleGPipe  # takes seconds

    stage = split.stage(rank, torch.device("cpu"))
    repeat = partial(_repeat, batch=loaded.batch, times=microbatches)
    args, kwargs = map_tensors((loaded.args, loaded.kwargs), repeat) if rank == 0 else ((), {})
    if not train:
        forward = ScheduleGPipe(stage, microbatches)
        return lambda: forward.step(*args, **kwargs)
    schedule, add_up = Schedule1F1B(stage, microbatches, loss_fn=_loss), split.tie(rank)
    target = torch.zeros(microbatches)  # not used

    def step() -> None:
        schedule.step(*args, target=target, **kwargs)
        add_up()

    return step


def _repeat(tensor: Tensor, batch: int, times: int) -> Tensor:
    """Repeat a microbatch; a tensor that is not a batch stays as it is."""
    return torch.cat([tensor] * times) if tensor.dim() and len(tensor) == batch else tensor


def _loss(outputs: Any, target: Tensor) -> Tensor:
    """Sum all outputs, so that each gets a gradient."""
    loss = getattr(outputs, "loss", None)
    ends = [end for end in tensors_in(outputs if loss is None else loss) if end.requires_grad]
    return torch.stack([end.float().sum() for end in ends]).sum()


def _time(step: Callable[[], None], steps: int) -> Times:
    times = Times([], [])
    for _ in range(WARM_UP + steps):
        dist.barrier()
        wall, cpu = time.perf_counter(), time.process_time()
        step()
        times.wall.append(time.perf_counter() - wall)
        times.cpu.append(time.process_time() - cpu)
    dist.barrier()  # no process exits while others wait for it
    dist.destroy_process_group()
    return Times(times.wall[WARM_UP:], times.cpu[WARM_UP:])
