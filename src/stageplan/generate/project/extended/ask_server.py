"""Starts the server, sends requests, compares the answers with the network's, and stops the server."""

from __future__ import annotations

import loading

import http.client
import io
import json
import math
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

import data
import formats
import network
from common import ARTEFACTS, Config, load_weights, on_device, run, settings
from export import Service

ADDRESS = ARTEFACTS / "server.json"  # where the server writes its address
PATIENCE = 60.0  # seconds to start, and to stop
REQUEST_LIMIT = 60.0  # seconds
TOGETHER = 8  # requests that are sent at the same time
JSON = "application/json"


class Reply(NamedTuple):
    """The answer to a request: its status, 0 without an answer, and its values, or text where it has none."""

    status: int
    values: Any


Send = Callable[..., Reply]  # from a method, a path, a body and its type
Predict = Callable[..., Tensor]


def ask_server(config: Config, quick: bool) -> dict[str, float]:
    """Examine a server of this project."""
    with running() as address:
        return examine(config, sender(address), quick)


def examine(config: Config, send: Send, quick: bool) -> dict[str, float]:
    """Compare the answers of a server with the network's, and send what it must refuse."""
    service = expected_from(config)
    latencies, difference = compare_outputs(config, service, send, quick)
    asked = questions(config)
    alone = [answers_to(send, *question) for question in asked]
    with ThreadPoolExecutor(TOGETHER) as pool:
        together = list(pool.map(lambda question: answers_to(send, *question), asked))
    refusals = [send("POST", path, body, type_) for path, body, type_ in nonsense(config)]
    too_large = b" " * (settings("server")["max_body"] + 1)
    return {
        "requests": len(latencies),
        "latency": statistics.median(latencies) if latencies else 0.0,
        "largest_difference": difference,
        "answer_difference": difference_of(alone, expected(config, service)),
        "batch_difference": difference_of(alone, together),
        "nonsense": len(refusals),
        "nonsense_accepted": sum(not _is_refusal(reply) for reply in refusals),
        "too_large_status": send("POST", "/predict", too_large, JSON).status,
        **look_after(send),
    }


def expected_from(config: Config) -> Predict:
    """Return what the server must answer like: the variant that it serves, or else the network."""
    variant = settings("server")["variant"]
    if variant is None:
        return Service(config, load_weights(config)).eval()
    from variants import load_variant

    return load_variant(config, variant)


def _is_refusal(reply: Reply) -> bool:
    """Whether a reply is status 422 and a sentence."""
    return reply.status == 422 and isinstance(reply.values, dict) and bool(reply.values.get("detail"))


