"""Makes the test script of an existing project: which commands it has, and what they must produce."""

from __future__ import annotations

import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct

from ..arguments import check_choice
from ..errors import InputError
from ..fields import show
from ..output import compose, table, to_text
from ..readers.bounded import about, as_path
from . import folders
from .adopted import Adopted
from .cases import to_script
from .layout import ADOPTED_FILE, ADOPTED_SPEC_FILE, CASES_FILE
from .results import result_bytes
from .spec import TASKS, Environment, Ssh, Task
from .tipc import TIPC_MODES, Kind, TipcMode, cases_of, read_tipc

Command = Literal["train", "evaluate", "export", "infer"]
COMMANDS: tuple[Command, ...] = get_args(Command)
TIME_LIMIT = 3600.0  # seconds

# Command -> names of scripts, of targets of a Makefile, and of entry points.
_NAMES: dict[Command, tuple[str, ...]] = {
    "train": ("train", "training", "run_train", "main_train", "finetune"),
    "evaluate": ("evaluate", "eval", "validate", "evaluation", "run_eval"),
    "export": ("export", "export_model", "export_onnx", "to_onnx"),
    "infer": ("infer", "predict", "inference", "run_infer"),
}
_FOLDERS = ("", "tools", "scripts", "src")
_MODES: dict[Command, list[str]] = {
    "train": ["quick", "full", "benchmark"],
    "evaluate": ["quick", "infer", "full"],
    "export": ["quick", "infer", "full"],
    "infer": ["quick", "infer", "full", "benchmark"],
}
_SHELL = re.compile(r"[;&|<>$`*?~\n]")
_TIPC_FILES = "test_tipc/**/*train_infer_python.txt"
_FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class AdoptedRun(Struct, frozen=True, kw_only=True):
    """What `adopt` wrote.

    Attributes
    ----------
    directory : str
        Directory of the run.
    project : Adopted
        The project.
    cases : tuple of (str, str, str)
        Name, command, and origin of each case of the script.
    """

    directory: str
    project: Adopted
    cases: tuple[tuple[str, str, str], ...]

    def __rich__(self) -> Any:
        rows = [("", name, command, f"({origin})") for name, command, origin in self.cases]
        return compose(
            f"adopted {self.project.project} as {self.project.name}: {len(rows)} cases",
            table(rows, left=(0, 1, 2, 3)),
            f"edit {CASES_FILE} as needed; then: stageplan test {shlex.quote(self.directory)}",
        )

    def __str__(self) -> str:
        return to_text(self)


class Found(Struct, frozen=True):
    """A command of a project: its words, and where it was found."""

    words: tuple[str, ...]
    origin: str


