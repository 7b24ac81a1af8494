"""Axes of sweeps: values, ranges, products, zips, divisors."""

import math

import numpy as np
import pytest

from stageplan.sweeps.axes import Range, dimensions, listed, numbers


def values(axis, given):
    (dimension,) = dimensions({axis: given}, [])
    return listed(dimension.axes[axis])


@pytest.mark.parametrize(
    ("axis", "given", "expected"),
    [
        ("min_throughput", 3, (3.0,)),
        ("min_throughput", [1, 2.5], (1.0, 2.5)),
        ("min_throughput", np.array([1.0, 2.0]), (1.0, 2.0)),
        ("max_cost", [5, math.inf, "none"], (5.0, None, None)),
        ("limit.a100", range(1, 4), (1, 2, 3)),
        ("limit.a100", {"from": 1, "to": 4}, (1, 2, 3, 4)),
        ("limit.a100", {"from": 1, "to": 8, "step": 3}, (1, 4, 7)),
        ("min_throughput", {"from": 0.1, "to": 0.3, "step": 0.1}, (0.1, 0.2, 0.1 + 0.1 * 2)),
        ("batch", {"from": 8, "to": 24, "step": 8}, (8, 16, 24)),
        ("seed", {"from": 0, "to": 2}, (0, 1, 2)),
        ("price.t4", {"from": 1, "to": 2, "points": 3}, (1.0, 1.5, 2.0)),
        ("schedule", ["none", "1f1b"], (None, "1f1b")),
        ("split", [False, True], (False, True)),
        ("device", [["a:1", "b"], ["c"]], (("a:1", "b"), ("c",))),
        ("strategies", [[""], ["", "tp2"]], (("",), ("", "tp2"))),
        ("batch", np.int64(4), (4,)),
    ],
)
def test_values(axis, given, expected):
    assert values(axis, given) == expected


def test_points_in_equal_ratios_have_both_ends():
    points = values("max_cost", {"from": 1, "to": 1000, "points": 4, "spacing": "log"})
    assert points == pytest.approx((1, 10, 100, 1000))
    assert (points[0], points[-1]) == (1, 1000)


def test_a_range_is_not_listed():
    (dimension,) = dimensions({"price.t4": {"from": 0, "to": 1, "points": 10**9}}, [])
    assert len(dimension) == 10**9
    assert dimension.axes["price.t4"] == Range(0.0, 1 / (10**9 - 1), 10**9)
    assert numbers(dimension.axes["price.t4"], np.array([0, 10**9 - 1])) == pytest.approx([0.0, 1.0])


def test_absent_numbers_are_nan():
    assert np.isnan(numbers((1.0, None), np.array([0, 1]))).tolist() == [False, True]


def test_axes_of_a_zip_are_side_by_side_and_numbers_come_last():
    made = dimensions(
        {"min_throughput": [1, 2], "seed": [0, 1]},
        [{"price.a": [1, 2], "price.b": [3, 4]}, {"split": [True]}],
    )
    assert [list(dimension.axes) for dimension in made] == [
        ["seed"], ["split"], ["min_throughput"], ["price.a", "price.b"],
    ]  # fmt: skip
    assert [dimension.numeric for dimension in made] == [False, False, True, True]


def test_a_zip_with_a_number_and_another_axis_is_not_numeric():
    (dimension,) = dimensions({}, [{"max_cost": [1, 2], "seed": [0, 1]}])
    assert not dimension.numeric


def test_divisors_of_another_axis():
    (dimension,) = dimensions({"batch": [4, 6], "microbatches": {"divisors_of": "batch"}}, [])
    assert dimension.axes["batch"] == (4, 4, 4, 6, 6, 6, 6)
    assert dimension.axes["microbatches"] == (1, 2, 4, 1, 2, 3, 6)


