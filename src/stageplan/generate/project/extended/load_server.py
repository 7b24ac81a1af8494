"""Starts the server, sends it many requests at a time, and measures latency, throughput and failures."""

from __future__ import annotations

import loading

import http.client
import json
import math
import threading
import time
from collections.abc import Callable
from itertools import count

from ask_server import JSON, REQUEST_LIMIT, exchange, questions, running

import data
import formats
from common import Config, note, run, settings

BODIES = 8  # that differ
REQUESTS = 5  # for each of those that infer.py sends


def load_server(config: Config, quick: bool) -> dict[str, float]:
    """Load a server of this project."""
    with running() as address:
        connections = threading.local()

        def send(method: str, path: str, body: bytes, type_: str) -> int:
            """Send over a connection of this thread."""
            if not hasattr(connections, "own"):
                connections.own = http.client.HTTPConnection(*address, timeout=REQUEST_LIMIT)
            try:
                return exchange(connections.own, method, path, body, type_).status
            except (OSError, http.client.HTTPException):
                connections.own.close()
                return 0

        return load(config, send, quick)


def load(config: Config, send: Callable[[str, str, bytes, str], int], quick: bool) -> dict[str, float]:
    """Send the evaluation examples in batches, several requests at a time.

    Returns
    -------
    dict of str to float
        Percentiles of the seconds of successful requests, examples/s, and failures; the requirements, where
        there are any, and whether they are met, 1 or 0: the maximum latency by the 95th percentile.
    """
    path, bodies, examples = requests(config)
    total = REQUESTS * (config.infer.quick_requests if quick else config.infer.requests)
    numbers, latencies, failures = count(), [], []
    concurrency = settings("server")["load_concurrency"]

    def client() -> None:
        while (number := next(numbers)) < total:
            begin = time.perf_counter()
            status = send("POST", path, *bodies[number % len(bodies)])
            (latencies if status == 200 else failures).append(time.perf_counter() - begin)

    threads = [threading.Thread(target=client) for _ in range(concurrency)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begin
    if not latencies:
        raise RuntimeError(f"all {total} requests failed")
    throughput = len(latencies) * examples / seconds
    say_required(config, percentile(latencies, 95), throughput)
    return {
        "requests": total,
        "concurrency": concurrency,
        "failures": len(failures),
        **{f"p{percent}": percentile(latencies, percent) for percent in (50, 95, 99)},
        "throughput": throughput,
        **requirements(config, percentile(latencies, 95), throughput),
    }


def requests(config: Config) -> tuple[str, list[tuple[bytes, str]], int]:
    """Return a path, bodies with their types, and the examples of each: of few outputs the whole batch."""
    inputs, _ = data.batch(config, "evaluation", 0, config.infer.batch)
    vocabulary = getattr(config.model, "vocabulary", 1)
    if config.task == "causal-language-model" and inputs[0].numel() * vocabulary > formats.MOST_NUMBERS:
        return "/answer", questions(config), 1
    batches = [data.batch(config, "evaluation", index, config.infer.batch)[0] for index in range(BODIES)]
    lists = [{"inputs": [tensor.tolist() for tensor in batch]} for batch in batches]
    return "/predict", [(json.dumps(values).encode(), JSON) for values in lists], config.infer.batch


def percentile(seconds: list[float], percent: int) -> float:
    """Return the least of some values that as many percent of them do not exceed."""
    return sorted(seconds)[math.ceil(len(seconds) * percent / 100) - 1]


def say_required(config: Config, latency: float, throughput: float) -> None:
    """Note the requirements beside what was measured."""
    most, least = config.infer.max_latency, config.infer.min_throughput
    if most is not None:
        note(f"p95 is {latency:.4g} s; it must be at most {most:g} (max_latency)")
    if least is not None:
        note(f"throughput is {throughput:.4g} examples/s; it must be at least {least:g} (min_throughput)")


def requirements(config: Config, latency: float, throughput: float) -> dict[str, float]:
    """Return the requirements that there are, and whether they are met."""
    most, least = config.infer.max_latency, config.infer.min_throughput
    given = {"max_latency": most, "min_throughput": least}
    return {name: value for name, value in given.items() if value is not None} | {
        "latency_met": float(most is None or latency <= most),
        "throughput_met": float(least is None or throughput >= least),
    }


if __name__ == "__main__":
    run("load_server", load_server)
