"""Configurations of TIPC, the test of training and inference of PaddlePaddle's repositories.

``train_infer_python.txt`` is a list of ``KEY:VALUE`` lines whose meaning is that of their place. A value may
be a list, with ``|`` between its items, or a list of ``MODE=VALUE``; ``null`` is nothing.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from ..errors import InputError
from ..fields import show
from ..readers.bounded import about, read_bytes, to_text

TipcMode = Literal[
    "lite_train_lite_infer",
    "lite_train_whole_infer",
    "whole_train_whole_infer",
    "whole_infer",
    "benchmark_train",
]
TIPC_MODES: tuple[TipcMode, ...] = get_args(TipcMode)
REPEATS = 3  # of a benchmark

_MODES: dict[TipcMode, list[str]] = {
    "lite_train_lite_infer": ["quick", "full"],
    "lite_train_whole_infer": ["quick", "full"],
    "whole_train_whole_infer": ["full"],
    "whole_infer": ["infer", "full"],
    "benchmark_train": ["benchmark"],
}
# Modes that lists of MODE=VALUE may name besides.
_OLDER_MODES = {"lite_train_infer", "whole_train_infer", "infer", "klquant_infer", "klquant_whole_infer"}
_LENGTH = 51  # lines that are not empty, before the parameters of benchmarks
# Place -> what the line must be: a title of a section, a separator, or a key.
_TITLES = {0: "train_params", 22: "eval_params", 26: "infer_params"}
_SEPARATORS = (13, 21, 25)
_KEYS = {
    1: "model_name", 2: "python", 3: "gpu_list", 10: "train_model_name", 11: "train_infer_img_dir",
    14: "trainer", 15: "norm_train", 23: "eval", 29: "norm_export", 39: "inference",
}  # fmt: skip
# Place of a trainer -> place of its export.
_EXPORTS = {15: 29, 16: 30, 17: 31, 18: 32, 19: 33, 20: 34}
_SHELL = re.compile(r"[;&|<>$`\n]")
_TITLE = re.compile(r"=+\s*(\w+)\s*=+\s*")


class Line(NamedTuple):
    """A line: its number in the file, and its key and value; both are empty in titles and separators."""

    number: int
    text: str
    key: str = ""
    value: str = ""

    @property
    def given(self) -> bool:
        """Whether the line has a key and a value."""
        return self.key not in ("", "null") and self.value not in ("", "null")

    @property
    def items(self) -> list[str]:
        """Items of a list; empty where it is nothing."""
        return [] if self.value in ("", "null") else [item.strip() for item in self.value.split("|")]

    def fault(self, wanted: str) -> InputError:
        """Say that the line is not what it must be."""
        return InputError(f"line {self.number} is {show(self.text)}; it must be {wanted}")

    def words(self) -> list[str]:
        """Return the words of a command."""
        if _SHELL.search(self.value):
            raise self.fault("a command without characters of a shell, which it does not run in")
        try:
            return shlex.split(self.value)
        except ValueError as error:
            raise self.fault(f"a command with balanced quotes ({error})") from None

    def of_mode(self, mode: TipcMode) -> str:
        """Return the value in a mode: of a list of MODE=VALUE, or the value itself; empty where absent."""
        if "=" not in self.value:
            return self.value
        found = ""
        for item in self.items:
            name, equals, value = item.partition("=")
            if not equals or (name not in TIPC_MODES and name not in _OLDER_MODES):
                raise self.fault(f"a list of MODE=VALUE, with modes such as {', '.join(TIPC_MODES)}")
            if name == mode:
                found = value
        return found


class Configuration(NamedTuple):
    """A configuration: its lines by their place, and the parameters of its benchmark by their keys."""

    lines: list[Line]
    benchmark: dict[str, Line]

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.lines[1].value


def read_tipc(path: Path) -> Configuration:
    """Read a configuration.

    Parameters
    ----------
    path : pathlib.Path
        ``train_infer_python.txt``, or a file of the same form.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        A line is not what its place requires; the sentence has its number.
    """
    with about(path):
        texts = enumerate(to_text(read_bytes(path)).splitlines(), start=1)
        lines = [_line(number, text.strip()) for number, text in texts if text.strip()]
        if len(lines) < _LENGTH:
            raise InputError(f"it has {len(lines)} lines that are not empty; it must have {_LENGTH} or more")
        for place, line in enumerate(lines[:_LENGTH]):
            _check(place, line)
        for place in (1, 3, 14):
            if not lines[place].given:
                raise lines[place].fault(f"{_KEYS[place]}:VALUE, with a value")
        return Configuration(lines[:_LENGTH], _benchmark(lines[_LENGTH:]))


def _line(number: int, text: str) -> Line:
    if _TITLE.fullmatch(text) or text.startswith("##"):
        return Line(number, text)
    key, colon, value = text.partition(":")
    if not colon:
        raise Line(number, text).fault("KEY:VALUE, ## or a title as ===train_params===")
    return Line(number, text, key.strip(), value.strip())


def _check(place: int, line: Line) -> None:
    """Check that a line is of the kind that its place requires."""
    title, where = _TITLE.fullmatch(line.text), f"the {_ordinal(place + 1)} line that is not empty"
    if place in _TITLES:
        if title is None or title[1] != _TITLES[place]:
            raise line.fault(
                f"the title ==={_TITLES[place]}===, as the {_ordinal(place + 1)} line that is not empty"
            )
    elif place in _SEPARATORS:
        if not line.text.startswith("##"):
            raise line.fault(f"##, as {where}")
    elif not line.key:
        raise line.fault(f"KEY:VALUE, as {where}")
    elif place in _KEYS and line.key != _KEYS[place]:
        raise line.fault(f"{_KEYS[place]}:VALUE, as {where}")


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ending}"


def _benchmark(lines: list[Line]) -> dict[str, Line]:
    """Return the lines of the section of training benchmarks by their keys."""
    found: dict[str, Line] = {}
    inside = False
    for line in lines:
        if title := _TITLE.fullmatch(line.text):
            inside = title[1] == "train_benchmark_params"
        elif inside and line.key:
            found[line.key] = line
    return found


# Cases --------------------------------------------------------------------------------------------------


class Kind(NamedTuple):
    """A case, as a table, and what it does: ``"train"``, ``"evaluate"``, ``"export"`` or ``"infer"``."""

    kind: str
    table: dict[str, Any]


def cases_of(configuration: Configuration, mode: TipcMode, time_limit: float) -> list[Kind]:
    """Return the cases of a mode: those of training, evaluation and export, and a grid of inference.

    Parameters
    ----------
    configuration : Configuration
        What to test.
    mode : str
        One of `TIPC_MODES`.
    time_limit : float
        Seconds for each command.

    Raises
    ------
    ValueError
        A line has no value for the mode, or one that is not valid; the sentence has its number.
    """
    maker = _Maker(configuration, mode, time_limit)
    if mode == "whole_infer":
        return [*maker.inferred()]
    return [*maker.benchmarks()] if mode == "benchmark_train" else [*maker.trained()]


class _Device(NamedTuple):
    """One of the devices to train on: its numbers, the flag that chooses it, and how many GPUs that are."""

    number: str
    flag: list[str]
    gpus: int

    def fields(self) -> dict[str, Any]:
        """Fields of a case on these devices."""
        if ";" in self.number:
            return {"skip": "it needs several machines"}
        if not self.gpus:
            return {}
        return {
            "accelerators": self.gpus,
            "variables": {"CUDA_VISIBLE_DEVICES": self.number},
        }


class _Maker:
    """Makes the cases of a configuration in a mode."""

    def __init__(self, configuration: Configuration, mode: TipcMode, time_limit: float) -> None:
        self.lines, self.mode, self.time_limit = configuration.lines, mode, time_limit
        self.benchmark = configuration.benchmark
        self.folder = f"test_tipc/output/{configuration.model}/{mode}"

    def _case(self, kind: str, name: str, command: list[str], needs: list[str], **more: Any) -> Kind:
        table = {"name": name, "command": _with_python(command), "modes": _MODES[self.mode], "needs": needs}
        return Kind(kind, table | {"time_limit": self.time_limit} | more)

    def _set(self, place: int, value: str) -> list[str]:
        """Return the words of a parameter; none where its key or value is nothing."""
        key = self.lines[place].key
        return shlex.split(f"{key}={value}") if key != "null" and value not in ("", "null") else []

    def _fixed(self, place: int) -> list[str]:
        """Return the words of a parameter that the line itself gives."""
        return self._set(place, self.lines[place].value)

    def devices(self) -> Iterator[_Device]:
        """Yield the devices to train on."""
        flags = self.lines[4].items
        for place, number in enumerate(self.lines[3].items):
            if not re.fullmatch(r"-1|[0-9]+(,[0-9]+)*|[0-9.,]+;[0-9]+(,[0-9]+)*", number):
                raise self.lines[3].fault("gpu_list:LIST, with GPUs as 0 or 0,1, or -1 for the CPU")
            flag = flags[place] if place < len(flags) else ""
            on_cpu = number == "-1" or flag.lower() in ("false", "cpu")
            gpus = 0 if on_cpu else len(number.rpartition(";")[2].split(","))
            yield _Device(number, self._set(4, flag), gpus)

    def trainers(self) -> Iterator[tuple[str, Line, Line]]:
        """Yield the name of each trainer, and the lines of its training and its export."""
        by_name = {self.lines[place].key: place for place in reversed(_EXPORTS)}
        by_name.pop("null", None)
        for name in self.lines[14].items:
            if name not in by_name:
                raise self.lines[14].fault(f"trainer:LIST of {', '.join(sorted(by_name))}")
            place = by_name[name]
            if self.lines[place].given:
                yield name, self.lines[place], self.lines[_EXPORTS[place]]

    def trained(self) -> Iterator[Kind]:
        """Yield the cases of training, and of what follows it."""
        autocasts = self.lines[5].items or ["null"]
        for device, autocast, trainer in product(self.devices(), autocasts, [*self.trainers()]):
            name, train, export = trainer
            label = f"{name} gpus={device.number} autocast={autocast}"
            saved = f"{self.folder}/{name}_gpus_{device.number}_autocast_{autocast}"
            yield self._train(f"train {label}", device, train, autocast, saved)
            model = saved if not self.lines[10].given else f"{saved}/{self.lines[10].value}"
            more, needs = device.fields(), [f"train {label}"]
            if self.lines[23].given:
                command = [*self.lines[23].words(), *self._set(9, model), *device.flag, *self._fixed(24)]
                yield self._case("evaluate", f"evaluate {label}", command, needs, **more)
            if export.given:
                command = [*export.words(), *self._set(28, model), *self._set(27, saved)]
                yield self._case("export", f"export {label}", command, needs, **more)
                inside = self.lines[35]
                folder = (
                    f"{saved}/{inside.value}" if inside.key == "inference_dir" and inside.given else saved
                )
                is_quantized = self.lines[16].key == name
                images = self.lines[11].value
                yield from self.grids(label, folder, images, is_quantized, [f"export {label}"])

    def _train(self, name: str, device: _Device, line: Line, autocast: str, saved: str, **more: Any) -> Kind:
        epochs = more.pop("epochs", self.lines[6].of_mode(self.mode))
        batch = more.pop("batch", self.lines[8].of_mode(self.mode))
        launcher = ["-m", "paddle.distributed.launch", f"--gpus={device.number}"] if device.gpus > 1 else []
        command = [
            *launcher, *line.words(), *device.flag, *self._set(7, saved), *self._set(6, epochs),
            *self._fixed(9), *self._set(5, autocast), *self._set(8, batch), *self._fixed(12),
        ]  # fmt: skip
        artefacts = {"artefacts": [saved]} if self.lines[7].key != "null" else {}
        return self._case("train", name, command, ["environment"], **(device.fields() | artefacts | more))

    def inferred(self) -> Iterator[Kind]:
        """Yield the cases of models that are there already: their export and inference."""
        exports, quantized = self.lines[37].items, self.lines[38].items
        models = self.lines[36].items
        if not models:
            raise self.lines[36].fault("KEY:LIST of models, for the mode whole_infer")
        for place, model in enumerate(models):
            label = f"model {place + 1}"
            export = exports[place] if place < len(exports) else "null"
            needs = ["environment"]
            if export != "null":
                line = self.lines[29] if export == "True" else self.lines[37]._replace(value=export)
                command = [*line.words(), *self._set(28, model), *self._set(27, model)]
                yield self._case("export", f"export {label}", command, needs)
                needs = [f"export {label}"]
            is_quantized = place < len(quantized) and quantized[place] == "True"
            yield from self.grids(label, model, self.lines[47].value, is_quantized, needs)

    def grids(
        self, label: str, model: str, images: str, is_quantized: bool, needs: list[str]
    ) -> Iterator[Kind]:
        """Yield the grid of inference on each kind of device."""
        if not self.lines[39].given:
            return
        for flag in self.lines[40].items or ["False"]:
            if flag not in ("True", "False", "cpu", "gpu"):
                raise self.lines[40].fault(f"{self.lines[40].key}:LIST of True, False, gpu or cpu")
            on_gpu = flag in ("True", "gpu")
            places = {"trt": 44} if on_gpu else {"mkldnn": 41, "threads": 42}
            places |= {"precision": 45, "batch": 43}
            axes = {name: place for name, place in places.items() if self.lines[place].given}
            grid = {name: list(dict.fromkeys(self.lines[place].items)) for name, place in axes.items()}
            fixed = [
                *self.lines[39].words(), *self._set(40, flag), *self._set(46, model), *self._set(47, images),
                *self._fixed(49), *self._fixed(50),
            ]  # fmt: skip
            varied = [word for name, place in axes.items() for word in self._set(place, f"{{{name}}}")]
            more: dict[str, Any] = {"accelerators": 1} if on_gpu else {}
            name = f"infer {label} {'gpu' if on_gpu else 'cpu'}"
            if grid:
                fixed = [word.replace("{", "{{").replace("}", "}}") for word in fixed]
                more |= {"grid": grid, "skip": [*_rules(grid, is_quantized, on_gpu)]}
            yield self._case("infer", name, [*fixed, *varied], needs, **more)

    def benchmarks(self) -> Iterator[Kind]:
        """Yield the case of benchmarks, a grid of batches and precisions."""
        for key in ("batch_size", "fp_items", "epoch"):
            if key not in self.benchmark or not self.benchmark[key].given:
                raise InputError(f"it has no {key} in ===train_benchmark_params===, for mode benchmark_train")
        flags = self.benchmark.get("flags", Line(0, "")).value
        pairs = [flag.partition("=") for flag in flags.split(";") if flag not in ("", "null")]
        device, (name, train, _) = next(self.devices()), next(self.trainers())
        saved = f"{self.folder}/{name}_batch_{{batch}}_precision_{{precision}}"
        made = self._train(
            f"benchmark {name}", device, train, "{precision}", saved,
            epochs=self.benchmark["epoch"].value, batch="{batch}", repeat=REPEATS,
            grid={"batch": self.benchmark["batch_size"].items, "precision": self.benchmark["fp_items"].items},
            metrics=[
                {"name": "ips", "pattern": r"ips: *([-+0-9.eE]+)"},
                {"name": "loss", "pattern": r"loss: *([-+0-9.eE]+)"},
            ],
        )  # fmt: skip
        variables = made.table.get("variables", {}) | {flag: value for flag, _, value in pairs}
        yield made._replace(table=made.table | {"variables": variables})


def _with_python(command: list[str]) -> list[str]:
    """Return a command as a case has it: of a Python file, or of arguments of the interpreter."""
    return ["python", *command] if command[0].startswith("-") else command


def _rules(grid: dict[str, list[str]], is_quantized: bool, on_gpu: bool) -> Iterator[dict[str, Any]]:
    """Yield the rules that leave out combinations which the published test leaves out."""
    precisions = grid.get("precision", [])
    whole = [one for one in precisions if "int8" in one]
    short = [one for one in precisions if "fp16" in one or "int8" in one]
    if not on_gpu and is_quantized and (others := [one for one in precisions if one != "int8"]):
        yield {"when": {"precision": others}, "reason": "a quantized model is inferred with int8"}
    if not on_gpu and "fp16" in precisions and "False" in grid.get("mkldnn", []):
        yield {"when": {"mkldnn": "False", "precision": "fp16"}, "reason": "fp16 requires MKL-DNN"}
    if on_gpu and not is_quantized and whole:
        yield {"when": {"precision": whole}, "reason": "int8 requires a quantized model"}
    if on_gpu and short and "False" in grid.get("trt", []):
        yield {"when": {"trt": "False", "precision": short}, "reason": "fp16 and int8 require TensorRT"}
