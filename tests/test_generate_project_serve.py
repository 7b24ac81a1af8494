"""The generated server, in this process: what it answers, what it refuses, and its limits."""

import importlib
import io
import json
import random
import re
import struct
import threading
import time
import zlib

import pytest
from asgi import client
from inside import imported
from projects import TASKS, make_spec, write

from stageplan.generate.basic import cases_text
from stageplan.generate.cases import Script
from stageplan.readers.bounded import from_toml
from stageplan.readers.documents import build

torch = pytest.importorskip("torch", reason="the generated project computes with PyTorch")
for package in ("safetensors", "fastapi", "uvicorn", "PIL", "python_multipart"):
    pytest.importorskip(package)

TEXTS, LABELS, IMAGES, CLICKS = TASKS
MODULES = ("network", "export", "formats", "serve", "ask_server", "load_server")
texts, labels, images, clicks = (pytest.mark.parametrize("made", [task], indirect=True) for task in TASKS)
SERVER = {"class_names": ["north", "east", "south", "west"]}


@pytest.fixture(scope="module", params=TASKS)
def made(request, tmp_path_factory):
    """A project with an exported, untrained network."""
    task = request.param
    server = SERVER if task in (LABELS, IMAGES) else {}
    spec = make_spec(task, extend={"steps": ["server"], "server": server})
    folder = write(tmp_path_factory.mktemp("made") / "project", spec)
    with pytest.MonkeyPatch.context() as patch, imported(folder, patch, *MODULES) as modules:
        modules.common.save_weights(modules.common.build(modules.config))
        modules.export.export(modules.config, True)
        yield modules


@pytest.fixture
def served(made, monkeypatch):
    """Make a client of a server with changed settings."""
    open_clients = []

    def served(**changes):
        settings = made.common.settings
        monkeypatch.setattr(made.serve, "settings", lambda name: settings(name) | changes)
        context = client(made.serve.make_app(made.config))
        open_clients.append(context)
        return context.__enter__()

    yield served
    for context in open_clients:
        context.__exit__(None, None, None)


def sender(made, ask):
    def send(method, path, body=None, type_="application/json"):
        status, _, values = ask(method, path, body, type_)
        return made.ask_server.Reply(status, values)

    return send


def valid(made, count=1):
    inputs, _ = made.data.batch(made.config, "evaluation", 0, count)
    return json.dumps({"inputs": [tensor.tolist() for tensor in inputs]}).encode()


def said(reply):
    """Return the sentence of a refusal."""
    status, _, values = reply
    assert status == 422, reply
    assert "\n" not in values["detail"]
    return values["detail"]


def of_case(name, numbers):
    """Say which limits of a case of the server are broken."""
    text = cases_text(make_spec(), ["server"]).decode()
    (case,) = (case for case in build(Script, from_toml(text)).case if case.name == name)
    return [failure for metric in case.metrics if (failure := metric.failure(numbers[metric.name]))]


# What it answers ----------------------------------------------------------------------------------------


def test_server_meets_its_case(made, served):
    numbers = made.ask_server.examine(made.config, sender(made, served()), True)
    assert of_case("server", numbers) == []
    assert numbers["nonsense"] > 50
    assert numbers["counted_failures"] == numbers["nonsense"] + 1
    assert len(made.ask_server.questions(made.config)) == 8


@clicks
def test_load_case_has_percentiles_and_compares_with_the_requirements(made, served, monkeypatch, capsys):
    ask = served()
    numbers = made.load_server.load(made.config, lambda *request: ask(*request)[0], True)
    assert of_case("server load", numbers) == []
    assert 0 < numbers["p50"] <= numbers["p95"] <= numbers["p99"]
    assert numbers["requests"] == 100
    strict = type(made.config.infer)(**vars(made.config.infer) | {"max_latency": 1e-9, "min_throughput": 1e9})
    monkeypatch.setitem(made.config.__dict__, "infer", strict)
    numbers = made.load_server.load(made.config, lambda *request: ask(*request)[0], True)
    assert numbers["max_latency"] == 1e-9
    said = capsys.readouterr().out
    assert re.search(r"^note: p95 is \S+ s; it must be at most 1e-09 \(max_latency\)$", said, re.M)
    assert re.search(r"^note: throughput is \S+ examples/s; it must be at least 1e\+09 \(min_thr", said, re.M)
    assert [sentence.split(" in ")[0] for sentence in of_case("server load", numbers)] == [
        "latency_met is 0",
        "throughput_met is 0",
    ]
    failing = iter(range(1000))
    numbers = made.load_server.load(made.config, lambda *_: 200 if next(failing) % 2 else 503, True)
    assert of_case("server load", numbers)[0].startswith("failures is 50 ")
    with pytest.raises(RuntimeError, match=r"^all 100 requests failed$"):
        made.load_server.load(made.config, lambda *_: 0, True)


