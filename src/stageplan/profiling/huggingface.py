"""Configurations of transformers: a network of random weights, or none, by its name or its config.json.

Nothing is downloaded: names are looked up in ``data/models.json``, the published hyper-parameters of networks
in use, and among the model types of transformers, which have defaults.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

from ..errors import InputError
from ..fields import first_line, sentence, show
from ..readers.bounded import about, read_bytes, to_text
from ..workload import MAX_LAYERS
from .modules import DTYPES, Loaded, given
from .network import Options

SEQUENCE = 512
IMAGE = 224
AUDIO = 16_000  # one second
ADVICE = (
    "; its example is made up: where it takes other inputs, it must be profiled with an example in Python"
)

# The head that a network of a model type is commonly trained with; the first that it has.
HEADS = (
    "AutoModelForSeq2SeqLM",
    "AutoModelForSpeechSeq2Seq",
    "AutoModelForPreTraining",
    "AutoModelForCausalLM",
    "AutoModelForImageClassification",
    "AutoModel",
)


class _ExampleError(InputError):
    """An error of this module; its message is a complete sentence."""


def load(name: str, options: Options, on: str | None) -> Loaded:
    """Make a network by its name, as `build` takes it, and a batch; with random weights where it must run."""
    network = build(name, DTYPES[options.precision or "fp32"], on or "meta")
    try:
        made = _example_for(network, options)
    except _ExampleError as error:
        raise InputError(str(error)) from None
    except Exception as error:  # the configuration may lack any field, or hold anything in it
        raise InputError(
            f"model is {show('hf:' + name)}; no example can be made: {first_line(error)}"
        ) from None
    return given(network, made, options, name)._replace(advice=ADVICE)


def tokens_for(module: object, example: object, options: Options) -> dict[str, Any]:
    """Make the tokens that a network of transformers is served.

    Raises
    ------
    ValueError
        There is an example; it is not a network of transformers, or has fewer positions.
    """
    if example is not None:
        raise InputError(
            f"example is given; it must be absent where mode is {options.mode!r}: its tokens are those of "
            "context"
        )
    if not isinstance(module, transformers.PreTrainedModel):
        raise InputError(
            f"model is {show(module)}; it must be a network of transformers where mode is {options.mode!r}"
        )
    return _example_for(module, options) | {"use_cache": False}  # its cache is counted by its configuration


def _example_for(network: nn.Module, options: Options) -> dict[str, Tensor]:
    name = "context" if options.serves else "sequence"
    return example(network, options.examples(), options.sequence, options.shape, name)


def build(name: str, dtype: torch.dtype, device: str) -> nn.Module:
    """Build a network.

    Parameters
    ----------
    name
        Behind ``hf:``: a name such as ``gpt2`` or ``meta-llama/Llama-2-70b-hf``, a model type of
        transformers, or the path of a config.json or of its directory.
    dtype
        Of the weights.
    device
        ``"meta"`` for a network without values; else they are random.

    Raises
    ------
    OSError
        A config.json cannot be read.
    ValueError
        The name is not known; the configuration is wrong.
    """
    fields, architecture = _configuration(name)
    with quiet():
        try:
            config = AutoConfig.for_model(**fields)
            _check_layers(config.to_dict())
            config.use_cache = False  # of earlier tokens, which one pass does not use
            with torch.device(device):
                return _build(config, architecture, dtype)
        except Exception as error:  # the only common base of what transformers raises
            too_deep = isinstance(error, RecursionError)
            reason = "it is nested too deeply" if too_deep else " ".join(str(error).split())
            raise InputError(
                sentence(f"model is {show('hf:' + name)}; transformers cannot build it: {reason}")
            ) from error


def _check_layers(fields: Mapping[Any, Any]) -> None:
    """Raise ValueError where a configuration has more layers than a workload may have."""
    for name, value in fields.items():
        if isinstance(value, dict):
            _check_layers(value)
        elif ("layers" in str(name) or name == "n_layer") and isinstance(value, int) and value > MAX_LAYERS:
            raise InputError(f"{name} is {value}; it must be at most {MAX_LAYERS}")


def _build(config: PreTrainedConfig, architecture: str | None, dtype: torch.dtype) -> nn.Module:
    if architecture is not None and hasattr(transformers, architecture):
        network: nn.Module = getattr(transformers, architecture)._from_config(config, dtype=dtype)
        return network
    for head in HEADS:
        auto = getattr(transformers, head)
        if type(config) in auto._model_mapping:
            network = auto.from_config(config, dtype=dtype)
            return network
    raise InputError(f"model type {config.model_type} has none of {', '.join(HEADS)}")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from logging what it makes and runs."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)


def _configuration(name: str) -> tuple[dict[str, Any], str | None]:
    """Fields of a configuration, and the class of its network."""
    known = published()
    short = _short(name)
    if short in known:
        return known[short]["config"], known[short]["architecture"]
    if name in CONFIG_MAPPING:
        return {"model_type": name}, None
    path = Path(name, "config.json") if Path(name).is_dir() else Path(name)
    if path.suffix != ".json":
        raise InputError(
            f"model is {show('hf:' + name)}; it must be hf: and one of {', '.join(known)}, a model type of "
            f"transformers, as bert, or the path of a config.json"
        )
    return _read(path)


def _read(path: Path) -> tuple[dict[str, Any], str | None]:
    with about(path):
        text = to_text(read_bytes(path))
        try:
            fields = json.loads(text)  # which has Infinity, as some configurations do
        except ValueError as error:
            raise InputError(f"it is not valid JSON: {error}") from None
        except RecursionError:
            raise InputError("it is nested too deeply") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("model_type"), str):
        raise InputError(f"{path}: it has no model_type; it must be a configuration of transformers")
    if fields["model_type"] not in CONFIG_MAPPING:
        raise InputError(f"{path}: model_type is {show(fields['model_type'])}; transformers does not know it")
    architectures = fields.get("architectures")
    return fields, architectures[0] if isinstance(architectures, list) and architectures else None


def published() -> dict[str, dict[str, Any]]:
    """Networks by name: ``source``, ``architecture`` and ``config`` of each."""
    text = (resources.files("stageplan") / "data" / "models.json").read_text(encoding="utf-8")
    models: dict[str, dict[str, Any]] = json.loads(text)
    return models


def _short(name: str) -> str:
    """Name without the owner, the vendor and the version of the weights."""
    return re.sub(r"^meta-|-hf$|-v0\.\d$", "", name.lower().rpartition("/")[2])


def example(
    network: nn.Module,
    batch: int,
    sequence: int | None = None,
    shape: Sequence[int] | None = None,
    name: str = "sequence",
) -> dict[str, Tensor]:
    """Make a batch of examples of what a network of transformers takes.

    Parameters
    ----------
    network
        Says which inputs it takes.
    batch
        Number of examples.
    sequence
        Tokens (of audio: samples) of an example; default: 512, or the most that the network takes.
    shape
        Of the whole batch, instead, where the network takes images or the like.
    name
        What errors call `sequence`.

    Raises
    ------
    ValueError
        It takes something else.
    """
    config: Any = network.config
    main = str(network.main_input_name)
    text: Any = config.get_text_config()
    tokens = _tokens(text, batch, sequence, name)
    if main == "input_ids":
        inputs = {main: tokens}
    else:
        inputs = {main: torch.rand(tuple(shape) if shape else _shape(main, config, batch, sequence))}
    if config.is_encoder_decoder:
        inputs["decoder_input_ids"] = tokens
    return inputs


def _tokens(config: Any, batch: int, sequence: int | None, name: str) -> Tensor:
    limits = (getattr(config, name, None) for name in ("max_position_embeddings", "max_target_positions"))
    most = next((limit for limit in limits if limit and limit > 0), sys.maxsize)
    length = min(SEQUENCE, most) if sequence is None else sequence
    if length > most:
        raise _ExampleError(
            f"{name} is {length}; it must be at most {most}, the positions that the model has"
        )
    generator = torch.Generator().manual_seed(0)
    vocabulary = getattr(config, "vocab_size", None) or 1
    return torch.randint(vocabulary, (batch, length), generator=generator)


def _shape(name: str, config: Any, batch: int, sequence: int | None) -> tuple[int, ...]:
    if name == "pixel_values":
        size = getattr(config, "image_size", None) or IMAGE
        height, width = (size, size) if isinstance(size, int) else size
        return batch, getattr(config, "num_channels", 3), height, width
    if name == "input_features":
        return batch, config.num_mel_bins, 2 * config.max_source_positions
    if name == "input_values":
        return batch, sequence or AUDIO
    raise _ExampleError(
        f"model takes {name}, which cannot be made up; it must be profiled with an example in Python"
    )
