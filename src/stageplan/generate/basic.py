"""The basic function: a project that trains, evaluates, exports and infers, and what it made."""

from __future__ import annotations

import shutil
import time
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import msgspec

from ..output import to_json
from .digests import sha256
from .folders import staged, write_files
from .results import BasicResult, EnvironmentReport, StepError, Training, artefacts_of
from .spec import Spec, Task
from .target import Target

COMMANDS = ("train", "evaluate", "export", "infer")
METRICS = "artefacts/metrics"
GIB = 2**30
LONG = "time_limit = 3600\n"  # of the cases that train as long as the specification says

# What a task's input shape says, by the names that its network has for it.
_SHAPES: dict[Task, tuple[str, ...]] = {
    "causal-language-model": ("tokens",),
    "text-classification": ("tokens",),
    "image-classification": ("channels", "rows", "columns"),
    "click-through-rate": ("numbers", "categories"),
}
# First layer of a task's network, and what its repeated ones are called; the last one is ``head``.
_LAYERS: dict[Task, tuple[str, str]] = {
    "causal-language-model": ("embedding", "block"),
    "text-classification": ("embedding", "block"),
    "image-classification": ("stem", "block"),
    "click-through-rate": ("embedding", "cross"),
}
_BYTES = 256  # different tokens of a text, each a byte
_GROUPS = 4  # of channels, which the normalisation of images is by
_USUAL_BATCH = 16  # that thresholds of the defaults were measured with


def build(
    spec: Spec, report: EnvironmentReport, target: Target, directory: Path, *, training: Training
) -> BasicResult:
    """Generate the project, and run it on the target: train, evaluate, export, infer.

    Parameters
    ----------
    spec : Spec
        What is required.
    report : EnvironmentReport
        The environment to run in.
    target : Target
        Where.
    directory : pathlib.Path
        Directory of the run; its ``project`` is written when all went well, and then ``cases.toml``.
    training : {"quick", "full"}
        How long to train.

    Returns
    -------
    BasicResult
        The manifest of what was made.

    Raises
    ------
    ValueError
        A size does not go with the task.
    StepError
        The requirements cannot be met, or a command did not succeed.
    TargetError
        The target cannot be reached, or was lost.
    """
    start = time.monotonic()
    with staged(directory / "project") as project:
        write_project(spec, report, project)
        with running("basic", spec, report, target, project) as runner:
            runner.run("sizes", training=training)
            check_memory(spec, runner.numbers("sizes"))
            runner.run(*COMMANDS, training=training)
        result = BasicResult(
            training=training,
            config_sha256=sha256(project / "config.json"),
            artefacts=artefacts_of(project),
            metrics={command: runner.numbers(command) for command in ("sizes", *COMMANDS)},
            versions=versions(report),
            seconds=time.monotonic() - start,
        )
    write_cases(spec, directory, [])
    return result


# The project's files ------------------------------------------------------------------------------------


def write_project(spec: Spec, report: EnvironmentReport, project: Path) -> None:
    """Write the files of the basic function, as they are, and the configuration of this one."""
    copy_files(project, "basic", _names("basic", {"cases.toml"}))
    copy_files(project, spec.task, _names(spec.task, {"defaults.toml"}))
    source = spec.data.file and f"examples{Path(spec.data.file).suffix}"
    if spec.data.file is not None and source is not None:
        shutil.copyfile(spec.data.file, project / source)
    (project / "config.json").write_bytes(to_json(configuration(spec, source)) + b"\n")
    for name, packages in (("requirements.txt", report.requirements), ("requirements.lock", report.lock)):
        (project / name).write_text("".join(f"{package}\n" for package in packages))


def packaged(*path: str) -> Traversable:
    """Return a file or folder of the project as it is in the package."""
    return resources.files(__package__).joinpath("project", *path)


def _names(folder: str, without: set[str]) -> list[str]:
    files = (file for file in packaged(folder).iterdir() if file.is_file())
    return sorted(file.name for file in files if file.name not in without)


def copy_files(project: Path, folder: str, names: Iterable[str]) -> None:
    """Copy files of the package into a project."""
    for name in names:
        (project / name).write_bytes(packaged(folder, name).read_bytes())


def write_cases(spec: Spec, directory: Path, extensions: Iterable[str]) -> None:
    """Write the preset test script of the basic function and of extensions."""
    files = [
        packaged("basic", "cases.toml"),
        *(packaged("extended", "cases", f"{e}.toml") for e in extensions),
    ]
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    limit = f"time_limit = {spec.training.time_limit:g}\n"
    write_files(directory, {"cases.toml": text.replace(LONG, limit).encode()})


# The configuration --------------------------------------------------------------------------------------


