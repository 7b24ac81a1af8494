"""The cache of keys and values that a language model keeps of earlier tokens, from its configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..fields import show
from .network import Network
from .trace import Kernel, TracedLayer

# Bytes of a number in the cache; fp8, int8 and int4 are those of quantised caches, without their scales.
NUMBER = {"fp32": 4.0, "tf32": 4.0, "fp16": 2.0, "bf16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5}
# Kinds of layers that attend to the last tokens alone, and the field that says to how many.
WINDOWS = {"sliding_attention": "sliding_window", "chunked_attention": "attention_chunk_size"}
BLOCKS = ("block", "decoder")  # kinds of traced layers
GENERATE = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")  # ends of names of classes
WITHOUT = {"linear_attention", "mamba", "conv", "recurrent"}  # they have a state of one size


class LayerCache(NamedTuple):
    """The cache of one layer.

    Attributes
    ----------
    token_bytes : float
        Bytes of each token of each sequence.
    window : int or None
        Most tokens that it keeps of a sequence; None: all.
    token_flops : float
        Operations with which a new token attends to one in the cache.
    heads : int
        Heads of keys and values, which devices can divide among them; latent attention has one for all.
    """

    token_bytes: float
    window: int | None
    token_flops: float = 0.0
    heads: int = 1

    def tokens(self, context: int) -> int:
        """Count the tokens that it keeps of a sequence of `context` tokens."""
        return context if self.window is None else min(context, self.window)

    def divided(self, degree: int) -> LayerCache:
        """Return the part of one of several devices, each of which has one head or more."""
        part = -(-self.heads // degree) / self.heads
        return self._replace(token_bytes=self.token_bytes * part, token_flops=self.token_flops / degree)


def layer_caches(config: Any, precision: str) -> list[LayerCache]:
    """Describe the cache of each layer of a decoder.

    Keys and values have the heads that groups of queries share (Ainslie et al. 2023, arXiv:2305.13245), or
    one for all.  Latent attention keeps one latent vector and one rotated key for all heads (DeepSeek-AI
    2024, arXiv:2405.04434, section 2.1).  Layers that use the cache of earlier ones have none, and
    the states of linear attention and the like, which do not grow with the tokens, are left out.

    Parameters
    ----------
    config
        A configuration of transformers.
    precision
        Of the numbers in the cache, one of `NUMBER`.

    Raises
    ------
    ValueError
        The configuration is not that of a decoder, or does not say the sizes of its attention.
    """
    text = config.get_text_config()
    if config.is_encoder_decoder or _field(text, "num_hidden_layers") is None:
        raise ValueError(f"model type {config.model_type} is not a decoder; it has no cache that is known")
    return [_layer(*layer, NUMBER[precision]) for layer in _layers(text)]


class Serving(NamedTuple):
    """Tokens of each sequence, sequences at a time (None: those of the batch), precision (the network's)."""

    context: int
    concurrency: int | None
    precision: str | None


def serving(context: int | None, concurrency: int | None, precision: str | None, mode: str) -> Serving | None:
    """Say what is served, and None where no cache is asked for.

    Raises
    ------
    ValueError
        A cache is asked for without a context, or for training.
    """
    given = {"context": context, "concurrency": concurrency, "kv_cache": precision}
    name = next((name for name, value in given.items() if value is not None), None)
    if name is None:
        return None
    if mode != "inference":
        raise ValueError(f"{name} is {show(given[name])}; it must be absent where mode is {mode!r}")
    if context is None:
        raise ValueError(
            f"{name} is {show(given[name])}; context must be given too, the tokens of a sequence"
        )
    return Serving(context, concurrency, precision)


def add_caches(
    network: Network, layers: Sequence[TracedLayer], served: Serving, degree: int = 1
) -> list[str]:
    """Add the cache to the blocks of a network: bytes that stay, and what the pass does with it.

    The tokens of the pass attend to the cache of their sequence, which is read once.  Several devices divide
    its heads, and the network is the part of one.

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
    if network.config is None or not network.architecture.endswith(GENERATE):
        name = network.architecture or network.name
        raise ValueError(
            f"context is given, and {name} is not a network of transformers that generates text; it must be "
            f"absent"
        )
    caches = layer_caches(network.config, precision)
    blocks = [layer for layer in layers if layer.kind in BLOCKS]
    if len(blocks) != len(caches):
        raise ValueError(
            f"context is given, and {len(blocks)} layers are blocks of the network's {len(caches)}; layers "
            f"must be cut at its blocks, as they are by default"
        )
    concurrency, new = served.concurrency or network.batch, network.batch * (network.sequence or 1)
    for block, whole in zip(blocks, caches, strict=True):
        cache = whole.divided(degree)
        tokens = cache.tokens(served.context)
        block.cache = concurrency * tokens * cache.token_bytes
        flops, bytes_ = new * tokens * cache.token_flops, network.batch * tokens * cache.token_bytes
        block.forward[Kernel(flops, bytes_, "attention")] += 1
    notes = [
        f"memory has the keys and values ({precision}) of {concurrency} sequences of {served.context} "
        f"tokens, {sum(cache.token_bytes for cache in caches):g} bytes for each token within all windows"
    ]
    if network.sequence == 1:
        notes.append(
            f"a sequence decodes one token at a time, so that a plan has its throughput with as many times "
            f"{network.batch} sequences as it has stages, and concurrency must be as many"
        )
    return notes


def _layers(config: Any) -> Iterator[tuple[Any, str | None]]:
    """Yield configuration and kind of each layer; the kind is None where it shares the cache of another."""
    count = config.num_hidden_layers
    own = count - (_field(config, "num_kv_shared_layers") or 0)
    kinds = _field(config, "layer_types") or [_kind(config)] * count
    each = _field(config, "per_layer_config") or [config] * count
    for index in range(count):
        yield each[index], kinds[index] if index < own else None


def _kind(config: Any) -> str:
    """Kind of all layers, if a configuration has no list of them."""
    slides = _field(config, "sliding_window") and _field(config, "use_sliding_window") is not False
    return "sliding_attention" if slides else "full_attention"


def _layer(config: Any, kind: str | None, number: float) -> LayerCache:
    if kind is None or kind in WITHOUT:
        return LayerCache(0.0, None)
    window = _field(config, WINDOWS[kind]) if kind in WINDOWS else None
    numbers, flops, heads = _attention(config)
    return LayerCache(number * numbers, window, flops, heads)


def _attention(config: Any) -> tuple[int, float, int]:
    """Count the numbers of each token, the operations of attending to it, and the heads of keys and values.

    Attending takes two products in each head.
    """
    heads = _field(config, "num_attention_heads")
    if (latent := _field(config, "kv_lora_rank")) is not None:
        numbers = latent + config.qk_rope_head_dim
        return numbers, 2.0 * heads * (numbers + latent), 1
    size = _field(config, "head_dim") or (config.hidden_size // heads if heads else None)
    if not size:
        raise ValueError(f"model type {config.model_type} does not say how many heads it has, or their size")
    shared = _heads(config, heads)
    return 2 * size * shared, 4.0 * heads * size, shared


def _heads(config: Any, heads: int) -> int:
    """Heads of keys and values."""
    if _field(config, "multi_query") and not _field(config, "new_decoder_architecture"):
        return 1
    shared = (_field(config, name) for name in ("num_key_value_heads", "num_kv_heads"))
    return next((count for count in shared if count), heads)


def _field(config: Any, name: str) -> Any:
    """Field of a configuration; None where it is absent, or differs by layer."""
    try:
        return getattr(config, name, None)
    except RuntimeError:
        return None
