"""Checks of arguments: accepted values, refused values, and the messages."""

from fractions import Fraction
from math import inf, nan
from typing import Any

import numpy as np
import pytest

from stageplan.arguments import check_choice, check_number


@pytest.mark.parametrize("value", [0, 1, 0.5, Fraction(1, 2), np.float32(0.5), np.int64(1), np.float64(1)])
def test_numbers_of_any_type_pass(value: Any) -> None:
    check_number("x", value, minimum=0, maximum=1)


@pytest.mark.parametrize("value", [1, np.int8(1), 2**80])
def test_whole_numbers_pass(value: Any) -> None:
    check_number("x", value, above=0, whole=True)


@pytest.mark.parametrize("value", [None, "1", b"1", [1], 1j, True, np.True_, np.array([1.0])])
@pytest.mark.parametrize("whole", [False, True])
def test_other_types_are_a_type_error(value: Any, whole: bool) -> None:
    with pytest.raises(TypeError, match=r"^x is .*; it must be a "):
        check_number("x", value, whole=whole)


@pytest.mark.parametrize("value", [1.0, 1.5, np.float64(2)])
def test_a_float_is_not_whole(value: Any) -> None:
    with pytest.raises(TypeError, match=r"; it must be a whole number$"):
        check_number("x", value, whole=True)


@pytest.mark.parametrize("value", [nan, inf, -inf, np.float32(nan), np.float64(inf)])
def test_numbers_that_are_not_finite_are_value_errors(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^x is .*; it must be a finite number$"):
        check_number("x", value)


def test_a_whole_number_beyond_all_floats() -> None:
    with pytest.raises(ValueError, match=r"^x is a whole number of 401 digits; it must be a finite number$"):
        check_number("x", 10**400)


def test_large_whole_numbers_are_compared_exactly() -> None:
    check_number("seed", 2**64 - 1, maximum=2**64 - 1, whole=True)
    with pytest.raises(ValueError, match=r"^seed is 18446744073709551616; it must be "):
        check_number("seed", 2**64, maximum=2**64 - 1, whole=True)


@pytest.mark.parametrize(
    ("allowed", "good", "bad", "text"),
    [
        ({"above": 0}, 1e-300, 0, "x is 0; it must be a finite number, more than 0"),
        ({"above": 0}, 1, -1.5, "x is -1.5; it must be a finite number, more than 0"),
        ({"minimum": 0}, 0, -1e-300, "x is -1e-300; it must be a finite number, at least 0"),
        ({"maximum": 1}, 1, 1.001, "x is 1.001; it must be a finite number, at most 1"),
        (
            {"minimum": 2, "maximum": 8, "whole": True},
            2,
            9,
            "x is 9; it must be a whole number, at least 2, at most 8",
        ),
    ],
)
def test_range(allowed: dict[str, Any], good: float, bad: float, text: str) -> None:
    check_number("x", good, **allowed)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        check_number("x", bad, **allowed)
    assert str(error.value) == text


def test_choice() -> None:
    check_choice("merge", "type", ("adjacent", "type"))
    check_choice("split", False, (True, False))
    with pytest.raises(ValueError, match=r"^merge is 'typ'; .* 'adjacent', 'type'; did you mean 'type'\?$"):
        check_choice("merge", "typ", ("adjacent", "type"))


@pytest.mark.parametrize("value", [0, 1, 1.0, None, "True", np.array([True, False])])
def test_a_choice_is_of_the_same_type(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^split is .*; it must be one of True, False$"):
        check_choice("split", value, (True, False))
