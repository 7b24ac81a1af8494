"""Runs of sweeps: the same files on every engine, and after every fault."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest
from small_sweeps import contents, made, write_files

import stageplan as sp
from stageplan.sweeps import run as run_module

FORKSERVER = multiprocessing.get_context("forkserver")


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Return the files of a run in this process on one thread."""
    directory = tmp_path_factory.mktemp("serial") / "rows"
    assert sp.sweep(made(), directory, threads=1).complete
    return contents(directory)


def on_threads(directory):
    with ThreadPoolExecutor(3) as executor:
        return sp.sweep(made(), directory, executor=executor)


def on_processes(directory):
    with ProcessPoolExecutor(2, FORKSERVER) as executor:
        return sp.sweep(made(), directory, executor=executor)


def on_a_map(directory):
    with FORKSERVER.Pool(2) as pool:
        return sp.sweep(made(), directory, executor=pool.imap_unordered)


def on_workers(directory):
    return sp.sweep(made(), directory, workers=4)


def on_all_cores(directory):
    return sp.sweep(made(), directory)


@pytest.mark.parametrize("how", [on_threads, on_processes, on_a_map, on_workers, on_all_cores])
def test_files_are_the_same_on_every_engine(tmp_path, expected, how):
    results = how(tmp_path / "rows")
    assert results.complete
    assert contents(tmp_path / "rows") == expected
    assert results == sp.SweepResults.open(tmp_path / "rows")


