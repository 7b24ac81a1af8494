"""The basic operating environment: checks of the target, and an interpreter with the packages."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

import msgspec
from msgspec import Struct

from .containers import recipes
from .digests import digest
from .examples import packages
from .extensions import Extension
from .folders import MARKER, RECORD, marker_text, write_files
from .layout import ENVIRONMENT
from .model import Source
from .place import Place
from .results import EnvironmentReport, Host, Item
from .spec import Spec
from .target import Finished, Target, last_line

PROBE_LIMIT = 300.0  # seconds; a busy machine takes long to import PyTorch from a cold disk
OLDEST_PYTHON = "3.10"
DEFAULT_PYTHON = "3.11"  # of containers, where the target has none
PIP_REPORT = ".pip-report.json"  # in an environment that is made, until it is read
GIB = 2**30

# Package -> version that the generated project was tested with. The specification gives PyTorch's.
_PACKAGES = {"numpy": "2.4.6", "safetensors": "0.8.0"}
_TENSORBOARD = {"tensorboard": "2.21.0"}
_EXTENSION_PACKAGES: dict[Extension, dict[str, str]] = {
    "onnx": {"onnx": "1.23.2", "onnxscript": "0.7.2", "onnxruntime": "1.32.0"},
    "executorch": {"executorch": "1.5.1"},
    "server": {"fastapi": "0.165.0", "uvicorn": "0.54.0"},
}
_EXTENSION_PACKAGES["int8"] = _EXTENSION_PACKAGES["onnx"]
# Where a network of the user's own comes from -> what makes it.
OWN_PACKAGES: dict[Source, dict[str, str]] = {
    "factory": {},
    "hf": {"transformers": "5.24.0"},
    "torchvision": {"torchvision": "0.28.0"},
    "timm": {"timm": "1.0.25"},
}
# What reads a user's examples for such a network.
EXAMPLE_PACKAGES = {
    "datasets": "5.2.0", "pillow": "13.0.0", "pyarrow": "26.0.1", "tokenizers": "0.23.3",
}  # fmt: skip
# What decodes the images that users send to a server.
_IMAGE_SERVER_PACKAGES = {"pillow": "13.0.0", "python-multipart": "0.0.34"}


class Accelerator(Struct, frozen=True):
    """An accelerator: its name, bytes of memory, and driver."""

    name: str
    memory: int
    driver: str


class Facts(Struct, frozen=True):
    """Properties of a machine and of one of its interpreters, as ``probe.py`` prints them."""

    name: str
    system: str
    machine: str
    processor: str
    instruction_sets: tuple[str, ...]
    cores: int
    memory: int
    accelerators: tuple[Accelerator, ...]
    python: str
    executable: str
    makes_environments: bool
    packages: dict[str, str]

    @property
    def host(self) -> Host:
        """The machine alone."""
        names = tuple(accelerator.name for accelerator in self.accelerators)
        return Host(
            name=self.name,
            system=self.system,
            processor=self.processor,
            cores=self.cores,
            memory=self.memory,
            accelerators=names,
        )


def interpreter_runs(target: Target, python: str, directory: Path) -> bool:
    """Whether an interpreter runs on the target."""
    return target.run([python, "-I", "-c", ""], directory, limit=PROBE_LIMIT).ok


def prepare(spec: Spec, target: Target, directory: Path) -> EnvironmentReport:
    """Probe the target, make or check an environment there, and write recipes for containers.

    Parameters
    ----------
    spec : Spec
        The requirements.
    target : Target
        Where to prepare it.
    directory : pathlib.Path
        Directory of the run; a new environment is its ``environment``, the recipes are in ``container``.

    Returns
    -------
    EnvironmentReport
        Each item is OK, MISSING or WRONG. Items that depend on one that is not OK are not checked.

    Raises
    ------
    TargetError
        The target cannot be reached, or was lost.
    """
    start = time.monotonic()
    facts = probe(target, target.python, directory)
    items, python, lock = (
        ([facts], "", []) if isinstance(facts, Item) else _prepare_interpreter(spec, target, directory, facts)
    )
    hashes = _hashes(target, python, directory) if python and spec.environment.reuse is None else {}
    required, pip = requirements(spec), pip_arguments(spec)
    write_files(directory, recipes(spec, required, lock, hashes, _minor(items), pip))
    return EnvironmentReport(
        target=target.name,
        python=python,
        items=tuple(items),
        requirements=tuple(required),
        lock=tuple(lock),
        seconds=time.monotonic() - start,
        host=None if isinstance(facts, Item) else facts.host,
    )


def inputs(spec: Spec) -> str:
    """Digest of everything that the environment depends on."""
    of_target = (spec.target, spec.ssh, spec.hardware.of_target)
    return digest(*of_target, spec.environment, requirements(spec))


def requirements(spec: Spec) -> list[str]:
    """List the packages that a specification's project needs, as ``"name==version"``, sorted by name."""
    versions = _PACKAGES | {"torch": spec.environment.torch}
    if spec.training.tensorboard:
        versions |= _TENSORBOARD
    for step in spec.extend.steps:
        versions |= _EXTENSION_PACKAGES.get(step, {})
    if "server" in spec.extend.steps and spec.task == "image-classification":
        versions |= _IMAGE_SERVER_PACKAGES
    if spec.service.model.source is not None:
        versions |= OWN_PACKAGES[spec.service.model.source]
    versions |= {name: EXAMPLE_PACKAGES[name] for name in packages(spec)}
    versions |= _pinned(spec)
    return [f"{name}=={version}" for name, version in sorted(versions.items())]


