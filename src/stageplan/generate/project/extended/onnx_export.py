"""Exports the trained network to ONNX, and compares it with the network in ONNX Runtime."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import onnxruntime
import torch
from torch import Tensor

from common import ARTEFACTS, Config, load_weights, run, whole
from export import Service, largest_difference, trace

MODEL = ARTEFACTS / "model.onnx"


def onnx_export(config: Config, quick: bool) -> dict[str, float]:
    """Export, read back and compare."""
    service = Service(config, load_weights(config)).eval()
    program = trace(config, service)
    with whole(MODEL) as beside, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about itself
        torch.onnx.export(program, f=beside, dynamo=True, external_data=False, verbose=False)
    return {
        "largest_difference": largest_difference(config, service, load_model()),
        "bytes": MODEL.stat().st_size,
    }


def load_model() -> Callable[..., Tensor]:
    """Read the exported model as a function from inputs to outputs."""
    session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def predict(*inputs: Tensor) -> Tensor:
        arrays = {name: tensor.numpy(force=True) for name, tensor in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(None, arrays)[0]).to(inputs[0].device)

    return predict


if __name__ == "__main__":
    run("onnx_export", onnx_export)
