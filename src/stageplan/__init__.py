"""Plans which device type runs which layer of a neural network."""

from ._version import __version__
from .goal import Goal
from .plan import Plan, Stage, Violation
from .problem import Problem
from .score import Scores, evaluate
from .solve import Result, solve
from .stop import MaxEvaluations, MaxGenerations, MaxRuntime, NoImprovement, Progress, Stop, Target

__all__ = [
    "Goal",
    "MaxEvaluations",
    "MaxGenerations",
    "MaxRuntime",
    "NoImprovement",
    "Plan",
    "Problem",
    "Progress",
    "Result",
    "Scores",
    "Stage",
    "Stop",
    "Target",
    "Violation",
    "__version__",
    "evaluate",
    "solve",
]
