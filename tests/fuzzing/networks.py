"""Targets that read networks: ONNX files, configurations of transformers, modules of torch."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from random import Random
from typing import Any

import onnx
import torch
from hypothesis import strategies as st
from torch import nn

import stageplan as sp

from . import examples
from .files import file_target, of_documents
from .mutate import TEXTS, mutate_bytes
from .runner import Target
from .values import ODD, draw

# ONNX files ---------------------------------------------------------------------------------------------


def _onnx(rng: Random) -> bytes:
    """Make an ONNX file with changed fields, or with mutated bytes."""
    model = onnx.ModelProto()
    model.CopyFrom(examples.network())
    if rng.random() < 0.7:
        for _ in range(rng.choice((1, 1, 2, 4))):
            with contextlib.suppress(TypeError, ValueError):  # a value that the field cannot hold
                _change(rng, model)
        return model.SerializeToString()
    return mutate_bytes(
        rng, model.SerializeToString(), [examples.network().SerializeToString(), examples.schemes()]
    )


def _change(rng: Random, message: Any) -> None:
    """Change one field somewhere in a message: delete, repeat, or replace it."""
    while True:
        fields = message.ListFields()
        if not fields:
            return
        field, value = rng.choice(fields)
        repeated = hasattr(value, "add") or hasattr(value, "append")
        parts = list(value) if repeated else [value]
        part = rng.choice(parts) if parts else None
        if hasattr(part, "ListFields") and rng.random() < 0.8:
            message = part
            continue
        break
    if rng.random() < 0.25:
        message.ClearField(field.name)
    elif repeated:
        rng.choice((value.pop, lambda: value.extend([part]), lambda: value.extend(parts)))()
    elif not hasattr(part, "ListFields"):
        setattr(message, field.name, _scalar(rng, part))


def _scalar(rng: Random, old: Any) -> Any:
    if isinstance(old, str):
        return rng.choice((*TEXTS, "w", "x", "h", "first", "If", "Conv", "Gather", "ai.onnx.contrib"))
    if isinstance(old, bytes):
        return rng.choice((b"", b"\xff" * 7, old * 3))
    return rng.choice((0, 1, -1, 2, 16, 2**31 - 1, 2**40, 2**62, -(2**63), float("nan")))


def _read_onnx(path: Path) -> object:
    rng = Random(path.stat().st_size)
    layers = rng.choice((None, None, 1, ["first"], ["first", "first"]))
    return str(
        sp.profile(path, devices=["t4"], mode=rng.choice(("train", "inference")), sequence=4, layers=layers)
    )


# Configurations -----------------------------------------------------------------------------------------


def _read_configuration(path: Path) -> object:
    mode = Random(path.stat().st_size).choice(("train", "prefill", "decode"))
    options = {"sequence": 4} if mode == "train" else {"context": 4, "concurrency": 2}
    return str(sp.profile(f"hf:{path}", devices=["t4"], mode=mode, **options))


# Modules ------------------------------------------------------------------------------------------------


class _Part(nn.Module):
    """A layer with something unusual about it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.inner = nn.Linear(4, 4)
        if kind == "lock":
            self.lock = threading.Lock()
        elif kind == "generator":
            self.numbers = iter(range(3))
        elif kind == "sparse":
            self.inner = nn.Embedding(8, 4, sparse=True)
        elif kind == "none":
            self.inner = nn.Identity()

    def forward(self, x: Any, *_: Any) -> Any:
        match self.kind:
            case "raises":
                raise KeyError("missing\nsecond line")
            case "nothing":
                return None
            case "dict":
                return {"x": self.inner(x)}
            case "number":
                return float(self.inner(x).sum())
            case "shape":
                return self.inner(x)[: int(x.shape[0] // 2)]
            case "sparse":
                return self.inner(x.long().clamp(0, 7))
        return self.inner(x)


_KINDS = (
    "plain",
    "lock",
    "generator",
    "sparse",
    "none",
    "raises",
    "nothing",
    "dict",
    "number",
    "shape",
)
_EXAMPLES = st.one_of(
    st.sampled_from(
        (torch.zeros(2, 4), torch.zeros(0, 4), torch.zeros(()), torch.zeros(2, 3), torch.ones(2, 4).half())
    ),
    st.sampled_from(
        ((torch.zeros(2, 4),), {"x": torch.zeros(2, 4)}, {"y": 1}, [], (), torch.zeros(2, 4).to_sparse())
    ),
    ODD,
)
_MODULES = st.one_of(
    st.lists(st.sampled_from((*_KINDS, *["plain"] * 8)), max_size=3).map(
        lambda kinds: nn.Sequential(*map(_Part, kinds))
    ),
    st.lists(st.sampled_from(_KINDS), max_size=2).map(lambda kinds: nn.ModuleList(map(_Part, kinds))),
    st.sampled_from((nn.Identity(), nn.Module(), nn.LSTM(4, 4), nn.LazyLinear(3), torch.zeros(3), "x:y")),
    ODD,
)
_MODULE_CALLS = st.fixed_dictionaries(
    {"model": _MODULES, "example": _EXAMPLES},
    optional={"mode": st.sampled_from(("train", "inference", "prefill", "decode")), "context":
    st.sampled_from((0, 8)), "layers": st.sampled_from((1, 2, ["0"],
    ["1", "0"], ["z"])),
              "precision": st.sampled_from(("fp32", "bf16", "fp16")), "batch": st.sampled_from((1, 2, 0,
              -1, 10**9))},
)  # fmt: skip


def _profile_module(data: bytes) -> object:
    return draw(_MODULE_CALLS, data, lambda arguments: str(sp.profile(**arguments, devices=["t4"])))


NETWORKS = (
    file_target("onnx", 2, "net.onnx", _read_onnx, _onnx),
    file_target(
        "configuration",
        0.6,
        "config.json",
        _read_configuration,
        of_documents(examples.CONFIGURATIONS, form="json"),
    ),
    Target("module", 0.5, lambda rng: rng.randbytes(rng.choice((100, 400))), _profile_module),
)