def _pinned(spec: Spec) -> dict[str, str]:
    """Return the packages whose version the specification gives."""
    pairs = [requirement.split("==") for requirement in spec.environment.requirements]
    return {"torch": spec.environment.torch} | {normalised(name): version for name, version in pairs}


def normalised(name: str) -> str:
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _prepare_interpreter(
    spec: Spec, target: Target, directory: Path, facts: Facts
) -> tuple[list[Item], str, list[str]]:
    """Return items, interpreter and installed packages; stop at the first item that others depend on."""
    items = list(machine_items(spec, facts))
    if any(item.status != "OK" for item in items):
        return items, "", []
    if spec.environment.reuse is not None:
        python = reused_interpreter(spec.environment.reuse, target, directory)
    else:
        python = make_environment(spec, target, directory, facts, requirements(spec))
    if isinstance(python, Item):
        return [*items, python], "", []
    inside, lock = check_interpreter(spec, target, python, directory)
    return [*items, *inside], python, lock


def check_interpreter(
    spec: Spec, target: Target, python: str, directory: Path
) -> tuple[list[Item], list[str]]:
    """Check that an interpreter has the required packages, and that PyTorch computes with it.

    Returns
    -------
    items : list of Item
        The interpreter, each package, and, where all of them are OK, a computation.
    lock : list of str
        Installed packages, as ``"name==version"``.
    """
    facts = probe(target, python, directory)
    if isinstance(facts, Item):
        return [facts], []
    items = [python_item(facts), *_package_items(spec, facts)]
    if all(item.status == "OK" for item in items):
        items.append(_compute_item(spec, target, python, directory))
    return items, [f"{name}=={version}" for name, version in sorted(facts.packages.items())]


def probe(target: Target, python: str, directory: Path) -> Facts | Item:
    """Return the properties of the target and of an interpreter; an item where the interpreter fails."""
    finished = target.run([python, "-I", "-c", _script("probe.py")], directory, limit=PROBE_LIMIT)
    if finished.ok:
        return msgspec.json.decode(last_line(finished.output), type=Facts)
    return Item(
        name="python",
        status="MISSING" if finished.error else "WRONG",
        found=f"{python} {finished.failure}",
        wanted=f"Python {OLDEST_PYTHON} or newer",
        advice=f"install Python {OLDEST_PYTHON} or newer on {target.name}, or give its path in "
        "environment.python or environment.reuse",
    )


def _script(name: str) -> str:
    return (resources.files(__package__) / "on_target" / name).read_text(encoding="utf-8")


# The machine --------------------------------------------------------------------------------------------


