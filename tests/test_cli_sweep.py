"""``stageplan sweep``."""

import os
import pty
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import strict
from processes import SIGNALS, read_until, started, wait_for
from small_sweeps import FILE, contents, made, write_files

import stageplan as sp
from stageplan.cli import sweep as cli_sweep


@pytest.fixture
def sweep(run):
    """Run a command beside sweep.toml."""
    write_files(Path())
    return run


@pytest.fixture
def bad(sweep, refused):
    return refused


def test_all_set_ups_have_rows(sweep):
    status, out, err = sweep("sweep", "sweep.toml", "-o", "rows", "--rows", "jsonl")
    assert (status, err) == (0, "")
    assert out.startswith(
        "prices: 12 set-ups: method (2) x min_throughput (3) x price.fast, price.slow (2); 4 of 4"
    )
    assert "\n      7  optimal\n" in out
    assert list(contents(Path("rows"))) == [f"{number:08}.jsonl" for number in range(4)]


@pytest.mark.parametrize("rows", ["jsonl", "parquet"])
def test_the_reasons_of_failures_are_printed(sweep, rows):
    if rows == "parquet":
        pytest.importorskip("pyarrow")
    text = FILE.replace(
        "[product]", '[product]\nschedule = "gpipe"\nbatch = [6, 7, 8]\nmicrobatches = [2, 3, 4]', 1
    )
    Path("sweep.toml").write_text(text)
    status, out, err = sweep("sweep", "sweep.toml", "-o", "rows", "--rows", rows)
    assert (status, err) == (1, "")
    reasons = re.findall(
        r"^(\d+) failed: batch is (\d); it must be a multiple of microbatches, (\d)", out, re.M
    )
    assert len(reasons) == 3
    assert all(int(batch) % int(parts) for _, batch, parts in reasons)
    assert re.search(r"^2 other reasons are in column error$", out, re.M)
    assert sp.SweepResults.open("rows").errors().total() == sp.SweepResults.open("rows").failed


def test_status_merge_and_front(sweep):
    sweep("sweep", "sweep.toml", "-o", "rows", "--rows", "jsonl")
    status, counted, _ = sweep("sweep", "-o", "rows", "--status")
    assert (status, counted) == (0, str(sp.SweepResults.open("rows")) + "\n")
    assert sweep("sweep", "merge", "rows", "-o", "all.jsonl") == (0, "wrote 12 rows to all.jsonl\n", "")
    assert Path("all.jsonl").read_bytes() == b"".join(contents(Path("rows")).values())
    status, out, _ = sweep("sweep", "front", "rows")
    front = sp.SweepResults.open("rows").front()
    assert (status, out) == (0, f"{front}\n")
    status, out, _ = sweep("sweep", "front", "rows", "--against", "price", "-o", "-")
    assert strict(out) == sp.SweepResults.open("rows").front("price").to_dict()


def test_status_says_with_its_exit_status_whether_chunks_are_missing(sweep):
    assert sweep("sweep", "sweep.toml", "-o", "rows", "--shard", "1/2")[0] == 0
    status, out, _ = sweep("sweep", "-o", "rows", "--status")
    assert status == 1
    assert "2 of 4 chunks are complete" in out
    assert sweep("sweep", "sweep.toml", "-o", "rows", "--shard", "2/2")[0] == 0
    assert sweep("sweep", "-o", "rows", "--status")[0] == 0


def test_resuming(sweep):
    sweep("sweep", "sweep.toml", "-o", "rows", "--resume")
    before = contents(Path("rows"))
    next(Path("rows/chunks").iterdir()).unlink()
    status, out, _ = sweep("sweep", "sweep.toml", "-o", "rows", "--resume", "--workers", 2, "--threads", 1)
    assert (status, contents(Path("rows"))) == (0, before)
    assert "4 of 4 chunks are complete" in out


def test_failed_set_ups_are_told_by_the_exit_status(sweep):
    Path("sweep.toml").write_text(
        FILE.replace("examples = 3600", 'examples = 3600\nmicrobatches = ["none", 2]')
    )
    status, out, _ = sweep("sweep", "sweep.toml", "-o", "rows")
    assert status == 1
    assert re.search(r"^ +12  failed$", out, re.M)
    assert sweep("sweep", "-o", "rows", "--status")[0] == 1


