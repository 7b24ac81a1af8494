"""What a report is of: the document of a plan or a front and, where it is known, its problem."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from ..errors import InputError
from ..fields import show
from ..front_file import FrontDocument
from ..goal import Goal
from ..output import to_json
from ..plan import Plan
from ..plan_file import PlanDocument, StageDocument, restore
from ..problem import Problem
from ..readers.bounded import about, as_path, from_json, read_bytes
from ..readers.mistaken import refuse_other_plans
from ..simulate import default_forward, forward_of
from ..units import keep_strategies


class Run(NamedTuple):
    """Neighbouring layers of one stage: from `first` to before `last`."""

    stage: int
    first: int
    last: int


@dataclass(frozen=True)
class Subject:
    """A plan as its document says it is.

    Attributes
    ----------
    document : PlanDocument
        The document.
    plan : Plan or None
        The plan with its problem, which knows capacities, numbers of devices, and the parts of memory.
    """

    document: PlanDocument
    plan: Plan | None = None

    @classmethod
    def of(cls, plan: Plan, values: dict[str, Any]) -> Subject:
        """Make a subject of a plan, and of its document as plain values."""
        return cls(_converted(values, PlanDocument), plan)

    @property
    def goal(self) -> Goal:
        """The goal; one without limits where the document has none."""
        return self.document.goal or Goal()

    @property
    def time(self) -> float:
        """Seconds per example."""
        throughput = self.document.throughput
        return 0.0 if throughput is None else math.inf if throughput == 0 else 1 / throughput

    @property
    def names(self) -> list[str]:
        """Names of the layers, in their order."""
        layers = [layer.name for layer in self.document.layers]
        return layers or list(chain.from_iterable(stage.layers for stage in self.document.stages))

    @property
    def types(self) -> list[str]:
        """Device types that stages run on: in the order of the problem, or of the stages."""
        used = dict.fromkeys(stage.type for stage in self.document.stages)
        return list(used) if self.plan is None else [t for t in self.plan.problem.type_names if t in used]

    def runs(self) -> list[Run]:
        """Return the runs of layers of one stage, in the order of the layers."""
        stages = enumerate(self.document.stages)
        stage_of = {name: i for i, stage in stages for name in stage.layers}
        runs: list[Run] = []
        for layer, name in enumerate(self.names):
            stage = stage_of[name]
            if runs and runs[-1].stage == stage:
                runs[-1] = runs[-1]._replace(last=layer + 1)
            else:
                runs.append(Run(stage, layer, layer + 1))
        return runs

    def forward(self) -> list[float]:
        """Return the fraction of each stage's time that the forward pass takes."""
        default = default_forward(self.document.conditions)
        if self.plan is None:
            return [default] * len(self.document.stages)
        return [forward_of(self.plan.problem, stage, default) for stage in self.plan.stages]


def stage_name(document: PlanDocument, number: int) -> str:
    """Name a stage by its number, type, strategy and replicas."""
    stage = document.stages[number]
    return f"{number + 1} · {stage.type}{how(stage)}"


def how(stage: StageDocument) -> str:
    """Describe the strategy and the replicas of a stage."""
    strategy = f" {stage.strategy}" if stage.strategy else ""
    replicas = stage.devices if stage.replicas is None else stage.replicas
    return f"{strategy} ×{replicas}"


def devices_of(document: PlanDocument) -> int:
    """Count the devices of all stages."""
    return sum(stage.devices for stage in document.stages)


def front_document(values: dict[str, Any]) -> FrontDocument:
    """Make the document of a front from plain values."""
    document: FrontDocument = _converted(values, FrontDocument)
    return document


def _converted(values: dict[str, Any], type_: Any) -> Any:
    """Make a document of plain values as if they had been written and read: infinite numbers are null."""
    return from_json(to_json(values), type_)


def read_document(path: str | os.PathLike[str]) -> PlanDocument | FrontDocument:
    """Read the file of a plan or of a front.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is not valid JSON of a plan or a front, or its parts do not fit each other.
    """
    file = as_path("path", path)
    with about(file):
        raw = read_bytes(file)
        try:
            content = from_json(raw)
        except RecursionError:
            raise InputError("it is nested too deeply to be read") from None
        if isinstance(content, dict) and "points" in content:
            front: FrontDocument = from_json(raw, FrontDocument, "JSON of a front")
            for point in front.points:
                _check(point.plan)
            return front
        _refuse_others(file, content)
        document: PlanDocument = from_json(raw, PlanDocument, "JSON of a plan")
        _check(document)
        return document


def _refuse_others(file: object, content: object) -> None:
    if isinstance(content, dict) and {"against", "rows"} <= content.keys():
        raise InputError("it holds the front of a sweep; give the directory of the sweep")
    refuse_other_plans(file, content)


def _check(document: PlanDocument) -> None:
    """Raise ValueError unless the stages are of the plan's layers, each of them in one."""
    if not document.stages:
        raise InputError("it has no stages; a report requires the stages of the plan")
    placed = list(chain.from_iterable(stage.layers for stage in document.stages))
    known = {layer.name for layer in document.layers} or set(placed)
    for name in placed:
        if name not in known:
            raise InputError(f"a stage has layer {show(name)}, which is not among the layers of the plan")
    if not len(set(placed)) == len(placed) == len(known) or not all(s.layers for s in document.stages):
        raise InputError("its stages are not those of its layers; each layer must be in one stage")
    for number, stage in enumerate(document.stages, start=1):
        for name, value in _numbers(stage):
            if not 0 <= value < math.inf:
                raise InputError(f"{name} of stage {number} is {value:g}; it must be 0 or more, and finite")


def _numbers(stage: StageDocument) -> Iterator[tuple[str, float]]:
    for name in ("devices", "time", "compute", "transfer", "memory", "price", "sync", "in_flight"):
        yield name, getattr(stage, name)


def with_problem(document: PlanDocument, problem: Problem) -> Subject:
    """Make the subject of a plan file and the problem that it is a plan of.

    The plan is provisioned again for the problem, with the strategies that it has; if that changes its cost,
    what the file says of the search is left out.

    Raises
    ------
    ValueError
        The plan is not one of the problem.
    """
    used = {(stage.type, stage.strategy) for stage in document.stages}
    plan = restore(keep_strategies(problem, used), document)
    subject = Subject.of(plan, plan.to_dict())
    if math.isclose(plan.cost, document.cost, rel_tol=1e-9):
        found = msgspec.structs.replace(subject.document, search=document.search, repair=document.repair)
        return Subject(found, plan)
    return subject
