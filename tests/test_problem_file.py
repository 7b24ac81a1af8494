"""Problem files: what is written is read again, and other files are refused in a sentence."""

import re

import numpy as np
import option_problems
import pytest

import stageplan as sp


@pytest.fixture
def path(tmp_path):
    return tmp_path / "problem.npz"


def again(problem, path):
    problem.save(path)
    return sp.Problem.load(path)


def small(**fixed):
    return sp.Problem.from_arrays(
        [[4.0, 1.0], [2.0, np.inf], [1.0, 2.0]], price=[1.0, 3.0], tensors=[(0, [1, 2], 5.0)], **fixed
    )


def rewrite(path, **changes):
    """Change arrays of a file; None leaves one out."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


def test_drawn_problems_are_the_same(path, draw):
    rng = np.random.default_rng(8)
    for _ in range(20):
        problem, _ = draw(rng)
        assert again(problem, path) == problem


def test_problems_with_strategies_and_schedules_are_the_same(path):
    rng = np.random.default_rng(9)
    for _ in range(20):
        problem = option_problems.draw_problem(rng)
        copy = again(problem, path)
        assert copy == problem
        assert copy.by_options == problem.by_options
        assert copy.replace(max_price=1.0) == problem.replace(max_price=1.0)


def test_listed_options_are_the_same(path):
    problem = sp.Problem.from_options(
        2, price=[1.0], first=[0, 0, 1], last=[1, 0, 1], type=[0, 0, 0], devices=[2, 1, 1],
        time=[2.0, 1.5, 1.0], split=True, examples=3600,
    )  # fmt: skip
    copy = again(problem, path)
    assert copy == problem
    assert sp.solve(copy, "exact").plan.cost == sp.solve(problem, "exact").plan.cost


def test_all_that_a_workload_says_is_kept(path):
    layers = [
        sp.Layer(
            name=name, kind="block", compute={"a": 2.0, "b": 1.0}, backward={"a": 1.5, "b": 0.5},
            parameters=8.0, modules=["m", "n"], memory={"a": 1.0, "b": 2.0}, activations=3.0,
        )
        for name in ("é", "y")
    ]  # fmt: skip
    workload = sp.Workload(
        name="net", layers=layers, ties=[["é", "y"]], batch=2.0, mode="train", precision="bf16", sequence=64
    )
    types = [sp.DeviceType(name=name, price=1.0, link=5.0, machine=4) for name in "ab"]
    problem = sp.Problem(workload, sp.Cluster(name="lab", types=types), sp.Goal(max_price=7.0, batch=8))
    copy = again(problem, path)
    assert copy == problem
    for name in ("layer_modules", "parameters", "conditions", "ties", "goal", "name"):
        assert getattr(copy, name) == getattr(problem, name)
    assert copy.backward.tobytes() == problem.backward.tobytes()
    assert sp.solve(copy).plan.to_dict() == sp.solve(problem).plan.to_dict()


def test_arrays_cannot_be_changed(path):
    assert not again(small(), path).compute.flags.writeable


def test_an_earlier_file_stays_where_writing_fails(path, monkeypatch):
    small().save(path)
    before = path.read_bytes()
    monkeypatch.setattr(np, "savez", lambda stream, **_: (stream.write(b"half"), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        small(max_price=5.0).save(path)
    assert (path.read_bytes(), [file.name for file in path.parent.iterdir()]) == (before, [path.name])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"format": "stageplan problem 2"},
            "its format is 'stageplan problem 2'; it must be 'st",
        ),
        ({"format": None}, "its format is None; it must be 'stageplan problem 1'"),
        ({"document": None}, "document is absent"),
        ({"send": None}, "send is absent"),
        (
            {"document": np.frombuffer(b"{}", np.uint8)},
            "it is not valid JSON of a problem: Object",
        ),
        ({"compute": np.ones(3)}, "compute has shape (3,); it must be (layers, types), each 1 or more"),
        ({"price": np.ones(3)}, "price has shape (3,); it must be (2,)"),
        ({"price": np.array([1.0, -1.0])}, "price[1] is -1; it must be"),
        ({"limit": np.array(["a", "b"])}, "limit has dtype <U1; it must be an array of real numbers"),
        ({"compute": np.ones((4, 2))}, "send has shape (3, 2); it must be (4, 2)"),
        ({"backward": np.ones((2, 2))}, "backward has shape (2, 2); it must be (3, 2)"),
        ({"options_begin": np.array([0])}, "options_devices is absent"),
    ],
)
def test_other_content_is_refused(path, changes, sentence):
    small().save(path)
    rewrite(path, **changes)
    with pytest.raises(sp.InputError) as caught:
        sp.Problem.load(path)
    assert str(caught.value).startswith(f"{path}: it is not a valid problem file: {sentence}")


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (b'"ties":[]', b'"ties":[[0,3]]', "ties has a layer that is not from 0 to 2"),
        (b'["","",""]', b'["",""]', "layer_kinds has 2 entries; it must have 3"),
        (b'"layer1"', b'"layer0"', "layer_names has 'layer0' twice; all must differ"),
        (b"[[0,[1,2],5.0]]", b"[[0,[1,3],5.0]]", "tensors[0].consumers is 3; it must be a layer from 0 to 2"),
        (
            b'"objective":"cost"',
            b'"objective":"fun"',
            "it is not valid JSON of a problem: Invalid",
        ),
    ],
)
def test_other_documents_are_refused(path, before, after, sentence):
    small().save(path)
    with np.load(path) as file:
        document = file["document"].tobytes()
    assert before in document
    rewrite(path, document=np.frombuffer(document.replace(before, after, 1), np.uint8))
    with pytest.raises(ValueError, match=re.escape(sentence)):
        sp.Problem.load(path)


def test_files_of_other_kinds_are_refused(path):
    for content in (b"", b"PK", b"name = 1"):
        path.write_bytes(content)
        with pytest.raises(sp.InputError, match=r"file: it is not a valid \.npz file"):
            sp.Problem.load(path)
    small().save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(sp.InputError, match="it is not a valid problem file"):
        sp.Problem.load(path)
    with pytest.raises(FileNotFoundError):
        sp.Problem.load(path.with_name("absent.npz"))
    with pytest.raises(TypeError, match=r"^path is 3; it must be a path$"):
        small().save(3)
