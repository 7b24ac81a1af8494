"""``stageplan report``."""

import json
from pathlib import Path

import pytest
import report_samples as samples
from pages import Page

import stageplan as sp
from stageplan.workload_file import write_workload


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def plan_file(run):
    assert run("plan", "ctr", "-o", "plan.json")[0] == 0
    return "plan.json"


def test_a_plan_file_alone_has_no_capacities(run, plan_file):
    status, out, err = run("report", plan_file, "-o", "report.html")
    assert (status, out) == (0, "")
    size = len(Path("report.html").read_bytes())
    assert err == f"wrote report.html: {size / 1000:,.0f} kB\n"
    page = Page(Path("report.html").read_text())
    plan = sp.read_plan(plan_file)
    assert [row[1] for row in page.sections["Placement"][1:]] == [stage.type for stage in plan.stages]
    assert page.sections["Memory by stage"][0][-1] == "–"
    assert len(page.sections["Search"]) > 1


def test_with_its_workload_a_plan_has_capacities_and_limits(run, plan_file):
    assert run("report", plan_file, "--workload", "ctr", "-o", "report.html")[0] == 0
    page = Page(Path("report.html").read_text())
    assert page.sections["Memory by stage"][0][-1] == "capacity"
    assert "devices of cpu" in [row[0] for row in page.sections["Limits"]]
    assert len(page.sections["Search"]) > 1


def test_an_infeasible_plan_has_a_report_with_what_would_be_sufficient(run):
    assert run("plan", "ctr", "--max-price", "0.5", "-o", "plan.json")[0] == 1
    assert run("report", "plan.json", "-o", "report.html")[0] == 0
    page = Page(Path("report.html").read_text())
    assert "broken" in [row[-1] for row in page.sections["Limits"]]
    found = json.loads(Path("plan.json").read_text())["repair"]["suggestions"]
    assert len(page.sections["Changes that would be sufficient"]) - 1 == sum(len(s["changes"]) for s in found)


def test_a_front_and_a_sweep_have_reports(run):
    assert run("pareto", "ctr", "--points", "3", "-o", "front.json")[0] == 0
    samples.swept("rows")
    for source, title in (("front.json", "Cost against throughput"), ("rows", "Axes")):
        assert run("report", source, "-o", "report.html")[0] == 0
        assert title in Page(Path("report.html").read_text()).sections


def test_a_report_is_printed(run, plan_file):
    status, out, err = run("report", plan_file, "-o", "-")
    assert (status, err) == (0, "")
    assert out.startswith("<!DOCTYPE html>")
    Page(out)


def scheduled():
    plan = samples.trained().plan
    plan.save("trained.json")
    return plan


def test_a_trace_is_written_with_the_report_or_alone(run):
    plan = scheduled()
    assert run("report", "trained.json", "--trace", "trace.json") == (0, "", "")
    spans = [e for e in json.loads(Path("trace.json").read_text())["traceEvents"] if e["ph"] == "X"]
    assert sum(span["tid"] == 0 for span in spans) == 2 * 8 * len(plan.stages)
    assert run("report", "trained.json", "--trace", "trace.json", "-o", "report.html")[0] == 0


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["plan.json"], "--output is missing; it must be the HTML file to write, or - for stdout"),
        (
            ["plan.json", "-o", "plan.json"],
            "--output is plan.json, which is read too; it must be another file",
        ),
        (["plan.json", "--trace", "plan.json"], "--trace is plan.json, which is read too"),
        (["plan.json", "-o", "no/report.html"], "--output is no/report.html; its directory"),
        (["plan.json", "-o", "r.html", "--device", "t4"], "--device requires --workload"),
        (
            ["plan.json", "--trace", "t.json"],
            "plan.json: goal.schedule is None; it must be 'gpipe' or '1f1b'",
        ),
        (["front.json", "--trace", "t.json"], "--trace is given with a front; it requires a plan"),
        (
            ["rows", "--workload", "ctr", "-o", "r.html"],
            "--workload is given with a sweep; it requires a plan",
        ),
        (["rows", "--device", "t4", "-o", "r.html"], "--device requires --workload"),
        (["rows", "--trace", "t.json"], "--trace is given with a sweep; it requires a plan"),
        (["ctr.toml", "-o", "r.html"], "ctr.toml: it is not valid JSON"),
        (["net.json", "-o", "r.html"], "net.json: it holds a workload; run stageplan plan net.json"),
        (["plan.json", "--workload", "resnet50", "-o", "r.html"], "plan.json: the plan is of"),
        ([".", "-o", "r.html"], ". is not the directory of a sweep; it has no sweep.json"),
        (["nowhere.json", "-o", "r.html"], "nowhere.json: No such file or directory"),
    ],
)
def test_wrong_calls_are_refused_before_anything_is_written(run, refused, plan_file, argv, sentence):
    run("pareto", "ctr", "--points", "2", "-o", "front.json")
    run("example", "ctr")
    write_workload(sp.Workload(name="net", layers=[sp.Layer(name="a", compute={"gpu": 1.0})]), "net.json")
    samples.swept("rows")
    assert refused("report", *argv).startswith(sentence)
    assert not any(Path(name).exists() for name in ("r.html", "t.json"))


def test_the_same_plan_has_the_same_report(run, plan_file):
    run("report", plan_file, "-o", "one.html")
    run("report", plan_file, "-o", "two.html")
    assert Path("one.html").read_bytes() == Path("two.html").read_bytes()