def test_a_front_without_plans(sweep):
    Path("sweep.toml").write_text(FILE.replace("examples = 3600", "max_cost = 1e-9"))
    assert sweep("sweep", "sweep.toml", "-o", "rows")[0] == 0
    assert sweep("sweep", "front", "rows") == (1, "no plan meets all limits\n", "")


def test_the_example_runs(sweep):
    status, out, _ = sweep("sweep", "--example")
    assert status == 0
    assert tomllib.loads(out)["name"] == "ctr"
    Path("ctr-sweep.toml").write_text(out)
    status, out, _ = sweep("sweep", "ctr-sweep.toml", "-o", "rows")
    assert status == 0
    assert "270 set-ups" in out


def test_the_slurm_script_runs_all_shards(sweep):
    assert sweep("sweep", "sweep.toml", "-o", "reference")[0] == 0
    status, script, _ = sweep("sweep", "sweep.toml", "-o", "it's rows", "--slurm", 2)
    assert status == 0
    assert "#SBATCH --job-name=prices\n#SBATCH --array=1-2\n" in script
    Path("job.sh").write_text(script)
    assert not Path("it's rows").exists()
    path = os.pathsep.join(filter(None, sys.path))
    for task in ("2", "1"):
        environment = os.environ | {
            "SLURM_ARRAY_TASK_ID": task,
            "SLURM_CPUS_PER_TASK": "1",
            "PYTHONPATH": path,
        }
        subprocess.run(["sh", "job.sh"], env=environment, check=True, capture_output=True)
    assert contents(Path("it's rows")) == contents(Path("reference"))


def test_dask_is_named_where_it_is_absent(bad, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    sentence = bad("sweep", "sweep.toml", "-o", "rows", "--dask", "tcp://localhost:1")
    assert sentence == "--dask requires Dask: pip install distributed"


SLOW = """
[product]
workload = "bert-large"
method = "{}"
min_throughput = {{ from = 1, to = 900, points = 1000000 }}
"""


@pytest.mark.parametrize(
    ("number", "status", "method", "flags"),
    [
        *((number, status, "exact", ()) for number, status in SIGNALS),
        (signal.SIGTERM, 143, "genetic", ()),
        (signal.SIGTERM, 143, "exact", ("--workers", 2)),
    ],
)
def test_a_signal_abandons_the_chunk_in_hand(tmp_path, number, status, method, flags):
    (tmp_path / "slow.toml").write_text("chunk = 100000\n" + SLOW.format(method))
    code = """
import sys, threading, time
from pathlib import Path
from types import SimpleNamespace
from stageplan.cli import main
def say():
    while not Path(sys.argv[4], "chunks").exists():
        time.sleep(0.01)
    time.sleep(0.3)
    print("ready", file=sys.stderr, flush=True)
if __name__ == "__main__":
    threading.Thread(target=say, daemon=True).start()
    sys.exit(main())
"""
    arguments = ("sweep", tmp_path / "slow.toml", "-o", tmp_path / "rows", "--rows", "jsonl", *flags)
    with started(code, *arguments) as (process, _):
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (status, "")
    assert out.startswith(
        "slow: 1,000,000 set-ups: min_throughput (1,000,000); 0 of 10 chunks are complete (inter"
    )
    assert list((tmp_path / "rows/chunks").iterdir()) == []


def test_progress_is_shown_on_a_terminal(tmp_path):
    (tmp_path / "slow.toml").write_text("chunk = 20\n" + SLOW.format("exact"))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "stageplan", "sweep", tmp_path / "slow.toml", "-o", tmp_path / "rows"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(command, stderr=theirs, stdout=subprocess.DEVNULL, env=environment) as process:
        os.close(theirs)
        assert b" of 50,000 chunks, " in read_until(ours, b" set-ups, 0 failed")
        process.terminate()
        wait_for(lambda: process.poll() is not None)
        os.close(ours)
    assert process.returncode == 143


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (("sweep",), "--output is missing; it must be the directory of the sweep"),
        (("sweep", "-o", "rows"), "SWEEP.toml is missing; stageplan sweep --example prints one"),
        (("sweep", "sweep.toml", "rows"), "DIR is rows; it requires merge or front before it"),
        (("sweep", "merge"), "DIR is missing; merge must have the directory of a sweep"),
        (("sweep", "merge", "."), "the directory of a sweep; it has no sweep.json"),
        (
            ("sweep", "sweep.toml", "-o", "rows", "--shard", "0/2"),
            "--shard is 0/2; it must be I/N, as 1/8 to 8/8",
        ),
        (
            ("sweep", "sweep.toml", "-o", "rows", "--shard", "3/2"),
            "--shard is 3/2; it must be I/N with I at most N",
        ),
        (
            ("sweep", "sweep.toml", "-o", "rows", "--workers", "0"),
            "--workers is 0; it must be a whole number",
        ),
        (("sweep", "sweep.toml", "-o", "rows", "--slurm", "0"), "--slurm is 0; it must be a number of tasks"),
        (("sweep", "absent.toml", "-o", "rows"), "absent.toml: No such file or directory"),
        (("sweep", "sweep.toml", "-o", "."), "it must be new, empty, or the directory of a sweep"),
        (("sweep", "sweep.toml", "-o", "net.toml"), "net.toml, a file; it must be a directory, or a new one"),
        (("sweep", "-o", "absent", "--status"), "absent/sweep.json: No such file or directory"),
    ],
)
def test_bad_input_is_refused(bad, argv, sentence):
    assert sentence in bad(*argv)
    assert not Path("rows").exists()


