"""The specification: service requirement, hardware requirement, and how to meet them."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from ..cluster import DeviceType
from ..errors import InputError
from ..fields import Bytes, Positive, check_fields, json_schema, not_negative, positive, whole
from ..readers.bounded import about, as_path, from_json, from_toml, read_bytes, to_text
from ..readers.documents import build
from .amounts import LocalPath, Parts, Size, TimeLimit
from .extensions import MAKERS, Extend
from .model import SOURCES, Model, Source

Task = Literal["causal-language-model", "text-classification", "image-classification", "click-through-rate"]
Engine = Literal["docker", "apptainer"]
TASKS: tuple[Task, ...] = get_args(Task)
# Task -> its default input shape, and its metrics, the default one first.
_SHAPES: dict[Task, tuple[int, ...]] = {
    "causal-language-model": (32,),
    "text-classification": (32,),
    "image-classification": (3, 16, 16),
    "click-through-rate": (8, 8),
}
_SHAPE_WORDS: dict[Task, str] = {
    "causal-language-model": "[tokens]",
    "text-classification": "[tokens]",
    "image-classification": "[channels, height, width]",
    "click-through-rate": "[numbers, categories]",
}
_METRICS: dict[Task, tuple[str, ...]] = {
    "causal-language-model": ("perplexity", "loss"),
    "text-classification": ("accuracy", "loss"),
    "image-classification": ("accuracy", "loss"),
    "click-through-rate": ("auc", "loss"),
}
# Source of a network of the user's own -> the tasks that it has networks for.
_TASKS_OF: dict[Source, tuple[Task, ...]] = {
    "factory": TASKS,
    "hf": ("causal-language-model", "text-classification", "image-classification"),
    "torchvision": ("image-classification",),
    "timm": ("image-classification",),
}
# Task -> the sizes that random examples for a user's own function need.
_SIZES_OF: dict[Task, tuple[str, ...]] = {
    "causal-language-model": ("vocabulary",),
    "text-classification": ("vocabulary", "classes"),
    "image-classification": ("classes",),
    "click-through-rate": ("vocabulary",),
}
_OWN_IMAGE = (3, 224, 224)  # default shape of an image for a network of the user's own
# Metric -> the values that it can have, and these in words.
_REACHABLE: dict[str, tuple[float, float, str]] = {
    "perplexity": (1.0, math.inf, "1 or more"),
    "accuracy": (0.0, 1.0, "a fraction from 0 to 1"),
    "auc": (0.0, 1.0, "a fraction from 0 to 1"),
}
_HOST = r"([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:]+\])"
_TARGET = rf"^(local|ssh:([A-Za-z0-9_][A-Za-z0-9_.-]*@)?{_HOST}(:[0-9]{{1,5}})?)\Z"

RunName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z",
        description="1 to 64 letters, digits, '.', '_' or '-', a letter or a digit first",
    ),
]
TargetName = Annotated[
    str, Meta(pattern=_TARGET, description="'local', 'ssh:USER@HOST' or 'ssh:USER@HOST:PORT'")
]
Requirement = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?==[A-Za-z0-9][A-Za-z0-9.!+_-]*\Z")
]
Version = Annotated[
    str, Meta(pattern=r"^[0-9]+(\.[0-9]+)*\Z", description="numbers separated by dots, as '550.54'")
]
Url = Annotated[
    str,
    Meta(
        pattern=r"^(https?|file)://[^\s]+\Z",
        description="a URL that begins with https://, http:// or file://",
    ),
]
TargetPath = Annotated[LocalPath, Meta(description="a path on the target")]


class Service(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The service requirement: task sizes, quality and speed of the model.

    Parameters
    ----------
    model : Model
        Size of the network, or a network of the user's own.
    input_shape : tuple of int
        Shape of one example: ``[tokens]``, ``[channels, height, width]``, or ``[numbers, categories]`` for
        click-through rate; empty for the task's default.
    batch : int
        Examples in a batch.
    precision : {"float32", "bfloat16", "float16"}
        Precision of matrix products in training and inference; weights and losses are in float32. With
        float16 the loss is scaled, so that small gradients are not lost.
    metric : str, optional
        Measure of quality: ``perplexity``, ``accuracy`` or ``auc``, by task, or ``loss``.
    threshold : float, optional
        Limit of the metric after the full training: a maximum for perplexity and loss, a minimum for
        accuracy and auc.
    max_latency : float, optional
        Maximum seconds for inference of one batch.
    min_throughput : float, optional
        Minimum examples/s of inference, and of a plan for pipelined training.
    """

    model: Model = Model()
    input_shape: Annotated[
        tuple[Parts, ...], Meta(max_length=3, description="a list of up to 3 whole numbers from 1 to 2**20")
    ] = ()
    batch: Parts = 16
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    metric: Annotated[str, Meta(description="the name of a metric of the task")] | None = None
    threshold: Annotated[float, not_negative()] | None = None
    max_latency: Annotated[float, positive("seconds")] | None = None
    min_throughput: Annotated[float, positive("examples/s")] | None = None

    def __post_init__(self) -> None:
        check_fields(self, "service")

    @property
    def higher_is_better(self) -> bool:
        """Whether the threshold is a minimum of the metric."""
        return self.metric in ("accuracy", "auc")


