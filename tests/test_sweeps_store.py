"""The directory of a sweep."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_sweeps import contents, made

import stageplan as sp
from stageplan.sweeps import store as store_module
from stageplan.sweeps.chunks import solve_chunk
from stageplan.sweeps.store import Store, check_pyarrow, default_format, opened, vacant

FORMATS = ["jsonl", "parquet"]


@pytest.fixture(params=FORMATS)
def store(request, tmp_path):
    """Return a store of four chunks, two of which are written."""
    if request.param == "parquet":
        pytest.importorskip("pyarrow")
    store = Store.make(tmp_path / "rows", made(), 3, request.param)
    for number in (0, 2):
        write(store, number)
    return store


def write(store, number):
    store.write(number, store.encode(number, solve_chunk(store.sweep, *store.span(number))))


def test_chunks_that_are_written(store):
    assert (store.chunks, store.done()) == (4, {0, 2})
    assert [store.span(number) for number in range(4)] == [(0, 3), (3, 6), (6, 9), (9, 12)]
    assert store.statuses(0) == {"optimal": 3}
    assert sum(store.statuses(2).values()) == 3


def test_the_last_chunk_may_have_fewer_set_ups(tmp_path):
    store = Store.make(tmp_path, made(), 5, "jsonl")
    assert [store.span(number) for number in range(store.chunks)] == [(0, 5), (5, 10), (10, 12)]


def test_an_opened_store_is_the_same(store):
    again = Store.open(store.directory)
    assert (again.digest, again.done(), again.rows_format) == (store.digest, {0, 2}, store.rows_format)
    assert again.is_of(made())
    assert not again.is_of(made(seed=1))
    assert again.encode(1, solve_chunk(again.sweep, 3, 6)) == store.encode(1, solve_chunk(store.sweep, 3, 6))


def test_a_file_has_the_same_bytes_whatever_memory_held_before(tmp_path):
    pa = pytest.importorskip("pyarrow")
    store = Store.make(tmp_path, made(), 3, "parquet")
    solved = solve_chunk(store.sweep, 4, 8)  # of two groups
    found, held = set(), []
    for i in range(100):
        for size in range(8, 2000, 50):  # most is freed at once, and reused by what is written
            held.append(pa.allocate_buffer(size))
            np.frombuffer(held[-1], np.uint8)[:] = i + 1
        del held[: 30 + i % 7]
        found.add(store.encode(0, solved).to_pybytes())
    assert len(found) == 1


def test_other_files_are_no_chunks(store):
    for name in (
        "00000001.txt",
        "1.jsonl",
        "00000009.jsonl",
        "00000009.parquet",
        ".stageplan-0123abcd.tmp",
        "x",
    ):
        (store.directory / "chunks" / name).write_text("")
    assert store.done() == {0, 2}


@pytest.mark.parametrize("damage", ["empty", "cut", "other chunk", "text"])
def test_a_damaged_chunk_is_refused_and_left_alone(store, damage):
    path = store.path(0)
    content = path.read_bytes()
    other = store.path(2).read_bytes()
    new = {"empty": b"", "cut": content[:-20], "other chunk": other, "text": b"a,b\n1,2\n"}[damage]
    path.write_bytes(new)
    check_refused(store, path)


def test_a_parquet_chunk_of_another_sweep_is_refused_and_left_alone(tmp_path):
    pytest.importorskip("pyarrow")
    store, other = (Store.make(tmp_path / str(seed), made(seed=seed), 3, "parquet") for seed in (0, 1))
    write(other, 0)
    path = store.path(0)
    path.write_bytes(other.path(0).read_bytes())
    check_refused(store, path)


def check_refused(store, path):
    before = path.read_bytes()
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        store.statuses(0)
    assert str(caught.value).startswith(f"{path}: it ")
    assert path.read_bytes() == before


def described(directory, **changes):
    file = directory / "sweep.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"format": "stageplan sweep 2"},
            "its format is 'stageplan sweep 2', written by version '0.1.0'; this",
        ),
        (
            {"version": "9.0"},
            "its format is 'stageplan sweep 1', written by version '9.0'; this version, '0.1.0'",
        ),
        ({"format": "stageplan plan 1"}, "it is not the description of a sweep"),
        ({"format": 3}, "it is not the description of a sweep"),
        ({"chunk": "many"}, "it is not valid JSON of a sweep: "),
    ],
)
def test_descriptions_of_other_kinds_and_versions_are_refused(tmp_path, changes, sentence):
    Store.make(tmp_path, made(), 3, "jsonl")
    described(tmp_path, **changes)
    before = (tmp_path / "sweep.json").read_bytes()
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Store.open(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'sweep.json'}: {sentence}")
    assert (tmp_path / "sweep.json").read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"'])
def test_a_damaged_description_is_refused(tmp_path, text):
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(ValueError, match="it is not "):
        Store.open(tmp_path)


def test_directories_where_a_sweep_may_begin(tmp_path):
    assert vacant(tmp_path / "new")
    assert vacant(tmp_path)
    (tmp_path / ".stageplan-0123abcd.tmp").write_text("of another shard that begins now")
    (tmp_path / "chunks").mkdir()
    assert vacant(tmp_path)
    Store.make(tmp_path, made(), 3, "jsonl")
    assert not vacant(tmp_path)


@pytest.mark.parametrize("name", ["notes.txt", "chunks/mine.csv"])
def test_a_directory_with_other_files_is_refused(tmp_path, name):
    (tmp_path / "chunks").mkdir()
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=r"it must be new, empty, or the directory of a sweep$"):
        vacant(tmp_path)


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "rows").write_text("mine")
    with pytest.raises(ValueError, match=r"rows, a file; it must be a directory, or a new one$"):
        vacant(tmp_path / "rows")


def test_a_directory_that_is_no_sweeps_is_not_opened(tmp_path):
    with pytest.raises(ValueError, match=r"is not the directory of a sweep; it has no sweep.json$"):
        Store.open(tmp_path)
    with pytest.raises(FileNotFoundError):
        Store.open(tmp_path / "absent")


def test_workers_open_a_directory_once_and_notice_another_sweep(tmp_path):
    store = Store.make(tmp_path, made(), 3, "jsonl")
    first = opened(str(tmp_path), store.digest)
    assert opened(str(tmp_path), store.digest) is first
    Store.make(tmp_path, made(seed=1), 3, "jsonl")
    with pytest.raises(ValueError, match="has changed since the sweep began"):
        opened(str(tmp_path), "0" * 64)


def test_a_failed_write_names_the_file_and_leaves_nothing(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    before = contents(store.directory)
    with pytest.raises(OSError, match="No space left") as caught:
        write(store, 1)
    assert caught.value.filename == str(store.path(1))
    assert contents(store.directory) == before
    assert not list(store.directory.rglob(".*"))


def test_merged_rows_are_those_of_the_chunks(store, tmp_path):
    for number in (1, 3):
        write(store, number)
    output = tmp_path / "all"
    store.merge(output)
    if store.rows_format == "jsonl":
        rows = [json.loads(line) for line in output.read_text().splitlines()]
    else:
        import pyarrow.parquet as pq

        rows = pq.read_table(output).to_pylist()
        assert pq.ParquetFile(output).num_row_groups == 1
    alone = solve_chunk(made(), 0, 12)
    assert [row["set_up"] for row in rows] == list(range(12))
    assert [row["cost"] for row in rows] == alone.columns["cost"].tolist()


def test_large_row_groups(tmp_path, monkeypatch):
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(store_module, "_ROWS", 5)
    store = Store.make(tmp_path / "rows", made(), 2, "parquet")
    for number in range(6):
        write(store, number)
    store.merge(tmp_path / "all.parquet")
    file = pq.ParquetFile(tmp_path / "all.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [6, 6]


def test_the_format_is_parquet_where_pyarrow_is_installed(monkeypatch):
    monkeypatch.setattr(store_module, "find_spec", lambda _: None)
    assert default_format() == "jsonl"
    check_pyarrow("jsonl")
    with pytest.raises(ImportError, match=r"requires pyarrow: pip install 'stageplan\[sweep\]'$"):
        check_pyarrow("parquet")
    monkeypatch.setattr(store_module, "find_spec", lambda _: object())
    assert default_format() == "parquet"


def test_scratch_files_of_killed_runs_are_removed(store):
    for folder in (store.directory, store.directory / "chunks"):
        (folder / ".stageplan-0123abcd.tmp").write_text("half")
        (folder / ".mine").write_text("mine")
    store.remove_scratch()
    left = {path.relative_to(store.directory) for path in store.directory.rglob(".*")}
    assert left == {Path(".mine"), Path("chunks/.mine")}


def test_a_store_has_all_that_a_worker_needs(store):
    problem = Store.open(store.directory).sweep.problem(4)
    assert problem == made().problem(4)
    assert isinstance(problem, sp.Problem)