def test_merge_needs_an_output(sweep, refused):
    sp.sweep(made(), "rows", rows="jsonl")
    assert refused("sweep", "merge", "rows") == "--output is missing; it must be the file to write"
    assert "must be a file .jsonl" in refused("sweep", "merge", "rows", "-o", "all.parquet")


def test_a_damaged_directory_is_refused(bad):
    sp.sweep(made(), "rows", rows="jsonl")
    Path("rows/sweep.json").write_text('{"format": "stageplan sweep 7", "version": "3.0"}')
    sentence = bad("sweep", "-o", "rows", "--status")
    assert sentence.startswith(
        "rows/sweep.json: its format is 'stageplan sweep 7', written by version '3.0'; "
    )


@pytest.mark.parametrize("name", ["front.parquet", "front.csv"])
def test_a_front_is_written_as_json_alone(sweep, name):
    sweep("sweep", "sweep.toml", "-o", "rows", "--rows", "jsonl")
    status, _, err = sweep("sweep", "front", "rows", "-o", name)
    assert (status, Path(name).exists()) == (2, False)
    assert f"--output is {name}; a front is written as JSON" in err


def test_a_shard_beyond_the_last_is_shown_as_given(sweep):
    status, _, err = sweep("sweep", "sweep.toml", "-o", "rows", "--shard", "4/3")
    assert (status, "--shard is 4/3; it must be I/N with I at most N" in err) == (2, True)


def test_a_damaged_chunk_is_to_be_deleted(sweep):
    sweep("sweep", "sweep.toml", "-o", "rows", "--rows", "jsonl")
    Path("rows/chunks/00000000.jsonl").write_text("{")
    status, _, err = sweep("sweep", "sweep.toml", "-o", "rows", "--resume")
    assert (status, "delete this file; resume computes it again" in err) == (2, True)


def test_the_line_of_a_sweep_has_time_and_rate(monkeypatch):
    lines, clock = [], iter([100.0, 102.0, 112.0])
    monkeypatch.setattr(cli_sweep.time, "monotonic", lambda: next(clock))
    line = cli_sweep._Line(lines.append)
    for done, failed in ((3, 0), (5, 1)):
        statuses = {"optimal": 100 * done, "failed": failed}
        line(SimpleNamespace(done=done, chunks=1000, statuses=statuses, failed=failed))
    assert lines == [
        "2.0 s: 3 of 1,000 chunks, 300 set-ups, 0 failed",
        "12.0 s: 5 of 1,000 chunks, 501 set-ups, 1 failed; 20 set-ups/s",
    ]
