"""Devices: their fields, their rooflines, the device types made of them."""

import pytest

import stageplan as sp

FIELDS = {"name": "x", "peak": {"fp32": 2e12}, "memory": 10e9, "memory_bandwidth": 1e11}


def device(**changes):
    return sp.Device(**FIELDS | changes)


def test_the_slower_of_arithmetic_and_memory_determines_the_time():
    chip = device(compute_fraction=0.5, bandwidth_fraction=0.8)
    assert chip.seconds(3e12, 0, "fp32") == pytest.approx(3.0)
    assert chip.seconds(3e12, 1e11, "fp32") == pytest.approx(3.0)
    assert chip.seconds(3e12, 4e11, "fp32") == pytest.approx(5.0)
    assert chip.seconds(0, 0, "fp32") == 0


def test_the_fractions_are_assumed_where_they_are_not_given():
    assert device().seconds(2e12, 0, "fp32") == pytest.approx(1 / 0.4)
    assert device().seconds(0, 1e11, "fp32") == pytest.approx(1 / 0.7)


def test_a_precision_has_an_efficiency_of_its_own_and_kinds_of_operations_a_fraction():
    efficiency = {"fp32": {"compute_fraction": 0.8, "bandwidth_fraction": 0.5, "training_fraction": 0.4}}
    chip = device(peak={"fp32": 2e12, "fp16": 4e12}, efficiency={"fp32": sp.Efficiency(**efficiency["fp32"])})
    assert chip.seconds(2e12, 0, "fp32") == pytest.approx(1 / 0.8)
    assert chip.seconds(2e12, 0, "fp32", train=True) == pytest.approx(1 / 0.4)
    assert chip.seconds(2e12, 0, "fp32", "attention", train=True) == pytest.approx(1 / 0.4)
    assert chip.seconds(0, 1e11, "fp32") == pytest.approx(1 / 0.5)
    assert chip.seconds(4e12, 0, "fp16", "attention") == pytest.approx(1 / 0.4)
    kinds = sp.Efficiency(**efficiency["fp32"] | {"attention_fraction": 0.25, "convolution_fraction": 0.1})
    chip = device(efficiency={"fp32": kinds})
    assert chip.seconds(2e12, 0, "fp32", "attention", train=True) == pytest.approx(4)
    assert chip.seconds(2e12, 0, "fp32", "convolution") == pytest.approx(10)
    assert chip.seconds(2e12, 0, "fp32") == pytest.approx(1 / 0.8)


def test_an_efficiency_without_a_peak_is_refused():
    efficiency = {"fp16": sp.Efficiency(compute_fraction=0.5, bandwidth_fraction=0.5)}
    with pytest.raises(
        ValueError, match=r"efficiency has 'fp16'; it must have precisions of peak alone: fp32"
    ):
        device(efficiency=efficiency)
    with pytest.raises(
        ValueError, match=r"compute_fraction is 0; it must be a fraction more than 0, at most 1"
    ):
        sp.Efficiency(compute_fraction=0, bandwidth_fraction=0.5)


def test_every_operation_takes_the_seconds_of_a_kernel():
    assert device(kernel_seconds=1e-6).seconds(0, 0, "fp32") == 1e-6
    assert device(kernel_seconds=1.0).seconds(2e12, 0, "fp32") == pytest.approx(1 + 1 / 0.4)


def test_an_all_reduce_takes_its_latency_and_a_ring():
    chip = device(link=1e11, link_latency=1e-5, link_fraction=0.5, per_machine=8)
    assert chip.all_reduce_seconds(1e9, 4) == pytest.approx(1e-5 + 1.5e9 / 5e10)
    assert chip.all_reduce_seconds(0, 2) == 1e-5
    assert chip.all_reduce_seconds(1e9, 1) == 0
    with pytest.raises(ValueError, match=r"devices is 9; it must be a whole number, at least 1, at most 8"):
        chip.all_reduce_seconds(1, 9)
    with pytest.raises(ValueError, match=r"link of x is None; it must be given for an all-reduce"):
        device(per_machine=2).all_reduce_seconds(1, 2)


def test_a_precision_without_units_is_refused():
    with pytest.raises(ValueError, match=r"^precision is 'fp8'; it must be one that x has: fp32$"):
        device().seconds(1, 1, "fp8")


@pytest.mark.parametrize("numbers", [(-1.0, 0.0), (0.0, float("nan")), (float("inf"), 0.0)])
def test_bad_work_is_refused(numbers):
    with pytest.raises(ValueError, match=r"^(flops|bytes) is .*; it must be a finite number, at least 0$"):
        device().seconds(*numbers, "fp32")


def test_a_device_type_keeps_a_tenth_of_the_memory_free_and_passes_tensors_over_the_network():
    type_ = device(price=2.0, network=5e9, link=9e10).to_type(limit=3)
    assert type_ == sp.DeviceType(
        name="x", price=2.0, limit=3, capacity=9e9, bandwidth=5e9, machine=1, link=0.8 * 9e10, network=5e9
    )
    assert device(price=2.0).to_type(price=0.0).price == 0.0
    assert device(price=2.0).to_type().limit is None


def test_a_price_must_be_known():
    with pytest.raises(ValueError, match=r"price of x is not known; it must be given, as in x:8@1\.50"):
        device().to_type(8)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "a b"}, "name is 'a b'; it must be text without white space, colon or at sign"),
        ({"name": "a:8"}, "name is 'a:8'"),
        ({"peak": {}}, "peak has 0 items"),
        ({"peak": {"fp64": 1e12}}, r"peak\['fp64'\] is .*; peak must be a table of FLOP/s"),
        ({"peak": {"fp32": 0.0}}, r"peak\['fp32'\] is 0.0"),
        ({"memory": -1.0}, "memory is -1.0; it must be more than 0 bytes and finite"),
        ({"memory_bandwidth": 0.0}, "memory_bandwidth is 0.0"),
        ({"network": -1.0}, "network is -1.0; it must be more than 0 bytes/s and finite"),
        ({"per_machine": 0}, "per_machine is 0; it must be a whole number of devices from 1 to"),
        ({"price": -0.1}, r"price is -0.1; it must be 0 or more \$/hour and finite"),
        ({"kernel_seconds": -1.0}, "kernel_seconds is -1.0; it must be 0 or more seconds and finite"),
        ({"launch_seconds": -1.0}, "launch_seconds is -1.0; it must be 0 or more seconds"),
        ({"link_fraction": 0.0}, "link_fraction is 0.0; it must be a fraction more than 0, at most 1"),
        ({"compute_fraction": 1.5}, "compute_fraction is 1.5; it must be a fraction more than 0, at most 1"),
    ],
)
def test_bad_fields_are_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        device(**changes)


def test_a_device_tells_what_it_is():
    assert str(device(price=1.5)) == ("x (x): FLOP/s fp32 2e+12; 1e+10 bytes at 1e+11 bytes/s; 1.5 $/hour")
    assert str(device(title="Chip X")).endswith("price not known")