def adopt(
    project: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    commands: Mapping[str, str] | None = None,
    metrics: Sequence[str] = (),
    limits: Mapping[str, tuple[float | None, float | None]] | None = None,
    artefacts: Sequence[str] = (),
    python: str | None = None,
    requirements: str | os.PathLike[str] | None = None,
    target: str = "local",
    ssh: Ssh | None = None,
    time_limit: float = TIME_LIMIT,
    tipc: str | os.PathLike[str] | None = None,
    mode: TipcMode = "lite_train_lite_infer",
    factory: str | None = None,
    task: Task | None = None,
) -> AdoptedRun:
    """Make a run that tests an existing project, which is read and not changed; nothing of it is run.

    Parameters
    ----------
    project : path
        The project's folder.
    directory : path
        The run's directory: new, empty, or made by an earlier run, outside the project.
    commands : mapping of str to str, optional
        Commands by ``"train"``, ``"evaluate"``, ``"export"`` or ``"infer"``. Absent: those that are found, as
        scripts, in a configuration of TIPC, in the Makefile, or in ``pyproject.toml``.
    metrics : sequence of str
        ``NAME=PATTERN`` finds a number in a command's output by a regular expression, ``NAME=FILE.json`` in a
        file; ``COMMAND:`` before it says whose, by default that of the evaluation or else of the training.
    limits : mapping of str to (float or None, float or None), optional
        Least and largest value of metrics by their names.
    artefacts : sequence of str
        ``COMMAND=FILE``: files that commands must write.
    python : str, optional
        An existing environment or interpreter on the target. Absent: one is made of the requirements.
    requirements : path, optional
        File of required packages; default: ``requirements.txt`` of the project unless `python` is given.
    target : str
        ``"local"`` or ``"ssh:USER@HOST"``.
    ssh : Ssh, optional
        How the target is reached.
    time_limit : float
        Seconds for each command.
    tipc : path, optional
        A configuration of TIPC, whose commands are used.
    mode : str
        Mode of that configuration, one of `TIPC_MODES`.
    factory : str, optional
        ``package.module:function`` of the project that makes its network: a specification for `generate` is
        written too.
    task : str, optional
        Task of that network.

    Returns
    -------
    AdoptedRun
        The cases that were written.

    Raises
    ------
    ValueError, TypeError
        An argument or a file is not valid, no command is found, or the directory holds other files.
    OSError
        A file cannot be read or written.
    """
    check_choice("mode", mode, TIPC_MODES)
    folder, root = _folders(project, directory)
    if python is not None and target == "local":
        python = os.path.abspath(python)
    found = _commands(folder, commands, tipc)
    made = (
        [*cases_of(read_tipc(found), mode, time_limit)]
        if isinstance(found, Path)
        else [*_cases(found, time_limit)]
    )
    _add(made, metrics, limits or {}, artefacts)
    to_script({"case": [kind.table for kind in made]})  # whose errors name the case
    name = read_tipc(found).model if isinstance(found, Path) else folder.name
    adopted = Adopted(
        name=_run_name(name),
        project=str(folder),
        requirements=_requirements(folder, python, requirements),
        target=target,
        environment=Environment(reuse=python),
        ssh=ssh or Ssh(),
    )
    files = {
        ADOPTED_FILE: result_bytes(adopted),
        CASES_FILE: _script(folder, made).encode(),
        **_specification(adopted, factory, task),
    }
    run_id = folders.id_for(root)
    with folders.owned(root, run_id):
        folders.write_files(root, files)
    return AdoptedRun(directory=str(directory), project=adopted, cases=tuple(_listed(made, found, folder)))


