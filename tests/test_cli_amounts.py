"""Numbers and durations as people write them."""

import argparse
from itertools import chain

import pytest

from stageplan.cli.amounts import count, number, seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [("20000", 2e4), ("2e4", 2e4), ("20k", 2e4), ("20K", 2e4), ("1.5M", 1.5e6), ("3G", 3e9), ("2T", 2e12)],
)
def test_numbers(text, value):
    assert number(text) == value
    assert count(text) == value
    assert isinstance(count(text), int)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("90", 90),
        ("0.5", 0.5),
        ("1e3", 1000),
        ("90s", 90),
        ("250ms", 0.25),
        ("15min", 900),
        ("15m", 900),
        ("1.5h", 5400),
        ("1h30m", 5400),
        ("2d", 172800),
    ],
)
def test_durations(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "k", "20 k", "20m", "1.2.3k", "8GB", "many", "k20"])
def test_bad_numbers(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"it must be a number, as 20000, 2e4, 20k or 1\.5M"):
        number(text)


@pytest.mark.parametrize("text", ["0.5", "1.0005k", "inf", "nan", "1e999"])
def test_bad_whole_numbers(text):
    with pytest.raises(argparse.ArgumentTypeError, match="it must be a whole number"):
        count(text)


@pytest.mark.parametrize("text", ["", "h", "1h30", "1x", "1.2.3s", "1 h", "soon"])
def test_bad_durations(text):
    with pytest.raises(argparse.ArgumentTypeError, match="it must be seconds, or a duration as 90s"):
        seconds(text)


def test_commands_take_them(run):
    flags = ("--examples", "--min-throughput", "--max-duration", "--max-evaluations")
    first, second = (
        run("plan", "net.toml", *chain.from_iterable(zip(flags, values, strict=True)))
        for values in (("20M", "0.2k", "10h", "1k"), (20000000, 200, 36000, 1000))
    )
    assert first == second
    assert "2e+07 examples, at least 200 examples/s, at most 36000 s" in first[1]


def test_a_bad_amount_is_one_sentence(refused):
    sentence = "argument --examples: it is '20MB'; it must be a number, as 20000, 2e4, 20k or 1.5M"
    assert refused("plan", "net.toml", "--examples", "20MB") == sentence
