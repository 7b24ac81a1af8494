"""Problems from arrays: what they refuse, and what they hold."""

import pickle
import re
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from conftest import Draw

import stageplan as sp

Arguments = dict[str, Any]


def make(**changed: Any) -> sp.Problem:
    """Make a problem of 3 layers and 2 types."""
    return sp.Problem.from_arrays(**{"compute": [[1, 2], [3, 4], [5, 6]], "price": [1, 2]} | changed)


# What is refused ---------------------------------------------------------------------------------------

ARRAYS: dict[str, tuple[tuple[int, ...], list[float], str]] = {
    "compute": (
        (3, 2),
        [nan, -1],
        "0 or from 1e-60 to 1e60 seconds, or inf where the type cannot run the layer",
    ),
    "send": ((3, 2), [nan, -1, inf], "0 or from 1e-60 to 1e60 seconds"),
    "receive": ((3, 2), [nan, -1, inf], "0 or from 1e-60 to 1e60 seconds"),
    "compute_parallel": ((3, 2), [nan, -0.5, 1.5], "between 0 and 1"),
    "transfer_parallel": ((2,), [nan, -0.5, 1.5], "between 0 and 1"),
    "memory": ((3,), [nan, -1, inf], "0 or from 1e-60 to 1e60 bytes"),
    "price": ((2,), [nan, -1, inf], "0 or from 1e-60 to 1e60 $/hour"),
    "limit": ((2,), [nan, -1, 1.5], "a whole number of devices, 0 or more, or inf"),
    "capacity": ((2,), [nan, -1, 0], "from 1e-60 to 1e60 bytes, or inf"),
    "bandwidth": ((2,), [nan, -1, 0], "from 1e-60 to 1e60 bytes/s, or inf"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_bad_numbers(name: str) -> None:
    """The last number of the array is bad."""
    shape, bad, allowed = ARRAYS[name]
    for number in bad:
        values = np.append(np.ones(np.prod(shape) - 1), number).reshape(shape)
        text = f"{name}{[x - 1 for x in shape]} is {number:g}; it must be {allowed}"
        with pytest.raises(ValueError, match="^" + re.escape(text)):
            make(**{name: values})


@pytest.mark.parametrize("name", [name for name in ARRAYS if name != "compute"])
def test_bad_shapes(name: str) -> None:
    shape, _, _ = ARRAYS[name]
    broadcasts = name.endswith("parallel")
    for wrong in ((shape[0] + 1, *shape[1:]), (*shape, 1, 1), (0,), *([] if broadcasts else [(), shape[1:]])):
        text = rf"has shape {re.escape(str(wrong))}; it must (be|broadcast to) {re.escape(str(shape))}$"
        with pytest.raises(ValueError, match=rf"^{name} {text}"):
            make(**{name: np.ones(wrong)})


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("compute", 1.0, " has shape (); it must be (layers, types), each 1 or more"),
        ("compute", [], " has shape (0,); it must be (layers, types)"),
        ("compute", [[], []], " has shape (2, 0); it must be (layers, types)"),
        ("compute", [[1, 2], [3], [5, 6]], " is ragged; it must be"),
        ("compute", [[1, 2], [inf, inf], [5, 6]], "[1] is inf on every type; at least one type must run"),
        ("tensors", [(0, (1,), 1), (3, (0,), 1)], "[1].producer is 3; it must be a layer from 0 to 2"),
        ("tensors", [(0, (1, -1), 1)], "[0].consumers is -1; it must be a layer from 0 to 2"),
        ("tensors", [(2**40, (1,), 1)], "[0].producer is 1099511627776; it must be a layer from 0 to 2"),
        ("tensors", [(0, (1,), -1)], "[0].bytes is -1; it must be a finite number, at least 0"),
        ("tensors", [(0, (1,), nan)], "[0].bytes is nan; it must be a finite number, at least 0"),
        ("fixed_price", -1, " is -1; it must be "),
        ("fixed_price", inf, " is inf; it must be "),
        ("merge", "layer", " is 'layer'; it must be 'adjacent' or 'type'"),
    ],
)
def test_bad_values(name: str, value: Any, text: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(name + text)):
        make(**{name: value})


