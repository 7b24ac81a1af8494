"""Measures all variants of the network that are there: size, quality, latency, throughput, and requirements.

A request is a batch of the service. Variants are timed one after the other, each until as many requests are
answered as the configuration says, or `SECONDS` have passed. The stages of the variant ``pipelined`` share
this machine's processor: requests are replayed from their processor time, as if each stage had a device.
"""

from __future__ import annotations

import loading

import json
import math
import time
from itertools import takewhile
from typing import Any

import torch

import data
from common import ARTEFACTS, Config, as_tuple, on_device, run, settings, write_json
from evaluate import measure
from export import PROGRAM, largest_difference, load_program
from pipeline_speed import Times, replay
from variants import NAMES, Predict, files_of, load_variant, on_processor

TABLE = ARTEFACTS / "variants.json"
WARM_UP = 2  # requests that are not timed
FEWEST = 5  # requests, however long they take
SECONDS = 20.0  # after which no request begins

Row = dict[str, Any]


def compare_variants(config: Config, quick: bool) -> dict[str, float]:
    """Measure the exported program, which the others come from, and then these; write the table."""
    base = load_program(config)
    rows = [_row(config, config.train.precision, base, base, quick)]
    for name in NAMES:
        if name != config.train.precision and all(path.exists() for path in files_of(config, name)):
            rows.append(_row(config, name, load_variant(config, name), base, quick))
    write_json(TABLE, rows)
    numbers = ("bytes", "value", "p50", "p95", "p99", "throughput", "largest_difference")
    return {f"{row['name']}.{number}": row[number] for row in rows for number in numbers}


def _row(config: Config, name: str, program: Predict, base: Predict, quick: bool) -> Row:
    """Measure a variant."""
    files = [PROGRAM] if program is base else files_of(config, name)
    timed = _pipelined(config, quick) if name == "pipelined" else _timed(config, program, quick)
    row = {
        "name": name,
        "files": [path.as_posix() for path in files],
        "bytes": sum(path.stat().st_size for path in files),
        "metric": config.metric.name,
        "value": measure(config, on_processor(config, program))[config.metric.name],
        **timed,
        "largest_difference": largest_difference(config, base, program),
    }
    return row | {"requirements": required(config, row, quick)}


# Speed --------------------------------------------------------------------------------------------------


def _timed(config: Config, program: Predict, quick: bool) -> Row:
    """Measure the seconds of requests by the clock."""
    predict, seconds = on_processor(config, program), []
    for inputs in _requests(config, quick):
        begin = time.perf_counter()
        predict(*inputs)
        seconds.append(time.perf_counter() - begin)
    timed = seconds[WARM_UP:]
    return _percentiles(timed) | {"throughput": config.infer.batch * len(timed) / sum(timed), "note": ""}


def _pipelined(config: Config, quick: bool) -> Row:
    """Measure the processor seconds of stages, and replay all requests with a device for each stage."""
    stages = [load_program(config, file) for file in files_of(config, "pipelined")]
    types, speeds = _devices(config)
    seconds: list[list[float]] = [[] for _ in stages]
    for inputs in _requests(config, quick):
        tensors, _ = on_device(config, (inputs, inputs[0]))
        for stage, speed, spent in zip(stages, speeds, seconds, strict=True):
            begin = time.process_time()
            with torch.no_grad():
                tensors = as_tuple(stage(*tensors))
            spent.append((time.process_time() - begin) / speed)
    seconds = [spent[WARM_UP:] for spent in seconds]
    times = [Times({("forward", m): one for m, one in enumerate(spent)}, rest=0.0) for spent in seconds]
    count = len(seconds[0])
    in_all = replay([(rank,) for rank in range(len(stages))], times, [1.0] * len(stages))
    simulated = sorted({type_ for type_ in types if type_ != config.device})
    words = "replayed from processor time, a device for each stage"
    words += f"; simulated: {', '.join(simulated)}" if simulated else ""
    alone = [sum(one) for one in zip(*seconds, strict=True)]
    return _percentiles(alone) | {"throughput": config.infer.batch * count / in_all, "note": words}


def _devices(config: Config) -> tuple[list[str], list[float]]:
    """Return the types of the stages' devices, and how fast they are relative to this machine's."""
    with open("plan.json", encoding="utf-8") as stream:
        types = [stage["type"] for stage in json.load(stream)["stages"]]
    known = settings("pipeline")["speeds"]
    return types, [known.get(type_, 1.0) for type_ in types]


def _requests(config: Config, quick: bool) -> Any:
    """Return the inputs of requests until enough are answered, or time is over."""
    count = WARM_UP + (config.infer.quick_requests if quick else config.infer.requests)
    end = time.monotonic() + SECONDS
    numbers = takewhile(lambda i: i < WARM_UP + FEWEST or time.monotonic() < end, range(count))
    return (data.batch(config, "evaluation", index, config.infer.batch)[0] for index in numbers)


def _percentiles(seconds: list[float]) -> Row:
    """Return the least of some seconds that 50, 95 and 99 per cent of them do not exceed."""
    ordered = sorted(seconds)
    return {f"p{percent}": ordered[math.ceil(len(ordered) * percent / 100) - 1] for percent in (50, 95, 99)}


# Requirements -------------------------------------------------------------------------------------------


def required(config: Config, row: Row, quick: bool) -> list[Row]:
    """Return the requirements of the service that there are, with the value of a variant beside each."""
    metric, service = config.metric, config.infer
    name = "quick_threshold" if quick else "threshold"
    asked = [
        (name, getattr(metric, name), row["value"], metric.higher_is_better),
        ("max_latency", service.max_latency, row["p95"], False),
        ("min_throughput", service.min_throughput, row["throughput"], True),
    ]
    return [
        {
            "name": what,
            "required": f"at {'least' if is_least else 'most'} {limit:.6g}",
            "value": value,
            "met": value >= limit if is_least else value <= limit,
        }
        for what, limit, value, is_least in asked
        if limit is not None
    ]


if __name__ == "__main__":
    run("compare_variants", compare_variants)
