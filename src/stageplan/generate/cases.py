"""The preset test script: a TOML file of cases, each a command and what it must produce."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, get_args

from msgspec import Meta, Struct
from msgspec.structs import replace

from ..errors import InputError
from ..fields import FINITE, Name, check_fields, not_negative, show, whole
from ..readers.bounded import about, from_toml, read_bytes, to_text
from ..readers.documents import build
from .amounts import TimeLimit
from .grids import MOST_CASES, Rule, Value, expand
from .results import Mode, Number

BUILT_IN = ("environment", "integrity", "container")
MODES: tuple[Mode, ...] = get_args(Mode)

# A path below the project: relative, without "..", backslashes and control characters.
_BELOW = r"^(?!/)(?!(.*/)?\.\.(/|\Z))[^\x00-\x1f\\]+"
File = Annotated[str, Meta(pattern=rf"{_BELOW}\Z", description="a path below the project")]
Word = Annotated[str, Meta(pattern=r"^[^\x00]*\Z")]
Finite = Annotated[float, Meta(ge=-FINITE, le=FINITE, description="a finite number")]
Reason = Annotated[str, Meta(min_length=1, max_length=500)]

_SCRIPT = re.compile(rf"{_BELOW}\.py\Z")
_PROGRAM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")


class Metric(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number that a command writes or prints, and its limits.

    Parameters
    ----------
    name : str
        Name of the number. In JSON, ``"test.accuracy"`` is also ``accuracy`` in the table ``test``.
    file : str, optional
        Path in the project of a JSON file that maps names to numbers, or of a text to search.
    pattern : str, optional
        A regular expression whose first group is the number; the last match in the command's output counts,
        or in `file` where that is given.
    max, min : float, optional
        Limits.
    equals : float, optional
        Required value, within `tolerance`.
    tolerance : float
        Maximum difference from `equals`.
    relative, absolute : float
        Maximum difference from a golden value: a fraction of that, or this number where it is larger.
    """

    name: Name
    file: File | None = None
    pattern: Annotated[
        str, Meta(min_length=1, max_length=1000, description="a regular expression with a group")
    ] | None = None  # fmt: skip
    max: Finite | None = None
    min: Finite | None = None
    equals: Finite | None = None
    tolerance: Annotated[float, not_negative()] = 0.0
    relative: Annotated[float, not_negative()] = 0.01
    absolute: Annotated[float, not_negative()] = 1e-6

    def __post_init__(self) -> None:
        check_fields(self, f"metric {show(self.name)}")
        if self.file is None and self.pattern is None:
            raise InputError(f"file is absent; file or pattern must be given (metric {show(self.name)})")
        if self.pattern is not None:
            _check_pattern(self.pattern, self.name)

    @property
    def where(self) -> str:
        """Where the number is found."""
        return "the output" if self.file is None else self.file

    def limits(self, golden: float | None = None) -> Iterator[tuple[str, float, float]]:
        """Yield what is required: in words, and as the least and the largest value."""
        if self.max is not None:
            yield f"at most {self.max:g}", -math.inf, self.max
        if self.min is not None:
            yield f"at least {self.min:g}", self.min, math.inf
        if self.equals is not None:
            low, high = self.equals - self.tolerance, self.equals + self.tolerance
            yield f"{self.equals:g} within {self.tolerance:g}", low, high
        if golden is not None:
            margin = max(self.absolute, self.relative * abs(golden))
            words = f"within {margin:.3g} of {golden:.6g}, the golden value"
            yield words, golden - margin, golden + margin

    def required(self, golden: float | None = None) -> str:
        """Say what is required of the value; empty where any finite number is allowed."""
        return " and ".join(words for words, _, _ in self.limits(golden))

    def failure(self, value: object, golden: float | None = None) -> str:
        """Say what a value must be; empty where it is that."""
        required = self.required(golden)
        also = required and f", {required}"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"{self.name} is {show(value)} in {self.where}; it must be a number{also}"
        if not math.isfinite(value):
            return f"{self.name} is {value:g} in {self.where}; it must be a finite number{also}"
        if all(low <= value <= high for _, low, high in self.limits(golden)):
            return ""
        return f"{self.name} is {value:.6g} in {self.where}; it must be {required}"

    def number(self, value: object, golden: float | None = None, values: tuple[float, ...] = ()) -> Number:
        """Return the value beside what is required of it."""
        number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
        return Number(
            name=self.name,
            value=float(number) if math.isfinite(number) else None,
            required=self.required(golden),
            met=not self.failure(value, golden),
            limit=self._nearest(float(number), golden),
            values=values,
        )

    def _nearest(self, value: float, golden: float | None) -> float | None:
        """Return the limit that is nearest to a value; the first where there is no value."""
        ends = [end for _, *both in self.limits(golden) for end in both if math.isfinite(end)]
        return min(ends, key=lambda end: abs(end - value), default=None)


