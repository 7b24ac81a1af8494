"""Columns of a workload's tables: device types, and the strategies of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..device import Device
from ..errors import InputError
from .network import Network
from .strategies import Division
from .trace import TracedLayer

Array = npt.NDArray[np.float64]


class Seconds(NamedTuple):
    """Seconds of a batch in each layer on a device type, shape (L,)."""

    forward: Array
    backward: Array


class Column(NamedTuple):
    """Fields of each `Layer` under a strategy: tables by device type, or numbers for all that have it."""

    strategy: str
    fields: list[dict[str, Any]]


def divided(network: Network, division: Division) -> Network:
    """Make the part of a network that one of several devices has.

    Raises
    ------
    ValueError
        It cannot be divided.
    """
    if division.degree == 1:
        return network
    if network.divide is None:
        raise InputError(f"strategy {division} cannot divide an ONNX file; the model must be a torch module")
    return network.divide(division)


def offers(device: Device, division: Division) -> bool:
    """Whether a machine has so many of a device, and a link between them."""
    return division.degree <= _linked(device)


def note_offers(devices: Sequence[Device], divisions: Sequence[Division]) -> list[str]:
    """Note which devices do not have a strategy.

    Raises
    ------
    ValueError
        None has it.
    """
    if not devices:
        raise InputError(
            f"strategy {divisions[-1]} needs the link of the device that is measured; it must be in the "
            f"catalogue"
        )
    notes = []
    for division in divisions:
        without = [device for device in devices if not offers(device, division)]
        reasons = ", ".join(f"{device.name} has {_linked(device)}" for device in without)
        if len(without) == len(devices):
            raise InputError(f"strategy {division} needs as many linked devices in a machine; {reasons}")
        if without:
            notes.append(f"strategy {division} needs as many linked devices in a machine; {reasons}")
    return notes


def _linked(device: Device) -> int:
    return device.per_machine if device.link is not None else 1


def exchange(layers: Sequence[TracedLayer], device: Device, degree: int, busy: Seconds) -> Seconds:
    """Add the time of the all-reduces among the devices that share each layer; products wait for them."""

    def add_up(reduces: Mapping[float, int]) -> float:
        return sum(count * device.all_reduce_seconds(bytes_, degree) for bytes_, count in reduces.items())

    return Seconds(
        busy.forward + np.array([add_up(layer.forward_reduces) for layer in layers]),
        busy.backward + np.array([add_up(layer.backward_reduces) for layer in layers]),
    )


def merge(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Put the fields of all columns together: tables by ``TYPE`` and ``TYPE/STRATEGY``, or numbers."""
    names = [column.strategy for column in columns]
    return [
        {field: _field(names, of_layer, field) for field in of_layer[0]}
        for of_layer in zip(*(column.fields for column in columns), strict=True)
    ]


def _field(names: Sequence[str], columns: Sequence[Mapping[str, Any]], field: str) -> Any:
    values = [fields[field] for fields in columns]
    if not isinstance(values[0], Mapping):
        if all(value == values[0] for value in values):
            return values[0]
        values = [dict.fromkeys(fields["compute"], fields[field]) for fields in columns]
    return {
        f"{type_}/{name}" if name else type_: value
        for name, table in zip(names, values, strict=True)
        for type_, value in table.items()
    }
