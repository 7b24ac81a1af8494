"""Answers requests over HTTP with the exported program or another variant, until it is stopped.

==================  ================================================================================
``POST /answer``    text, rows or images as users have them; classes, chances or text come back
``POST /predict``   ``{"inputs": [...]}``, an array for each input of the network; its outputs come back
``GET /health``     infers on an example: 200 where that works, else 503
``GET /metrics``    counts, in Prometheus' text format
==================  ================================================================================

Wrong input is answered with status 422, a body that is too large with 413, too many requests at a time with
503, and a request that takes too long with 504, each with one sentence as ``detail``.
"""

from __future__ import annotations

import loading

import argparse
import asyncio
import json
import queue
import signal
import socket
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect
from torch import Tensor

import data
import formats
from batching import Batcher
from common import ARTEFACTS, Config, on_device, read_config, settings, write_json
from counters import Counters
from export import load_program
from formats import WrongInputError

ADDRESS = ARTEFACTS / "server.json"
DECODERS = 2  # threads that decode bodies, each of which may take much more memory decoded
TEXT, MODEL, IMAGES = "text-classification", "causal-language-model", "image-classification"

Values = dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """Settings of the server, from ``extended.json``: bytes, seconds, requests at a time, examples."""

    max_body: int
    max_seconds: float
    max_concurrent: int
    max_examples: int
    batch_window: float


class TooLargeError(Exception):
    """A body has more bytes than are allowed."""


class Entrance:
    """Lets requests in within the limits, and answers what goes wrong with a status and one sentence."""

    def __init__(self, limits: Limits, counters: Counters) -> None:
        self.limits, self.counters, self.inside = limits, counters, 0

    async def answer(self, request: Request, work: Callable[[Request], Awaitable[Values]]) -> Response:
        """Do the work of a request, and count it."""
        begin = time.perf_counter()
        status, values = await self._outcome(request, work)
        self.counters.add(request.url.path, status, time.perf_counter() - begin)
        return to_response(status, values)

    async def _outcome(
        self, request: Request, work: Callable[[Request], Awaitable[Values]]
    ) -> tuple[int, Values]:
        limits = self.limits
        if self.inside >= limits.max_concurrent:
            return 503, _detail(f"{self.inside} requests are being answered, the most at a time; ask again")
        self.inside += 1
        try:
            return 200, await asyncio.wait_for(work(request), limits.max_seconds)
        except WrongInputError as error:
            return 422, _detail(str(error))
        except TooLargeError:
            return 413, _detail(f"the body has more than {limits.max_body} bytes, the most that it may have")
        except queue.Full:
            return 503, _detail("the queue is full; ask again")
        except (MemoryError, torch.OutOfMemoryError):
            return 503, _detail("there is not enough memory; ask again, or with fewer examples")
        except asyncio.TimeoutError:  # noqa: UP041 - another class in Python 3.10
            return 504, _detail(
                f"the request took more than {limits.max_seconds:g} s, the most that it may take"
            )
        except ClientDisconnect:
            return 400, _detail("the request ended early")  # nobody reads it
        except Exception:
            traceback.print_exc()
            return 500, _detail("the server failed")
        finally:
            self.inside -= 1

    async def body_of(self, request: Request) -> bytes:
        """Read the body; TooLargeError as soon as it is."""
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self.limits.max_body:
                raise TooLargeError
            parts.append(part)
        return b"".join(parts)


def to_response(status: int, values: Values) -> Response:
    """Write a response in JSON, in ASCII, whatever a user's text is."""
    headers = {"Retry-After": "1"} if status == 503 else {}
    return Response(json.dumps(values, allow_nan=False), status, headers, "application/json")


def _detail(sentence: str) -> Values:
    return {"detail": " ".join(sentence.split())}


# The application ----------------------------------------------------------------------------------------


