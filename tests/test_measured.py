"""Problems from measured stages: tables, arrays and files."""

from typing import Any

import numpy as np
import pytest

import stageplan as sp

NAN = float("nan")
LAB = sp.Cluster(
    name="lab",
    types=[sp.DeviceType(name="a100", price=4.0, limit=4), sp.DeviceType(name="t4", price=0.5, limit=8)],
)
FASTEST = sp.Goal(objective="throughput", split=True)
CSV = """first,last,type,devices,time,memory
0,0,a100,1,1.0,4e9
0,1,a100,2,1.5,6e9
1,1,a100,1,1.25,3e9
0,0,t4,1,8.0,4e9
1,1,t4,2,,3e9
"""


def seconds(rng: np.random.Generator, layers: int = 3, holes: float = 0.3) -> np.ndarray:
    """Draw times by first layer, last layer, type and devices, with holes; single layers have them all."""
    time = rng.uniform(1, 4, (layers, layers, 2, 3))
    time[rng.random(time.shape) < holes] = NAN
    for layer in range(layers):
        time[layer, layer] = rng.uniform(1, 4, (2, 3))
    return time


def by_hand(time: np.ndarray, devices: Any, cluster: sp.Cluster) -> float:
    """Find the fastest plan by trying all splits, types and devices."""
    layers, _, types, ks = time.shape
    limits = tuple(type_.limit for type_ in cluster.types)

    def fastest(first: int, left: tuple[int, ...]) -> float:
        if first == layers:
            return 0.0
        found = np.inf
        for last in range(first, layers):
            for t in range(types):
                for k in range(ks):
                    if np.isnan(time[first, last, t, k]) or devices[k] > left[t]:
                        continue
                    rest = tuple(n - devices[k] * (t == u) for u, n in enumerate(left))
                    found = min(found, max(time[first, last, t, k], fastest(last + 1, rest)))
        return found

    return fastest(0, limits)


@pytest.mark.parametrize("seed", range(5))
def test_an_array_with_holes_is_planned_as_by_hand(seed):
    time = seconds(np.random.default_rng(seed))
    problem = sp.Problem.from_measured(time, LAB, FASTEST, devices=[1, 2, 4])
    result = sp.solve(problem, "exact")
    assert result.status == "optimal"
    assert result.plan.time == by_hand(time, [1, 2, 4], LAB)
    sp.verify(problem, result.plan)
    assert len(problem.options.time) == np.isfinite(time[np.triu_indices(3)]).sum()


def test_devices_and_memory_may_differ_by_type():
    time = np.full((1, 1, 2, 2), 2.0)
    problem = sp.Problem.from_measured(time, LAB, devices=[[1, 2], [4, 8]], memory=time * 1e9)
    assert problem.options.devices.tolist() == [1, 2, 4, 8]
    assert problem.options.memory.tolist() == [2e9] * 4
    assert problem.type_names == ("a100", "t4")


def test_a_file_and_its_columns_give_the_same_problem(tmp_path):
    file = tmp_path / "stages.csv"
    file.write_text(CSV)
    problem = sp.Problem.from_measured(file, LAB, FASTEST)
    columns = {
        "first": [0, 0, 1, 0, 1], "last": [0, 1, 1, 0, 1], "type": ["a100", 0, "a100", "t4", "1"],
        "devices": [1, 2, 1, 1, 2], "time": [1.0, 1.5, 1.25, 8.0, NAN], "memory": [4e9, 6e9, 3e9, 4e9, 3e9],
    }  # fmt: skip
    assert problem.options == sp.Problem.from_measured(columns, LAB, FASTEST).options
    assert [(s.layers, s.devices) for s in sp.solve(problem).plan.stages] == [((0,), 1), ((1,), 1)]
    assert np.isinf(problem.compute[1, 1])


def test_parquet_is_read(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "stages.csv").write_text(CSV)
    csv = sp.Problem.from_measured(tmp_path / "stages.csv", LAB)
    columns = {"first": [0, 0, 1, 0, 1], "last": [0, 1, 1, 0, 1], "devices": [1, 2, 1, 1, 2],
               "type": ["a100", "a100", "a100", "t4", "t4"], "time": [1.0, 1.5, 1.25, 8.0, None],
               "memory": [4e9, 6e9, 3e9, 4e9, 3e9]}  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "stages.parquet")
    assert sp.Problem.from_measured(tmp_path / "stages.parquet", LAB).options == csv.options


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"measured": np.ones((2, 2, 2))}, "measured has shape (2, 2, 2); it must be (layers, layers, 2, "),
        ({"devices": None}, "devices is None; it must be the numbers of devices that measured has times for"),
        ({"devices": [1]}, "devices has shape (1,); it must be (3,) or (2, 3)"),
        ({"devices": [0, 1, 2]}, "devices[0] is 0; it must be from 1"),
        ({"memory": [1.0]}, "memory has shape (1,); it must be (2, 2, 2, 3), as measured"),
        ({"measured": np.full((2, 2, 2, 3), NAN)}, "no stage has a time; one or more must be measured"),
        ({"measured": -np.ones((2, 2, 2, 3))}, "time[0] is -1; it must be 0 or from 1e-60 to 1e60 seconds"),
        (
            {"measured": {"first": [0]}},
            "it has no column last; it must have first, last, type, devices, time",
        ),
        ({"cluster": "lab"}, "cluster is 'lab'; it must be a Cluster"),
    ],
)
def test_wrong_arrays_are_refused(arguments, sentence):
    given = {"measured": np.ones((2, 2, 2, 3)), "cluster": LAB, "devices": [1, 2, 4]} | arguments
    with pytest.raises((sp.InputError, sp.InputTypeError)) as caught:
        sp.Problem.from_measured(**given)
    assert str(caught.value).startswith(sentence)


def test_a_layer_in_no_measured_stage_is_refused():
    columns = {"first": [0, 2], "last": [0, 2], "type": ["t4", "t4"], "devices": [1, 1], "time": [1.0, 2.0]}
    with pytest.raises(sp.InputError, match="layer 1 is in no stage that has a time; each must be in one or"):
        sp.Problem.from_measured(columns, LAB)
