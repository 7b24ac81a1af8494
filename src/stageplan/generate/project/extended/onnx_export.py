"""Exports the trained network to ONNX, in float32, and compares it with the network in ONNX Runtime."""

from __future__ import annotations

import loading

import warnings
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor

from common import ARTEFACTS, Config, load_weights, run, single, whole
from export import Service, largest_difference, trace

MODEL = ARTEFACTS / "model.onnx"


def onnx_export(config: Config, quick: bool) -> dict[str, float]:
    """Export, read back and compare."""
    exact = single(config)  # runtimes do not support all of bfloat16
    service = Service(exact, load_weights(exact)).eval()
    program = trace(exact, service)
    with whole(MODEL) as beside, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own warnings
        torch.onnx.export(program, f=beside, dynamo=True, external_data=False, verbose=False)
    return {
        "largest_difference": largest_difference(exact, service, load_model()),
        "bytes": MODEL.stat().st_size,
    }


def load_model(path: Path = MODEL) -> Callable[..., Tensor]:
    """Read an ONNX model as a function from inputs to outputs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # as many as the network is given
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def predict(*inputs: Tensor) -> Tensor:
        arrays = {name: tensor.numpy(force=True) for name, tensor in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(None, arrays)[0]).to(inputs[0].device)

    return predict


if __name__ == "__main__":
    run("onnx_export", onnx_export)