def make_app(config: Config) -> FastAPI:
    """Make the application.

    Raises
    ------
    OSError, ValueError
        A file of the program cannot be read, or a setting is not valid.
    """
    where = settings("server")
    limits = Limits(**{name: where[name] for name in Limits.__dataclass_fields__})
    patterns, _ = data.batch(config, "evaluation", 0, 1)
    predict = predictor(config, where["variant"])
    counters = Counters()
    entrance = Entrance(limits, counters)
    batcher = Batcher(
        {"predict": predict, "continue": formats.continuing(predict)},
        window=limits.batch_window,
        most=limits.max_examples,
        depth=limits.max_concurrent,
    )
    answers = Answers(config, patterns, class_names(config, where["class_names"]), limits, batcher)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        batcher.close()

    app = FastAPI(title=config.name, description=__doc__ or "", lifespan=lifespan)

    @app.get("/health")
    async def health(request: Request) -> Response:
        """Infer on an example."""
        begin = time.perf_counter()
        try:
            await asyncio.wait_for(answers.outputs("predict", *patterns), limits.max_seconds)
        except Exception as error:
            sentence = str(error) or type(error).__name__
            return to_response(503, _detail(f"the server does not infer: {sentence}"))
        ready = {"status": "ready", "task": config.task, "seconds": time.perf_counter() - begin}
        return to_response(200, ready)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Count requests."""
        text = counters.text(
            queue=batcher.waiting,
            in_flight=entrance.inside,
            batches_total=batcher.batches,
            examples_total=batcher.examples,
        )
        return Response(text, media_type="text/plain; version=0.0.4")

    @app.post("/predict", openapi_extra=_bodies("application/json"))
    async def predict_(request: Request) -> Response:
        """Compute the outputs of the network."""

        async def work(request: Request) -> Values:
            return await answers.raw(await entrance.body_of(request))

        return await entrance.answer(request, work)

    @app.post("/answer", openapi_extra=_bodies(*answers.types))
    async def answer(request: Request) -> Response:
        """Answer what users send."""

        async def work(request: Request) -> Values:
            return await answers.of(request, await entrance.body_of(request))

        return await entrance.answer(request, work)

    return app


def _bodies(*types: str) -> Values:
    return {"requestBody": {"content": {type_: {} for type_ in types}, "required": True}}


def predictor(config: Config, variant: str | None) -> Callable[..., Tensor]:
    """Load what infers: the exported program, or a variant; from inputs to outputs on the processor."""
    if variant is None:
        program = load_program(config)
    else:
        from variants import load_variant

        program = load_variant(config, variant)

    def predict(*inputs: Tensor) -> Tensor:
        on, _ = on_device(config, (inputs, inputs[0]))
        with torch.no_grad():
            return program(*on).cpu()

    return predict


def class_names(config: Config, given: list[str]) -> tuple[str, ...]:
    """Return the names of the classes: those given, or those of the data where it has some."""
    known = getattr(data, "class_names", lambda _: ())
    names, count = tuple(given or known(config)), getattr(config.model, "classes", None)
    if names and count is not None and len(names) != count:
        raise ValueError(f"class_names has {len(names)} names; the network has {count} classes")
    return names


class Answers:
    """From bodies to answers: decodes in threads, infers in batches."""

    def __init__(
        self,
        config: Config,
        patterns: tuple[Tensor, ...],
        names: tuple[str, ...],
        limits: Limits,
        batcher: Batcher,
    ) -> None:
        self.config, self.patterns, self.names, self.limits = config, patterns, names, limits
        self._batcher, self._pool = batcher, ThreadPoolExecutor(DECODERS)

    @property
    def types(self) -> tuple[str, ...]:
        """Types of bodies that are answered."""
        if self.config.task == IMAGES:
            return "image/png", "image/jpeg", "multipart/form-data"
        return (
            ("application/json", "text/plain") if self.config.task in (TEXT, MODEL) else ("application/json",)
        )

    async def outputs(self, work: str, *inputs: Tensor) -> Tensor:
        """Infer; WrongInputError where the network cannot take the inputs."""
        try:
            return formats.finite(await asyncio.wrap_future(self._batcher.submit(work, *inputs)))
        except torch.OutOfMemoryError:
            raise
        except (IndexError, RuntimeError) as error:  # a number that is not in the vocabulary, for one
            raise WrongInputError(f"the network cannot take these inputs: {error}") from None

    async def _decode(self, decode: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(decode, *arguments))

    async def raw(self, body: bytes) -> Values:
        """Answer tensors with tensors."""
        inputs = await self._decode(
            formats.raw_inputs, self.config, body, self.patterns, self.limits.max_examples
        )
        return {"outputs": await self._decode(formats.numbers, await self.outputs("predict", *inputs))}

    async def of(self, request: Request, body: bytes) -> Values:
        """Answer what users send, by the task."""
        if not hasattr(data, "example"):
            raise WrongInputError("data.py has no function `example` for what users send; ask /predict")
        type_ = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if self.config.task == MODEL:
            *inputs, counts = await self._decode(self._prompts, type_, body)
            added = await self.outputs("continue", *inputs, counts)
            return {"answers": formats.continued(self.config, added, counts.tolist())}
        if self.config.task == IMAGES and type_ == "multipart/form-data":
            inputs = await self._decode(self._images, await self._files(request, body))
        elif self.config.task == IMAGES:
            inputs = await self._decode(self._images, [body])
        else:
            inputs = await self._decode(self._texts if self.config.task == TEXT else self._rows, type_, body)
        outputs = await self.outputs("predict", *inputs)
        if self.config.task in (TEXT, IMAGES):
            return {"answers": formats.classified(outputs, self.names)}
        return {"answers": formats.clicked(outputs)}

    def _read_texts(self, type_: str, body: bytes, *more: str) -> tuple[list[Any], Values]:
        """Read ``{"texts": [...]}``, or one text."""
        if type_ == "text/plain":
            try:
                return [body.decode()], {}
            except UnicodeDecodeError:
                raise WrongInputError("the body is not valid UTF-8") from None
        values = formats.object_of(body, "texts", *more)
        return formats.listed(values, "texts", self.limits.max_examples), values

    def _texts(self, type_: str, body: bytes) -> tuple[Tensor, ...]:
        texts, _ = self._read_texts(type_, body)
        return formats.inputs_of(self.config, texts, self.patterns, formats.text)

    def _prompts(self, type_: str, body: bytes) -> tuple[Tensor, Tensor, Tensor]:
        """Read texts to continue, and ``"count"``, how many tokens are to be added."""
        texts, values = self._read_texts(type_, body, "count")
        most = self.patterns[0].shape[1]
        count = values.get("count", max(1, most // 2))
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= most:
            raise WrongInputError(f"count is {formats.shown(count)}; it must be from 1 to {most}")
        tokens, lengths = formats.prompts(self.config, texts, most)
        return tokens, lengths, torch.full_like(lengths, count)

    def _rows(self, _: str, body: bytes) -> tuple[Tensor, ...]:
        """Read ``{"rows": [...]}``."""
        rows = formats.listed(formats.object_of(body, "rows"), "rows", self.limits.max_examples)
        return formats.inputs_of(self.config, rows, self.patterns, partial(formats.row, self.config))

    def _images(self, bodies: list[bytes]) -> tuple[Tensor, ...]:
        formats.listed({"images": bodies}, "images", self.limits.max_examples)
        return formats.inputs_of(self.config, bodies, self.patterns, formats.image)

    async def _files(self, request: Request, body: bytes) -> list[bytes]:
        """Return the files of a form."""
        from starlette.formparsers import MultiPartException, MultiPartParser

        async def stream() -> AsyncIterator[bytes]:
            yield body

        parser = MultiPartParser(request.headers, stream(), max_files=self.limits.max_examples)
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise WrongInputError(f"the body is not a valid form: {error.message}") from None
        files = [file for _, file in form.multi_items() if not isinstance(file, str)]
        try:
            return [await file.read() for file in files]
        finally:
            await form.close()


# Listening ----------------------------------------------------------------------------------------------


def serve(config: Config) -> None:
    """Listen, write the address to a file, and answer until SIGTERM or SIGINT."""
    where = settings("server")
    torch.set_num_threads(config.threads)
    app = make_app(config)
    family = socket.AF_INET6 if ":" in where["host"] else socket.AF_INET
    listener = socket.create_server((where["host"], where["port"]), family=family)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # after uvicorn's own handler has ended all requests
    host, port = listener.getsockname()[:2]
    write_json(ADDRESS, {"host": host, "port": port})
    patience = int(where["max_seconds"]) + 1
    try:
        server = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=patience)
        uvicorn.Server(server).run([listener])
    finally:
        ADDRESS.unlink(missing_ok=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("config.json"))
    parser.add_argument("--mode", choices=("quick", "full"), default="full", help="makes no difference")
    try:
        serve(read_config(parser.parse_args().config))
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"serve: {' '.join(str(error).split())}")
