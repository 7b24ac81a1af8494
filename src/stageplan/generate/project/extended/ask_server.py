"""Starts the server, sends requests, compares the answers with the network's, and stops the server."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

import data
from common import ARTEFACTS, Config, load_weights, on_device, run, settings
from export import Service

ADDRESS = ARTEFACTS / "server.json"  # where the server writes its address
PATIENCE = 60.0  # seconds to start, and to stop
REQUEST_LIMIT = 20.0  # seconds


def ask_server(config: Config, quick: bool) -> dict[str, float]:
    """Send the evaluation examples, and one invalid request."""
    service = Service(config, load_weights(config)).eval()
    differences, latencies = [], []
    with running() as url:
        for index in range(config.infer.quick_requests if quick else config.infer.requests):
            inputs, _ = data.batch(config, "evaluation", index, config.infer.batch)
            begin = time.perf_counter()
            _, answer = ask(f"{url}/predict", {"inputs": [tensor.tolist() for tensor in inputs]})
            latencies.append(time.perf_counter() - begin)
            on, _ = on_device(config, (inputs, inputs[0]))
            with torch.no_grad():
                expected = service(*on).cpu()
            differences.append((torch.tensor(answer["outputs"]) - expected).abs().max().item())
        refused, _ = ask(f"{url}/predict", {"inputs": [["nonsense"]]})
    return {
        "requests": len(latencies),
        "latency": statistics.median(latencies),
        "largest_difference": max(differences),
        "nonsense_status": refused,
    }


@contextmanager
def running() -> Iterator[str]:
    """Start the server, give its URL when it is ready, and end it."""
    ADDRESS.unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, "serve.py", *sys.argv[1:]])
    try:
        yield _ready(process)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(process: subprocess.Popen[bytes]) -> str:
    """Wait until the server answers at the address that it wrote.

    Raises
    ------
    RuntimeError
        It ended, is elsewhere than it should be, or takes too long.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        if ADDRESS.exists():
            url = _url(json.loads(ADDRESS.read_bytes()))
            if ask(f"{url}/health")[0] == 200:
                return url
        time.sleep(0.05)
    if process.returncode is not None:
        raise RuntimeError(f"the server ended with exit status {process.returncode}")
    raise RuntimeError(f"the server did not answer within {PATIENCE:g} s")


def _url(address: dict[str, Any]) -> str:
    host, port = address["host"], address["port"]
    wanted = settings("server")
    if wanted["port"] not in (0, port):
        raise RuntimeError(f"the server listens on port {port}; it must be {wanted['port']}")
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def ask(url: str, values: dict[str, Any] | None = None) -> tuple[int, Any]:
    """Send a request; return the status, 0 without an answer, and the returned values."""
    body = None if values is None else json.dumps(values).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    no_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with no_proxy.open(request, timeout=REQUEST_LIMIT) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, None
    except OSError:
        return 0, None


if __name__ == "__main__":
    run("ask_server", ask_server)
