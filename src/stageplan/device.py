"""A device as in its data sheet: the source of device types in clusters and of estimated times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, cast, get_args

from msgspec import Meta, Struct
from msgspec.structs import replace

from .arguments import check_number
from .cluster import DeviceType
from .errors import InputError
from .fields import (
    Bandwidth,
    Capacity,
    FrozenDict,
    Positive,
    Price,
    Seconds,
    Text,
    check_fields,
    printable,
    show,
    whole,
)

__all__ = ["PRECISIONS", "PRICINGS", "Device", "Efficiency", "Precision", "Pricing", "Rate"]

Precision = Literal["fp32", "tf32", "fp16", "bf16", "fp8", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

USABLE_MEMORY = 0.9
"""Fraction of a device's memory that a plan may fill; the rest is for the runtime and its work space."""

Kind = Literal["", "attention", "convolution"]
"""Kinds of operations that reach less of a device's peak than products of matrices; "" for all others."""

Share = Annotated[float, Meta(gt=0, le=1, description="a fraction more than 0, at most 1")]


class Efficiency(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a device reaches in one precision.

    Parameters
    ----------
    compute_fraction, bandwidth_fraction : float
        Achievable fraction of the peaks of FLOP/s and of bytes/s of memory.
    training_fraction, attention_fraction, convolution_fraction : float, optional
        Achievable fraction of the peak of FLOP/s in passes that train, and in attention and convolutions
        of either; None where it is that of `compute_fraction`.

    Raises
    ------
    TypeError, ValueError
        A field has a wrong type, or a value that is not allowed.
    """

    compute_fraction: Share
    bandwidth_fraction: Share
    training_fraction: Share | None = None
    attention_fraction: Share | None = None
    convolution_fraction: Share | None = None

    def __post_init__(self) -> None:
        check_fields(self, "efficiency")

    def fraction_of(self, kind: Kind, train: bool) -> float:
        """Return the achievable fraction of the peak of FLOP/s for an operation's kind."""
        if kind == "attention" and self.attention_fraction is not None:
            return self.attention_fraction
        if kind == "convolution" and self.convolution_fraction is not None:
            return self.convolution_fraction
        if train and self.training_fraction is not None:
            return self.training_fraction
        return self.compute_fraction


Pricing = Literal["on-demand", "spot", "reserved"]
PRICINGS: tuple[Pricing, ...] = get_args(Pricing)


class Rate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price, and where it is from.

    Parameters
    ----------
    price : float
        $/hour of one device.
    source, date : str
        Source of the price, and date of access.

    Raises
    ------
    TypeError, ValueError
        A field has a wrong type, or a value that is not allowed.
    """

    price: Price
    source: Text = ""
    date: Text = ""

    def __post_init__(self) -> None:
        check_fields(self, "rate")


class Device(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model of computing device: an entry of the catalogue.

    Parameters
    ----------
    name : str
        Unique in its catalogue, e.g. ``"a100-80g"``.
    title : str
        The manufacturer's name.
    peak : mapping of str to float
        Dense (not sparse) peak FLOP/s by precision, one of `PRECISIONS`; absent for a precision that the
        device does not support.
    memory, memory_bandwidth : float
        Bytes, and bytes/s.
    link : float, optional
        Bytes/s, one way, to the other devices of its machine; None if it is the only one.
    network : float, optional
        Bytes/s, one way, to other machines: the device's share of its machine's network.
    per_machine : int
        Number of devices in a machine.
    price : float, optional
        $/hour of one device, on demand; None if not known.
    spot, reserved : Rate, optional
        Prices of one device that may be taken away, and of one that is reserved.
    price_names : sequence of str
        Names of the device in price lists.
    hardware_names : sequence of str
        Names that the device reports of itself: a GPU as ``torch.cuda.get_device_name`` gives it, a processor
        by its model name.  Only a device with this machine's name can be measured.
    compute_fraction, bandwidth_fraction : float
        Assumed achievable fraction of the peaks of FLOP/s and of bytes/s of memory, in precisions that
        `efficiency` does not have.
    efficiency : mapping of str to Efficiency
        Achievable fractions by precision, where they are known.
    kernel_seconds : float
        Seconds that the device itself needs for each operation, besides its arithmetic and memory.
    launch_seconds : float
        Seconds that the host needs to start each operation of a forward pass, where operations are started
        one by one (eager execution): a layer takes at least this for each of its operations.
    link_latency, link_fraction : float
        Of collectives inside a machine: seconds of each, and achievable fraction of `link`.
    source, date : str
        Source of the numbers, and date of access.

    Raises
    ------
    TypeError, ValueError
        A field has a wrong type, or a value that is not allowed.
    """

    name: Annotated[
        str, Meta(pattern=r"^[^:@\s]+\Z", description="text without white space, colon or at sign")
    ]
    peak: Annotated[
        Mapping[Precision, Positive],
        Meta(
            min_length=1, description=f"a table of FLOP/s, more than 0, by precision: {', '.join(PRECISIONS)}"
        ),
    ]
    memory: Capacity
    memory_bandwidth: Bandwidth
    title: Text = ""
    link: Bandwidth | None = None
    network: Bandwidth | None = None
    per_machine: Annotated[int, whole(1, 2**53, "devices")] = 1
    price: Price | None = None
    spot: Rate | None = None
    reserved: Rate | None = None
    price_names: Annotated[tuple[str, ...], Meta(description="a list of names in price lists")] = ()
    hardware_names: Annotated[
        tuple[str, ...], Meta(description="a list of names that the device reports of itself")
    ] = ()
    compute_fraction: Share = 0.4
    bandwidth_fraction: Share = 0.7
    efficiency: Annotated[
        Mapping[Precision, Efficiency],
        Meta(description=f"a table of efficiencies by precision: {', '.join(PRECISIONS)}"),
    ] = FrozenDict()
    kernel_seconds: Seconds = 0.0
    launch_seconds: Seconds = 0.0
    link_latency: Seconds = 0.0
    link_fraction: Share = 0.8
    source: Text = ""
    date: Text = ""

    def __post_init__(self) -> None:
        check_fields(self, f"device {show(self.name)}")
        for precision in self.efficiency:
            if precision not in self.peak:
                raise InputError(
                    f"efficiency has {show(precision)}; it must have precisions of peak alone: "
                    f"{', '.join(self.peak)} (device {show(self.name)})"
                )

    def with_pricing(self, pricing: Pricing) -> Device:
        """Return the device at the catalogue's price of a kind; None where that is not known."""
        if pricing == "on-demand":
            return self
        rate = self.spot if pricing == "spot" else self.reserved
        return replace(self, price=None if rate is None else rate.price)

    def seconds(
        self, flops: float, bytes: float, precision: str, kind: Kind = "", *, train: bool = False
    ) -> float:
        """Estimate an operation's time by the roofline model.

        It is that of Williams et al. 2009, doi:10.1145/1498765.1498785, with a cost of each operation.

        The slower of arithmetic and memory determines the time, each at its fraction of the peak::

            kernel_seconds
            + max(flops / (compute_fraction * peak), bytes / (bandwidth_fraction * memory_bandwidth))

        Parameters
        ----------
        flops
            Floating-point (or integer) operations; a multiplication and an addition are two.
        bytes
            Bytes read from and written to the device's memory.
        precision
            Precision of the arithmetic; one that the device supports.
        kind : {"", "attention", "convolution"}
            Whether the operation is of a kind that may have a fraction of its own.
        train
            Whether it is part of a pass that trains.

        Returns
        -------
        float
            Seconds.

        Raises
        ------
        TypeError, ValueError
            A number is negative or not finite, or the device does not support the precision.
        """
        check_number("flops", flops, minimum=0)
        check_number("bytes", bytes, minimum=0)
        if not isinstance(precision, str) or precision not in self.peak:
            raise InputError(
                f"precision is {show(precision)}; it must be one that {self.name} has: {', '.join(self.peak)}"
            )
        known = cast(Precision, precision)
        peak, reached = self.peak[known], self.efficiency.get(known)
        if reached is None:
            compute, bandwidth = self.compute_fraction, self.bandwidth_fraction
        else:
            compute, bandwidth = reached.fraction_of(kind, train), reached.bandwidth_fraction
        arithmetic, memory = flops / (compute * peak), bytes / (bandwidth * self.memory_bandwidth)
        return self.kernel_seconds + max(arithmetic, memory)

    def all_reduce_seconds(self, bytes: float, devices: int) -> float:
        """Estimate the time of an all-reduce among devices of one machine, over its link.

        A ring passes every byte ``2 (devices - 1) / devices`` times (Patarasuk & Yuan 2009,
        doi:10.1016/j.jpdc.2008.09.002)::

            link_latency + bytes * 2 (devices - 1) / devices / (link_fraction * link)

        Parameters
        ----------
        bytes
            Size of the tensor that is added up.
        devices
            From 1 to `per_machine`; one device has nothing to add.

        Returns
        -------
        float
            Seconds.

        Raises
        ------
        TypeError, ValueError
            A number is not allowed, or the device has no link.
        """
        check_number("bytes", bytes, minimum=0)
        check_number("devices", devices, minimum=1, maximum=self.per_machine, whole=True)
        if devices == 1:
            return 0.0
        if self.link is None:
            raise InputError(f"link of {self.name} is None; it must be given for an all-reduce")
        return self.link_latency + bytes * 2 * (devices - 1) / devices / (self.link_fraction * self.link)

    def to_type(self, limit: int | None = None, price: float | None = None) -> DeviceType:
        """Make a device type for a cluster, which transfers tensors over the network between machines.

        All-reduces among the replicas of a stage have the achievable rate of the link inside a machine, and
        that of the network if they take more devices.

        Parameters
        ----------
        limit
            Number of devices; None for no limit.
        price
            $/hour; default: the catalogue's.

        Returns
        -------
        DeviceType

        Raises
        ------
        ValueError
            The price is not known and not given, or a value is not allowed.
        """
        price = self.price if price is None else price
        if price is None:
            raise InputError(f"price of {self.name} is not known; it must be given, as in {self.name}:8@1.50")
        return DeviceType(
            name=self.name,
            price=price,
            limit=limit,
            capacity=USABLE_MEMORY * self.memory,
            bandwidth=self.network,
            machine=self.per_machine,
            link=None if self.link is None else self.link_fraction * self.link,
            network=self.network,
        )

    def __str__(self) -> str:
        peaks = ", ".join(f"{precision} {peak:.4g}" for precision, peak in self.peak.items())
        price = "price not known" if self.price is None else f"{self.price:g} $/hour"
        return printable(
            f"{self.name} ({self.title or self.name}): FLOP/s {peaks}; {self.memory:.4g} bytes at "
            f"{self.memory_bandwidth:.4g} bytes/s; {price}"
        )
