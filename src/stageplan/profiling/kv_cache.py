"""The cache of keys and values that a language model keeps of earlier tokens, from its configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ..errors import InputError
from ..fields import show

# Bytes of a number in the cache; fp8, int8 and int4 are those of quantised caches, without their scales.
NUMBER = {"fp32": 4.0, "tf32": 4.0, "fp16": 2.0, "bf16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5}
# Kinds of layers that attend to the last tokens alone, and the fields that may say to how many.
SLIDING = ("sliding_window", "sliding_window_size", "attention_window_size")
WINDOWS = {
    "sliding_attention": SLIDING,
    "hybrid_sliding": SLIDING,
    "chunked_attention": ("attention_chunk_size",),
}
WHOLE = ("full_attention", "hybrid", "indexed_attention", "attention")  # that attend to all tokens
# Kinds with a state of one size, or with no attention.
WITHOUT = ("linear_attention", "mamba", "conv", "recurrent", "moe", "mlp")
LOOPS = ("n_recurrent_loops", "loop_num_passes")  # layers that run again, with a cache of each time


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

    def pairs(self, context: int) -> int:
        """Count the pairs of tokens of a prompt of `context` tokens: each attends to itself and its past."""
        kept = self.tokens(context)
        return kept * (kept + 1) // 2 + (context - kept) * kept

    def divided(self, degree: int) -> LayerCache:
        """Return the part of one of several devices, each of which has one head or more."""
        part = -(-self.heads // degree) / self.heads
        return self._replace(token_bytes=self.token_bytes * part, token_flops=self.token_flops / degree)


def layer_caches(config: Any, precision: str) -> list[LayerCache]:
    """Describe the cache of each layer of a decoder.

    Keys and values have the heads that groups of queries share (Ainslie et al. 2023, arXiv:2305.13245), or
    one for all.  Latent attention keeps one latent vector and one rotated key for all heads (DeepSeek-AI
    2024, arXiv:2405.04434, section 2.1), and where an index chooses the tokens to attend to, a key of it.
    Layers that use the cache of earlier ones have none, and
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
        The configuration is not that of a decoder, or does not say the sizes of its attention; it has layers
        of a kind that is not known, or that run several times.
    """
    text = config.get_text_config()
    if config.is_encoder_decoder or _field(text, "num_hidden_layers") is None:
        raise InputError(f"model type {config.model_type} is not a decoder")
    for name in LOOPS:
        if (loops := _field(text, name) or 1) != 1:
            raise InputError(
                f"{name} is {loops}; it must be 1, since caches of layers in a loop are not known"
            )
    return [_layer(*layer, NUMBER[precision]) for layer in _layers(text)]


def _layers(config: Any) -> Iterator[tuple[Any, str | None]]:
    """Yield configuration and kind of each layer; the kind is None where it shares the cache of another."""
    count = config.num_hidden_layers
    own = count - (_field(config, "num_kv_shared_layers") or 0)
    kinds = _field(config, "layer_types") or [_kind(config)] * count
    each = _field(config, "per_layer_config") or [config] * count
    images = _field(config, "cross_attention_layers") or ()  # whose keys and values are not of tokens
    for index in range(count):
        yield each[index], kinds[index] if index < own and index not in images else None


def _kind(config: Any) -> str:
    """Kind of all layers, if a configuration has no list of them."""
    slides = _field(config, "sliding_window") and _field(config, "use_sliding_window") is not False
    return "sliding_attention" if slides else "full_attention"


def _layer(config: Any, kind: str | None, number: float) -> LayerCache:
    if kind is None or kind in WITHOUT:
        return LayerCache(0.0, None)
    if kind not in WHOLE and kind not in WINDOWS:
        raise InputError(f"layer_types has {show(kind)}, a kind of layers whose cache is not known")
    window = _first(config, WINDOWS[kind]) if kind in WINDOWS else None
    numbers, flops, heads = _attention(config, "swa_" if window else "")
    return LayerCache(number * numbers, window, flops, heads)


def _attention(config: Any, prefix: str) -> tuple[int, float, int]:
    """Count the numbers of each token, the operations of attending to it, and the heads of keys and values.

    Attending takes two products in each head.  Fields may have a prefix in layers with a window.
    """
    heads = _first(config, (prefix + "num_attention_heads", "num_attention_heads"))
    if (latent := _field(config, "kv_lora_rank")) is not None:
        numbers = latent + config.qk_rope_head_dim
        index = _field(config, "index_head_dim") or 0
        return numbers + index, 2.0 * heads * (numbers + latent), 1
    size = _first(config, (prefix + "head_dim", "head_dim")) or (
        config.hidden_size // heads if heads else None
    )
    if not size:
        raise InputError(f"model type {config.model_type} does not say how many heads it has, or their size")
    both = size + (_first(config, (prefix + "v_head_dim", "v_head_dim")) or size)
    shared = _heads(config, heads, prefix)
    return both * shared, 2.0 * heads * both, shared


def _heads(config: Any, heads: int, prefix: str) -> int:
    """Heads of keys and values."""
    if _field(config, "multi_query") and not _field(config, "new_decoder_architecture"):
        return 1
    shared: int = _first(config, (prefix + "num_key_value_heads", "num_key_value_heads", "num_kv_heads"))
    return shared or heads


def _first(config: Any, names: Iterable[str]) -> Any:
    """Return the first field of a configuration that it has; None where it has none of them."""
    return next((value for name in names if (value := _field(config, name))), None)


def _field(config: Any, name: str) -> Any:
    """Field of a configuration; None where it is absent, or differs by layer."""
    try:
        return getattr(config, name, None)
    except RuntimeError:
        return None