def _check_pattern(pattern: str, name: str) -> None:
    try:
        groups = re.compile(pattern).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(
            f"pattern is {show(pattern)}; it must be a regular expression: {error} (metric {show(name)})"
        ) from None
    if not groups:
        raise InputError(
            f"pattern is {show(pattern)}; it must have a group for the number, as in 'loss: ([0-9.]+)' "
            f"(metric {show(name)})"
        )


class Case(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command, and the outputs that it must produce.

    Parameters
    ----------
    name : str
        Unique; not ``environment``, ``integrity`` or ``container``, which every script may have.
    command : sequence of str
        A Python file of the project, ``python``, or a program of the environment; and its arguments.
        It runs without a shell.
    modes : sequence of {"quick", "infer", "full", "benchmark"}
        Modes in which it runs.
    needs : sequence of str
        Cases that must pass first. A case that does not run in the mode counts as passed. The name of a case
        with a grid is that of all its combinations.
    after : sequence of str
        Cases that run before this one, where there are such and they run, whatever their outcome.
    time_limit : float
        Seconds after which the command and all processes that it started are killed.
    variables : mapping of str to str
        Additional environment variables.
    artefacts : sequence of str
        Paths in the project of files that the command must write. Earlier ones are deleted first.
    metrics : sequence of Metric
        Numbers that it must write or print. Their earlier files are deleted first.
    golden : mapping of str to float
        Earlier values of metrics, from which they must not differ.
    repeat : int
        Times that it runs in the mode ``benchmark``; a metric is the median of them.
    accelerators : int
        Number of accelerators without which it is skipped.
    must_pass : bool
        Whether the test fails where it does not pass.
    grid : mapping of str to sequence of str, int or float
        Values by name: the case is one case for each combination, and ``{name}`` in its texts is the value.
    skip : str or sequence of Rule
        Why it is not run; of a grid, rules that say which combinations are not run.
    """

    name: Annotated[str, Meta(pattern=r"^[ -~]{1,200}\Z", description="1 to 200 printable ASCII characters")]
    command: Annotated[
        tuple[Word, ...], Meta(min_length=1, description="a list of 1 text or more, a .py file first")
    ]
    modes: Annotated[
        tuple[Mode, ...],
        Meta(min_length=1, description=f"a list of 1 or more of {', '.join(map(repr, MODES))}"),
    ]
    time_limit: TimeLimit
    needs: Annotated[tuple[str, ...], Meta(description="a list of names of cases")] = ("environment",)
    after: Annotated[tuple[str, ...], Meta(description="a list of names of cases")] = ()
    variables: Annotated[
        Mapping[Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z")], Word],
        Meta(description="a table of texts by the names of environment variables"),
    ] = {}
    artefacts: Annotated[tuple[File, ...], Meta(description="a list of paths below the project")] = ()
    metrics: Annotated[tuple[Metric, ...], Meta(description="a list of metrics")] = ()
    golden: Annotated[
        Mapping[str, Finite], Meta(description="a table of finite numbers by the names of metrics")
    ] = {}
    repeat: Annotated[int, whole(1, 1000)] = 1
    accelerators: Annotated[int, whole(0, 2**20)] = 0
    must_pass: bool = True
    grid: Annotated[
        Mapping[str, tuple[Value, ...]], Meta(description="a table of lists of texts and numbers")
    ] = {}
    skip: Annotated[
        Reason | tuple[Rule, ...], Meta(description="a reason, or of a grid a list of rules")
    ] = ()  # fmt: skip

    def __post_init__(self) -> None:
        check_fields(self, f"case {show(self.name)}")
        self._check_command()
        known = [metric.name for metric in self.metrics]
        for name in self.golden:
            if name not in known:
                raise InputError(
                    f"golden has {show(name)}; it must be the name of a metric of the case "
                    f"(case {show(self.name)})"
                )
        if not isinstance(self.skip, str) and self.skip and not self.grid:
            raise InputError(
                f"skip is a list of rules; without a grid it must be a reason (case {show(self.name)})"
            )

    def _check_command(self) -> None:
        first = self.command[0]
        if first == "python" and len(self.command) == 1:
            raise InputError(f"command is ['python']; it must have arguments too (case {show(self.name)})")
        if not _SCRIPT.match(first) and not _PROGRAM.fullmatch(first):
            raise InputError(
                f"command[0] is {show(first)}; it must be a .py file of the project, python, or the "
                f"name of a program of the environment (case {show(self.name)})"
            )

    @property
    def script(self) -> str | None:
        """The Python file of the project that the command runs; None where it runs something else."""
        first = self.command[1] if self.command[0] == "python" else self.command[0]
        return first if _SCRIPT.match(first) else None

    def arguments(self, python: str) -> list[str]:
        """Return the program and its arguments, with an environment's interpreter."""
        first, *rest = self.command
        if _SCRIPT.match(first):
            return [python, *self.command]
        if first == "python":
            return [python, *rest]
        return [f"{python.rpartition('/')[0]}/{first}" if "/" in python else first, *rest]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Files that the command writes."""
        files = (metric.file for metric in self.metrics if metric.file is not None)
        return tuple(dict.fromkeys([*self.artefacts, *files]))


class Script(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cases in any order; their needs must not be cyclic."""

    case: Annotated[tuple[Case, ...], Meta(min_length=1, description="a list of 1 case or more")]

    def __post_init__(self) -> None:
        check_fields(self, "test script")
        seen = set(BUILT_IN)
        for case in self.case:
            if case.name in seen:
                raise InputError(f"name of a case is {show(case.name)}; it must differ from all other names")
            seen.add(case.name)
        for case in self.case:
            for need in case.needs:
                if need not in seen:
                    raise InputError(
                        f"needs of case {show(case.name)} has {show(need)}; it must be the name of a case"
                    )
        try:
            self.ordered()
        except CycleError as error:
            cycle = " -> ".join(reversed(error.args[1]))
            raise InputError(f"case needs must not be cyclic, as {cycle} is") from None

    def ordered(self) -> list[Case]:
        """Return the cases, each after those that it needs or follows, otherwise in the order of the file."""
        sorter = TopologicalSorter({case.name: (*case.needs, *case.after) for case in self.case})
        by_name = {case.name: case for case in self.case}
        return [by_name[name] for name in sorter.static_order() if name in by_name]


def read_script(path: Path) -> Script:
    """Read a test script.

    Parameters
    ----------
    path : pathlib.Path
        TOML, with a table ``[[case]]`` for each case.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It is not valid TOML, or a field is missing, unknown or not valid.
    """
    with about(path):
        return to_script(from_toml(to_text(read_bytes(path))))


def to_script(document: dict[str, Any]) -> Script:
    """Make the script of a document, a case of each combination of its grids; ValueError as `read_script`."""
    tables = document.get("case")
    if document.keys() != {"case"} or not isinstance(tables, list):
        return build(Script, document)
    cases: list[Case] = []
    of_grid: dict[str, list[Case]] = {}
    for place, table in enumerate(tables):
        where = f"case[{place}]"
        made = [build(Case, each, where) for each in expand(table, where, MOST_CASES - len(cases))]
        if isinstance(table, dict) and "grid" in table:
            of_grid[table["name"]] = made
        cases += made
    return Script(case=tuple(_with_needs(case, of_grid) for case in cases))


def _with_needs(case: Case, of_grid: Mapping[str, list[Case]]) -> Case:
    """Replace the name of a grid in a case's needs by those of its combinations that are run, if any are."""
    if not any(need in of_grid for need in case.needs):
        return case
    needs: list[str] = []
    for need in case.needs:
        combinations = of_grid.get(need, [])
        run = [one.name for one in combinations if not one.skip]
        needs += run or [one.name for one in combinations] or [need]
    return replace(case, needs=tuple(needs))
