"""Answers requests with the exported program, writes the answers, and measures their latency."""

from __future__ import annotations

import loading

import json
import statistics
import time

import torch

import data
import network
from common import ARTEFACTS, Config, note, on_device, run, whole
from export import load_program

ANSWERS = ARTEFACTS / "answers.json"
WARM_UP = 2  # requests that are not timed


def infer(config: Config, quick: bool) -> dict[str, float]:
    """Answer requests one by one."""
    program = load_program(config)
    count = config.infer.quick_requests if quick else config.infer.requests
    latencies = []
    with torch.no_grad(), whole(ANSWERS) as beside, beside.open("w") as stream:
        for index in range(WARM_UP + count):
            batch = data.batch(config, "evaluation", index, config.infer.batch)
            begin = time.perf_counter()
            inputs, _ = on_device(config, batch)
            program(*inputs).cpu()
            latencies.append(time.perf_counter() - begin)
            if index >= WARM_UP:
                stream.write("[" if index == WARM_UP else ",\n")
                json.dump(network.answer(program, *inputs).tolist(), stream)
        stream.write("]\n")
    return timing(config, latencies[WARM_UP:])


def timing(config: Config, latencies: list[float]) -> dict[str, float]:
    """Summarise the seconds of requests, and whether they meet the limits: 1 or 0."""
    latency = statistics.median(latencies)
    throughput = config.infer.batch / latency
    most, least = config.infer.max_latency, config.infer.min_throughput
    if most is not None:
        note(f"latency of a batch is {latency:.3g} s; it must be at most {most:g} s (max_latency)")
    if least is not None:
        note(f"throughput is {throughput:.4g} examples/s; it must be at least {least:g} (min_throughput)")
    return {
        "requests": len(latencies),
        "latency": latency,
        "throughput": throughput,
        "latency_met": float(most is None or latency <= most),
        "throughput_met": float(least is None or throughput >= least),
    }


if __name__ == "__main__":
    run("infer", infer)
