import pickle
from math import inf, nan

import msgspec
import numpy as np
import pytest

import stageplan as sp
from stageplan.readers.documents import schema
from stageplan.workload import MAX_LAYERS, MAX_NOTES, Conditions, Layer, Tensor, Workload


def layer(name="conv1", **fields):
    return Layer(**{"name": name, "compute": {"cpu": 1.0}, **fields})


def tensor(**fields):
    return Tensor(**{"producer": "a", "consumers": ("b",), "bytes": 1.0, **fields})


def workload(**fields):
    return Workload(**{"name": "net", "layers": (layer("a"), layer("b")), **fields})


def test_values_are_converted_to_immutable_ones():
    made = layer(compute={"cpu": np.float32(2), "gpu": 3}, memory=np.int64(7))
    assert made.compute == {"cpu": 2.0, "gpu": 3.0}
    assert type(made.memory) is float
    with pytest.raises(TypeError, match="cannot be changed"):
        made.compute["cpu"] = 1.0
    with pytest.raises(AttributeError):
        made.name = "other"


def test_lists_become_tuples():
    made = workload(layers=[layer("a"), layer("b")], tensors=[tensor(consumers=["b"])], ties=[["a", "b"]])
    assert made == workload(tensors=(tensor(),), ties=(("a", "b"),))
    assert hash(made) == hash(workload(tensors=(tensor(),), ties=(("a", "b"),)))


def test_inf_and_none_both_mean_cannot_run():
    assert layer(compute={"cpu": 1, "gpu": inf}) == layer(compute={"gpu": None, "cpu": 1})


def test_pickle_keeps_everything():
    made = workload(tensors=[tensor()], ties=[["a", "b"]], batch=32)
    assert pickle.loads(pickle.dumps(made)) == made


def test_text_says_what_it_is():
    made = workload(layers=[layer("a", kind="Conv2d", memory=5), layer("b", compute={"gpu": 2})])
    text = str(made)
    assert "\n" not in text
    assert "'net': 2 layers (1 Conv2d) of 5 bytes" in text
    assert "cpu 1 s (1 layers without a time)" in text
    assert str(layer(kind="Conv2d", compute={"cpu": 1, "gpu": None})) == (
        "Layer 'conv1' (Conv2d): cpu 1 s, gpu cannot run it; 0 bytes of memory."
    )
    assert str(tensor()) == "Tensor from 'a' to b: 1 bytes."


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"memory": -1.0}, "memory is -1.0; it must be 0 or more bytes and finite"),
        ({"memory": nan}, "memory is nan; it must be 0 or more bytes and finite"),
        ({"memory": inf}, "memory is inf; it must be 0 or more bytes and finite"),
        ({"memory": 10**400}, "it must be 0 or more bytes and finite"),
        ({"name": ""}, "name is ''; it must be text of 1 character or more"),
        ({"compute": {}}, "compute has 0 items; it must be a table from each device type"),
        ({"compute": {"cpu": -1}}, "compute['cpu'] is -1; compute must be a table"),
        ({"compute": {"cpu": nan}}, "compute['cpu'] is nan; compute must be a table"),
        ({"compute": {"": 1}}, "compute[''] is 1; compute must be a table"),
        ({"compute": {"cpu": inf}}, "it must have a finite time for 1 device type or more"),
        ({"send": -1}, "send is -1; it must be 0 or more seconds"),
        ({"receive": {"cpu": inf}}, "receive['cpu'] is inf; receive must be 0 or more seconds"),
        ({"compute_parallel": 1.1}, "compute_parallel is 1.1; it must be a fraction from 0 to 1"),
    ],
)
def test_layer_refuses_bad_values(fields, sentence):
    with pytest.raises(ValueError, match="layer") as caught:
        layer(**fields)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": 3}, "name is 3; it must be text"),
        ({"kind": None}, "kind is None; it must be text"),
        ({"compute": [1.0]}, "compute is (1.0,); it must be a table"),
        ({"compute": {"cpu": "fast"}}, "compute['cpu'] is 'fast'; compute must be a table"),
        ({"compute": {"cpu": True}}, "compute['cpu'] is True; compute must be a table"),
        ({"compute": {1: 1.0}}, "compute[1] is 1.0; compute must be a table"),
        ({"memory": "1 GB"}, "memory is '1 GB'; it must be 0 or more bytes"),
    ],
)
def test_layer_refuses_wrong_types(fields, sentence):
    with pytest.raises(TypeError) as caught:
        layer(**fields)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "error", "sentence"),
    [
        ({"bytes": -1}, ValueError, "bytes is -1; it must be 0 or more bytes and finite"),
        ({"consumers": ()}, ValueError, "consumers has 0 items; it must be a list"),
        ({"consumers": ("b", "b")}, ValueError, "consumers[1] is 'b'; it must differ from consumers[0]"),
        ({"consumers": ("a",)}, ValueError, "consumers[0] is 'a'; it must not be the producer"),
        ({"consumers": "b"}, TypeError, "consumers is 'b'; it must be a list"),
        ({"consumers": ("b", 3)}, TypeError, "consumers[1] is 3; consumers must be a list"),
    ],
)
def test_tensor_refuses_bad_values(fields, error, sentence):
    with pytest.raises(error) as caught:
        tensor(**fields)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "error", "sentence"),
    [
        ({"layers": ()}, ValueError, "layers has 0 items; it must be a list of 1 to 4096 layers"),
        (
            {"layers": (layer("a"), layer("a"))},
            ValueError,
            "layers[1].name is 'a'; it must differ from layers[0]",
        ),
        ({"layers": (layer("a"), 3)}, TypeError, "layers[1] is 3; layers must be a list"),
        ({"tensors": (tensor(producer="x"),)}, ValueError, "tensors[0].producer is 'x'; it must be the name"),
        ({"tensors": (tensor(consumers=("x",)),)}, ValueError, "tensors[0].consumers[0] is 'x'; it must be"),
        ({"ties": (("a",),)}, ValueError, "ties[0] is ('a',); ties must be a list of groups"),
        ({"ties": (("a", "x"),)}, ValueError, "ties[0][1] is 'x'; it must be the name of a layer"),
        ({"ties": (("a", "a"),)}, ValueError, "ties[0][1] is 'a'; it must differ from ties[0][0]"),
        ({"batch": 0}, ValueError, "batch is 0; it must be more than 0 examples and finite"),
        ({"batch": "32"}, TypeError, "batch is '32'; it must be more than 0 examples"),
    ],
)
def test_workload_refuses_bad_values(fields, error, sentence):
    with pytest.raises(error, match="workload 'net'") as caught:
        workload(**fields)
    assert sentence in str(caught.value)


