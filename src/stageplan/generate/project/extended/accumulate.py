"""Trains with gradients accumulated over parts of a batch, and compares with whole batches."""

from __future__ import annotations

import loading

from dataclasses import replace

from common import ARTEFACTS, Config, build, run, save_weights, settings, single
from evaluate import measure_network
from train import train

WEIGHTS = ARTEFACTS / "model-accumulated.safetensors"
COMPARED = 5  # steps; later, differences of rounding have grown


def accumulate(config: Config, quick: bool) -> dict[str, float]:
    """Compare some steps in parts with the same in whole batches, and train in parts."""
    parts, exact = settings("accumulation")["micro_batches"], single(config)
    one, other = (train(in_parts(exact, count), build(exact), COMPARED) for count in (parts, 1))
    module = build(config)
    losses = train(in_parts(config, parts), module, COMPARED if quick else config.train.steps)
    save_weights(module, WEIGHTS)
    return measure_network(config, module) | {
        "micro_batches": parts,
        "steps": len(losses),
        "last_loss": losses[-1],
        "largest_loss_difference": max(abs(a - b) for a, b in zip(one, other, strict=True)),
    }


def in_parts(config: Config, parts: int) -> Config:
    """Return the configuration with a number of parts a batch."""
    return replace(config, train=replace(config.train, micro_batches=parts))


if __name__ == "__main__":
    run("accumulate", accumulate)
