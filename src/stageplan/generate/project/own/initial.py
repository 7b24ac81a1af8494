"""Builds the network, checks it on examples, and writes its initial weights: what training begins with."""

from __future__ import annotations

import loading

import torch
from torch import Tensor

import data
from common import Config, build, note, on_device, run, save_weights

EXAMPLES = 2


def initial(config: Config, quick: bool) -> dict[str, float]:
    """Run the network on examples, and write its weights."""
    module = build(config).eval()
    inputs, targets = on_device(config, data.batch(config, "evaluation", 0, EXAMPLES))
    shapes = ", ".join(str(list(tensor.shape)) for tensor in inputs)
    try:
        with torch.no_grad():
            outputs = module(*inputs)
    except Exception as error:  # of any class, by what the network does
        raise ValueError(f"the network does not take inputs of shape {shapes}: {error}") from error
    _check(config, outputs, targets)
    save_weights(module)
    count = sum(parameter.numel() for parameter in module.parameters())
    note(f"the network has {count:,} parameters")
    return {"parameters": count}


def _check(config: Config, outputs: Tensor, targets: Tensor) -> None:
    """Compare the shape of outputs with the task's: scores for each target, or one for each click."""
    model, found = config.model, list(outputs.shape)
    if targets.is_floating_point():
        fits, wanted = found == list(targets.shape), f"{list(targets.shape)}"
    else:
        least = max(model.classes, 0) or model.vocabulary
        fits = found[:-1] == list(targets.shape) and found[-1] >= least
        wanted = f"{[*targets.shape, least]}, or more in the last dimension"
    if not fits:
        raise ValueError(f"the network gives outputs of shape {found}; for {config.task} it must be {wanted}")


if __name__ == "__main__":
    run("initial", initial)