def test_divisors_keep_what_is_zipped_with_the_axis():
    zipped = {"batch": [4, 9], "schedule": ["gpipe", "1f1b"]}
    (dimension,) = dimensions({"microbatches": {"divisors_of": "batch"}}, [zipped])
    assert dimension.axes["schedule"] == ("gpipe",) * 3 + ("1f1b",) * 3
    assert dimension.axes["microbatches"] == (1, 2, 4, 1, 3, 9)


@pytest.mark.parametrize(
    ("product", "sentence"),
    [
        ({"throughput": 1}, "throughput is not an axis; it must be one of workload, cluster, device, "),
        ({"price": 3}, "price is 3; it must be a table by device type"),
        ({"price.a": 1, "price": {"a": 2}}, "price.a is given more than once; "),
        ({"split.a": 1}, "split.a is not an axis"),
        ({"seed": []}, "seed has no values; it must have 1 or more"),
        ({"seed": -1}, "seed has -1; each of its values must be a whole number from 0 to 2**63 - 1"),
        (
            {"max_cost": [1, -2]},
            "max_cost has -2; each of its values must be more than 0 $ and finite, or 'none'",
        ),
        ({"min_throughput": math.inf}, "min_throughput has inf; "),
        ({"method": "fast"}, "method has 'fast'; each of its values must be one of 'auto', 'exact', "),
        ({"device": ["a100:8"]}, "device has 'a100:8'; each of its values must be a list of devices "),
        ({"limit.a": {"from": 1}}, "limit.a is {'from': 1}; a table must have from and to"),
        ({"limit.a": {"from": 2, "to": 1}}, "limit.a.to is 1; it must be at least limit.a.from, 2"),
        ({"limit.a": {"from": 1, "to": 2, "step": 0.5}}, "limit.a has 1.5; "),
        ({"limit.a": {"from": 1, "to": 2, "step": 0}}, "limit.a.step is 0; it must be a finite number"),
        ({"price.a": {"from": 1, "to": 2, "points": 1}}, "price.a.points is 1; it must be a whole number"),
        ({"price.a": {"from": 0, "to": 2, "points": 3, "spacing": "log"}}, "price.a.from is 0; "),
        ({"price.a": {"from": 1, "to": 2, "points": 3, "spacing": "x"}}, "price.a.spacing is 'x'; "),
        ({"price.a": {"from": "1", "to": 2}}, "price.a.from is '1'; it must be a finite number"),
        (
            {"microbatches": {"divisors_of": "batch"}},
            "microbatches.divisors_of is 'batch'; it must be another",
        ),
        (
            {
                "microbatches": {"divisors_of": "batch"},
                "batch": {"divisors_of": "max_stages"},
                "max_stages": 4,
            },
            "microbatches.divisors_of is 'batch'; it must be another axis of the sweep, with values ",
        ),
        (
            {"seed": {"divisors_of": "limit.a"}, "limit.a": [0, 2]},
            "seed has the divisors of limit.a; all values of limit.a must be whole numbers from 1",
        ),
        (
            {"microbatches": {"divisors_of": "split"}, "split": "none"},
            "split has 'none'; each of its values must be true or false",
        ),
        (
            {"microbatches": {"divisors_of": "max_cost"}, "max_cost": 1.5},
            "microbatches has the divisors of max_cost; all values of max_cost must be whole numbers",
        ),
        ({"batch": {"from": 1, "to": 1e9}}, "a range has 1,000,000,000 values; here it must have at most"),
    ],
)
def test_bad_axes_are_refused(product, sentence):
    with pytest.raises((ValueError, TypeError)) as caught:
        dimensions(product, [])
    assert str(caught.value).startswith(sentence)


def test_an_axis_that_is_given_twice_is_refused():
    with pytest.raises(ValueError, match=r"^seed is given more than once; "):
        dimensions({"seed": 1}, [{"seed": [2]}])


def test_axes_of_a_zip_must_be_of_one_length():
    with pytest.raises(ValueError, match=r"^price.b has 1 values; it must have 2, as price.a in its zip$"):
        dimensions({}, [{"price.a": [1, 2], "price.b": [3]}])
