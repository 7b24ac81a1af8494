"""Worker processes: results, errors, deaths, ends."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import wait

import pytest
from processes import alive, gone, started, wait_for

from stageplan.sweeps.processes import Processes, WorkerDiedError


@pytest.fixture
def pool():
    pool = Processes(2)
    yield pool
    pool.shutdown(cancel_futures=True)


def die(number):
    os.kill(os.getpid(), number)


def sleep_as(path):
    path.write_text(str(os.getpid()))
    time.sleep(60)


def test_calls_have_results_and_errors(pool):
    futures = [pool.submit(pow, 2, k) for k in range(10)]
    assert [future.result(60) for future in futures] == [2**k for k in range(10)]
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 1, 0).result(60)
    with pytest.raises(AttributeError):  # it cannot be sent
        pool.submit(lambda: None).result(60)
    with pytest.raises(BrokenPipeError, match="its own"):  # which is not taken for the death of the worker
        pool.submit(_raise, BrokenPipeError("its own")).result(60)
    assert pool.submit(len, (1, 2)).result(60) == 2


def _raise(error):
    raise error


def test_a_death_fails_its_call_alone(pool):
    deaths = [pool.submit(die, signal.SIGKILL), pool.submit(os._exit, 3)]
    others = [pool.submit(abs, -k) for k in range(20)]
    assert [future.result(60) for future in others] == list(range(20))
    with pytest.raises(WorkerDiedError, match=r"^its worker process ended by signal 9 \(Killed\)$"):
        deaths[0].result(60)
    with pytest.raises(WorkerDiedError, match=r"^its worker process ended with exit status 3$"):
        deaths[1].result(60)


def test_workers_are_different_processes_and_not_this_one(pool, tmp_path):
    files = [tmp_path / "a", tmp_path / "b"]
    for file in files:
        pool.submit(sleep_as, file)
    numbers = {int(wait_for(lambda file=file: file.exists() and file.read_text())) for file in files}
    assert len(numbers) == 2
    assert os.getpid() not in numbers
    pool.shutdown(cancel_futures=True)  # at once, in the middle of their calls
    assert all(gone(number) for number in numbers)


def test_a_cancelled_call_does_not_run(pool, tmp_path):
    first = [pool.submit(time.sleep, 0.3) for _ in range(2)]
    last = pool.submit(sleep_as, tmp_path / "ran")
    assert last.cancel()
    wait(first)
    assert pool.submit(abs, -1).result(60) == 1
    assert not (tmp_path / "ran").exists()


def test_workers_end_after_their_calls():
    with Processes(1) as pool:
        future = pool.submit(os.getpid)
    assert gone(future.result())


def test_workers_end_with_a_process_that_is_killed(tmp_path):
    code = """
import sys, time
from pathlib import Path
from stageplan.sweeps.processes import Processes
pool = Processes(1)
number = pool.submit(__import__("os").getpid).result()
pool.submit(time.sleep, 60)
print("ready", number, file=sys.stderr, flush=True)
time.sleep(60)
"""
    with started(code) as (process, said):
        number = int(said[0])
        assert alive(number)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert gone(number)


def test_a_script_without_a_guard_is_told(tmp_path):
    """Its workers import it, and would begin again."""
    script = tmp_path / "script.py"
    script.write_text("""
import stageplan as sp
try:
    sp.sweep(sp.Sweep.of({"workload": "ctr", "limit.a100": [1, 2]}), "rows", workers=2, resume=True)
except RuntimeError as error:
    print(__name__, error)
    raise SystemExit(3)
""")
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, script],
        env=os.environ | {"PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    first, *_, last = done.stdout.splitlines()
    assert first.startswith("__mp_main__ the executor broke down: a worker process could not start: ")
    assert last.startswith("__main__ the executor broke down: a worker process could not start; ")
    assert list((tmp_path / "rows/chunks").iterdir()) == []