def compare_outputs(config: Config, service: Predict, send: Send, quick: bool) -> tuple[list[float], float]:
    """Send batches of evaluation examples as tensors; return latencies, and the largest difference.

    Of a network whose outputs are too many to send there are none.
    """
    differences, latencies = [0.0], []
    size = min(config.infer.batch, formats.MOST_NUMBERS // _one(config, service).numel())
    for index in range((config.infer.quick_requests if quick else config.infer.requests) if size else 0):
        inputs, _ = data.batch(config, "evaluation", index, size)
        body = json.dumps({"inputs": [tensor.tolist() for tensor in inputs]}).encode()
        begin = time.perf_counter()
        reply = send("POST", "/predict", body, JSON)
        latencies.append(time.perf_counter() - begin)
        if reply.status != 200:
            raise RuntimeError(
                f"the server answered a valid request with status {reply.status}: {reply.values}"
            )
        outputs = torch.tensor(reply.values["outputs"])
        differences.append((outputs - _outputs(config, service, inputs)).abs().max().item())
    return latencies, max(differences)


def _one(config: Config, service: Predict) -> Tensor:
    return _outputs(config, service, data.batch(config, "evaluation", 0, 1)[0])


def _outputs(config: Config, service: Predict, inputs: tuple[Tensor, ...]) -> Tensor:
    on, _ = on_device(config, (inputs, inputs[0]))
    with torch.no_grad():
        return service(*on).cpu()


def look_after(send: Send) -> dict[str, float]:
    """Ask for health and counts: health must infer, and the counts must have failures."""
    before = _counts(send)
    health = send("GET", "/health")
    after = _counts(send)
    return {
        "health_status": health.status,
        "health_inferences": after.get("server_examples_total", 0) - before.get("server_examples_total", 0),
        "counted_failures": after.get("server_failures_total", 0),
    }


def _counts(send: Send) -> dict[str, float]:
    """Read the counts that have no labels."""
    text = str(send("GET", "/metrics").values)
    return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", text, re.M)}


# What users send ----------------------------------------------------------------------------------------


def questions(config: Config) -> list[tuple[bytes, str]]:
    """Return bodies of one example each, and their types; none where the data do not read them."""
    return [_body(config, value) for value in examples(config)]


def examples(config: Config) -> list[Any]:
    """Return values as users send them; none where the data do not read them."""
    values = _values(config) if hasattr(data, "example") else []
    try:
        _ = [data.example(config, value) for value in values[:1]]
    except ValueError:
        return []
    return values


def _values(config: Config) -> list[Any]:
    """Return texts, rows, or images of Pillow's."""
    inputs, _ = data.batch(config, "evaluation", 0, TOGETHER)
    if config.task == "image-classification":
        return _images(inputs[0])
    if config.task == "click-through-rate":
        numbers, categories = inputs[0].tolist(), inputs[-1].tolist()
        return [[*first, *second] for first, second in zip(numbers, categories, strict=True)]
    if config.task == "causal-language-model" and not hasattr(data, "text_of"):
        return []
    if config.task == "causal-language-model":
        return [
            data.text_of(config, tokens[: 1 + i])
            for i, tokens in enumerate(inputs[0].clamp(max=127).tolist())
        ]
    return [" ".join(f"w{token}" for token in tokens) for tokens in inputs[0].tolist()]


def _images(images: Tensor) -> list[Any]:
    """Make images of those of the data, larger than the network takes them."""
    from PIL import Image

    if images.shape[1] not in (1, 3):
        return []
    arrays = (images.clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).numpy()
    made = [Image.fromarray(array.squeeze()) for array in arrays]
    return [image.resize((2 * image.width, 2 * image.height)) for image in made]


def _body(config: Config, value: Any) -> tuple[bytes, str]:
    if config.task == "image-classification":
        stream = io.BytesIO()
        value.save(stream, "PNG")
        return stream.getvalue(), "image/png"
    name = "rows" if config.task == "click-through-rate" else "texts"
    return json.dumps({name: [value]}).encode(), JSON


def answers_to(send: Send, body: bytes, type_: str) -> list[float]:
    """Return the answer to a question as numbers: chances, or tokens."""
    reply = send("POST", "/answer", body, type_)
    if reply.status != 200:
        raise RuntimeError(f"the server answered a valid question with status {reply.status}: {reply.values}")
    (answer,) = reply.values["answers"]
    if "chances" in answer:
        return [answer["class"], *answer["chances"]]
    return answer["tokens"] if "tokens" in answer else [answer["chance"]]


def expected(config: Config, service: Predict) -> list[list[float]]:
    """Return what the network answers to the same questions."""
    return [_expected(config, service, data.example(config, value)) for value in examples(config)]


def _expected(config: Config, service: Predict, example: tuple[Tensor, ...]) -> list[float]:
    inputs = tuple(tensor[None] for tensor in example)
    if config.task == "causal-language-model":
        return _continued(config, service, inputs[0])
    outputs = _outputs(config, service, inputs)
    if config.task == "click-through-rate":
        return outputs.sigmoid().tolist()
    (chances,) = outputs.softmax(-1).tolist()
    return [network.answer(lambda *_: outputs, *inputs).item(), *chances]


def _continued(config: Config, service: Predict, tokens: Tensor) -> list[float]:
    """Continue a text by half the length that the network takes, token by token."""
    length = data.batch(config, "evaluation", 0, 1)[0][0].shape[1]
    text = tokens[0].tolist()
    start = len(text)
    while len(text) < start + max(1, length // 2):
        window = text[-length:]
        filled = torch.tensor([window + [0] * (length - len(window))])
        text.append(_outputs(config, service, (filled,))[0, len(window) - 1].argmax().item())
    return text[start:]


def difference_of(one: list[list[float]], other: list[list[float]]) -> float:
    """Return the largest difference of two lists of answers; infinite where one is longer."""
    if [len(answer) for answer in one] != [len(answer) for answer in other]:
        return math.inf
    pairs = [
        pair for first, second in zip(one, other, strict=True) for pair in zip(first, second, strict=True)
    ]
    return max((abs(a - b) for a, b in pairs), default=0.0)


def nonsense(config: Config) -> Iterator[tuple[str, bytes, str]]:
    """Return paths, bodies and types of requests that must be refused."""
    pattern, _ = data.batch(config, "evaluation", 0, 1)
    valid = json.dumps({"inputs": [tensor.tolist() for tensor in pattern]})
    first = json.dumps(pattern[0].tolist())
    bodies = [b"", b"nonsense", b"[]", b"null", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"inputs": "text"}']
    values = ["null", '[["nonsense"]]', "[]", "[[]]", "[{}]", "true", f"[{first}, {first}, {first}]"]
    numbers = ["NaN", "Infinity", "1e400", "-1e400", "9" * 400, "9" * 5000, '"1"', "true", "null", "[]"]
    bodies += [f'{{"inputs": {value}}}'.encode() for value in values]
    bodies += [re.sub(r"-?\d[\d.e+-]*", number, valid, count=1).encode() for number in numbers]
    for body in bodies:
        yield "/predict", body, JSON
        yield "/answer", body, JSON
    if config.task == "image-classification":
        yield "/answer", b"\x89PNG\r\n\x1a\n" + bytes(50), "image/png"
        yield "/answer", b"--a\r\n", "multipart/form-data; boundary=a"
    else:
        yield "/answer", b"\xff\xfe", "text/plain"
        for name in ("texts", "rows"):
            for value in ("[]", "[3]", "[null]", '"text"', "[[]]", "[{}]"):
                yield "/answer", f'{{"{name}": {value}}}'.encode(), JSON


# The server ---------------------------------------------------------------------------------------------


@contextmanager
def running() -> Iterator[tuple[str, int]]:
    """Start the server, give its address when it is ready, and end it."""
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


def _ready(process: subprocess.Popen[bytes]) -> tuple[str, int]:
    """Wait until the server answers at the address that it wrote.

    Raises
    ------
    RuntimeError
        It ended, is elsewhere than it should be, or takes too long.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        if ADDRESS.exists():
            address = _address(json.loads(ADDRESS.read_bytes()))
            if sender(address)("GET", "/health").status == 200:
                return address
        time.sleep(0.05)
    if process.returncode is not None:
        raise RuntimeError(f"the server ended with exit status {process.returncode}")
    raise RuntimeError(f"the server did not answer within {PATIENCE:g} s")


def _address(written: dict[str, Any]) -> tuple[str, int]:
    host, port = written["host"], written["port"]
    wanted = settings("server")
    if wanted["port"] not in (0, port):
        raise RuntimeError(f"the server listens on port {port}; it must be {wanted['port']}")
    return host, port


def sender(address: tuple[str, int]) -> Send:
    """Make the function that sends requests to an address."""

    def send(method: str, path: str, body: bytes | None = None, type_: str = JSON) -> Reply:
        connection = http.client.HTTPConnection(*address, timeout=REQUEST_LIMIT)
        try:
            return exchange(connection, method, path, body, type_)
        except (OSError, http.client.HTTPException):
            return Reply(0, None)
        finally:
            connection.close()

    return send


def exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, type_: str
) -> Reply:
    """Send a request over a connection, and read the answer."""
    connection.request(method, path, body, {"Content-Type": type_})
    answer = connection.getresponse()
    content = answer.read()
    is_json = answer.headers.get_content_type() == JSON
    return Reply(answer.status, json.loads(content) if is_json else content.decode(errors="replace"))


if __name__ == "__main__":
    run("ask_server", ask_server)
