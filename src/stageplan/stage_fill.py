"""Options of all stages from a stage cost: called in blocks on all threads, checked and moved together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .arguments import count_threads
from .compiled import compile_function, describe_error, load_numba
from .errors import InputError, InputTypeError
from .fields import show
from .listed_options import Ints, ListedOptions, stages_before
from .stage_cost import KIND, StageCost, classes_of, is_result
from .stage_records import Choices, Records, make_choices, make_records
from .stage_rows import PARTS

if TYPE_CHECKING:
    from .problem import Problem

_MOST_OPTIONS = 1 << 27
_REPEATED = 4096  # calls that are made twice, to see whether a function agrees with itself


class _UncountedError(Exception):
    """An option of a stage was left out before another one: its devices are not 1, 2, ..."""


class _Wrong(NamedTuple):
    """What a function returned that is not allowed."""

    first: int
    last: int
    choice: int
    part: int
    value: float


def fill_options(
    problem: Problem,
    cost: StageCost,
    replicas: Sequence[int] | None,
    layers: Mapping[str, Any],
    types: Mapping[str, Any],
    threads: int | None,
) -> ListedOptions:
    """Call a cost for all stages; see `Problem.with_stage_cost`."""
    if not isinstance(cost, StageCost):
        raise InputTypeError(f"cost is {show(cost)}; it must be a function decorated with stage_cost")
    load_numba(KIND)
    records, choices = make_records(problem, layers, types), make_choices(problem, replicas)
    table = _Table(problem, cost, records, choices)
    table.fill(count_threads(threads))
    table.check_agreement()
    return table.options()


class _Table:
    """The options of all stages, while they are filled: each row of first layers has a part of the arrays."""

    def __init__(self, problem: Problem, cost: StageCost, records: Records, choices: Choices) -> None:
        self._problem, self._cost, self._choices = problem, cost, choices
        self._fields = records.layer_fields, records.type_fields
        layers, columns = problem.n_layers, len(records.unsupported[0])
        self._per_stage = len(choices.column)
        most = stages_before(layers, layers) * self._per_stage
        if most > _MOST_OPTIONS:
            raise InputError(
                f"replicas gives up to {self._per_stage} options for each of {stages_before(layers, layers)} "
                f"stages; there must be at most {_MOST_OPTIONS:,} in all"
            )
        plain = columns == problem.n_types and not (choices.degree != 1).any()
        groups = int(choices.group.max()) + 1
        goal = problem.goal
        self._records = (
            *(by_layer.reshape(-1) for by_layer in (records.high, records.low, records.infinite)),
            records.maxima.reshape(-1, records.maxima.shape[-1]),
            records.unsupported, records.types, records.in_bytes, records.out_bytes,
            float(goal.batch or 1), float(goal.microbatches or 1),
        )  # fmt: skip
        group = choices.group if groups > 1 else np.full_like(choices.group, -1)
        kinds = (choices.devices, choices.replicas, choices.column, group, choices.degree, choices.strategy)
        self._kinds = choices.begin, kinds, choices.share
        self._parts = 1
        self._numbers, self._chosen = self._arrays(most, 0 if plain and groups == 1 else 4)
        self._counts = self._no_counts()
        self._row = cost.loop(records)
        self._ends: list[int] = []

    def _arrays(self, size: int, wholes: int) -> tuple[npt.NDArray[np.float64], Ints]:
        """Make arrays for options, whose pages take memory when they are written."""
        return np.empty((len(PARTS), size)), np.empty((wholes, size), np.int32)

    def _no_counts(self) -> npt.NDArray[np.int64]:
        layers = self._problem.n_layers
        return np.zeros(stages_before(layers, layers) * self._problem.n_types, np.int64)

    def _start(self, first: int) -> int:
        return stages_before(first, self._problem.n_layers) * self._per_stage

    def fill(self, threads: int) -> None:
        """Fill all rows; from the start again with an array of devices, where these cannot be counted."""
        try:
            self._fill_rows(threads)
        except _UncountedError:
            self._chosen = np.empty((1, self._numbers.shape[1]), np.int32)
            self._fill_rows(threads)

    def _fill_rows(self, threads: int) -> None:
        """Fill all rows; the first one alone, which compiles."""
        whole = self._numbers, self._chosen, self._counts
        self._ends = [self._fill_row(0, 0, *whole)]
        with ThreadPoolExecutor(threads) as pool:
            each = pool.map if threads > 1 else map  # handing over hundreds of rows takes time
            self._ends += each(
                lambda first: self._fill_row(first, self._start(first), *whole),
                range(1, self._problem.n_layers),
            )

    def _fill_row(
        self,
        first: int,
        place: int,
        numbers: npt.NDArray[np.float64],
        chosen: Ints,
        counts: npt.NDArray[np.int64],
    ) -> int:
        try:
            end, parts, last, choice, part, value = self._row(
                first, place, self._kinds, self._records, numbers, chosen, counts
            )
        except Exception as error:
            self._explain(error)
            raise
        if end < 0:
            raise _UncountedError
        if part >= 0:
            self._refuse(_Wrong(first, last, choice, part, value))
        self._parts = max(self._parts, parts)
        return int(end)

    def _explain(self, error: Exception) -> None:
        """Raise an error of one sentence, if it is the function that does not compile, or that raises."""
        function = self._cost.function
        stage, fields, layers, device = classes_of(*self._fields)
        numba = load_numba(KIND)
        typeof, real, whole = numba.typeof, np.float64(0), np.int64(0)
        record = fields(*[real] * len(fields._fields))
        whole_fields = stage._fields.index("share")
        numbers = [np.int32(0) if n in _NARROW else whole for n in stage._fields[:whole_fields]]
        of_stage = stage(*numbers, *[real] * (len(stage._fields) - whole_fields))
        given = (of_stage, layers(*[record] * 4), device(*[real] * len(device._fields)))
        try:
            _, result = compile_function(KIND, function, tuple(map(typeof, given)))
        except InputError as refused:
            raise InputError(_with_fields(str(refused), (stage, fields, layers, device))) from None
        _check_result(function, result)
        if isinstance(error, numba.core.errors.NumbaError):
            return
        raise InputError(describe_error(KIND, function, error)) from None

    def _refuse(self, wrong: _Wrong) -> None:
        choices, problem = self._choices, self._problem
        t = int(np.searchsorted(choices.begin, wrong.choice, side="right")) - 1
        devices = int(choices.devices[wrong.choice])
        unit = "bytes" if PARTS[wrong.part] in ("memory", "activations") else "seconds"
        allowed = f"0 or from 1e-60 to 1e60 {unit}" + (
            ", or inf where it cannot run" if wrong.part == 0 else ""
        )
        raise InputError(
            f"{KIND} {self._cost.function.__name__} returns {PARTS[wrong.part]} {wrong.value:g} for layers "
            f"{wrong.first} to {wrong.last} on {problem.type_names[t]} with {devices} "
            f"device{'s' if devices > 1 else ''}; it must be {allowed} ({_place(self._cost.function)})"
        )

    def check_agreement(self) -> None:
        """Raise ValueError if the function gives other options when it is called again."""
        layers, per_stage = self._problem.n_layers, self._per_stage
        all_stages, first = stages_before(layers, layers), layers - 1
        while first > 0 and (all_stages - stages_before(first, layers)) * per_stage < _REPEATED:
            first -= 1
        counts = self._no_counts()
        numbers, chosen = self._arrays((layers - first) * per_stage, max(1, len(self._chosen)))
        for row in range(first, layers):
            size = self._fill_row(row, 0, numbers, chosen, counts)
            before = slice(self._start(row), self._ends[row])
            if not (
                np.array_equal(numbers[: self._parts, :size], self._numbers[: self._parts, before])
                and np.array_equal(chosen[: len(self._chosen), :size], self._chosen[:, before])
            ):
                raise InputError(
                    f"{KIND} {self._cost.function.__name__} returns different numbers for the same stage; "
                    f"it must depend on nothing but its arguments ({_place(self._cost.function)})"
                )

    def options(self) -> ListedOptions:
        """Move the rows together."""
        size, arrays = 0, [*self._numbers[: self._parts], *self._chosen]
        for first, end in enumerate(self._ends):
            begin = self._start(first)
            if size < begin:
                for array in arrays:
                    array[size : size + end - begin] = array[begin:end]
            size += end - begin
        many = size > self._numbers.shape[1] // 2  # of few, only these are kept in memory
        kept = [array[:size] if many else array[:size].copy() for array in arrays]
        given = dict(zip(PARTS, kept[: self._parts], strict=False))
        wholes = kept[self._parts :]
        if len(wholes) == 1:
            wholes *= 2  # as many replicas as devices
        given |= dict(zip(("devices", "replicas", "column"), wholes, strict=False))
        begins = np.zeros(len(self._counts) + 1, np.uint32)
        np.cumsum(self._counts, out=begins[1:])
        return ListedOptions(begin=begins, fixed_goal=True, **given)


_NARROW = ("strategy", "column", "degree", "replicas", "devices")  # fields that are read from int32


def _with_fields(sentence: str, records: tuple[Any, ...]) -> str:
    """Name the fields of a record instead of its type, where a function reads one that it does not have."""
    for record in records:
        known = f"; it must be one of {', '.join(record._fields)}"
        sentence = re.sub(rf" of type {record.__name__}\(.*?\)(?= \()", known, sentence)
    return sentence


def _check_result(function: FunctionType, result: Any) -> None:
    """Raise TypeError unless a numba type is that of a number, or of a tuple of 1 to 5 of them."""
    if is_result(result):
        return
    types = load_numba(KIND).types
    what = {types.NoneType: "None", types.Optional: "a number only sometimes"}.get(type(result), str(result))
    raise InputTypeError(
        f"{KIND} {function.__name__} returns {what}; it must return the seconds of the stage, or a tuple "
        f"of the first few of {', '.join(PARTS)} ({_place(function)})"
    )


def _place(function: FunctionType) -> str:
    return f"{function.__code__.co_filename}, line {function.__code__.co_firstlineno}"
