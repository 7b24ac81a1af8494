"""Functions that users write in Python, compiled by numba: an error is one sentence, with reason and line."""

from __future__ import annotations

import dis
import inspect
import linecache
import re
import traceback
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from .errors import InputError, InputTypeError
from .fields import show

Function = Callable[..., Any]


def load_numba(kind: str) -> Any:
    """Import numba.

    Parameters
    ----------
    kind
        What needs it, such as ``"plan_cost"``.

    Raises
    ------
    ImportError
        It is not installed; the sentence names the extra.
    """
    try:
        import numba
    except ImportError:
        raise ImportError(
            f'numba is required for a {kind}; pip install "stageplan[numba]" installs it'
        ) from None
    return numba


def check_parameters(kind: str, function: object, parameters: tuple[str, ...]) -> None:
    """Raise unless `function` is a Python function of these parameters, by position.

    Raises
    ------
    TypeError
        It is not a plain Python function, or it has other parameters.
    """
    if not isinstance(function, FunctionType):
        raise InputTypeError(f"{kind} is {show(function)}; it must be a Python function")
    wanted = f"def {function.__name__}({', '.join(parameters)})"
    signature = inspect.signature(function)
    plain = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY
    given = signature.parameters.values()
    if len(given) != len(parameters) or any(p.kind not in plain for p in given):
        raise InputTypeError(f"{kind} is def {function.__name__}{signature}; it must be {wanted}")
    if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
        raise InputTypeError(f"{kind} {function.__name__} yields or awaits; it must return a number")


def compile_function(
    kind: str, function: FunctionType, types: tuple[Any, ...], fields: str = ""
) -> tuple[Any, Any]:
    """Compile a function for arguments of some types.

    An index out of range raises an error, as in Python; divisions by 0 do, too.

    Parameters
    ----------
    kind
        What the function is, such as ``"plan_cost"``.
    function
        The function.
    types
        Numba types of its arguments.
    fields
        Which fields its records have, for the sentence on an unknown one.

    Returns
    -------
    function, type
        The compiled function, to be called by other compiled functions, and the numba type of its result.

    Raises
    ------
    ValueError
        It does not compile.
    """
    numba = load_numba(kind)
    compiled = numba.njit(nogil=True, boundscheck=True, error_model="python")(function)
    try:
        compiled.compile(types)
    except Exception as error:  # of many classes, not all of them numba's
        reason, line = _unknown_field(function, error, fields) or _reason(function, error)
        raise InputError(f"{kind} {function.__name__} does not compile: {reason}{line}") from None
    return compiled, compiled.nopython_signatures[0].return_type


def check_returns_number(kind: str, function: FunctionType, type_: Any) -> None:
    """Raise TypeError unless the numba type of a result is a real number."""
    types = load_numba(kind).types
    if isinstance(type_, (types.Integer, types.Float)):
        return
    what = {types.NoneType: "None", types.Optional: "a number only sometimes"}.get(type(type_), str(type_))
    raise InputTypeError(
        f"{kind} {function.__name__} returns {what}; it must always return a number{_at(function)}"
    )


def names_in(function: FunctionType) -> set[str]:
    """Return all names and texts that occur in the code of a function and of the compiled ones it calls."""
    return {text for f in (function, *_callees(function)) for text in _texts(f.__code__)}


class Frozen:
    """The values of global and closure variables that a function has been compiled with.

    Numba takes them as constants. A later change would have no effect, silently: `check` detects it.
    """

    def __init__(self, kind: str, function: FunctionType) -> None:
        self._kind, self._function = kind, function
        self._values = {name: _fingerprint(value) for name, value in _read(function)}

    def content(self) -> bytes:
        """Return names and values of the variables."""
        return repr(sorted(self._values.items())).encode()

    def check(self) -> None:
        """Raise ValueError if a variable has another value than at compilation."""
        now = dict(_read(self._function))
        for name, before in self._values.items():
            if name not in now or _fingerprint(now[name]) != before:
                raise InputError(
                    f"{self._kind} {self._function.__name__} reads the variable {name}, which has changed "
                    f"since it was compiled with its value as a constant; define it again"
                )

    def source(self) -> tuple[object, ...]:
        """Return what the machine code depends on: code, also of callees, and constants."""
        functions = self._function, *_callees(self._function)
        values = [(name, value) for name, value in self._values.items() if isinstance(value, tuple)]
        return (*map(_code_of, (f.__code__ for f in functions)), *values)


def _callees(function: FunctionType) -> list[FunctionType]:
    """Return the compiled functions that a function calls, themselves or through others."""
    called = [getattr(value, "py_func", None) for _, value in _read(function)]
    return [f for f in called if isinstance(f, FunctionType)]


