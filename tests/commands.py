"""What tests of commands share: a small problem in files, and what reads their output."""

import json

import msgspec

import stageplan as sp
from stageplan.readers import read_cluster, read_goal, read_workload

WORKLOAD = """
name = "net"
cluster = "types.toml"
[[layers]]
name = "a"
compute = { slow = 0.004, fast = 0.001 }
memory = 10.0
[[layers]]
name = "b"
compute = { slow = 0.002, fast = 0.001 }
[[layers]]
name = "c"
compute = { slow = 0.001, fast = 0.002 }
[goal]
min_throughput = 300.0
"""
CLUSTER = """
name = "types"
[[types]]
name = "slow"
price = 1.0
limit = 8
[[types]]
name = "fast"
price = 3.0
limit = 4
"""
DEVICES = """
[[devices]]
name = "slow"
peak = { fp32 = 1e12 }
memory = 1e9
memory_bandwidth = 1e10
price_names = ["Slow"]
price = 1.0
"""
SHORT = ("--max-generations", "3", "--population", "16")


def strict(text):
    """Decode JSON that has no NaN and no Infinity."""

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def problem(**goal):
    return sp.Problem(
        read_workload("net.toml"),
        read_cluster("types.toml"),
        msgspec.structs.replace(read_goal("net.toml"), **goal),
    )


def fail(error):
    def fail(*_, **__):
        raise error

    return fail