@pytest.mark.parametrize("name", ["compute", "price"])
@pytest.mark.parametrize("values", [None, "abc", {}, [["1", "2"]] * 3, [[True, False]] * 3, [[1j, 2]] * 3])
def test_no_numbers(name: str, values: Any) -> None:
    with pytest.raises(TypeError, match=rf"^{name} .*; it must be an array of real numbers$"):
        make(**{name: values})


@pytest.mark.parametrize(
    "tensor", [5, (0, 1, 2), (0, (1,)), (0, (1,), "x"), (0.5, (1,), 2), (0, (1.5,), 2), ("0", "12", "3")]
)
def test_no_tensors(tensor: Any) -> None:
    with pytest.raises(TypeError, match=r"^tensors\[1\].* is .*; it must be"):
        make(tensors=[(0, (1,), 1.0), tensor])


@pytest.mark.parametrize("tensors", [5, 0.5, "tensors", {0: 1}, True, np.zeros(3)])
def test_tensors_that_are_no_list(tensors: Any) -> None:
    with pytest.raises(TypeError, match=r"^tensors is .*; it must be a list of \(producer, c"):
        make(tensors=tensors)


@pytest.mark.parametrize(
    ("arguments", "unbounded"),
    [
        ({}, 0),
        ({"limit": [3, None]}, 1),
        ({"max_price": 9, "price": [1, 0]}, 1),
        ({"max_cost": 9}, 0),
    ],
)
def test_nothing_bounds_the_throughput(arguments: Arguments, unbounded: int) -> None:
    with pytest.raises(
        ValueError, match=rf"^objective is 'throughput', which nothing bounds on type {unbounded};"
    ):
        make(objective="throughput", **arguments)


@pytest.mark.parametrize("bound", ["limit", "max_devices_per_stage", "max_price"])
def test_limits_that_bound_the_throughput(bound: str) -> None:
    problem = make(objective="throughput", **{bound: [1, 0] if bound == "limit" else 9})
    assert problem.goal.objective == "throughput"


def test_max_devices_per_stage_is_bounded() -> None:
    assert make(max_devices_per_stage=2**20).goal.max_devices_per_stage == 2**20
    with pytest.raises(ValueError, match=r"^max_devices_per_stage is 1048577; it must be at most 1,048,576$"):
        make(max_devices_per_stage=2**20 + 1)


# Labels ------------------------------------------------------------------------------------------------


def test_label_types_of_many(draw: Draw) -> None:
    rng = np.random.default_rng(10)
    for _ in range(200):
        problem, oracle = draw(rng)
        assert problem.label_types.tolist() == list(oracle.label_types)
        assert problem.n_labels == len(oracle.label_types)


@pytest.mark.parametrize(
    ("merge", "split", "n_types", "limit"),
    [("adjacent", False, 128, None), ("adjacent", True, 64, None), ("type", True, 2, [64, 64])],
)
def test_at_most_128_labels(merge: str, split: bool, n_types: int, limit: Any) -> None:
    fixed: Arguments = {"merge": merge, "split": split}
    assert (
        sp.Problem.from_arrays(np.ones((80, n_types)), np.ones(n_types), limit=limit, **fixed).n_labels == 128
    )
    more = n_types + 1
    limit = [64, 64, 1] if limit else None
    with pytest.raises(ValueError, match="needs more than 128 labels"):
        sp.Problem.from_arrays(np.ones((80, more)), np.ones(more), limit=limit, **fixed)


def test_a_label_a_device_needs_devices() -> None:
    with pytest.raises(ValueError, match=r"^limit\[1\] is inf; it must be finite where split goes with"):
        make(split=True, merge="type", limit=[3, None])
    with pytest.raises(ValueError, match=r"^limit is 0 for every type"):
        make(split=True, merge="type", limit=[0, 0])


# What they hold ----------------------------------------------------------------------------------------


