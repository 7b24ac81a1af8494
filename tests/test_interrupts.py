"""Signals that end commands, sent to processes of their own once these have begun."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from commands import problem
from processes import SIGNALS, gone, read_until, started

import stageplan as sp
from stageplan import interrupts
from stageplan.plan_file import PlanDocument

ENDLESS = ("plan", "bert-large", "--method", "genetic", "--max-generations", 10**9)

# The command line, which says so at the first progress of a search.
SEARCH = """
import sys, stageplan.cli.search as search
from contextlib import contextmanager
@contextmanager
def search_progress(arguments):
    said = []
    yield lambda progress: said or said.append(print("ready", file=sys.stderr, flush=True))
search.search_progress = search_progress
from stageplan.cli import main
sys.exit(main())
"""


def test_a_search_that_a_signal_ends_continues(net_files, tmp_path):
    """The file has the state between two steps; what a cut step has found is found again."""
    file, endless = tmp_path / "run.ckpt", ("plan", "net.toml", *ENDLESS[2:], "--checkpoint-every", 0.001)
    for _ in range(2):
        with started(SEARCH, *endless, "--checkpoint", file) as (process, _):
            while not file.exists():
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            process.communicate()
        assert process.returncode == 143
    at_once = sp.solve(problem(), "genetic", stop=sp.MaxGenerations(0), checkpoint=file)
    stop = sp.MaxGenerations(at_once.generations + 20)
    last, whole = (sp.solve(problem(), "genetic", stop=stop, checkpoint=path) for path in (file, None))
    assert (last.plan, last.evaluations, last.work) == (whole.plan, whole.evaluations, whole.work)


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_plan_is_printed_and_written(tmp_path, number, status):
    with started(SEARCH, *ENDLESS, "-o", tmp_path / "plan.json") as (process, _):
        process.send_signal(number)
        out, err = process.communicate()
    assert (process.returncode, err) == (status, "")
    assert out.endswith("(interrupted)\n")
    plan = msgspec.json.decode((tmp_path / "plan.json").read_bytes(), type=PlanDocument)
    assert plan.search.interrupted
    assert plan.feasible


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_front_is_printed_and_written(tmp_path, number, status):
    command = ("pareto", "bert-large", "--points", 1000, "--max-runtime", 600, "-o", tmp_path / "front.json")
    with started(SEARCH, *command) as (process, _):
        process.send_signal(number)
        out, err = process.communicate()
    assert (process.returncode, err) == (status, "")
    assert out.endswith("(interrupted)\n")
    assert msgspec.json.decode((tmp_path / "front.json").read_bytes())["interrupted"]


def test_simultaneous_signals_are_one_request(tmp_path):
    with started(SEARCH, *ENDLESS, "-o", tmp_path / "plan.json") as (process, _):
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            process.send_signal(number)
        out, err = process.communicate()
    assert process.returncode in (130, 143, 129)
    assert err == ""
    assert out.endswith("(interrupted)\n")
    assert (tmp_path / "plan.json").exists()


def test_signals_ignored_from_the_start_stay_ignored(tmp_path):
    """As those of a command that nohup starts."""
    code = "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + SEARCH
    with started(code, *ENDLESS, "-o", tmp_path / "plan.json") as (process, _):
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate()
    assert process.returncode == 143
    assert out.endswith("(interrupted)\n")


def test_closed_terminal_loses_no_plan(tmp_path):
    ours, theirs = pty.openpty()
    code = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL); from stageplan.cli import main; main()"
    )
    command = [sys.executable, "-c", code, *map(str, ENDLESS), "-o", str(tmp_path / "plan.json")]
    environment = os.environ | {"TERM": "xterm"}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        read_until(ours, b"bound")
        os.close(ours)
        process.send_signal(signal.SIGHUP)
    plan = msgspec.json.decode((tmp_path / "plan.json").read_bytes(), type=PlanDocument)
    assert plan.search.interrupted


@pytest.mark.parametrize(("number", "status"), SIGNALS)
@pytest.mark.parametrize("module", ["stageplan.cli", "stageplan.__main__"])
def test_imports_end_quietly(number, status, module):
    """A signal while numpy is imported; native modules whose import it broke would fail with other errors."""
    code = f"""
