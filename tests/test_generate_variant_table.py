"""The table of variants in a text."""

import msgspec

from stageplan.generate.results import TestResult as Verdicts
from stageplan.generate.variant_table import VariantResult, table_of

LATENCY = {"name": "max_latency", "required": "at most 0.1", "value": 0.25, "met": False}
QUALITY = {"name": "threshold", "required": "at least 0.8", "value": 0.875, "met": True}


def make_variant(name="int8", **fields):
    known = {
        "name": name,
        "files": [f"artefacts/model-{name}.onnx"],
        "bytes": 12345,
        "metric": "auc",
        "value": 0.875,
        "p50": 0.125,
        "p95": 0.25,
        "p99": 0.5,
        "throughput": 128.0,
        "largest_difference": 0.0123,
        "requirements": [QUALITY, LATENCY],
    }
    return msgspec.convert(known | fields, VariantResult)


def test_row_has_each_requirement_beside_the_value():
    heads, rows, words = table_of([make_variant("float32", requirements=[QUALITY]), make_variant()])
    assert heads == (
        "variant", "bytes", "auc", "p50 s", "p95 s", "p99 s", "examples/s", "difference", "threshold",
        "max_latency", "timed",
    )  # fmt: skip
    numbers = ("12,345", "0.875", "0.125", "0.25", "0.5", "128", "0.012")
    assert rows == [
        ("float32", *numbers, "met: 0.875, at least 0.8", "", "by the clock"),
        ("int8", *numbers, "met: 0.875, at least 0.8", "not met: 0.25, at most 0.1", "by the clock"),
    ]
    assert words == (0, 8, 9, 10)


def test_row_says_how_it_was_timed():
    _, ((*_, timed),), _ = table_of([make_variant(requirements=[], note="replayed from processor time")])
    assert timed == "replayed from processor time"


def test_text_of_a_test_has_the_table():
    result = Verdicts(name="a", mode="quick", cases=(), seconds=1.0, variants=(make_variant(),))
    assert "int8" in str(result)
    assert "12,345" in str(result)
    assert "int8" not in str(msgspec.structs.replace(result, variants=()))
