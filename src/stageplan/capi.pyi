"""The C API for compiled callers; `capi.pxd` declares its functions."""

from typing import final

from .problem import Problem

__pyx_capi__: dict[str, object]  # capsules with the addresses of the functions

@final
class Handles:
    def __init__(self, problem: Problem, target: float | None = None) -> None: ...
    @property
    def problem(self) -> int: ...
    @property
    def scorer(self) -> int: ...
