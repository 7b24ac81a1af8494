"""The command line, in this process where possible."""

import errno
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

import stageplan as sp
from stageplan import cli, output
from stageplan.plan_file import PlanDocument
from stageplan.readers import read_cluster, read_goal, read_workload
from stageplan.writers import RUNTIMES

WORKLOAD = """
name = "net"
cluster = "types.toml"
[[layers]]
name = "a"
compute = { slow = 0.004, fast = 0.001 }
memory = 10.0
[[layers]]
name = "b"
compute = { slow = 0.002, fast = 0.001 }
[[layers]]
name = "c"
compute = { slow = 0.001, fast = 0.002 }
[goal]
min_throughput = 300.0
"""
CLUSTER = """
name = "types"
[[types]]
name = "slow"
price = 1.0
limit = 8
[[types]]
name = "fast"
price = 3.0
limit = 4
"""
PROFILE = """\
node1 -- Input -- forward_compute_time=0.0, backward_compute_time=0.0, activation_size=0.0, parameter_size=0.0
node2 -- Line -- forward_compute_time=2.0, backward_compute_time=4.0, activation_size=8.0, parameter_size=9.0
\tnode1 -- node2
"""
SHORT = ("--max-generations", "3", "--population", "16")


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.toml").write_text(WORKLOAD)
    Path("types.toml").write_text(CLUSTER)
    Path("bare.toml").write_text(WORKLOAD.replace('cluster = "types.toml"', ""))
    return tmp_path


@pytest.fixture
def run(capsys):
    """Run a command; returns its exit status, stdout and stderr."""

    def run(*argv):
        status = cli.main([str(argument) for argument in argv])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def refused(run):
    """Run a command that has to be refused; returns its one sentence."""

    def refused(*argv):
        status, out, err = run(*argv)
        assert (status, out) == (2, "")
        assert err.startswith("stageplan: error: ")
        assert err.count("\n") == 1
        return err.removeprefix("stageplan: error: ").rstrip()

    return refused


def strict(text):
    """Decode JSON that has no NaN and no Infinity."""

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def problem(**goal):
    return sp.Problem(
        read_workload("net.toml"),
        read_cluster("types.toml"),
        msgspec.structs.replace(read_goal("net.toml"), **goal),
    )


# plan ---------------------------------------------------------------------------------------------------


def test_plan_prints_the_table_and_nothing_else(run):
    status, out, err = run("plan", "net.toml", *SHORT, "--seed", 5)
    result = sp.solve(problem(), seed=5, population=16, stop=sp.MaxGenerations(3))
    assert (status, out, err) == (0, f"{result}\n", "")


@pytest.mark.parametrize("name", ["ctr", "bert-large", "resnet50"])
def test_built_in_examples_have_a_cluster_and_a_goal(run, name):
    status, out, _ = run("plan", name, *SHORT, "-o", "-")
    plan = strict(out)
    goal = read_goal(name)
    assert status == (0 if plan["feasible"] else 1)
    assert goal is not None
    assert msgspec.convert(plan["goal"], sp.Goal) == goal


def test_written_plan_is_what_the_schema_says(run):
    status, out, _ = run("plan", "net.toml", *SHORT, "-o", "plan.json")
    text = Path("plan.json").read_text()
    plan = msgspec.json.decode(text, type=PlanDocument)
    assert status == 0
    assert "feasible" in out
    assert plan.cost == sp.Plan.of(problem(), plan.scheme).cost
    assert (plan.search.method, plan.search.status, plan.search.gap) == ("auto", "optimal", 0)
    assert f"proven: no plan costs less than ${plan.search.bound:,.6g}" in out
    assert strict(text)["stages"][0]["layers"][0] == "a"
    assert not list(Path().glob(".stageplan*"))


def test_dash_writes_json_to_stdout_instead(run):
    status, out, err = run("plan", "net.toml", *SHORT, "-o", "-")
    assert (status, err) == (0, "")
    assert msgspec.json.decode(out, type=PlanDocument).feasible
    assert not Path("-").exists()


def test_infinite_throughput_is_null(run):
    text = WORKLOAD
    for seconds in ("0.004", "0.002", "0.001"):
        text = text.replace(seconds, "0.0")
    Path("net.toml").write_text(text)
    _, out, _ = run("plan", "net.toml", *SHORT, "-o", "-")
    plan = strict(out)
    assert plan["throughput"] is None
    assert plan["search"]["history"][0]["throughput"] is None
    assert msgspec.json.decode(out, type=PlanDocument).throughput is None


def test_no_feasible_plan_is_status_1_and_says_why(run):
    status, out, err = run("plan", "net.toml", *SHORT, "--max-price", 2, "-o", "plan.json")
    assert (status, err) == (1, "")
    assert "NOT feasible" in out
    assert "allowed 2" in out
    plan = strict(Path("plan.json").read_text())
    assert plan["feasible"] is False
    assert plan["violations"]


FLAGS = {"throughput": "--min-throughput", "price": "--max-price", "cost": "--max-cost"}


