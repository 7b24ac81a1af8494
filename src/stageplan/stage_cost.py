"""Your own cost of stages: a Python function, compiled by numba."""

from __future__ import annotations

import hashlib
import sys
from collections import namedtuple
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

import numpy as np

from . import stage_rows
from .compiled import Frozen, check_parameters, load_numba
from .errors import InputTypeError
from .fields import show
from .stage_records import PLACES, STAGE, Records
from .stage_rows import PARTS

__all__ = ["StageCost", "stage_cost"]

KIND = "stage_cost"
PARAMETERS = ("stage", "layers", "device")

Function = Callable[[Any, Any, Any], Any]


class StageCost:
    """A Python function that gives the cost of a stage; see `stage_cost`.

    Attributes
    ----------
    function
        The function itself. Calling the object calls it, not compiled.
    """

    def __init__(self, function: Function) -> None:
        check_parameters(KIND, function, PARAMETERS)
        if not isinstance(function, FunctionType):
            raise InputTypeError(f"{KIND} is {show(function)}; it must be a Python function")
        self.function = function
        self._frozen: Frozen | None = None
        self._loops: dict[tuple[tuple[str, ...], tuple[str, ...]], Any] = {}

    def __call__(self, stage: Any, layers: Any, device: Any) -> Any:
        """Call the function, not compiled."""
        return self.function(stage, layers, device)

    def __repr__(self) -> str:
        return f"<StageCost {self.function.__name__}>"

    def loop(self, records: Records) -> Any:
        """Return the compiled loop for some records.

        Raises
        ------
        ValueError
            A variable that the function reads has changed since it was compiled.
        """
        if self._frozen is None:
            self._frozen = Frozen(KIND, self.function)
        self._frozen.check()
        key = records.layer_fields, records.type_fields
        if key not in self._loops:
            self._loops[key] = compile_row(self.function, classes_of(*key), self._frozen.source())
        return self._loops[key]


def stage_cost(function: Function) -> StageCost:
    """Turn a Python function into a cost of stages for `Problem.with_stage_cost`; numba compiles it.

    Parameters
    ----------
    function
        ``def cost(stage, layers, device)`` of three records. It returns the seconds per example of the
        stage, inf where it cannot run, or a tuple of the first few of: these seconds; the resident bytes
        per device; the bytes per device for each example of a microbatch in flight; with a schedule, the
        seconds per example of a microbatch's pass through the stage (by default the seconds of the stage);
        the seconds per example of all-reduce and update (without a schedule they are added to the
        seconds).

        ``stage`` has: ``first``, ``last``, its layers; ``layers``, their number; ``total``, that of the
        network; ``type``, ``strategy``, ``column``, by index; ``degree``, devices per replica;
        ``replicas``; ``devices``; ``share``, the fraction of the work that the fullest replica does;
        ``batch``, ``microbatches`` of the goal (1 if absent); ``in_bytes``, ``out_bytes``, the tensors
        that enter and leave, per example.

        ``layers`` has ``sum``, ``max``, ``first`` and ``last``: of all layers of the stage, or of one.
        Each has ``compute``, ``send``, ``receive``, ``compute_parallel``, ``memory``, ``sharded``,
        ``activations``, ``workspace``, ``gradients``, ``update`` and ``parameters`` as `Problem` has them
        (0 if absent), and the caller's own numbers by name.

        ``device`` has ``price``, ``limit``, ``capacity``, ``bandwidth``, ``transfer_parallel``,
        ``link``, ``network``, ``machine`` (inf if absent), and the caller's own numbers by name.

    Returns
    -------
    StageCost

    Raises
    ------
    TypeError
        It is not a Python function of three parameters.

    See Also
    --------
    Problem.with_stage_cost : Makes a problem with such a cost.
    """
    return StageCost(function)


