"""Seconds and bytes as text."""

import pytest

from stageplan.quantities import show_bytes, show_seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 ns"), (2.5e-7, "250 ns"), (1e-6, "1 us"), (0.0213, "21.3 ms"), (3600, "3600 s")],
)
def test_seconds_have_a_unit_that_suits_them(value, text):
    assert show_seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (999, "999 B"), (1e3, "1 kB"), (8.04e10, "80.4 GB"), (2e12, "2 TB")]
)
def test_bytes_have_a_unit_that_suits_them(value, text):
    assert show_bytes(value) == text
