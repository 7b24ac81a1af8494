"""Which names a measurement on this machine may have."""

import pytest

import stageplan as sp
from stageplan.profiling import machine
from stageplan.profiling.machine import check_measured, hardware_name

OWN = hardware_name("cpu")


def device(*names):
    return {
        "x": sp.Device(name="x", peak={"fp32": 1e9}, memory=1e9, memory_bandwidth=1e9, hardware_names=names)
    }


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(machine, "_gpu", lambda: "NVIDIA H200")


def test_a_processor_has_a_name():
    assert OWN
    assert OWN.strip() == OWN


def test_the_name_is_where_it_is_measured_or_a_device_that_this_machine_is():
    check_measured("cpu", "cpu", {})
    check_measured("x", "cpu", device("another", OWN.upper()))


@pytest.mark.usefixtures("gpu")
def test_a_gpu_is_the_device_of_its_name():
    check_measured("cuda", "cuda", {})
    check_measured("h200", "cuda", sp.read_devices())
    words = (
        "^measure is 'h100-sxm', which calls itself 'NVIDIA H100 80GB HBM3', but this machine's GPU calls "
        "itself 'NVIDIA H200'; it must be 'cuda' or a device with that name$"
    )
    with pytest.raises(ValueError, match=words):
        check_measured("h100-sxm", "cuda", sp.read_devices())


@pytest.mark.parametrize(
    ("measure", "on", "known", "words"),
    [
        ("here", "cpu", {}, "measure is 'here'; it must be 'cpu' or the name of a device of the catalogue"),
        ("cuda", "cpu", {}, "measure is 'cuda'; it must be 'cpu'"),
        ("", "cpu", {}, "measure is ''; it must be 'cpu'"),
        (3, "cpu", {}, "measure is 3; it must be 'cpu'"),
        ("x", "cpu", device(), "measure is 'x', which has no hardware_names, but this machine's processor"),
        ("x", "cpu", device("A", "B"), "measure is 'x', which calls itself 'A' or 'B', but this machine's"),
        ("x", "cpu", device(OWN[:-1]), "measure is 'x', which calls itself"),
    ],
)  # fmt: skip
def test_other_names_are_refused(measure, on, known, words):
    with pytest.raises(ValueError, match=words):
        check_measured(measure, on, known)


def test_a_gpu_must_be_there(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        ValueError, match=r"^on is 'cuda', but there is no GPU here that torch can use; it must be"
    ):
        check_measured("cuda", "cuda", {})


def test_no_two_devices_of_the_catalogue_have_one_name():
    names = [name.casefold() for device in sp.read_devices().values() for name in device.hardware_names]
    assert len(names) == len(set(names)) > 0
