"""Measures the trained network on examples that were not used for training.

Outputs are not kept: they are computed for a few examples at a time, and added to the metrics. How few
depends on the largest tensor of the network: for an example of 1,024 tokens, 50,257 scores each are 206 MB.
"""

from __future__ import annotations

import loading

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

import data
import network
from common import Batch, Config, as_tuple, build, in_precision, load_weights, note, on_device, run

BATCH = 256  # examples that are read at a time, and the most that are computed at a time
LARGEST = 2**27  # bytes of the largest tensor of several examples that are computed at a time
IGNORED = -100  # a target that does not count, as PyTorch has it
SAMPLE = 2**24  # numbers of outputs that are compared with other examples' targets
SHIFTS = 99  # a network that learned nothing beats all of them once in a hundred times
CLEARLY = 1e-3  # required improvement over answers by chance, as a fraction

Predict = Callable[..., Tensor]


def measure(
    config: Config, predict: Predict, split: str = "evaluation", size: int | None = None
) -> dict[str, float]:
    """Measure outputs on all examples of a split.

    Parameters
    ----------
    config : Config
        Says how many examples there are, and which metric counts.
    predict : callable
        From inputs to outputs: the network, or what was made of it.
    split : {"evaluation", "validation"}
        Which examples.
    size : int, optional
        Examples to compute at a time; default: as many as the size of an output allows.

    Returns
    -------
    dict of str to float
        The loss, and the metric by its name.
    """
    metrics = {name: METRICS[name]() for name in ("loss", config.metric.name)}
    for _, outputs, targets in _predictions(config, predict, split, size):
        for metric in metrics.values():
            metric.add(outputs, targets)
    return {name: metric.value() for name, metric in metrics.items()}


def measure_network(config: Config, module: nn.Module, split: str = "evaluation") -> dict[str, float]:
    """Measure a network of this project."""
    predict = _predictor(config, module.eval())
    return measure(config, predict, split, _size_for(config, module, predict))


