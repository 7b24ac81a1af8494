"""Configurations of transformers: a network of random weights, or none, by its name or its config.json.

Nothing is downloaded: names are looked up in ``data/models.json``, the published hyper-parameters of networks
in use, and among the model types of transformers, which have defaults.
"""

from __future__ import annotations

import importlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig, PreTrainedModel

from ..errors import InputError
from ..fields import first_line, sentence, show
from ..readers.bounded import about, read_bytes, to_text
from ..suggestions import did_you_mean
from ..workload import MAX_LAYERS
from .huggingface_inputs import ExampleError, examples
from .huggingface_towers import with_towers
from .modules import DTYPES, MOST_OPERATIONS, Loaded, given
from .network import Options
from .values import followed, keep_buffers

SHORT = 16  # tokens of the example of a network that runs token by token
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
    "AutoModelForImageTextToText",
)


def load(name: str, options: Options, on: str | None) -> Loaded:
    """Make a network by its name, as `build` takes it, and a batch; with random weights where it must run."""
    network = build(name, DTYPES.get(options.precision or ""), on or "meta")
    loaded = _with_examples(network, name, options)
    tokens = loaded.kwargs.get("input_ids")
    if tokens is None or options.sequence is not None or tokens.shape[-1] <= SHORT:
        return loaded
    note = (
        f"a pass over {tokens.shape[-1]} tokens has more than {MOST_OPERATIONS:,} operations: the example "
        f"has {SHORT} tokens, and sequence can ask for more"
    )
    shorter = _with_examples(network, name, options._replace(sequence=SHORT), (note,))
    return loaded._replace(shorter=shorter)


def _with_examples(network: nn.Module, name: str, options: Options, notes: tuple[str, ...] = ()) -> Loaded:
    """Give a network the plainest of the examples that it may take, and the others to try."""
    batches = [options.examples()]
    if options.train and options.batch is None and options.shape is None and _has_batch_norm(network):
        batches.append(2)  # batch norms cannot train on one number per channel
    found = []
    for batch in batches:
        try:
            made = _examples(network, batch, options)
        except ExampleError as error:
            raise InputError(str(error)) from None
        except Exception as error:  # the configuration may lack any field, or hold anything in it
            raise InputError(
                f"model is {show('hf:' + name)}; no example can be made: {first_line(error)}"
            ) from None
        found += [
            given(network, example, options, name)._replace(batch=batch, advice=ADVICE, notes=notes)
            for example in made
        ]
    return found[0]._replace(others=tuple(found[1:]))


def _examples(network: nn.Module, batch: int, options: Options) -> list[dict[str, Any]]:
    """Make the examples to try; a network that is served has text alone."""
    if options.serves:
        return list(examples(network, batch, options.sequence, name="context"))
    made = list(examples(network, batch, options.sequence, options.shape))
    full = None if options.shape is not None else with_towers(network, batch, options.sequence)
    return made if full is None else [full, *made]


def _has_batch_norm(network: nn.Module) -> bool:
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in network.modules())


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
    tokens = next(examples(module, options.examples(), options.sequence, name="context"))
    return tokens | {"use_cache": False}  # its cache is counted by its configuration


def build(name: str, dtype: torch.dtype | None, device: str) -> nn.Module:
    """Build a network.

    Parameters
    ----------
    name
        Behind ``hf:``: a name such as ``gpt2`` or ``meta-llama/Llama-2-70b-hf``, a model type of
        transformers, or the path of a config.json or of its directory.
    dtype
        Of the weights; None: that of the configuration, or fp32 where it says none that is known here.
    device
        ``"meta"`` for a network whose weights have no values; else they are random.

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
            if device != "meta":
                with torch.device(device):
                    return _build(config, architecture, dtype or _dtype_of(config))
            with followed() as values:
                network = _build(config, architecture, dtype or _dtype_of(config))
            keep_buffers(network, values)
            return network
        except Exception as error:  # the only common base of what transformers raises
            too_deep = isinstance(error, RecursionError)
            reason = "it is nested too deeply" if too_deep else " ".join(str(error).split())
            raise InputError(
                sentence(f"model is {show('hf:' + name)}; transformers cannot build it: {reason}")
            ) from error


def _dtype_of(config: PreTrainedConfig) -> torch.dtype:
    return next((dtype for dtype in DTYPES.values() if dtype == config.dtype), torch.float32)


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
    made: nn.Module = _own_class(config)._from_config(config, dtype=dtype)
    return made


def _own_class(config: PreTrainedConfig) -> Any:
    """Class of the networks of a configuration that no head is for, as of a tower: the last, the outermost.

    Raises
    ------
    ValueError
        The configuration has no such class, as that of a part of other networks.
    """
    module = type(config).__module__.replace(".configuration_", ".modeling_")
    try:
        classes = list(vars(importlib.import_module(module)).values())
    except ModuleNotFoundError:
        classes = []
    found = [
        class_
        for class_ in classes
        if isinstance(class_, type)
        and issubclass(class_, PreTrainedModel)
        and class_.__module__ == module
        and class_.config_class is type(config)
        and class_.forward is not PreTrainedModel.forward
    ]
    if not found:
        raise InputError(
            f"model type {config.model_type} has no class of its own with a forward pass, as a part of other "
            f"networks has none"
        )
    return found[-1]


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
        near = did_you_mean(name, (*known, *CONFIG_MAPPING))
        raise InputError(
            f"model is {show('hf:' + name)}; it must be hf: and one of {', '.join(known)}, a model type of "
            f"transformers, as bert, or the path of a config.json{near}"
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
    return re.sub(r"^meta-|-hf\Z|-v0\.\d\Z", "", name.lower().rpartition("/")[2])
