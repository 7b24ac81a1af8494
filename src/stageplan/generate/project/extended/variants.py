"""Variants of the trained network: what a server or another caller loads instead of the network."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, takewhile
from pathlib import Path

import torch
from torch import Tensor, nn

from common import ARTEFACTS, Config, as_tuple, load_weights, on_device, verified
from evaluate import measure, measure_network, quality_loss
from export import PROGRAM, load_program, save_program, trace

NAMES = ("float32", "bfloat16", "int8", "pruned", "distilled", "pipelined", "onnx", "aot", "executorch")
Predict = Callable[..., Tensor]


def load_variant(config: Config, name: str) -> Predict:
    """Read a variant from its files.

    Parameters
    ----------
    config : Config
        The configuration of the project.
    name : str
        One of `NAMES`.

    Returns
    -------
    callable
        From inputs, tensors on the configured device with any number of examples, to outputs in float32.

    Raises
    ------
    OSError, ImportError, ValueError
        A file or a package that it needs is absent, or there is no variant of this name.
    """
    if name not in NAMES:
        raise ValueError(f"variant is {name!r}; it must be one of {', '.join(map(repr, NAMES))}")
    files = files_of(config, name)
    files[0].stat()  # a missing file is an OSError
    if files[0].suffix == ".onnx":
        from onnx_export import load_model  # needs ONNX Runtime

        return load_model(files[0])
    if name == "executorch":
        from executorch_export import load_model as load_executorch  # needs ExecuTorch

        return load_executorch(files[0])
    if name == "aot":
        with verified(files[0]):  # it holds native code
            return torch._inductor.aoti_load_package(str(files[0]))
    return chain([load_program(config, file) for file in files])


def files_of(config: Config, name: str) -> list[Path]:
    """Return the files of a variant: one, or one for each stage."""
    if name == "pipelined":
        stages = [ARTEFACTS / "model-stage0.pt2"]
        return stages + list(takewhile(Path.exists, (ARTEFACTS / f"model-stage{i}.pt2" for i in count(1))))
    if name == config.train.precision:
        return [PROGRAM]
    ending = {"int8": "onnx", "executorch": "pte"}.get(name, "pt2")
    return [ARTEFACTS / ("model.onnx" if name == "onnx" else f"model-{name}.{ending}")]


def chain(programs: list[Callable[..., Tensor]]) -> Predict:
    """Run programs one after the other."""

    def predict(*inputs: Tensor) -> Tensor:
        for program in programs:
            outputs = program(*inputs)
            inputs = as_tuple(outputs)
        return outputs

    return predict


def on_processor(config: Config, program: Predict) -> Predict:
    """Let a variant take its inputs from the processor, and give its outputs there."""

    def predict(*inputs: Tensor) -> Tensor:
        on, _ = on_device(config, (inputs, inputs[0]))
        with torch.no_grad():
            return program(*on).cpu()

    return predict


def export_variant(config: Config, name: str, module: nn.Module) -> dict[str, float]:
    """Export a network as the program of a variant, and measure that."""
    (path,) = files_of(config, name)
    save_program(trace(config, module.eval()), path)
    return measure_variant(config, name)


def measure_variant(config: Config, name: str) -> dict[str, float]:
    """Measure a variant on the evaluation examples, beside the trained network."""
    before = measure_network(config, load_weights(config))
    numbers = measure(config, on_processor(config, load_variant(config, name)))
    size = sum(path.stat().st_size for path in files_of(config, name))
    return numbers | {"quality_loss": quality_loss(config, before, numbers), "bytes": size}


def parameters_of(module: nn.Module) -> int:
    """Count the weights of a network."""
    return sum(parameter.numel() for parameter in module.parameters())