def _texts(value: object) -> Iterator[str]:
    """Yield the names and texts of a code object, or of one of its constants."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (tuple, frozenset)):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, CodeType):
        yield from value.co_names
        yield from _texts(value.co_consts)


def _code_of(code: CodeType) -> tuple[object, ...]:
    constants = (_code_of(x) if isinstance(x, CodeType) else repr(x) for x in code.co_consts)
    return code.co_code, code.co_names, code.co_varnames, *constants


def describe_error(
    kind: str, function: FunctionType, error: Exception, plain: Exception | None = None
) -> str:
    """Describe the error that a function raised as one sentence, with its line.

    Parameters
    ----------
    kind, function
        As for `compile_function`.
    error
        The error.
    plain
        The error of the same call in Python, for numba does not always tell the line.
    """
    text = f": {error}" if str(error) else ""
    where = _at(function, _line_of(function, plain) or _line_of(function, error))
    return f"{kind} {function.__name__} raised {type(error).__name__}{text}{where}"


def explain_error(
    kind: str, function: FunctionType, compiled: Callable[[], object], plain: Callable[[], object]
) -> str:
    """Describe the error that a compiled function raised elsewhere, by two calls more.

    Parameters
    ----------
    kind, function
        As for `compile_function`.
    compiled, plain
        Call the compiled function, and the Python function, with the same arguments again.
    """
    error = _raised(compiled)
    if error is None:
        name = f"{kind} {function.__name__}"
        return f"{name} raised an error, but not when called again; it must depend on its arguments only"
    return describe_error(kind, function, error, _raised(plain))


def _raised(call: Callable[[], object]) -> Exception | None:
    try:
        with np.errstate(divide="raise", invalid="raise"):
            call()
    except Exception as error:
        return error
    return None


def _line_of(function: FunctionType, error: Exception | None) -> int | None:
    if error is None:
        return None
    file = function.__code__.co_filename
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return lines[-1] if lines else None


def _read(function: FunctionType) -> Iterator[tuple[str, object]]:
    """Yield the global and closure variables that a function reads, and those of compiled ones it calls."""
    names = function.__code__.co_freevars
    for name, cell in zip(names, function.__closure__ or (), strict=True):
        yield from _with_callees(name, cell.cell_contents)
    for name in sorted(set(_globals_of(function.__code__))):
        if name in function.__globals__:
            yield from _with_callees(name, function.__globals__[name])


def _with_callees(name: str, value: object) -> Iterator[tuple[str, object]]:
    callee = getattr(value, "py_func", None)
    if isinstance(callee, FunctionType):
        for inner, read in _read(callee):
            yield f"{name}.{inner}", read
    yield name, value


def _globals_of(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL":
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_of(constant)


def _fingerprint(value: object) -> object:
    """Return what equals that of another value only if both are compiled to the same constant."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, tuple):
        return tuple(_fingerprint(item) for item in value)
    if isinstance(value, (bool, int, float, complex, str, np.generic)):
        return type(value), repr(value)
    return id(value)


def _unknown_field(function: FunctionType, error: BaseException, fields: str) -> tuple[str, str] | None:
    """Explain a KeyError, which numba raises without a line for a field that a record does not have."""
    if not isinstance(error, KeyError):
        return None
    name = str(error.args[0])
    line = next((line for line, attribute in _attributes(function.__code__) if attribute == name), None)
    return f"there is no field {name}; {fields}", _at(function, line)


def _attributes(code: CodeType) -> Iterator[tuple[int | None, str]]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR"):
            position = instruction.positions
            yield position.lineno if position else None, str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _attributes(constant)


def _reason(function: FunctionType, error: BaseException) -> tuple[str, str]:
    """Shorten numba's explanation to its first sentence, and find the line."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))  # colours
    text = re.sub(r"Record\(.*?;\d+;(True|False)\)", "record", text)
    raised = re.search(r"\s*Raised from (?:.* \((\d+)\)|None)\s*\Z", text)
    text = text[: raised.start()] if raised else text
    lines = [line.strip() for line in text.splitlines()]
    said = [line for line in lines if line and not line.startswith("Failed in ")] or [type(error).__name__]
    signature = next((line[4:] for line in said if line.startswith(">>> ")), "")
    reason = f"{said[0]} {signature}".strip().rstrip(".")
    line = getattr(getattr(error, "loc", None), "line", None)
    if line is None and raised and raised[1]:
        line = int(raised[1])
    return reason, _at(function, line)


def _at(function: FunctionType, line: int | None = None) -> str:
    """Say where a function, or one of its lines, stands."""
    code = function.__code__
    number = code.co_firstlineno if line is None else line
    text = linecache.getline(code.co_filename, number).strip()
    return f" ({code.co_filename}, line {number}" + (f": {text})" if text else ")")
