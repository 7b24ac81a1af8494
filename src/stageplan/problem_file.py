"""Problem files: the arrays of a problem as NumPy's .npz, and the rest of it as JSON inside."""

from __future__ import annotations

import os
from dataclasses import fields as fields_of_class
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from .array_fields import ARRAYS, fields_of_arrays
from .errors import InputError
from .goal import Goal
from .listed_options import ListedOptions, stored_arrays
from .output import write_whole
from .plan_cost import refuse_plan_cost
from .problem import Problem
from .readers.arrays import read_npz
from .readers.bounded import about, as_path, from_json
from .strategies import BY_COLUMN, BY_TYPE
from .workload import Conditions

_FORMAT = "stageplan problem 1"
_OPTIONAL = ("column_type", "column_degree", *BY_COLUMN, *BY_TYPE)
_BY_PASS = ("backward", "prefill")  # of profiled networks
_OPTIONS = {f"options_{field.name}": field.name for field in fields_of_class(ListedOptions)}

_Index = Annotated[int, Meta(ge=0)]
_Size = Annotated[float, Meta(ge=0)]


class _Rest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of a problem is not an array."""

    name: str
    goal: Goal
    conditions: Conditions
    fixed_price: float
    tensors: tuple[tuple[_Index, tuple[_Index, ...], _Size], ...]
    ties: tuple[tuple[_Index, ...], ...]
    layer_names: tuple[str, ...]
    layer_kinds: tuple[str, ...]
    layer_modules: tuple[tuple[str, ...], ...]
    parameters: tuple[_Size, ...]
    type_names: tuple[str, ...]
    column_strategy: tuple[str, ...] | None


def write_problem(problem: Problem, path: str | os.PathLike[str]) -> None:
    """Write a problem, atomically: see `Problem.save`."""
    refuse_plan_cost(problem, "a problem file has none")
    fields = problem._fields()
    rest = {name: fields[name] for name in _Rest.__struct_fields__ if name != "goal"} | {"goal": problem.goal}
    arrays = {name: fields[name] for name in (*ARRAYS, *_OPTIONAL, *_BY_PASS) if fields[name] is not None}
    if fields["options"] is not None:
        options = {name: getattr(fields["options"], attribute) for name, attribute in _OPTIONS.items()}
        arrays |= {name: array for name, array in options.items() if array is not None}
    document = np.frombuffer(msgspec.json.encode(rest), np.uint8)
    write_whole(
        as_path("path", path), lambda stream: np.savez(stream, format=_FORMAT, document=document, **arrays)
    )


def read_problem(path: str | os.PathLike[str]) -> Problem:
    """Read a problem, checked as one that is made from arrays: see `Problem.load`."""
    file = as_path("path", path)
    with about(file):
        try:
            return _problem(_read(file))
        except (TypeError, ValueError) as error:
            raise InputError(f"it is not a valid problem file: {error}") from None


def _read(file: Path) -> dict[str, npt.NDArray[Any]]:
    read = read_npz(file, ("format", "document", *ARRAYS, *_OPTIONAL, *_BY_PASS, *_OPTIONS))
    found = str(read["format"]) if "format" in read else None
    if found != _FORMAT:
        raise InputError(f"its format is {found!r}; it must be {_FORMAT!r}")
    options = () if _OPTIONS.keys().isdisjoint(read) else ("options_begin", "options_devices", "options_time")
    for name in ("document", *ARRAYS, *options):
        if name not in read:
            raise InputError(f"{name} is absent")
    return read


def _problem(read: dict[str, npt.NDArray[Any]]) -> Problem:
    rest: _Rest = from_json(read["document"].tobytes(), _Rest, "JSON of a problem")
    values = {name: getattr(rest, name) for name in _Rest.__struct_fields__ if name != "goal"}
    fields = fields_of_arrays({name: read.get(name) for name in (*ARRAYS, *_OPTIONAL)} | values)
    layers = len(fields["layer_names"])
    for name in ("layer_kinds", "layer_modules", "parameters"):
        if len(values[name]) != layers:
            raise InputError(f"{name} has {len(values[name])} entries; it must have {layers}")
    if any(layer >= layers for tie in rest.ties for layer in tie):
        raise InputError(f"ties has a layer that is not from 0 to {layers - 1}")
    for name in _BY_PASS:
        if name in read and read[name].shape != fields["compute"].shape:
            raise InputError(f"{name} has shape {read[name].shape}; it must be {fields['compute'].shape}")
    kept = ("name", "conditions", "ties", "layer_kinds", "layer_modules", "parameters")
    fields |= {name: values[name] for name in kept}
    fields |= {name: _seconds(read[name]) for name in _BY_PASS if name in read}
    if "options_begin" in read:
        given = {attribute: read[name] for name, attribute in _OPTIONS.items() if name in read}
        fixed_goal = bool(np.any(given.pop("fixed_goal", False)))
        fields["options"] = ListedOptions(**stored_arrays(given), fixed_goal=fixed_goal)
    return Problem._of(fields, rest.goal)


def _seconds(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    array = values.astype(np.float64)
    array.flags.writeable = False
    return array
