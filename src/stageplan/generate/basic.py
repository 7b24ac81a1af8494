"""The basic function: a project that trains, evaluates, exports and infers, and the results of running it."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import msgspec

from ..errors import InputError
from ..output import to_json
from . import examples, own
from .digests import bytes_sha256, sha256
from .environment import GIB, installed
from .extensions import MAKERS
from .folders import staged, write_files
from .layout import CASES_FILE, CONFIG_FILE, METRICS, PROJECT
from .results import BasicResult, EnvironmentReport, StepError, Training, artefacts_of, code_of
from .spec import Spec, Task
from .target import Target

DEFAULTS_FILE = "defaults.toml"
COMMANDS = ("train", "evaluate", "export", "infer")
SHORT = "time_limit = 300\n"  # of cases of a built-in network
LONG = "time_limit = 3600\n"  # of the cases that train as long as the specification says

# Names of the dimensions of a task's input shape in its network.
_SHAPES: dict[Task, tuple[str, ...]] = {
    "causal-language-model": ("tokens",),
    "text-classification": ("tokens",),
    "image-classification": ("channels", "rows", "columns"),
    "click-through-rate": ("numbers", "categories"),
}
# Name of the first layer of a task's network, and prefix of its repeated layers; the last one is ``head``.
_LAYERS: dict[Task, tuple[str, str]] = {
    "causal-language-model": ("embedding", "block"),
    "text-classification": ("embedding", "block"),
    "image-classification": ("stem", "block"),
    "click-through-rate": ("embedding", "cross"),
}
# Fields of the training that the project has too, and those that what is learned depends on.
_LEARNING = (
    "steps",
    "quick_steps",
    "learning_rate",
    "schedule",
    "warm_up_steps",
    "clip_norm",
    "validate_every",
)
_TRAINING = (
    *_LEARNING, "micro_batches", "patience", "checkpoint_every", "checkpoint_parts", "tensorboard",
)  # fmt: skip
_BYTE_VALUES = 256  # a text has one token for each byte
_NORM_GROUPS = 4  # groups of channels in the group normalisation of images
_DEFAULT_BATCH = 16  # the batch that the default thresholds were measured with


def build(
    spec: Spec, report: EnvironmentReport, target: Target, directory: Path, *, training: Training
) -> BasicResult:
    """Generate the project and run it on the target: train, evaluate, export, infer.

    Parameters
    ----------
    spec : Spec
        The requirements.
    report : EnvironmentReport
        The environment to run in.
    target : Target
        Where to run.
    directory : pathlib.Path
        Directory of the run; after success its ``project`` is replaced, and then ``cases.toml``.
    training : {"quick", "full", "none"}
        Length of the training.

    Returns
    -------
    BasicResult
        The manifest of the generated project.

    Raises
    ------
    ValueError
        A size is not valid for the task.
    StepError
        The requirements cannot be met, or a command did not succeed.
    TargetError
        The target cannot be reached, or was lost.
    """
    start = time.monotonic()
    with staged(directory / PROJECT) as project:
        write_project(spec, report, project)
        with running("basic", spec, report, target, project) as runner:
            first, after = commands(spec, training)
            runner.run(*first, training=training)
            check_memory(spec, runner.numbers("sizes"), training)
            runner.run(*after, training=training)
            metrics = {command: runner.numbers(command) for command in (*first, *after)}
            runner.notes += memory_notes(spec, metrics)
        result = BasicResult(
            training=training,
            config_sha256=sha256(project / CONFIG_FILE),
            artefacts=artefacts_of(project),
            metrics=metrics,
            versions=versions(report),
            files=code_of(project),
            cases_sha256=bytes_sha256(cases_text(spec, [])),
            seconds=time.monotonic() - start,
            notes=tuple(runner.notes),
        )
    write_cases(spec, directory, [])
    return result


def commands(spec: Spec, training: Training) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the commands that see whether the requirement can be met, and those that then meet it."""
    first = own.commands(spec, training) if spec.service.model.source is not None else ()
    return (*first, "sizes"), COMMANDS[2:] if training == "none" else COMMANDS


