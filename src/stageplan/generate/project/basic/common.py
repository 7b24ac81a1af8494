"""Shared by all commands: the configuration, the network and its weights, and files of results."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import network

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # needed for reproducible results on a GPU

ARTEFACTS = Path("artefacts")
WEIGHTS = ARTEFACTS / "model.safetensors"

T = TypeVar("T")
Batch = tuple[tuple[Tensor, ...], Tensor]


# Configuration ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """The examples: from a file, or without one synthetic ones that follow a rule."""

    evaluation_examples: int
    source: str | None = None


@dataclass(frozen=True)
class Train:
    """How the network is trained.

    `steps` and `quick_steps` are updates of the weights, `batch` the examples of each; a batch is worked off
    in `micro_batches` equal parts whose gradients add up.
    """

    steps: int
    quick_steps: int
    batch: int
    learning_rate: float
    weight_decay: float = 0.0
    micro_batches: int = 1
    precision: str = "float32"
    checkpoint_every: int = 0


@dataclass(frozen=True)
class Metric:
    """Thresholds of the trained network on the evaluation examples, after full and quick training."""

    name: str
    higher_is_better: bool
    threshold: float | None = None
    quick_threshold: float | None = None


@dataclass(frozen=True)
class Infer:
    """The service: examples a request, requests to time, and their limits (seconds, examples/s)."""

    batch: int
    requests: int
    quick_requests: int
    max_latency: float | None = None
    min_throughput: float | None = None


@dataclass(frozen=True)
class Config:
    """All of ``config.json``."""

    name: str
    task: str
    seed: int
    device: str
    threads: int
    model: network.Model
    data: Data
    train: Train
    metric: Metric
    infer: Infer


def read_config(path: Path) -> Config:
    """Read a configuration.

    Raises
    ------
    ValueError
        It is not valid JSON, or a field is missing or unknown.
    """
    try:
        values = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    tables = {"model": network.Model, "data": Data, "train": Train, "metric": Metric, "infer": Infer}
    for name, kind in tables.items():
        values[name] = _fill(kind, values.get(name, {}), f"{path}: {name}")
    return _fill(Config, values, str(path))


def _fill(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Make a dataclass from a table."""
    unknown = values.keys() - {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if unknown:
        raise ValueError(f"{where} has an unknown field {sorted(unknown)[0]!r}")
    try:
        return kind(**values)
    except TypeError as error:  # names what is missing
        raise ValueError(f"{where}: {error}") from None


# Commands -----------------------------------------------------------------------------------------------


def run(name: str, work: Callable[[Config, bool], Mapping[str, float]]) -> None:
    """Run a command: read its options, do the work, write its metrics; the exit status is 0 on success.

    Parameters
    ----------
    name : str
        The numbers go to ``artefacts/metrics/NAME.json``, which is whole or absent.
    work : callable
        Takes the configuration and whether the mode is quick; returns the numbers.
    """
    options = _options(name)
    target = ARTEFACTS / "metrics" / f"{name}.json"
    try:
        target.unlink(missing_ok=True)  # metrics of an earlier run must not remain
        config = read_config(options.config)
        torch.set_num_threads(config.threads)
        if config.device != "cpu":  # results on a processor are reproducible anyway
            torch.use_deterministic_algorithms(True)
        numbers = dict(work(config, options.mode == "quick"))
        _refuse_infinite(numbers)
        write_json(target, numbers)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        sentence = " ".join(str(error).split())
        print(f"{name}: {sentence or type(error).__name__}", file=sys.stderr)
        sys.exit(1)
    print(json.dumps(numbers))


def _options(name: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"{name}.py", description=sys.modules["__main__"].__doc__)
    parser.add_argument("--config", type=Path, default=Path("config.json"))
    parser.add_argument(
        "--mode", choices=("quick", "full"), default="full", help="quick: train and infer little"
    )
    return parser.parse_args()


def _refuse_infinite(numbers: Mapping[str, float]) -> None:
    for name, number in numbers.items():
        if not math.isfinite(number):
            raise ValueError(f"{name} is {number}; it must be finite")


def write_json(path: Path, values: object) -> None:
    """Write JSON atomically."""
    with whole(path) as beside:
        beside.write_text(json.dumps(values, indent=2) + "\n")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary file to write, and rename it to `path` when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


# The network --------------------------------------------------------------------------------------------


class Network(nn.Sequential):
    """Named layers in order, of the network or of a stage; some have more than one output."""

    def forward(self, *inputs: Tensor) -> Any:
        """Run the layers one after the other."""
        for layer in self:
            outputs = layer(*inputs)
            inputs = as_tuple(outputs)
        return outputs


def as_tuple(outputs: Any) -> tuple[Tensor, ...]:
    """Return the outputs of a layer as a tuple, also where it is one tensor."""
    return outputs if isinstance(outputs, tuple) else (outputs,)


def build(config: Config, names: tuple[str, ...] | None = None, device: str | None = None) -> Network:
    """Build the network, or the stage of the layers with the given names, with initial weights.

    Every layer draws its weights from a seed of its own, so that a stage starts as the network does. On the
    device ``"meta"`` it has shapes and no numbers.
    """
    makers = dict(network.layers(config.model))

    def make(name: str) -> nn.Module:
        torch.manual_seed(_seed(config.seed, name))
        return makers[name]()

    with torch.device("meta" if device == "meta" else "cpu"):
        stage = Network(OrderedDict((name, make(name)) for name in makers if names is None or name in names))
        for owner, sharer in network.TIES:
            layer, parameter = owner.split(".", 1)
            layers = dict(stage.named_children())
            if sharer.split(".")[0] in layers:
                first = layers[layer] if layer in layers else make(layer)
                _set_parameter(stage, sharer, first.get_parameter(parameter))
    return stage.to(device or config.device)


def _set_parameter(module: nn.Module, path: str, parameter: nn.Parameter) -> None:
    parent, name = path.rsplit(".", 1)
    setattr(module.get_submodule(parent), name, parameter)


def save_weights(module: nn.Module, path: Path = WEIGHTS) -> None:
    """Write the parameters; shared ones once, under the name of their owner."""
    tensors = {name: parameter.detach().cpu().contiguous() for name, parameter in module.named_parameters()}
    with whole(path) as beside:
        save_file(tensors, beside)


def load_weights(config: Config, path: Path = WEIGHTS) -> Network:
    """Build the network with the weights of a file.

    Raises
    ------
    OSError, RuntimeError
        The file cannot be read, or is of another network.
    """
    module = build(config)
    tensors = load_tensors(path)
    shared = {sharer: tensors[owner] for owner, sharer in network.TIES if owner in tensors}
    module.load_state_dict(tensors | shared)
    return module


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read named tensors.

    Raises
    ------
    OSError, ValueError
        The file cannot be read, or is damaged.
    """
    try:
        return load_file(path)
    except OSError:
        raise
    except Exception as error:  # the library's own exception
        raise ValueError(f"{path} is not a valid file of weights: {error}") from None


def forward(config: Config, module: nn.Module, batch: Batch, precision: str | None = None) -> Tensor:
    """Loss of a batch, computed in the configured precision."""
    inputs, targets = on_device(config, batch)
    with in_precision(config, precision):
        outputs = module(*inputs)
    return network.loss(outputs.float(), targets)


def in_precision(config: Config, precision: str | None = None) -> AbstractContextManager[Any]:
    """Let matrix products run in the configured precision; weights and losses stay in float32."""
    mixed = (precision or config.train.precision) == "bfloat16"
    return torch.autocast(torch.device(config.device).type, torch.bfloat16, enabled=mixed)


def single(config: Config) -> Config:
    """Return the configuration in float32, for comparisons that are too fine for bfloat16."""
    return replace(config, train=replace(config.train, precision="float32"))


def on_device(config: Config, batch: Batch) -> Batch:
    """Move a batch to the device."""
    inputs, targets = batch
    return tuple(tensor.to(config.device) for tensor in inputs), targets.to(config.device)


def generator(config: Config, split: str, index: int) -> torch.Generator:
    """Random generator of one batch, independent of the order in which batches are drawn."""
    return torch.Generator().manual_seed(_seed(config.seed, split, index))


def _seed(*parts: object) -> int:
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def rows(count: int, split: str, index: int, size: int, random: torch.Generator) -> Tensor:
    """Choose rows of a user's examples: every tenth for evaluation, in order; the others at random."""
    if count < 10:
        raise ValueError(f"there are {count} examples; there must be 10 or more")
    if split == "evaluation":
        return (torch.arange(index * size, (index + 1) * size) % (count // 10)) * 10
    others = torch.randint(count - (count + 9) // 10, (size,), generator=random)
    return others + others // 9 + 1


def settings(name: str) -> dict[str, Any]:
    """Return the settings of an extension, from ``extended.json``.

    Raises
    ------
    OSError, ValueError
        The file cannot be read, or has no settings of this name.
    """
    path = Path("extended.json")
    try:
        return dict(json.loads(path.read_bytes())[name])
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path} has no table {name!r}") from None
