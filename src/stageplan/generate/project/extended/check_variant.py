"""Compares a variant's row of the table that compare_variants.py wrote with the requirements of the service.

Usage: ``check_variant.py NAME``; the name of the exported program, which the variants come from, is ``base``.
"""

from __future__ import annotations

import loading

import json
import sys
from pathlib import Path
from typing import Any

TABLE = Path("artefacts/variants.json")
WHAT = {"max_latency": "p95 in seconds", "min_throughput": "throughput in examples/s"}
NUMBERS = ("bytes", "value", "p50", "p95", "p99", "throughput", "largest_difference")


def check(name: str) -> dict[str, float]:
    """Say every requirement beside its value; return the numbers of the variant, and how many are broken."""
    row = row_of(json.loads(TABLE.read_bytes()), name)
    for one in row["requirements"]:
        what = WHAT.get(one["name"], row["metric"])
        print(f"note: {what} of {name} is {one['value']:.6g}; it must be {one['required']} ({one['name']})")
    broken = sum(not one["met"] for one in row["requirements"])
    return {**{number: row[number] for number in NUMBERS}, "broken_requirements": broken}


def row_of(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return the row of a variant; ValueError where there is none."""
    if name == "base":
        return rows[0]
    for row in rows:
        if row["name"] == name:
            return row
    raise ValueError(f"{TABLE} has no variant {name!r}; it has {', '.join(row['name'] for row in rows)}")


if __name__ == "__main__":
    variant = sys.argv[1]
    target = Path(f"artefacts/metrics/variant-{variant}.json")
    try:
        target.write_text(json.dumps(check(variant)))
    except (OSError, ValueError) as error:
        sys.exit(f"check_variant: {error}")