def _folders(project: str | os.PathLike[str], directory: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Check the folder of a project and the directory of a run; neither may be inside the other."""
    folder = Path(os.path.realpath(as_path("project", project)))
    root = Path(os.path.realpath(as_path("directory", directory)))
    if not folder.is_dir():
        raise InputError(f"project is {project}; it must be an existing folder")
    if folder == root or folder in root.parents or root in folder.parents:
        raise InputError(
            f"directory is {directory}; it must be outside the project {folder}, which is not changed"
        )
    return folder, root


def _run_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip("._-")[:64] or "project"


def _requirements(folder: Path, python: str | None, given: str | os.PathLike[str] | None) -> str | None:
    if given is not None:
        path = as_path("requirements", given).absolute()
        if not path.is_file():
            raise InputError(f"requirements is {given}; it must be an existing file")
        return str(path)
    usual = folder / "requirements.txt"
    return str(usual) if python is None and usual.is_file() else None


# Commands -----------------------------------------------------------------------------------------------


def _commands(
    folder: Path, given: Mapping[str, str] | None, tipc: str | os.PathLike[str] | None
) -> dict[Command, Found] | Path:
    """Return the commands of a project, or its configuration of TIPC."""
    if tipc is not None and given:
        raise InputError("tipc is given with commands; only one of them may be")
    if tipc is not None:
        return as_path("tipc", tipc)
    if given:
        return {_command(name): Found(_words(name, text), "given") for name, text in given.items()}
    files = sorted(folder.glob(_TIPC_FILES))
    if len(files) == 1:
        return files[0]
    found = {name: command for name in COMMANDS if (command := _find(folder, name)) is not None}
    if files and not found:
        raise InputError(
            f"tipc is missing; it must be one of the {len(files)} configurations of the project, such as "
            f"{files[0]}"
        )
    if not found:
        raise InputError(
            f"project is {folder}; it has no command that is known by its name, such as train.py, "
            "evaluate.py, export.py or infer.py: give one, as --train 'python train.py --epochs 1'"
        )
    return found


def _command(name: str) -> Command:
    check_choice("command", name, COMMANDS)
    return name  # type: ignore[return-value]


def _words(name: str, text: str) -> tuple[str, ...]:
    """Split a command into its words; ValueError where it needs a shell."""
    needed = "a command that runs without a shell, as 'python train.py --epochs 1'"
    if match := _SHELL.search(text):
        raise InputError(f"{name} is {show(text)}, with {match[0]!r}; it must be {needed}")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"{name} is {show(text)} ({error}); it must be {needed}") from None
    if not words:
        raise InputError(f"{name} is {show(text)}; it must be {needed}")
    if re.fullmatch(r"python(3(\.\d+)?)?", words[0]):
        words[0] = "python"
    elif words[0].startswith("./"):
        words[0] = words[0][2:]
    return tuple(words)


def _find(folder: Path, name: Command) -> Found | None:
    """Find a command by its usual names: a script, an entry point, or a target of the Makefile."""
    for place in _FOLDERS:
        for stem in _NAMES[name]:
            path = Path(place, f"{stem}.py")
            if (folder / path).is_file():
                return Found((path.as_posix(),), path.as_posix())
    for source in (_entry_points, _targets):
        available = source(folder)
        for stem in _NAMES[name]:
            if stem in available:
                return available[stem]
    return None


def _entry_points(folder: Path) -> dict[str, Found]:
    """Return the programs that ``pyproject.toml`` declares, as commands that import their functions."""
    path = folder / "pyproject.toml"
    if not path.is_file():
        return {}
    with about(path):
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"it is not valid TOML: {error}") from None
    scripts = document.get("project", {}).get("scripts", {})
    found = {}
    for name, value in scripts.items() if isinstance(scripts, dict) else ():
        if isinstance(value, str) and _FACTORY.fullmatch(value):
            module, _, function = value.partition(":")
            code = f"import sys; from {module} import {function}; sys.exit({function}())"
            found[name] = Found(("python", "-c", code), "pyproject.toml")
    return found


def _targets(folder: Path) -> dict[str, Found]:
    """Return the targets of the Makefile whose recipe is one command that needs no shell."""
    path = folder / "Makefile"
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")
    found = {}
    for match in re.finditer(r"^([A-Za-z_][\w-]*):[^=\n]*\n((?:\t.*\n?)+)", text, re.M):
        recipe = [line.strip().lstrip("@") for line in match[2].splitlines() if line.strip()]
        if len(recipe) == 1 and not _SHELL.search(recipe[0]):
            found[match[1]] = Found(_words(match[1], recipe[0]), "Makefile")
    return found


# Cases --------------------------------------------------------------------------------------------------


def _cases(found: Mapping[Command, Found], time_limit: float) -> Iterator[Kind]:
    """Yield the case of each command, which needs those of training and of its input."""
    earlier: dict[Command, tuple[Command, ...]] = {
        "train": (),
        "evaluate": ("train",),
        "export": ("train",),
        "infer": ("train", "export"),
    }
    for name in COMMANDS:
        if name in found:
            needs = ["environment", *(need for need in earlier[name] if need in found)]
            command = list(found[name].words)
            yield Kind(
                name,
                {"name": name, "command": command, "modes": _MODES[name], "needs": needs}
                | {"time_limit": time_limit},
            )


def _add(
    made: list[Kind],
    metrics: Sequence[str],
    limits: Mapping[str, tuple[float | None, float | None]],
    artefacts: Sequence[str],
) -> None:
    """Add metrics with their limits, and artefacts, to the cases."""
    kinds = [kind.kind for kind in made]
    usual = "evaluate" if "evaluate" in kinds else kinds[0]
    named = set()
    for text in metrics:
        kind, name, source = _metric(text, usual)
        named.add(name)
        low, high = limits.get(name, (None, None))
        is_file = source.endswith(".json") and "(" not in source
        given = {"name": name, "file" if is_file else "pattern": source, "min": low, "max": high}
        metric = {key: value for key, value in given.items() if value is not None}
        for one in _of_kind(made, kind, f"metric is {show(text)}"):
            one.setdefault("metrics", []).append(metric)
    for name in limits:
        if name not in named:
            known = ", ".join(sorted(named)) or "none is given"
            raise InputError(f"limit of {show(name)} is given; it must be that of a metric: {known}")
    for text in artefacts:
        kind, equals, file = text.partition("=")
        if not equals:
            raise InputError(f"artefact is {show(text)}; it must be COMMAND=FILE, as 'train=model.pt'")
        for one in _of_kind(made, kind, f"artefact is {show(text)}"):
            one.setdefault("artefacts", []).append(file)


def _metric(text: str, usual: str) -> tuple[str, str, str]:
    """Return command, name and source of a metric."""
    head, equals, source = text.partition("=")
    kind, colon, name = head.partition(":")
    if not colon:
        kind, name = usual, head
    if not equals or not name or not source:
        raise InputError(
            f"metric is {show(text)}; it must be NAME=PATTERN or NAME=FILE.json, as "
            "'accuracy=acc: ([0-9.]+)', or with a command before it, as 'train:loss=loss: ([0-9.]+)'"
        )
    return kind, name, source


def _of_kind(made: list[Kind], kind: str, what: str) -> list[dict[str, Any]]:
    found = [each.table for each in made if each.kind == kind]
    if not found:
        kinds = ", ".join(dict.fromkeys(each.kind for each in made))
        raise InputError(f"{what}; its command must be one of {kinds}")
    return found


def _listed(
    made: Sequence[Kind], found: Mapping[Command, Found] | Path, folder: Path
) -> Iterator[tuple[str, str, str]]:
    for kind, case in made:
        origin = found.name if isinstance(found, Path) else found[_command(kind)].origin
        yield case["name"], shlex.join(case["command"]), origin


# Files --------------------------------------------------------------------------------------------------


def _script(folder: Path, made: Sequence[Kind]) -> str:
    """Return the test script as TOML."""
    parts = [
        f"# Cases of {json.dumps(folder.name)}. Edit them as you like: a case is a command of the project, "
        "what it needs,\n# how long it may take, what it must write, and what its numbers must be. It runs "
        "in a copy of the project.\n"
    ]
    for _, case in made:
        lines = [f"{key} = {_toml(value)}" for key, value in case.items()]
        parts.append("\n".join(["[[case]]", *lines, ""]))
    return "\n".join(parts)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{json.dumps(key)} = {_toml(item)}' for key, item in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=True)
    return repr(value)


def _specification(adopted: Adopted, factory: str | None, task: Task | None) -> dict[str, bytes]:
    """Return the specification of the project's own network, if it has a factory."""
    if factory is None:
        return {}
    if not _FACTORY.fullmatch(factory):
        raise InputError(f"factory is {show(factory)}; it must be package.module:function")
    check_choice("task", task, TASKS)
    tables: dict[str, dict[str, Any]] = {
        "service.model": {"factory": factory, "path": adopted.project},
        "environment": {"reuse": adopted.environment.reuse},
        "ssh": msgspec.to_builtins(adopted.ssh),
    }
    lines = [f"{key} = {_toml(getattr(adopted, key))}" for key in ("name", "target")]
    lines.insert(1, f"task = {_toml(task)}")
    for name, fields in tables.items():
        given = {key: value for key, value in fields.items() if value is not None}
        if given:
            lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in given.items())]
    return {ADOPTED_SPEC_FILE: "\n".join([*lines, ""]).encode()}