class Hardware(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The hardware requirement: properties of the target, and the device types that a plan may use.

    Parameters
    ----------
    device : {"cpu", "cuda"}
        Device that the project computes on.
    cores : int
        Processor cores that may be used.
    memory : float
        Bytes of main memory.
    instruction_sets : tuple of str
        As listed by the processor, e.g. ``"avx2"``.
    accelerators : int
        Number of accelerators.
    accelerator_memory : float
        Bytes of memory of each accelerator.
    driver : str, optional
        Oldest accepted driver of the accelerators, e.g. ``"550.54"``.
    types : tuple of DeviceType
        Device types for pipelined training; `limit` is their number and `capacity` their memory.
    """

    device: Literal["cpu", "cuda"] = "cpu"
    cores: Size = 1
    memory: Bytes = 0.0
    instruction_sets: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[a-z0-9_]+\Z")], ...],
        Meta(description="a list of names in small letters, digits and _"),
    ] = ()
    accelerators: Annotated[int, whole(0, 2**20)] = 0
    accelerator_memory: Bytes = 0.0
    driver: Version | None = None
    types: Annotated[tuple[DeviceType, ...], Meta(description="a list of device types")] = ()

    def __post_init__(self) -> None:
        check_fields(self, "hardware")

    @property
    def of_target(self) -> Hardware:
        """The requirement of the target, without the device types, which only a plan uses."""
        return msgspec.structs.replace(self, types=())


class Environment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the project's packages come from.

    Parameters
    ----------
    reuse : str, optional
        An existing virtual environment, or Python interpreter, on the target; it is checked and not changed.
        Absent: an environment is made.
    python : str, optional
        Interpreter to make the environment with; default: the running one, or ``python3`` over ssh.
    torch : str
        Version of PyTorch.
    requirements : tuple of str
        Additional packages, or versions that differ from the defaults, as ``"name==version"``.
    index : str, optional
        URL of an additional package index.
    container : {"docker", "apptainer"}, optional
        Engine with which the test also builds a container on this machine, and infers in it.
    time_limit : float
        Maximum seconds for installation.
    """

    reuse: TargetPath | None = None
    python: Annotated[TargetPath, Meta(description="a program on the target")] | None = None
    torch: Annotated[
        str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.!+_-]*\Z", description="a version, as '2.13.0'")
    ] = "2.13.0"
    requirements: Annotated[tuple[Requirement, ...], Meta(description="a list of 'name==version'")] = ()
    index: Url | None = None
    container: Engine | None = None
    time_limit: TimeLimit = 1800.0

    def __post_init__(self) -> None:
        check_fields(self, "environment")