@pytest.mark.parametrize("engine", ["mpi 2", "mpi 3", "dask", "submitit"])
def test_files_are_the_same_on_engines_of_other_packages(tmp_path, expected, engine):
    name, _, ranks = engine.partition(" ")
    mpiexec = Path(sys.executable).parent / "mpiexec"
    needed = {"mpi": "mpi4py", "dask": "distributed"}.get(name, name)
    if find_spec(needed) is None or (name == "mpi" and not mpiexec.exists()):
        pytest.skip(f"{needed} is not installed" if name != "mpi" else "mpi4py and mpich are not installed")
    python = [sys.executable]
    if name == "mpi":
        python = [mpiexec, "-n", ranks, sys.executable, "-m", "mpi4py.futures"]
    script = Path(__file__).with_name("sweep_engines.py")
    path = os.pathsep.join([str(script.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [*python, script, name, tmp_path / "rows"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "rows") == expected


def test_chunks_run_on_one_thread_with_workers_and_on_all_cores_without(tmp_path, monkeypatch):
    seen = []

    def solve(sweep, first, last, threads):
        seen.append(threads)
        return solve_chunk(sweep, first, last, threads)

    solve_chunk = run_module.solve_chunk
    monkeypatch.setattr(run_module, "solve_chunk", solve)
    monkeypatch.setattr("stageplan.arguments._usable_cores", lambda: 7)
    sp.sweep(made(), tmp_path / "a", executor=map)
    sp.sweep(made(), tmp_path / "b")
    sp.sweep(made(), tmp_path / "c", executor=map, threads=2)
    assert seen == [1] * 4 + [7] * 4 + [2] * 4


def test_shards_that_begin_at_once_share_a_directory(tmp_path, expected):
    with ThreadPoolExecutor(3) as threads:
        runs = [threads.submit(sp.sweep, made(), tmp_path / "rows", shard=(i, 3)) for i in (1, 2, 3)]
    assert [run.result().done for run in runs] == [2, 1, 1]
    assert contents(tmp_path / "rows") == expected


def test_a_sweep_is_read_from_its_file(tmp_path):
    write_files(tmp_path)
    rows = list(sp.sweep(tmp_path / "sweep.toml", tmp_path / "rows", rows="jsonl").rows())
    own = list(sp.sweep(made(), tmp_path / "own", rows="jsonl").rows())
    names = {"workload": "net.json", "cluster": "lab.json"}
    assert rows == [row | names for row in own]


def test_resuming_runs_only_what_is_left(tmp_path, expected, monkeypatch):
    sp.sweep(made(), tmp_path / "rows")
    for number in (1, 3):
        next((tmp_path / "rows/chunks").glob(f"{number:08}.*")).unlink()
    solved = []
    task = run_module._run_chunk
    monkeypatch.setattr(run_module, "_run_chunk", lambda *a: solved.append(a[-1]) or task(*a))
    results = sp.sweep(made(), tmp_path / "rows", resume=True)
    assert (sorted(solved), results.done, sum(results.statuses.values())) == ([1, 3], 4, 12)
    assert contents(tmp_path / "rows") == expected
    sp.sweep(made(), tmp_path / "rows", resume=True)
    assert len(solved) == 2


def test_ctrl_c_keeps_the_chunks_that_are_complete(tmp_path, expected):
    def interrupt(results):
        if results.done == 2:
            raise KeyboardInterrupt

    results = sp.sweep(made(), tmp_path / "rows", callback=interrupt)
    assert results.interrupted
    assert (results.done, results.complete) == (2, False)
    assert "2 of 4 chunks are complete (interrupted)" in str(results)
    assert len(contents(tmp_path / "rows")) == 2
    assert sp.sweep(made(), tmp_path / "rows", resume=True).complete
    assert contents(tmp_path / "rows") == expected


class Losing:
    """An executor that loses some chunks, each for the first so many times."""

    def __init__(self, losses):
        self.losses = dict(losses)

    def submit(self, task, number):
        future = Future()
        if self.losses.get(number, 0) > 0:
            self.losses[number] -= 1
            future.set_exception(RuntimeError(f"the worker of chunk {number} is gone"))
        else:
            future.set_result(task(number))
        return future


def test_a_chunk_that_is_lost_twice_is_solved(tmp_path, expected):
    results = sp.sweep(made(), tmp_path / "rows", executor=Losing({0: 1, 2: 2}))
    assert (results.complete, results.failed) == (True, 0)
    assert contents(tmp_path / "rows") == expected


def test_a_chunk_that_is_lost_three_times_has_failed_rows(tmp_path, expected):
    results = sp.sweep(made(), tmp_path / "rows", executor=Losing({2: 3}))
    assert (results.complete, results.failed) == (True, 3)
    failed = [row for row in results.rows() if row["status"] == "failed"]
    assert [row["set_up"] for row in failed] == [6, 7, 8]
    assert {row["error"] for row in failed} == {"the worker of chunk 2 is gone"}
    found = contents(tmp_path / "rows")
    assert [name for name in expected if found[name] != expected[name]] == [list(expected)[2]]


def test_an_error_in_a_chunk_is_told_in_its_rows(tmp_path, monkeypatch):
    def solve(sweep, first, last, threads):
        if first == 3:
            raise MemoryError("no memory for it")
        return solve_chunk(sweep, first, last, threads)

    solve_chunk = run_module.solve_chunk
    monkeypatch.setattr(run_module, "solve_chunk", solve)
    results = sp.sweep(made(), tmp_path / "rows")
    assert {row["error"] for row in results.rows() if row["status"] == "failed"} == {"no memory for it"}
    assert results.failed == 3


def test_workers_that_are_killed_in_the_middle_lose_nothing(tmp_path):
    sweep = sp.Sweep.of({"workload": "ctr", "seed": range(12), "method": "greedy"}, chunk=1)
    reference = tmp_path / "reference"
    sp.sweep(sweep, reference)
    killed = []

    def kill_one(results):
        if len(killed) < 3:
            process = random.Random(results.done).choice(multiprocessing.active_children())
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)

    results = sp.sweep(sweep, tmp_path / "rows", workers=2, callback=kill_one)
    assert len(killed) == 3
    assert (results.complete, results.failed) == (True, 0)
    # The digest in a Parquet file is that of the description, which is the same.
    assert contents(tmp_path / "rows") == contents(reference)


CODE = """
import sys
from pathlib import Path
from small_sweeps import made
import stageplan as sp
sweep = sp.Sweep.of({"workload": "ctr", "method": "greedy", "seed": range(40)}, chunk=1)
sp.sweep(sweep, sys.argv[1], resume=True)
"""


def test_a_run_that_is_killed_again_and_again_is_resumed(tmp_path):
    rng = random.Random(1)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path])}

    def run(directory):
        return subprocess.Popen([sys.executable, "-c", CODE, directory], env=environment)

    assert run(tmp_path / "reference").wait() == 0
    for _ in range(3):
        process = run(tmp_path / "rows")
        chunks = tmp_path / "rows/chunks"
        before = len(list(chunks.glob("0*"))) if chunks.exists() else 0
        while process.poll() is None and (not chunks.exists() or len(list(chunks.glob("0*"))) == before):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.wait()
    assert run(tmp_path / "rows").wait() == 0
    assert contents(tmp_path / "rows") == contents(tmp_path / "reference")


