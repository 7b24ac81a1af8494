"""Clusters of devices of the catalogue, and the built-in catalogue itself."""

from math import inf

import msgspec
import pytest

import stageplan as sp
from stageplan.catalogue import device_table
from stageplan.device import PRECISIONS
from stageplan.output import to_text

NO_PRICE = {
    "b300", "gb200", "gb300", "mi325x", "mi355x", "rtx5090", "rtx-pro-6000", "tpu-v7", "trainium2", "gaudi3",
    "m4-max", "m3-ultra",
}  # fmt: skip
CATALOGUE = {
    "fast": sp.Device(
        name="fast", peak={"fp16": 4e14}, memory=8e10, memory_bandwidth=2e12, link=3e11, network=6e9,
        per_machine=8, price=4.0,
    ),
    "slow": sp.Device(name="slow", peak={"fp16": 6e13}, memory=1.6e10, memory_bandwidth=3e11, network=6e8),
}  # fmt: skip


def test_a_cluster_of_names_counts_and_prices():
    cluster = sp.make_cluster(["fast:16", "slow@0.35"], CATALOGUE)
    assert cluster.name == "fast:16 slow@0.35"
    assert cluster.types == (
        sp.DeviceType(
            name="fast",
            price=4.0,
            limit=16,
            capacity=7.2e10,
            bandwidth=6e9,
            machine=8,
            link=0.8 * 3e11,
            network=6e9,
        ),
        sp.DeviceType(name="slow", price=0.35, capacity=1.44e10, bandwidth=6e8, machine=1, network=6e8),
    )


def test_replicas_reduce_over_the_link_in_a_machine_and_over_the_network_beyond():
    devices = sp.read_devices()
    gradients, batch = 1e9, 16
    layer = sp.Layer(name="x", compute={"h100-sxm": 1.0, "l4": 9.0}, gradients=gradients)
    workload = sp.Workload(name="one", layers=[layer])
    for replicas, name in ((1, None), (8, "link"), (16, "network")):
        most = {"max_devices_per_stage": replicas, "batch": batch, "objective": "throughput"}
        problem = sp.Problem(workload, sp.make_cluster(["h100-sxm:16", "l4:1"]), sp.Goal(**most))
        stage = sp.solve(problem, "exact").plan.stages[0]
        h100 = devices["h100-sxm"]
        rate = {None: inf, "link": h100.link_fraction * h100.link, "network": h100.network}[name]
        assert (stage.type, stage.devices) == ("h100-sxm", replicas)
        assert stage.sync == pytest.approx(2 * (replicas - 1) / replicas * gradients / rate / batch)
    for name, device in devices.items():
        problem = sp.Problem(workload_on(name), sp.make_cluster([f"{name}@1"]))
        assert problem.machine.tolist() == [device.per_machine]
        link = inf if device.link is None else device.link_fraction * device.link
        assert (problem.link is None) == (device.link is None) or problem.link[0] == link
        assert problem.network.tolist() == [device.network]


def workload_on(name):
    return sp.Workload(name="one", layers=[sp.Layer(name="x", compute={name: 1.0})])


def test_tensors_stay_in_the_machine_where_one_type_fits_into_it():
    def bandwidth(*specs):
        return sp.make_cluster(specs, CATALOGUE).types[0].bandwidth

    assert bandwidth("fast:8") == 3e11
    assert bandwidth("fast:9") == bandwidth("fast") == bandwidth("fast:8", "slow:1@1") == 6e9
    assert bandwidth("slow:1@1") == 6e8  # there is no link to stay on


def test_the_built_in_catalogue_is_the_default():
    types = sp.make_cluster(["a100-80g:8", "t4:16@0.35"]).types
    assert [(type_.name, type_.limit, type_.price) for type_ in types] == [
        ("a100-80g", 8, sp.read_devices()["a100-80g"].price),
        ("t4", 16, 0.35),
    ]


@pytest.mark.parametrize(
    ("specs", "sentence"),
    [
        (["fast:"], "device is 'fast:'; it must be NAME, NAME:COUNT or NAME:COUNT@PRICE"),
        (["fast:-1"], "device is 'fast:-1'; it must be NAME"),
        (["fast:1.5"], "device is 'fast:1.5'; it must be NAME"),
        (["fast@1@2"], "device is 'fast@1@2'; it must be NAME"),
        ([""], "device is ''; it must be NAME"),
        ([7], "device is 7; it must be NAME"),
        (["fast@cheap"], r"device is 'fast@cheap'; its price must be a number of \$/hour"),
        (["fast@-1"], "price is -1.0; it must be 0 or more"),
        (["fast@nan"], "price is nan; it must be 0 or more"),
        (["quick:8"], "device is 'quick:8'; its name must be one of fast, slow"),
        (["slow:2"], "price of slow is not known; it must be given, as in slow:8@1.50"),
        (["fast:1", "fast:2"], "types.1..name is 'fast'; it must differ"),
        ([], "types has 0 items; it must be a list of 1 device type or more"),
    ],
)
def test_bad_specs_are_refused(specs, sentence):
    with pytest.raises(ValueError, match=sentence):
        sp.make_cluster(specs, CATALOGUE)


