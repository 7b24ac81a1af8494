"""Sets the smallest weights of the trained network to zero, continues training, and measures the quality."""

from __future__ import annotations

import loading

from torch import nn
from torch.nn.utils import prune as pruning

from common import ARTEFACTS, Config, load_weights, run, save_weights, settings
from evaluate import measure_network, quality_loss
from train import Trainer, training_batch

WEIGHTS = ARTEFACTS / "model-pruned.safetensors"
KINDS = (nn.Linear, nn.Conv2d)


def prune(config: Config, quick: bool) -> dict[str, float]:
    """Prune by size over all layers, train a quarter as long as before, and make the zeros permanent."""
    module = load_weights(config)
    before = measure_network(config, module)
    weights: list[tuple[nn.Module, str]] = [
        (layer, "weight") for layer in module.modules() if isinstance(layer, KINDS)
    ]
    pruning.global_unstructured(weights, pruning.L1Unstructured, amount=settings("prune")["sparsity"])
    first = config.train.quick_steps if quick else config.train.steps
    trainer = Trainer(config, module, steps=-(-first // 4))
    for step in range(first, first + trainer.steps):  # batches not used for training before
        trainer.step(training_batch(config, step))
    for layer, name in weights:
        pruning.remove(layer, name)
    save_weights(module, WEIGHTS)
    numbers = measure_network(config, load_weights(config, WEIGHTS))
    sparsity = _sparsity(weights)
    return numbers | {
        "quality_loss": quality_loss(config, before, numbers),
        "sparsity": sparsity,
        "sparsity_short": settings("prune")["sparsity"] - sparsity,
    }


def _sparsity(weights: list[tuple[nn.Module, str]]) -> float:
    """Fraction of zeros."""
    tensors = [layer.get_parameter(name) for layer, name in weights]
    return sum((tensor == 0).sum().item() for tensor in tensors) / sum(tensor.numel() for tensor in tensors)


if __name__ == "__main__":
    run("prune", prune)
