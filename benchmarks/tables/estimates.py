"""Figures of estimates: how far they are off what was measured and published, and which plans that changes.

python -m benchmarks.tables.estimates [layers] [published] [choice] [fit]; default: all.

The measured times are in ``../shared/measured/h200.json``; where that is absent, layers and fit are left out.
`before` is the same device with one fraction of its peaks for all that it does, 0.4 of arithmetic and 0.7 of
memory, and without launches.  Constants of the catalogue were fitted to some of the published throughputs, as
its file says; not to those of Llama-3-8B on A100, of ResNet-50 in fp32 inference on V100, and at batch 1.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from msgspec.structs import replace

import stageplan as sp

MEASURED = Path(__file__).parents[3] / "shared" / "measured" / "h200.json"
DEVICES = sp.read_devices()
OVER = 0.5e-3  # seconds of a layer that counts

NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "gpt2": {"model": "hf:gpt2", "batch": 8, "sequence": 512},
    "bert": {"model": "hf:bert-large-uncased", "batch": 8, "sequence": 512},
    "resnet50": {"model": "hf:resnet-50", "shape": [64, 3, 224, 224]},
}
HELD_OUT = "bert"  # of the fit

IMAGES = {"model": "hf:resnet-50", "shape": [256, 3, 224, 224]}
LLAMA_3 = {"model": "hf:llama-3-8b", "sequence": 8192, "precision": "bf16", "mode": "train"}
LLAMA_2 = {"model": "hf:llama-2-13b", "sequence": 4096, "precision": "bf16", "mode": "train"}
# (network, device, examples or tokens a second, of a batch): the vendors' and frameworks' own tables.
PUBLISHED = [
    ("ResNet-50 fp16 train", IMAGES | {"precision": "fp16", "mode": "train"}, "a100-80g", 2470, 256),
    ("ResNet-50 fp16 train", IMAGES | {"precision": "fp16", "mode": "train"}, "v100-32g", 1200, 256),
    ("ResNet-50 tf32 train", IMAGES | {"precision": "tf32", "mode": "train"}, "a100-80g", 938, 256),
    ("ResNet-50 fp32 train", IMAGES | {"precision": "fp32", "mode": "train"}, "v100-32g", 367, 256),
    ("ResNet-50 fp16 inference", IMAGES | {"precision": "fp16", "mode": "inference"}, "v100-32g", 3382, 256),
    ("ResNet-50 fp16 inference", IMAGES | {"precision": "fp16", "mode": "inference"}, "t4", 1198, 256),
    ("ResNet-50 fp32 inference", IMAGES | {"precision": "fp32", "mode": "inference"}, "v100-32g", 1261, 256),
    ("ResNet-50 fp32 inference", IMAGES | {"precision": "fp32", "mode": "inference"}, "t4", 415, 256),
    ("Llama-3-8B train", LLAMA_3 | {"batch": 1}, "a100-80g", 2973, 8192),
    ("Llama-3.1-8B train", LLAMA_3 | {"batch": 2}, "h100-sxm", 5762, 2 * 8192),
    ("Llama-3.1-8B train, compiled", LLAMA_3 | {"batch": 2, "graphs": True}, "h100-sxm", 6667, 2 * 8192),
    ("Llama-2-13B train", LLAMA_2 | {"batch": 2}, "a100-80g", 2162, 2 * 4096),
]
ONE = {"model": "hf:resnet-50", "shape": [1, 3, 224, 224], "precision": "fp16", "mode": "inference"}
ALONE = [("ResNet-50 fp16, batch 1", ONE, "v100-32g", 78, 1), ("ResNet-50 fp16, batch 1", ONE, "t4", 79, 1)]


def before(device: sp.Device) -> sp.Device:
    fraction = 0.35 if device.name == "t4" else 0.4
    return replace(
        device,
        name=f"{device.name}-before",
        compute_fraction=fraction,
        efficiency={},
        kernel_seconds=0.0,
        launch_seconds=0.0,
    )


def seconds(options: Mapping[str, Any], *devices: sp.Device) -> np.ndarray:
    """Estimated seconds of each layer on each device, shape (devices, L)."""
    workload = sp.profile(**options, devices=devices)
    return np.array([[layer.compute[device.name] for layer in workload.layers] for device in devices])


def off(ratios: Iterable[float]) -> str:
    """Say how far estimates are off: median and worst."""
    errors = [abs(ratio - 1) for ratio in ratios]
    return f"median {median(errors):.1%}, worst {max(errors):.0%} of {len(errors)}"


def measured_runs() -> list[dict]:
    if not MEASURED.exists():
        print(f"left out: {MEASURED} is absent, which has the measured times")
        return []
    return json.loads(MEASURED.read_bytes())["runs"]


def options_of(run: Mapping[str, Any]) -> dict:
    return {**NETWORKS[run["network"]], "precision": run["precision"], "mode": run["mode"]}


def layers() -> None:
    """Estimated over measured seconds of the layers over 0.5 ms, and of whole passes, on H200."""
    device = DEVICES["h200"]
    all_ratios, whole = [], []
    for run in measured_runs():
        estimates = seconds(options_of(run), before(device), device)
        passes = estimates.sum(axis=1) / run["whole_pass_min"]
        whole.append(passes)
        line = f"{run['network']} {run['precision']} {run['mode']}: "
        line += f"whole pass {passes[0]:.2f} -> {passes[1]:.2f}"
        if run["measured"]:
            times = np.median(run["measured"], axis=0)
            ratios = (estimates / times)[:, times > OVER]
            all_ratios.append(ratios)
            line += f"; layers, median {np.median(ratios[0]):.2f} -> {np.median(ratios[1]):.2f}"
        print(line)
    if whole:
        for index, name in enumerate(("before", "now")):
            print(
                f"{name}: layers {off(np.hstack(all_ratios)[index])}; passes {off(np.array(whole)[:, index])}"
            )


def published() -> None:
    """Estimated over published throughput; batch 1 apart."""
    for title, rows in (("large batches", PUBLISHED), ("batch 1", ALONE)):
        ratios = []
        for name, options, device, throughput, batch in rows:
            device = DEVICES[device]
            times = seconds(options, before(device), device).sum(axis=1)
            ratios.append(batch / times / throughput)
            print(f"{name}, {device.name}: {throughput} a second; {ratios[-1][0]:.2f} -> {ratios[-1][1]:.2f}")
        old, new = zip(*ratios, strict=True)
        print(f"{title}: before {off(old)}; now {off(new)}")


def choice() -> None:
    """H100 over A100, and the cheapest plan of H100 or B200, before and now."""
    a100, h100, b200 = (DEVICES[name] for name in ("a100-80g", "h100-sxm", "b200"))
    times = seconds(LLAMA_3 | {"batch": 1}, before(a100), before(h100), a100, h100).sum(axis=1)
    print(f"Llama-3-8B training, H100 over A100: {times[0] / times[1]:.2f} -> {times[2] / times[3]:.2f}")
    for title, devices in (("before", (before(h100), before(b200))), ("now", (h100, b200))):
        devices = [replace(device, name=name) for device, name in zip(devices, ("h100", "b200"), strict=True)]
        catalogue = {device.name: device for device in devices}
        for mode in ("train", "inference"):
            workload = sp.profile("hf:llama-2-7b", devices=devices, mode=mode, precision="bf16", graphs=True)
            goal = sp.Goal(objective="cost", min_throughput=200.0, split=True)
            cluster = sp.make_cluster(["h100:64", "b200:64"], catalogue)
            plan = sp.solve(sp.Problem(workload, cluster, goal)).plan
            print(f"{title}: Llama-2-7B, {mode}, 200 examples/s: {plan}")


def fit() -> None:
    """Fit seconds a launch, and fractions in fp32, to the layers of two networks; test on the third.

    Each in turn takes the value of a grid that has the least mean absolute logarithm of the ratios.
    """
    runs = [run for run in measured_runs() if run["measured"]]
    if not runs:
        return
    device = DEVICES["h200"]
    device = best(runs, [replace(device, launch_seconds=1e-6 * launch) for launch in range(32, 60, 4)])
    fp32 = device.efficiency["fp32"]
    for field in ("compute_fraction", "convolution_fraction"):
        tried = [replace(fp32, **{field: value}) for value in np.arange(0.4, 0.85, 0.02)]
        tried = [
            replace(device, efficiency={**device.efficiency, "fp32": efficiency}) for efficiency in tried
        ]
        device = best(runs, tried)
        fp32 = device.efficiency["fp32"]
    fitted, held_out = (off(ratios(runs, [device], held_out)[0]) for held_out in (False, True))
    print(f"launch_seconds {device.launch_seconds:.2g}, fp32 {fp32}")
    print(f"fitted: {fitted}; held out ({HELD_OUT}): {held_out}")


def ratios(runs: list[dict], devices: list[sp.Device], held_out: bool) -> np.ndarray:
    """Estimated over measured seconds of the layers of some runs, shape (devices, layers)."""
    named = [replace(device, name=f"{device.name}-{index}") for index, device in enumerate(devices)]
    parts = []
    for run in runs:
        if (run["network"] == HELD_OUT) == held_out:
            times = np.median(run["measured"], axis=0)
            parts.append((seconds(options_of(run), *named) / times)[:, times > OVER])
    return np.hstack(parts)


def best(runs: list[dict], devices: list[sp.Device]) -> sp.Device:
    errors = np.abs(np.log(ratios(runs, devices, held_out=False))).mean(axis=1)
    return devices[int(errors.argmin())]


if __name__ == "__main__":
    parts = {"layers": layers, "published": published, "choice": choice, "fit": fit}
    for part in sys.argv[1:] or parts:
        parts[part]()
