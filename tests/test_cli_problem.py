"""The problem that files and flags make."""

import argparse
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from commands import CLUSTER, DEVICES, SHORT, WORKLOAD, strict

import stageplan as sp
from stageplan.cli.problem import _GOAL_NUMBERS, add_problem, make_problem
from stageplan.readers import read_goal

PROFILE = """\
node1 -- Input -- forward_compute_time=0.0, backward_compute_time=0.0, activation_size=0.0, parameter_size=0.0
node2 -- Line -- forward_compute_time=2.0, backward_compute_time=4.0, activation_size=8.0, parameter_size=9.0
\tnode1 -- node2
"""


@pytest.mark.parametrize(
    ("argv", "changed"),
    [
        (["--objective", "throughput"], {"objective": "throughput"}),
        (["--objective", "price"], {"objective": "price"}),
        (["--objective", "cost"], {}),
        (["--examples", "2e7"], {"examples": 2e7}),
        (["--min-throughput", "50"], {"min_throughput": 50.0}),
        (["--max-duration", "9e5"], {"max_duration": 9e5}),
        (["--max-cost", "1e3"], {"max_cost": 1e3}),
        (["--max-price", "99"], {"max_price": 99.0}),
        (["--merge", "type"], {"merge": "type"}),
        (["--merge", "type", "--split"], {"merge": "type", "split": True}),
        (["--split"], {"split": True}),
        (["--no-split"], {}),
        (["--no-overlap"], {"overlap": False}),
        (["--overlap"], {}),
        (["--max-devices-per-stage", "3"], {"max_devices_per_stage": 3}),
        (["--max-stages", "2"], {"max_stages": 2}),
        (["--same-strategy", "--same-replicas"], {"same_strategy": True, "same_replicas": True}),
        (["--equal-shares"], {"equal_shares": True}),
        (
            ["--schedule", "1f1b", "--microbatches", "2", "--batch", "4"],
            {"schedule": "1f1b", "microbatches": 2, "batch": 4},
        ),
    ],
)
def test_flags_replace_one_field_of_the_goal(run, argv, changed):
    _, out, _ = run("plan", "net.toml", *SHORT, *argv, "-o", "-")
    expected = msgspec.structs.replace(read_goal("net.toml"), **changed)
    assert msgspec.convert(strict(out)["goal"], sp.Goal) == expected


def test_cluster_flag_overrides_the_workloads_cluster(run):
    Path("dear.toml").write_text(CLUSTER.replace("price = ", "price = 1").replace('"types"', '"dear"'))
    _, out, _ = run("plan", "net.toml", *SHORT, "--cluster", "dear.toml")
    assert "net on dear" in out
    assert run("plan", "bare.toml", *SHORT, "--cluster", "types.toml")[0] == 0


def test_dnn_partitioning_brings_its_cluster_and_goal(run):
    nodes = [{"id": i, "cpuLatency": 9, "fpgaLatency": 1, "size": 1, "supportedOnFpga": 1} for i in range(3)]
    edges = [{"sourceId": i, "destId": i + 1, "cost": 1} for i in range(2)]
    graph = {"maxFPGAs": 2, "maxCPUs": 1, "maxSizePerFPGA": 9, "nodes": nodes, "edges": edges}
    Path("graph.json").write_text(json.dumps(graph))
    status, out, err = run("plan", "graph.json", *SHORT, "-o", "-")
    goal = strict(out)["goal"]
    assert (status, err) == (
        0,
        "stageplan: note: graph.json has no prices; each device is assumed to cost 1 $/hour\n",
    )
    assert (goal["objective"], goal["split"], goal["overlap"]) == ("throughput", True, False)


def test_devices_of_the_catalogue_replace_a_cluster(run):
    Path("mine.toml").write_text(DEVICES)
    Path("prices.csv").write_text(
        "AcceleratorName,AcceleratorCount,Region,Price\nSLOW,4,moon,2.0\nSlow,1,sun,0.1\n"
    )
    devices = ("--device", "slow:8", "--catalogue", "mine.toml", "--prices", "prices.csv", "--region", "moon")
    status, out, _ = run("plan", "net.toml", *devices, *SHORT, "-o", "-")
    plan = strict(out)
    assert status == 0
    assert plan["problem"] == "net on slow:8"
    assert plan["price"] == pytest.approx(0.5 * sum(stage["devices"] for stage in plan["stages"]))


PRICES = "AcceleratorName,AcceleratorCount,Region,Price\nSlow,1,sun,{}\n"


@pytest.mark.parametrize(
    ("price", "note"),
    [
        ("0", "the price of 'slow' is 0 $/hour; its devices cost nothing"),
        ("0.01", "the price of 'slow' is 0.01 $/hour; the catalogue's is 1"),
        ("0.3", None),
    ],
)
def test_listed_price_that_may_be_wrong_is_noted(run, price, note):
    Path("mine.toml").write_text(DEVICES)
    Path("prices.csv").write_text(PRICES.format(price))
    devices = ("--device", "slow:8", "--catalogue", "mine.toml", "--prices", "prices.csv")
    status, out, err = run("plan", "net.toml", *devices, *SHORT)
    assert (status, err) == (0, f"stageplan: note: {note}\n" if note else "")
    assert "slow" in out