def batches(config: Config, split: str = "evaluation") -> Iterator[Batch]:
    """Return all examples for evaluation, or as many for validation."""
    for index in range(-(-config.data.evaluation_examples // BATCH)):
        size = min(BATCH, config.data.evaluation_examples - index * BATCH)
        yield data.batch(config, split, index, size)


def _predictor(config: Config, module: nn.Module) -> Predict:
    def predict(*inputs: Tensor) -> Tensor:
        on, _ = on_device(config, (inputs, inputs[0]))
        with torch.no_grad(), in_precision(config):
            return module(*on)

    return predict


class Predicted(NamedTuple):
    """A few examples: their inputs, outputs in float32, and targets."""

    inputs: tuple[Tensor, ...]
    outputs: Tensor
    targets: Tensor


def _predictions(
    config: Config, predict: Predict, split: str = "evaluation", size: int | None = None
) -> Iterator[Predicted]:
    """Compute the outputs of all examples of a split, a few at a time."""
    for inputs, targets in batches(config, split):
        if size is None:
            size = _size(_bytes(predict(*(tensor[:1] for tensor in inputs))))
        for begin in range(0, len(targets), size):
            part = slice(begin, begin + size)
            some = tuple(tensor[part] for tensor in inputs)
            yield Predicted(some, predict(*some).float().cpu(), targets[part])


def _size_for(config: Config, module: nn.Module, predict: Predict) -> int:
    """Examples to compute at a time with a network, by the largest output of any of its parts."""
    largest = 1

    def look(*seen: object) -> None:
        nonlocal largest
        largest = max(largest, *(_bytes(one) for one in as_tuple(seen[-1]) if isinstance(one, Tensor)), 1)

    hooks = [part.register_forward_hook(look) for part in module.modules()]
    try:
        predict(*data.batch(config, "evaluation", 0, 1)[0])
    finally:
        for hook in hooks:
            hook.remove()
    return _size(largest)


def _size(largest: int) -> int:
    """Examples to compute at a time, by the bytes of the largest tensor of one."""
    return max(1, min(BATCH, LARGEST // largest))


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


# Metrics, to which examples are added -------------------------------------------------------------------


class Accumulated(Protocol):
    """A metric of all examples added so far."""

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Add examples."""

    def value(self) -> float:
        """Return the metric; ValueError where these examples have none."""


class Mean:
    """Mean over all targets of a function that gives the mean over those of some examples."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.function, self.total, self.count = function, 0.0, 0

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Add examples."""
        count = int(_counted(targets).sum())
        if count:
            self.total += self.function(outputs, targets).item() * count
            self.count += count

    def value(self) -> float:
        """Return the mean."""
        if not self.count:
            raise ValueError("there are no targets for evaluation")
        return self.total / self.count


class Perplexity(Mean):
    """Exponential of the loss, 1 or more."""

    def value(self) -> float:
        """Return the perplexity."""
        loss = super().value()
        return math.exp(loss) if loss < math.log(torch.finfo(torch.float64).max) else math.inf


class Auc:
    """Chance that a positive example scores higher than a negative one (area under the ROC curve).

    It is exact, and so it keeps the scores, one number of each example.
    """

    def __init__(self) -> None:
        self.scores: list[Tensor] = []
        self.positive: list[Tensor] = []

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Add examples."""
        self.scores.append(outputs)
        self.positive.append(targets > 0.5)

    def value(self) -> float:
        """Return the area."""
        scores, is_positive = torch.cat(self.scores), torch.cat(self.positive)
        positive, negative = scores[is_positive], scores[~is_positive]
        if not len(positive) or not len(negative):
            raise ValueError("auc needs positive and negative examples for evaluation")
        ordered, _ = negative.sort()
        below = torch.searchsorted(ordered, positive, side="left")
        up_to = torch.searchsorted(ordered, positive, side="right")
        return ((below + up_to).double().mean() / 2 / len(negative)).item()


def correct(outputs: Tensor, targets: Tensor) -> Tensor:
    """Fraction of correct answers, from 0 to 1."""
    return (outputs.argmax(-1) == targets)[_counted(targets)].double().mean()


def _counted(targets: Tensor) -> Tensor:
    """Say which targets count."""
    return torch.ones_like(targets, dtype=torch.bool) if targets.is_floating_point() else targets != IGNORED


METRICS: dict[str, Callable[[], Accumulated]] = {
    "accuracy": lambda: Mean(correct),
    "auc": Auc,
    "perplexity": lambda: Perplexity(network.loss),
    "loss": lambda: Mean(network.loss),
}


def metric_of(config: Config, outputs: Tensor, targets: Tensor) -> float:
    """Return the metric that counts of these outputs."""
    metric = METRICS[config.metric.name]()
    metric.add(outputs, targets)
    return metric.value()


# What has to be reached ---------------------------------------------------------------------------------


class Judged(NamedTuple):
    """By how much a metric is better than it must be, what it must be, and both in words."""

    margin: float
    required: float
    words: str


def margin(config: Config, value: float, limit: float) -> float:
    """By how much a value of the metric is better than a limit."""
    return value - limit if config.metric.higher_is_better else limit - value


def quality_loss(config: Config, before: dict[str, float], after: dict[str, float]) -> float:
    """Relative loss of quality of the metric; negative where it improved."""
    name = config.metric.name
    return margin(config, before[name], after[name]) / abs(before[name])


def margin_of(config: Config, module: nn.Module, numbers: dict[str, float], quick: bool) -> float:
    """By how much the metric of a network, one of its numbers, is better than it must be."""
    return judge(config, module, numbers, quick).margin


def judge(config: Config, module: nn.Module, numbers: dict[str, float], quick: bool) -> Judged:
    """Compare the metric of a network, one of its numbers, with what it must be.

    Where nothing is asked for, it has to be better than without having learned anything.
    """
    metric, why = config.metric, "quick_threshold" if quick else "threshold"
    value, limit = numbers[metric.name], metric.quick_threshold if quick else metric.threshold
    if limit is None:
        value, chance = _by_chance(config, module)
        limit = chance * (1 + CLEARLY if metric.higher_is_better else 1 - CLEARLY)
        why = "better than answers by chance and the untrained network"
    words = f"{metric.name} is {value:.6g}; it must be {_limit(config, limit)} ({why})"
    if quick and metric.threshold is not None:
        full = _limit(config, metric.threshold)
        words += f"; the threshold, {full}, is not used, as it is for the full training"
    return Judged(margin(config, value, limit), limit, words)


def _limit(config: Config, limit: float) -> str:
    return f"at {'least' if config.metric.higher_is_better else 'most'} {limit:.6g}"


def _by_chance(config: Config, module: nn.Module) -> tuple[float, float]:
    """Measure a network on a sample of outputs, and what is reached there without having learned anything.

    That is the best metric of the untrained network, or of answers compared with other examples' targets. The
    latter is as good as answers get that do not depend on their examples: the commonest class, say.
    """
    outputs, targets = _sample(config, module)
    shifts = range(1, min(SHIFTS + 1, len(targets)))
    values = [metric_of(config, outputs.roll(shift, 0), targets) for shift in shifts]
    values.append(metric_of(config, *_sample(config, build(config))))
    best = max(values) if config.metric.higher_is_better else min(values)
    return metric_of(config, outputs, targets), best


def _sample(config: Config, module: nn.Module) -> tuple[Tensor, Tensor]:
    """Return outputs and targets of the distinct evaluation examples, or of as many as `SAMPLE` allows."""
    predict = _predictor(config, module.eval())
    kept: list[tuple[Tensor, Tensor]] = []
    examples: list[bytes] = []
    left = SAMPLE
    for inputs, outputs, targets in _predictions(config, predict, size=_size_for(config, module, predict)):
        kept.append(_thinned(outputs, targets))
        examples += [_digest([tensor[i] for tensor in (*inputs, targets)]) for i in range(len(targets))]
        left -= kept[-1][0].numel()
        if left <= 0:
            break
    distinct = _period(examples)
    outputs, targets = (torch.cat(tensors)[:distinct] for tensors in zip(*kept, strict=True))
    return outputs, targets


def _thinned(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Leave so few places of each example, tokens for instance, that `SAMPLE` holds enough examples."""
    if targets.dim() < 2 or outputs.shape[:-1] != targets.shape:
        return outputs, targets
    places = targets.shape[1]
    left = max(1, SAMPLE * places // (outputs[0].numel() * (1 + SHIFTS)))
    if left >= places:
        return outputs, targets
    chosen = ((torch.arange(left) + 0.5) * (places / left)).long()
    return outputs[:, chosen], targets[:, chosen]


def _digest(tensors: Sequence[Tensor]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.digest()


def _period(examples: Sequence[bytes]) -> int:
    """Count the examples after which they repeat."""
    repeats = (k for k in range(1, len(examples)) if examples[k:] == examples[:-k])
    return next(repeats, len(examples))


# The command --------------------------------------------------------------------------------------------


def evaluate(config: Config, quick: bool) -> dict[str, float]:
    """Measure the trained network, and compare it with its threshold."""
    module = load_weights(config)
    numbers = measure_network(config, module)
    judged = judge(config, module, numbers, quick)
    note(judged.words)
    numbers |= {"margin": judged.margin, "required": judged.required}
    return numbers | ({} if config.metric.threshold is None else {"threshold_used": float(not quick)})


if __name__ == "__main__":
    run("evaluate", evaluate)
