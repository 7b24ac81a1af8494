"""A script for torchrun that trains or runs a user's module in the stages of a plan; it needs only torch."""

from __future__ import annotations

from ..errors import InputError
from ..fields import show
from .partition import Partition, Written
from .torch_pipelining import AVERAGE, SCHEDULES, TIE, begins_text, stages_text

_HEAD = '''\
"""{does} a module in {count} stages, as planned.

    torchrun --nproc-per-node {ranks} THIS_FILE package.module:job

`job` is a function of yours, of a module on PYTHONPATH. It returns {job}
A tensor's first dimension is examples; a batch is that of one iteration of all replicas. Weights have to be
the same on every rank: seed them. Rank r has to be on the device type in RANKS[r]; torchrun numbers ranks
node by node. The backend is NCCL on GPUs, and Gloo on processors.
"""

import importlib
import itertools
import os
import sys
import time

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.pipelining import {schedule}, SplitPoint, pipeline

SPLIT_SPEC = {{
{points}}}

STAGES = [  # layers of each stage
{stages}]

REPLICAS = {replicas}  # of each stage
RANKS = {rank_list}  # stage and device type of each
MICROBATCHES = {microbatches}


def start():
    """Join the other ranks; return this rank's device and the mesh of stages (pp) and replicas (dp)."""
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if on_gpu else "gloo")
    if dist.get_world_size() != len(RANKS):
        raise SystemExit(f"there are {{dist.get_world_size()}} ranks; the plan has {{len(RANKS)}}")
    return device, init_device_mesh(device.type, (len(STAGES), REPLICAS), mesh_dim_names=("pp", "dp"))


def part_of(batch, replica, device):
    """Return the tensors of a batch, only the examples of a replica."""
    tensors = batch if isinstance(batch, tuple) else (batch,)
    examples = len(tensors[0])
    if examples % (REPLICAS * MICROBATCHES):
        raise SystemExit(
            f"a batch has {{examples}} examples; it must be a multiple of {{REPLICAS * MICROBATCHES}}, "
            "replicas times microbatches"
        )
    return tuple(tensor.chunk(REPLICAS)[replica].to(device) for tensor in tensors)


def stage_of(module, inputs, index, device, mesh):
    """Trace a module with the inputs of a replica; return the pipeline, and its stage of this rank."""
    example = tuple(tensor.chunk(MICROBATCHES)[0].cpu() for tensor in inputs)
    pipe = pipeline(module, example, split_spec=SPLIT_SPEC)
    if pipe.num_stages != len(STAGES):
        raise SystemExit(f"the module has {{pipe.num_stages}} stages; the plan has {{len(STAGES)}}")
    return pipe, pipe.build_stage(index, device, mesh["pp"].get_group())


def report(line):
    """Print a line in one write: all ranks of a machine share the output."""
    sys.stdout.write(line + "\\n")
    sys.stdout.flush()
'''

_TRAINING = """\
(module, loss, optimizer, batches):
the module that was planned; loss(output, target); a function that makes an optimizer of parameters; and an
iterable of (inputs, target), where inputs are a tensor or a tuple of tensors."""

_TRAIN = '''

def main(name):
    """Train on the batches of a job."""
    file, function = name.split(":")
    module, loss_of, make_optimizer, batches = getattr(importlib.import_module(file), function)()
    device, mesh = start()
    index, replica = mesh.get_local_rank("pp"), mesh.get_local_rank("dp")
    batches = iter(batches)
    first = next(batches)
    pipe, stage = stage_of(module, part_of(first[0], replica, device), index, device, mesh)
    own = pipe.get_stage_module(index)
    weights = list(own.parameters())
    optimizer = make_optimizer(weights) if weights else None
    schedule = {schedule}(stage, MICROBATCHES, loss_fn=loss_of)
{tie}    for number, (inputs, target) in enumerate(itertools.chain([first], batches)):
        began, losses = time.perf_counter(), []
        if optimizer is not None:
            optimizer.zero_grad()
        schedule.step(
            *(part_of(inputs, replica, device) if index == 0 else ()),
            target=part_of(target, replica, device)[0] if index == len(STAGES) - 1 else None,
            losses=losses,
        )
{reduce}        if optimizer is not None:
            optimizer.step()
        if losses:
            loss = torch.stack(losses).mean().item()
            rate = len(part_of(target, replica, device)[0]) * REPLICAS / (time.perf_counter() - began)
            done = f"iteration {{number}}, replica {{replica}}"
            report(f"{{done}}: loss {{loss:.6f}}, {{rate:.4g}} examples/s")
    dist.destroy_process_group()
'''

