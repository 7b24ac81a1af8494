"""Planning for a runtime: the problem whose plans are all plans that the runtime can run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..plan import Plan
from ..problem import Problem
from ..progress import Progress
from ..repair import Repair, repair
from ..result import Result
from ..solve import schemes_of, solve
from ..units import expand_scheme, keep_columns, merge_layers
from .architectures import has_pipelines
from .limits import Limits
from .partition import Part, Partition


@dataclass(frozen=True, eq=False)
class Target:
    """A problem within the limits of a runtime.

    Attributes
    ----------
    problem : Problem
        With the strategies that the runtime knows, and its limits in the goal.
    units : Problem
        The same, in which layers that the runtime cannot part are one layer: the one to search.
    begins : tuple of int
        First layer of each unit.
    """

    problem: Problem
    units: Problem
    begins: tuple[int, ...]

    @classmethod
    def of(cls, problem: Problem, runtime: str, limits: Limits) -> Target:
        """Constrain a problem to what a runtime can run.

        Raises
        ------
        ValueError
            The runtime runs no stages of layers that are not adjacent, or no listed options.
        """
        if problem.options is not None:
            raise InputError("it lists the options of stages, whose strategies are not known")
        if limits.adjacent and problem.goal.merge == "type":
            raise InputError(
                "merge is 'type'; it must be 'adjacent', as each stage must be a run of adjacent layers"
            )
        constrained = _with_strategies(problem, limits)
        constrained = constrained.replace(**_goal(constrained, limits))
        begins = [0]
        if has_pipelines(problem.conditions.architecture, runtime):
            begins += limits.begins(whole(problem))
        merged = len(begins) < problem.n_layers
        return cls(constrained, merge_layers(constrained, begins) if merged else constrained, tuple(begins))

    def expand(self, plan: Plan) -> Plan:
        """Return the plan of all layers that is a plan of the units."""
        return Plan.of(self._expand_problem(plan.problem), self.expand_scheme(plan.scheme))

    def _expand_problem(self, units: Problem) -> Problem:
        goal = msgspec.structs.asdict(units.goal)
        return self.problem.replace(limit=units.limit, capacity=units.capacity, **goal)

    def _expand_progress(self) -> Callable[[Progress], Progress]:
        """Return a function that turns each progress of one search into one with all layers."""
        expand_problem = cache(self._expand_problem)

        def expand(progress: Progress) -> Progress:
            scheme = self.expand_scheme(progress.scheme)
            return msgspec.structs.replace(progress, problem=expand_problem(progress.problem), scheme=scheme)

        return expand

    def expand_scheme(self, scheme: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
        """Return the scheme of all layers that is a scheme of the units."""
        return expand_scheme(scheme, self.begins, self.problem.n_layers)

    def merge_schemes(self, schemes: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
        """Return schemes of the units: each has the label of its first layer."""
        return schemes[:, list(self.begins)]

    def solve(
        self, method: Any = "auto", *, initial: Any = None, callback: Any = None, **options: Any
    ) -> Result:
        """Find the best plan; arguments as of `stageplan.solve`."""
        if initial is not None and not isinstance(initial, str):
            initial = self.merge_schemes(schemes_of(self.problem, initial))
        expand = self._expand_progress()
        shown = (lambda progress: callback(expand(progress))) if callable(callback) else callback
        try:
            found = solve(self.units, method, initial=initial, callback=shown, **options)
        except Exception as error:
            if isinstance(result := getattr(error, "result", None), Result):
                error.result = self._expand_result(result, expand)  # type: ignore[attr-defined]
            raise
        return self._expand_result(found, expand)

    def _expand_result(self, found: Result, expand: Callable[[Progress], Progress]) -> Result:
        return replace(found, plan=self.expand(found.plan), history=tuple(map(expand, found.history)))

    def repair(self, *, max_runtime: float | None = None) -> Repair:
        """Find the smallest changes of limits that make it feasible, as `stageplan.repair`."""
        found = repair(self.units, max_runtime=max_runtime)
        suggestions = tuple(replace(each, plan=self.expand(each.plan)) for each in found.suggestions)
        return replace(found, suggestions=suggestions)


def whole(problem: Problem) -> Partition:
    """Return the partition into a single stage: what a runtime cannot run of it, it cannot run at all."""
    stage = Part(tuple(range(problem.n_layers)), problem.type_names[0], 1, 1, "")
    return Partition.of_problem(problem, (stage,))


def _with_strategies(problem: Problem, limits: Limits) -> Problem:
    """Leave out the strategies that the runtime does not know."""
    if problem.column_strategy is None or problem.column_degree is None:
        return problem
    columns = zip(problem.column_strategy, problem.column_degree.tolist(), strict=True)
    kept = [limits.runs(strategy, degree) for strategy, degree in columns]
    if not any(kept):
        names = ", ".join(dict.fromkeys(problem.column_strategy))
        raise InputError(f"it knows none of the strategies of the device types: {names}")
    return problem if all(kept) else keep_columns(problem, kept)


def _goal(problem: Problem, limits: Limits) -> dict[str, Any]:
    """Return the fields of the goal that are not as the runtime needs them."""
    if limits.replicas == "any":
        return {}
    needed = {"same_replicas": True}
    if len(set(problem.column_strategy or ())) > 1:
        needed["same_strategy"] = True
    if problem.goal.schedule is not None:
        needed["equal_shares"] = True
    return needed
