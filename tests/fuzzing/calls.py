"""Targets that are calls in Python: valid arguments, some of which Hypothesis replaces by odd values."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from hypothesis import strategies as st

import stageplan as sp
from stageplan.learning.gym_env import PlacementEnv
from stageplan.learning.policy_torch import PolicyModule
from stageplan.readers import documents

from . import examples
from .mutate import DIGITS
from .runner import Target
from .values import ARRAYS, NUMBERS, ODD, draw


class Call(NamedTuple):
    """A function, and arguments that it takes."""

    function: Callable[..., object]
    arguments: dict[str, Any]


def _step(action: Any) -> object:
    environment = PlacementEnv(examples.problem())
    environment.reset()
    return environment.step(action)


def _stops(**values: Any) -> object:
    kinds = {"generations": sp.MaxGenerations, "evaluations": sp.MaxEvaluations, "work": sp.MaxWork}
    kinds |= {"seconds": sp.MaxRuntime, "stagnation": sp.NoImprovement, "value": sp.Target}
    return [repr(kind(values[name])) for name, kind in kinds.items()]


@cache
def _calls() -> tuple[Call, ...]:
    problem, result = examples.problem(), examples.result()
    workload = sp.Workload(name="w", layers=[sp.Layer(name="a", compute={"t": 1.0})])
    device = dict(examples.DEVICES["devices"][0])
    stop = sp.MaxGenerations(1)
    arrays = {
        "compute": [[1.0, 2.0], [2.0, 1.0]], "price": [1.0, 2.0], "limit": [4, 4], "send": None,
        "receive": None,
        "compute_parallel": 0.9, "transfer_parallel": 1.0, "memory": [1.0, 2.0], "capacity": [10.0, 10.0],
        "fixed_price": 0.0, "examples": 1e6, "tensors": [(0, [1], 5.0)], "bandwidth": [1.0, 1.0],
        "objective": "cost", "min_throughput": 0.1, "max_duration": None, "max_cost": None, "max_price": None,
        "overlap": True, "merge": "adjacent", "split": False, "max_devices_per_stage": 4,
    }  # fmt: skip
    scheduled = {
        "schedule": "1f1b", "microbatches": 2, "batch": 4, "max_stages": 2, "whole_machines": True,
        "same_strategy": False, "same_replicas": False, "equal_shares": True,
    }  # fmt: skip
    columns = arrays | scheduled | {
        "compute": [[1.0, 0.6, 2.0], [2.0, 1.1, 1.0]], "column_type": [0, 0, 1], "column_degree": [1, 2, 1],
        "column_strategy": ["", "tp2", ""], "memory": [[1.0, 0.5, 1.0]] * 2, "sharded": [1.0, 2.0],
        "activations": [0.5, 0.5], "workspace": [1.0, 1.0], "gradients": [[1.0, 0.5, 1.0]] * 2,
        "update": [0.1, 0.1], "link": [9.0, 9.0], "network": [1.0, 1.0], "machine": [2, 2],
    }  # fmt: skip
    listed = {
        "layers": 2, "price": [1.0], "first": [0, 0, 1], "last": [1, 0, 1], "type": [0, 0, 0],
        "devices": [2, 1, 1], "time": [2.0, 1.5, 1.0], "pass_time": [3.0, 2.0, 1.0],
        "memory": [1.0, 1.0, 1.0], "activations": [1.0, 1.0, 1.0], "limit": [4], "capacity": [9.0],
        "sync": [0.5, 0.0, 0.0], "replicas": [2, 1, 1], "machine": [2], "fixed_price": 0.0, "split": True,
    }  # fmt: skip
    measured = {
        "measured": [[[[2.0, 1.1]], [[4.0, math.nan]]], [[[math.inf, 1.0]], [[3.0, 1.6]]]],
        "cluster": sp.Cluster(name="lab", types=[sp.DeviceType(name="t", price=1.0, limit=3)]),
        "goal": sp.Goal(), "devices": [1, 2], "memory": [[[[1.0, 1.0]]] * 2] * 2,
    }  # fmt: skip
    by_columns = sp.Problem.from_arrays(**columns)
    layer = {
        "name": "a", "compute": {"t": 1.0}, "kind": "k", "send": 0.0, "receive": {"t": 1.0},
        "compute_parallel": 1.0,
        "memory": 1.0, "sharded": {"t": 1.0}, "workspace": 1.0, "gradients": 1.0, "update": 0.1,
        "backward": {}, "spread": 0.0, "flops": 1.0, "parameters": 1.0, "activations": 1.0,
        "modules": (),
    }  # fmt: skip
    return (
        *[Call(sp.Problem.from_arrays, arrays)] * 8,
        *[Call(sp.Problem.from_arrays, columns)] * 8,
        *[Call(sp.Problem.from_options, listed | scheduled)] * 4,
        Call(sp.Problem.from_measured, measured),
        Call(by_columns.replace, {name: columns[name] for name in columns if columns[name] is not None}),
        Call(sp.Plan.of(by_columns, [0, 1]).simulate, {"forward": 0.3}),
        Call(sp.evaluate, {"problem": by_columns, "schemes": np.zeros((2, 2), np.int8), "target": 1.0}),
        Call(problem.replace, {name: arrays[name] for name in arrays if arrays[name] is not None}),
        Call(
            problem.replace,
            {"layer_names": ("a", "b", "c"), "type_names": ("x", "y"), "name": "n", "ties": ()},
        ),
        Call(
            problem.replace,
            {"layer_kinds": ("", "", ""), "parameters": (0.0,) * 3, "layer_modules": ((), (), ())},
        ),
        Call(sp.Problem, {"workload": examples.workload(), "cluster": examples.cluster(), "goal": sp.Goal()}),
        Call(sp.Layer, layer),
        Call(sp.Tensor, {"producer": "a", "consumers": ["b"], "bytes": 1.0}),
        Call(
            sp.Workload,
            {
                "name": "w",
                "layers": [sp.Layer(**layer)],
                "tensors": (),
                "ties": (),
                "batch": 1.0,
                "architecture": "",
                "mode": "train",
                "precision": "fp32",
                "sequence": 4,
            },
        ),
        Call(sp.DeviceType, examples.TYPES["types"][0] | {"like": None, "speed": 1.0}),
        Call(sp.Cluster, {"name": "c", "types": [sp.DeviceType(name="t", price=1.0)], "fixed_price": 0.0}),
        Call(sp.Device, device),
        Call(sp.Goal, {name: columns[name] for name in sp.Goal.__struct_fields__}),
        Call(sp.Device(**device).seconds, {"flops": 1.0, "bytes": 1.0, "precision": "fp32"}),
        Call(sp.Device(**device).to_type, {"limit": 1, "price": 1.0}),
        Call(sp.make_cluster, {"specs": ["t4:2@1", "a100-80g"], "devices": None}),
        Call(sp.make_cluster, {"specs": [f"t4:{DIGITS}"]}),
        Call(sp.Plan.of, {"problem": problem, "scheme": np.zeros(3, np.int8)}),
        Call(
            sp.evaluate,
            {
                "problem": problem,
                "schemes": np.zeros((2, 3), np.int8),
                "target": 1.0,
                "threads": 1,
                "out": None,
            },
        ),
        *[
            Call(
                sp.solve,
                {
                    "problem": problem,
                    "method": method,
                    "seed": 0,
                    "stop": stop,
                    "callback": None,
                    "initial": None,
                    "population": 4,
                    "threads": 1,
                    "cell": None,
                    "policy": None,
                    "accept": None,
                },
            )
            for method in (
                "auto",
                "exact",
                "genetic",
                "reinforce",
                "annealing",
                "greedy",
                "random",
                "enumerate",
            )
        ],
        Call(
            sp.pareto,
            {
                "problem": problem,
                "against": "cost",
                "points": 3,
                "gap": None,
                "max_throughput": None,
                "stop": sp.MaxRuntime(0.5),
                "callback": None,
            },
        ),
        Call(sp.repair, {"problem": problem}),
        Call(sp.verify, {"problem": problem, "plan": result.plan}),
        Call(sp.export, {"plan": result.plan, "to": "torch", "script": True}),
        Call(sp.solve_for, {"problem": problem, "runtime": "torch", "method": "greedy"}),
        Call(sp.fit_parallel_fraction, {"devices": [1, 2, 4], "seconds": [1.0, 0.6, 0.4]}),
        Call(
            sp.fit_overlapped_fractions, {"devices": [1, 2, 4, 8, 16], "seconds": [1.0, 0.6, 0.4, 0.3, 0.3]}
        ),
        Call(sp.read_workload, {"path": "ctr", "batch": 2.0}),
        Call(sp.read_cluster, {"path": "gpus"}),
        Call(sp.read_goal, {"path": "ctr"}),
        Call(sp.read_devices, {"path": None, "prices": None, "region": None, "pricing": "spot"}),
        Call(sp.write_workload, {"workload": workload, "path": "w.toml"}),
        Call(sp.Policy.load, {"path": "p.npz"}),
        Call(result.policy.plan, {"problem": problem}),  # type: ignore[union-attr]
        Call(result.policy.save, {"path": "p.npz"}),  # type: ignore[union-attr]
        Call(documents.schema, {"kind": "workload"}),
        Call(
            _stops,
            {"generations": 1, "evaluations": 1, "work": 1, "seconds": 1.0, "stagnation": 1, "value": 1.0},
        ),
        Call(PlacementEnv, {"problem": problem}),
        Call(_step, {"action": 0}),
        Call(PolicyModule, {"cell": "lstm", "shared": 2, "own": 2, "labels": 2, "hidden": 2}),
        Call(PolicyModule("rnn", 1, 1, 1, 1).load_weights, {"weights": np.zeros(8)}),
        Call(
            sp.check,
            {
                "plan": result.plan,
                "model": "none:none",
                "example": None,
                "mode": "train",
                "precision": None,
                "batch": 1,
                "sequence": 1,
                "shape": (1, 1),
                "microbatches": 1,
                "steps": 1,
                "max_seconds": 1.0,
            },
        ),
        Call(
            sp.profile,
            {
                "model": "hf:none",
                "example": None,
                "devices": ["t4"],
                "catalogue": None,
                "measure": None,
                "on": None,
                "mode": "train",
                "precision": None,
                "batch": 1,
                "sequence": 1,
                "shape": None,
                "layers": 1,
                "repeats": 2,
                "max_spread": 0.1,
            },
        ),
    )


@st.composite
def _changed_calls(draw: st.DrawFn) -> tuple[Call, dict[str, Any]]:
    """Draw a call with one to three arguments replaced."""
    call = draw(st.sampled_from(_calls()))
    names = st.sampled_from(sorted(call.arguments))
    values = st.one_of(
        ODD, ODD, NUMBERS, ARRAYS, st.lists(NUMBERS, max_size=3), st.lists(st.lists(NUMBERS, max_size=2))
    )
    return call, call.arguments | draw(st.dictionaries(names, values, max_size=3))


def _call(data: bytes) -> object:
    try:
        return draw(_changed_calls(), data, lambda drawn: str(drawn[0].function(**drawn[1])))
    except gymnasium.error.ResetNeeded:
        return False


CALLS = (Target("call", 6, lambda rng: rng.randbytes(rng.choice((100, 500))), _call),)
