"""Plans which device type runs which layer of a neural network."""

import ast
import sys
from importlib import import_module
from types import ModuleType

# Public names are imported at their first use, so that the command line handles signals before the imports
# that take long. The stub beside this file, which type checkers read, says where each name comes from.
with open(f"{__file__}i", encoding="utf-8") as _stub:
    _MODULES = {
        alias.name: f".{node.module}"
        for node in ast.parse(_stub.read()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
__all__ = [*_MODULES]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})


class _Package(ModuleType):
    """Keeps importing a module, such as ``stageplan.solve``, from hiding the function of the same name."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _MODULES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
