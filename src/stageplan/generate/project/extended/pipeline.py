"""Trains the network in the stages of a plan, each in one process or more, and compares with one process.

PyTorch's own schedules need the same number of processes for every stage; a plan gives a slow stage more.
So the processes of a stage take micro-batches in turn, and sum their gradients after each batch.
"""

from __future__ import annotations

import loading

import json
import multiprocessing
import os
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.multiprocessing.spawn import start_processes

import network
from common import (
    ARTEFACTS,
    Batch,
    Config,
    as_tuple,
    in_precision,
    load_tensors,
    load_weights,
    on_device,
    run,
    settings,
    single,
    ties,
    whole,
    write_json,
)
from division import build_layers, build_stage, layer_names, tensors_of
from evaluate import margin_of, measure_network
from pipeline_speed import Times, alone_in_steps, compared
from train import make_optimizer, set_learning_rate, split, training_batch
from transfer import transfer, use_loopback

PLAN = Path("plan.json")
RECORD = ARTEFACTS / "pipeline.json"
WEIGHTS = ARTEFACTS / "model-pipeline.safetensors"
COMPARED = 5  # steps; later, differences of rounding have grown
MEASURED = 0.5  # processor seconds of a process, at least, in which the speed is measured
PATIENCE = timedelta(minutes=5)  # to wait for a message from another process


# The plan -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """Layers that run together, and the ranks of the processes that share their work."""

    type: str
    layers: tuple[str, ...]
    ranks: tuple[int, ...]


