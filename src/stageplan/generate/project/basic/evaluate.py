"""Measures the trained network on examples that were not used for training."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

import data
import network
from common import Batch, Config, build, in_precision, load_weights, on_device, run

BATCH = 256
SHIFTS = 99  # a network that learned nothing beats all of them once in a hundred times
CLEARLY = 1e-3  # required improvement over answers by chance, as a fraction


def measure(config: Config, predict: Callable[..., Tensor]) -> dict[str, float]:
    """Measure outputs on all examples for evaluation.

    Parameters
    ----------
    config : Config
        Says how many examples there are, and which metric counts.
    predict : callable
        From inputs to outputs: the network, or what was made of it.

    Returns
    -------
    dict of str to float
        The loss, and the metric by its name.
    """
    outputs, targets = _outputs(config, predict)
    names = dict.fromkeys(("loss", config.metric.name))
    return {name: METRICS[name](outputs, targets) for name in names}


def _outputs(config: Config, predict: Callable[..., Tensor]) -> tuple[Tensor, Tensor]:
    """Return outputs and targets of all evaluation examples."""
    pairs = [(predict(*inputs).float().cpu(), targets) for inputs, targets in batches(config)]
    outputs, targets = (torch.cat(tensors) for tensors in zip(*pairs, strict=True))
    return outputs, targets


def batches(config: Config) -> Iterator[Batch]:
    """Return all evaluation examples."""
    for index in range(-(-config.data.evaluation_examples // BATCH)):
        size = min(BATCH, config.data.evaluation_examples - index * BATCH)
        yield data.batch(config, "evaluation", index, size)


def measure_network(config: Config, module: nn.Module) -> dict[str, float]:
    """Measure a network of this project."""
    return measure(config, _predictor(config, module))


def _predictor(config: Config, module: nn.Module) -> Callable[..., Tensor]:
    def predict(*inputs: Tensor) -> Tensor:
        on, _ = on_device(config, (inputs, inputs[0]))
        with torch.no_grad(), in_precision(config):
            return module(*on)

    return predict


# Metrics of outputs and targets -------------------------------------------------------------------------


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Fraction of correct answers, from 0 to 1."""
    return (outputs.argmax(-1) == targets).double().mean().item()


def auc(outputs: Tensor, targets: Tensor) -> float:
    """Chance that a positive example scores higher than a negative one (area under the ROC curve)."""
    positive, negative = outputs[targets > 0.5], outputs[targets <= 0.5]
    if not len(positive) or not len(negative):
        raise ValueError("auc needs positive and negative examples for evaluation")
    ordered, _ = negative.sort()
    below = torch.searchsorted(ordered, positive, side="left")
    up_to = torch.searchsorted(ordered, positive, side="right")
    return ((below + up_to).double().mean() / 2 / len(negative)).item()


def perplexity(outputs: Tensor, targets: Tensor) -> float:
    """Perplexity: the exponential of the loss, 1 or more."""
    return network.loss(outputs, targets).exp().item()


def loss(outputs: Tensor, targets: Tensor) -> float:
    """Return the loss that training minimises."""
    return network.loss(outputs, targets).item()


METRICS = {"accuracy": accuracy, "auc": auc, "perplexity": perplexity, "loss": loss}


# The command --------------------------------------------------------------------------------------------


def margin(config: Config, value: float, limit: float) -> float:
    """By how much a value of the metric is better than a limit."""
    return value - limit if config.metric.higher_is_better else limit - value


def quality_loss(config: Config, before: dict[str, float], after: dict[str, float]) -> float:
    """Relative loss of quality of the metric; negative where it improved."""
    name = config.metric.name
    return margin(config, before[name], after[name]) / abs(before[name])


def margin_of(config: Config, module: nn.Module, numbers: dict[str, float], quick: bool) -> float:
    """By how much the metric of a network, one of its numbers, is better than it must be.

    Where nothing is asked for, it has to be better than without having learned anything.
    """
    limit = config.metric.quick_threshold if quick else config.metric.threshold
    if limit is None:
        limit = _nothing_learned(config, module)
        limit *= 1 + CLEARLY if config.metric.higher_is_better else 1 - CLEARLY
    return margin(config, numbers[config.metric.name], limit)


def _nothing_learned(config: Config, module: nn.Module) -> float:
    """Best value of the metric before training, or with answers compared to other examples' targets.

    The latter is as good as answers get that do not depend on their examples: the commonest class, say.
    """
    metric = METRICS[config.metric.name]
    outputs, targets = (
        tensor[: _distinct(config)] for tensor in _outputs(config, _predictor(config, module))
    )
    shifts = range(1, min(SHIFTS + 1, len(targets)))
    values = [metric(outputs.roll(shift, 0), targets) for shift in shifts]
    values.append(measure_network(config, build(config))[config.metric.name])
    return max(values) if config.metric.higher_is_better else min(values)


def _distinct(config: Config) -> int:
    """Count the distinct evaluation examples."""
    pairs = [(*inputs, targets) for inputs, targets in batches(config)]
    columns = [torch.cat(tensors) for tensors in zip(*pairs, strict=True)]
    count = len(columns[0])
    repeats = (k for k in range(1, count) if all(column[k:].equal(column[:-k]) for column in columns))
    return next(repeats, count)


def evaluate(config: Config, quick: bool) -> dict[str, float]:
    """Measure the trained network, and compare it with its threshold."""
    module = load_weights(config)
    numbers = measure_network(config, module)
    return numbers | {"margin": margin_of(config, module, numbers, quick)}


if __name__ == "__main__":
    run("evaluate", evaluate)
