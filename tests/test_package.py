"""The package: what it imports, and when; what its wheels have, and which are built."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import stageplan as sp

STUB = ast.parse(Path(sp.__file__).with_suffix(".pyi").read_text())

ROOT = Path(__file__).parents[1]
CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text())


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_public_names_are_those_of_the_stub():
    (names,) = [ast.literal_eval(node.value) for node in STUB.body if isinstance(node, ast.Assign)]
    assert names == sorted(names)
    assert sorted(sp.__all__) == names
    assert set(names) <= set(dir(sp))
    assert all(getattr(sp, name) is not None for name in names)


def test_nothing_is_imported_before_it_is_used():
    """So that the command line can handle signals first."""
    code = "import sys, stageplan.cli; print(*(name for name in sys.modules if name.startswith(PREFIXES)))"
    assert run(f"PREFIXES = ('stageplan', 'numpy', 'msgspec'); {code}").split() == [
        "stageplan",
        "stageplan.interrupts",
        "stageplan.cli",
    ]


def test_functions_are_not_hidden_by_the_modules_of_the_same_names():
    """Each module is imported first, before any public name is used."""
    code = """
import importlib, pkgutil, types, stageplan
for module in pkgutil.iter_modules(stageplan.__path__):
    if not module.name.startswith("__"):
        importlib.import_module(f"stageplan.{module.name}")
print(*(name for name in stageplan.__all__ if isinstance(getattr(stageplan, name), types.ModuleType)))
print(callable(stageplan.solve), isinstance(stageplan.readers, types.ModuleType))
"""
    assert run(code) == "\nTrue True\n"


def test_star_import():
    assert run("from stageplan import *; print(Problem.__name__, pareto.__name__)") == "Problem pareto\n"


def test_unknown_name():
    with pytest.raises(AttributeError, match=r"^module 'stageplan' has no attribute 'sovle'$"):
        _ = sp.sovle


def test_wheels_are_built_for_each_python_that_may_install_it():
    """From the oldest that is allowed to the newest, one after the other."""
    oldest = int(CONFIGURATION["project"]["requires-python"].removeprefix(">=3."))
    built = CONFIGURATION["tool"]["cibuildwheel"]["build"]
    assert built == [f"cp3{minor}-*" for minor in range(oldest, 15)]


def test_files_that_are_not_python_are_package_data():
    """Each of them is in a wheel, and no pattern is of files that are gone."""
    package = ROOT / "src/stageplan"
    patterns = [
        package.parent / name.replace(".", "/") / pattern
        for name, listed in CONFIGURATION["tool"]["setuptools"]["package-data"].items()
        for pattern in listed
    ]
    found = [set(package.glob(str(pattern.relative_to(package)))) for pattern in patterns]
    assert all(found), dict(zip(patterns, found, strict=True))
    # setuptools adds these itself, or does not need them; numba's are of functions that were compiled here.
    built = {".py", ".pyc", ".pyx", ".so", ".pyd", ".nbi", ".nbc"}
    needed = {path for path in package.rglob("*") if path.is_file() and path.suffix not in built}
    assert needed <= set().union(*found), needed - set().union(*found)
