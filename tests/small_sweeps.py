"""What tests of sweeps share: a small workload, a cluster, sweeps of them, and the files of chunks."""

import msgspec

import stageplan as sp

LAYERS = {"a": (4.0, 1.0), "b": (2.0, 1.0), "c": (1.0, 2.0)}
NET = sp.Workload(
    name="net",
    layers=[
        sp.Layer(name=name, compute={"slow": slow, "fast": fast}) for name, (slow, fast) in LAYERS.items()
    ],
)
LAB = sp.Cluster(
    name="lab",
    types=[sp.DeviceType(name="slow", price=1.0, limit=2), sp.DeviceType(name="fast", price=3.0, limit=2)],
)
FILE = """
name = "prices"
chunk = 3
[product]
workload = "net.json"
cluster = "lab.json"
examples = 3600
method = ["exact", "greedy"]
min_throughput = { from = 0.1, to = 0.5, points = 3 }
[[zip]]
price.fast = [2, 3]
price.slow = [0.5, 1]
"""


def made(**changes):
    """Make 12 set-ups of 4 chunks, six of them by method exact and six by greedy."""
    axes = {
        "workload": NET,
        "cluster": LAB,
        "examples": 3600.0,
        "method": ["exact", "greedy"],
        "min_throughput": {"from": 0.1, "to": 0.5, "points": 3},
    }
    zipped = {"price": {"fast": [2, 3], "slow": [0.5, 1]}}
    return sp.Sweep.of(axes | changes, [zipped], name="prices", chunk=3)


def write_files(folder):
    """Write the same sweep to sweep.toml, and what it names."""
    (folder / "net.json").write_bytes(msgspec.json.encode(NET))
    (folder / "lab.json").write_bytes(msgspec.json.encode(LAB))
    (folder / "sweep.toml").write_text(FILE)


def contents(directory):
    """Return the files of all chunks by their names, without what killed workers left."""
    return {path.name: path.read_bytes() for path in sorted((directory / "chunks").glob("[!.]*"))}