def test_a_suggested_change_that_is_made_fits(run):
    """With several limits in the way, each change that is named as enough by itself is."""
    flags = {"--min-throughput": 2500, "--max-price": 14}
    argv = [str(x) for flag in flags.items() for x in flag]
    status, out, _ = run("plan", "net.toml", *argv, "-o", "plan.json")
    assert status == 1
    assert "each of these changes alone would do:\n  " in out
    plan = msgspec.json.decode(Path("plan.json").read_bytes(), type=PlanDocument)
    changes = {change.limit: change for change in plan.repair.changes}
    assert not plan.repair.together
    assert len(changes) >= 1
    assert "throughput" in changes
    for limit, change in changes.items():
        assert change.proven
        assert f"{limit}: {change.needed:.7g}" in out
        changed = [str(x) for flag in (flags | {FLAGS[limit]: change.needed}).items() for x in flag]
        assert run("plan", "net.toml", *changed)[0] == 0


def test_devices_that_are_missing(run):
    cluster = CLUSTER.replace("limit = 8", "limit = 1").replace("limit = 4", "limit = 1")
    Path("types.toml").write_text(cluster)
    status, out, _ = run("plan", "net.toml", "--min-throughput", 900, "-o", "plan.json")
    assert status == 1
    found = {c["limit"]: c["needed"] for c in strict(Path("plan.json").read_text())["repair"]["changes"]}
    needed = found["devices of fast"]
    assert f"devices of fast: {needed:g} instead of 1 (the smallest change)" in out
    for limit, fits in ((needed, 0), (needed - 1, 1)):
        Path("types.toml").write_text(
            cluster.replace("price = 3.0\nlimit = 1", f"price = 3.0\nlimit = {limit:g}")
        )
        assert run("plan", "net.toml", "--min-throughput", 900)[0] == fits


def test_changes_that_have_to_be_made_together(run):
    """Neither money nor speed alone: one device is too slow and two are too dear."""
    status, out, _ = run("plan", "net.toml", "--max-duration", 1, "--max-cost", 1e-3, "-o", "plan.json")
    assert status == 1
    assert "no change of a single limit was found that would do; these together would:\n  " in out
    repair = strict(Path("plan.json").read_text())["repair"]
    assert repair["together"] is True
    assert len(repair["changes"]) >= 2
    assert not any(change["proven"] for change in repair["changes"])


def test_ctrl_c_in_the_search_for_changes(run, monkeypatch):
    monkeypatch.setattr(cli, "repair", _fail(KeyboardInterrupt()))
    status, out, _ = run("plan", "net.toml", "--max-price", 2)
    assert status == 1
    assert "NOT feasible" in out
    assert "would do" not in out


# plan --method reinforce ----------------------------------------------------------------------------------

LEARN = ("--method", "reinforce", "--max-generations", 5, "--population", 8)


def test_reinforce_is_what_solve_does(run):
    status, out, err = run("plan", "net.toml", *LEARN, "--cell", "rnn", "--seed", 3)
    stop = sp.MaxGenerations(5)
    result = sp.solve(problem(), "reinforce", cell="rnn", seed=3, population=8, stop=stop)
    assert (status, out, err) == (0, f"{result}\n", "")


def test_a_saved_policy_goes_on(run):
    assert run("plan", "net.toml", *LEARN, "--save-policy", "a.npz")[0] == 0
    assert run("plan", "net.toml", *LEARN, "--policy", "a.npz", "--save-policy", "b.npz")[0] == 0
    twice = sp.solve(problem(), "reinforce", population=8, stop=sp.MaxGenerations(10)).policy
    assert sp.Policy.load("b.npz") == twice
    assert not list(Path().glob(".stageplan*"))


def test_both_thresholds(run):
    cheapest = sp.solve(problem(), "exact").plan
    limits = ("--max-cost", 1.5 * cheapest.cost, "--max-duration", cheapest.duration)
    status, out, _ = run("plan", "net.toml", *LEARN, *limits)
    assert status == 0
    assert re.search(
        r"feasible\n(  .*, met\n)*  duration: .* s, allowed .*, met\n  cost: .* \$, allowed .*, met\n", out
    )
    status, out, _ = run("plan", "net.toml", "--method", "reinforce", "--max-cost", 0.9 * cheapest.cost)
    assert status == 1
    assert "NOT feasible:\n  cost: " in out
    assert "proven: no plan meets all limits" in out
    assert f"cost: {cheapest.cost:.7g} $ instead of {0.9 * cheapest.cost:.7g} (the smallest change)" in out


def test_the_first_feasible_plan_ends_it(run):
    argv = ("plan", "net.toml", "--method", "random", "--first-feasible", "-o", "-")
    assert strict(run(*argv)[1])["search"]["generations"] == 1


def test_the_incumbent(run):
    status, out, _ = run("plan", "net.toml", *LEARN, "--max-cost", 1000, "--accept", "incumbent")
    assert status == 0
    assert "fastest plan for" in out


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (("--save-policy", "p.npz"), "--save-policy goes with --method reinforce, and not with auto"),
        (("--cell", "rnn"), "--cell is given with method 'auto'; it must go with 'reinforce'"),
        (("--method", "reinforce", "--save-policy", "no/p.npz"), "--save-policy is no/p.npz; its directory"),
        (("--method", "reinforce", "--policy", "net.toml"), "net.toml: it is no policy: "),
        (("--method", "reinforce", "--policy", "none.npz"), "none.npz: No such file or directory"),
        (("--method", "reinforce", "--accept", "incumbent"), "--accept is 'incumbent' without max_cost; "),
    ],
)
def test_bad_learning(refused, argv, sentence):
    assert refused("plan", "net.toml", *argv).startswith(sentence)
    assert not Path("p.npz").exists()


