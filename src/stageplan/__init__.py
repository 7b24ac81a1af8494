"""Plans which device type runs which layer of a neural network."""

from ._version import __version__
from .cluster import Cluster, DeviceType
from .goal import Goal
from .pareto import Front, Point, pareto
from .plan import Plan, Stage, Violation
from .policy import Policy
from .problem import Problem
from .readers import read_cluster, read_goal, read_workload
from .repair import Change, Repair, repair
from .score import Scores, evaluate
from .solve import Result, solve
from .stop import (
    FirstFeasible,
    MaxEvaluations,
    MaxGenerations,
    MaxRuntime,
    NoImprovement,
    Progress,
    Stop,
    Target,
)
from .verify import Verified, verify
from .workload import Layer, Tensor, Workload

__all__ = [
    "Change",
    "Cluster",
    "DeviceType",
    "FirstFeasible",
    "Front",
    "Goal",
    "Layer",
    "MaxEvaluations",
    "MaxGenerations",
    "MaxRuntime",
    "NoImprovement",
    "Plan",
    "Point",
    "Policy",
    "Problem",
    "Progress",
    "Repair",
    "Result",
    "Scores",
    "Stage",
    "Stop",
    "Target",
    "Tensor",
    "Verified",
    "Violation",
    "Workload",
    "__version__",
    "evaluate",
    "pareto",
    "read_cluster",
    "read_goal",
    "read_workload",
    "repair",
    "solve",
    "verify",
]
