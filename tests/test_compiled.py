"""Functions of users, compiled by numba: errors in one sentence, with numba's reason and the user's line."""

import re
import sys

import numpy as np
import pytest

from stageplan.compiled import (
    Frozen,
    check_parameters,
    check_returns_number,
    compile_function,
    explain_error,
    load_numba,
    names_in,
)

numba = pytest.importorskip("numba")

STAGE = np.dtype([("type", np.int64), ("time", np.float64)], align=True)
FIELDS = "a stage has the fields type, time"
KIND = "plan_cost"

tariffs = [0.1, 0.2]
rates = np.array([1.0, 2.0])


def unknown_name(stages):
    return missing  # noqa: F821


def unknown_field(stages):
    total = 0.0
    for stage in stages:
        total += stage.tiem
    return total


def reads_a_list(stages):
    return tariffs[0]


def imports(stages):
    import os

    return os.getpid()


def adds_a_record(stages):
    return 1.0 + stages[0]


def opens_a_file(stages):
    with open("x") as file:
        return len(file.name)


def returns_nothing(stages):
    pass


def returns_sometimes(stages):
    if stages.size > 2:
        return None
    return 1.0


def returns_text(stages):
    return "cheap"


def reads_an_array(stages):
    return rates[stages[0].type]


def yields(stages):
    yield 1.0


def compiled(function):
    return compile_function(KIND, function, (numba.from_dtype(STAGE)[::1],), FIELDS)


@pytest.mark.parametrize(
    ("function", "reason", "line"),
    [
        (unknown_name, "name 'missing' is not defined", "return missing"),
        (unknown_field, f"there is no field tiem; {FIELDS}", "total += stage.tiem"),
        (reads_a_list, "reflected list", "return tariffs[0]"),
        (imports, "unsupported opcode (IMPORT_NAME)", "import os"),
        (adds_a_record, "No implementation of function", "return 1.0 + stages[0]"),
        (opens_a_file, "'with (context manager) as (variable):'", "def opens_a_file(stages):"),
    ],
)
def test_what_does_not_compile_is_one_sentence_with_reason_and_line(function, reason, line):
    with pytest.raises(ValueError, match=re.escape(reason)) as raised:
        compiled(function)
    text = str(raised.value)
    assert text.startswith(f"plan_cost {function.__name__} does not compile: ")
    assert re.search(rf"\({re.escape(__file__)}, line \d+: {re.escape(line)}", text)
    assert "\n" not in text
    assert "Record(" not in text


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (returns_nothing, "None"),
        (returns_sometimes, "a number only sometimes"),
        (returns_text, "Literal[str](cheap)"),
    ],
)
def test_a_result_must_be_a_number(function, what):
    _, type_ = compiled(function)
    with pytest.raises(TypeError, match=re.escape(f"{function.__name__} returns {what}; it must")):
        check_returns_number(KIND, function, type_)


def test_a_compiled_function_is_called_by_others():
    function, type_ = compiled(reads_an_array)
    check_returns_number(KIND, reads_an_array, type_)
    stages = np.array([(1, 3.0)], STAGE)
    assert numba.njit(lambda stages: 2 * function(stages))(stages) == 4.0
    stages["type"] = 7
    with pytest.raises(IndexError):
        function(stages)


@pytest.mark.parametrize("function", [lambda: 0.0, lambda a, b: 0.0, lambda *a: 0.0, lambda *, stages: 0.0])
def test_other_parameters_are_refused(function):
    with pytest.raises(TypeError, match=r"it must be def <lambda>\(stages\)"):
        check_parameters(KIND, function, ("stages",))


@pytest.mark.parametrize("function", [None, 1.0, len, "energy", type])
def test_only_python_functions_are_taken(function):
    with pytest.raises(TypeError, match="it must be a Python function"):
        check_parameters(KIND, function, ("stages",))


def test_generators_are_refused():
    with pytest.raises(TypeError, match="yields or awaits"):
        check_parameters(KIND, yields, ("stages",))


def test_a_global_that_changes_is_detected(monkeypatch):
    frozen = Frozen(KIND, reads_an_array)
    frozen.check()
    monkeypatch.setitem(globals(), "rates", np.array([1.0, 2.0]))
    frozen.check()  # another array of the same values
    monkeypatch.setitem(globals(), "rates", np.array([1.0, 3.0]))
    with pytest.raises(ValueError, match="reads_an_array reads the variable rates, which has changed"):
        frozen.check()


def test_a_closure_that_changes_is_detected():
    rate = np.array([1.0])
    frozen = Frozen(KIND, lambda stages: rate[0])
    frozen.check()
    rate[0] = 2.0
    with pytest.raises(ValueError, match="reads the variable rate, which has changed"):
        frozen.check()


def test_a_global_of_a_called_function_that_changes_is_detected(monkeypatch):
    helper = numba.njit(reads_an_array)
    frozen = Frozen(KIND, lambda stages: [helper(stages) for _ in range(2)])
    frozen.check()
    monkeypatch.setitem(globals(), "rates", np.array([1.0, 3.0]))
    with pytest.raises(ValueError, match=r"reads the variable helper\.rates"):
        frozen.check()


def test_names_of_attributes_are_no_globals(monkeypatch):
    frozen = Frozen(KIND, lambda stages: stages[0].rates)
    monkeypatch.setitem(globals(), "rates", np.array([1.0, 3.0]))
    frozen.check()


def test_an_error_of_the_function_names_its_line():
    function, _ = compiled(reads_an_array)
    stages = np.array([(7, 3.0)], STAGE).view(np.recarray)
    text = explain_error(KIND, reads_an_array, lambda: function(stages), lambda: reads_an_array(stages))
    assert re.fullmatch(
        rf"plan_cost reads_an_array raised IndexError: index is out of bounds "
        rf"\({re.escape(__file__)}, line \d+: return rates\[stages\[0\]\.type\]\)",
        text,
    )


def test_an_error_that_does_not_come_again_is_told():
    text = explain_error(KIND, reads_an_array, lambda: None, lambda: None)
    assert text.startswith("plan_cost reads_an_array raised an error, but not when called again")


def test_without_numba_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(ImportError, match=r'required for a plan_cost; pip install "stageplan\[numba\]"'):
        load_numba(KIND)


@numba.njit
def inner(stage):
    return stage.memory


@numba.njit
def called(stages):
    return inner(stages[0]) + stages["sync"][0]


def reads_by_others(stages):
    total = called(stages)
    for name in ("price", "time"):
        total += len(name)
    return total


def test_names_are_those_of_all_compiled_functions():
    found = names_in(reads_by_others)
    assert {"memory", "sync", "price", "time", "called", "inner"} <= found
    assert "devices" not in found
