"""Files of sweeps over problems of the main family."""

from pathlib import Path

import msgspec

import stageplan as sp
from benchmarks.support.instances import family

AXES = """
chunk = {chunk}
[product]
workload = "net.json"
cluster = "lab.json"
examples = 3600
min_throughput = {{ from = 0.5, to = 1.5, points = {targets} }}
price.type0 = {{ from = 0.5, to = 1.5, points = {prices} }}
"""


def write_sweep(folder: Path, L: int, T: int, targets: int, prices: int, chunk: int) -> Path:
    """Write a sweep over throughput targets and prices, its workload and its cluster; return its file."""
    problem = family(L, T)
    names = problem.type_names

    def by_type(row):
        return dict(zip(names, row.tolist(), strict=True))

    layers = [
        sp.Layer(
            name=name,
            compute=by_type(problem.compute[i]),
            send=by_type(problem.send[i]),
            compute_parallel=by_type(problem.compute_parallel[i]),
        )
        for i, name in enumerate(problem.layer_names)
    ]
    rows = zip(names, problem.price.tolist(), problem.transfer_parallel.tolist(), strict=True)
    types = [
        sp.DeviceType(name=name, price=price, transfer_parallel=parallel) for name, price, parallel in rows
    ]
    (folder / "net.json").write_bytes(msgspec.json.encode(sp.Workload(name="net", layers=layers)))
    (folder / "lab.json").write_bytes(msgspec.json.encode(sp.Cluster(name="lab", types=types)))
    (folder / "sweep.toml").write_text(AXES.format(targets=targets, prices=prices, chunk=chunk))
    return folder / "sweep.toml"
