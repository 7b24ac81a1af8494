"""Figures of profiles: how well they repeat, what they take, and if memory and pipelines are as predicted.

python -m benchmarks.tables.profile [repeat] [estimate] [pipeline] [memory]; default: all.  What a device
measured is read from ../shared/measured.
"""

import json
import multiprocessing
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import nn

import stageplan as sp
from stageplan.catalogue import make_cluster

CONTEXT = multiprocessing.get_context("spawn")

# What is profiled again and again, beside a process that keeps a core busy.
REPEATED = {
    "GPT-2, 2 x 128 tokens": {"model": "hf:gpt2", "batch": 2, "sequence": 128},
    "ResNet-50, 4 images": {"model": "hf:resnet-50", "batch": 4},
}
REPEATS = 5

MEASURED = Path(__file__).parents[3] / "shared" / "measured" / "h200.json"
TRAINED = {
    "gpt2": {"model": "hf:gpt2", "batch": 8, "sequence": 512},
    "bert": {"model": "hf:bert-large-uncased", "batch": 8, "sequence": 512},
    "resnet50": {"model": "hf:resnet-50", "batch": 64},
}

VGG = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
PIPELINES = {
    "VGG-16, 2 x 96x96": {"model": "benchmarks.tables.profile:vgg16"},
    "GPT-2, 2 x 128 tokens": {"model": "hf:gpt2", "batch": 2, "sequence": 128},
}


def vgg16() -> tuple[nn.Module, torch.Tensor]:
    """Make VGG-16 (Simonyan & Zisserman 2015, arXiv:1409.1556, table 1): its first half is the heavier."""
    parts: list[nn.Module] = []
    width = 3
    for out in VGG:
        parts += [nn.Conv2d(width, out, 3, padding=1), nn.ReLU()] if out else [nn.MaxPool2d(2)]
        width = out or width
    parts += [nn.AdaptiveAvgPool2d(7), nn.Flatten()]
    for a, b in ((25088, 4096), (4096, 4096), (4096, 1000)):
        parts += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*parts[:-1]), torch.rand(2, 3, 96, 96)


@contextmanager
def busy() -> Iterator[None]:
    process = CONTEXT.Process(target=_spin, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _spin() -> None:
    while True:
        pass


def _apart(function, *args):
    """Call a function in a process of its own, which nothing before has warmed."""
    with CONTEXT.Pool(1) as pool:
        return pool.apply(function, args)


def measured(options: dict) -> np.ndarray:
    """Seconds of each layer."""
    workload = sp.profile(**options, measure="cpu")
    return np.array([layer.compute["cpu"] for layer in workload.layers])


def repeat() -> None:
    with busy():
        for name, options in REPEATED.items():
            runs = [_apart(measured, options) for _ in range(REPEATS)]
            changes = [np.abs(b / a - 1) for a, b in combinations(runs, 2)]
            print(
                f"{name}: {REPEATS} profiles beside a busy process; change of a layer's time from one to "
                f"another: median {median(np.concatenate(changes)):.1%}, median of the worst pair "
                f"{max(map(median, changes)):.1%}; of the sum, at most {max(_of_sums(runs)):.1%}"
            )


def _of_sums(runs: list[np.ndarray]) -> Iterator[float]:
    for a, b in combinations(runs, 2):
        yield abs(b.sum() / a.sum() - 1)


def estimated(name: str) -> tuple[float, float]:
    """CPU seconds and bytes at most that an estimate takes, imports included."""
    sp.profile(f"hf:{name}", devices=["a100-80g"], precision="bf16", sequence=4096)
    status = Path("/proc/self/status").read_text()  # ru_maxrss is that of the parent as well
    most = re.search(r"VmHWM:\s*(\d+) kB", status)
    return time.process_time(), 1024 * float(most[1])


def estimate() -> None:
    for name in ("llama-2-70b", "mixtral-8x22b"):
        runs = [_apart(estimated, name) for _ in range(5)]
        cpu, memory = (median(values) for values in zip(*runs, strict=True))
        print(
            f"{name}, training, 4096 tokens: {cpu:.1f} s of CPU time, {memory / 1e9:.2f} GB, imports included"
        )


def memory() -> None:
    """Compare the memory of training on one device with the peak that one measured; plan Llama-2-70B."""
    measured = json.loads(MEASURED.read_text())["training_peak_bytes_one_device_fp32_adamw"]
    errors = []
    for name, options in TRAINED.items():
        workload = sp.profile(**options, devices=["h200"], precision="fp32")
        problem = sp.Problem(workload, make_cluster(["h200"]))
        predicted = sp.Plan.of(problem, [0] * len(workload.layers)).stages[0].memory
        peak = measured[name]["peak"]
        errors.append(abs(predicted / peak - 1))
        print(f"{name}, training, fp32: {predicted / 1e9:.2f} GB; measured {peak / 1e9:.2f} GB")
    print(f"error of the peak: median {median(errors):.1%}, worst {max(errors):.1%}")
    options = {"devices": ["a100-80g"], "precision": "bf16", "mode": "inference", "sequence": 128}
    workload = sp.profile("hf:llama-2-70b", **options)
    plan = sp.solve(sp.Problem(workload, make_cluster(["a100-80g:2"]), sp.Goal(split=True))).plan
    held = ", ".join(f"{stage.memory / 1e9:.1f}" for stage in plan.stages)
    print(f"llama-2-70b, inference, bf16, 128 tokens, 2 a100-80g: feasible {plan.feasible}, {held} GB")


def pipeline() -> None:
    for name, options in PIPELINES.items():
        workload = sp.profile(**options, measure="cpu", max_spread=0.1)
        here = sp.DeviceType(name="cpu", price=1, limit=2)
        goal = sp.Goal(objective="throughput", split=True, max_devices_per_stage=1)
        problem = sp.Problem(workload, sp.Cluster(name="here", types=[here]), goal)
        half = len(workload.layers) // 2
        even = [0] * half + [1] * (len(workload.layers) - half)
        plans = {"planned": sp.solve(problem).plan, "even": sp.Plan.of(problem, even)}
        checks = {split: sp.check(plan, **options, max_seconds=3600) for split, plan in plans.items()}
        for split, found in checks.items():
            print(f"{name}, {split}: {found}")
        ours, other = checks["planned"], checks["even"]
        print(
            f"{name}: planned / even {ours.measured / other.measured:.2f} on the clock, "
            f"{ours.by_cpu_time / other.by_cpu_time:.2f} by CPU time"
        )


if __name__ == "__main__":
    for part in sys.argv[1:] or ("repeat", "estimate", "pipeline", "memory"):
        {"repeat": repeat, "estimate": estimate, "pipeline": pipeline, "memory": memory}[part]()
