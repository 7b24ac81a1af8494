"""Cases with a grid: a table for each combination of its values, and rules that leave some of them out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Annotated, Any

from msgspec import Meta, Struct

from ..errors import InputError
from ..fields import FINITE, check_fields, show
from ..readers.documents import build

MOST_CASES = 10_000
Value = str | int | Annotated[float, Meta(ge=-FINITE, le=FINITE)]

# Fields of numbers: "{name}" in them is the value itself.
_NUMBERS = {"max", "min", "equals", "tolerance", "relative", "absolute", "time_limit", "golden"}
_HOLDER = re.compile(r"\{\{|\}\}|\{(\w+)\}")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Combinations of a grid that are not run.

    Parameters
    ----------
    when : mapping of str to value or sequence of values
        Names of the grid, and the values that a combination must have, one of a sequence, to be left out.
    reason : str
        Why.
    """

    when: Annotated[
        Mapping[str, Value | tuple[Value, ...]],
        Meta(min_length=1, description="a table of values, or lists of values, by names of the grid"),
    ]
    reason: Annotated[
        str, Meta(min_length=1, max_length=500, description="text of 1 to 500 characters")
    ]  # fmt: skip

    def __post_init__(self) -> None:
        check_fields(self, "rule")

    def applies(self, values: Mapping[str, Value]) -> bool:
        """Whether a combination is left out."""
        return all(values[name] in _listed(wanted) for name, wanted in self.when.items())


def _listed(value: Value | tuple[Value, ...]) -> tuple[Value, ...]:
    return value if isinstance(value, tuple) else (value,)


def expand(table: Any, where: str, most: int = MOST_CASES) -> Iterator[Any]:
    """Yield the table of each combination of a case's grid; the table itself where it has no grid.

    Parameters
    ----------
    table : object
        A case as TOML decodes it.
    where : str
        Its path in the document, for error messages.
    most : int
        How many may be made.

    Raises
    ------
    ValueError
        The grid, a rule or a placeholder is not valid, or there are more combinations.
    """
    if not isinstance(table, dict) or "grid" not in table:
        if most < 1:
            raise InputError(f"{where} is one case more than {MOST_CASES:,}, which a test script may have")
        yield table
        return
    grid = _checked(table["grid"], where)
    count = math.prod(map(len, grid.values()))
    if count > most:
        raise InputError(
            f"{where}.grid has {count:,} combinations; a test script may have at most {MOST_CASES:,} cases"
        )
    rules = _rules(table.get("skip", []), grid, where)
    rest = {key: value for key, value in table.items() if key not in ("grid", "skip")}
    for combination in product(*grid.values()):
        values = dict(zip(grid, combination, strict=True))
        made = {key: _filled(value, key, values, f"{where}.{key}") for key, value in rest.items()}
        if made.get("name") == rest.get("name") and isinstance(rest.get("name"), str):
            made["name"] += "".join(f" {name}={value}" for name, value in values.items())
        reason = next((rule.reason for rule in rules if rule.applies(values)), "")
        if reason:
            made["skip"] = reason
        yield made | {"grid": {name: [value] for name, value in values.items()}}


def _checked(grid: Any, where: str) -> dict[str, list[Value]]:
    if not isinstance(grid, dict) or not grid:
        raise InputError(f"{where}.grid is {show(grid)}; it must be a table of lists, at least one")
    for name, values in grid.items():
        at = f"{where}.grid.{show(name)[1:-1]}"
        if not _NAME.fullmatch(name):
            raise InputError(f"{at} is not a name; it must be letters, digits and _, a letter or _ first")
        if not isinstance(values, list) or not values:
            raise InputError(f"{at} is {show(values)}; it must be a list of 1 value or more")
        for value in values:
            number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            if not number and not isinstance(value, str):
                raise InputError(f"{at} has {show(value)}; it must have texts and finite numbers alone")
        if len(set(values)) < len(values):
            raise InputError(f"{at} is {show(values)}; its values must differ")
    return grid


def _rules(rules: Any, grid: Mapping[str, list[Value]], where: str) -> list[Rule]:
    if not isinstance(rules, list):
        raise InputError(f"{where}.skip is {show(rules)}; with a grid it must be a list of rules")
    made = [build(Rule, rule, f"{where}.skip[{place}]") for place, rule in enumerate(rules)]
    for place, rule in enumerate(made):
        for name, wanted in rule.when.items():
            at = f"{where}.skip[{place}].when"
            if name not in grid:
                raise InputError(f"{at} has {show(name)}; it must be a name of the grid: {', '.join(grid)}")
            for value in _listed(wanted):
                if value not in grid[name]:
                    allowed = ", ".join(map(show, grid[name]))
                    raise InputError(f"{at}.{name} is {show(value)}; the grid has {allowed}")
    return made


def _filled(value: Any, key: str, values: Mapping[str, Value], where: str) -> Any:
    """Replace placeholders in a value, and in the values in it."""
    if isinstance(value, list):
        return [_filled(item, key, values, f"{where}[{place}]") for place, item in enumerate(value)]
    if isinstance(value, dict):
        return {
            name: _filled(item, key if key in _NUMBERS else name, values, f"{where}.{name}")
            for name, item in value.items()
        }
    if not isinstance(value, str):
        return value
    if key in _NUMBERS and value.startswith("{") and value[1:-1] in values:
        return values[value[1:-1]]
    return _HOLDER.sub(lambda match: _held(match, values, where), value)


def _held(match: re.Match[str], values: Mapping[str, Value], where: str) -> str:
    if match[1] is None:
        return match[0][0]  # a doubled brace is a brace
    if match[1] not in values:
        raise InputError(f"{where} has {match[0]}; it must be a name of the grid: {', '.join(values)}")
    return str(values[match[1]])
