"""Answers requests over HTTP with the exported program, until it is stopped.

``GET /health`` says that it is ready; ``POST /predict`` takes ``{"inputs": [...]}``, a list for each input of
the network with one entry for each example, and gives ``{"outputs": [...]}``.
"""

from __future__ import annotations

import argparse
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from torch import Tensor

import data
from common import ARTEFACTS, Config, on_device, read_config, settings, write_json
from export import load_program

ADDRESS = ARTEFACTS / "server.json"
MAX_EXAMPLES = 1024  # of a request


class Question(BaseModel):
    """A request: examples, input by input."""

    inputs: list[list[Any]]


class Answer(BaseModel):
    """The outputs of the network for each example."""

    outputs: list[Any]


def make_app(config: Config) -> FastAPI:
    """Make the application that serves the exported program."""
    program = load_program(config)
    patterns, _ = data.batch(config, "evaluation", 0, 1)
    app = FastAPI(title=config.name)

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ready", "task": config.task}

    @app.post("/predict")
    def predict(question: Question) -> Answer:
        inputs = _tensors(question.inputs, patterns)
        on, _ = on_device(config, (inputs, inputs[0]))
        try:
            with torch.no_grad():
                return Answer(outputs=program(*on).tolist())
        except (IndexError, RuntimeError) as error:  # a token that is not in the vocabulary, for one
            raise HTTPException(422, f"the network cannot take these inputs: {error}") from None

    return app


def _tensors(inputs: list[list[Any]], patterns: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Convert a request to tensors; wrong shapes and types are refused with status 422."""
    if len(inputs) != len(patterns):
        raise HTTPException(422, f"inputs has {len(inputs)} lists; it must have {len(patterns)}")
    tensors = []
    for i, (values, pattern) in enumerate(zip(inputs, patterns, strict=True)):
        try:
            tensor = torch.tensor(values, dtype=pattern.dtype)
        except (OverflowError, RuntimeError, TypeError, ValueError) as error:
            raise HTTPException(422, f"inputs[{i}] is not an array of numbers: {error}") from None
        shape = tuple(pattern.shape[1:])
        if tuple(tensor.shape[1:]) != shape or not 1 <= len(tensor) <= MAX_EXAMPLES:
            wanted = ", ".join(map(str, ("n", *shape)))
            raise HTTPException(422, f"inputs[{i}] has shape {tuple(tensor.shape)}; it must be ({wanted})")
        tensors.append(tensor)
    return tuple(tensors)


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
    try:
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run([listener])
    finally:
        ADDRESS.unlink(missing_ok=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("config.json"))
    parser.add_argument("--mode", choices=("quick", "full"), default="full", help="makes no difference")
    serve(read_config(parser.parse_args().config))
