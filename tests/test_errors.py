"""Errors: public entry points with bad input raise the package's classes, which are Python's too."""

import ast
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import stageplan as sp
from stageplan.generate import StepError, generate

PACKAGE = Path(sp.__file__).parent
OTHER_PROGRAMS = (PACKAGE / "generate" / "project", PACKAGE / "generate" / "on_target")
PROBLEM = sp.Problem.from_arrays([[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0])
LARGE = sp.Problem.from_arrays(np.ones((40, 3)), price=[1.0, 2.0, 3.0])
PLAN = sp.Plan.of(PROBLEM, np.array([0, 1], np.int8))
VALUE, TYPE = ValueError, TypeError

# By name: a call of a public entry point with bad input, and the class of Python that its error is.
CALLS = {
    "Cluster": (lambda: sp.Cluster(name="c", types=[]), VALUE),
    "Device": (lambda: sp.Device(name="d", peak={"fp32": 1.0}, memory="80 GB", memory_bandwidth=1.0), TYPE),
    "DeviceType": (lambda: sp.DeviceType(name="a", price=-1.0), VALUE),
    "Efficiency": (lambda: sp.Efficiency(compute_fraction=2.0, bandwidth_fraction=0.5), VALUE),
    "Goal": (lambda: sp.Goal(max_price=-1), VALUE),
    "Goal of a wrong type": (lambda: sp.Goal(max_price="1"), TYPE),
    "Layer": (lambda: sp.Layer(name="", compute={"a": 1.0}), VALUE),
    "MaxEvaluations": (lambda: sp.MaxEvaluations(-1), VALUE),
    "MaxGenerations": (lambda: sp.MaxGenerations(0.5), TYPE),
    "MaxRuntime": (lambda: sp.MaxRuntime(float("nan")), VALUE),
    "MaxWork": (lambda: sp.MaxWork("many"), TYPE),
    "NoImprovement": (lambda: sp.NoImprovement(0), VALUE),
    "Target": (lambda: sp.Target(0), VALUE),
    "Plan.of": (lambda: sp.Plan.of(PROBLEM, [0, 7]), VALUE),
    "Plan.load": (lambda: sp.Plan.load(__file__, PROBLEM), VALUE),
    "Policy.load": (lambda: sp.Policy.load(3), TYPE),
    "Problem": (lambda: sp.Problem(1, 2, sp.Goal()), TYPE),
    "Problem.from_arrays": (lambda: sp.Problem.from_arrays([[1.0], [1.0, 2.0]], price=[1.0]), VALUE),
    "Problem.from_arrays in the core": (lambda: sp.Problem.from_arrays([[-1.0]], price=[1.0]), VALUE),
    "Problem.from_measured": (lambda: sp.Problem.from_measured([[1.0]], None), TYPE),
    "Problem.load": (lambda: sp.Problem.load(__file__), VALUE),
    "Problem.replace": (lambda: PROBLEM.replace(price=[1.0]), VALUE),
    "Problem.with_stage_cost": (lambda: PROBLEM.with_stage_cost(len), TYPE),
    "StageCost": (lambda: sp.StageCost(len), TYPE),
    "Tensor": (lambda: sp.Tensor(producer="a", consumers=[], bytes=1.0), VALUE),
    "Workload": (lambda: sp.Workload(name="w", layers=[]), VALUE),
    "check": (lambda: sp.check(None, None), TYPE),
    "evaluate": (lambda: sp.evaluate(PROBLEM, np.zeros((1, 3), np.int8)), VALUE),
    "export": (lambda: sp.export(PLAN, "unknown"), VALUE),
    "fit_overlapped_fractions": (lambda: sp.fit_overlapped_fractions([1], [-1.0]), VALUE),
    "fit_parallel_fraction": (lambda: sp.fit_parallel_fraction([1], ["a"]), TYPE),
    "generate": (lambda: generate(__file__, "folder"), VALUE),
    "make_cluster": (lambda: sp.make_cluster({"unknown device": 1}), VALUE),
    "plan_cost": (lambda: sp.plan_cost(3), TYPE),
    "pareto": (lambda: sp.pareto(PROBLEM, points=0), VALUE),
    "profile": (lambda: sp.profile(3, devices=["t4"]), TYPE),
    "read_cluster": (lambda: sp.read_cluster(None), TYPE),
    "read_devices": (lambda: sp.read_devices(__file__), VALUE),
    "read_plan": (lambda: sp.read_plan(__file__), VALUE),
    "read_goal": (lambda: sp.read_goal(__file__), VALUE),
    "read_sweep": (lambda: sp.read_sweep(__file__), VALUE),
    "read_workload": (lambda: sp.read_workload(__file__), VALUE),
    "repair": (lambda: sp.repair(PLAN), TYPE),
    "solve": (lambda: sp.solve(PROBLEM, "unknown"), VALUE),
    "solve in the core": (lambda: sp.solve(LARGE, "enumerate"), VALUE),
    "solve of a plan": (lambda: sp.solve(PLAN), TYPE),
    "solve_for": (lambda: sp.solve_for(PROBLEM, "unknown"), VALUE),
    "solve_many": (lambda: sp.solve_many(PROBLEM, price=[[1.0]]), VALUE),
    "solve_many in the core": (lambda: sp.solve_many(PROBLEM, price=[[1.0, -1.0]]), VALUE),
    "split_module": (lambda: sp.split_module(None, PROBLEM), TYPE),
    "stage_cost": (lambda: sp.stage_cost(len), TYPE),
    "sweep": (lambda: sp.sweep(3, "rows"), TYPE),
    "Sweep.of": (lambda: sp.Sweep.of(3), TYPE),
    "verify": (lambda: sp.verify(PROBLEM, None), TYPE),
    "write_workload": (lambda: sp.write_workload("w.toml", None), TYPE),
}
RETURNED = {  # made by the package alone
    *("Change", "Check", "Comparison", "Export", "Front", "ParallelFit", "PlanCost", "Point", "Progress"),
    *(
        "Repair",
        "Result",
        "Results",
        "Scores",
        "Serving",
        "SavedPlan",
        "Simulation",
        "SplitModule",
        "Stage",
        "Suggestion",
    ),
    *("SavedPlan", "SweepResults", "Verified", "Violation"),
    *("Stop", "FirstFeasible", "get_include", "__version__"),  # check nothing
}


def test_entry_points_are_those_of_the_package():
    errors = {name for name in sp.__all__ if name.endswith("Error")}
    assert {name.split(".")[0].split(" ")[0] for name in CALLS} - {"generate"} == (
        {*sp.__all__} - errors - RETURNED
    )


@pytest.mark.parametrize("name", CALLS)
def test_bad_input_raises_errors_of_the_package(name):
    call, python = CALLS[name]
    with pytest.raises(sp.StageplanError) as caught:
        call()
    assert isinstance(caught.value, python)
    assert " " in str(caught.value)


def raised(node):
    """Name of the class that a raise statement names."""
    exception = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return exception.id if isinstance(exception, ast.Name) else None


def test_no_module_raises_errors_of_python_for_bad_input():
    for path in PACKAGE.rglob("*.py"):
        if not any(path.is_relative_to(folder) for folder in OTHER_PROGRAMS):
            tree = ast.parse(path.read_text("utf-8"))
            names = {raised(node) for node in ast.walk(tree) if isinstance(node, ast.Raise)}
            assert not names & {"ValueError", "TypeError", "RuntimeError", "Exception"}, path


@pytest.mark.parametrize(
    "make", [sp.InputError, sp.InputTypeError, sp.ExecutorError, partial(StepError, log="l")]
)
def test_errors_reach_other_processes(make):
    error = make("a sentence")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), vars(copy)) == ("a sentence", vars(error))
    assert isinstance(copy, sp.StageplanError)
