"""Seconds and bytes as text, and the reverse."""

import pytest

from stageplan.quantities import bytes_of, show_bytes, show_seconds


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


@pytest.mark.parametrize(
    ("text", "value"),
    [("0B", 0), ("8GB", 8e9), ("1.5 TB", 1.5e12), ("24GiB", 24 * 2**30), ("512 KB", 512e3), ("25GB/s", 25e9)],
)
def test_bytes_are_read(text, value):
    assert bytes_of(text) == value


@pytest.mark.parametrize("text", ["", "8", "GB", "8gb", "-8GB", "8  GB", "8GB/h", "1e999x", "8GBs", "8GB\n"])
def test_other_texts_are_not_bytes(text):
    assert bytes_of(text) is None
