"""Cost models of other planners, as the page `own-physics` has them, on their own data."""

import io
import json
import re
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import stageplan as sp

PAGE = Path(sp.__file__).parent / "docs" / "own-physics.md"
SHARED = Path(__file__).parents[3] / "shared"
NETWORK = 1.25e9  # bytes/s, PipeDream's


class Answer(NamedTuple):
    """A peer's answer: seconds per minibatch or largest load, and the seconds that its planner took."""

    value: float
    seconds: float


PIPEDREAM = {  # by model and devices
    ("vgg16", 4): Answer(0.17634916586666669, 0.74),
    ("vgg16", 8): Answer(0.10084139337142857, 0.59),
    ("vgg16", 16): Answer(0.05479489083076924, 1.06),
    ("alexnet", 4): Answer(0.03246091306666667, 0.73),
    ("alexnet", 8): Answer(0.0150994944, 0.48),
    ("alexnet", 16): Answer(0.0150994944, 0.73),
    ("resnet18", 4): Answer(0.0822083584, 1.7),
    ("resnet18", 8): Answer(0.043601325376, 1.3),
    ("resnet18", 16): Answer(0.02442549714567901, 3.3),
    ("resnet50", 4): Answer(0.15199260320000002, 3.4),
    ("resnet50", 8): Answer(0.0822083584, 6.2),
    ("resnet50", 16): Answer(0.04384779004444447, 12.0),
}
DNN_PARTITIONING = {
    "bert24_inference": Answer(17.78990625, 0.006),
    "bert24_training": Answer(41.7458125, 0.006),
    "gnmt_inference": Answer(32.910658203125, 12.2),
    "resnet50_inference": Answer(33.774666015625, 0.44),
    "resnet50_training": Answer(78.6318125, 0.50),
    "operators_bert_l-3_inference": Answer(27.9185676799125, 1.96),
}


def blocks() -> list[str]:
    """Return the blocks of Python on the page."""
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)


@cache
def page() -> tuple[dict[str, Any], str]:
    """Run the page; return its names, and what it prints."""
    names: dict[str, Any] = {"__name__": "own_physics"}
    printed = io.StringIO()
    with redirect_stdout(printed):
        for block in blocks():
            exec(block, names)
    return names, printed.getvalue()


def pipedream(model: str, devices: int) -> sp.Problem:
    """Make PipeDream's problem of a profile, without options."""
    workload = sp.read_workload(SHARED / "workloads" / "pipedream" / f"{model}.txt")
    v100 = sp.DeviceType(name="v100", price=1.0, limit=devices, bandwidth=NETWORK)
    goal = sp.Goal(objective="throughput", split=True)
    return sp.Problem(workload, sp.Cluster(name="v100", types=[v100]), goal)


def solve_pipedream(problem: sp.Problem) -> sp.Result:
    """Fill the options by PipeDream's formula, and solve."""
    names, _ = page()
    layers = {"weights": problem.parameters, **names["crossing"](problem)}
    return sp.solve(problem.with_stage_cost(names["pipedream"], layers=layers), "exact")


def dnn_partitioning(name: str) -> sp.Problem:
    """Make the problem of a published graph, without options."""
    path = SHARED / "workloads" / "dnn-partitioning" / f"{name}.json"
    return sp.Problem(sp.read_workload(path), sp.read_cluster(path), sp.read_goal(path))


def solve_load(problem: sp.Problem) -> sp.Result:
    """Fill the options by the load of a device, and solve."""
    names, _ = page()
    return sp.solve(problem.with_stage_cost(names["load"], replicas=[1]), "exact")


def sailor_runs() -> list[dict[str, Any]]:
    """Read the training runs that Sailor's authors measured, with the seconds of their formula."""
    runs = json.loads((SHARED / "measured" / "sailor_plans.json").read_text())
    return [run for run in runs if run["sailor_formula_seconds"]]


def iteration_of(run: dict[str, Any]) -> float:
    """Predict the seconds of an iteration of a run: each of its stages is a layer."""
    names, _ = page()
    batch = run["microbatches"]  # a microbatch of all replicas counts as one example
    compute = np.array(run["compute_seconds"])[:, None]
    problem = sp.Problem.from_arrays(
        compute, send=np.array(run["transfer_seconds"])[:, None], update=run["update_seconds"],
        price=[1.0], limit=[len(compute)], split=True,
        schedule="1f1b", microbatches=batch, batch=batch,
    )  # fmt: skip
    allreduce = np.full(len(compute), run["allreduce_seconds"])
    filled = problem.with_stage_cost(names["sailor"], layers={"allreduce": allreduce}, replicas=[1])
    return batch * sp.Plan.of(filled, np.arange(len(compute)) % 2).time
