"""What to run first, where a file or a name is not what is wanted, but on the way to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError

_PROFILE = "run stageplan profile {} --device DEVICE -o WORKLOAD first"
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def refuse_model(path: Path) -> None:
    """Raise ValueError if a path is that of a model, as `stageplan.profile` takes it."""
    name = str(path)
    if path.is_dir():
        config = path / "config.json"
        if config.is_file():
            raise InputError(f"it is a directory of a model; {_PROFILE.format(f'hf:{config}')}")
    elif path.suffix == ".onnx" or name.startswith("hf:") or _FUNCTION.fullmatch(name):
        raise InputError(f"it is a model; {_PROFILE.format(name)}")


def refuse_document(path: object, document: Mapping[str, Any]) -> None:
    """Raise ValueError if a document is a plan, a model's configuration or another known kind."""
    if "model_type" in document or "architectures" in document:
        raise InputError(f"it is the configuration of a model; {_PROFILE.format(f'hf:{path}')}")
    if "scheme" in document or "points" in document:
        kind, takes = "a front of plans", ""
        if "scheme" in document:
            kind, takes = "a plan", " (a plan is an argument of stageplan score and export)"
        raise InputError(
            f"it holds {kind}; give the workload that was planned, which stageplan profile MODEL --device "
            f"DEVICE -o WORKLOAD writes{takes}"
        )
    if "task" in document and "target" in document:
        raise InputError(f"it holds a specification; run stageplan generate {path} -o DIRECTORY")
    if "kernels" in document:
        raise InputError(f"it holds measured kernels; run stageplan devices --fit {path} -o CATALOGUE first")


def refuse_other_plans(path: object, document: object) -> None:
    """Raise ValueError if a document is a workload, a model or a front, given in place of a plan."""
    if not isinstance(document, Mapping) or "scheme" in document:
        return
    if "layers" in document:
        raise InputError(f"it holds a workload; run stageplan plan {path} -o PLAN first")
    if "points" in document:
        raise InputError(
            "it holds a front of plans; run stageplan plan WORKLOAD -o PLAN for a plan of one point"
        )
    refuse_document(path, document)
