"""Lines on the progress of searches and sweeps, on the logger of the package."""

import logging
import subprocess
import sys

import numpy as np
import pytest
from msgspec.structs import replace

import stageplan as sp
from stageplan import log
from stageplan.log import LOGGER, due, log_progress, progress_line, search_line

PROBLEM = sp.Problem.from_arrays(
    np.random.default_rng(5).lognormal(0, 0.8, (12, 3)), [1.0, 1.4, 2.0], limit=[6, 4, 3], min_throughput=0.4
)


@pytest.fixture(autouse=True)
def no_line_yet(monkeypatch):
    monkeypatch.setattr(log, "_last", -np.inf)


def messages(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "stageplan"]


def test_the_package_installs_no_handler_that_writes():
    assert [type(handler) for handler in LOGGER.handlers] == [logging.NullHandler]
    code = "import stageplan as sp; sp.solve(sp.Problem.from_arrays([[1.0]], [1.0]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_search_logs_a_line_a_second(caplog, monkeypatch):
    caplog.set_level(logging.INFO, "stageplan")
    now = iter(np.arange(0, 1000, 0.3))
    monkeypatch.setattr(log.time, "monotonic", lambda: next(now))
    result = sp.solve(PROBLEM, "genetic", stop=sp.MaxGenerations(20))
    lines = messages(caplog)
    assert len(lines) == 5  # of 20 steps 0.3 s apart: the first, and each fourth after it
    assert all(" s: best $" in line and "; bound $" in line and "schemes (" in line for line in lines)
    assert f"best ${result.plan.cost:,.6g}, " in lines[-1]


def test_nothing_is_logged_below_the_level(caplog):
    caplog.set_level(logging.WARNING, "stageplan")
    assert not due()
    sp.solve(PROBLEM, "genetic", stop=sp.MaxGenerations(2))
    assert messages(caplog) == []


def test_a_front_logs_its_searches(caplog, monkeypatch):
    caplog.set_level(logging.INFO, "stageplan")
    monkeypatch.setattr(log, "PAUSE", 0.0)
    sp.pareto(PROBLEM, points=3)
    assert any("gap 0 %" in line for line in messages(caplog))
    assert any("no bound" in line for line in messages(caplog))  # while points are found together


def test_a_sweep_logs_its_chunks(caplog, monkeypatch, tmp_path):
    caplog.set_level(logging.INFO, "stageplan")
    monkeypatch.setattr(log, "PAUSE", 0.0)
    sweep = sp.Sweep.of({"workload": "ctr", "min_throughput": [1e5, 1e6]}, chunk=1)
    sp.sweep(sweep, tmp_path / "rows", rows="jsonl")
    chunks = [line for line in messages(caplog) if "chunks" in line]
    assert [line.partition(" s: ")[2].partition(";")[0] for line in chunks] == [
        "1 of 2 chunks, 1 set-ups, 0 failed",
        "2 of 2 chunks, 2 set-ups, 0 failed",
        "2 of 2 chunks, 2 set-ups, 0 failed",  # at the end
    ]


@pytest.mark.parametrize(
    ("objective", "bound", "gap", "words"),
    [
        ("cost", 17.5, 0.125, "; bound $17.5, gap 12.5 %; "),
        ("price", 17.5, 0.0, "; bound $17.5/h, gap 0 %; "),
        ("throughput", 0.25, 0.1, "; bound 0.25 examples/s, gap 10 %; "),
        ("cost", 0.0, np.inf, "; no bound, gap unknown; "),
        ("throughput", np.inf, np.inf, "; no bound, gap unknown; "),
        ("cost", np.inf, np.inf, "; bound: infeasible, gap unknown; "),
        ("throughput", 0.0, np.inf, "; bound: infeasible, gap unknown; "),
    ],
)
def test_the_line_of_a_search(objective, bound, gap, words):
    plan = sp.Plan.of(PROBLEM, np.zeros(12, np.int8))
    line = search_line(plan, objective, bound=bound, gap=gap, evaluations=1000, work=9000, runtime=2.0)
    assert line.startswith(
        f"2.0 s: best ${plan.cost:,.6g}, {plan.throughput:,.6g} examples/s, ${plan.price:,.6g}/h"
    )
    assert words in line
    assert line.endswith("; 1,000 schemes (500/s), work 9,000 (4,500/s)")


def test_a_line_says_how_far_a_plan_is_from_the_limits():
    plan = sp.Plan.of(PROBLEM.replace(max_price=1e-3), np.zeros(12, np.int8))
    line = search_line(plan, "cost", bound=1.0, gap=np.inf, evaluations=1, work=1, runtime=0.0)
    assert f"/h, violation {plan.violation:.3g}; " in line


def test_progress_is_logged_once_a_second(caplog):
    caplog.set_level(logging.INFO, "stageplan")
    progress = sp.solve(PROBLEM, "greedy").history[0]
    caplog.clear()
    log_progress(progress)
    log_progress(progress)
    assert len(messages(caplog)) <= 1


def test_the_line_for_a_terminal():
    problem = sp.Problem.from_arrays([[1.0]], price=[1.0])
    progress = sp.Progress(
        generation=12, evaluations=3456, work=98765, stagnation=1, runtime=0.5, cost=17.25, throughput=1e6,
        price=3.5, violation=0.0, bound=17.0, objective="cost", problem=problem, scheme=np.zeros(1, np.int8),
    )  # fmt: skip
    line = "0.5 s: $17.25 at 1e+06/s; bound $17, gap 1.47 %; work 198k/s"
    assert progress_line(progress) == line
    by_price = replace(progress, objective="price", bound=0.0, work=7)
    assert progress_line(by_price) == "0.5 s: $3.5/h at 1e+06/s; no bound, gap unknown; work 14/s"
    assert "/s (violation 0.5); " in progress_line(replace(progress, violation=0.5))
    large = {"runtime": 12345.6, "cost": 123456.7, "throughput": 123456.7, "bound": 123455.1, "work": 10**11}
    for objective in ("cost", "throughput"):
        line = progress_line(replace(progress, objective=objective, **large))
        assert len(line) <= 78  # beside the spinner
