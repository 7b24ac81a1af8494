"""Clusters of devices of the catalogue, by name, and a table of the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from .arguments import as_tuple
from .cluster import Cluster, DeviceType
from .device import PRECISIONS, Device
from .errors import InputError, InputTypeError
from .fields import show
from .output import compose, table
from .readers import read_devices
from .suggestions import did_you_mean

if TYPE_CHECKING:
    from rich.console import Group

__all__ = ["device_table", "make_cluster"]

_FRACTIONS = ("compute", "training", "attention", "convolution", "bandwidth")
_SPEC = re.compile(r"(?P<name>[^:@\s]+)(:(?P<count>\d{1,18}))?(@(?P<price>[^:@\s]+))?")


def make_cluster(specs: Iterable[str], devices: Mapping[str, Device] | None = None) -> Cluster:
    """Make a cluster of devices of the catalogue.

    Stages exchange tensors over the network or, if all devices are of one type and fit into one machine,
    over the link inside it.

    Parameters
    ----------
    specs
        ``"NAME"``, ``"NAME:COUNT"`` or ``"NAME:COUNT@PRICE"``: device type, number of devices (default: no
        limit) and $/hour of each (default: the catalogue's price).
    devices
        The catalogue; default: the built-in one, as `read_devices` gives it.

    Returns
    -------
    Cluster

    Raises
    ------
    TypeError, ValueError
        A spec is not of this form, names no device of the catalogue or one twice, or has no price.

    Examples
    --------
    >>> import stageplan as sp
    >>> sp.make_cluster(["a100-80g:8", "t4:16@0.35"]).types[1].price
    0.35
    """
    specs = as_tuple("specs", specs, "a list of texts like 'a100-80g:8'")
    catalogue = read_devices() if devices is None else devices
    check_catalogue("devices", catalogue)
    types = [_device_type(spec, catalogue) for spec in specs]
    if len(types) == 1:
        types = [_in_one_machine(types[0], catalogue[types[0].name])]
    return Cluster(name=" ".join(specs) or "none", types=tuple(types))


def check_catalogue(name: str, devices: object) -> None:
    """Raise TypeError unless an argument maps names to devices."""
    if not isinstance(devices, Mapping) or not all(isinstance(device, Device) for device in devices.values()):
        raise InputTypeError(f"{name} is {show(devices)}; it must be a dict of devices by name")


def _device_type(spec: str, catalogue: Mapping[str, Device]) -> DeviceType:
    match = _SPEC.fullmatch(spec) if isinstance(spec, str) else None
    if match is None:
        raise InputError(
            f"device is {show(spec)}; it must be NAME, NAME:COUNT or NAME:COUNT@PRICE, as a100-80g:8@3.43"
        )
    name, count, price = match["name"], match["count"], match["price"]
    if name not in catalogue:
        known = f"{', '.join(catalogue)}{did_you_mean(name, catalogue)}"
        raise InputError(f"device is {show(spec)}; its name must be one of {known}")
    return catalogue[name].to_type(None if count is None else int(count), _price(spec, price))


def _price(spec: str, text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        raise InputError(f"device is {show(spec)}; its price must be a number of $/hour") from None


def _in_one_machine(type_: DeviceType, device: Device) -> DeviceType:
    if device.link is None or type_.limit is None or type_.limit > device.per_machine:
        return type_
    return msgspec.structs.replace(type_, bandwidth=device.link)


def device_table(devices: Mapping[str, Device]) -> Group:
    """Make a table of devices: prices in $/hour, memory in GB, peaks in TFLOP/s, rates in GB/s."""
    head = ("device", "$/h", "spot", "reserved", "GB", "memory", "link", "network", "machine")
    rows = [head, *map(_cells, devices.values())]
    units = "prices in $/hour; memory, link and network in GB/s; machine: devices of one"
    peaks = [("device", *PRECISIONS), *map(_peaks, devices.values())]
    tables = [table(rows, left=(0,)), units, table(peaks, left=(0,)), "dense peaks in TFLOP/s"]
    if any(device.efficiency for device in devices.values()):
        head = ("device", "in", *_FRACTIONS, "kernel", "launch")
        rows = [head, *chain.from_iterable(map(_efficiency_rows, devices.values()))]
        reached = "fractions of the peaks that devices reach; kernel, launch: us of an operation"
        tables += [table(rows, left=(0, 1)), reached]
    return compose(*tables)


def _efficiency_rows(device: Device) -> Iterator[tuple[str, ...]]:
    for precision, efficiency in device.efficiency.items():
        fractions = (_scaled(getattr(efficiency, f"{name}_fraction"), 1) for name in _FRACTIONS)
        per_operation = (device.kernel_seconds, device.launch_seconds)
        yield device.name, precision, *fractions, *(_scaled(seconds, 1e-6) for seconds in per_operation)


def _cells(device: Device) -> tuple[str, ...]:
    others = (None if rate is None else rate.price for rate in (device.spot, device.reserved))
    return (
        device.name,
        *(_scaled(price, 1) for price in (device.price, *others)),
        _scaled(device.memory, 1e9),
        _scaled(device.memory_bandwidth, 1e9),
        _scaled(device.link, 1e9),
        _scaled(device.network, 1e9),
        str(device.per_machine),
    )


def _peaks(device: Device) -> tuple[str, ...]:
    return device.name, *(_scaled(device.peak.get(precision), 1e12) for precision in PRECISIONS)


def _scaled(value: float | None, unit: float) -> str:
    return "-" if value is None else f"{value / unit:.4g}"
