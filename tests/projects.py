"""Writes generated projects for tests, without an environment, and runs functions of them."""

import json
import os
import subprocess
import sys
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


def drive(folder, *steps, limit=300):
    """Run functions of a project; see ``drive_project.py``. Returns what they returned."""
    driver = Path(__file__).with_name("drive_project.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, driver, json.dumps(steps)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