# pareto -------------------------------------------------------------------------------------------------


def test_pareto_prints_the_table_and_nothing_else(run):
    status, out, err = run("pareto", "net.toml", "--points", 5)
    assert (status, out, err) == (0, f"{sp.pareto(problem(), points=5)}\n", "")


@pytest.mark.parametrize(
    "argv", [["--against", "price"], ["--gap", "0.1"], ["--max-throughput", "2500"]], ids=str
)
def test_pareto_writes_json(run, argv):
    status, out, _ = run("pareto", "net.toml", *argv, "--max-runtime", 5, "-o", "front.json")
    front = strict(Path("front.json").read_text())
    assert status == 0
    assert len(front["points"]) >= 2
    assert f"{len(front['points'])} points, " in out
    speeds = [point["plan"]["throughput"] for point in front["points"]]
    assert speeds == sorted(speeds)
    for i, point in enumerate(front["points"]):
        Path(f"{i}.json").write_text(json.dumps(point["plan"]))
        assert msgspec.convert(point["plan"], PlanDocument).feasible
        assert run("score", "net.toml", f"{i}.json")[0] == 0


def test_pareto_where_nothing_fits(run):
    status, out, _ = run("pareto", "net.toml", "--min-throughput", 1e7)
    assert status == 1
    assert "proven: no plan meets all limits" in out


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--points", "1"], "--points is 1; it must be a whole number, at least 2, at most 10000"),
        (["--gap", "-1"], "--gap is -1.0; it must be a finite number, at least 0"),
        (["--max-throughput", "0"], "--max-throughput is 0.0; it must be a finite number, more than 0"),
        (["--merge", "type"], "--merge is 'type'; a front needs 'adjacent', whose plans can be proven"),
    ],
)
def test_bad_fronts_are_one_sentence(refused, argv, sentence):
    assert refused("pareto", "net.toml", *argv) == sentence


@pytest.mark.parametrize(
    ("argv", "changed"),
    [
        (["--objective", "throughput"], {"objective": "throughput"}),
        (["--objective", "cost"], {}),
        (["--examples", "2e7"], {"examples": 2e7}),
        (["--min-throughput", "50"], {"min_throughput": 50.0}),
        (["--max-duration", "9e5"], {"max_duration": 9e5}),
        (["--max-cost", "1e3"], {"max_cost": 1e3}),
        (["--max-price", "99"], {"max_price": 99.0}),
        (["--merge", "type"], {"merge": "type"}),
        (["--merge", "type", "--split"], {"merge": "type", "split": True}),
        (["--split"], {"split": True}),
        (["--no-split"], {}),
        (["--no-overlap"], {"overlap": False}),
        (["--overlap"], {}),
        (["--max-devices-per-stage", "3"], {"max_devices_per_stage": 3}),
    ],
)
def test_flags_replace_one_field_of_the_goal(run, argv, changed):
    _, out, _ = run("plan", "net.toml", *SHORT, *argv, "-o", "-")
    expected = msgspec.structs.replace(read_goal("net.toml"), **changed)
    assert msgspec.convert(strict(out)["goal"], sp.Goal) == expected


@pytest.mark.parametrize("method", cli.METHODS)
def test_every_method(run, method):
    merge = ["--merge", "type"] if method == "annealing" else []
    status, out, _ = run("plan", "net.toml", "--method", method, *merge, "--max-runtime", 0.5, "-o", "-")
    assert status == 0
    assert strict(out)["search"]["method"] == method


@pytest.mark.parametrize(
    ("argv", "field", "most"),
    [
        (["--max-generations", "7"], "generations", 7),
        (["--max-evaluations", "1"], "generations", 0),
        (["--max-runtime", "0"], "generations", 1),
        (["--max-runtime", "60", "--max-generations", "4"], "generations", 4),
        (["--max-runtime", "0", "--max-generations", "4", "--max-evaluations", "9999"], "generations", 1),
    ],
)
def test_the_first_criterion_stops(run, argv, field, most):
    _, out, _ = run("plan", "net.toml", "--population", 16, *argv, "-o", "-")
    assert strict(out)["search"][field] <= most


def test_without_criteria_the_search_ends_by_itself(run):
    _, out, _ = run("plan", "net.toml", "--method", "genetic", "--seed", 3, "-o", "-")
    search = strict(out)["search"]
    assert (search["seed"], search["interrupted"]) == (3, False)
    assert search["generations"] >= 200


def test_cluster_flag_comes_before_the_workload_s_own(run):
    Path("dear.toml").write_text(CLUSTER.replace("price = ", "price = 1").replace('"types"', '"dear"'))
    _, out, _ = run("plan", "net.toml", *SHORT, "--cluster", "dear.toml")
    assert "net on dear" in out
    assert run("plan", "bare.toml", *SHORT, "--cluster", "types.toml")[0] == 0