# The project's files ------------------------------------------------------------------------------------


def write_project(spec: Spec, report: EnvironmentReport, project: Path) -> None:
    """Write the files of the basic function, unchanged, and this project's configuration."""
    copy_files(project, "basic", _file_names("basic", {CASES_FILE}))
    source_of_network = spec.service.model.source
    if source_of_network is None:
        copy_files(project, "built-in", _file_names("built-in", set()))
    else:
        copy_files(project, "built-in", ["sequence.py"])
        copy_files(project, f"own-{source_of_network}", _file_names(f"own-{source_of_network}", set()))
        own.copy(spec, project)
    copy_files(project, _template(spec), _file_names(_template(spec), {DEFAULTS_FILE}))
    source = examples.source_of(spec)
    examples.copy(spec, project)
    (project / CONFIG_FILE).write_bytes(to_json(configuration(spec, source)) + b"\n")
    required = installed(report.requirements, report.lock)
    for name, packages in (("requirements.txt", required), ("requirements.lock", report.lock)):
        (project / name).write_text("".join(f"{package}\n" for package in packages))


def _template(spec: Spec) -> str:
    """Return the folder of the network and its examples."""
    return spec.task if spec.service.model.source is None else own.OWN


def packaged(*path: str) -> Traversable:
    """Return a file or folder of the packaged project."""
    return resources.files(__package__).joinpath("project", *path)


def _file_names(folder: str, without: set[str]) -> list[str]:
    files = (file for file in packaged(folder).iterdir() if file.is_file())
    return sorted(file.name for file in files if file.name not in without)


def copy_files(project: Path, folder: str, names: Iterable[str]) -> None:
    """Copy packaged files into a project."""
    for name in names:
        (project / name).write_bytes(packaged(folder, name).read_bytes())


def write_cases(spec: Spec, directory: Path, extensions: Collection[str]) -> None:
    """Write the preset test script of the basic function and of the extensions."""
    write_files(directory, {CASES_FILE: cases_text(spec, extensions)})


def cases_text(spec: Spec, extensions: Collection[str]) -> bytes:
    """Return the preset test script of the basic function and of the extensions."""
    files = [
        packaged("basic", CASES_FILE),
        *(packaged("extended", "cases", f"{e}.toml") for e in extensions),
    ]
    text = "".join(file.read_text(encoding="utf-8") for file in files) + variant_cases(extensions)
    if spec.service.model.source is not None:
        text = own.without_learning(text).replace(SHORT, LONG)  # own networks may be large
    limit = f"time_limit = {spec.training.time_limit:g}\n"
    return text.replace(LONG, limit).encode()


def variant_cases(extensions: Collection[str]) -> str:
    """Return a case for each variant of the table, that the requirements of the service are met.

    It needs the cases of the extension that makes the variant.
    """
    if "variants" not in extensions:
        return ""
    text = packaged("extended", "cases", "variant.toml").read_text(encoding="utf-8")
    made = {variant: _names_of_cases(maker) for variant, maker in MAKERS.items() if maker in extensions}
    return "".join(
        text.replace("VARIANT", variant).replace("CASES", ", ".join(map(repr, cases)))
        for variant, cases in ({"base": ["export"]} | made).items()
    )


def _names_of_cases(extension: str) -> list[str]:
    text = packaged("extended", "cases", f"{extension}.toml").read_text(encoding="utf-8")
    return [case["name"] for case in tomllib.loads(text)["case"]]


# The configuration --------------------------------------------------------------------------------------


