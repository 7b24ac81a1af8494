"""Refuses limits on inference that the untrained network breaks by far, before a long training."""

from __future__ import annotations

import time

import torch
from torch import nn

import data
from common import Config, in_precision, on_device

TIMED = 3  # inferences, after one that is not timed
BY_FAR = 5.0  # what an exported program or a smaller type of number may gain, and more


def check_speed(config: Config, module: nn.Module) -> None:
    """Compare the fastest of a few inferences with the limits.

    Raises
    ------
    ValueError
        A limit cannot be met.
    """
    service = config.infer
    if service.max_latency is None and service.min_throughput is None:
        return
    seconds = _least_seconds(config, module.eval())
    measured = f"the untrained network needs {seconds:.3g} s for a batch of {service.batch}"
    if service.max_latency is not None and seconds > BY_FAR * service.max_latency:
        raise ValueError(f"max_latency is {service.max_latency:g} s, which is impossible: {measured}")
    if service.min_throughput is not None and seconds * service.min_throughput > BY_FAR * service.batch:
        raise ValueError(
            f"min_throughput is {service.min_throughput:g} examples/s, which is impossible: {measured}, "
            f"{service.batch / seconds:.3g} examples/s"
        )


def _least_seconds(config: Config, module: nn.Module) -> float:
    batch = data.batch(config, "evaluation", 0, config.infer.batch)
    times = []
    with torch.no_grad():
        for _ in range(1 + TIMED):
            begin = time.perf_counter()
            inputs, _ = on_device(config, batch)
            with in_precision(config):
                module(*inputs).cpu()
            times.append(time.perf_counter() - begin)
    return min(times[1:])
