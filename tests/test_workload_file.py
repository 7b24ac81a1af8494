import pytest
from hypothesis import given
from hypothesis import strategies as st

import stageplan as sp
from stageplan.workload_file import to_toml

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=5)
AMOUNT = st.floats(0, 1e300)


@st.composite
def workloads(draw):
    names = draw(st.lists(TEXT, min_size=2, max_size=4, unique=True))
    types = draw(st.lists(TEXT, min_size=1, max_size=3, unique=True))
    by_type = st.one_of(AMOUNT, st.fixed_dictionaries(dict.fromkeys(types, AMOUNT)))
    layers = [
        sp.Layer(
            name=name,
            kind=draw(st.one_of(st.just(""), TEXT)),
            compute={type_: draw(st.one_of(AMOUNT, st.none())) for type_ in types} | {"known": 1.0},
            send=draw(by_type),
            compute_parallel=draw(st.floats(0, 1)),
            **{name: draw(by_type) for name in ("memory", "sharded", "workspace", "gradients", "update")},
            activations=draw(by_type),
            modules=tuple(draw(st.lists(TEXT, max_size=2))),
            **{name: draw(st.dictionaries(TEXT, AMOUNT, max_size=2)) for name in ("backward", "prefill")},
            **{field: draw(AMOUNT) for field in ("spread", "flops", "parameters")},
        )
        for name in names
    ]
    tensor = sp.Tensor(producer=names[0], consumers=tuple(names[1:]), bytes=draw(AMOUNT))
    return sp.Workload(
        name=draw(TEXT),
        layers=tuple(layers),
        tensors=draw(st.sampled_from([(), (tensor,)])),
        ties=draw(st.sampled_from([(), (tuple(names),)])),
        batch=draw(st.floats(1e-3, 1e9)),
        architecture=draw(st.one_of(st.just(""), TEXT)),
        mode=draw(st.sampled_from(["train", "inference", "prefill", "decode", None])),
        precision=draw(st.one_of(st.none(), TEXT)),
        sequence=draw(st.one_of(st.none(), st.integers(1, 2**40))),
        optimizer=draw(st.one_of(st.just(""), TEXT)),
        zero=draw(st.one_of(st.none(), st.integers(0, 3))),
        **{name: draw(st.one_of(st.none(), st.integers(1, 2**40))) for name in ("context", "concurrency")},
        kv_cache=draw(st.one_of(st.none(), TEXT)),
        notes=draw(st.lists(TEXT, max_size=2)),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("workloads")


@given(workload=workloads())
def test_written_workload_is_read_back(folder, workload):
    for name in ("w.toml", "w.json", "w"):
        sp.write_workload(workload, folder / name)
        assert sp.read_workload(folder / name) == workload


@pytest.mark.parametrize("name", ["ctr", "bert-large", "resnet50"])
def test_examples_are_written_as_they_were_read(folder, name):
    workload = sp.read_workload(name)
    sp.write_workload(workload, folder / "example.toml")
    assert sp.read_workload(folder / "example.toml") == workload


def test_people_can_read_it():
    workload = sp.Workload(
        name="net",
        layers=(
            sp.Layer(name="a", compute={"cpu": 1, "big gpu": None}),
            sp.Layer(name="b", compute={"cpu": 2}),
        ),
        ties=(("a", "b"),),
        notes=("b was guessed",),
    )
    assert to_toml(workload) == (
        'name = "net"\n'
        "batch = 1.0\n"
        "\n"
        "notes = [\n"
        '  "b was guessed",\n'
        "]\n"
        "\n"
        "layers = [\n"
        '  { name = "a", compute = { cpu = 1.0, "big gpu" = inf } },\n'
        '  { name = "b", compute = { cpu = 2.0 } },\n'
        "]\n"
        "\n"
        "ties = [\n"
        '  ["a", "b"],\n'
        "]\n"
    )


def test_no_partial_file_remains_after_a_failed_write(tmp_path):
    workload = sp.read_workload("ctr")
    with pytest.raises(OSError, match="No such file"):
        sp.write_workload(workload, tmp_path / "nowhere" / "w.toml")
    with pytest.raises(TypeError, match="workload is str; it must be a Workload"):
        sp.write_workload("ctr", tmp_path / "w.toml")
    assert list(tmp_path.iterdir()) == []
