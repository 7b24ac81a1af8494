"""Efficiency of a device from measured kernels."""

import msgspec
import numpy as np
import pytest

import stageplan as sp
from stageplan.profiling.fit_efficiency import MeasuredKernel, MeasuredKernels, fit_efficiency

A100 = sp.read_devices()["a100-80g"]
SIZES = [(m, n) for m in (1, 16, 256, 4096) for n in (512, 2048, 8192)]
TRUE = msgspec.structs.replace(
    A100,
    efficiency={"bf16": sp.Efficiency(compute_fraction=0.63, bandwidth_fraction=0.81)},
    kernel_seconds=7e-6,
)


def measured(noise=0.0, sizes=SIZES, precision="bf16"):
    random = np.random.default_rng(1)
    kernels = []
    for m, n in sizes:
        flops, moved = 2.0 * m * n * n, 2.0 * (n * n + 2 * m * n)
        seconds = TRUE.seconds(flops, moved, "bf16") * np.exp(noise * random.normal())
        kernels.append(MeasuredKernel(flops=flops, bytes=moved, seconds=seconds))
    return MeasuredKernels(device="a100-80g", precision=precision, kernels=kernels)


def test_the_numbers_that_made_the_times_are_found():
    fit = fit_efficiency(A100, measured())
    found = fit.device.efficiency["bf16"]
    assert found.compute_fraction == pytest.approx(0.63, rel=0.02)
    assert found.bandwidth_fraction == pytest.approx(0.81, rel=0.03)
    assert fit.device.kernel_seconds == pytest.approx(7e-6, rel=0.05)
    assert fit.median_error < 0.01
    assert fit.device.efficiency["fp32"] == A100.efficiency["fp32"]


def test_kernels_that_were_not_fitted_are_predicted():
    fit = fit_efficiency(A100, measured(noise=0.05))
    others = measured(sizes=[(m, n) for m in (4, 64, 1024) for n in (1024, 4096)])
    for kernel in others.kernels:
        assert fit.device.seconds(kernel.flops, kernel.bytes, "bf16") == pytest.approx(
            kernel.seconds, rel=0.1
        )


def test_a_fraction_that_limits_nothing_stays():
    fit = fit_efficiency(A100, measured(sizes=[(1, 4096), (1, 8192), (2, 8192)]))
    assert fit.device.efficiency["bf16"].compute_fraction == A100.efficiency["bf16"].compute_fraction


def test_a_precision_that_the_device_does_not_have_is_refused():
    with pytest.raises(ValueError, match=r"precision is 'fp8'; it must be one that a100-80g has: fp32, "):
        fit_efficiency(A100, measured(precision="fp8"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kernels": ()}, "kernels has 0 items; it must be a list of 3 kernels or more"),
        ({"device": ""}, "device"),
        ({"precision": "fp64"}, "precision is 'fp64'; it must be a precision of the device"),
    ],
)
def test_bad_measurements_are_refused(changes, sentence):
    fields = msgspec.structs.asdict(measured())
    with pytest.raises(ValueError, match=sentence):
        MeasuredKernels(**fields | changes)


def test_a_kernel_with_numbers_that_are_not_allowed_is_refused():
    with pytest.raises(ValueError, match=r"flops is inf; it must be 0 or more and finite"):
        MeasuredKernel(flops=float("inf"), bytes=1.0, seconds=1.0)
    with pytest.raises(ValueError, match=r"seconds is 0.0; it must be more than 0 and finite"):
        MeasuredKernel(flops=1.0, bytes=1.0, seconds=0.0)
