"""The hardware: device types and their prices."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from .errors import InputError
from .fields import (
    Bandwidth,
    Capacity,
    DeviceLimit,
    Fraction,
    Name,
    Positive,
    Price,
    check_fields,
    printable,
    show,
    whole,
)

__all__ = ["Cluster", "DeviceType"]

MAX_DEGREE = 2**20
"""Most devices of one replica of a stage."""

RECOMPUTE = FULL, SELECTIVE = "recompute", "selective"
"""Strategies of recomputation: layers keep their inputs alone, or all but the cores of their attention."""

# Tensor or expert parallel of a degree, or recomputation, or both.
_AGAIN = "|".join(RECOMPUTE)
_STRATEGY = re.compile(rf"(?:[te]p([1-9][0-9]{{0,6}})(?:\+(?:{_AGAIN}))?|{_AGAIN})?")


class DeviceType(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A type of computing device.

    Parameters
    ----------
    name : str
        Unique in its cluster; the key of layers' times.
    price : float
        $/hour of one device.
    limit : int, optional
        Number of devices; None for no limit.
    capacity : float, optional
        Bytes of memory of one device; None for no limit.
    bandwidth : float, optional
        Bytes/s at which tensors enter or leave; None if transfer takes no time.
    transfer_parallel : float
        Parallel fraction of the transfer time: the part that is divided among the devices of a stage.
    like : str, optional
        If a layer has no time for this type, it is the time on type `like` divided by `speed`; a type in the
        cluster, or outside it with times in the layers.
    speed : float or mapping of str to float
        Speed relative to `like`: for all layers, or by layer kind, ``"default"`` for other kinds.
    machine : int, optional
        Devices per machine; None if one machine holds all.
    link : float, optional
        Bytes/s of an all-reduce within one machine; None if it takes no time.
    network : float, optional
        Bytes/s of an all-reduce between machines; None if as within one.
    strategies : mapping of str to int
        Devices per replica of a stage by strategy; layers have times for it under ``"type/strategy"``.
        Strategies named ``"tp4"``, ``"ep4"`` or ``"tp4+recompute"`` have 4 devices and one named
        ``"recompute"`` has 1 (as ``"selective"``); they need not be listed.

    Raises
    ------
    TypeError, ValueError
        A field has a wrong type, or a value that is not allowed.
    """

    name: Name
    price: Price
    limit: DeviceLimit | None = None
    capacity: Capacity | None = None
    bandwidth: Bandwidth | None = None
    transfer_parallel: Fraction = 1.0
    like: Annotated[str, Meta(min_length=1, description="the name of another device type")] | None = None
    speed: Annotated[
        Positive | Mapping[str, Positive],
        Meta(description="a factor more than 0 and finite, or a table of that by layer kind"),
    ] = 1.0
    machine: Annotated[int, whole(1, 2**31 - 1, "devices")] | None = None
    link: Bandwidth | None = None
    network: Bandwidth | None = None
    strategies: Annotated[
        Mapping[Annotated[str, Meta(min_length=1)], Annotated[int, Meta(ge=1, le=MAX_DEGREE)]],
        Meta(description=f"a table from strategies to devices, whole numbers from 1 to {MAX_DEGREE}"),
    ] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self, f"device type {show(self.name)}")

    def degree_of(self, strategy: str) -> int:
        """Return the number of devices per replica of a strategy, ``""`` for the default one.

        Raises
        ------
        ValueError
            The strategy is neither listed nor has such a name.
        """
        if strategy in self.strategies:
            return self.strategies[strategy]
        named = _STRATEGY.fullmatch(strategy)
        degree = int((named and named[1]) or 1)
        if not named or degree > MAX_DEGREE:
            raise InputError(
                f"strategy {show(strategy)} of device type {show(self.name)} has no number of devices; "
                f"it must be in the type's strategies, or have a name such as 'tp4'"
            )
        return degree

    def speed_of(self, kind: str) -> float:
        """Speed of this type relative to `like` for layers of a kind."""
        if isinstance(self.speed, Mapping):
            return self.speed.get(kind, self.speed.get("default", 1.0))
        return self.speed

    def __str__(self) -> str:
        parts = [f"{self.price:g} $/hour", "no limit" if self.limit is None else f"at most {self.limit}"]
        if self.capacity is not None:
            parts.append(f"{self.capacity:.4g} bytes")
        if self.bandwidth is not None:
            parts.append(f"{self.bandwidth:.4g} bytes/s")
        if self.like is not None:
            parts.append(f"like {self.like}")
        return printable(f"{self.name} ({', '.join(parts)})")


class Cluster(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The device types that a plan may use.

    Parameters
    ----------
    name : str
        Name of the cluster.
    types : sequence of DeviceType
        At least one; their names differ.
    fixed_price : float
        $/hour of every plan in addition to its devices.

    Raises
    ------
    TypeError, ValueError
        A field has a wrong type, or a value that is not allowed.
    """

    name: Name
    types: Annotated[
        tuple[DeviceType, ...], Meta(min_length=1, description="a list of 1 device type or more")
    ]
    fixed_price: Price = 0.0

    def __post_init__(self) -> None:
        owner = f"cluster {show(self.name)}"
        check_fields(self, owner)
        index: dict[str, int] = {}
        for place, type_ in enumerate(self.types):
            first = index.setdefault(type_.name, place)
            if first != place:
                raise InputError(
                    f"types[{place}].name is {show(type_.name)}; "
                    f"it must differ from types[{first}].name, the same ({owner})"
                )
        for place, type_ in enumerate(self.types):
            chain = self._chain(type_)
            if len(set(chain)) < len(chain):
                raise InputError(
                    f"types[{place}].like is {show(type_.like)}; it must not be cyclic, "
                    f"as {' -> '.join(chain)} is ({owner})"
                )

    def _chain(self, type_: DeviceType) -> list[str]:
        """Names from a type along `like`, up to the first that repeats or is not of the cluster."""
        by_name = {other.name: other for other in self.types}
        chain = [type_.name]
        while type_.like is not None:
            chain.append(type_.like)
            if type_.like not in by_name or chain.count(type_.like) > 1:
                break
            type_ = by_name[type_.like]
        return chain

    def __str__(self) -> str:
        fixed = f"; {self.fixed_price:g} $/hour besides" if self.fixed_price else ""
        types = ", ".join(str(type_) for type_ in self.types)
        return f"Cluster {self.name!r}: {len(self.types)} device types: {types}{fixed}."

    def __repr__(self) -> str:
        names = ", ".join(type_.name for type_ in self.types)
        return printable(f"<Cluster {self.name}: {len(self.types)} device types ({names})>")
