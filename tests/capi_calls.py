"""The C API through ctypes: structs, functions by name, and problems of arguments of ``from_arrays``."""

import ctypes
from collections.abc import Mapping
from ctypes import POINTER, Structure, byref, c_char, c_double, c_int, c_int32, c_int64, c_size_t, c_uint64
from ctypes import c_void_p as pointer
from itertools import accumulate
from typing import Any

import numpy as np

from stageplan import capi

OK, INVALID, NO_MEMORY, FAILED = range(4)
OBJECTIVES = ("cost", "throughput", "price")
MERGES = ("adjacent", "type")
AUTO, EXACT = range(2)
STATUSES = ("optimal", "feasible", "infeasible", "unknown")
INTEGERS = ("producer", "consumers", "consumers_end")


def _fields(type_: Any, names: str) -> list[tuple[str, Any]]:
    return [(name, type_) for name in names.split()]


class Error(Structure):
    _fields_ = [("message", c_char * 512)]


class Arrays(Structure):
    _fields_ = [
        ("size", c_size_t),
        *_fields(c_int32, "layers types"),
        *_fields(pointer, "compute send receive compute_parallel transfer_parallel memory workspace"),
        *_fields(pointer, "price limit capacity bandwidth"),
        ("fixed_price", c_double),
        ("tensors", c_int32),
        *_fields(pointer, "producer bytes consumers consumers_end"),
    ]


class Goal(Structure):
    _fields_ = [
        ("size", c_size_t),
        *_fields(c_int32, "objective merge overlap split max_devices_per_stage"),
        *_fields(c_double, "examples min_throughput max_duration max_cost max_price"),
    ]


class Search(Structure):
    _fields_ = [
        ("size", c_size_t),
        *_fields(c_int32, "method population stagnation"),
        *_fields(c_uint64, "seed work"),
    ]


class Plan(Structure):
    _fields_ = [
        *_fields(c_double, "cost time price violation"),
        ("devices", c_int64),
        ("stages", c_int32),
    ]


class Stage(Structure):
    _fields_ = [
        *_fields(c_int32, "label type first last devices column replicas in_flight"),
        *_fields(c_double, "time compute transfer memory"),
    ]


class Result(Structure):
    _fields_ = [("plan", Plan), ("bound", c_double), ("status", c_int32), ("work", c_uint64)]


SIGNATURES = {
    "arrays_init": (None, POINTER(Arrays)),
    "goal_init": (None, POINTER(Goal)),
    "search_init": (None, POINTER(Search)),
    "problem_new": (c_int, POINTER(Arrays), POINTER(Goal), POINTER(pointer), POINTER(Error)),
    "problem_free": (c_int, pointer, POINTER(Error)),
    "scorer_new": (c_int, pointer, c_double, POINTER(pointer), POINTER(Error)),
    "scorer_free": (c_int, pointer, POINTER(Error)),
    "score": (c_int, pointer, pointer, c_size_t, c_int32, *[pointer] * 4, POINTER(Error)),
    "provision": (c_int, pointer, pointer, c_int32, POINTER(Plan), pointer, POINTER(Error)),
    "solve": (
        c_int, pointer, POINTER(Search), c_int32, POINTER(Result), pointer, pointer, POINTER(Error),
    ),
}  # fmt: skip


def address_of(name: str) -> int:
    """The address of a function, which its capsule has."""
    capsule = capi.__pyx_capi__[name]
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get = api.PyCapsule_GetPointer
    get.restype, get.argtypes = pointer, [ctypes.py_object, ctypes.c_char_p]
    return get(capsule, api.PyCapsule_GetName(capsule))


FUNCTIONS = {name: ctypes.CFUNCTYPE(*types)(address_of(name)) for name, types in SIGNATURES.items()}


def call(name: str, *arguments: Any) -> str:
    """Call a function; the sentence of its error, empty where its status is OK."""
    error = Error()
    status = FUNCTIONS[name](*arguments, byref(error))
    assert (status == OK) == (not error.message)
    assert status in (OK, INVALID)
    return error.message.decode()


def new(struct: type[Structure]) -> Any:
    """A struct as its ``_init`` function sets it."""
    made = struct()
    FUNCTIONS[f"{struct.__name__.lower()}_init"](byref(made))
    return made


def set_array(arrays: Arrays, name: str, values: Any) -> None:
    """Point to numbers, which the struct then keeps alive."""
    numbers = np.ascontiguousarray(values, np.int32 if name in INTEGERS else np.float64)
    setattr(arrays, name, numbers.ctypes.data)
    arrays.__dict__[f"{name} "] = numbers


def structs(compute: Any, tensors: Any = None, **arguments: Any) -> tuple[Arrays, Goal]:
    """The structs of a problem, from arguments of ``Problem.from_arrays``."""
    arrays, goal = new(Arrays), new(Goal)
    arrays.layers, arrays.types = np.shape(compute)
    set_array(arrays, "compute", compute)
    if tensors:
        arrays.tensors = len(tensors)
        set_array(arrays, "producer", [producer for producer, _, _ in tensors])
        set_array(arrays, "bytes", [size for _, _, size in tensors])
        set_array(arrays, "consumers", [layer for _, layers, _ in tensors for layer in layers])
        set_array(arrays, "consumers_end", list(accumulate(len(layers) for _, layers, _ in tensors)))
    for name, value in arguments.items():
        _set(arrays, goal, name, value)
    return arrays, goal


def _set(arrays: Arrays, goal: Goal, name: str, value: Any) -> None:
    shape = {"send": 2, "receive": 2, "compute_parallel": 2}.get(name, 1)
    if value is None:
        return
    if name == "fixed_price":
        arrays.fixed_price = value
    elif name in dict(Goal._fields_):
        choices: Mapping[str, tuple[str, ...]] = {"objective": OBJECTIVES, "merge": MERGES}
        setattr(goal, name, choices[name].index(value) if name in choices else value)
    elif shape == 2:
        set_array(arrays, name, np.broadcast_to(value, (arrays.layers, arrays.types)))
    else:
        size = arrays.layers if name in ("memory", "workspace") else arrays.types
        set_array(arrays, name, np.broadcast_to(value, (size,)))


def make_problem(**arguments: Any) -> pointer:
    """A handle of a problem, from arguments of ``Problem.from_arrays``."""
    handle = pointer()
    arrays, goal = structs(**arguments)
    sentence = call("problem_new", byref(arrays), byref(goal), byref(handle))
    assert sentence == ""
    return handle
