"""Exports the trained network for ExecuTorch, in float32, and compares it with the network in its runtime."""

from __future__ import annotations

import loading

from collections.abc import Callable
from pathlib import Path

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime
from torch import Tensor, nn
from torch.export import Dim

import data
from common import Config, load_weights, run, single, whole
from export import Service, largest_difference
from variants import files_of, load_variant, measure_variant

MOST = 64  # examples at a time, for which memory is planned


class Plain(nn.Module):
    """The network in its own precision, which ExecuTorch asks for."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Tensor:
        """From inputs to outputs."""
        return self.module(*inputs).float()


def executorch_export(config: Config, quick: bool) -> dict[str, float]:
    """Export, read back and compare."""
    exact = single(config)
    module = load_weights(exact).cpu().eval()
    inputs, _ = data.batch(exact, "evaluation", 0, 4)
    any_size = {"inputs": tuple({0: Dim("batch", min=1, max=MOST)} for _ in inputs)}
    program = torch.export.export(Plain(module), inputs, dynamic_shapes=any_size)
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    (path,) = files_of(config, "executorch")
    with whole(path) as beside:
        beside.write_bytes(lowered.buffer)
    service = Service(exact, module)
    difference = largest_difference(exact, service, load_variant(exact, "executorch"))
    return measure_variant(exact, "executorch") | {"largest_difference": difference}


def load_model(path: Path) -> Callable[..., Tensor]:
    """Read a program as a function from inputs to outputs; examples that it has no room for run in parts."""
    method = Runtime.get().load_program(path).load_method("forward")
    most = method.metadata.input_tensor_meta(0).sizes()[0]  # which the tracer may have made less than MOST

    def predict(*inputs: Tensor) -> Tensor:
        parts = zip(*(tensor.cpu().contiguous().split(most) for tensor in inputs), strict=True)
        outputs = [method.execute(part)[0].clone() for part in parts]  # the memory is used again
        return torch.cat(outputs).to(inputs[0].device)

    return predict


if __name__ == "__main__":
    run("executorch_export", executorch_export)
