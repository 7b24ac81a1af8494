"""Small problems by options, drawn with every term on or off, for comparison with `reference_options`."""

from typing import Any

import numpy as np

import stageplan as sp


def draw_arguments(rng: np.random.Generator, max_layers: int = 4, **fixed: Any) -> dict[str, Any]:
    """Draw arguments of `Problem.from_arrays`: at most 2 types, of 3 strategies and few devices."""

    def on(chance: float = 0.5) -> bool:
        return bool(rng.random() < chance)

    L, T = int(rng.integers(1, max_layers + 1)), int(rng.integers(1, 3))
    strategies = [int(rng.integers(1, 4)) for _ in range(T)]
    type_ = np.repeat(np.arange(T), strategies)
    C = len(type_)
    degree = np.concatenate([np.arange(1, n + 1) for n in strategies])
    shape = (L, C)
    compute = rng.uniform(0.5, 2.0, (L, 1)) * rng.uniform(0.6, 1.4, shape) / degree**0.8
    compute[rng.random(shape) < 0.05] = np.inf
    compute[:, 0] = np.where(np.isinf(compute).all(axis=1), 1.0, compute[:, 0])
    schedule = str(rng.choice(["gpipe", "1f1b"])) if on(0.7) else None
    microbatches = int(rng.integers(1, 6)) if schedule else None
    a: dict[str, Any] = {
        "compute": compute,
        "price": rng.uniform(0.5, 3.0, T),
        "column_type": type_,
        "column_degree": degree,
        "limit": rng.integers(1, 5, T).astype(float),
        "compute_parallel": rng.uniform(0.7, 1.0, shape),
        "schedule": schedule,
        "microbatches": microbatches,
        "batch": int(rng.integers(1, 5)) * (microbatches or 1),
        "examples": 3600.0,
        "overlap": on(),
        "split": on(0.25),
        "objective": str(rng.choice(["cost", "throughput", "price"])),
        "whole_machines": False,
        "same_strategy": on(0.2),
        "same_replicas": on(0.2),
    }
    if on():
        a |= {"send": rng.uniform(0, 0.5, shape), "receive": rng.uniform(0, 0.5, shape)}
        a |= {"transfer_parallel": rng.uniform(0.5, 1.0, T)}
    if on(0.3):
        a |= {"tensors": [(x, (x + 1,), float(rng.uniform(1, 9))) for x in range(L - 1)]}
        a |= {"bandwidth": rng.uniform(10, 60, T)}
    for name in ("memory", "sharded", "activations", "workspace"):
        if on():
            a[name] = rng.uniform(0, 1, shape if on() else L) / (
                microbatches or 1 if name == "activations" else 1
            )
    if on(0.7):
        a["capacity"] = rng.uniform(1, 6, T)
    if on():
        a |= {
            "gradients": rng.uniform(0, 2, shape),
            "link": rng.uniform(1, 9, T),
            "network": rng.uniform(0.3, 2, T),
        }
    if on(0.3):
        a["update"] = rng.uniform(0, 0.5, shape)
    if on():
        a |= {"machine": rng.integers(1, 4, T).astype(float), "whole_machines": on()}
    if on(0.2):
        a["max_stages"] = int(rng.integers(1, 4))
    if on(0.2):
        a["max_devices_per_stage"] = int(rng.integers(1, 5))
    if on(0.2):
        a["fixed_price"] = float(rng.uniform(0, 2))
    for name, chance, low, high in (
        ("min_throughput", 0.3, 0.1, 1.5),
        ("max_price", 0.2, 1.0, 15.0),
        ("max_cost", 0.2, 1.0, 15.0),
        ("max_duration", 0.1, 3600.0, 36000.0),
    ):
        if on(chance):
            a[name] = float(rng.uniform(low, high))
    return a | fixed


def draw_problem(rng: np.random.Generator, max_layers: int = 4, **fixed: Any) -> sp.Problem:
    """Draw a problem; with `fixed` arguments in place of drawn ones."""
    return sp.Problem.from_arrays(**draw_arguments(rng, max_layers, **fixed))