@clicks
def test_percentiles(made):
    values = [float(i) for i in range(1, 201)]
    assert [made.load_server.percentile(values, p) for p in (50, 95, 99)] == [100, 190, 198]
    assert made.load_server.percentile([3.0], 99) == 3.0


@clicks
def test_rows_by_name_and_position_get_the_same_answer(made, served):
    ask = served()
    columns = made.data.columns(made.config)
    row = [None, *[0.5] * 7, *range(8)]
    bodies = [{"rows": [row, dict(zip(columns, row, strict=True))]}]
    status, _, values = ask("POST", "/answer", json.dumps(bodies[0]).encode())
    assert status == 200
    assert values["answers"][0] == values["answers"][1]
    assert 0 <= values["answers"][0]["chance"] <= 1
    named = dict(zip(columns, row, strict=True))
    for value, sentence in (
        (named | {"colour": 1}, "example 0: 'colour' is missing or unknown; its names must be number0, "),
        ({"number0": 1}, "is missing or unknown; its names must be"),
        (row[1:], "example 0: it is a list of 15; it must have the values number0, "),
        ([*row[:-1], 10], "example 0: a category is 10; it must be a whole number from 0 to 9"),
        ([*row[:-1], "red"], "example 0: a category is 'red'; it must be a whole number from 0 to 9"),
        ([*row[:-1], 1.0], "example 0: a category is 1.0; it must be text or a whole number"),
        (["1", *row[1:]], "example 0: a number is '1'; it must be a number or null"),
        ([1e300, *row[1:]], "example 0 has numbers that are too large"),
        ([10**400, *row[1:]], "example 0: int too large to convert to float"),
    ):
        assert sentence in said(ask("POST", "/answer", json.dumps({"rows": [value]}).encode()))


@clicks
def test_rows_of_a_file_have_its_names_and_any_category(made, tmp_path):
    names = [*"abcdefgh", *"ABCDEFGH"]
    values = [*["0.5"] * 8, *["red"] * 8]
    (tmp_path / "clicks.csv").write_text(f"label,{','.join(names)}\n" + f"1,{','.join(values)}\n" * 20)
    source = str(tmp_path / "clicks.csv")
    config = type(made.config)(**vars(made.config) | {"data": type(made.config.data)(512, source)})
    assert made.data.columns(config) == names
    numbers, categories = made.data.example(config, [*[0.5] * 8, *["red"] * 8])
    (trained, hashes), _ = made.data.batch(config, "training", 0, 1)
    assert numbers.equal(trained[0])
    assert categories.equal(hashes[0])
    assert made.data.example(config, [*[0] * 8, *[3] * 8])[1].equal(
        made.data.example(config, [*[0] * 8, *["3"] * 8])[1]
    )


@labels
def test_texts_are_classified_with_names(made, served):
    ask = served()
    status, _, values = ask("POST", "/answer", json.dumps({"texts": ["Some words", ""]}).encode())
    assert status == 200
    for answer in values["answers"]:
        assert answer["name"] == SERVER["class_names"][answer["class"]]
        assert sum(answer["chances"]) == pytest.approx(1, abs=1e-5)
        assert answer["chances"][answer["class"]] == max(answer["chances"])
    plain = ask("POST", "/answer", b"Some words", "text/plain; charset=utf-8")[2]
    assert plain["answers"][0]["class"] == values["answers"][0]["class"]


@texts
def test_texts_are_continued_by_the_given_count(made, served):
    ask = served()
    texts = ["\x01\x02", "\x03" * 200]
    long, short = (
        ask("POST", "/answer", json.dumps({"texts": texts, "count": count}).encode())[2]["answers"]
        for count in (16, 3)
    )
    assert [len(answer["tokens"]) for answer in [*long, *short]] == [16, 16, 3, 3]
    assert [answer["tokens"][:3] for answer in long] == [answer["tokens"] for answer in short]
    full = made.data.batch(made.config, "evaluation", 0, 1)[0][0]
    text = made.data.text_of(made.config, full[0].tolist())
    (answer,) = ask("POST", "/answer", json.dumps({"texts": [text]}).encode())[2]["answers"]
    program = made.serve.predictor(made.config, None)
    assert answer["tokens"] == made.network.answer(program, full)[0].tolist()
    for body, sentence in (
        ({"texts": ["a"]}, "example 0: a text has the byte 97; for this network they must be below 32"),
        ({"texts": [""]}, "example 0: a text is empty"),
        ({"texts": ["\x01"], "count": 0}, "count is 0; it must be from 1 to 32"),
        ({"texts": ["\x01"], "count": True}, "count is True; "),
        ({"texts": ["\x01"], "number": 1}, "unknown field 'number'"),
        ({"texts": ["\ud800"]}, "example 0: 'utf-8' codec can't encode"),
    ):
        assert sentence in said(ask("POST", "/answer", json.dumps(body).encode()))