def test_dnn_partitioning_brings_its_cluster_and_goal(run):
    nodes = [{"id": i, "cpuLatency": 9, "fpgaLatency": 1, "size": 1, "supportedOnFpga": 1} for i in range(3)]
    edges = [{"sourceId": i, "destId": i + 1, "cost": 1} for i in range(2)]
    graph = {"maxFPGAs": 2, "maxCPUs": 1, "maxSizePerFPGA": 9, "nodes": nodes, "edges": edges}
    Path("graph.json").write_text(json.dumps(graph))
    status, out, _ = run("plan", "graph.json", *SHORT, "-o", "-")
    goal = strict(out)["goal"]
    assert status == 0
    assert (goal["objective"], goal["split"], goal["overlap"]) == ("throughput", True, False)


def test_batch_divides_the_times(run):
    def cost(*argv):
        return strict(run("plan", "net.toml", *SHORT, "--min-throughput", 1, *argv, "-o", "-")[1])["cost"]

    assert cost("--batch", 2) == pytest.approx(cost() / 2)


def test_initial_begins_with_an_earlier_plan(run):
    run("plan", "ctr", "-o", "best.json")
    best = strict(Path("best.json").read_text())
    _, out, _ = run("plan", "ctr", "--max-generations", 0, "--initial", "best.json", "-o", "-")
    assert strict(out)["cost"] <= best["cost"]


# What is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("sing", "invalid choice: 'sing'"),
        ("plan", "the following arguments are required: WORKLOAD"),
        ("plan net.toml --nonsense", "unrecognized arguments: --nonsense"),
        ("plan net.toml --max-pri 3", "unrecognized arguments: --max-pri 3"),
        ("plan net.toml --method magic", "argument --method: invalid choice: 'magic'"),
        ("plan net.toml --objective fun", "argument --objective: invalid choice: 'fun'"),
        ("plan net.toml --merge some", "argument --merge: invalid choice: 'some'"),
        ("plan net.toml --seed 1.5", "argument --seed: invalid int value: '1.5'"),
        ("plan net.toml --seed -1", "--seed is -1; it must be"),
        ("plan net.toml --seed 18446744073709551616", "--seed is 18446744073709551616; it must be"),
        ("plan net.toml --population 1", "--population is 1; it must be"),
        ("plan net.toml --max-runtime nan", "--max-runtime is nan; it must be"),
        ("plan net.toml --max-generations -1", "--max-generations is -1; it must be"),
        ("plan net.toml --max-evaluations -1", "--max-evaluations is -1; it must be"),
        ("plan net.toml --max-devices-per-stage 0", "--max-devices-per-stage is 0; it must be"),
        ("plan net.toml --batch 0", "batch is 0"),
        ("plan net.toml --batch nan", "batch is nan"),
        (
            "plan bare.toml",
            "names no cluster; it must hold a cluster, or --cluster or --device must be given",
        ),
        (
            "plan profile.txt",
            "names no cluster; it must hold a cluster, or --cluster or --device must be given",
        ),
        ("plan nowhere.toml", "nowhere.toml: There is no such file"),
        ("plan nothing", "nothing: There is no such file or built-in example (bert-large, "),
        ("plan .", ".: Is a directory"),
        ("plan types.toml", "types.toml: it holds a cluster; it must hold a workload"),
        ("plan broken.toml", "broken.toml: "),
        ("plan net.toml --cluster bare.toml", "bare.toml: it holds a workload"),
        ("plan net.toml --cluster nowhere.toml", "nowhere.toml: There is no such file"),
        ("plan bare.toml --cluster gpus", "layer 'a' has no time on device type 't4'"),
        ("plan bert-large --method enumerate", "'enumerate' tries at most"),
        ("plan net.toml --initial nowhere.json", "nowhere.json: No such file or directory"),
        ("plan net.toml --method greedy --initial plan.json", "--initial is given with method 'greedy'"),
        ("plan net.toml --device song:2", "--device is 'song:2'; its name must be one of t4, "),
        ("plan net.toml --device t4:2", "layer 'a' has no time on device type 't4'"),
        (
            "plan net.toml --device t4:2 --cluster gpus",
            "--cluster is gpus; it must not be given with --device",
        ),
        ("plan net.toml --prices x.csv", "--prices goes with --device; at least one device must be given"),
        ("plan net.toml --device t4 --region here", "--region goes with a price list; prices must be given"),
        ("plan net.toml --device t4 --prices x.csv", "x.csv: No such file or directory"),
        ("devices --devices net.toml", "net.toml: it holds no devices; it must hold a catalogue"),
        ("devices --spot", "--spot goes with a price list"),
        ("score net.toml", "the following arguments are required: SCHEMES"),
        ("score net.toml nowhere.json", "nowhere.json: No such file or directory"),
        ("score net.toml nowhere.npy", "nowhere.npy: No such file or directory"),
        ("score net.toml plan.json --target 5", "--target goes with schemes in an .npy"),
        ("score net.toml rows.npy --target nan", "--target is nan; it must be"),
        ("score net.toml rows.npy --target 0", "--target is 0.0; it must be"),
        ("score nothing rows.npy", "nothing: There is no such file or built-in example"),
        ("schema", "the following arguments are required: kind"),
        ("schema song", "argument kind: invalid choice: 'song'"),
        ("info more", "unrecognized arguments: more"),
    ],
)
def test_bad_input_is_one_sentence(refused, argv, sentence):
    Path("broken.toml").write_text("name = \n")
    Path("profile.txt").write_text(PROFILE)
    Path("plan.json").write_text('{"scheme": [0, 0, 1]}')
    np.save("rows.npy", np.zeros((2, 3), np.int8))
    assert sentence in refused(*argv.split())