def test_defaults_and_broadcasting() -> None:
    p = make(
        compute_parallel=[0.5, 1],
        transfer_parallel=0.25,
        limit=[None, 3],
        capacity=(None, 5),
        bandwidth=[2, None],
    )
    assert (p.n_layers, p.n_types, p.n_labels) == (3, 2, 2)
    assert p.compute_parallel.tolist() == [[0.5, 1]] * 3
    assert p.transfer_parallel.tolist() == [0.25, 0.25]
    assert [x.tolist() for x in (p.limit, p.capacity, p.bandwidth)] == [[inf, 3], [inf, 5], [2, inf]]
    assert not any(x.any() for x in (p.send, p.receive, p.memory))
    assert (p.send.shape, p.memory.shape, p.tensors, p.fixed_price) == ((3, 2), (3,), (), 0)
    assert p.goal == sp.Goal()
    assert (p.layer_names, p.type_names) == (("layer0", "layer1", "layer2"), ("type0", "type1"))
    assert (p.compute.dtype, p.label_types.dtype) == (np.float64, np.int32)


def test_immutable() -> None:
    times = np.ones((3, 2))
    p = make(compute=times)
    times[0, 0] = 5
    assert p.compute[0, 0] == 1
    for array in (p.compute, p.limit, p.label_types):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(AttributeError, match="price is fixed"):
        p.price = np.ones(2)


def test_nothing_can_be_deleted() -> None:
    with pytest.raises(AttributeError, match="price is fixed"):
        del make().price


def test_equality_and_hash() -> None:
    p = make(tensors=[(0, [1, 2], 4)], limit=[3, None])
    same = make(tensors=((0, (1, 2), 4.0),), limit=np.array([3, inf]))
    others = [make(), make(price=[1, 3]), make(examples=5), make(tensors=[(0, [1], 4)], limit=[3, None])]
    assert len({p, same}) == 1
    assert len({p, *others}) == 5
    assert p != "a problem"


def test_equal_problems_have_equal_hashes() -> None:
    p, q = (make(compute=[[zero, 1]] * 3) for zero in (0.0, -0.0))
    assert p == q
    assert hash(p) == hash(q)


def test_pickle(draw: Draw) -> None:
    rng = np.random.default_rng(11)
    for _ in range(20):
        problem, _ = draw(rng)
        again = pickle.loads(pickle.dumps(problem))
        scheme = rng.integers(0, problem.n_labels, problem.n_layers)
        assert again == problem
        assert sp.Plan.of(again, scheme).to_dict() == sp.Plan.of(problem, scheme).to_dict()


def test_str() -> None:
    text = "arrays: 3 layers on 2 device types (type0, type1); cheapest plan for 10 examples, at most $5"
    assert str(make(examples=10, max_cost=5)) == text


def test_from_arrays_with_names() -> None:
    problem = sp.Problem.from_arrays(
        [[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0], layer_names=["body", "head"], type_names=("cpu", "gpu")
    )
    assert (problem.layer_names, problem.type_names) == (("body", "head"), ("cpu", "gpu"))
    assert [stage.type for stage in sp.Plan.of(problem, [1, 0]).stages] == ["gpu", "cpu"]


@pytest.mark.parametrize(
    ("names", "error", "sentence"),
    [
        ({"layer_names": ["a"]}, ValueError, "layer_names has 1 texts; it must have 2"),
        ({"type_names": ["a", "a"]}, ValueError, "type_names has 'a' twice; all must differ"),
        ({"type_names": "ab"}, TypeError, "type_names is 'ab'; it must be a list of texts"),
        ({"layer_names": [1, 2]}, TypeError, "layer_names is [1, 2]; it must be a list of texts"),
    ],
)
def test_bad_names_of_arrays(names: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(sentence)}$"):
        sp.Problem.from_arrays([[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0], **names)


def test_very_long_numbers_are_refused_in_a_sentence() -> None:
    with pytest.raises(
        sp.StageplanError, match=r"^max_devices_per_stage is a whole number of 5001 digits; it"
    ):
        sp.Problem.from_arrays([[1.0]], [1.0], max_devices_per_stage=10**5000)
    with pytest.raises(sp.StageplanError, match=r"^batch is "):
        sp.Goal(schedule="1f1b", microbatches=3, batch=10**5000)
