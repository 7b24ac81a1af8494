"""Measures the layers for a planner: seconds of a micro-batch and of an update, bytes, and transfers."""

from __future__ import annotations

import loading  # noqa: F401

import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor, nn

import network
from common import ARTEFACTS, Config, as_tuple, in_precision, on_device, run, settings, write_json
from division import build_layers
from train import make_optimizer, split, training_batch

WORKLOAD = ARTEFACTS / "workload.json"
TRAINED = 4  # tensors of the size of a parameter: itself, its gradient, and two averages of the optimizer
SIZES = (1, 2**20)  # numbers of the two tensors that are sent
PATIENCE = timedelta(minutes=1)  # to wait for the other process


def layer_times(config: Config, quick: bool) -> dict[str, float]:
    """Measure all layers on a micro-batch, and write the workload."""
    torch.set_num_threads(1)
    message, rate = transfer()
    micro_batches, repeats = settings("pipeline")["micro_batches"], 3 if quick else 20
    tensors, targets = on_device(config, split(training_batch(config, 0), micro_batches)[0])
    layers: list[dict[str, Any]] = []
    passes, passed = [], []
    holders: dict[nn.Parameter, list[str]] = {}
    named = build_layers(config, tensors)
    for name, layer in named:
        one = _pass(config, layer, tensors, targets if name == named[-1][0] else None)
        entering, kept = len(tensors), _kept_bytes(layer, one)
        tensors = tuple(tensor.detach() for tensor in one())
        layers.append(
            {
                "name": name,
                "kind": type(layer).__name__,
                "receive": message * entering,
                "send": message * len(tensors),
                "memory": TRAINED * _bytes(layer.parameters()),
                "activations": kept,
                "gradients": _bytes(layer.parameters()),
            }
        )
        passes.append(one)
        passed.append(2 * _bytes(tensors))  # forward, and gradients of the same size backward
        holders |= {parameter: [*holders.get(parameter, []), name] for parameter in layer.parameters()}
    drawing, *updating = _least_seconds(
        config,
        [
            lambda: split(training_batch(config, 1), micro_batches),
            *(_update(config, layer) for _, layer in named),
        ],
        repeats,
    )
    for layer, seconds in zip(layers, _least_seconds(config, passes, repeats), strict=True):
        layer["compute"] = {config.device: seconds}
    for layer, seconds in zip(layers, updating, strict=True):
        # The stages at the ends draw the examples, for their inputs and targets.
        layer["update"] = seconds + (drawing if layer in (layers[0], layers[-1]) else 0.0)
    shared = [names for names in holders.values() if len(names) > 1]
    write_json(WORKLOAD, _workload(config, layers, passed, shared, len(targets)))
    return {
        "layers": len(layers),
        "seconds": sum(layer["compute"][config.device] for layer in layers),
        "message_seconds": message,
        "bytes_per_second": rate,
    }


def transfer(repeats: int = 10) -> tuple[float, float]:
    """Measure what the transfer of a tensor forward, and of its gradient back, takes of a process.

    Returns
    -------
    float
        Processor seconds for both where they are empty.
    float
        Further bytes a second.
    """
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # both processes are on this machine
    method = "fork" if "fork" in torch.multiprocessing.get_all_start_methods() else "spawn"
    with tempfile.TemporaryDirectory() as folder:
        other = torch.multiprocessing.get_context(method).Process(target=_exchange, args=(1, folder, repeats))
        other.start()
        least, most = _exchange(0, folder, repeats)
        other.join()
    return least, 2 * 4 * (SIZES[1] - SIZES[0]) / max(most - least, 1e-9)


def _exchange(rank: int, folder: str, repeats: int) -> list[float]:
    """Send tensors to and fro between two processes; return the least processor seconds for each size."""
    meeting = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2, timeout=PATIENCE)
    found = []
    for size in SIZES:
        tensor, times = torch.empty(size), []
        for _ in range(1 + repeats):
            begin = time.process_time()
            for sends in (rank == 0, rank == 1):
                dist.send(tensor, 1 - rank) if sends else dist.recv(tensor, 1 - rank)
            times.append(time.process_time() - begin)
        found.append(min(times[1:]))
    dist.destroy_process_group()
    return found


def _pass(
    config: Config, layer: nn.Module, tensors: tuple[Tensor, ...], targets: Tensor | None
) -> Callable[[], tuple[Tensor, ...]]:
    """Make a function that runs a layer forward and backward."""
    inputs = tuple(tensor.requires_grad_(tensor.is_floating_point()) for tensor in tensors)

    def run_layer() -> tuple[Tensor, ...]:
        with in_precision(config):
            outputs = as_tuple(layer(*inputs))
        outputs = tuple(tensor.float() if tensor.is_floating_point() else tensor for tensor in outputs)
        ends = outputs if targets is None else (network.loss(outputs[0], targets),)
        ends = tuple(tensor for tensor in ends if tensor.requires_grad)
        torch.autograd.backward(ends, [torch.ones_like(tensor) for tensor in ends])
        return outputs

    return run_layer


def _least_seconds(config: Config, work: list[Callable[[], object]], repeats: int) -> list[float]:
    """Time functions that run in turn, as layers do: in processor time on a processor."""
    on_processor = config.device == "cpu"
    clock = time.process_time if on_processor else time.perf_counter
    least = [math.inf] * len(work)
    for repeat in range(1 + repeats):
        for i, one in enumerate(work):
            begin = clock()
            one()
            if not on_processor:
                torch.cuda.synchronize()
            if repeat:
                least[i] = min(least[i], clock() - begin)
    return least


def _update(config: Config, layer: nn.Module) -> Callable[[], object]:
    """Make a function that updates the weights of a layer whose gradients are there."""
    if any(parameter.requires_grad for parameter in layer.parameters()):
        return make_optimizer(config, layer).step
    return lambda: None


def _kept_bytes(layer: nn.Module, work: Callable[[], object]) -> int:
    """Bytes that a forward pass keeps for the backward pass, without parameters."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        work()
    for parameter in layer.parameters():
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    return sum(kept.values())


def _bytes(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _workload(
    config: Config, layers: list[dict[str, Any]], passed: list[int], shared: list[list[str]], batch: int
) -> dict[str, Any]:
    names = [layer["name"] for layer in layers]
    tensors = [
        {"producer": producer, "consumers": [consumer], "bytes": size}
        for producer, consumer, size in zip(names, names[1:], passed, strict=False)
    ]
    return {
        "name": config.name,
        "batch": batch,
        "layers": layers,
        "tensors": tensors,
        "ties": shared,
    }


if __name__ == "__main__":
    run("layer_times", layer_times)