def test_a_text_is_not_a_list_of_specs():
    with pytest.raises(TypeError, match="specs is 'fast:8'; it must be a list of texts"):
        sp.make_cluster("fast:8", CATALOGUE)


def test_every_built_in_device_says_where_its_numbers_come_from():
    devices = sp.read_devices()
    assert {"t4", "l4", "a10g", "v100-32g", "a100-80g", "l40s", "h100-sxm", "h200", "b200", "mi300x"} <= set(
        devices
    )
    assert {"tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e", "tpu-v7"} <= set(devices)
    assert {"b300", "gb200", "gb300", "mi325x", "mi355x", "trainium2", "gaudi3", "a10", "rtx5090"} <= set(
        devices
    )
    for device in devices.values():
        assert device.title
        assert len(device.source) > 20
        assert device.date == "2026-11"
        assert device.price is not None or device.name in NO_PRICE
        assert device.network is not None
        assert (device.link is not None) == (device.per_machine > 1)


def test_the_built_in_numbers_are_dense_and_in_their_units():
    """A slip of a power of ten, or a sparse peak, falls out of the row."""
    for device in sp.read_devices().values():
        peaks = [
            device.peak[precision]
            for precision in ("fp32", "tf32", "fp16", "fp8")
            if precision in device.peak
        ]
        assert peaks == sorted(peaks)
        for narrow, wide in (("fp8", "bf16"), ("int8", "bf16")):
            if {narrow, wide} <= set(device.peak):
                assert 1 <= device.peak[narrow] / device.peak[wide] <= 4.1
        assert 5 <= max(device.peak.values()) / device.memory_bandwidth <= 2000
        assert device.network <= (device.link or device.memory_bandwidth) <= device.memory_bandwidth
        assert device.price is None or 0.05 <= device.price <= 20
    assert sp.read_devices()["a100-80g"].peak["bf16"] == 312e12
    assert sp.read_devices()["h100-sxm"].peak["fp8"] == 1979e12


def test_a_catalogue_goes_to_json_and_back(tmp_path):
    path = tmp_path / "mine.json"
    path.write_bytes(msgspec.json.encode({"devices": list(sp.read_devices().values())}))
    assert sp.read_devices(path) == sp.read_devices()


def test_efficiencies_are_read_and_checked(tmp_path):
    path = tmp_path / "mine.toml"
    text = """
        [[devices]]
        name = "mine"
        peak = { bf16 = 1e14 }
        memory = 1e10
        memory_bandwidth = 1e12
        efficiency.bf16 = { compute_fraction = COMPUTE, bandwidth_fraction = 0.5 }
    """
    path.write_text(text.replace("COMPUTE", "0.75"))
    assert sp.read_devices(path)["mine"].seconds(1e14, 0, "bf16") == 1 / 0.75
    path.write_text(text.replace("COMPUTE", "2"))
    with pytest.raises(ValueError, match=r"efficiency\.bf16\.compute_fraction is 2; it must be a fraction"):
        sp.read_devices(path)
    path.write_text(text.replace("efficiency.bf16", "efficiency.fp64").replace("COMPUTE", "0.75"))
    with pytest.raises(ValueError, match=r"efficiency.*fp64.* must be a table of efficiencies by precision"):
        sp.read_devices(path)


def test_the_table_names_every_device_and_peak():
    table = to_text(device_table(CATALOGUE))
    head, fast, slow, units, precisions, peaks, _, unit = table.splitlines()
    fields = ["device", "$/h", "spot", "reserved", "GB", "memory", "link", "network", "machine"]
    assert head.split() == fields
    assert fast.split() == ["fast", "4", "-", "-", "80", "2000", "300", "6", "8"]
    assert slow.split()[1] == "-"
    assert precisions.split() == ["device", *PRECISIONS]
    assert peaks.split() == ["fast", "-", "-", "400", "-", "-", "-"]
    assert "GB/s" in units
    assert "TFLOP/s" in unit