def machine_items(place: Place, facts: Facts) -> Iterator[Item]:
    """Compare a machine with the hardware requirement."""
    hardware = place.hardware
    yield Item(name="processor", status="OK", found=f"{facts.processor} ({facts.machine})", wanted="any")
    yield _amount_item(
        "cores", facts.cores, hardware.cores, "", "another target, or a smaller hardware.cores"
    )
    yield _amount_item(
        "memory",
        facts.memory / GIB,
        hardware.memory / GIB,
        " GiB",
        "another target, or a smaller hardware.memory",
    )
    for name in hardware.instruction_sets:
        there = name in facts.instruction_sets
        yield Item(
            name=f"instruction set {name}",
            status="OK" if there else "MISSING",
            found="present" if there else "not listed by the processor",
            wanted=name,
            advice="" if there else "use another target, or remove it from hardware.instruction_sets",
        )
    yield from _accelerator_items(place, facts)


def _accelerator_items(place: Place, facts: Facts) -> Iterator[Item]:
    hardware, found = place.hardware, facts.accelerators
    count = max(hardware.accelerators, 1 if hardware.device == "cuda" else 0)
    yield _amount_item(
        "accelerators", len(found), count, "", "another target, fewer hardware.accelerators, or device 'cpu'"
    )
    if hardware.accelerator_memory:
        smallest = min((one.memory for one in found), default=0)
        yield _amount_item(
            "accelerator memory",
            smallest / GIB,
            hardware.accelerator_memory / GIB,
            " GiB",
            "another target, or a smaller hardware.accelerator_memory",
        )
    if hardware.driver is not None:
        yield _driver_item(hardware.driver, found[0].driver if found else "")


def _amount_item(name: str, found: float, wanted: float, unit: str, instead: str) -> Item:
    """Compare a number with the required minimum, and say by how much it falls short."""
    if found >= wanted:
        return Item(name=name, status="OK", found=f"{found:.4g}{unit}", wanted=f"{wanted:.4g}{unit}")
    return Item(
        name=name,
        status="WRONG" if found else "MISSING",
        found=f"{found:.4g}{unit}",
        wanted=f"{wanted:.4g}{unit}",
        advice=f"the hardware requirement asks for {wanted:.4g}{unit}: {wanted - found:.4g}{unit} short; "
        f"use {instead}",
    )


def _driver_item(wanted: str, found: str) -> Item:
    ok = bool(found) and _version_numbers(found) >= _version_numbers(wanted)
    return Item(
        name="driver",
        status="OK" if ok else "WRONG" if found else "MISSING",
        found=found or "none",
        wanted=f"{wanted} or newer",
        advice="" if ok else f"install driver {wanted} or newer on the target",
    )


def _version_numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


# The interpreter and its packages -----------------------------------------------------------------------


def reused_interpreter(path: str, target: Target, directory: Path) -> str | Item:
    """Return the interpreter in an environment, or the path itself where it is an interpreter."""
    inside = f"{path.rstrip('/')}/bin/python"
    for python in (inside, path):
        if interpreter_runs(target, python, directory):
            return python
    return Item(
        name="environment",
        status="MISSING",
        found=f"neither {inside} nor {path} runs on {target.name}",
        wanted=path,
        advice="make it, or remove environment.reuse so that one is made",
    )


def make_environment(
    place: Place, target: Target, directory: Path, facts: Facts, packages: Sequence[str]
) -> str | Item:
    """Make a virtual environment with packages, as pip's arguments; return its interpreter."""
    if not facts.makes_environments:
        return Item(
            name="environment",
            status="MISSING",
            found=f"{facts.executable} has no venv and ensurepip",
            wanted="modules venv and ensurepip",
            advice="install the system's package for them (python3-venv), or use environment.reuse",
        )
    folder, limit = target.path(directory / ENVIRONMENT), place.environment.time_limit
    python = f"{folder}/bin/python"
    script, text = _script("make_environment.py"), marker_text(target.run_id)
    arguments = [target.python, "-I", "-c", script, folder, MARKER, text, RECORD]
    made = target.run(arguments, directory, limit=limit)
    if not made.ok:
        return _failed_item("environment", made, f"see whether {folder} can be written and the disk has room")
    # From Python 3.11 on, pip reports what it installs, with checksums.
    report = ["--report", f"{folder}/{PIP_REPORT}"] if _version_numbers(facts.python) >= (3, 11) else []
    installed = target.run([python, *pip_arguments(place), *report, *packages], directory, limit=limit)
    return python if installed.ok else _failed_item("packages", installed, _pip_advice(installed))


