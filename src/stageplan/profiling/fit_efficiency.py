"""Efficiency of a device, from kernels that were measured on it."""

from __future__ import annotations

import os
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from ..device import Device, Efficiency, Precision
from ..errors import InputError
from ..fields import Bytes, Name, Positive, check_fields, not_negative, show
from ..readers.bounded import about, as_path, from_json, from_toml, read_bytes, to_text
from ..readers.documents import build

__all__ = ["EfficiencyFit", "MeasuredKernel", "MeasuredKernels", "fit_efficiency", "read_measured"]

Array = npt.NDArray[np.float64]

FEWEST = 3  # kernels: as many as numbers that are fitted
LONGEST = 1e-4  # seconds of a kernel that are tried
LEAST = 0.02  # of a fraction that is tried
STEPS = 17  # values of each number that are tried at a time
ROUNDS = 6  # in each the values are four times as close together as before


class MeasuredKernel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operation does, and the time that it took."""

    flops: Annotated[float, not_negative()]
    bytes: Bytes
    seconds: Positive

    def __post_init__(self) -> None:
        check_fields(self, "kernel")


class MeasuredKernels(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Kernels that were measured on a device in one precision."""

    device: Name
    precision: Annotated[Precision, Meta(description="a precision of the device")]
    kernels: Annotated[
        tuple[MeasuredKernel, ...],
        Meta(min_length=FEWEST, description=f"a list of {FEWEST} kernels or more: flops, bytes and seconds"),
    ]

    def __post_init__(self) -> None:
        check_fields(self, "measured kernels")


def read_measured(path: str | os.PathLike[str]) -> MeasuredKernels:
    """Read measured kernels from a file in JSON or TOML.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is not valid.
    """
    file = as_path("path", path)
    with about(file):
        text = to_text(read_bytes(file))
        document = from_json(text) if text.lstrip().startswith("{") else from_toml(text)
        return build(MeasuredKernels, document)


class EfficiencyFit(NamedTuple):
    """What a fit found.

    Attributes
    ----------
    device : Device
        With the fractions of the precision, and the seconds of a kernel, that were fitted.
    median_error, worst_error : float
        Of the times that it estimates, relative to the measured ones.
    """

    device: Device
    median_error: float
    worst_error: float


def fit_efficiency(device: Device, measured: MeasuredKernels) -> EfficiencyFit:
    """Fit a device's efficiency in a precision, and its seconds a kernel, to measured kernels.

    Parameters
    ----------
    device : Device
        Whose peaks are used.
    measured : MeasuredKernels
        Products of matrices of several sizes: some that arithmetic limits, some that memory does, and some
        that are small.

    Returns
    -------
    EfficiencyFit
        A fraction that limits no kernel stays as it was, and so do those of training, attention and
        convolutions.  `kernel_seconds` is the device's in all precisions.

    Raises
    ------
    ValueError
        The device does not have the precision.

    Notes
    -----
    The fit minimises the mean of ``|log(estimated / measured)|``, which one kernel that is far off does not
    change much, on grids of the three numbers that close in on the best.
    """
    if measured.precision not in device.peak:
        raise InputError(
            f"precision is {show(measured.precision)}; it must be one that {device.name} has: "
            f"{', '.join(device.peak)}"
        )
    kernels = np.array([(kernel.flops, kernel.bytes, kernel.seconds) for kernel in measured.kernels])
    flops, bytes_, seconds = kernels.T
    arithmetic, memory = flops / device.peak[measured.precision], bytes_ / device.memory_bandwidth
    compute, bandwidth, launch = _closest(arithmetic, memory, seconds)
    limited = arithmetic / compute >= memory / bandwidth
    efficiency = device.efficiency.get(measured.precision) or Efficiency(
        compute_fraction=device.compute_fraction, bandwidth_fraction=device.bandwidth_fraction
    )
    if limited.any():
        efficiency = msgspec.structs.replace(efficiency, compute_fraction=compute)
    if not limited.all():
        efficiency = msgspec.structs.replace(efficiency, bandwidth_fraction=bandwidth)
    fitted = msgspec.structs.replace(
        device, efficiency={**device.efficiency, measured.precision: efficiency}, kernel_seconds=launch
    )
    errors = np.abs((launch + np.maximum(arithmetic / compute, memory / bandwidth)) / seconds - 1)
    return EfficiencyFit(fitted, float(np.median(errors)), float(errors.max()))


def _closest(arithmetic: Array, memory: Array, seconds: Array) -> tuple[float, float, float]:
    """Fractions of arithmetic and of memory, and seconds of a kernel, that give the measured times best."""
    middle = np.array([np.log(LEAST) / 2, np.log(LEAST) / 2, LONGEST / 2])
    half = np.array([-np.log(LEAST) / 2, -np.log(LEAST) / 2, LONGEST / 2])
    least, most = middle - half, middle + half
    for _ in range(ROUNDS):
        grids = np.clip(
            np.linspace(middle - half, middle + half, STEPS, axis=1), least[:, None], most[:, None]
        )
        compute, bandwidth = np.exp(grids[:2])
        errors = np.zeros((STEPS, STEPS, STEPS))
        for work, moved, time in zip(arithmetic, memory, seconds, strict=True):
            busy = np.maximum(work / compute[:, None], moved / bandwidth[None, :])
            errors += np.abs(np.log((busy[..., None] + grids[2]) / time + 1e-12))
        place = np.unravel_index(errors.argmin(), errors.shape)
        middle = grids[np.arange(3), place]
        half = half / 4
    return float(np.exp(middle[0])), float(np.exp(middle[1])), float(middle[2])
