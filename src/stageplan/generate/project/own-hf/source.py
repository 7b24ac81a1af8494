"""Makes the network by transformers, from the configuration and weights in the folder `own`; offline."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # all that it needs is in the folder

import torch
import transformers
from torch import Tensor, nn

FOLDER = Path(__file__).with_name("own")
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
CLASSES = {
    "causal-language-model": "AutoModelForCausalLM",
    "text-classification": "AutoModelForSequenceClassification",
    "image-classification": "AutoModelForImageClassification",
}
SHOWN = 3  # weights that are named


def make(task: str, source: Mapping[str, Any]) -> nn.Module:
    """Build the network, with the weights of the folder where it has some.

    Raises
    ------
    OSError, ValueError
        transformers has no such network for the task, or the weights are of another one.
    """
    kind = getattr(transformers, CLASSES[task])
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    config = transformers.AutoConfig.from_pretrained(FOLDER, local_files_only=True)
    if "classes" in source:
        config.num_labels = source["classes"]
    has_weights = any((FOLDER / name).is_file() for name in WEIGHTS)
    if not has_weights or torch.get_default_device().type == "meta":
        random: nn.Module = kind.from_config(config, dtype=torch.float32)
        return random
    return _with_weights(kind, config)


def _with_weights(kind: Any, config: Any) -> nn.Module:
    module: nn.Module
    try:
        module, found = kind.from_pretrained(
            FOLDER,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by their names
        )
    except OSError:
        raise
    except Exception as error:  # of any class, by what is damaged
        raise ValueError(f"the weights in {FOLDER.name} cannot be loaded: {error}") from error
    different = sorted(found["mismatched_keys"])
    if different:
        name, there, here = different[0]
        raise ValueError(
            f"the weights in {FOLDER.name} are of another network: {name} has shape {tuple(there)}; by "
            f"{FOLDER.name}/config.json it must be {tuple(here)}"
        )
    missing = sorted(found["missing_keys"])
    if missing:
        shown = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        print(f"note: not in the weights, and random: {len(missing)} tensors, {shown}")
    return module


def call(module: nn.Module, task: str, inputs: tuple[Tensor, ...]) -> Any:
    """Run the network on tokens, of which those of padding are masked, or on images."""
    (first,) = inputs
    if task == "image-classification":
        return module(pixel_values=first)
    if task == "causal-language-model":
        return module(input_ids=first, use_cache=False)
    padding = getattr(module.config, "pad_token_id", None)
    return module(input_ids=first, attention_mask=None if padding is None else (first != padding).long())