def configuration(spec: Spec, source: str | None) -> dict[str, Any]:
    """Return ``config.json``: the requirements, and the task's defaults for the rest.

    Parameters
    ----------
    spec : Spec
        The requirements.
    source : str, optional
        File of examples in the project; None for synthetic examples.

    Raises
    ------
    ValueError
        A size is not valid for the task.
    """
    service, preset = spec.service, _preset(spec)
    is_own = service.model.source is not None
    model = own.sizes_of(spec) if is_own else _model(spec, preset["model"])
    model |= dict(zip(_SHAPES[spec.task], service.input_shape, strict=True))
    return {
        "name": spec.name,
        "task": spec.task,
        "seed": spec.seed,
        "device": spec.hardware.device,
        "threads": spec.hardware.cores,
        "model": model,
        "data": {"source": source, "evaluation_examples": 128 if is_own else 512},
        "train": preset["train"] | _given_fields(spec.training, *_TRAINING)
        | {"batch": service.batch, "precision": service.precision},
        "metric": {
            "name": service.metric,
            "higher_is_better": service.higher_is_better,
            **_thresholds(spec, preset),
        },
        "infer": {
            "batch": service.batch,
            "requests": 10 if is_own else 200,
            "quick_requests": 5 if is_own else 20,
            "max_latency": service.max_latency,
            "min_throughput": service.min_throughput,
        },
    }  # fmt: skip


def layer_names(spec: Spec) -> list[str]:
    """Return the names of the network's layers in order, as ``network.py`` gives them."""
    first, repeated = _LAYERS[spec.task]
    count = _model(spec, _preset(spec)["model"])["layers"]
    return [first, *(f"{repeated}{i}" for i in range(count)), "head"]


def _preset(spec: Spec) -> dict[str, Any]:
    text = packaged(_template(spec), DEFAULTS_FILE).read_text(encoding="utf-8")
    preset: dict[str, Any] = tomllib.loads(text)[spec.service.model.preset]
    return preset


def _given_fields(struct: msgspec.Struct, *names: str) -> dict[str, Any]:
    """Return the fields that are present."""
    pairs = ((name, getattr(struct, name)) for name in names)
    return {name: value for name, value in pairs if value is not None}


def _model(spec: Spec, preset: dict[str, int]) -> dict[str, int]:
    """Return the sizes of the network: those given, and the preset's for the rest."""
    given = _given_fields(spec.service.model, "layers", "width", "heads", "vocabulary", "classes")
    for name, value in given.items():
        if name not in preset:
            raise InputError(
                f"service.model.{name} is {value}; for {spec.task} it must be absent, and one of "
                f"{', '.join(preset)} may be given"
            )
    text = spec.task == "causal-language-model" and spec.data.file is not None
    sizes = preset | ({"vocabulary": _BYTE_VALUES} if text else {}) | given
    if text and sizes["vocabulary"] < _BYTE_VALUES:
        raise InputError(
            f"service.model.vocabulary is {sizes['vocabulary']}; for a text it must be {_BYTE_VALUES} or more"
        )
    divisor = sizes.get("heads", _NORM_GROUPS if spec.task == "image-classification" else 1)
    if sizes["width"] % divisor:
        raise InputError(f"service.model.width is {sizes['width']}; it must be a multiple of {divisor}")
    return sizes


def _thresholds(spec: Spec, preset: dict[str, Any]) -> dict[str, float | None]:
    """Return the thresholds of quality.

    By default they are those measured with the preset; None where anything but the preset is trained.
    """
    service = spec.service
    known = (
        spec.data.file is None
        and service.model.source is None
        and service.batch >= _DEFAULT_BATCH
        and not _given_fields(service.model, "layers", "width", "heads", "vocabulary", "classes")
        and all(getattr(spec.training, name) == getattr(type(spec.training)(), name) for name in _LEARNING)
        and service.input_shape == type(spec)(name="usual", task=spec.task).service.input_shape
    )
    whole, quick = ((preset.get(key, {}) if known else {}) for key in ("threshold", "quick_threshold"))
    threshold = whole.get(service.metric) if service.threshold is None else service.threshold
    return {"threshold": threshold, "quick_threshold": quick.get(service.metric)}


# Running it ---------------------------------------------------------------------------------------------