# Images -------------------------------------------------------------------------------------------------


def encoded(kind="PNG", size=(20, 30), mode="RGB"):
    from PIL import Image

    stream = io.BytesIO()
    Image.new(mode, size, 128).save(stream, kind)
    return stream.getvalue()


def form(*files, boundary="x"):
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="f"; filename="{i}"\r\n\r\n'.encode() + file
        for i, file in enumerate(files)
    ]
    return b"\r\n".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


@images
def test_images_are_classified_alone_and_in_a_form(made, served):
    ask = served()
    pictures = [encoded(), encoded("JPEG"), encoded(mode="P"), encoded(mode="LA"), encoded(size=(1, 500))]
    alone = [ask("POST", "/answer", picture, "image/png")[2]["answers"][0] for picture in pictures]
    together = ask("POST", "/answer", *form(*pictures))[2]["answers"]
    for one, other in zip(alone, together, strict=True):
        assert one["name"] in SERVER["class_names"]
        assert one["chances"] == pytest.approx(other["chances"], abs=1e-6)


def bomb():
    """A valid PNG header of 60,000 x 60,000 pixels, and few bytes."""

    def chunk(name, content):
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))


@images
def test_wrong_images_are_refused_in_a_sentence(made, served):
    ask = served(max_examples=16)
    whole = encoded(size=(200, 200))
    wide = bomb().replace(struct.pack(">II", 60_000, 60_000), struct.pack(">II", 8_000, 8_000))
    no_image = "example 0: it is not a valid PNG or JPEG image ("
    for body, type_, sentence in (
        (b"", "image/png", no_image),
        (b"GIF89a" + bytes(50), "image/gif", no_image),
        (whole[:-30], "image/png", no_image),
        (encoded("JPEG", (200, 200))[:-200], "image/jpeg", no_image),
        (encoded("BMP"), "image/bmp", no_image),
        (bomb(), "image/png", no_image),  # the library's own limit
        (wide, "image/png", no_image),  # its checksum is wrong
        (b"{}", "application/json", no_image),
        (*form(*[whole] * 17), "Too many files"),
        (*form(), "images is a list of 0; it must be a list of 1 to 16 examples"),
        (form(whole)[0], "multipart/form-data", "the body is not a valid form: Missing boundary"),
        (b"--y\r\nnothing", "multipart/form-data; boundary=y", ""),
        (form(whole, b"no image")[0], form()[1], "example 1: it is not a valid"),
    ):
        assert sentence in said(ask("POST", "/answer", body, type_))


@images
def test_pixels_are_limited_before_they_are_decoded(made, monkeypatch):
    monkeypatch.setattr(made.formats, "MOST_PIXELS", 1000)
    assert made.formats.image(encoded(size=(25, 40))).size == (25, 40)
    with pytest.raises(
        made.formats.WrongInputError, match=r"^it has 25 x 41 pixels; it must have at most 1000$"
    ):
        made.formats.image(encoded(size=(25, 41)))


# Nonsense -----------------------------------------------------------------------------------------------


def bodies(made, chance):
    """Bodies and types of valid requests, and damaged ones."""
    whole = [
        (b, t) for b, t in [*made.ask_server.questions(made.config), (valid(made, 2), "application/json")]
    ]
    whole += [(body, type_) for _, body, type_ in made.ask_server.nonsense(made.config)]
    body, type_ = chance.choice(whole)
    types = (
        "application/json",
        "text/plain",
        "image/png",
        "multipart/form-data; boundary=x",
        "",
        "\xff/\xfe;=",
    )
    damaged = bytearray(body[:4000])
    for _ in range(chance.choice((0, 1, 3, 20))):
        place = chance.randrange(len(damaged) + 1)
        new = chance.choice(
            (b"[", b"]", b"{", b'"', b",", b"-", b"1e999", b"NaN", b"\x00", b"\xff", b"null", b"\\u")
        )
        damaged[place : place + chance.choice((0, 1, 2, 50))] = new
    return bytes(damaged), type_ if chance.random() < 0.8 else chance.choice(types)