def _hashes(target: Target, python: str, directory: Path) -> dict[str, str]:
    """Return the checksums of the packages that pip has installed, where it reports them all."""
    report = f"{target.path(directory / ENVIRONMENT)}/{PIP_REPORT}"
    printed = target.run([python, "-I", "-c", _script("pip_hashes.py"), report], directory, limit=PROBE_LIMIT)
    return msgspec.json.decode(last_line(printed.output), type=dict[str, str]) if printed.ok else {}


def _minor(items: list[Item]) -> str:
    """Return the version of the interpreter, as "3.11"; of one that was not reached, the default one."""
    found = next((item.found for item in items if item.name == "python" and item.status == "OK"), "")
    return ".".join(found.split(".")[:2]) or DEFAULT_PYTHON


def pip_arguments(place: Place) -> list[str]:
    """Arguments of an interpreter to install packages, without the packages' names."""
    index = [] if place.environment.index is None else ["--extra-index-url", place.environment.index]
    return ["-m", "pip", "install", "--no-input", "--disable-pip-version-check", *index]


def _failed_item(name: str, finished: Finished, advice: str) -> Item:
    return Item(name=name, status="WRONG", found=finished.failure, wanted="success", advice=advice)


def _pip_advice(finished: Finished) -> str:
    if finished.timed_out:
        return "raise environment.time_limit"
    return "see environment.requirements and environment.index, and whether the target has a network"


def python_item(facts: Facts) -> Item:
    """Compare an interpreter's version with the oldest that is supported."""
    ok = _version_numbers(facts.python) >= _version_numbers(OLDEST_PYTHON)
    return Item(
        name="python",
        status="OK" if ok else "WRONG",
        found=f"{facts.python} ({facts.executable})",
        wanted=f"{OLDEST_PYTHON} or newer",
        advice=""
        if ok
        else f"give the path of {OLDEST_PYTHON} or newer in environment.python or environment.reuse",
    )


def _package_items(spec: Spec, facts: Facts) -> Iterator[Item]:
    """Compare packages with the requirements.

    In a reused environment any version of a package that the specification does not pin is accepted.
    """
    exact = _pinned(spec) if spec.environment.reuse is not None else None
    for requirement in requirements(spec):
        name, version = requirement.split("==")
        found = facts.packages.get(normalised(name))
        right = found is not None and (
            (exact is not None and name not in exact) or same_version(found, version)
        )
        yield Item(
            name=f"package {name}",
            status="OK" if right else "MISSING" if found is None else "WRONG",
            found=found or "none",
            wanted=version,
            advice="" if right else f"{facts.executable} -m pip install {requirement}",
        )


def same_version(found: str, wanted: str) -> bool:
    """Whether a version is the required one; a build suffix such as +cpu matters only where required."""
    return found == wanted or found.partition("+")[0] == wanted


def installed(requirements: Sequence[str], lock: Sequence[str]) -> list[str]:
    """Return requirements in the versions that are installed; a reused environment may have others."""
    there = dict(package.split("==", 1) for package in lock)
    pairs = [requirement.split("==") for requirement in requirements]
    found = [(name, version, there.get(normalised(name), version)) for name, version in pairs]
    return [f"{n}=={wanted if same_version(has, wanted) else has}" for n, wanted, has in found]


def _compute_item(spec: Spec, target: Target, python: str, directory: Path) -> Item:
    device = spec.hardware.device
    finished = target.run(
        [python, "-I", "-c", _script("compute_check.py"), device], directory, limit=PROBE_LIMIT
    )
    return Item(
        name="computation",
        status="OK" if finished.ok else "WRONG",
        found=f"PyTorch computes on {device}" if finished.ok else f"PyTorch on {device} {finished.failure}",
        wanted=f"PyTorch computes on {device}",
        advice="" if finished.ok else "reinstall PyTorch, in a build for this target",
    )
