"""Every table, and what tables share, can be imported: each is run by hand, and seldom."""

import importlib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MODULES = [
    f"benchmarks.{folder}.{file.stem}"
    for folder in ("support", "tables")
    for file in sorted((HERE / folder).glob("*.py"))
]


@pytest.mark.parametrize("name", MODULES)
def test_module_is_imported(name):
    importlib.import_module(name)
