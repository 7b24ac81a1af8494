"""``stageplan schema`` and ``info``: JSON Schemas of documents, versions and environment."""

from __future__ import annotations

import argparse
import os
import platform

import numpy as np

from .. import _core, plan_file
from .._version import __version__
from ..generate.spec import schema as spec_schema
from ..output import STDOUT, compose, deliver, print_out, table, to_json
from ..readers import documents
from .example import list_examples, name_examples
from .status import FEASIBLE, exit_statuses


def add_schema(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``schema``."""
    parser.set_defaults(run=_schema)
    parser.epilog = exit_statuses("the schema is printed")
    parser.add_argument("kind", choices=("workload", "cluster", "devices", "plan", "spec"))


def _schema(arguments: argparse.Namespace) -> int:
    kind = arguments.kind
    own = {"plan": plan_file.schema, "spec": spec_schema}
    print_out(to_json(own[kind]() if kind in own else documents.schema(kind)).decode())
    return FEASIBLE


def add_info(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``info``."""
    parser.set_defaults(run=_info)
    parser.epilog = exit_statuses("the list is printed")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def _info(arguments: argparse.Namespace) -> int:
    facts = {
        "instruction set": _core.instruction_set(),
        "Python": platform.python_version(),
        "numpy": np.__version__,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
    rows = [(name, str(value)) for name, value in facts.items()]
    shown = compose(f"stageplan {__version__}", table(rows, left=(0, 1)), list_examples())
    deliver(STDOUT if arguments.json else None, shown, {"version": __version__, **facts, **name_examples()})
    return FEASIBLE
