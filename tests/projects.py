"""Writes generated projects for tests, without an environment, and runs functions of them."""

import atexit
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import msgspec

from stageplan.generate import EnvironmentReport, Spec, basic, extended

REPORT = EnvironmentReport(
    target="local", python=sys.executable, items=(), requirements=("torch==2",), lock=(), seconds=0.0
)
RUN_ID = "0123456789abcdef" * 2
TASKS = ("causal-language-model", "text-classification", "image-classification", "click-through-rate")


def make_spec(task="causal-language-model", **fields):
    return msgspec.convert({"name": "made", "task": task, "seed": 5, **fields}, Spec)


def write(folder, spec):
    """Write the project of a specification, with all extensions."""
    folder.mkdir(parents=True)
    basic.write_project(spec, REPORT, folder)
    extended._write_files(spec, tuple(extended._EXTENSIONS), folder)
    return folder


def drive(folder, *steps):
    """Run functions of a project; see ``drive_project.py``. Returns what they returned."""
    printed = folder.with_name(f"{folder.name}.printed")
    server = driver()
    print(json.dumps([str(folder), str(printed), steps]), file=server.stdin, flush=True)
    status, text = server.stdout.readline().strip(), printed.read_text()
    assert status == "0", f"exit status {status}: {text[-3000:]}"
    return json.loads(text.splitlines()[-1])


@cache
def driver():
    """Start the process that the projects of all tests are forked from."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    server = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("drive_project.py")],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(server.communicate)
    return server