def test_no_request_makes_the_server_fail(made, served):
    ask, chance, seen = served(), random.Random(7), set()
    for _ in range(200):
        body, type_ = bodies(made, chance)
        method, path = "POST", chance.choice(("/predict", "/answer", "/answer"))
        status, _, values = ask(method, path, body, type_, pieces=chance.choice((1, 3)))
        assert status in (200, 422), (status, values, body[:200], type_)
        assert status == 200 or set(values) == {"detail"}
        seen.add(status)
    assert seen == {200, 422}
    statuses = [ask(*request)[0] for request in (("GET", "/predict"), ("POST", "/health"), ("GET", "/\x00%"))]
    assert statuses == [405, 405, 404]
    assert ask("GET", "/openapi.json")[0] == 200


@clicks
def test_inputs_that_overflow_the_network_are_refused(made, served):
    ask = served()
    inputs = json.loads(valid(made))
    inputs["inputs"][0][0][0] = 3e38
    assert said(ask("POST", "/predict", json.dumps(inputs).encode())) == (
        "the outputs for these inputs are not finite numbers"
    )
    inputs["inputs"][0].append(inputs["inputs"][0][0])
    assert said(ask("POST", "/predict", json.dumps(inputs).encode())) == (
        "inputs have 2, 1 examples; all must have the same number"
    )


@clicks
def test_outputs_are_limited(made, served, monkeypatch):
    monkeypatch.setattr(made.formats, "MOST_NUMBERS", 3)
    ask = served()
    assert ask("POST", "/predict", valid(made, 3))[0] == 200
    assert (
        said(ask("POST", "/predict", valid(made, 4))) == "the outputs are 4 numbers, and at most 3 are sent"
    )


# Limits -------------------------------------------------------------------------------------------------


@pytest.fixture
def slow(made, monkeypatch):
    """A network that waits for a sign before it computes."""
    go, predictor = threading.Event(), made.serve.predictor

    def slow(config, variant):
        predict = predictor(config, variant)
        return lambda *inputs: go.wait(30) and predict(*inputs)

    monkeypatch.setattr(made.serve, "predictor", slow)
    yield go
    go.set()


@clicks
def test_large_bodies_are_refused_while_they_come(made, served):
    ask = served(max_body=2000)
    for pieces in (1, 50):
        status, _, values = ask("POST", "/predict", b" " * 2001, pieces=pieces)
        assert (status, values["detail"]) == (
            413,
            "the body has more than 2000 bytes, the most that it may have",
        )
    assert ask("POST", "/predict", valid(made) + b" " * (2000 - len(valid(made))))[0] == 200


@clicks
def test_slow_requests_end_with_504(made, served, slow):
    ask = served(max_seconds=0.05)
    status, _, values = ask("POST", "/predict", valid(made))
    assert (status, values["detail"]) == (504, "the request took more than 0.05 s, the most that it may take")
    health = ask("GET", "/health")
    assert (health[0], health[2]["detail"]) == (503, "the server does not infer: TimeoutError")
    slow.set()
    assert ask("POST", "/predict", valid(made))[0] == 200


@clicks
def test_too_many_requests_get_503_and_are_to_come_again(made, served, slow):
    ask = served(max_concurrent=2)
    waiting = [ask.start("POST", "/predict", valid(made)) for _ in range(2)]
    reply = wait_until(lambda: refused(ask("POST", "/predict", b"")))
    assert reply[1]["retry-after"] == "1"
    assert reply[2]["detail"] == "2 requests are being answered, the most at a time; ask again"
    assert "server_in_flight 2" in ask("GET", "/metrics")[2]
    slow.set()
    assert [future.result(30)[0] for future in waiting] == [200, 200]
    assert ask("POST", "/predict", valid(made))[0] == 200


@clicks
def test_full_queue_gives_503(made, served, slow):
    ask = served(max_concurrent=4, batch_window=0.0, max_seconds=0.2)
    statuses = [ask("POST", "/predict", valid(made))[0] for _ in range(6)]
    assert statuses[:5] == [504] * 5  # one is running, and the queue still holds four that gave up
    assert statuses[5] == 503
    slow.set()
    wait_until(lambda: ask("POST", "/predict", valid(made))[0] == 200)