@pytest.mark.parametrize("value", ["nan", "inf", "0", "-1"])
@pytest.mark.parametrize("flag", [cli._FLAGS[name] for name in cli._GOAL_NUMBERS])
def test_bad_numbers_name_their_flag(refused, flag, value):
    assert refused("plan", "net.toml", flag, value).startswith(f"{flag} is {value}")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it is no plan in JSON: Input data was truncated"),
        ("scheme", "it is no plan in JSON: JSON is malformed"),
        ("[" * 100_000, "it is no plan in JSON: "),
        ("[0, 0, 1]", "it is no plan in JSON: Expected `object`, got `array`"),
        ("{}", "missing required field `scheme`"),
        ('{"scheme": [0, 0, "1"]}', "Expected `int`, got `str` - at `$.scheme[2]`"),
        ('{"scheme": [0, 0, 128]}', "Expected `int` <= 127 - at `$.scheme[2]`"),
        ('{"scheme": [0, 0, -1]}', "Expected `int` >= 0 - at `$.scheme[2]`"),
        ('{"scheme": [0, 0, 2]}', "scheme[2] is 2; it must be a label from 0 to 1"),
        ('{"scheme": [0, 0]}', "scheme has shape (2,); it must be (3,)"),
        ('{"scheme": []}', "scheme has shape (0,); it must be (3,)"),
        ('{"scheme": [0, 0, 1], "goal": {"examples": -1}}', "at `$.goal.examples`"),
    ],
)
@pytest.mark.parametrize(
    "argv", [("plan", "net.toml", "--initial", "p.json"), ("score", "net.toml", "p.json")]
)
def test_bad_plans_are_refused(refused, argv, text, sentence):
    Path("p.json").write_text(text)
    message = refused(*argv)
    assert message.startswith("p.json: ")
    assert sentence in message


def test_labels_of_another_meaning_are_refused(refused, run):
    run("plan", "net.toml", *SHORT, "--split", "-o", "p.json")
    sentence = "p.json: its labels are of a plan with split and merge 'adjacent', and cannot be read with "
    assert refused("plan", "net.toml", "--initial", "p.json") == f"{sentence}no split"
    assert refused("score", "net.toml", "p.json", "--no-split") == f"{sentence}no split"
    changed = refused("score", "net.toml", "p.json", "--merge", "type")
    assert changed == f"{sentence}split and merge 'type'"


# score --------------------------------------------------------------------------------------------------


def test_a_plan_scores_as_it_was_planned(run):
    flags = ("--min-throughput", 700, "--split", "--examples", 5e6)
    run("plan", "net.toml", *SHORT, *flags, "-o", "plan.json")
    plan = strict(Path("plan.json").read_text())
    status, out, err = run("score", "net.toml", "plan.json", "-o", "again.json")
    assert (status, err) == (0, "")
    assert out == f"{sp.Plan.of(problem(min_throughput=700, split=True, examples=5e6), plan['scheme'])}\n"
    del plan["search"]
    assert strict(Path("again.json").read_text()) == plan
    assert strict(run("score", "net.toml", "plan.json", "-o", "-")[1]) == plan


def test_a_plan_scores_for_the_goal_of_the_flags(run):
    Path("plan.json").write_text('{"scheme": [0, 0, 1]}')
    assert run("score", "net.toml", "plan.json")[0] == 0
    status, out, _ = run("score", "net.toml", "plan.json", "--max-cost", 1e-6)
    assert status == 1
    assert "cost: " in out.partition("NOT feasible")[2]


@pytest.fixture
def rows():
    rows = np.random.default_rng(1).integers(0, 2, (50, 3)).astype(np.int8)
    np.save("rows.npy", rows)
    return rows


@pytest.mark.parametrize("target", [None, 250.0, 900.0])
def test_rows_score_natively(run, rows, target):
    flags = () if target is None else ("--target", target)
    status, out, err = run("score", "net.toml", "rows.npy", *flags, "-o", "scores.npz")
    expected = sp.evaluate(problem(), rows, target)
    feasible = int((expected.violation == 0).sum())
    assert (status, err) == (int(feasible == 0), "")
    assert f"50 schemes, {feasible} feasible" in out
    with np.load("scores.npz") as scores:
        for name, values in expected._asdict().items():
            np.testing.assert_array_equal(scores[name], values)
    for name in ("scores.json", "-"):
        _, out, _ = run("score", "net.toml", "rows.npy", *flags, "-o", name)
        text = out if name == "-" else Path(name).read_text()
        assert strict(text) == {name: values.tolist() for name, values in expected._asdict().items()}


