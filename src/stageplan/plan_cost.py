"""A cost of plans that the user writes in Python, compiled: any objective that their stages determine."""

from __future__ import annotations

import marshal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _core
from .arguments import as_floats
from .compiled import (
    Frozen,
    check_parameters,
    check_returns_number,
    compile_function,
    explain_error,
    load_numba,
    names_in,
)
from .errors import InputError, InputTypeError
from .fields import show

if TYPE_CHECKING:
    from .plan import Plan
    from .problem import Problem

_KIND = "plan_cost"

# As in native/model/plan_cost.h.
STAGE = np.dtype(
    [(name, np.int32) for name in (
        "first", "last", "layers", "type", "column", "devices", "replicas", "in_flight",
    )]
    + [(name, np.float64) for name in ("time", "compute", "transfer", "sync", "memory", "price")],
    align=True,
)  # fmt: skip
PLAN = np.dtype(
    [(name, np.float64) for name in ("time", "throughput", "duration", "price", "cost")], align=True
)
_ALWAYS = "first", "last", "type", "devices"  # of a stage, which errors show
_LINE = 16  # bytes, of which the size of a stage is a multiple
_FIELDS = f"a stage has the fields {', '.join(STAGE.names or ())}; a plan has {', '.join(PLAN.names or ())}"


class PlanCost:
    """A compiled cost of plans; less is better. Made by `plan_cost`.

    Attributes
    ----------
    name : str
        Name of the function.
    function : function
        The Python function; ``cost(plan)`` calls it, which helps to find errors.
    constants : ndarray of one record, or None
        The arrays that are passed to it.
    """

    def __init__(self, function: FunctionType, constants: dict[str, npt.ArrayLike]) -> None:
        self.constants = _record(constants)
        check_parameters(
            _KIND, function, ("stages", "plan") if self.constants is None else ("stages", "plan", "constants")
        )
        self.function, self.name = function, function.__name__
        self.__doc__, self.__module__ = function.__doc__, function.__module__
        self.__qualname__ = function.__qualname__
        self._frozen = Frozen(_KIND, function)
        self._stage = _stage_of(_fields_named(function))
        try:
            compiled = _compile(function, self._stage, self.constants)
        except InputError:  # a field may be read by another function
            self._stage = STAGE
            compiled = _compile(function, STAGE, self.constants)
        self._cost, self._loop = compiled  # of the loop the core has the address only
        self._passed = np.zeros(1) if self.constants is None else self.constants
        self.core = _core.PlanCost(
            self.name, self._loop.address, self._passed.ctypes.data, _layout(self._stage)
        )

    def content(self) -> bytes:
        """Return what it computes: its code, the variables that it reads, and its constants."""
        code = self.function.__code__.replace(co_filename="", co_firstlineno=1)
        constants = (
            b"" if self.constants is None else repr(self.constants.dtype).encode() + self.constants.tobytes()
        )
        return b"\n".join((marshal.dumps(code), self._frozen.content(), constants))

    def check(self) -> None:
        """Raise ValueError if a variable that it reads has changed since it was compiled."""
        self._frozen.check()

    def __call__(self, plan: Plan) -> float:
        """Compute the cost of a plan in Python, not compiled.

        Parameters
        ----------
        plan
            The plan, with or without a plan cost.

        Returns
        -------
        float
        """
        return float(self._run(self.function, *inputs(plan)))

    def _run(self, function: Callable[..., Any], stages: npt.NDArray[Any], plan: npt.NDArray[Any]) -> Any:
        records = (plan,) if self.constants is None else (plan, self.constants)
        return function(stages.view(np.recarray), *(one.view(np.recarray)[0] for one in records))

    def describe(self, error: _core.PlanCostError) -> str:
        """Describe what went wrong in a call from native code, with the plan that it was given."""
        stages, plan = (
            np.frombuffer(data, dtype).copy()
            for data, dtype in ((error.stages, self._stage), (error.plan, PLAN))
        )
        what = str(error)
        if error.raised:
            compiled, plain = (
                partial(self._run, function, stages, plan) for function in (self._cost, self.function)
            )
            what = explain_error(_KIND, self.function, compiled, plain)
        return f"{what}; the plan: {_show(stages)}"

    def __reduce__(self) -> str:
        """Refer to the variable of a module that holds it."""
        found: Any = sys.modules.get(self.__module__)
        for part in self.__qualname__.split("."):
            found = getattr(found, part, None)
        if found is not self:
            raise InputError(
                f"plan_cost {self.name} is not a variable {self.__qualname__} of the module "
                f"{self.__module__}; it must be, to be sent to another process or copied"
            )
        return str(self.__qualname__)

    def __repr__(self) -> str:
        return f"<plan_cost {self.name}>"