class Training(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the network is trained.

    Parameters
    ----------
    steps : int, optional
        Updates of the weights in a full training; default: the preset's.
    quick_steps : int, optional
        Updates of the weights in a quick training; default: the preset's.
    learning_rate : float, optional
        Learning rate of the optimizer; default: the preset's.
    schedule : {"constant", "cosine", "linear"}
        The learning rate after `warm_up_steps`: as it is, or falling to 0 at the end.
    warm_up_steps : int
        Steps in which the learning rate rises from 0.
    clip_norm : float, optional
        Maximum norm of the gradients of a step.
    micro_batches : int
        Equal parts of a batch that are computed one after the other, and whose gradients are accumulated.
    validate_every : int, optional
        Steps between measurements of the metric on examples for validation; the weights with the best metric
        are kept. Default: none, and the last weights are kept.
    patience : int, optional
        Validations without improvement after which training stops; it needs `validate_every`.
    checkpoint_every : int, optional
        Steps between checkpoints, from which an interrupted training goes on.
    checkpoint_parts : int, optional
        Parts of a batch between checkpoints inside a step; it needs `micro_batches`.
    tensorboard : bool
        Whether to log for TensorBoard too, which is installed then.
    time_limit : float
        Maximum seconds for one command of the project.
    """

    steps: Size | None = None
    quick_steps: Size | None = None
    learning_rate: Positive | None = None
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    warm_up_steps: Annotated[int, whole(0, 2**31 - 1)] = 10
    clip_norm: Positive | None = None
    micro_batches: Parts = 1
    validate_every: Size | None = None
    patience: Size | None = None
    checkpoint_every: Size | None = None
    checkpoint_parts: Parts | None = None
    tensorboard: bool = False
    time_limit: TimeLimit = 3600.0

    def __post_init__(self) -> None:
        check_fields(self, "training")
        if self.patience is not None and self.validate_every is None:
            raise InputError(f"patience is {self.patience}; it needs validate_every (training)")
        if self.checkpoint_parts is not None and self.micro_batches == 1:
            raise InputError(
                f"checkpoint_parts is {self.checkpoint_parts}; it needs micro_batches of 2 or more (training)"
            )


class Data(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The user's own examples.

    Parameters
    ----------
    file : str, optional
        Text (language model), CSV (text classification, click-through rate) or .npz (images); for a network
        of the user's own text, CSV, JSON Lines or Parquet. Its path is relative to the specification's.
        Absent: synthetic examples that follow a rule.
    folder : str, optional
        For a network of the user's own: a folder with a folder of images for each class, or one that the
        library datasets has saved.
    tokenizer : str, optional
        For a network of the user's own: a ``tokenizer.json``, instead of one beside its configuration.
    """

    file: LocalPath | None = None
    folder: LocalPath | None = None
    tokenizer: LocalPath | None = None

    def __post_init__(self) -> None:
        check_fields(self, "data")
        if self.file is not None and self.folder is not None:
            raise InputError(f"folder is {self.folder!r}; it must be absent where there is a file (data)")


class Ssh(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a target over ssh.

    Parameters
    ----------
    directory : str, optional
        Directory on the target: new, empty, or of this run; default: one in ``.stageplan`` of the user's
        home, for each run.
    config : str, optional
        Configuration file of the OpenSSH client instead of the user's; relative to the specification's file.
    connect_timeout : int
        Maximum seconds to connect.
    """

    directory: TargetPath | None = None
    config: LocalPath | None = None
    connect_timeout: Annotated[int, whole(1, 3600)] = 10

    def __post_init__(self) -> None:
        check_fields(self, "ssh")


class Spec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requirements of a model to generate.

    Parameters
    ----------
    name : str
        Letters, digits, ``.``, ``_`` and ``-``.
    task : str
        One of `TASKS`.
    target : str
        ``"local"``, or ``"ssh:USER@HOST"``, with ``:PORT`` where it is not the default port.
    seed : int
        Seed of weights, examples and searches.
    service, hardware, environment, training, data, extend, ssh
        See `Service`, `Hardware`, `Environment`, `Training`, `Data`, `Extend` and `Ssh`.

    Raises
    ------
    ValueError, TypeError
        A field is not as described, or not valid for the task.
    """

    name: RunName
    task: Task
    target: TargetName = "local"
    seed: Annotated[int, whole(0, 2**31 - 1)] = 0
    service: Service = Service()
    hardware: Hardware = Hardware()
    environment: Environment = Environment()
    training: Training = Training()
    data: Data = Data()
    extend: Extend = Extend()
    ssh: Ssh = Ssh()

    def __post_init__(self) -> None:
        check_fields(self, "specification")
        self._check_model()
        self._fill_service()
        self._check_extension()
        self._check_server()
        self._check_variants()

    def _check_model(self) -> None:
        """Check that a network of the user's own is for the task, and that its examples' sizes are known."""
        model, source = self.service.model, self.service.model.source
        if source is not None and self.task not in _TASKS_OF[source]:
            raise InputError(
                f"service.model.{source} is {getattr(model, source)!r}; for {self.task} it must be absent, "
                f"and {' or '.join(one for one in SOURCES if self.task in _TASKS_OF[one])} may be given"
            )
        if source == "hf" and model.vocabulary is not None:
            raise InputError(f"service.model.vocabulary is {model.vocabulary}; with hf it must be absent")
        for name in ("folder", "tokenizer") if source is None else ():
            if getattr(self.data, name) is not None:
                raise InputError(
                    f"data.{name} is {getattr(self.data, name)!r}; for a built-in network it must be absent"
                )
        for name in _SIZES_OF[self.task] if source == "factory" else ():
            if getattr(model, name) is None:
                raise InputError(
                    f"service.model.{name} is absent; with factory it must be given for {self.task}"
                )

    def _fill_service(self) -> None:
        """Fill in the task's default shape and metric, and check given ones."""
        service, shape, metrics = self.service, _SHAPES[self.task], _METRICS[self.task]
        if service.model.source is not None and self.task == "image-classification":
            shape = _OWN_IMAGE
        if service.input_shape and len(service.input_shape) != len(shape):
            raise InputError(
                f"service.input_shape is {list(service.input_shape)}; for {self.task} it must be "
                f"{_SHAPE_WORDS[self.task]}"
            )
        if service.metric is not None and service.metric not in metrics:
            raise InputError(
                f"service.metric is {service.metric!r}; for {self.task} it must be one of "
                f"{', '.join(map(repr, metrics))}"
            )
        _check_threshold(service.metric or metrics[0], service.threshold)
        filled = msgspec.structs.replace(
            service, input_shape=service.input_shape or shape, metric=service.metric or metrics[0]
        )
        msgspec.structs.force_setattr(self, "service", filled)

    def _check_server(self) -> None:
        server, batch = self.extend.server, self.service.batch
        if server.max_examples is not None and server.max_examples < batch:
            raise InputError(
                f"extend.server.max_examples is {server.max_examples}; it must be at least {batch}, the "
                "batch of the service"
            )
        if server.class_names and "accuracy" not in _METRICS[self.task]:
            raise InputError(
                f"extend.server.class_names has {len(server.class_names)} names; {self.task} has no classes"
            )

    def _check_variants(self) -> None:
        steps, precision, variant = self.extend.steps, self.service.precision, self.extend.server.variant
        if "bfloat16" in steps and precision == "bfloat16":
            raise InputError(
                "extend.steps has 'bfloat16'; service.precision is 'bfloat16' already, so it must have others"
            )
        if variant == "float32" != precision:
            raise InputError(
                f"extend.server.variant is 'float32'; service.precision is {precision!r}, and so it must be "
                "absent or another one"
            )
        maker = None if variant is None or variant == precision else MAKERS.get(variant)
        if maker is not None and maker not in steps:
            raise InputError(
                f"extend.server.variant is {variant!r}; then extend.steps must have {maker!r}, which makes it"
            )
        self._check_student()

    def _check_student(self) -> None:
        """Refuse a student that is not smaller, as far as the specification gives both sizes."""
        model, student = self.service.model, self.extend.distill
        if "distill" in self.extend.steps and model.source is not None:
            raise InputError(
                f"extend.steps has 'distill'; with service.model.{model.source} it must have others, since a "
                "student is made by the sizes of a built-in network"
            )
        for name, size, of_teacher in (
            ("layers", student.layers, model.layers),
            ("width", student.width, model.width),
        ):
            if size is not None and of_teacher is not None and size > of_teacher:
                raise InputError(
                    f"extend.distill.{name} is {size}; it must be at most {of_teacher}, that of the network"
                )

    def _check_extension(self) -> None:
        extend, batch = self.extend, self.service.batch
        pipelined = not {"pipeline", "replicas", "stages"}.isdisjoint(extend.steps)
        parts = [(pipelined, "pipeline.microbatches", extend.pipeline.microbatches)]
        parts += [("accumulation" in extend.steps, "accumulation", extend.accumulation)]
        parts += [("data-parallel" in extend.steps, "processes", extend.processes)]
        parts = [(used, f"extend.{name}", count) for used, name, count in parts]
        parts += [(True, "training.micro_batches", self.training.micro_batches)]
        for used, name, count in parts:
            if used and batch % count:
                raise InputError(f"{name} is {count}; it must divide service.batch, {batch}")
        if pipelined and self.service.precision == "float16":
            raise InputError(
                "service.precision is 'float16', whose losses pipelined training does not scale; with "
                "'pipeline' in extend.steps it must be 'float32' or 'bfloat16'"
            )
        if pipelined and not self.hardware.types and extend.pipeline.plan is None:
            raise InputError(
                "hardware.types is empty; to plan a pipeline it must be a list of 1 device type or more, "
                "or extend.pipeline.plan must name a plan file"
            )


def _check_threshold(metric: str, threshold: float | None) -> None:
    """Refuse a threshold that no network can reach."""
    least, most, allowed = _REACHABLE.get(metric, (0.0, math.inf, ""))
    if threshold is not None and not least <= threshold <= most:
        raise InputError(f"service.threshold is {threshold:g}; for {metric} it must be {allowed}")


def read_spec(path: str | os.PathLike[str], target: str | None = None) -> Spec:
    """Read a specification from TOML, or from the JSON that a run writes.

    Parameters
    ----------
    path : str or path
        The file. Paths in it are relative to its folder, and absolute in the returned specification.
    target : str, optional
        Instead of the target in the file.

    Returns
    -------
    Spec
        The specification.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is neither TOML nor JSON, or a field is missing, unknown or not valid.
    """
    path = as_path("path", path)
    with about(path):
        text = to_text(read_bytes(path))
        spec = build(Spec, from_json(text) if path.suffix == ".json" else from_toml(text))
    spec = spec if target is None else msgspec.structs.replace(spec, target=target)
    return _absolute(spec, path.resolve().parent)


def _absolute(spec: Spec, folder: Path) -> Spec:
    def joined(file: str | None) -> str | None:
        return None if file is None else str(folder / file)

    replace = msgspec.structs.replace
    model = spec.service.model
    hf = None if model.hf is None else joined(model.hf)
    model = replace(
        model,
        path=joined(model.path),
        hf=hf if hf is not None and Path(hf).is_dir() else model.hf,  # else a name
    )
    pipeline = replace(spec.extend.pipeline, plan=joined(spec.extend.pipeline.plan))
    environment = spec.environment
    if spec.target == "local":
        environment = replace(environment, reuse=joined(environment.reuse))
    return replace(
        spec,
        service=replace(spec.service, model=model),
        environment=environment,
        data=Data(**{name: joined(file) for name, file in msgspec.structs.asdict(spec.data).items()}),
        extend=replace(spec.extend, pipeline=pipeline),
        ssh=replace(spec.ssh, config=joined(spec.ssh.config)),
    )


def schema() -> dict[str, Any]:
    """JSON Schema of a specification."""
    return json_schema(Spec)
