"""Quantises the ONNX model to 8-bit integers, with scales from training examples, and measures the quality.

Unlike the integers of ``quantize.py``, which are scaled back before they are used, ONNX Runtime computes
with these: weights have a scale for each channel, and what layers pass on has one for each tensor, of the
numbers that training examples cause there.
"""

from __future__ import annotations

import loading

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from common import Config, run, single, whole
from onnx_export import MODEL
from train import training_batch
from variants import files_of, measure_variant

# What is quantised; the rest takes little time, and a mask of minus infinity would have no scale.
PRODUCTS = ["Conv", "Gather", "Gemm", "MatMul"]
BATCHES = 8  # of training examples, which the scales are chosen by


class Examples(CalibrationDataReader):  # type: ignore[misc]
    """Batches of training examples, as ONNX Runtime asks for them."""

    def __init__(self, config: Config) -> None:
        session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
        names = [one.name for one in session.get_inputs()]
        self.batches: Iterator[dict[str, NDArray[Any]]] = (
            {name: tensor.numpy() for name, tensor in zip(names, training_batch(config, i)[0], strict=True)}
            for i in range(BATCHES)
        )

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """Return the next batch; None after the last one."""
        return next(self.batches, None)


def int8(config: Config, quick: bool) -> dict[str, float]:
    """Quantise, read back and measure."""
    (path,) = files_of(config, "int8")
    logging.getLogger().setLevel(logging.ERROR)  # advice to do what is done here
    with tempfile.TemporaryDirectory() as folder, whole(path) as beside:
        inferred = Path(folder, "inferred.onnx")
        quant_pre_process(MODEL, inferred)
        quantize_static(
            inferred,
            beside,
            Examples(config),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=PRODUCTS,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
    size = path.stat().st_size / MODEL.stat().st_size
    return measure_variant(single(config), "int8") | {"size": size}


if __name__ == "__main__":
    run("int8", int8)