def test_workload_refuses_too_many_layers():
    layers = [layer(f"layer{index}") for index in range(MAX_LAYERS + 1)]
    with pytest.raises(ValueError, match="layers has 4097 items; it must be a list of 1 to 4096 layers"):
        workload(layers=layers)
    assert len(workload(layers=layers[1:]).layers) == MAX_LAYERS


def test_conditions():
    layers = [sp.Layer(name="a", compute={"cpu": 1.0})]
    fields = {"architecture": "LlamaForCausalLM", "mode": "train", "precision": "bf16", "sequence": 64}
    fields |= {"optimizer": "sgd", "zero": 2, "context": None, "concurrency": None, "kv_cache": None}
    workload = sp.Workload(name="net", layers=layers, batch=8, **fields)
    cluster = sp.Cluster(name="c", types=[sp.DeviceType(name="cpu", price=1.0)])
    problem = sp.Problem(workload, cluster)
    assert msgspec.structs.asdict(problem.conditions) == fields | {"batch": 8.0}
    assert problem.replace(max_price=2.0).conditions == problem.conditions
    for field, value, allowed in (
        ("mode", "training", "one of 'train', 'inference', 'prefill', 'decode', or absent"),
        ("sequence", 0, "a whole number, 1 or more, or absent"),
        ("zero", 4, "0, 1, 2 or 3, or absent"),
        ("precision", "", "text of 1 character or more, or absent"),
    ):
        with pytest.raises(ValueError, match=f"{field} is {value!r}; it must be {allowed}"):
            sp.Workload(name="net", layers=layers, **{field: value})


def test_conditions_are_in_the_schema():
    properties = schema("workload")["$defs"]["WorkloadDocument"]["properties"]
    assert set(Conditions.__struct_fields__) <= properties.keys()


def test_notes_are_plain_sentences():
    assert workload().notes == ()
    made = workload(notes=["2 layers were skipped\n\x1b[2J", "x" * 5000])
    assert made.notes[0] == "2 layers were skipped\\n\\u001b[2J"
    assert len(made.notes[1]) < 2000
    assert workload(notes=made.notes) == made != workload()
    assert str(made) == f"{workload()} Notes: 2."


@pytest.mark.parametrize(
    ("notes", "seen"),
    [
        ("text", "is 'text'"),
        ([""], "has 1 items|is ''"),
        ([1], "is 1"),
        (["x"] * (MAX_NOTES + 1), "has 101 items"),
    ],
)
def test_notes_of_another_form_are_refused(notes, seen):
    with pytest.raises((TypeError, ValueError), match=rf"notes.* ({seen}); .*a list of 0 to 100 sentences"):
        workload(notes=notes)


def test_repr_is_one_line():
    layers = [sp.Layer(name="a", compute={"cpu": 1.0, "gpu": 2.0}), sp.Layer(name="b", compute={"cpu": 1.0})]
    assert repr(sp.Workload(name="net", layers=layers)) == "<Workload net: 2 layers with times on cpu, gpu>"
