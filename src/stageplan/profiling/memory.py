"""Bytes of a layer: weights, gradients and the optimizer's state, whole on each device or divided (ZeRO)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..errors import InputError
from ..workload import Mode
from .network import Network
from .trace import TracedLayer

# Bytes of an optimizer's state for each parameter: two moments of 4 bytes each, or of 1 byte (Dettmers et al.
# 2021, arXiv:2110.02861), or one, or none.
STATE = {"adam": 8.0, "adam8bit": 2.0, "momentum": 4.0, "sgd": 0.0}
OPTIMIZERS = tuple(STATE)
MOST_ZERO = 3
# Where weights have 2 bytes, the optimizer has a copy of 4 bytes each (mixed precision; Rajbhandari et al.
# 2020, arXiv:1910.02054, section 3.1).
COPY = 4.0
PARAMETER = {"fp32": 4.0, "tf32": 4.0, "fp16": 2.0, "bf16": 2.0}  # bytes
# Of what an all-reduce of gradients moves: with stage 3, replicas exchange the weights in both passes instead
# of once (section 7.2 there).
EXCHANGED = (1.0, 1.0, 1.0, 1.5)


class Training(NamedTuple):
    """How weights are trained: the optimizer, and what ZeRO divides among replicas.

    Stage 1 divides the optimizer's state, 2 the gradients as well, and 3 the weights too.
    """

    optimizer: str
    zero: int


class Memory(NamedTuple):
    """Bytes of a layer, by what they count for, as in `Layer`."""

    memory: float
    sharded: float = 0.0
    workspace: float = 0.0
    gradients: float = 0.0


def training(mode: Mode, optimizer: str | None, zero: int | None) -> Training | None:
    """Say how a network is trained, and None where it is not.

    Raises
    ------
    ValueError
        There is an optimizer, or a stage of ZeRO, and the network does not train.
    """
    if mode == "train":
        return Training(optimizer or "adam", zero or 0)
    for name, value in (("optimizer", optimizer), ("zero", zero)):
        if value is not None:
            raise InputError(f"{name} is {value!r}; it must be absent where mode is {mode!r}")
    return None


def state_bytes(optimizer: str, precision: str) -> float:
    """Bytes of an optimizer's state for each parameter, its copy of the parameter among them."""
    return STATE[optimizer] + (COPY if PARAMETER[precision] < COPY else 0.0)


def note_shared(layers: Sequence[TracedLayer], network: Network, trains: Training | None) -> list[str]:
    """Note the bytes of weights that several layers have, each of which counts them."""
    users: dict[int, list[str]] = {}
    for layer in layers:
        for number in sorted(layer.weights):
            users.setdefault(number, []).append(layer.name)
    groups: dict[tuple[str, ...], set[int]] = {}
    for number, names in users.items():
        if len(names) > 1:
            groups.setdefault(tuple(names), set()).add(number)
    notes = []
    for sharing, numbers in groups.items():
        counted = memory(TracedLayer("", "", numbers), network, trains)
        notes.append(
            f"{' and '.join(sharing)} share weights of {counted.memory + counted.sharded:g} bytes, what "
            f"trains them included, which count in each of them, also in a stage that has both"
        )
    return notes


def memory(layer: TracedLayer, network: Network, trains: Training | None) -> Memory:
    """Count the bytes of a layer.

    Parameters
    ----------
    layer
        What it does, and the numbers of its weights.
    network
        Has the weights.
    trains
        How it is trained; None: not at all.
    """
    weights = network.trace.weights
    held = sum(weights[number].bytes for number in layer.weights | layer.unused)
    if trains is None:
        return Memory(held + layer.buffers, sharded=layer.cache, workspace=layer.workspace)
    gradients = sum(weights[number].bytes for number in layer.weights if weights[number].trained)
    state = gradients / PARAMETER[network.precision] * state_bytes(trains.optimizer, network.precision)
    parts = (state, gradients, held)
    divided, whole = parts[: trains.zero], parts[trains.zero :]
    return Memory(
        memory=sum(whole) + layer.buffers,
        sharded=sum(divided),
        workspace=layer.workspace + sum(divided[1:]),  # of one layer they are whole while it runs
        gradients=gradients * EXCHANGED[trains.zero],
    )