import sys
from importlib import import_module
class Finder:
    def find_spec(self, name, *_):
        if name == "numpy":
            sys.meta_path.remove(self)
            print("ready", file=sys.stderr, flush=True)
            sys.stdin.read()  # until the signal was sent
sys.meta_path.insert(0, Finder())
sys.argv = ["stageplan", "info"]
try:
    sys.exit(import_module({module!r}).main())
finally:
    print("stageplan.cli.commands" in sys.modules)
"""
    with started(code, stdin=subprocess.PIPE) as (process, _):
        process.send_signal(number)
        out, err = process.communicate()
    assert (process.returncode, out, err) == (status, "True\n", "stageplan: interrupted\n")


def test_interrupt_within_exec_has_the_same_exit_status(tmp_path):
    """As of dataclasses while a library is imported, after which ``python -m`` would end by SIGINT."""
    (tmp_path / "planner.py").write_text("""
import signal, sys
import stageplan.cli.search as search
signal.signal(signal.SIGINT, signal.default_int_handler)
search.make_problem = lambda *_: exec("print('ready', file=sys.stderr, flush=True); sys.stdin.read()")
from stageplan.cli import main
sys.exit(main(["plan", "ctr"]))
""")
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "planner"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=pipe, stderr=pipe, text=True) as process:
        assert process.stderr.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert (process.returncode, err) == (130, "stageplan: interrupted\n")


def test_library_installs_no_handlers():
    numbers = [number for number, _ in SIGNALS]
    before = [signal.getsignal(number) for number in numbers]
    seen = []
    problem = sp.Problem.from_arrays([[1.0], [2.0]], [1.0], limit=[4.0])
    sp.solve(problem, "genetic", stop=sp.MaxGenerations(1), callback=seen.append)
    sp.pareto(problem, callback=seen.append)
    assert seen
    assert [signal.getsignal(number) for number in numbers] == before


def test_handlers_are_as_before_at_the_end():
    before = signal.getsignal(signal.SIGTERM)
    with interrupts.handled():
        assert signal.getsignal(signal.SIGTERM) is not before
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    assert interrupts.exit_status() == 143


def test_held_signal_ends_the_block_that_holds_it():
    done = []

    def work():
        with interrupts.held():
            signal.raise_signal(signal.SIGTERM)
            done.append("whole")

    with interrupts.handled():
        with pytest.raises(KeyboardInterrupt):
            work()
        with interrupts.held():
            done.append("later")
    assert done == ["whole", "later"]


STAGES = """
import sys, stageplan.profiling.check
check = sys.modules["stageplan.profiling.check"]
wait = check._wait
def say_and_wait(ranks, *more):
    print("ready", *(rank.pid for rank in ranks), file=sys.stderr, flush=True)
    wait(ranks, *more)
check._wait = say_and_wait
from stageplan.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize(("number", "status"), SIGNALS[1:])
def test_check_ends_its_stages(tmp_path, number, status):
    pytest.importorskip("torch")
    flags = ("--measure", "cpu", "--batch", 1, "--max-spread", 100, "--repeats", 2, "--check", "-o")
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = ("profile", "networks:hanging", *flags, tmp_path / "net.json")
    with started(STAGES, *command, env=os.environ | {"PYTHONPATH": path}) as (process, stages):
        process.send_signal(number)
        _, err = process.communicate()
    assert (process.returncode, err) == (status, "stageplan: interrupted\n")
    assert sp.read_workload(tmp_path / "net.json").layers
    assert len(stages) == 2
    assert all(gone(int(stage)) for stage in stages)