@pytest.mark.parametrize("objective", ["cost", "throughput"])
def test_best_row(run, rows, objective):
    scores = sp.evaluate(problem(objective=objective), rows)
    value = scores.cost if objective == "cost" else -scores.throughput
    best = int(np.where(scores.violation == 0, value, np.inf).argmin())
    _, out, _ = run("score", "net.toml", "rows.npy", "--objective", objective)
    assert out.splitlines()[-1] == (
        f"best: scheme {best}, cost ${scores.cost[best]:,.2f}, "
        f"throughput {scores.throughput[best]:,.6g} examples/s"
    )


def test_no_feasible_row_is_status_1(run, rows):
    status, out, _ = run("score", "net.toml", "rows.npy", "--max-price", 0.5)
    assert status == 1
    assert "50 schemes, 0 feasible" in out
    assert ", violation " in out


def test_no_rows(run):
    np.save("rows.npy", np.zeros((0, 3), np.int8))
    status, out, _ = run("score", "net.toml", "rows.npy", "-o", "scores.json")
    assert status == 1
    assert out.endswith("0 schemes, 0 feasible\n")
    assert strict(Path("scores.json").read_text()) == {"cost": [], "throughput": [], "violation": []}


def _npy(values):
    np.save("good.npy", values)
    return Path("good.npy").read_bytes()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: b"", "it is no .npy of schemes: "),
        (lambda: b"nothing of the kind", "the magic string is not correct"),
        (lambda: _npy(np.zeros((9, 3), np.int8))[:40], "it is no .npy of schemes: "),
        (lambda: _npy(np.zeros((9, 3), np.int8))[:-1], "mmap length is greater than file size"),
        (lambda: _npy(np.zeros((9, 3))), "the array is float64; it must be a numpy array of int8"),
        (lambda: _npy(np.zeros((9, 3), np.uint8)), "the array is uint8; it must be a numpy array of int8"),
        (lambda: _npy(np.array([None])), "Python objects in dtype"),
        (lambda: _npy(np.zeros(3, np.int8)), "the array has shape (3,); it must be (n, 3)"),
        (lambda: _npy(np.zeros((9, 4), np.int8)), "the array has shape (9, 4); it must be (n, 3)"),
        (lambda: _npy(np.zeros((3, 9), np.int8).T), "the array is not C-contiguous"),
        (lambda: _npy(np.array([[0, 0, 0], [0, 2, 0]], np.int8)), "2"),
        (lambda: _npy(np.array([[0, -1, 0]], np.int8)), "-1"),
    ],
)
def test_bad_arrays_are_refused(refused, make, sentence):
    Path("rows.npy").write_bytes(make())
    message = refused("score", "net.toml", "rows.npy", "-o", "scores.npz")
    assert message.startswith("rows.npy: ")
    assert sentence in message
    assert not Path("scores.npz").exists()


# Files that are written ---------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("plan", "net.toml"), ("score", "net.toml", "rows.npy")])
@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("missing/plan.json", "missing does not exist"),
        ("net.toml/plan.json", "net.toml does not exist"),
        (".", "a directory; it must be a file"),
        ("n" * 300, "File name too long"),
    ],
)
def test_unusable_outputs_are_refused_before_any_work(refused, monkeypatch, rows, command, path, sentence):
    for work in ("solve", "evaluate", "read_workload"):
        monkeypatch.delattr(cli, work)
    assert sentence in refused(*command, "-o", path)


@pytest.mark.parametrize("exists", [False, True])
def test_unwritable_outputs_are_refused_before_any_work(refused, monkeypatch, exists):
    if exists:
        Path("plan.json").write_text("old")
    monkeypatch.setattr(os, "access", lambda path, mode: (Path(path).name == "plan.json") != exists)
    monkeypatch.delattr(cli, "read_workload")
    assert refused("plan", "net.toml", "-o", "plan.json").endswith("is not writable")


def _fail(error):
    def fail(*_):
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 2, "error: plan.json: No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
@pytest.mark.parametrize("old", [None, "old"])
def test_a_failed_write_leaves_everything_as_it_was(run, monkeypatch, error, status, sentence, old):
    if old is not None:
        Path("plan.json").write_text(old)
    before = sorted(os.listdir())
    monkeypatch.setattr(os, "fsync", _fail(error))
    got, out, err = run("plan", "net.toml", *SHORT, "-o", "plan.json")
    assert (got, err) == (status, f"stageplan: {sentence}\n")
    assert "bottleneck" in out  # the search was not in vain
    assert sorted(os.listdir()) == before
    assert old is None or Path("plan.json").read_text() == old


def test_a_link_stays_a_link_and_permissions_are_usual(run):
    Path("real.json").touch()
    Path("link.json").symlink_to("real.json")
    assert run("plan", "net.toml", *SHORT, "-o", "link.json")[0] == 0
    assert Path("link.json").is_symlink()
    assert strict(Path("real.json").read_text())["feasible"]
    Path("usual").touch()
    assert Path("real.json").stat().st_mode == Path("usual").stat().st_mode


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_device_is_written_and_not_replaced(run):
    assert run("plan", "net.toml", *SHORT, "-o", "/dev/null")[0] == 0
    assert Path("/dev/null").is_char_device()
    status, out, err = run("plan", "net.toml", *SHORT, "-o", "/dev/full")
    assert (status, err) == (2, "stageplan: error: /dev/full: No space left on device\n")
    assert "bottleneck" in out