@pytest.mark.parametrize("command", [("plan", "net.toml", *SHORT), ("pareto", "net.toml", "--points", 2)])
def test_price_of_0_in_a_cluster_is_noted(run, command):
    Path("types.toml").write_text(CLUSTER.replace("price = 3.0", "price = 0"))
    status, _, err = run(*command)
    assert (status, err) == (
        0,
        "stageplan: note: the price of 'fast' is 0 $/hour; its devices cost nothing\n",
    )


def test_gradients_without_a_batch_are_noted(run):
    Path("train.toml").write_text(
        'name = "train"\n[[layers]]\nname = "body"\ncompute = { fast = 1 }\ngradients = 4e9\n'
    )
    Path("linked.toml").write_text(
        'name = "linked"\n[[types]]\nname = "fast"\nprice = 3.0\nlimit = 8\nlink = 1e9\n'
    )
    command = ("plan", "train.toml", "--cluster", "linked.toml", *SHORT)
    left_out = "which replicas all-reduce gradients are left out\n"
    status, _, err = run(*command)
    assert (status, err) == (
        0, f"stageplan: note: the goal has no batch (--batch), so that the seconds in {left_out}"
    )  # fmt: skip
    assert run(*command, "--batch", "8")[2] == ""


def test_flags_of_the_schedule_and_the_plan(run):
    flags = {
        "schedule": "gpipe", "microbatches": 4, "batch": 8, "max_stages": 3,
        "whole_machines": True, "same_strategy": True, "same_replicas": False,
        "equal_shares": True,
    }  # fmt: skip
    argv = []
    for name, value in flags.items():
        flag = f"--{'no-' * (value is False)}{name.replace('_', '-')}"
        argv += [flag] if isinstance(value, bool) else [flag, str(value)]
    parser = argparse.ArgumentParser()
    add_problem(parser)
    arguments = parser.parse_args(["net.toml", "--cluster", "machines.toml", *argv])
    Path("machines.toml").write_text(CLUSTER.replace("price = 3.0", "price = 3.0\nmachine = 8"))
    goal = make_problem(arguments).goal
    assert {name: getattr(goal, name) for name in flags} == flags


def test_batch_divides_the_times(run):
    def cost(*argv):
        return strict(run("plan", "net.toml", *SHORT, "--min-throughput", 1, *argv, "-o", "-")[1])["cost"]

    assert cost("--workload-batch", 2) == pytest.approx(cost() / 2)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ("plan net.toml --objective fun", "argument --objective: invalid choice: 'fun'"),
        ("plan net.toml --merge some", "argument --merge: invalid choice: 'some'"),
        ("plan net.toml --max-devices-per-stage 0", "--max-devices-per-stage is 0; it must be"),
        ("plan net.toml --workload-batch 0", "batch is 0"),
        ("plan net.toml --workload-batch nan", "batch is nan"),
        (
            "plan net.toml --schedule 1f1b --batch 8",
            "microbatches is absent; it must be given with a schedule",
        ),
        ("plan net.toml --microbatches 4", "microbatches is 4; it must be absent without a schedule"),
        (
            "plan net.toml --schedule gpipe --microbatches 4 --batch 6",
            "batch is 6; it must be a multiple of microbatches, 4",
        ),
        ("plan net.toml --batch 0", "batch is 0; it must be a whole number from 1 to 2**53"),
        ("plan net.toml --max-stages 0", "--max-stages is 0; it must be a whole number from 1 to 2**31 - 1"),
        ("plan net.toml --whole-machines", "machine must be given"),
        (
            "plan bare.toml",
            "names no cluster; it must hold a cluster, or --cluster or --device must be given",
        ),
        (
            "plan profile.txt",
            "names no cluster; it must hold a cluster, or --cluster or --device must be given",
        ),
        ("plan nowhere.toml", "nowhere.toml: There is no such file"),
        ("plan nothing", "nothing: There is no such file or built-in example (bert-large, "),
        ("plan .", ".: Is a directory"),
        ("plan types.toml", "types.toml: it holds a cluster; it must hold a workload"),
        ("plan broken.toml", "broken.toml: "),
        ("plan net.toml --cluster bare.toml", "bare.toml: it holds a workload"),
        ("plan net.toml --cluster nowhere.toml", "nowhere.toml: There is no such file"),
        ("plan bare.toml --cluster gpus", "layer 'a' has no time on device type 't4'"),
        ("plan net.toml --device song:2", "--device is 'song:2'; its name must be one of t4, "),
        ("plan net.toml --device t4:2", "layer 'a' has no time on device type 't4'"),
        (
            "plan net.toml --device t4:2 --cluster gpus",
            "--cluster is gpus; it must not be given with --device",
        ),
        ("plan net.toml --prices x.csv", "--prices requires --device; at least one device must be given"),
        ("plan net.toml --device t4 --region here", "--region requires a price list; prices must be given"),
        ("plan net.toml --device t4 --prices x.csv", "x.csv: No such file or directory"),
        ("score nothing rows.npy", "nothing: There is no such file or built-in example"),
    ],
)
def test_bad_input_is_one_sentence(refused, argv, sentence):
    Path("broken.toml").write_text("name = \n")
    Path("profile.txt").write_text(PROFILE)
    assert sentence in refused(*argv.split())


