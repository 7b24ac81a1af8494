"""Plans to export: language models of any length, cut anywhere."""

from itertools import pairwise

import stageplan as sp


def language_model(
    blocks,
    kinds=None,
    seconds=(1e-3, 2e-3),
    tied=False,
    parameters=False,
    tensor=None,
    cannot=None,
    memory=0.0,
    **fields,
):
    """Layers by torchtitan's names: an embedding, blocks, a norm and a head."""
    names = ["tok_embeddings", *(f"layers.{i}" for i in range(blocks)), "norm", "lm_head"]
    kinds = kinds or ["embedding", *["block"] * blocks, "norm", "head"]
    sizes = [40.0, *[10.0] * blocks, 1.0, 40.0] if parameters else [0.0] * len(names)
    layers = [
        sp.Layer(
            name=name,
            kind=kind,
            compute={"a": seconds[0], "b": None if name == cannot else seconds[1]},
            parameters=size,
            memory=memory,
        )
        for name, kind, size in zip(names, kinds, sizes, strict=True)
    ]
    tensors = [
        sp.Tensor(producer=a, consumers=[b], bytes=tensor) for a, b in pairwise(names) if tensor is not None
    ]
    ties = [tied if isinstance(tied, tuple) else ("tok_embeddings", "lm_head")] if tied else []
    return sp.Workload(name="model", layers=layers, tensors=tensors, ties=ties, **fields)


def plan_of(workload, scheme, counts=None, bandwidth=None, capacity=None, **goal):
    """Plan a scheme of types a and b, on one device a stage or on `counts` devices by type."""
    most = max(counts) if counts else 1
    types = [
        sp.DeviceType(
            name=name, price=1.0, limit=limit, bandwidth=bandwidth, capacity=(capacity or {}).get(name)
        )
        for name, limit in zip("ab", counts or (None, None), strict=True)
    ]
    cluster = sp.Cluster(name="cluster", types=types)
    goal = {"objective": "throughput", "max_devices_per_stage": most} | goal
    return sp.Plan.of(sp.Problem(workload, cluster, sp.Goal(**goal)), scheme)