_SERVING = """\
(module, batches):
the module that was planned, and an iterable of inputs, each a tensor or a tuple of tensors."""

_SERVE = '''

def main(name):
    """Run the batches of a job."""
    file, function = name.split(":")
    module, batches = getattr(importlib.import_module(file), function)()
    device, mesh = start()
    index, replica = mesh.get_local_rank("pp"), mesh.get_local_rank("dp")
    batches = iter(batches)
    first = next(batches)
    _, stage = stage_of(module.eval(), part_of(first, replica, device), index, device, mesh)
    schedule = {schedule}(stage, MICROBATCHES)
    for number, batch in enumerate(itertools.chain([first], batches)):
        began, inputs = time.perf_counter(), part_of(batch, replica, device)
        with torch.no_grad():
            output = schedule.eval(*(inputs if index == 0 else ()))
        if output is not None:
            rate = len(inputs[0]) * REPLICAS / (time.perf_counter() - began)
            report(f"batch {{number}}, replica {{replica}}: {{rate:.4g}} examples/s")
    dist.destroy_process_group()
'''

_END = """

if __name__ == "__main__":
    main(sys.argv[1])
"""

_MICROBATCHES_PER_STAGE = 4  # without a schedule: a pipeline that is idle for at most a fifth of the time


def write(partition: Partition) -> Written:
    """Return the source of the script.

    Raises
    ------
    ValueError
        A replica of a stage has several devices.
    """
    for number, stage in enumerate(partition.stages, start=1):
        if stage.degree > 1:
            raise InputError(
                f"stage {number} runs on {stage.degree} devices by strategy {show(stage.strategy)}; the "
                "script runs each replica on one"
            )
    mode = partition.conditions.mode
    if mode not in (None, "train", "inference"):
        raise InputError(
            f"its workload was profiled for mode {mode!r}, and the script trains or runs a module (profile "
            "with --mode train or inference)"
        )
    serves = mode == "inference"
    count, replicas, goal = len(partition.stages), partition.replicas(), partition.goal
    schedule = SCHEDULES["gpipe" if serves else goal.schedule or "1f1b"]
    microbatches = goal.microbatches or _MICROBATCHES_PER_STAGE * count
    ranks = partition.ranks()
    head = _HEAD.format(
        does="Run" if serves else "Train",
        job=_SERVING if serves else _TRAINING,
        count=count,
        ranks=len(ranks),
        schedule=schedule,
        points=begins_text(partition),
        stages=stages_text(partition),
        replicas=replicas,
        rank_list=[(rank.stage, rank.device_type) for rank in ranks],
        microbatches=microbatches,
    )
    if serves:
        text = head + _SERVE.format(schedule=schedule) + _END
        return Written(text, text, ranks)
    tied, copies = bool(partition.parted_ties()), replicas > 1
    reduces = ["        reduce()\n"] * tied + ['        average(own, mesh["dp"].get_group())\n'] * copies
    body = _TRAIN.format(
        schedule=schedule, tie="    reduce = tie(pipe, index)\n" * tied, reduce="".join(reduces)
    )
    text = head + AVERAGE * copies + TIE * tied + body + _END
    return Written(text, text, ranks)
