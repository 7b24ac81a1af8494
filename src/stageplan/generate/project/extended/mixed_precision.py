"""Trains the network with matrix products in bfloat16, and compares its quality with float32."""

from __future__ import annotations

import loading

from dataclasses import replace

from common import ARTEFACTS, Config, build, load_weights, run, save_weights
from evaluate import measure_network, quality_loss
from train import train

WEIGHTS = ARTEFACTS / "model-mixed.safetensors"


def mixed_precision(config: Config, quick: bool) -> dict[str, float]:
    """Train from the beginning in bfloat16, and measure in bfloat16 too."""
    mixed = replace(config, train=replace(config.train, precision="bfloat16"))
    module = build(mixed)
    losses = train(mixed, module, config.train.quick_steps if quick else config.train.steps)
    save_weights(module, WEIGHTS)
    numbers = measure_network(mixed, module)
    before = measure_network(config, load_weights(config))
    return numbers | {"last_loss": losses[-1], "quality_loss": quality_loss(config, before, numbers)}


if __name__ == "__main__":
    run("mixed_precision", mixed_precision)
