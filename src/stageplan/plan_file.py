"""Plan files: written by ``stageplan plan -o``, and read again."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from .errors import InputError
from .fields import json_schema
from .goal import Goal, Objective, labelling
from .plan import Plan, Violation
from .problem import Problem
from .readers.bounded import about, as_path, from_json, read_bytes
from .readers.mistaken import refuse_other_plans
from .result import Status
from .workload import Conditions

Label = Annotated[int, msgspec.Meta(ge=0, le=127, description="label of the device type that runs a layer")]


class StageDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `Stage`, with the names of its layers. Times are seconds per example, price is $/hour."""

    layers: tuple[str, ...]
    type: str
    label: Label
    devices: int
    time: float
    compute: float
    transfer: float
    memory: float
    price: float
    bottleneck: bool
    strategy: str = ""
    replicas: Annotated[int, msgspec.Meta(ge=0)] | None = None  # 0 where a stage has no option
    in_flight: int = 1
    sync: float = 0.0


class ServingDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `Serving`; null means infinity, or an unknown time."""

    tokens_per_second: float | None
    time_per_token: float | None
    time_to_first_token: float | None
    room: tuple[float | None, ...]

    def rooms(self) -> tuple[float, ...]:
        """Return the sequences that fit into each stage, as numbers."""
        return tuple(math.inf if room is None else room for room in self.room)


class LayerDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A layer, as in `Layer`; its parameters in bytes."""

    name: str
    kind: str = ""
    parameters: float = 0.0
    modules: tuple[str, ...] = ()


class SavedPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a plan file that is read: scheme, goal, and what runtimes require.

    Attributes
    ----------
    scheme : tuple of int
        Label of each layer.
    goal : Goal or None
        The goal that it was planned for.
    conditions : Conditions
        Those of the workload.
    feasible : bool
        Whether the plan meets all limits.
    stages, layers, serving : documents
        As in the file, with the names of layers.
    ties : tuple of tuple of str
        Groups of layers that share weights.
    problem : str
        Name of the problem, ``""`` if the file has none.
    """

    scheme: tuple[Label, ...]
    goal: Goal | None = None
    conditions: Conditions = Conditions()
    feasible: bool = True
    stages: tuple[StageDocument, ...] = ()
    layers: tuple[LayerDocument, ...] = ()
    serving: ServingDocument | None = None
    ties: tuple[tuple[str, ...], ...] = ()
    problem: str = ""


class ProgressDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `Progress`; null means infinite throughput or bound."""

    generation: int
    evaluations: int
    work: int
    stagnation: int
    runtime: float
    cost: float
    throughput: float | None
    violation: float
    price: float
    bound: float | None
    objective: Objective
    plan_cost: float | None = None


class SearchDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a plan was found, as in `Result`; null means an infinite bound or gap."""

    method: str
    seed: int
    status: Status
    bound: float | None
    gap: float | None
    proof_devices: int | None = None
    evaluations: int
    work: int
    generations: int
    runtime: float
    interrupted: bool
    version: str
    instruction_set: str
    history: tuple[ProgressDocument, ...]


class ChangeDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `Change`."""

    limit: str
    now: float
    needed: float
    unit: str


class SuggestionDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `Suggestion`, with the scheme of its plan."""

    changes: tuple[ChangeDocument, ...]
    proven: bool
    physical: bool
    scheme: tuple[Label, ...]


class RepairDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `Repair`: each of its suggestions is sufficient."""

    suggestions: tuple[SuggestionDocument, ...]


class PlanDocument(SavedPlan, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `Plan`, the search that found it, and repairs if it is infeasible.

    Null means infinite throughput.
    """

    format: Literal["stageplan plan 1"]
    problem: str
    cost: float
    duration: float
    throughput: float | None
    price: float
    feasible: bool
    violation: float
    violations: tuple[Violation, ...]
    stages: tuple[StageDocument, ...]
    cut_ties: tuple[tuple[str, ...], ...] = ()
    plan_cost: float | None = None
    search: SearchDocument | None = None
    repair: RepairDocument | None = None


def schema() -> dict[str, Any]:
    """JSON Schema of a plan file."""
    return json_schema(PlanDocument)


def read_plan(path: str | os.PathLike[str]) -> SavedPlan:
    """Read a plan file without its problem: the scheme, the goal if the file has one, and the stages.

    `Plan.load` makes a `Plan` of it, with a problem.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is not valid JSON, or not a plan.

    Examples
    --------
    >>> import stageplan as sp
    >>> problem = sp.Problem.from_arrays([[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0])
    >>> sp.Plan.of(problem, [1, 0]).save("plan.json")
    >>> saved = sp.read_plan("plan.json")
    >>> saved.scheme, [stage.layers for stage in saved.stages]
    ((1, 0), [('layer0',), ('layer1',)])
    """
    file = as_path("path", path)
    with about(file):
        raw = read_bytes(file)
        try:
            saved: SavedPlan = from_json(raw, SavedPlan, "JSON of a plan")
        except ValueError:
            _refuse_other_kinds(file, raw)
            raise
        return saved


def _refuse_other_kinds(file: Path, raw: bytes) -> None:
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return
    refuse_other_plans(file, document)


def restore(problem: Problem, saved: SavedPlan) -> Plan:
    """Provision a saved plan's scheme for a problem.

    Raises
    ------
    ValueError
        The scheme does not fit the problem, or its labels have another meaning there.
    """
    if saved.goal is not None and labelling(saved.goal) != labelling(problem.goal):
        raise InputError(
            f"its labels are those of a plan with {labelling(saved.goal)} and cannot be read with "
            f"{labelling(problem.goal)}"
        )
    layers = len(saved.scheme)
    if layers != problem.n_layers:
        of = f"of {saved.problem} with" if saved.problem else "of"
        raise InputError(f"the plan is {of} {layers} layers; {problem.name} has {problem.n_layers}")
    return Plan.of(problem, np.array(saved.scheme, dtype=np.int8))