def wait_until(check):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if result := check():
            return result
        time.sleep(0.01)
    pytest.fail("it did not happen within 30 s")


def refused(reply):
    return reply if reply[0] == 503 else None


# Batching, health, counts -------------------------------------------------------------------------------


def test_requests_that_come_together_run_together_with_the_same_answers(made, served, slow):
    ask = served(batch_window=0.1, max_examples=16)
    questions = made.ask_server.questions(made.config)
    first = ask.start("POST", "/predict", valid(made))
    waiting = [ask.start("POST", "/answer", *question) for question in questions]
    wrong = ask.start("POST", "/answer", b"\xff", "text/plain")
    wait_until(lambda: counts(ask)["server_in_flight"] == 9)
    slow.set()
    together = [json.loads(future.result(60)[2])["answers"][0] for future in waiting]
    assert (first.result(60)[0], wrong.result(60)[0]) == (200, 422)
    found = counts(ask)
    assert found["server_examples_total"] == 9
    assert found["server_batches_total"] < 9
    alone = [ask("POST", "/answer", *question)[2]["answers"][0] for question in questions]
    for one, other in zip(together, alone, strict=True):
        assert one.keys() == other.keys()
        assert all(
            one[key] == pytest.approx(other[key], abs=1e-5) for key in one if key not in ("text", "name")
        )


def counts(ask):
    lines = (line.rpartition(" ") for line in ask("GET", "/metrics")[2].splitlines() if line[0] != "#")
    return {name: float(value) for name, _, value in lines}


@clicks
def test_counts_are_of_all_requests(made, served):
    ask = served()
    for body in (valid(made), valid(made), b"nonsense"):
        ask("POST", "/predict", body)
    found = counts(ask)
    assert found['server_requests_total{path="/predict",status="200"}'] == 2
    assert found['server_requests_total{path="/predict",status="422"}'] == 1
    assert found["server_failures_total"] == 1
    assert found['server_request_seconds_count{path="/predict"}'] == 3
    assert found['server_request_seconds_bucket{path="/predict",le="+Inf"}'] == 3
    buckets = [value for name, value in found.items() if "_bucket" in name]
    assert buckets == sorted(buckets)
    assert 0 < found['server_request_seconds_sum{path="/predict"}'] < 60


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (RuntimeError("broken"), 422, "the network cannot take these inputs: broken"),
        (MemoryError(), 503, "there is not enough memory; ask again, or with fewer examples"),
        (KeyError("bug"), 500, "the server failed"),
    ],
)
@clicks
def test_broken_network_is_not_healthy(made, served, monkeypatch, capfd, error, status, sentence):

    def broken(*_):
        raise error

    monkeypatch.setattr(made.serve, "predictor", lambda *_: broken)
    ask = served()
    reply = ask("POST", "/predict", valid(made))
    assert (reply[0], reply[2]["detail"]) == (status, sentence)
    health = ask("GET", "/health")
    assert health[0] == 503
    assert health[2]["detail"].startswith("the server does not infer: ")
    assert ("KeyError" in capfd.readouterr().err) is (status == 500)


# Settings -----------------------------------------------------------------------------------------------


@clicks
def test_variant_is_served(made, served, monkeypatch):
    loaded = []

    class Variants:
        @staticmethod
        def load_variant(config, name):
            loaded.append(name)
            return lambda numbers, categories: numbers.sum(1)

    monkeypatch.setitem(importlib.sys.modules, "variants", Variants)
    ask = served(variant="int8")
    outputs = ask("POST", "/predict", valid(made, 3))[2]["outputs"]
    numbers = made.data.batch(made.config, "evaluation", 0, 3)[0][0]
    assert outputs == pytest.approx(numbers.sum(1).tolist(), abs=1e-6)
    assert loaded == ["int8"]


@labels
def test_wrong_number_of_class_names_is_refused(made):
    with pytest.raises(ValueError, match=r"^class_names has 1 names; the network has 4 classes$"):
        made.serve.class_names(made.config, ["one"])
    assert made.serve.class_names(made.config, []) == ()


@clicks
def test_data_that_cannot_read_what_users_send(made, served, monkeypatch):
    def refuse(config, value):
        raise ValueError("arrays alone")

    monkeypatch.setattr(made.data, "example", refuse)
    assert made.ask_server.questions(made.config) == []
    monkeypatch.delattr(made.data, "example")
    assert made.ask_server.questions(made.config) == []
    sentence = said(served()("POST", "/answer", b"{}"))
    assert sentence == "data.py has no function `example` for what users send; ask /predict"
