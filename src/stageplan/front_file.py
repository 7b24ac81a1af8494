"""Front files: written by ``stageplan pareto -o``."""

from __future__ import annotations

from typing import Literal

import msgspec

from .front import Against
from .goal import Goal
from .plan_file import PlanDocument
from .result import Status


class PointDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `Point`; null means that nothing is proven of its gap."""

    status: Status
    bound: float
    gap: float | None
    plan: PlanDocument


class FrontDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `Front`; null means infinity."""

    format: Literal["stageplan front 1"]
    problem: str
    goal: Goal
    against: Against
    status: Status
    gap: float | None
    fastest: float | None
    points: tuple[PointDocument, ...]
    evaluations: int
    generations: int
    runtime: float
    interrupted: bool
    version: str