# export -------------------------------------------------------------------------------------------------

MODEL = """
name = "model"
ties = [["tok_embeddings", "output"]]
[[layers]]
name = "tok_embeddings"
kind = "embedding"
compute = { slow = 0.001, fast = 0.001 }
[[layers]]
name = "layers.0"
kind = "block"
compute = { slow = 0.003, fast = 0.001 }
[[layers]]
name = "layers.1"
kind = "block"
compute = { slow = 0.003, fast = 0.001 }
[[layers]]
name = "output"
kind = "head"
compute = { slow = 0.001, fast = 0.001 }
[goal]
max_devices_per_stage = 1
"""


@pytest.fixture
def model(run):
    """Write a model, and a plan of it: slow runs the first two layers, fast the others."""
    Path("model.toml").write_text(MODEL)
    cluster, workload = read_cluster("types.toml"), read_workload("model.toml")
    plan = sp.Plan.of(sp.Problem(workload, cluster, read_goal("model.toml")), [0, 0, 1, 1])
    Path("model.json").write_bytes(msgspec.json.encode(plan.to_dict()))
    return plan


def test_export_of_a_file_alone(run, model):
    assert run("export", "model.json", "--to", "megatron") == (0, sp.export(model, "megatron").text, "")
    assert run("export", "model.json", "--to", "device-map", "-o", "-")[:2] == (
        0,
        sp.export(model, "device-map").text,
    )


@pytest.mark.parametrize("to", RUNTIMES)
def test_export_compares_with_the_runtimes_own_split(run, model, to):
    argv = ("export", "model.json", "--to", to, "--workload", "model.toml", "--cluster", "types.toml")
    if to == "torchtitan":
        status, out, err = run(*argv)
        assert (status, out) == (2, "")
        assert "model.json: torchtitan cannot run this plan: tok_embeddings and output share weights" in err
        return
    exported = sp.export(model, to)
    assert run(*argv) == (0, exported.text, f"{exported.remarks}\n")
    assert run(*argv, "-o", "out") == (0, f"{exported.remarks}\n", "")
    assert Path("out").read_text() == exported.text


def test_export_of_a_plan_that_breaks_limits(run, model):
    plan = sp.Plan.of(model.problem.replace(min_throughput=1e6), model.scheme)
    Path("model.json").write_bytes(msgspec.json.encode(plan.to_dict()))
    status, _, err = run("export", "model.json", "--to", "vllm")
    assert (status, err) == (1, "note: the plan breaks limits\n")
    argv = ("export", "model.json", "--to", "vllm", "--workload", "model.toml", "--cluster", "types.toml")
    status, _, err = run(*argv)
    assert (status, err.splitlines()[0]) == (1, "note: the plan breaks limits")


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ("export", "the following arguments are required: PLAN, --to"),
        ("export model.json --to tensorflow", "argument --to: invalid choice: 'tensorflow'"),
        ("export nowhere.json --to vllm", "nowhere.json: No such file or directory"),
        (
            "export scheme.json --to vllm",
            "scheme.json: it does not say its layers and stages; its workload must be",
        ),
        ("export wrong.json --to vllm", "wrong.json: its layer 'x' is unknown; it must be one of its layers"),
        (
            "export part.json --to vllm",
            "part.json: vllm cannot run this plan: its stages hold 2 layers; each of 4",
        ),
        ("export model.json --to vllm --cluster types.toml", "model.json: --cluster goes with --workload"),
        (
            "export model.json --to vllm --workload net.toml",
            "model.json: scheme has shape (4,); it must be (3,)",
        ),
        ("export model.json --to vllm -o nowhere/x", "--output is nowhere/x; its directory"),
    ],
)
def test_bad_exports_are_one_sentence(refused, model, argv, sentence):
    Path("scheme.json").write_text('{"scheme": [0, 0, 1, 1]}')
    text = Path("model.json").read_text()
    Path("wrong.json").write_text(text.replace('"layers":["layers.1","output"]', '"layers":["x"]'))
    Path("part.json").write_text(text.replace('"layers":["layers.1","output"]', '"layers":[]'))
    assert sentence in refused(*argv.split())
    assert not list(Path().glob(".stageplan-*"))


# The rest -----------------------------------------------------------------------------------------------


MINE = """
[[devices]]
name = "slow"
peak = { fp32 = 1e12 }
memory = 1e9
memory_bandwidth = 1e10
price_names = ["Slow"]
price = 1.0
"""


def test_devices_are_listed(run):
    status, out, err = run("devices")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[1:-1]] == list(sp.read_devices())
    Path("mine.toml").write_text(MINE)
    assert run("devices", "--devices", "mine.toml", "-o", "mine.json")[0] == 0
    assert sp.read_devices("mine.json") == sp.read_devices("mine.toml")