@pytest.mark.parametrize("value", ["nan", "inf", "0", "-1"])
@pytest.mark.parametrize("flag", [f"--{name.replace('_', '-')}" for name in _GOAL_NUMBERS])
def test_bad_numbers_name_their_flag(refused, flag, value):
    assert refused("plan", "net.toml", flag, value).startswith(f"{flag} is {value}")


def test_errors_have_no_notes(run):
    Path("types.toml").write_text(CLUSTER.replace("price = 3.0", "price = 0"))
    np.save("schemes.npy", np.zeros((1, 1), np.int8))
    for command in (
        ("plan", "--threads", 1_000_000, "--method", "random"),
        ("plan", "--merge", "type", "--batch", 2),
        ("plan", "--population", 1, "--method", "genetic"),
        ("pareto", "--points", 1),
        ("score", "schemes.npy"),
    ):
        name, *flags = command
        status, out, err = run(name, "net.toml", "--cluster", "types.toml", *flags)
        assert (status, out) == (2, "")
        assert err.startswith("stageplan: error: ")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ("--device", "l4:8", "--pricing", "spot"),
            "--device l4 has no spot price in the catalogue; give one as in l4:8@1.50, or a price list "
            "(--prices), or --pricing on-demand",
        ),
        (
            ("--device", "mi355x", "--pricing", "reserved"),
            "--device mi355x has no reserved price in the catalogue; give one as in mi355x@1.50, or",
        ),
        (
            ("--device", "l4:8", "--prices", "list.csv", "--pricing", "spot"),
            "--device l4 has no spot price in list.csv; give one as in l4:8@1.50, or --pricing on-demand",
        ),
        (
            ("--device", "l4:8", "--prices", "list.csv"),
            "--device l4 has no on-demand price in list.csv; give one as in l4:8@1.50",
        ),
    ],
)
def test_a_device_without_a_price_is_refused(refused, flags, sentence):
    Path("list.csv").write_text("AcceleratorName,AcceleratorCount,Region,Price,SpotPrice\nH100,1,x,1.0,0.5\n")
    assert refused("plan", "net.toml", *flags).startswith(sentence)


def test_other_prices_than_those_on_demand_are_noted(run):
    Path("priced.toml").write_text(WORKLOAD.replace('cluster = "types.toml"', "").replace("slow", "h100-sxm"))
    argv = ("plan", "priced.toml", *SHORT, "--device")
    note = "note: the prices of devices are spot prices\n"
    assert note in run(*argv, "h100-sxm:8", "--pricing", "spot")[2]
    assert note not in run(*argv, "h100-sxm:8")[2]
    assert note not in run(*argv, "h100-sxm:8@2", "--pricing", "spot")[2]


def test_prices_of_a_kind(run):
    argv = ("plan", "priced.toml", *SHORT, "--device", "h100-sxm:8", "-o", "-")
    Path("priced.toml").write_text(WORKLOAD.replace('cluster = "types.toml"', "").replace("slow", "h100-sxm"))
    catalogue = sp.read_devices()["h100-sxm"]
    for pricing, price in (("spot", catalogue.spot.price), ("reserved", catalogue.reserved.price)):
        plan = strict(run(*argv, "--pricing", pricing)[1])
        assert plan["price"] == pytest.approx(price * sum(stage["devices"] for stage in plan["stages"]))
    listed = "AcceleratorName,AcceleratorCount,Region,Price\nH100,1,x,1.0\nH100,8,x,16.0\n"
    Path("list.csv").write_text(listed)
    whole = strict(run(*argv, "--prices", "list.csv", "--whole-machines")[1])
    assert whole["price"] == 16.0
    assert strict(run(*argv, "--prices", "list.csv")[1])["price"] < 8.0


def test_a_table_of_measured_stages_is_planned(run):
    Path("lab.toml").write_text('name = "lab"\n[[types]]\nname = "gpu"\nprice = 2.0\nlimit = 3\n')
    Path("stages.csv").write_text(
        "first,last,type,devices,time\n0,0,gpu,1,2.0\n1,1,gpu,1,3.0\n1,1,gpu,2,1.6\n0,1,gpu,3,\n"
    )
    command = ("plan", "stages.csv", "--cluster", "lab.toml", "--objective", "throughput", "--split")
    status, out, _ = run(*command, "-o", "-")
    assert status == 0
    assert [stage["devices"] for stage in json.loads(out)["stages"]] == [1, 2]


def test_measured_stages_have_no_cluster_and_no_batch_of_their_own(refused):
    Path("stages.csv").write_text("first,last,type,devices,time\n0,0,gpu,1,2.0\n")
    assert "--cluster or --device must be given" in refused("plan", "stages.csv")
    assert refused("plan", "stages.csv", "--workload-batch", "4").startswith("--workload-batch is given; ")
