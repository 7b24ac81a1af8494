"""Imports the modules of a generated project into this process, which loads PyTorch once for all tests."""

import importlib
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace


@contextmanager
def imported(folder, monkeypatch, *names):
    """Work in a project; give its configuration and modules of it, which are forgotten at the end."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    own = {file.stem for file in folder.glob("*.py")}
    forget(own)
    try:
        modules = {name: importlib.import_module(name) for name in ("common", "data", *names)}
        yield SimpleNamespace(config=modules["common"].read_config(Path("config.json")), **modules)
    finally:
        forget(own)


def forget(names):
    for name in names:
        sys.modules.pop(name, None)
