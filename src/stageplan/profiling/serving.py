"""Language models that are served: prompts that are read, and sequences that are decoded token by token."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InputError
from ..fields import first_line, show
from ..workload import SERVING, Mode
from .kv_cache import LayerCache, layer_caches
from .models import read_model
from .network import Network, Options
from .trace import Kernel, TracedLayer, place

if TYPE_CHECKING:
    import torch

BLOCKS = ("block", "decoder")  # kinds of traced layers
GENERATE = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")  # ends of names of classes


class Served(NamedTuple):
    """What is served.

    Attributes
    ----------
    mode : {"prefill", "decode"}
        Whether a pass reads the prompts of `batch` sequences, or decodes a token of each.
    context : int
        Tokens of each sequence.
    concurrency : int
        Sequences whose keys and values are in memory, of all replicas together.
    batch : int
        Sequences of a pass.
    precision : str or None
        Of keys and values; None: the network's.
    """

    mode: Mode
    context: int
    concurrency: int
    batch: int
    precision: str | None

    @property
    def tokens(self) -> int:
        """New tokens of each sequence in a pass."""
        return 1 if self.mode == "decode" else self.context

    @property
    def prompt(self) -> Served:
        """The pass that reads the prompt of one sequence."""
        return self._replace(mode="prefill", batch=1)


def served(
    mode: Mode,
    context: int | None,
    concurrency: int | None,
    batch: int | None,
    precision: str | None,
    sequence: object,
    shape: object,
) -> Served | None:
    """Say what is served, and None where nothing is.

    Raises
    ------
    ValueError
        It is served, and its context is absent, or its tokens are given otherwise; or the reverse.
    """
    if mode not in SERVING:
        given = {"context": context, "concurrency": concurrency, "kv_cache": precision}
        _refuse(given, f"unless mode is 'prefill' or 'decode', and it is {mode!r}")
        return None
    _refuse({"sequence": sequence, "shape": shape}, f"where mode is {mode!r}, whose tokens are of context")
    if context is None:
        raise InputError(
            f"context is None; it must be given where mode is {mode!r}: the tokens of a sequence"
        )
    if mode == "prefill":
        return Served(mode, context, concurrency or batch or 1, batch or 1, precision)
    concurrency = concurrency or batch or 1
    batch = batch or concurrency
    if concurrency % batch:
        raise InputError(
            f"concurrency is {concurrency}; it must be a multiple of batch, {batch}, the sequences of a step"
        )
    return Served(mode, context, concurrency, batch, precision)


def _refuse(given: Mapping[str, object], where: str) -> None:
    for name, value in given.items():
        if value is not None:
            raise InputError(f"{name} is {show(value)}; it must be absent {where}")


def add_caches(network: Network, layers: Sequence[TracedLayer], served: Served, degree: int = 1) -> list[str]:
    """Add the cache of keys and values to the blocks of a network: its bytes, and what a pass does with it.

    Where it decodes, the new token of each sequence attends to the context, which is read once.  A prompt
    attends to itself, within the windows of layers that have one.  Several devices divide the heads of the
    cache, and the network is the part of one.

    Returns
    -------
    list of str
        Notes.

    Raises
    ------
    ValueError
        The network is not a language model of transformers, or its layers are not cut at its blocks.
    """
    precision = served.precision or network.precision
    blocks = [layer for layer in layers if layer.kind in BLOCKS]
    caches = _caches(network, len(blocks), precision)
    for block, whole in zip(blocks, caches, strict=True):
        cache = whole.divided(degree)
        kept = cache.tokens(served.context) * cache.token_bytes
        block.cache = served.concurrency * kept
        if served.mode == "decode":
            flops = served.batch * cache.tokens(served.context) * cache.token_flops
            _attend(block, flops, served.batch * kept)
        else:
            _attend_within(block, cache, served)
    of_token = sum(cache.token_bytes for cache in caches)
    notes = [
        f"each of {served.concurrency} sequences has the keys and values ({precision}) of {served.context} "
        f"tokens in memory, {of_token:g} bytes for each token within all windows; replicas divide the "
        "sequences among them"
    ]
    return notes if served.mode == "prefill" else [*notes, _note_decoding(served)]


def _note_decoding(served: Served) -> str:
    groups = served.concurrency // served.batch
    means = "an example is one token of one sequence, so that examples/s are tokens/s"
    if groups == 1:
        return (
            f"{means}; a step decodes all {served.concurrency} sequences at once, so that a plan has one "
            "stage (more stages: a batch that is a part of concurrency)"
        )
    return (
        f"{means}; a step decodes {served.batch} sequences, one of {groups} groups, so that a plan has at "
        f"most {groups} stages, each with another group"
    )


def _caches(network: Network, blocks: int, precision: str) -> list[LayerCache]:
    """Describe the caches of the blocks of a network."""
    if network.config is None or not network.architecture.endswith(GENERATE):
        name = network.architecture or network.name
        raise InputError(
            f"model is {show(name)}, which is not a network of transformers that generates text; mode must "
            "not be 'prefill' or 'decode'"
        )
    try:
        caches = layer_caches(network.config, precision)
    except Exception as error:  # a configuration may lack any field, or hold anything in it
        raise InputError(
            f"model is {show(network.name)}; its cache is not known: {first_line(error)}"
        ) from None
    if blocks != len(caches):
        raise InputError(
            f"{blocks} layers are blocks of the network's {len(caches)}; where it is served, layers must be "
            "cut at its blocks, as they are by default"
        )
    return caches


def _attend(block: TracedLayer, flops: float, bytes_: float) -> None:
    """Add work to the attention of a block, which is one operation."""
    own = next((kernel for kernel in block.forward if kernel.kind == "attention"), None)
    if own is not None:
        _take(block, own)
        flops, bytes_ = flops + own.flops, bytes_ + own.bytes
    block.forward[Kernel(flops, bytes_, "attention")] += 1


def _attend_within(block: TracedLayer, cache: LayerCache, served: Served) -> None:
    """Have each token of a prompt attend to its past alone, in a window if any; traces may have masks."""
    own = next((kernel for kernel in block.forward if kernel.kind == "attention"), None)
    if own is not None:
        _take(block, own)
        flops = served.batch * cache.pairs(served.context) * cache.token_flops
        block.forward[own._replace(flops=min(flops, own.flops))] += 1


def _take(block: TracedLayer, kernel: Kernel) -> None:
    block.forward[kernel] -= 1
    block.forward += type(block.forward)()  # without those that occur no more


def read_prompt(
    model: torch.nn.Module | str | os.PathLike[str], decoding: Options, served: Served
) -> Network:
    """Read a network that decodes as it reads the context of one sequence: its prompt, in one pass."""
    prompt = served.prompt
    options = decoding._replace(mode=prompt.mode, batch=prompt.batch, sequence=prompt.tokens)
    return read_model(model, None, options, on=None)


def weights_alone(network: Network, layers: Sequence[TracedLayer]) -> list[TracedLayer]:
    """Layers that do only what a step does however few sequences it has: start, read weights, wait for links.

    What a step takes longer is what replicas divide among them.
    """
    alone = [TracedLayer(layer.name, layer.kind, set()) for layer in layers]
    for index, operation in enumerate(network.trace.operations):
        if operation.flops or operation.bytes:
            weights = sum(network.trace.weights[weight].bytes for weight in operation.weights)
            own = alone[place(network.cuts, index)]
            own.forward[Kernel(0.0, min(weights, operation.bytes), operation.kind)] += 1
    for own, layer in zip(alone, layers, strict=True):
        own.forward[Kernel(0.0, 0.0)] += layer.forward.total() - own.forward.total()
        own.forward_reduces[0.0] = layer.forward_reduces.total()
    return alone
