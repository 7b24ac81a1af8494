"""Measures the layers for a planner: seconds of training, bytes of memory, bytes of their outputs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import network
from common import ARTEFACTS, Config, as_tuple, in_precision, on_device, run, write_json
from division import build_layers
from train import training_batch

WORKLOAD = ARTEFACTS / "workload.json"
TRAINED = 4  # tensors of the size of a parameter: itself, its gradient, and two averages of the optimizer


def layer_times(config: Config, quick: bool) -> dict[str, float]:
    """Measure all layers on a training batch, and write the workload."""
    torch.set_num_threads(1)
    tensors, targets = on_device(config, training_batch(config, 0))
    layers: list[dict[str, Any]] = []
    passed = []
    holders: dict[nn.Parameter, list[str]] = {}
    named = build_layers(config, tensors)
    for name, layer in named:
        one = _pass(config, layer, tensors, targets if name == named[-1][0] else None)
        seconds = _least_seconds(config, one, repeats=3 if quick else 20)
        tensors = tuple(tensor.detach() for tensor in one())
        memory = TRAINED * _bytes(layer.parameters()) + _bytes(tensors)
        compute = {config.device: seconds}
        layers.append({"name": name, "kind": type(layer).__name__, "compute": compute, "memory": memory})
        passed.append(2 * _bytes(tensors))  # forward, and gradients of the same size backward
        holders |= {parameter: [*holders.get(parameter, []), name] for parameter in layer.parameters()}
    shared = [names for names in holders.values() if len(names) > 1]
    write_json(WORKLOAD, _workload(config, layers, passed, shared))
    return {"layers": len(layers), "seconds": sum(layer["compute"][config.device] for layer in layers)}


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


def _least_seconds(config: Config, work: Callable[[], object], repeats: int) -> float:
    """Time a function: in processor time on a processor, which other programs disturb little."""
    on_processor = config.device == "cpu"
    clock = time.process_time if on_processor else time.perf_counter
    times = []
    for _ in range(1 + repeats):
        begin = clock()
        work()
        if not on_processor:
            torch.cuda.synchronize()
        times.append(clock() - begin)
    return min(times[1:])


def _bytes(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _workload(
    config: Config, layers: list[dict[str, Any]], passed: list[int], shared: list[list[str]]
) -> dict[str, Any]:
    names = [layer["name"] for layer in layers]
    tensors = [
        {"producer": producer, "consumers": [consumer], "bytes": size}
        for producer, consumer, size in zip(names, names[1:], passed, strict=False)
    ]
    return {
        "name": config.name,
        "batch": config.train.batch,
        "layers": layers,
        "tensors": tensors,
        "ties": shared,
    }


if __name__ == "__main__":
    run("layer_times", layer_times)