def test_devices_of_the_catalogue_stand_for_a_cluster(run):
    Path("mine.toml").write_text(MINE)
    Path("prices.csv").write_text(
        "AcceleratorName,AcceleratorCount,Region,Price\nSLOW,4,moon,2.0\nSlow,1,sun,0.1\n"
    )
    devices = ("--device", "slow:8", "--devices", "mine.toml", "--prices", "prices.csv", "--region", "moon")
    status, out, _ = run("plan", "net.toml", *devices, *SHORT, "-o", "-")
    plan = strict(out)
    assert status == 0
    assert plan["problem"] == "net on slow:8"
    assert plan["price"] == pytest.approx(0.5 * sum(stage["devices"] for stage in plan["stages"]))


@pytest.mark.parametrize("kind", ["workload", "cluster", "devices", "plan", "spec"])
def test_schema(run, kind):
    status, out, err = run("schema", kind)
    schema = strict(out)
    name = schema["$ref"].rpartition("/")[2]
    fields = {
        "workload": "layers",
        "cluster": "types",
        "devices": "devices",
        "plan": "scheme",
        "spec": "task",
    }
    field = fields[kind]
    assert (status, err) == (0, "")
    assert field in schema["$defs"][name]["properties"]


def test_info(run):
    status, out, err = run("info")
    assert (status, err) == (0, "")
    assert out.startswith(f"stageplan {sp.__version__}\n")
    for text in (
        sp._core.instruction_set(),
        np.__version__,
        f"cores            {len(os.sched_getaffinity(0))}",
    ):
        assert text in out
    workloads, _, clusters = out.partition("built-in clusters:")
    for name in ("ctr", "bert-large", "resnet50"):
        assert f"\n  {name} " in workloads
    for name in ("cpu-gpu", "gpus"):
        assert f"\n  {name} " in clusters


def test_info_without_affinity(run, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert f"cores            {os.cpu_count()}\n" in run("info")[1]


@pytest.mark.parametrize(
    "argv",
    [
        "--help",
        "plan --help",
        "pareto --help",
        "score --help",
        "devices --help",
        "export --help",
        "schema --help",
        "info --help",
    ],
)
def test_help_says_the_exit_statuses(capsys, argv):
    with pytest.raises(SystemExit, match="0"):
        cli.main(argv.split())
    assert "130  interrupted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (KeyboardInterrupt(), 130, "stageplan: interrupted\n"),
        (MemoryError(), 2, "stageplan: error: there is not enough memory\n"),
    ],
)
def test_a_search_that_breaks_off(run, monkeypatch, error, status, sentence):
    monkeypatch.setattr(cli, "solve", lambda *_, **__: _fail(error)())
    assert run("plan", "net.toml", "-o", "plan.json") == (status, "", sentence)
    assert not Path("plan.json").exists()


def test_the_line_of_progress():
    progress = sp.Progress(12, 3456, 1, 0.5, 17.25, 1e6, 0.0, "cost")
    assert output._line(progress) == "generation 12, 3,456 schemes, best $17.25 at 1e+06 examples/s"
    assert output._line(progress._replace(violation=0.5)).endswith(" examples/s, violation 0.5")


# In a process of its own --------------------------------------------------------------------------------

STAGEPLAN = (sys.executable, "-m", "stageplan")


def test_as_a_module():
    done = subprocess.run([*STAGEPLAN, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"stageplan {sp.__version__}\n", "")


def test_rich_is_not_imported_without_a_terminal():
    code = (
        "import sys; from stageplan.cli import main; status = main(sys.argv[1:]); "
        "sys.exit(9 if {'rich', 'numba'} & sys.modules.keys() else status)"
    )
    argv = [sys.executable, "-c", code, "plan", "net.toml", *SHORT]
    done = subprocess.run(argv, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("closed", [False, True])
def test_stdout_that_takes_nothing(closed):
    if closed:
        reader, writer = os.pipe()
        os.close(reader)
    elif Path("/dev/full").exists():
        writer = os.open("/dev/full", os.O_WRONLY)
    else:
        pytest.skip("there is no /dev/full here")
    argv = [*STAGEPLAN, "plan", "net.toml", *SHORT, "-o", "plan.json"]
    done = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    sentence = "stageplan: error: standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == ((141, "") if closed else (2, sentence))
    assert strict(Path("plan.json").read_text())["feasible"]


def test_progress_on_a_terminal_and_ctrl_c():
    ours, theirs = pty.openpty()
    # What a background job of a shell inherits is to ignore Ctrl-C.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from stageplan.cli import main; raise SystemExit(main())"
    )
    command = ["plan", "bert-large", "--method", "genetic", "--max-runtime", "30", "-o", "plan.json"]
    argv = [sys.executable, "-c", code, *command]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=theirs, text=True, env=environment) as process:
        os.close(theirs)
        shown = b""
        while b"generation" not in shown or b"schemes" not in shown:
            shown += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        while chunk := _read(ours):
            shown += chunk
        out, _ = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 130
    assert b"examples/s" in shown
    assert b"Traceback" not in shown
    assert "(interrupted)" in out
    plan = msgspec.json.decode(Path("plan.json").read_bytes(), type=PlanDocument)
    assert plan.search.interrupted
    assert f"{plan.search.evaluations:,} schemes scored" in out


def _read(terminal):
    """Read what comes; nothing, or EIO on Linux, when the other side is closed."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""