def plan_cost(function: Callable[..., float] | None = None, **constants: npt.ArrayLike) -> Any:
    """Compile a function as the cost by which plans are compared, for ``Problem(..., plan_cost=...)``.

    Each scheme is merged into stages and provisioned as always: with the devices that are best for the goal's
    objective, or that reach a target. If the plan meets all limits of the goal, the function computes its
    cost. Searches look for the plan of least cost.

    Parameters
    ----------
    function
        A Python function of `stages` and `plan` that numba can compile; it returns a number, less is better,
        or ``inf`` for a plan that is not allowed. `stages` is an array of records in the order of the layers:
        ``first``, ``last``, ``layers`` (first and last layer, and their number), ``type`` (number of the
        device type), ``column`` (number of the column of type and strategy, if the problem has columns; else
        the type), ``devices``, ``replicas``, ``in_flight`` (microbatches), ``time``, ``compute``,
        ``transfer``, ``sync`` (seconds per example), ``memory`` (bytes per device), ``price`` ($/hour of its
        devices). `plan` is a record: ``time`` (seconds per example), ``throughput`` (examples per second),
        ``duration`` (seconds), ``price`` ($/hour), ``cost`` ($).
    **constants : array_like
        Numbers and arrays that are passed to the function as the fields of a third argument, a record.

    Returns
    -------
    PlanCost
        Without `function`, a decorator that makes it.

    Raises
    ------
    ImportError
        Numba is not installed.
    TypeError, ValueError
        The function has other parameters, does not compile, or does not return a number.

    Notes
    -----
    Numba takes global and closure variables that the function reads as constants; numbers, tuples and arrays
    are allowed. If one has changed since, using the plan cost in a problem raises an error.

    Examples
    --------
    Energy of a pipeline whose devices draw more power while they compute:

    >>> import stageplan as sp
    >>> @sp.plan_cost(idle=[40.0, 90.0], busy=[180.0, 700.0])
    ... def energy(stages, plan, watts):
    ...     total = 0.0
    ...     for stage in stages:
    ...         idle, busy = watts.idle[stage.type], watts.busy[stage.type]
    ...         total += stage.devices * (idle + (busy - idle) * stage.compute / plan.time)
    ...     return total * plan.duration / 3.6e6
    >>> problem = sp.Problem.from_arrays(
    ...     [[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0], examples=3600, plan_cost=energy
    ... )
    >>> result = sp.solve(problem)
    >>> result.plan.scheme.tolist(), result.plan.plan_cost
    ([1, 0], 0.88)
    """

    def make(function: Any) -> PlanCost:
        return PlanCost(function, constants)

    return make if function is None else make(function)


