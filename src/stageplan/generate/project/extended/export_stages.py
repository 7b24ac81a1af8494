"""Exports the trained network as a program for each stage of the plan, and compares them with the network."""

from __future__ import annotations

import loading

from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

import data
from common import (
    ARTEFACTS,
    WEIGHTS,
    Config,
    as_tuple,
    in_precision,
    load_tensors,
    load_weights,
    on_device,
    run,
    single,
    ties,
)
from division import build_stage, tensors_of
from export import Service, largest_difference, save_program
from pipeline import in_float32, read_plan
from variants import files_of, load_variant


class Part(nn.Module):
    """A stage for inference: in the configured precision, with outputs in float32."""

    def __init__(self, config: Config, module: nn.Module) -> None:
        super().__init__()
        self.config, self.module = config, module

    def forward(self, *inputs: Tensor) -> Any:
        """From inputs to outputs, which are the inputs of the next stage."""
        with in_precision(self.config):
            outputs = self.module(*inputs)
        floats = tuple(in_float32(tensor) for tensor in as_tuple(outputs))
        return floats if isinstance(outputs, tuple) else floats[0]


def export_stages(config: Config, quick: bool) -> dict[str, float]:
    """Export the stages, read them back and compare."""
    for file in files_of(config, "pipelined"):
        file.unlink(missing_ok=True)  # of an earlier plan, which may have had more stages
    inputs, _ = on_device(config, data.batch(config, "evaluation", 0, 4))
    stages, examples = read_plan(config), inputs
    for index, stage in enumerate(stages):
        part = Part(config, _trained(config, stage.layers, examples)).eval()
        any_size = {"inputs": tuple({0: Dim("batch")} for _ in inputs)}
        program = torch.export.export(part, inputs, dynamic_shapes=any_size)
        save_program(program, ARTEFACTS / f"model-stage{index}.pt2")
        with torch.no_grad():
            inputs = as_tuple(part(*inputs))
    service = Service(config, load_weights(config)).eval()
    difference = largest_difference(config, service, load_variant(config, "pipelined"))
    return {"stages": len(stages), "largest_difference": difference}


def _trained(config: Config, layers: tuple[str, ...], inputs: tuple[Tensor, ...]) -> nn.Module:
    """Build a stage with the trained weights."""
    stage, weights = build_stage(single(config), layers, inputs), load_tensors(WEIGHTS)
    owners = {name: tie[0] for tie in ties(config) for name in tie}
    with torch.no_grad():
        for name, tensor in tensors_of(stage).items():
            tensor.copy_(weights[owners.get(name, name)])
    return stage


if __name__ == "__main__":
    run("export_stages", export_stages)
