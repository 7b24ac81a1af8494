"""Plans which device type runs which layer of a neural network."""

from ._version import __version__
from .catalogue import make_cluster
from .cluster import Cluster, DeviceType
from .device import Device, Efficiency
from .errors import ExecutorError, InputError, InputTypeError, StageplanError
from .front import Front, Point
from .goal import Goal
from .headers import get_include
from .learning.policy import Policy
from .limits import Change as Change
from .pareto import pareto
from .plan import Plan, Stage, Violation
from .plan_cost import PlanCost, plan_cost
from .plan_file import SavedPlan, read_plan
from .problem import Problem
from .profiling.check import Check, check
from .profiling.fit import ParallelFit, fit_overlapped_fractions, fit_parallel_fraction
from .profiling.profile import profile
from .progress import Progress
from .readers import read_cluster, read_devices, read_goal, read_workload
from .repair import Repair, Suggestion, repair
from .result import Result
from .score import Scores, evaluate
from .serving import Serving
from .simulate import Simulation
from .solve import solve
from .solve_many import Results, solve_many
from .stage_cost import StageCost, stage_cost
from .stop import (
    FirstFeasible,
    MaxEvaluations,
    MaxGenerations,
    MaxRuntime,
    MaxWork,
    NoImprovement,
    Stop,
    Target,
)
from .sweeps.results import SweepResults
from .sweeps.run import sweep
from .sweeps.sweep import Sweep
from .sweeps.sweep_file import read_sweep
from .verify import Verified, verify
from .workload import Layer, Tensor, Workload
from .workload_file import write_workload
from .writers import Comparison, Export, SplitModule, export, solve_for, split_module

__all__ = [
    "Change",
    "Check",
    "Cluster",
    "Comparison",
    "Device",
    "DeviceType",
    "Efficiency",
    "ExecutorError",
    "Export",
    "FirstFeasible",
    "Front",
    "Goal",
    "InputError",
    "InputTypeError",
    "Layer",
    "MaxEvaluations",
    "MaxGenerations",
    "MaxRuntime",
    "MaxWork",
    "NoImprovement",
    "ParallelFit",
    "Plan",
    "PlanCost",
    "Point",
    "Policy",
    "Problem",
    "Progress",
    "Repair",
    "Result",
    "Results",
    "SavedPlan",
    "Scores",
    "Serving",
    "Simulation",
    "SplitModule",
    "Stage",
    "StageCost",
    "StageplanError",
    "Stop",
    "Suggestion",
    "Sweep",
    "SweepResults",
    "Target",
    "Tensor",
    "Verified",
    "Violation",
    "Workload",
    "__version__",
    "check",
    "evaluate",
    "export",
    "fit_overlapped_fractions",
    "fit_parallel_fraction",
    "get_include",
    "make_cluster",
    "pareto",
    "plan_cost",
    "profile",
    "read_cluster",
    "read_devices",
    "read_goal",
    "read_plan",
    "read_sweep",
    "read_workload",
    "repair",
    "solve",
    "solve_for",
    "solve_many",
    "split_module",
    "stage_cost",
    "sweep",
    "verify",
    "write_workload",
]
