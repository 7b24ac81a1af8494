"""``stageplan schema`` and ``info``: what documents look like, and what is installed."""

from __future__ import annotations

import argparse
import os
import platform
import tomllib
from collections.abc import Iterator
from importlib import resources

import numpy as np

from .. import _core, plan_file
from .._version import __version__
from ..generate.spec import schema as spec_schema
from ..output import print_out, to_json
from ..readers import documents
from .status import FEASIBLE


def add_schema(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``schema``."""
    parser.set_defaults(run=_schema)
    parser.add_argument("kind", choices=("workload", "cluster", "devices", "plan", "spec"))


def _schema(arguments: argparse.Namespace) -> int:
    kind = arguments.kind
    own = {"plan": plan_file.schema, "spec": spec_schema}
    print_out(to_json(own[kind]() if kind in own else documents.schema(kind)).decode())
    return FEASIBLE


def add_info(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``info``."""
    parser.set_defaults(run=_info)


def _info(arguments: argparse.Namespace) -> int:
    lines = [f"stageplan {__version__}"]
    facts = {
        "instruction set": _core.instruction_set(),
        "Python": platform.python_version(),
        "numpy": np.__version__,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
    lines += [f"{name:<16} {value}" for name, value in facts.items()]
    for kind, field in (("workloads", "layers"), ("clusters", "types")):
        lines += [f"built-in {kind}:", *_examples(field)]
    print_out("\n".join(lines))
    return FEASIBLE


def _examples(field: str) -> Iterator[str]:
    """Name and headline of the built-in files that have this field."""
    for file in sorted((resources.files("stageplan") / "data").iterdir(), key=lambda file: file.name):
        text = file.read_text(encoding="utf-8") if file.name.endswith(".toml") else ""
        if field in tomllib.loads(text):
            headline = text.partition("\n")[0].removeprefix("# ").partition(". ")[0].removesuffix(".")
            yield f"  {file.name.removesuffix('.toml'):<14} {headline}"