def compile_row(
    function: FunctionType, classes: tuple[Any, Any, Any, Any], source: tuple[object, ...]
) -> Any:
    """Compile `stage_rows.row` for a function; machine code is kept beside its source file if possible.

    Parameters
    ----------
    function
        The stage cost.
    classes
        As `classes_of` makes them.
    source
        What its machine code depends on, for the name of the file: see `compiled.Frozen.source`.

    Returns
    -------
    numba dispatcher
        Compiled at its first call.
    """
    numba = load_numba(KIND)
    stage, fields, layers, device = classes
    names = {name: value for name, value in vars(stage_rows).items() if name.isupper()}
    names |= _helpers()
    names |= {
        "cost": numba.njit(nogil=True, boundscheck=True, error_model="python")(function),
        "Stage": stage, "Layers": layers, "fields_at": _reader(fields), "device_at": _reader(device),
        "as_parts": _completion(), "np": np, "__name__": function.__module__,
    }  # fmt: skip
    sources = [f.__code__.co_code for f in (stage_rows.row, *_HELPERS)]
    said = repr((fields._fields, device._fields, source, sources, function.__module__))
    name = f"{function.__name__}_{hashlib.sha256(said.encode()).hexdigest()[:16]}"
    code = stage_rows.row.__code__.replace(
        co_filename=function.__code__.co_filename, co_name=name, co_qualname=name
    )
    return _compiled(FunctionType(code, names))


def _compiled(function: Any) -> Any:
    """Compile a function at its first call, and keep the machine code if that is possible."""
    numba = load_numba(KIND)
    imported = function.__module__ in sys.modules  # another process can find it
    try:
        return numba.njit(nogil=True, cache=imported)(function)
    except RuntimeError:  # it is not in a file, or nothing can be written beside it
        return numba.njit(nogil=True)(function)


_HELPERS = (stage_rows.sum_up, stage_rows.first_wrong, stage_rows.replaceable)


@cache
def _helpers() -> dict[str, Any]:
    """Compile what does not depend on a user's function, once."""
    return {function.__name__: _compiled(function) for function in _HELPERS}


@cache
def classes_of(layer_fields: tuple[str, ...], type_fields: tuple[str, ...]) -> tuple[Any, Any, Any, Any]:
    """Make the classes of a stage, of the numbers of layers, of the layers of a stage and of a device."""
    names = {"Stage": STAGE, "Fields": layer_fields, "Layers": PLACES, "Device": type_fields}
    stage, fields, layers, device = (namedtuple(name, of) for name, of in names.items())
    return stage, fields, layers, device


@cache
def _reader(record: Any) -> Any:
    """Make the function that reads a row of a matrix as a record, without a view of the row."""
    numbers = ", ".join(f"array[i, {a}]" for a in range(len(record._fields)))
    return load_numba(KIND).njit(eval(f"lambda array, i: record({numbers})", {"record": record}))


@cache
def _completion() -> Any:
    """Make the function that completes a result to all `PARTS`, and counts those that it has."""
    numba = load_numba(KIND)

    def as_parts(result):  # type: ignore[no-untyped-def]
        raise NotImplementedError  # numba has the one below

    @numba.extending.overload(as_parts)
    def _(result):  # type: ignore[no-untyped-def]
        if not is_result(result):
            return None
        several = isinstance(result, numba.types.BaseTuple)
        given = [f"float(result[{i}])" for i in range(len(result))] if several else ["float(result)"]
        missing = ["0.0"] * (len(PARTS) - len(given))
        return eval(f"lambda result: ({len(given)}, ({', '.join(given + missing)}))")

    return as_parts


def is_result(type_: Any) -> bool:
    """Whether a numba type is that of a number, or of a tuple of the first few parts."""
    types = load_numba(KIND).types
    parts = tuple(type_) if isinstance(type_, types.BaseTuple) else (type_,)
    return 1 <= len(parts) <= len(PARTS) and all(isinstance(x, (types.Integer, types.Float)) for x in parts)
