"""Plans, results, fronts and sweeps that tests of reports show."""

import numpy as np

import stageplan as sp

GIGA = 1e9


def training(**goal):
    """A problem with strategies, a schedule, and all that memory may hold."""
    layers = 12
    rng = np.random.default_rng(1)
    compute = rng.uniform(0.1, 0.3, layers)
    return sp.Problem.from_arrays(
        np.stack([compute, compute / 1.8, compute * 1.5], axis=1),
        [3.0, 1.5],
        column_type=[0, 0, 1],
        column_degree=[1, 2, 1],
        column_strategy=["", "tp2", ""],
        type_names=["h100", "a100"],
        limit=[8, 16],
        capacity=[30 * GIGA, 20 * GIGA],
        memory=np.full((layers, 3), 2 * GIGA),
        sharded=np.full((layers, 3), 1 * GIGA),
        activations=np.full((layers, 3), 0.2 * GIGA),
        workspace=np.full((layers, 3), 0.5 * GIGA),
        gradients=np.full((layers, 3), 1 * GIGA),
        update=np.full((layers, 3), 0.01),
        send=np.full((layers, 3), 0.02),
        link=[200 * GIGA, 100 * GIGA],
        split=True,
        examples=1e5,
        **({"schedule": "1f1b", "microbatches": 8, "batch": 16, "min_throughput": 2.0} | goal),
    )


def trained(**goal):
    return sp.solve(training(**goal), "exact", stop=sp.MaxGenerations(50))


def plain(**goal):
    return sp.Problem.from_arrays(
        [[4.0, 1.0], [2.0, 1.0], [1.0, 2.0], [3.0, 3.0]], [1.0, 3.0], type_names=["cpu", "gpu"], limit=[8, 4],
        capacity=[8 * GIGA, 4 * GIGA], memory=[GIGA] * 4, examples=3600, **goal,
    )  # fmt: skip


def swept(folder, **axes):
    product = {"workload": "ctr", "cluster": "cpu-gpu", "min_throughput": [1e5, 1e6, 3e6, 1e7]}
    return sp.sweep(sp.Sweep.of(product | {"limit.a100": [0, 1, 4]} | axes, name="ctr"), folder)
