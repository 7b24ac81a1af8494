"""Scales of axes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stageplan.report.scale import Scale, show_number

VALUES = st.lists(st.floats(-1e9, 1e9).map(lambda x: round(x, 3)), min_size=1, max_size=20)


@given(VALUES)
def test_values_keep_their_order_within_the_axis(values):
    places = [Scale.of(values).at(value) for value in sorted(values)]
    assert places == sorted(places)
    assert all(0 <= place <= 1 for place in places)


@given(VALUES)
def test_ticks_are_few_and_within_the_scale(values):
    scale = Scale.of(values)
    width = scale.high - scale.low
    ticks = scale.ticks()
    assert len(ticks) <= 8
    assert all(scale.low - 1e-6 * width <= tick <= scale.high + 1e-6 * width for tick in ticks)


@pytest.mark.parametrize(
    "ends",
    [(-1e308, 1e308), (0.0, 5e-324), (1.0, 1.0 + 1e-15), (0.0, 1e308), (1e-300, 1e300), (5e-324, 1.7e308)],
)
def test_extreme_values_have_marks(ends):
    scale = Scale.of(ends)
    assert scale.ticks()
    assert all(0 <= scale.at(value) <= 1 for value in ends)


def test_large_ratios_have_a_logarithmic_scale():
    scale = Scale.of([1.0, 10.0, 1000.0])
    assert scale.log
    assert scale.ticks() == [1.0, 10.0, 100.0, 1000.0]
    assert scale.at(10.0) - scale.at(1.0) == pytest.approx((scale.at(1000.0) - scale.at(1.0)) / 3)
    assert not Scale.of([0.0, 1000.0]).log


def test_one_value_and_infinite_ones_have_a_scale():
    assert 0 < Scale.of([5.0]).at(5.0) < 1
    assert math.isfinite(Scale.of([math.inf, math.nan]).at(1.0))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.25, "0.25"), (1500, "1.5k"), (2e7, "20M"), (3e-5, "3e-05"), (1e18, "1e+18")],
)
def test_numbers_of_axes_are_short(value, text):
    assert show_number(value) == text