def inputs(plan: Plan) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return what a plan cost sees of a plan.

    Parameters
    ----------
    plan
        The plan.

    Returns
    -------
    stages : ndarray of records, shape (stages,)
    plan : ndarray of records, shape (1,)
    """
    problem = plan.problem
    types = [int(problem.label_types[stage.label]) for stage in plan.stages]
    rows = [
        (
            stage.layers[0], stage.layers[-1], len(stage.layers),
            t, _column(problem, t, stage.strategy), stage.devices, stage.replicas, stage.in_flight,
            stage.time, stage.compute, stage.transfer, stage.sync, stage.memory, stage.price,
        )
        for t, stage in zip(types, plan.stages, strict=True)
    ]  # fmt: skip
    numbers = (plan.time, plan.throughput, plan.duration, plan.price, plan.cost)
    return np.array(rows, STAGE), np.array([numbers], PLAN)


def _column(problem: Problem, t: int, strategy: str) -> int:
    if problem.column_type is None or problem.column_strategy is None:
        return t
    columns = zip(problem.column_type.tolist(), problem.column_strategy, strict=True)
    return next((c for c, column in enumerate(columns) if column == (t, strategy)), -1)


@contextmanager
def explained(plan_cost: PlanCost | None) -> Iterator[None]:
    """Raise the errors of the compiled plan cost with reason, line of the function, and plan.

    Raises
    ------
    ValueError
        Also if a variable that it reads has changed since it was compiled.
    """
    if plan_cost is not None:
        plan_cost.check()
    try:
        yield
    except _core.PlanCostError as error:
        if plan_cost is None:
            raise
        raise InputError(plan_cost.describe(error)) from None


def check_plan_cost(value: object) -> PlanCost | None:
    """Return a plan cost or None; TypeError for all else, ValueError if a variable of it has changed."""
    if value is None:
        return None
    if isinstance(value, PlanCost):
        value.check()
        return value
    raise InputTypeError(f"plan_cost is {show(value)}; it must be made by stageplan.plan_cost")


def refuse_plan_cost(problem: Problem, why: str) -> None:
    """Raise ValueError where plans cannot be compared by a plan cost."""
    if problem.plan_cost is not None:
        raise InputError(
            f"the problem has the plan_cost {problem.plan_cost.name}; {why}: "
            f"pass problem.replace(plan_cost=None)"
        )


def _record(constants: dict[str, npt.ArrayLike]) -> npt.NDArray[Any] | None:
    """Return one record of all constants, which the compiled function reads where it lies."""
    if not constants:
        return None
    arrays = {name: as_floats(name, value) for name, value in constants.items()}
    record = np.zeros(
        1, np.dtype([(name, np.float64, array.shape) for name, array in arrays.items()], align=True)
    )
    for name, array in arrays.items():
        record[name] = array
    record.flags.writeable = False
    return record


def _fields_named(function: FunctionType) -> list[str]:
    """Return the fields of stages that a function can read, as its code names them, and some always."""
    names = names_in(function)
    return [name for name in STAGE.names or () if name in _ALWAYS or name in names]


def _stage_of(names: Sequence[str]) -> np.dtype[Any]:
    """Return the type of stages that have some fields only, in lines."""
    packed = np.dtype([(name, STAGE[name]) for name in names], align=True)
    return np.dtype(
        {
            "names": names,
            "formats": [STAGE[name] for name in names],
            "offsets": [_offset(packed, name) for name in names],
            "itemsize": -(-packed.itemsize // _LINE) * _LINE,
        },
        align=True,
    )


def _offset(stage: np.dtype[Any], name: str) -> int:
    fields = stage.fields
    assert fields is not None
    return int(fields[name][1])


def _layout(stage: np.dtype[Any]) -> list[int]:
    """Return, for each 4 bytes of a stage, which of a stage with all fields they are."""
    words = [0] * (stage.itemsize // 4)
    for name in stage.names or ():
        to, of = _offset(stage, name) // 4, _offset(STAGE, name) // 4
        for word in range(STAGE[name].itemsize // 4):
            words[to + word] = of + word
    return words


def _compile(
    function: FunctionType, stages: np.dtype[Any], constants: npt.NDArray[Any] | None
) -> tuple[Any, Any]:
    """Compile the function for stages of a type, and the loop over plans that native code calls."""
    numba = load_numba(_KIND)
    types, carray = numba.types, numba.carray
    stage, plan = numba.from_dtype(stages), numba.from_dtype(PLAN)
    given = () if constants is None else (numba.from_dtype(constants.dtype),)
    cost, returned = compile_function(_KIND, function, (stage[::1], plan, *given), _FIELDS)
    check_returns_number(_KIND, function, returned)
    passed = cost if given else numba.njit(lambda stages, plan, none: cost(stages, plan))

    def costs_of(stages, ends, plans, count, constants, costs):  # type: ignore[no-untyped-def]
        all_stages, all_plans = carray(stages, ends[count - 1]), carray(plans, count)
        given = carray(constants, 1)[0]
        begin = i = 0
        try:
            while i < count:
                costs[i] = passed(all_stages[begin : ends[i]], all_plans[i], given)
                begin = ends[i]
                i += 1
        except Exception:  # which the caller looks into
            return i
        return count

    pointer = types.CPointer
    signature = types.int64(
        pointer(stage), pointer(types.int64), pointer(plan), types.int64,
        pointer(given[0] if given else types.float64), pointer(types.float64),
    )  # fmt: skip
    return cost, numba.cfunc(signature)(costs_of)


def _show(stages: npt.NDArray[Any]) -> str:
    return ", ".join(
        f"layers {s['first']} to {s['last']} on type {s['type']} with {s['devices']} devices" for s in stages
    )
