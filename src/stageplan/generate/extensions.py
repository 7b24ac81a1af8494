"""What a specification says of extensions: which there are, their variants of the network, their settings."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from ..fields import Name, Positive, check_fields, whole
from .amounts import Fraction, LocalPath, Parts, Size, TimeLimit

Extension = Literal[
    "pipeline",
    "replicas",
    "mixed-precision",
    "accumulation",
    "data-parallel",
    "quantize",
    "prune",
    "onnx",
    "server",
    "checkpoint",
    "bfloat16",
    "int8",
    "prune-channels",
    "distill",
    "stages",
    "aot",
    "executorch",
    "variants",
]
Variant = Literal[
    "float32", "bfloat16", "int8", "pruned", "distilled", "pipelined", "onnx", "aot", "executorch"
]  # fmt: skip
EXTENSIONS: tuple[Extension, ...] = get_args(Extension)
# Variant -> the extension that makes it; of the exported program there is none.
MAKERS: dict[Variant, Extension] = {
    "bfloat16": "bfloat16",
    "int8": "int8",
    "pruned": "prune-channels",
    "distilled": "distill",
    "pipelined": "stages",
    "onnx": "onnx",
    "aot": "aot",
    "executorch": "executorch",
}


class Pipeline(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pipelined training by a plan.

    Parameters
    ----------
    plan : str, optional
        A plan file; its path is relative to the specification's. Absent: a plan is made.
    method : {"auto", "exact", "genetic", "reinforce"}
        Search method of the plan.
    microbatches : int
        Microbatches of a batch; must divide the batch.
    schedule : {"gpipe", "1f1b"}
        Order of forward and backward passes.
    max_processes : int
        Maximum number of processes of all stages and replicas.
    """

    plan: LocalPath | None = None
    method: Literal["auto", "exact", "genetic", "reinforce"] = "auto"
    microbatches: Parts = 4
    schedule: Literal["gpipe", "1f1b"] = "1f1b"
    max_processes: Annotated[int, whole(1, 2**16)] = 4

    def __post_init__(self) -> None:
        check_fields(self, "pipeline")


class Server(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP inference server.

    Parameters
    ----------
    host : str
        Address to listen on.
    port : int
        Port to listen on; 0 for any that is free.
    variant : str, optional
        Variant of the network that answers; default: the exported program.
    max_body : int
        Maximum bytes of the body of a request.
    max_seconds : float
        Maximum seconds of a request.
    max_concurrent : int
        Maximum requests at a time.
    max_examples : int, optional
        Maximum examples of a request, and of requests that are run together; default: 64, or the batch of
        the service where that is more.
    batch_window : float
        Seconds that a request waits for others, to be run together with them.
    class_names : tuple of str
        Names of the classes, for the two classification tasks.
    load_concurrency : int
        Requests at a time in the load case of the test.
    """

    host: Annotated[
        str, Meta(pattern=r"^[A-Za-z0-9:][A-Za-z0-9.:-]*\Z", description="an address or a name")
    ] = "127.0.0.1"
    port: Annotated[int, whole(0, 65535)] = 0
    variant: Variant | None = None
    max_body: Annotated[int, whole(2**10, 2**31 - 1, "bytes")] = 2**23
    max_seconds: TimeLimit = 30.0
    max_concurrent: Annotated[int, whole(1, 2**16)] = 32
    max_examples: Parts | None = None
    batch_window: Annotated[float, Meta(ge=0, le=10, description="from 0 to 10 seconds")] = 0.002
    class_names: Annotated[tuple[Name, ...], Meta(description="a list of names")] = ()
    load_concurrency: Annotated[int, whole(1, 2**10)] = 4

    def __post_init__(self) -> None:
        check_fields(self, "server")


class Distill(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The student: a smaller network, taught by the trained one.

    Parameters
    ----------
    layers : int, optional
        Repeated blocks; default: half as many.
    width : int, optional
        Size of the hidden representation; default: that of the network, or half of it with a single block.
    temperature : float
        What scores of teacher and student are divided by, so that small chances count too.
    """

    layers: Annotated[int, whole(1, 10_000)] | None = None
    width: Size | None = None
    temperature: Positive = 2.0

    def __post_init__(self) -> None:
        check_fields(self, "distill")


class Extend(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Extensions of the basic function.

    Parameters
    ----------
    steps : tuple of str
        Any of `EXTENSIONS`; those that they require are added.
    pipeline : Pipeline
        Settings of pipelined training.
    server : Server
        Settings of the server.
    accumulation : int
        Parts of a batch whose gradients are accumulated before a step.
    processes : int
        Processes of data-parallel training, which share the examples of a batch.
    sparsity : float
        Fraction of the weights that ``prune`` sets to zero.
    channels : float
        Fraction of the hidden channels and heads that ``prune-channels`` removes.
    distill : Distill
        Sizes of the student.
    """

    steps: Annotated[
        tuple[Extension, ...], Meta(description=f"a list of any of {', '.join(map(repr, EXTENSIONS))}")
    ] = ()
    pipeline: Pipeline = Pipeline()
    server: Server = Server()
    accumulation: Parts = 4
    processes: Annotated[int, whole(2, 2**10)] = 2
    sparsity: Fraction = 0.5
    channels: Fraction = 0.5
    distill: Distill = Distill()

    def __post_init__(self) -> None:
        check_fields(self, "extend")
