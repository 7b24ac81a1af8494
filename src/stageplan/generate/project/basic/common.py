"""Shared by all commands: the configuration, the network and its weights, and files of results."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import resource
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import network

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # needed for reproducible results on a GPU

ARTEFACTS = Path("artefacts")
WEIGHTS = ARTEFACTS / "model.safetensors"
RUN_CODE = (".pt2", ".so")  # endings of files that may run code when they are opened

# Precision -> the type of number that matrix products are computed in, if it is not that of the weights.
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
SCHEDULES = ("constant", "cosine", "linear")  # of the learning rate
IS_FIRST = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun starts; it alone writes

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
    in `micro_batches` equal parts whose gradients add up, and are cut to the norm `clip_norm`. The learning
    rate rises over `warm_up_steps`, and then follows the schedule. There is validation every `validate_every`
    steps, until `patience` of them bring no improvement, and a checkpoint every `checkpoint_every` steps and
    `checkpoint_parts` parts of a batch; 0 for none. In comparisons training is `exact`: without dropout, and
    with the statistics of a normalisation by batch as they are.
    """

    steps: int
    quick_steps: int
    batch: int
    learning_rate: float
    weight_decay: float = 0.0
    micro_batches: int = 1
    precision: str = "float32"
    schedule: str = "constant"
    warm_up_steps: int = 10
    clip_norm: float | None = None
    validate_every: int = 0
    patience: int = 0
    checkpoint_every: int = 0
    checkpoint_parts: int = 0
    tensorboard: bool = False
    exact: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "quick_steps", "batch", "micro_batches"):
            _require_whole(name, getattr(self, name), 1)
        for name in ("warm_up_steps", "validate_every", "patience", "checkpoint_every", "checkpoint_parts"):
            _require_whole(name, getattr(self, name), 0)
        _require_choice("precision", self.precision, PRECISIONS)
        _require_choice("schedule", self.schedule, SCHEDULES)
        for name in ("tensorboard", "exact"):
            _require(name, getattr(self, name), isinstance(getattr(self, name), bool), "true or false")
        _require("learning_rate", self.learning_rate, _is_positive(self.learning_rate), "more than 0")
        clipped = self.clip_norm is None or _is_positive(self.clip_norm)
        _require("clip_norm", self.clip_norm, clipped, "more than 0, or null")
        patient = not self.patience or self.validate_every > 0
        _require("patience", self.patience, patient, "0 where validate_every is 0")


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
    except (TypeError, ValueError) as error:  # names what is missing or not valid
        raise ValueError(f"{where}: {error}") from None


def _require(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value!r}; it must be {allowed}")


def _require_whole(name: str, value: object, least: int) -> None:
    holds = isinstance(value, int) and not isinstance(value, bool) and value >= least
    _require(name, value, holds, f"a whole number, {least} or more")


def _require_choice(name: str, value: object, choices: Iterable[str]) -> None:
    _require(name, value, value in tuple(choices), f"one of {', '.join(map(repr, choices))}")


