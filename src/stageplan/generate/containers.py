"""Containers with the environment of a run: recipes, and building and running one where an engine is."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence

from .folders import scratch
from .layout import CONTAINER, TEST
from .spec import Engine, Spec
from .target import Finished, Local

LOOK_LIMIT = 60.0  # seconds
IMAGE = "docker.io/library/python:{}-slim-bookworm"
_NOTE = """\
# The packages are pinned; the base image is named by a tag, which may move. Look up its digest, and write
# {image}@sha256:... to pin it too.
"""


# Recipes ------------------------------------------------------------------------------------------------


def recipes(
    spec: Spec,
    requirements: Sequence[str],
    lock: Sequence[str],
    hashes: Mapping[str, str],
    python: str,
    pip: Sequence[str],
) -> dict[str, bytes]:
    """Return recipes for containers with the same environment, to be built in the run's directory.

    Parameters
    ----------
    spec : Spec
        The requirements.
    requirements, lock : sequence of str
        Required and installed packages, as ``"name==version"``.
    hashes : mapping of str to str
        ``"name==version"`` -> SHA-256 of what was installed, where it is known for all that pip installed.
    python : str
        Version of the interpreter, as ``"3.11"``.
    pip : sequence of str
        Arguments of an interpreter to install packages, without the packages' names.

    Returns
    -------
    dict of bytes
        Path in the run's directory -> content.
    """
    image = IMAGE.format(python)
    how = ["--require-hashes"] if hashes else ["-c", "/constraints.txt"]
    install = ["python", *pip, "--no-cache-dir", *how, "-r", "/requirements.txt"]
    pinned = [f"{package} --hash=sha256:{checksum}" for package, checksum in sorted(hashes.items())]
    texts = {
        "requirements.txt": _lines(pinned or requirements),
        "constraints.txt": _lines(package.partition("+")[0] for package in lock),
        "Dockerfile": _dockerfile(spec, image, install),
        "Dockerfile.dockerignore": f"*\n!{CONTAINER}/*.txt\n!project\n",
        "apptainer.def": _apptainer(spec, image, install),
    }
    return {f"{CONTAINER}/{name}": text.encode() for name, text in texts.items()}


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _tag(spec: Spec) -> str:
    return f"stageplan/{spec.name.lower().rstrip('.-_')}"


def _dockerfile(spec: Spec, image: str, install: list[str]) -> str:
    return f"""\
# docker build -f container/Dockerfile -t {_tag(spec)} . && docker run --rm {_tag(spec)} infer.py
{_NOTE.format(image=image)}FROM {image}
COPY container/requirements.txt container/constraints.txt /
RUN {json.dumps(install)}
COPY project /project
WORKDIR /project
ENTRYPOINT ["python"]
"""


def _apptainer(spec: Spec, image: str, install: list[str]) -> str:
    short = image.removeprefix("docker.io/library/")
    return f"""\
# apptainer build {spec.name}.sif container/apptainer.def
# apptainer run --containall --writable-tmpfs {spec.name}.sif infer.py
{_NOTE.format(image=short)}Bootstrap: docker
From: {short}

%files
    container/requirements.txt /requirements.txt
    container/constraints.txt /constraints.txt
    project /project

%post
    {shlex.join(install)}

%runscript
    cd /project && exec python "$@"
"""


# Building and running -----------------------------------------------------------------------------------


def why_not(engine: Engine, machine: Local) -> str:
    """Say why an engine cannot be used on this machine; empty where it can."""
    look = {
        "docker": ["docker", "version", "--format", "{{.Server.Version}}"],
        "apptainer": ["apptainer", "version"],
    }
    finished = machine.run(look[engine], machine.root, limit=LOOK_LIMIT)
    return "" if finished.ok else f"{engine} cannot be used on this machine: it {finished.failure}"


def build_and_run(spec: Spec, engine: Engine, machine: Local) -> Finished:
    """Build a container from the recipes, and infer in it without a network; return the command that failed.

    Parameters
    ----------
    spec : Spec
        The requirements; installing the packages may take ``environment.time_limit``.
    engine : {"docker", "apptainer"}
        What builds and runs it.
    machine : Local
        This machine, where the run's directory is.

    Returns
    -------
    Finished
        Outcome of the inference, or of the build where that failed.
    """
    with scratch(machine.root / TEST) as folder:
        image = _tag(spec) if engine == "docker" else str(folder / "image.sif")
        built = machine.run(_build(engine, image), machine.root, limit=spec.environment.time_limit)
        if not built.ok:
            return built
        return machine.run(_run(engine, image), machine.root, limit=spec.training.time_limit)


def _build(engine: Engine, image: str) -> list[str]:
    if engine == "docker":
        return ["docker", "build", "-f", f"{CONTAINER}/Dockerfile", "-t", image, "."]
    return ["apptainer", "build", image, f"{CONTAINER}/apptainer.def"]


def _run(engine: Engine, image: str) -> list[str]:
    run = {
        "docker": ["docker", "run", "--rm", "--network", "none", image],
        "apptainer": ["apptainer", "run", "--containall", "--writable-tmpfs", image],
    }
    return [*run[engine], "infer.py", "--mode", "quick"]