def read_plan(config: Config, path: Path = PLAN) -> list[Stage]:
    """Read the stages of a plan.

    Raises
    ------
    OSError, ValueError
        It cannot be read, or its stages are not the layers of this network in their order.
    """
    try:
        stages = [
            (s["type"], tuple(s["layers"]), int(s["devices"]))
            for s in json.loads(path.read_bytes())["stages"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a valid plan: {error!r}") from None
    planned = [name for _, layers, _ in stages for name in layers]
    names = layer_names(config)
    if planned != names:
        raise ValueError(f"{path} has the layers {planned}; they must be {names}, in this order")
    if not all(layers and devices > 0 for _, layers, devices in stages):
        raise ValueError(f"{path} has a stage without layers or devices; each must have 1 or more of both")
    ends = list(accumulate(devices for *_, devices in stages))
    return [
        Stage(type_, layers, tuple(range(end - devices, end)))
        for (type_, layers, devices), end in zip(stages, ends, strict=True)
    ]


# One process --------------------------------------------------------------------------------------------


class Worker:
    """A process: its stage, and its messages to neighbouring stages."""

    def __init__(self, config: Config, stages: list[Stage], rank: int, steps: int) -> None:
        self.config, self.rank, self.steps = config, rank, steps
        self.micro_batches: int = settings("pipeline")["micro_batches"]
        self.index = next(i for i, stage in enumerate(stages) if rank in stage.ranks)
        self.stage = stages[self.index]
        self.before = stages[self.index - 1].ranks if self.index > 0 else ()
        self.behind = stages[self.index + 1].ranks if self.index + 1 < len(stages) else ()
        self.mine = [m for m in range(self.micro_batches) if self._turn(self.stage.ranks, m) == rank]
        inputs, _ = on_device(config, split(training_batch(config, 0), self.micro_batches)[0])
        self.module = build_stage(config, self.stage.layers, inputs).train(not config.train.exact)
        self.optimizer = make_optimizer(config, self.module)
        self.entering, self.leaving = _patterns(config, self.stage, inputs)
        self.groups = _groups(config, stages, self.module)
        self.order = _order(self.mine, _ahead(stages, self.index, len(self.mine)))
        self.waiting: dict[int, tuple[tuple[Tensor, ...], tuple[Tensor, ...]]] = {}
        self.sending: list[tuple[dist.Work, Tensor]] = []
        self.times = Times(device=config.device)

    def step(self, step: int) -> float:
        """Update the weights of the stage once. The last stage returns the loss before."""
        if step == 1:
            self.times = Times(device=self.config.device)  # the first step loads code
        processor, clock = self.times.now(), time.perf_counter()
        self.optimizer.zero_grad()
        set_learning_rate(self.config, self.optimizer, step, self.steps)
        parts = self.examples(step)
        loss = torch.zeros(())
        begin = self.times.now()
        for what, m in self.order:
            with self.times.measured((what, m)):
                if what == "forward":
                    loss += self.forward(m, parts[m] if parts else None)
                else:
                    self.backward(m)
        passes = self.times.now() - begin
        for work, _ in self.sending:
            work.wait()
        self.sending.clear()
        self.add_up_gradients()
        self.clip_gradients()
        self.optimizer.step()
        if len(self.stage.ranks) > 1:
            dist.all_reduce(loss, group=self.groups[self.stage.ranks])
        self.times.rest = min(self.times.rest, self.times.now() - processor - passes)
        self.times.steps += 1
        self.times.clock = min(self.times.clock, time.perf_counter() - clock)
        return loss.item()

    def examples(self, step: int) -> list[Batch]:
        """Return the micro-batches of a step, for inputs of the first stage and targets of the last."""
        if self.before and self.behind:
            return []
        batch = training_batch(self.config, step)
        return [on_device(self.config, part) for part in split(batch, self.micro_batches)]

    def forward(self, m: int, part: Batch | None) -> Tensor:
        """Run the stage on a micro-batch, and pass its outputs on or, in the last stage, return its loss."""
        inputs, targets = part or ((), None)
        if self.before:
            inputs = self._receive(m, 0, self.before, self.entering)
            inputs = tuple(tensor.requires_grad_(tensor.is_floating_point()) for tensor in inputs)
        with in_precision(self.config):
            outputs = self.module(*inputs)
        if self.behind:
            outputs = tuple(in_float32(tensor) for tensor in as_tuple(outputs))
            self._send(m, 0, self.behind, outputs)
            self.waiting[m] = inputs, outputs
            return torch.zeros(())
        assert targets is not None
        loss = network.loss(outputs.float(), targets) / self.micro_batches
        self.waiting[m] = inputs, (loss,)
        return loss.detach().cpu()

    def backward(self, m: int) -> None:
        """Compute the gradients of a micro-batch and send those of the inputs back."""
        inputs, outputs = self.waiting.pop(m)
        if self.behind:
            received = self._receive(m, 1, self.behind, [x for x in self.leaving if x.is_floating_point()])
            floats = [tensor for tensor in outputs if tensor.is_floating_point()]
            pairs = [(x, y) for x, y in zip(floats, received, strict=True) if x.requires_grad]
        else:
            pairs = [(outputs[0], torch.ones_like(outputs[0]))]
        torch.autograd.backward([x for x, _ in pairs], [y for _, y in pairs])
        if self.before:
            floats = [tensor for tensor in inputs if tensor.is_floating_point()]
            self._send(m, 1, self.before, tuple(_gradient(tensor) for tensor in floats))

    def add_up_gradients(self) -> None:
        """Sum gradients over the processes of the stage; those of shared weights over all that have them."""
        for name, parameter in tensors_of(self.module).items():
            if not parameter.requires_grad:
                continue  # a buffer
            group = self.groups.get(name, self.groups[self.stage.ranks])
            if group.size() > 1:
                gradient = _gradient(parameter).cpu()
                dist.all_reduce(gradient, group=group)
                parameter.grad = gradient.to(parameter.device)

    def clip_gradients(self) -> None:
        """Cut the gradients of all stages to their greatest norm; shared weights count once."""
        greatest = self.config.train.clip_norm
        if greatest is None:
            return
        square = torch.zeros((), dtype=torch.float64)
        if self.rank == self.stage.ranks[0]:
            again = {name for _, *sharers in ties(self.config) for name in sharers}
            for name, parameter in tensors_of(self.module).items():
                if parameter.requires_grad and name not in again:
                    square += _gradient(parameter).double().square().sum().cpu()
        dist.all_reduce(square)
        factor = min(1.0, greatest / (square.sqrt().item() + 1e-6))
        for parameter in self.module.parameters():
            _gradient(parameter).mul_(factor)

    def _turn(self, ranks: tuple[int, ...], m: int) -> int:
        return ranks[m % len(ranks)]

    def _send(self, m: int, way: int, ranks: tuple[int, ...], tensors: tuple[Tensor, ...]) -> None:
        for i, tensor in enumerate(tensors):
            with self.times.transferring(tensor.nbytes, 0):
                sent = tensor.detach().cpu().contiguous()
                work = dist.isend(sent, self._turn(ranks, m), tag=_tag(m, way, i))
            assert work is not None
            self.sending.append((work, sent))  # the tensor must live until it is sent

    def _receive(
        self, m: int, way: int, ranks: tuple[int, ...], patterns: list[Tensor]
    ) -> tuple[Tensor, ...]:
        tensors = tuple(torch.empty_like(pattern, device="cpu") for pattern in patterns)
        for i, tensor in enumerate(tensors):
            with self.times.transferring(0, tensor.nbytes):
                dist.recv(tensor, self._turn(ranks, m), tag=_tag(m, way, i))
        return tuple(tensor.to(self.config.device) for tensor in tensors)


def _tag(m: int, way: int, i: int) -> int:
    return (m * 2 + way) * 256 + i


def _gradient(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def _ahead(stages: list[Stage], index: int, mine: int) -> int:
    """Count the micro-batches that a process begins before the backward pass of the first one.

    With ``"1f1b"`` as few as keep all processes busy: one for each process of this and later stages. No stage
    may begin fewer than the next one, or the two would wait for each other.
    """
    if settings("pipeline")["schedule"] == "gpipe":
        return mine
    under_way = 0
    for stage in reversed(stages[index + 1 :]):
        under_way = _round_up(under_way + len(stage.ranks), len(stage.ranks))
    share = len(stages[index].ranks)
    return _round_up(under_way + share, share) // share


def _round_up(number: int, to: int) -> int:
    return -(-number // to) * to


def _order(mine: list[int], ahead: int) -> list[tuple[str, int]]:
    """Forward and backward passes of a process, in order."""
    order = []
    for i, m in enumerate(mine):
        order.append(("forward", m))
        if i + 1 >= ahead:
            order.append(("backward", mine[i + 1 - ahead]))
    done = max(0, len(mine) + 1 - ahead)
    return order + [("backward", m) for m in mine[done:]]


def _patterns(config: Config, stage: Stage, inputs: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
    """Return inputs and outputs of a stage on the meta device: shapes and types, without computation."""
    tensors = tuple(tensor.to("meta") for tensor in inputs)
    entering = tensors
    with torch.no_grad():
        for name, layer in build_layers(config, inputs, device="meta"):
            entering = tensors if name == stage.layers[0] else entering
            tensors = tuple(in_float32(tensor).contiguous() for tensor in as_tuple(layer(*tensors)))
            if name == stage.layers[-1]:
                break
    return list(entering), list(tensors)


def in_float32(tensor: Tensor) -> Tensor:
    """Return a tensor as it is passed on: floating-point numbers in float32."""
    return tensor.float() if tensor.is_floating_point() else tensor


def _groups(config: Config, stages: list[Stage], module: nn.Module) -> dict[Any, dist.ProcessGroup]:
    """Group processes that sum gradients: of a stage, by its ranks; of a shared parameter, by its names."""
    names: list[list[str]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(names, list(tensors_of(module)))
    groups: dict[Any, Any] = {stage.ranks: dist.new_group(list(stage.ranks)) for stage in stages}
    for tie in ties(config):
        holders = [rank for rank, held in enumerate(names) if not set(tie).isdisjoint(held)]
        groups |= dict.fromkeys(tie, dist.new_group(holders))
    return groups


def work(
    rank: int, config: Config, stages: list[Stage], steps: int, folder: str, seconds: float = 0.0
) -> None:
    """Run one of the processes; write its losses, weights and stage to files, and then measure it longer."""
    torch.set_num_threads(1)
    if config.device == "cuda":
        torch.cuda.set_device(rank % torch.cuda.device_count())
    processes = sum(len(stage.ranks) for stage in stages)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=processes, timeout=PATIENCE
    )
    worker = Worker(config, stages, rank, steps)
    losses = [worker.step(step) for step in range(steps)]
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors_of(worker.module).items()}
    save_file(tensors, f"{folder}/{rank}.safetensors")
    _measure_longer(worker, seconds)
    ran = [name for name, _ in worker.module.named_children()]
    report = {"layers": ran, "losses": losses, "times": worker.times.to_list()}
    Path(folder, f"{rank}.json").write_text(json.dumps(report))
    dist.destroy_process_group()


def _measure_longer(worker: Worker, seconds: float) -> None:
    """Go on with the last step, until one of the processes has computed for so long."""
    begin, longest = time.process_time(), torch.zeros(())
    while longest < seconds:
        worker.step(worker.steps - 1)
        longest.fill_(time.process_time() - begin)
        dist.all_reduce(longest, dist.ReduceOp.MAX)


# All processes ------------------------------------------------------------------------------------------


def train_in_stages(
    config: Config, stages: list[Stage], steps: int, seconds: float = 0.0
) -> tuple[list[float], float, list[Times]]:
    """Start the processes, wait for them, and merge their weights; measure for so many seconds longer.

    Returns
    -------
    list of float
        The loss before each step.
    float
        The largest difference between copies of a weight that must be equal.
    list of Times
        What each process measured.
    """
    processes = sum(len(stage.ranks) for stage in stages)
    with tempfile.TemporaryDirectory() as folder:
        _start(processes, (config, stages, steps, folder, seconds))
        reports = [json.loads(Path(folder, f"{rank}.json").read_bytes()) for rank in range(processes)]
        tensors = [load_tensors(Path(folder, f"{rank}.safetensors")) for rank in range(processes)]
    ran = [{"type": s.type, "layers": reports[s.ranks[0]]["layers"], "ranks": s.ranks} for s in stages]
    write_json(RECORD, ran)
    return reports[-1]["losses"], _merge(config, tensors), [Times.of(one["times"]) for one in reports]


def _start(processes: int, arguments: tuple[Any, ...]) -> None:
    """Run `work` in processes that are forked from one that has PyTorch loaded, where the system can."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    multiprocessing.set_forkserver_preload(["loading", "torch._dynamo", "pipeline"])
    start_processes(work, arguments, nprocs=processes, start_method=method)


def _merge(config: Config, parts: list[dict[str, Tensor]]) -> float:
    """Write the weights of all processes in one file, and compare those that several have."""
    owners = {name: tie[0] for tie in ties(config) for name in tie}
    merged: dict[str, Tensor] = {}
    difference = 0.0
    for part in parts:
        for name, tensor in part.items():
            first = merged.setdefault(owners.get(name, name), tensor)
            difference = max(difference, (first - tensor).abs().max().item())
    with whole(WEIGHTS) as beside:
        save_file(merged, beside)
    return difference


def pipeline(config: Config, quick: bool) -> dict[str, float]:
    """Compare some steps in stages with one process, and, unless quick, train in stages."""
    stages, exact = read_plan(config), single(config)
    rate = transfer()
    losses, copies, times = train_in_stages(exact, stages, COMPARED, MEASURED)
    alone, seconds = alone_in_steps(exact, COMPARED)
    types, ranks = [stage.type for stage in stages], [stage.ranks for stage in stages]
    speed = compared(config, PLAN, types, ranks, times, rate)
    return {
        "stages": len(stages),
        "processes": sum(len(stage.ranks) for stage in stages),
        "as_planned": float(_ran() == [(stage.layers, stage.ranks) for stage in stages]),
        "compared_steps": COMPARED,
        "largest_loss_difference": max(abs(a - b) for a, b in zip(losses, alone, strict=True)),
        "largest_copy_difference": copies,
        **speed,
        "one_process_throughput": config.train.batch / seconds,
        "speedup": speed["throughput"] * seconds / config.train.batch,
        **({} if quick else _trained(config, stages)),
    }


def _trained(config: Config, stages: list[Stage]) -> dict[str, float]:
    """Train in stages for the full length, and compare the result with its threshold."""
    losses, _, _ = train_in_stages(config, stages, config.train.steps)
    module = load_weights(config, WEIGHTS)
    numbers = measure_network(config, module)
    last = {"steps": len(losses), "last_loss": losses[-1]}
    return last | numbers | {"margin": margin_of(config, module, numbers, quick=False)}


def _ran() -> list[tuple[tuple[str, ...], tuple[int, ...]]]:
    return [(tuple(stage["layers"]), tuple(stage["ranks"])) for stage in json.loads(RECORD.read_bytes())]


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes started here
    use_loopback()
    run("pipeline", pipeline)