class Runner:
    """Runs commands of a project on its target, and copies back the files that they write."""

    def __init__(
        self, step: str, spec: Spec, report: EnvironmentReport, target: Target, project: Path
    ) -> None:
        self.step, self.spec, self.report, self.target, self.project = step, spec, report, target, project
        self.notes: list[str] = []
        self.skipped: set[str] = set()

    def run(self, *commands: str, training: Training) -> None:
        """Run commands; StepError where one fails. What one cannot do here is noted."""
        for command in commands:
            length = "full" if training == "full" else "quick"
            arguments = [self.report.python, f"{command}.py", "--mode", length]
            finished = self.target.run(arguments, self.project, limit=self.spec.training.time_limit)
            if finished.skipped:
                self.skipped.add(command)
                self.notes.append(f"{command}.py was skipped: {finished.skipped}")
            elif not finished.ok:
                raise StepError(f"{self.step}: {command}.py {finished.failure}", finished.output)
            self.notes += finished.notes
        self.target.collect(self.project)

    def numbers(self, command: str) -> dict[str, float]:
        """Return the metrics that a command wrote; none where it was skipped."""
        if command in self.skipped:
            return {}
        path = self.project / METRICS / f"{command}.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, float])
        except (FileNotFoundError, ValueError) as error:
            raise StepError(f"{self.step}: {command}.py wrote no metrics: {error}") from None


@contextmanager
def running(
    step: str, spec: Spec, report: EnvironmentReport, target: Target, project: Path
) -> Iterator[Runner]:
    """Copy a project to its target, to run its commands there, and remove the copy at the end."""
    target.place(project)
    try:
        yield Runner(step, spec, report, target, project)
    finally:
        target.remove(project)


def versions(report: EnvironmentReport) -> dict[str, str]:
    """Return the versions of the required packages."""
    wanted = {requirement.partition("==")[0].lower() for requirement in report.requirements}
    there = dict(package.split("==", 1) for package in report.lock)
    return {name: version for name, version in there.items() if name in wanted}


def check_memory(spec: Spec, sizes: dict[str, float], training: Training = "full") -> None:
    """Check that training, or inference without one, fits into the memory that is required and there."""
    hardware = spec.hardware
    field = "memory" if hardware.device == "cpu" else "accelerator_memory"
    required = getattr(hardware, field)
    limit = min(required or sizes["device_bytes"], sizes["device_bytes"])
    infers = training == "none"
    needed = sizes["inference_bytes" if infers else "training_bytes"]
    if needed > limit:
        what = "inference with" if infers else "training"
        where = f"hardware.{field} is" if limit == required else "the target has"
        raise StepError(
            f"the service requirement is impossible: {what} {sizes['parameters']:.4g} parameters needs "
            f"{needed / GIB:.4g} GiB, {where} {limit / GIB:.4g} GiB: {(needed - limit) / GIB:.4g} GiB short; "
            "use a smaller service.model or service.batch, or more memory"
        )


PREDICTED = {"train": "training_bytes", "infer": "inference_bytes"}  # command -> its prediction


def memory_notes(spec: Spec, metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Say what commands occupied at most, beside the prediction and the requirement.

    Raises
    ------
    StepError
        A command occupied more main memory than the hardware requirement gives.
    """
    notes, required = [], spec.hardware.memory
    for command, numbers in metrics.items():
        peak = numbers.get("peak_memory", 0.0)
        if required and peak > required:
            raise StepError(
                f"{command}.py occupied {peak / GIB:.4g} GiB of memory at its peak, hardware.memory is "
                f"{required / GIB:.4g} GiB: {(peak - required) / GIB:.4g} GiB short; use a smaller "
                "service.model or service.batch, or more memory"
            )
        predicted = metrics.get("sizes", {}).get(PREDICTED.get(command, ""), 0.0)
        if predicted and peak and spec.hardware.device == "cpu":
            limit = f", hardware.memory is {required / GIB:.4g} GiB" if required else ""
            notes.append(
                f"{command} occupied {peak / GIB:.4g} GiB at its peak, predicted were "
                f"{predicted / GIB:.4g} GiB (predicted / measured {predicted / peak:.2f}){limit}"
            )
    return notes
