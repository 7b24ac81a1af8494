"""Measures the layers for a planner: seconds of a micro-batch and of an update, bytes, and transfers."""

from __future__ import annotations

import loading

import json
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.spawn import start_processes

import network
from common import ARTEFACTS, Config, as_tuple, in_precision, on_device, run, settings, write_json
from division import build_layers
from pipeline import COMPARED, MEASURED, Stage, work
from pipeline_speed import Times
from train import make_optimizer, split, training_batch
from transfer import start_method, transfer, use_loopback

WORKLOAD = ARTEFACTS / "workload.json"
TRAINED = 4  # tensors of the size of a parameter: itself, its gradient, and two averages of the optimizer


def layer_times(config: Config, quick: bool) -> dict[str, float]:
    """Measure all layers on a micro-batch, and write the workload."""
    torch.set_num_threads(1)
    micro_batches, repeats = settings("pipeline")["micro_batches"], 3 if quick else 20
    tensors, targets = on_device(config, split(training_batch(config, 0), micro_batches)[0])
    layers: list[dict[str, Any]] = []
    passes, passed = [], []
    holders: dict[nn.Parameter, list[str]] = {}
    named = build_layers(config, tensors)
    use_loopback()
    trial = _trial(config, [name for name, _ in named]) if len(named) > 1 else []
    rate = transfer()
    for name, layer in named:
        one = _pass(config, layer, tensors, targets if name == named[-1][0] else None)
        kept = _kept_bytes(layer, one)
        tensors = tuple(tensor.detach() for tensor in one())
        layers.append(
            {
                "name": name,
                "kind": type(layer).__name__,
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
    sending, receiving = _add_stages(layers, trial)
    shared = [names for names in holders.values() if len(names) > 1]
    write_json(WORKLOAD, _workload(config, layers, passed, shared, len(targets)))
    return {
        "layers": len(layers),
        "seconds": sum(layer["compute"][config.device] for layer in layers),
        "send_seconds": sending,
        "receive_seconds": receiving,
        "bytes_per_second": rate,
    }


def _trial(config: Config, names: list[str]) -> list[Times]:
    """Train in two stages, each with half of the layers; return what both processes measured."""
    half = len(names) // 2
    stages = [Stage("", tuple(names[:half]), (0,)), Stage("", tuple(names[half:]), (1,))]
    with tempfile.TemporaryDirectory() as folder:
        start_processes(
            work, (config, stages, COMPARED, folder, MEASURED), nprocs=2, start_method=start_method()
        )
        reports = [json.loads(Path(folder, f"{rank}.json").read_bytes()) for rank in range(2)]
    return [Times.of(report["times"]) for report in reports]


def _add_stages(layers: list[dict[str, Any]], trial: list[Times]) -> tuple[float, float]:
    """Add to the layers what stages take beyond them, by a trial; return the seconds of a boundary's sides.

    Those are for messages, and for computing with what has left the caches while a process waited for one.
    """
    half, sides = len(layers) // 2, [0.0, 0.0]
    for side, (part, times) in enumerate(zip((layers[:half], layers[half:]), trial, strict=False)):
        computed = sum(sum(layer["compute"].values()) for layer in part)
        sides[side] = max(0.0, times.seconds("forward") + times.seconds("backward") - computed)
        # What a step takes besides its passes and updates counts for the layers at the ends.
        end = layers[0] if side == 0 else layers[-1]
        end["update"] += max(0.0, times.rest - sum(layer["update"] for layer in part))
    for layer in layers:
        layer["send"], layer["receive"] = sides
    return sides[0], sides[1]


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
    """Time functions that run in turn, as layers do: in processor time of this thread on a processor."""
    on_processor = config.device == "cpu"
    clock = time.thread_time if on_processor else time.perf_counter
    least = [math.inf] * len(work)
    start, repeat = time.process_time(), 0
    while repeat <= repeats or time.process_time() - start < MEASURED:
        for i, one in enumerate(work):
            begin = clock()
            one()
            if not on_processor:
                torch.cuda.synchronize()
            if repeat:
                least[i] = min(least[i], clock() - begin)
        repeat += 1
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