def configuration(spec: Spec, source: str | None) -> dict[str, Any]:
    """Return ``config.json``: what is required, and the task's own values for the rest.

    Parameters
    ----------
    spec : Spec
        What is required.
    source : str, optional
        The examples, a file in the project; None for synthetic ones.

    Raises
    ------
    ValueError
        A size does not go with the task.
    """
    service, preset = spec.service, _preset(spec)
    model = _model(spec, preset["model"]) | dict(zip(_SHAPES[spec.task], service.input_shape, strict=True))
    return {
        "name": spec.name,
        "task": spec.task,
        "seed": spec.seed,
        "device": spec.hardware.device,
        "threads": spec.hardware.cores,
        "model": model,
        "data": {"source": source, "evaluation_examples": 512},
        "train": preset["train"] | _given(spec.training, "steps", "quick_steps", "learning_rate")
        | {"batch": service.batch, "precision": service.precision},
        "metric": {
            "name": service.metric,
            "higher_is_better": service.higher_is_better,
            **_thresholds(spec, preset),
        },
        "infer": {
            "batch": service.batch,
            "requests": 200,
            "quick_requests": 20,
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
    text = packaged(spec.task, "defaults.toml").read_text(encoding="utf-8")
    preset: dict[str, Any] = tomllib.loads(text)[spec.service.model.preset]
    return preset


def _given(struct: msgspec.Struct, *names: str) -> dict[str, Any]:
    """Return the fields that are not absent."""
    pairs = ((name, getattr(struct, name)) for name in names)
    return {name: value for name, value in pairs if value is not None}


def _model(spec: Spec, preset: dict[str, int]) -> dict[str, int]:
    """Return the sizes of the network, those that are given and those of the preset."""
    given = _given(spec.service.model, "layers", "width", "heads", "vocabulary", "classes")
    for name, value in given.items():
        if name not in preset:
            raise ValueError(
                f"service.model.{name} is {value}; for {spec.task} it must be absent, and one of "
                f"{', '.join(preset)} may be given"
            )
    text = spec.task == "causal-language-model" and spec.data.file is not None
    sizes = preset | ({"vocabulary": _BYTES} if text else {}) | given
    if text and sizes["vocabulary"] < _BYTES:
        raise ValueError(f"service.model.vocabulary is {sizes['vocabulary']}; for a text it must be {_BYTES}")
    divisor = sizes.get("heads", _GROUPS if spec.task == "image-classification" else 1)
    if sizes["width"] % divisor:
        raise ValueError(f"service.model.width is {sizes['width']}; it must be a multiple of {divisor}")
    return sizes


def _thresholds(spec: Spec, preset: dict[str, Any]) -> dict[str, float | None]:
    """Return what is to be reached.

    Where the specification does not say, it is what is known of the preset; where something else than the
    preset is trained, nothing is known of it.
    """
    service = spec.service
    known = (
        spec.data.file is None
        and service.batch >= _USUAL_BATCH
        and not _given(service.model, "layers", "width", "heads", "vocabulary", "classes")
        and not _given(spec.training, "steps", "quick_steps", "learning_rate")
        and service.input_shape == type(spec)(name="usual", task=spec.task).service.input_shape
    )
    whole, quick = ((preset.get(key, {}) if known else {}) for key in ("threshold", "quick_threshold"))
    threshold = whole.get(service.metric) if service.threshold is None else service.threshold
    return {"threshold": threshold, "quick_threshold": quick.get(service.metric)}


# Running it ---------------------------------------------------------------------------------------------


class Runner:
    """Runs commands of a project on its target, and brings back what they made."""

    def __init__(
        self, step: str, spec: Spec, report: EnvironmentReport, target: Target, project: Path
    ) -> None:
        self.step, self.spec, self.report, self.target, self.project = step, spec, report, target, project

    def run(self, *commands: str, training: Training) -> None:
        """Run commands; StepError where one does not succeed."""
        for command in commands:
            arguments = [self.report.python, f"{command}.py", "--mode", training]
            finished = self.target.run(arguments, self.project, limit=self.spec.training.time_limit)
            if not finished.ok:
                raise StepError(f"{self.step}: {command}.py {finished.complaint}", finished.output)
        self.target.collect(self.project)

    def numbers(self, command: str) -> dict[str, float]:
        """Return the numbers that a command wrote."""
        path = self.project / METRICS / f"{command}.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, float])
        except (FileNotFoundError, ValueError) as error:
            raise StepError(f"{self.step}: {command}.py wrote no numbers: {error}") from None


@contextmanager
def running(
    step: str, spec: Spec, report: EnvironmentReport, target: Target, project: Path
) -> Iterator[Runner]:
    """Bring a project to its target, for its commands to run there, and leave no copy of it."""
    target.place(project)
    try:
        yield Runner(step, spec, report, target, project)
    finally:
        target.forget(project)


def versions(report: EnvironmentReport) -> dict[str, str]:
    """Return the versions of the packages that were required."""
    wanted = {requirement.partition("==")[0].lower() for requirement in report.requirements}
    there = dict(package.split("==", 1) for package in report.lock)
    return {name: version for name, version in there.items() if name in wanted}


def check_memory(spec: Spec, sizes: dict[str, float]) -> None:
    """Refuse a network whose training needs more memory than its device is required to have, or has."""
    hardware = spec.hardware
    field = "memory" if hardware.device == "cpu" else "accelerator_memory"
    required = getattr(hardware, field)
    limit = min(required or sizes["device_bytes"], sizes["device_bytes"])
    needed = sizes["training_bytes"]
    if needed > limit:
        said = f"hardware.{field} is" if limit == required else "the target has"
        raise StepError(
            f"the service requirement is impossible: training {sizes['parameters']:.4g} parameters needs "
            f"{needed / GIB:.4g} GiB, {said} {limit / GIB:.4g} GiB: {(needed - limit) / GIB:.4g} GiB short; "
            "take a smaller service.model or service.batch, or more memory"
        )
