"""Exports the trained network as a program that runs without this project's code, and compares the two."""

from __future__ import annotations

from loading import loading

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

import data
from common import ARTEFACTS, Config, in_precision, load_weights, on_device, run, verified, whole

PROGRAM = ARTEFACTS / "model.pt2"
SIZES = (3, 8)  # of the batches to compare with; they differ from the traced one


class Service(nn.Module):
    """The network for inference: in the configured precision, with outputs in float32."""

    def __init__(self, config: Config, module: nn.Module) -> None:
        super().__init__()
        self.config, self.module = config, module

    def forward(self, *inputs: Tensor) -> Tensor:
        """From inputs to outputs."""
        with in_precision(self.config):
            return self.module(*inputs).float()


def trace(config: Config, service: nn.Module) -> ExportedProgram:
    """Trace a network for batches of any size."""
    inputs, _ = on_device(config, data.batch(config, "evaluation", 0, 4))
    any_size = {"inputs": tuple({0: Dim("batch")} for _ in inputs)}
    with loading():  # PyTorch's compiler
        return torch.export.export(service, inputs, dynamic_shapes=any_size)


def save_program(program: ExportedProgram, path: Path) -> None:
    """Write a program: the same bytes each time, so without the places of its code in files."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, GraphModule) else ():
            node.meta.pop("stack_trace", None)
    with whole(path) as beside, beside.open("wb") as stream:  # a path would be part of the file
        torch.export.save(program, stream)


def load_program(config: Config, path: Path = PROGRAM) -> nn.Module:
    """Read an exported program; its checksum is compared first, since reading it may run code."""
    with verified(path) as stream, loading():
        return torch.export.load(stream).module()


def largest_difference(config: Config, one: Callable[..., Tensor], other: Callable[..., Tensor]) -> float:
    """Compare the outputs of two programs on examples for evaluation."""
    differences = []
    with torch.no_grad():
        for index, size in enumerate(SIZES):
            inputs, _ = on_device(config, data.batch(config, "evaluation", index, size))
            differences.append((one(*inputs) - other(*inputs)).abs().max().item())
    return max(differences)


def export(config: Config, quick: bool) -> dict[str, float]:
    """Export, read back and compare."""
    service = Service(config, load_weights(config)).eval()
    save_program(trace(config, service), PROGRAM)
    difference = largest_difference(config, service, load_program(config))
    return {"largest_difference": difference, "bytes": PROGRAM.stat().st_size}


if __name__ == "__main__":
    run("export", export)