def test_a_full_disk_ends_a_sweep_with_what_is_done(tmp_path, expected, monkeypatch):
    synced = []

    def fsync(descriptor):
        synced.append(descriptor)
        if len(synced) > 3:  # the description, and two chunks
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fsync)
        with pytest.raises(OSError, match="No space left on device") as caught:
            sp.sweep(made(), tmp_path / "rows", threads=1)
    path = tmp_path / "rows/chunks"
    assert str(caught.value.strerror).startswith(f"{path}/00000002.")
    assert str(caught.value.strerror).endswith("; 2 of 4 chunks are complete, and resume continues them")
    assert len(contents(tmp_path / "rows")) == 2
    sp.sweep(made(), tmp_path / "rows", resume=True)
    assert contents(tmp_path / "rows") == expected


def test_a_broken_executor_ends_a_sweep(tmp_path):
    class Broken:
        def submit(self, *_):
            raise BrokenExecutor("all workers are gone")

    sentence = (
        "the executor broke down: all workers are gone; 0 of 4 chunks are complete, and resume continues"
    )
    with pytest.raises(RuntimeError, match=sentence):
        sp.sweep(made(), tmp_path / "rows", executor=Broken())


def test_a_worker_whose_directory_is_of_another_sweep_ends_it(tmp_path):
    def swap(task, numbers):
        from stageplan.sweeps.store import Store

        Store.make(tmp_path / "rows", made(seed=1), 3, "jsonl")
        return map(task, numbers)

    with pytest.raises(OSError, match="has changed since the sweep began"):
        sp.sweep(made(), tmp_path / "rows", executor=swap)


def test_another_sweeps_directory_is_refused_and_left_alone(tmp_path):
    sp.sweep(made(), tmp_path / "rows", rows="jsonl")
    before = contents(tmp_path / "rows")
    cases = [
        (made(seed=1), {"resume": True}, "that of another sweep; it must be new, empty or of this sweep"),
        (made(), {}, "which has chunks of this sweep; resume continues them"),
        (made(), {"resume": True, "rows": "parquet"}, "rows is 'parquet'; it must be 'jsonl', as in "),
    ]
    for sweep, arguments, sentence in cases:
        with pytest.raises(ValueError, match=sentence):
            sp.sweep(sweep, tmp_path / "rows", **arguments)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="it must be new, empty, or the directory of a sweep"):
        sp.sweep(made(), tmp_path / "mine", resume=True)
    assert contents(tmp_path / "rows") == before
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_damaged_chunk_is_refused_when_it_is_resumed(tmp_path):
    sp.sweep(made(), tmp_path / "rows")
    path = next((tmp_path / "rows/chunks").iterdir())
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(ValueError, match=f"{path.name}: it "):
        sp.sweep(made(), tmp_path / "rows", resume=True)
    assert path.read_bytes() == b"PAR1 no more"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"executor": 3}, "executor is 3; it must be an executor"),
        ({"workers": 0}, "workers is 0; it must be a whole number, at least 1"),
        ({"workers": 2, "executor": map}, "workers is given with executor; only one of them may be"),
        ({"threads": 0}, "threads is 0; "),
        ({"rows": "csv"}, "rows is 'csv'; it must be one of 'parquet', 'jsonl'"),
        ({"shard": (3, 2)}, r"shard is \(3, 2\); it must be \(i, n\)"),
        ({"shard": "1/2"}, "shard is '1/2'; it must be "),
        ({"shard": (1,)}, "shard is "),
        ({"shard": (0, 2)}, "shard is "),
    ],
)
def test_bad_arguments_are_refused(tmp_path, arguments, sentence):
    with pytest.raises((TypeError, ValueError), match=f"^{sentence}"):
        sp.sweep(made(), tmp_path / "rows", **arguments)
    assert not (tmp_path / "rows").exists()


def test_a_sweep_that_fails_everywhere_makes_no_directory(tmp_path):
    sweep = sp.Sweep.of({"workload": "ctr", "microbatches": 2})
    with pytest.raises(ValueError, match=r"^no set-up can be solved: "):
        sp.sweep(sweep, tmp_path / "rows")
    assert not (tmp_path / "rows").exists()


def test_the_callback_is_called_in_the_thread_of_the_caller(tmp_path):
    threads = []
    with ThreadPoolExecutor(2) as executor:
        sp.sweep(
            made(), tmp_path / "rows", executor=executor,
            callback=lambda results: threads.append((threading.get_ident(), results.done)),
        )  # fmt: skip
    assert threads == [(threading.get_ident(), done) for done in range(1, 5)]
