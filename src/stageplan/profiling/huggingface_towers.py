"""Examples for networks of transformers with towers: text with images and sound in it.

A tower's features take the place of tokens that stand for them, so that there have to be as many: the tower
is run for their number, on the meta device.
"""

from __future__ import annotations

import inspect
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .huggingface_inputs import SEQUENCE, is_required, layouts, text
from .tensors import tensors_in
from .twin import make_twin
from .values import followed

KINDS = ("image", "audio")
TEXT = 64  # tokens of text beside the others, at least
TAKEN = {"pixel_values", "input_features", "input_values", "image_sizes", "feature_lens"}


class _Tower(NamedTuple):
    """What a tower takes, and the token that stands for each of its features."""

    inputs: dict[str, Tensor]
    token: int
    features: int  # of an example


def with_towers(network: nn.Module, batch: int, sequence: int | None) -> dict[str, Tensor] | None:
    """Make a batch of text with what the towers of a network take; None where none can be given its input.

    Parameters
    ----------
    network
        Of transformers.
    batch
        Number of examples.
    sequence
        Tokens of an example, those of features among them; default: 512, or more where they are more.
    """
    config: Any = network.config
    arguments = inspect.signature(network.forward).parameters
    if "input_ids" not in arguments or config.is_encoder_decoder:
        return None
    towers = [tower for kind in KINDS if (tower := _tower(network, kind, batch)) is not None]
    number = sum(tower.features for tower in towers)
    length = max(SEQUENCE, number + TEXT) if sequence is None else sequence
    if not towers or length <= number:
        return None
    tokens, kinds = text(network, batch, length), torch.zeros(batch, length, dtype=torch.long)
    place = 1
    for kind, tower in enumerate(towers, 1):
        tokens[:, place : place + tower.features] = tower.token
        kinds[:, place : place + tower.features] = kind
        place += tower.features
    made = {"input_ids": tokens}
    made |= {name: tensor for tower in towers for name, tensor in tower.inputs.items() if name in arguments}
    return made | {name: kinds for name in ("token_type_ids", "mm_token_type_ids") if name in arguments}


def _tower(network: nn.Module, kind: str, batch: int) -> _Tower | None:
    """Run a tower on what it may take, until it runs."""
    config: Any = network.config
    run = getattr(network, f"get_{kind}_features", None)
    names = (f"{kind}_token_id", f"{kind}_token_index")
    token = next((value for name in names if (value := getattr(config, name, None)) is not None), None)
    vocabulary = getattr(config.get_text_config(), "vocab_size", None) or 0
    if run is None or not isinstance(token, int) or token >= vocabulary:
        return None
    arguments = inspect.signature(run).parameters
    wanted = [
        name
        for name, argument in arguments.items()
        if is_required(argument) or name in TAKEN or name.endswith("grid_thw")
    ]
    try:
        for inputs in layouts(network, wanted, arguments, batch):
            features = _features(network, f"get_{kind}_features", inputs)
            if features and features % batch == 0:
                return _Tower(inputs, token, features // batch)
    except Exception:  # the configuration may lack any field, or hold anything in it
        return None
    return None


def _features(network: nn.Module, method: str, inputs: dict[str, Tensor]) -> int:
    """Count the features that a tower makes; 0 where it does not run."""
    dtype: Any = network.dtype
    twin = make_twin(network, dtype).eval()
    try:
        with torch.no_grad(), followed() as values:
            made = getattr(twin, method)(**values.given(inputs, dtype))
    except Exception:  # whatever the tower does with what is not its input
        return 0
    return sum(prod(tensor.shape[:-1]) for tensor in tensors_in(getattr(made, "pooler_output", made)))