def _is_positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


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
        if IS_FIRST:
            target.unlink(missing_ok=True)  # metrics of an earlier run must not remain
        config = read_config(options.config)
        torch.set_num_threads(max(1, config.threads // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
        if config.device != "cpu":  # results on a processor are reproducible anyway
            torch.use_deterministic_algorithms(True)
        numbers = {**work(config, options.mode == "quick"), "peak_memory": peak_memory()}
        _refuse_infinite(numbers)
        if IS_FIRST:
            write_json(target, numbers)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        sentence = " ".join(str(error).split())
        print(f"{name}: {sentence or type(error).__name__}", file=sys.stderr)
        sys.exit(1)
    if IS_FIRST:
        print(json.dumps(numbers))


def _options(name: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"{name}.py", description=sys.modules["__main__"].__doc__)
    parser.add_argument("--config", type=Path, default=Path("config.json"))
    parser.add_argument(
        "--mode", choices=("quick", "full"), default="full", help="quick: train and infer little"
    )
    return parser.parse_args()


def peak_memory() -> int:
    """Bytes of main memory that this process has occupied at most, with what PyTorch itself occupies."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def note(words: str) -> None:
    """Say something that belongs to the result of a command."""
    print(f"note: {words}")


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
    """Give a temporary file to write, and rename it to `path` when it is complete.

    Beside a file that may run code when it is opened, its checksum is written, as ``sha256sum`` reads it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield beside
        beside.replace(path)
        if path.suffix in RUN_CODE:
            with path.open("rb") as stream, whole(_checksum_file(path)) as text:
                text.write_text(f"{_sha256(stream)}  {path.name}\n")
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def verified(path: Path) -> Iterator[BinaryIO]:
    """Open a file that may run code, after its checksum was compared with the one written beside it.

    Raises
    ------
    OSError, ValueError
        The file or its checksum cannot be read, or they do not match.
    """
    with path.open("rb") as stream:
        if _sha256(stream) not in _checksum_file(path).read_text().split():
            raise ValueError(f"{path} is not opened: it has another checksum than in {_checksum_file(path)}")
        stream.seek(0)
        yield stream


def _sha256(stream: BinaryIO) -> str:
    found = hashlib.sha256()
    while part := stream.read(2**20):
        found.update(part)
    return found.hexdigest()


def _checksum_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


# The network --------------------------------------------------------------------------------------------


def as_tuple(outputs: Any) -> tuple[Tensor, ...]:
    """Return the outputs of a layer as a tuple, also where it is one tensor."""
    return outputs if isinstance(outputs, tuple) else (outputs,)


def build(config: Config, device: str | None = None) -> nn.Module:
    """Build the network with initial weights. On the device ``"meta"`` it has shapes and no numbers."""
    with torch.device("meta" if device == "meta" else "cpu"):
        module = network.build(config.model, config.seed)
    return module.to(device or config.device)


def save_weights(module: nn.Module, path: Path = WEIGHTS) -> None:
    """Write parameters and buffers; shared ones once, under their first name."""
    state = module.state_dict()
    tensors = {name: state[name].cpu().contiguous() for name in dict.fromkeys(_first_names(module).values())}
    with whole(path) as beside:
        save_file(tensors, beside)


def load_weights(config: Config, path: Path = WEIGHTS) -> nn.Module:
    """Build the network with the weights of a file.

    Raises
    ------
    OSError, RuntimeError
        The file cannot be read, or is of another network.
    """
    module = build(config)
    tensors = load_tensors(path)
    firsts = _first_names(module).items()
    module.load_state_dict(tensors | {name: tensors[first] for name, first in firsts if first in tensors})
    return module


def _first_names(module: nn.Module) -> dict[str, str]:
    """Map the name of each parameter and buffer to the first name that the same tensor has."""
    firsts: dict[int, str] = {}
    state = module.state_dict(keep_vars=True)  # the tensors themselves
    return {name: firsts.setdefault(id(tensor), name) for name, tensor in state.items()}


def ties(config: Config) -> list[tuple[str, ...]]:
    """Return the names of each parameter that has several, the first one first."""
    names: dict[str, list[str]] = {}
    for name, first in _first_names(build(config, "meta")).items():
        names.setdefault(first, []).append(name)
    return [tuple(group) for group in names.values() if len(group) > 1]


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
    kind = PRECISIONS[precision or config.train.precision]
    return torch.autocast(torch.device(config.device).type, kind or torch.bfloat16, enabled=kind is not None)


def check_precision(config: Config) -> None:
    """Compute a product in the configured precision.

    Raises
    ------
    ValueError
        PyTorch does not do so on the device.
    """
    numbers = torch.ones(1, 1, device=config.device)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is not supported
            with in_precision(config):
                computed = (numbers @ numbers).dtype
    except RuntimeError:
        computed = None
    if computed != (PRECISIONS[config.train.precision] or torch.float32):
        raise ValueError(
            f"precision is {config.train.precision!r}; PyTorch {torch.__version__} does not compute in it on "
            f"{config.device}, where it must be another one, 'float32' for instance"
        )


def single(config: Config) -> Config:
    """Return the configuration for comparisons: in float32, and with training whose parts do not matter."""
    return replace(config, train=replace(config.train, precision="float32", exact=True))


def on_device(config: Config, batch: Batch) -> Batch:
    """Move a batch to the device."""
    inputs, targets = batch
    return tuple(tensor.to(config.device) for tensor in inputs), targets.to(config.device)


def generator(config: Config, split: str, index: int) -> torch.Generator:
    """Random generator of one batch, independent of the order in which batches are drawn."""
    return torch.Generator().manual_seed(_seed(config.seed, split, index))


def seed_dropout(config: Config, *place: int) -> None:
    """Draw the random numbers of dropout anew from a place in the training, where it may be resumed."""
    torch.manual_seed(_seed(config.seed, "dropout", *place))


def _seed(*parts: object) -> int:
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def rows(config: Config, count: int, split: str, index: int, size: int, random: torch.Generator) -> Tensor:
    """Choose rows of a user's examples: every tenth for evaluation, in order; the others at random.

    Where there is validation, it has those after the ones for evaluation, and training the rest.
    """
    if count < 10:
        raise ValueError(f"there are {count} examples; there must be 10 or more")
    if split != "training":
        first = ("evaluation", "validation").index(split)
        return (torch.arange(index * size, (index + 1) * size) % (count // 10)) * 10 + first
    kept = 2 if config.train.validate_every else 1  # of ten, not for training
    whole_tens, rest = divmod(count, 10)
    others = torch.randint(whole_tens * (10 - kept) + max(0, rest - kept), (size,), generator=random)
    return others + others // (10 - kept) * kept + kept


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
