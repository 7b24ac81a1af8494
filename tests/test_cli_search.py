"""``stageplan plan``, ``pareto`` and ``score``, in this process."""

import errno
import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from commands import CLUSTER, SHORT, WORKLOAD, fail, problem, strict

import stageplan as sp
from stageplan.cli import search
from stageplan.locks import locked_beside
from stageplan.plan_file import PlanDocument
from stageplan.readers import read_goal
from stageplan.solve import METHODS

# plan -------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("method", METHODS)
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


def test_initial_begins_with_an_earlier_plan(run):
    run("plan", "ctr", "-o", "best.json")
    best = strict(Path("best.json").read_text())
    _, out, _ = run("plan", "ctr", "--max-generations", 0, "--initial", "best.json", "-o", "-")
    assert strict(out)["cost"] <= best["cost"]


def test_no_feasible_plan_is_status_1_with_the_reasons(run):
    status, out, err = run("plan", "net.toml", *SHORT, "--max-price", 2, "-o", "plan.json")
    assert (status, err) == (1, "")
    assert "NOT feasible" in out
    assert "allowed 2" in out
    plan = strict(Path("plan.json").read_text())
    assert plan["feasible"] is False
    assert plan["violations"]


def test_the_time_limit_also_ends_the_search_for_changes(run):
    status, out, _ = run("plan", "net.toml", "--max-price", 2, "--max-runtime", 0)
    assert status == 1
    assert out.endswith("\nno sufficient change of the limits was found in the time given\n")


FLAGS = {"throughput": "--min-throughput", "price": "--max-price", "cost": "--max-cost"}


def test_a_suggested_change_that_is_made_fits(run):
    """With several limits in the way, each change that is named as enough by itself is."""
    flags = {"--min-throughput": 2500, "--max-price": 14}
    argv = [str(x) for flag in flags.items() for x in flag]
    status, out, _ = run("plan", "net.toml", *argv, "-o", "plan.json")
    assert status == 1
    assert "each of these changes alone is sufficient:\n  " in out
    plan = msgspec.json.decode(Path("plan.json").read_bytes(), type=PlanDocument)
    changes = {suggestion.changes[0].limit: suggestion for suggestion in plan.repair.suggestions}
    assert "throughput" in changes
    for limit, suggestion in changes.items():
        (change,) = suggestion.changes
        assert suggestion.proven
        assert f"{limit}: {change.needed:.7g}" in out
        changed = [str(x) for flag in (flags | {FLAGS[limit]: f"{change.needed:.7g}"}).items() for x in flag]
        assert run("plan", "net.toml", *changed)[0] == 0


def suggestions():
    return strict(Path("plan.json").read_text())["repair"]["suggestions"]


def test_devices_that_are_missing(run):
    cluster = CLUSTER.replace("limit = 8", "limit = 1").replace("limit = 4", "limit = 1")
    Path("types.toml").write_text(cluster)
    status, out, _ = run("plan", "net.toml", "--min-throughput", 900, "-o", "plan.json")
    assert status == 1
    found = {s["changes"][0]["limit"]: s["changes"][0]["needed"] for s in suggestions()}
    needed = found["devices of fast"]
    assert f"devices of fast: {needed:g} instead of 1 (the smallest change)" in out
    for limit, fits in ((needed, 0), (needed - 1, 1)):
        Path("types.toml").write_text(
            cluster.replace("price = 3.0\nlimit = 1", f"price = 3.0\nlimit = {limit:g}")
        )
        assert run("plan", "net.toml", "--min-throughput", 900)[0] == fits


@pytest.mark.parametrize(
    "flags",
    [
        ("net.toml", "--max-duration", 1, "--max-cost", 1e-3),
        ("ctr", "--max-cost", 0.01, "--max-price", 0.5),
    ],
)
def test_changes_that_have_to_be_made_together(run, flags):
    """Both limits are broken far; the values as they are printed are enough together."""
    status, out, _ = run("plan", *flags, "-o", "plan.json")
    assert status == 1
    assert "each of these lines is sufficient, with all its changes together:\n  " in out
    assert suggestions()
    for suggestion in suggestions():
        assert len(suggestion["changes"]) == 2
        flags_of = FLAGS | {"duration": "--max-duration"}
        change = [x for c in suggestion["changes"] for x in (flags_of[c["limit"]], f"{c['needed']:.7g}")]
        assert run("plan", *flags, *change)[0] == 0


def test_ctrl_c_in_the_search_for_changes(run, monkeypatch):
    monkeypatch.setattr(search, "repair", fail(KeyboardInterrupt()))
    status, out, _ = run("plan", "net.toml", "--max-price", 2)
    assert status == 130
    assert "NOT feasible" in out
    assert "enough" not in out


def test_plan_is_delivered_where_the_search_for_changes_fails(run, monkeypatch):
    monkeypatch.setattr(search, "repair", fail(MemoryError()))
    status, out, err = run("plan", "net.toml", "--max-price", 2, "-o", "plan.json")
    assert (status, err) == (2, "stageplan: error: there is not enough memory\n")
    assert "NOT feasible" in out
    assert strict(Path("plan.json").read_text())["violations"]


# plan --method reinforce ------------------------------------------------------------------------------

LEARN = ("--method", "reinforce", "--max-generations", 5, "--population", 8)


def test_reinforce_is_what_solve_does(run):
    status, out, err = run("plan", "net.toml", *LEARN, "--cell", "rnn", "--seed", 3)
    stop = sp.MaxGenerations(5)
    result = sp.solve(problem(), "reinforce", cell="rnn", seed=3, population=8, stop=stop)
    assert (status, out, err) == (0, f"{result}\n", "")


def test_training_of_a_saved_policy_continues(run):
    assert run("plan", "net.toml", *LEARN, "--save-policy", "a.npz")[0] == 0
    assert run("plan", "net.toml", *LEARN, "--policy", "a.npz", "--save-policy", "b.npz")[0] == 0
    twice = sp.solve(problem(), "reinforce", population=8, stop=sp.MaxGenerations(10)).policy
    assert sp.Policy.load("b.npz") == twice
    assert not list(Path().glob(".stageplan*"))


def test_a_search_stopped_before_its_first_step_says_that_no_policy_is_saved(run):
    status, out, err = run(
        "plan", "net.toml", "--method", "reinforce", "--max-runtime", 0, "--save-policy", "p.npz"
    )
    assert err == (
        "stageplan: note: p.npz: no policy was saved, since the search was stopped before its first step\n"
    )
    assert not Path("p.npz").exists()
    assert "bottleneck" in out
    assert status in (0, 1)


def test_plan_is_delivered_before_a_policy_that_cannot_be_saved(run, monkeypatch):
    monkeypatch.setattr(sp.Policy, "save", fail(OSError(errno.ENOSPC, "No space left on device", "p.npz")))
    status, out, err = run("plan", "net.toml", *LEARN, "--save-policy", "p.npz", "-o", "plan.json")
    assert (status, err) == (2, "stageplan: error: p.npz: No space left on device\n")
    assert "bottleneck" in out
    assert strict(Path("plan.json").read_text())["feasible"]


def test_policy_is_saved_where_the_plan_cannot_be_printed(run, monkeypatch):
    monkeypatch.setattr(
        search, "deliver", fail(OSError(errno.ENOSPC, "No space left on device", "plan.json"))
    )
    status, _, err = run("plan", "net.toml", *LEARN, "--save-policy", "p.npz", "-o", "plan.json")
    assert (status, err) == (2, "stageplan: error: plan.json: No space left on device\n")
    assert sp.Policy.load("p.npz").cell == "lstm"


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
        (("--method", "exact", "--threads", "2"), "--threads requires --method auto, genetic, reinforce, "),
        (("--method", "greedy", "--threads", "1"), "--threads requires --method auto, genetic, "),
        (
            ("--method", "random", "--population", "9"),
            "--population requires --method auto, genetic, reinforce, annealing; random ignores it",
        ),
        (
            ("--method", "reinforce", "--save-policy", "p.npz", "-o", "./p.npz"),
            "--save-policy is p.npz, the same file as --output; it must be another one",
        ),
        (("--save-policy", "p.npz"), "--save-policy requires --method reinforce; auto trains no policy"),
        (("--cell", "rnn"), "--cell is given with method 'auto'; it requires method 'reinforce'"),
        (("--method", "reinforce", "--save-policy", "no/p.npz"), "--save-policy is no/p.npz; its directory"),
        (("--method", "reinforce", "--policy", "net.toml"), "net.toml: it is not a valid policy file: "),
        (("--method", "reinforce", "--policy", "none.npz"), "none.npz: No such file or directory"),
        (("--method", "reinforce", "--accept", "incumbent"), "--accept is 'incumbent' without max_cost; "),
    ],
)
def test_bad_learning(refused, argv, sentence):
    assert refused("plan", "net.toml", *argv).startswith(sentence)
    assert not Path("p.npz").exists()


# checkpoints ------------------------------------------------------------------------------------------

GENETIC = ("plan", "net.toml", "--method", "genetic", "--population", "16")


def without_times(text):
    """A written plan without its runtimes."""
    plan = strict(text)
    for part in (plan["search"], *plan["search"]["history"]):
        part["runtime"] = None
    return plan


def test_a_search_continues_from_its_checkpoint(run):
    run(*GENETIC, "--max-generations", 9, "-o", "whole.json")
    for generations in (3, 9):
        status, *_ = run(
            *GENETIC, "--max-generations", generations, "--checkpoint", "run.ckpt", "-o", "plan.json"
        )
        assert status == 0
    assert without_times(Path("plan.json").read_text()) == without_times(Path("whole.json").read_text())


def test_a_checkpoint_of_another_search_is_refused(run, refused):
    run(*GENETIC, *SHORT, "--checkpoint", "run.ckpt")
    before = Path("run.ckpt").read_bytes()
    wrong = refused(*GENETIC, "--seed", 4, "--checkpoint", "run.ckpt", "-o", "plan.json")
    assert wrong == "run.ckpt: it is the checkpoint of another search: its seed is 0, here it is 4"
    Path("run.ckpt").write_bytes(before[:-1])
    assert refused(*GENETIC, "--checkpoint", "run.ckpt") == "run.ckpt: the checkpoint is damaged or cut short"
    assert not Path("plan.json").exists()


def test_a_checkpoint_that_another_search_is_using_is_refused(refused):
    with locked_beside(Path("run.ckpt")):
        told = refused(*GENETIC, *SHORT, "--checkpoint", "run.ckpt")
    assert told == "checkpoint is run.ckpt; another search is using it"


def test_a_checkpoint_is_a_file_of_its_own(run, refused):
    run(*GENETIC, *SHORT, "-o", "plan.json")
    for flag in ("-o", "--initial"):
        assert refused(*GENETIC, "--checkpoint", "plan.json", flag, "plan.json") == (
            "--checkpoint is plan.json, the same file as "
            f"{'--output' if flag == '-o' else flag}; it must be another one"
        )
    assert "its directory" in refused(*GENETIC, "--checkpoint", "absent/run.ckpt")


def test_a_plan_is_printed_where_its_checkpoint_cannot_be_written(run, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device", "run.ckpt")
    monkeypatch.setattr("stageplan.checkpoint.write_whole", fail(full))
    status, out, err = run(*GENETIC, *SHORT, "--checkpoint", "run.ckpt", "-o", "plan.json")
    assert (status, err) == (2, "stageplan: error: run.ckpt: No space left on device\n")
    assert "feasible" in out
    assert strict(Path("plan.json").read_text())["feasible"]


# pareto -----------------------------------------------------------------------------------------------


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
        (["--merge", "type"], "--merge is 'type'; a front requires merge 'adjacent'"),
    ],
)
def test_bad_fronts_are_one_sentence(refused, argv, sentence):
    assert refused("pareto", "net.toml", *argv) == sentence


# score ------------------------------------------------------------------------------------------------


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
    arrays = {name: values for name, values in expected._asdict().items() if values is not None}
    with np.load("scores.npz") as scores:
        assert set(scores) == set(arrays) == {"cost", "throughput", "violation"}
        for name, values in arrays.items():
            np.testing.assert_array_equal(scores[name], values)
    for name in ("scores.json", "-"):
        _, out, _ = run("score", "net.toml", "rows.npy", *flags, "-o", name)
        text = out if name == "-" else Path(name).read_text()
        assert strict(text) == {name: values.tolist() for name, values in arrays.items()}


@pytest.mark.parametrize("objective", ["cost", "throughput", "price"])
def test_best_row(run, rows, objective):
    scores = sp.evaluate(problem(objective=objective), rows)
    value = -scores.throughput if objective == "throughput" else getattr(scores, objective)
    best = int(np.where(scores.violation == 0, value, np.inf).argmin())
    _, out, _ = run("score", "net.toml", "rows.npy", "--objective", objective)
    price = f", price ${scores.price[best]:,.4g}/h" if objective == "price" else ""
    assert out.splitlines()[-1] == (
        f"best: scheme {best}, cost ${scores.cost[best]:,.2f}, "
        f"throughput {scores.throughput[best]:,.6g} examples/s{price}"
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
        (lambda: b"", "it is not a valid .npy file: "),
        (lambda: b"nothing of the kind", "the magic string is not correct"),
        (lambda: _npy(np.zeros((9, 3), np.int8))[:40], "it is not a valid .npy file: "),
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


# What is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ("plan", "the following arguments are required: WORKLOAD"),
        ("plan net.toml --method magic", "argument --method: invalid choice: 'magic'"),
        ("plan net.toml --seed 1.5", "argument --seed: invalid int value: '1.5'"),
        ("plan net.toml --seed -1", "--seed is -1; it must be"),
        ("plan net.toml --seed 18446744073709551616", "--seed is 18446744073709551616; it must be"),
        ("plan net.toml --population 1", "--population is 1; it must be"),
        ("plan net.toml --max-runtime nan", "--max-runtime is nan; it must be"),
        ("plan net.toml --max-generations -1", "--max-generations is -1; it must be"),
        ("plan net.toml --max-evaluations -1", "--max-evaluations is -1; it must be"),
        ("plan bert-large --method enumerate", "'enumerate' tries at most"),
        ("plan net.toml --initial nowhere.json", "nowhere.json: No such file or directory"),
        ("plan net.toml --method greedy --initial plan.json", "--initial is given with method 'greedy'"),
        ("score net.toml", "the following arguments are required: SCHEMES"),
        ("score net.toml nowhere.json", "nowhere.json: No such file or directory"),
        ("score net.toml nowhere.npy", "nowhere.npy: No such file or directory"),
        ("score net.toml plan.json --target 5", "--target requires schemes in an .npy"),
        ("score net.toml plan.json --threads 2", "--threads requires schemes in an .npy"),
        ("pareto net.toml --threads 2", "unrecognized arguments: --threads 2"),
        ("score net.toml rows.npy --target nan", "--target is nan; it must be"),
        ("score net.toml rows.npy --target 0", "--target is 0.0; it must be"),
    ],
)
def test_bad_input_is_one_sentence(refused, argv, sentence):
    Path("plan.json").write_text('{"scheme": [0, 0, 1]}')
    np.save("rows.npy", np.zeros((2, 3), np.int8))
    assert sentence in refused(*argv.split())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it is not valid JSON of a plan: Input data was truncated"),
        ("scheme", "it is not valid JSON of a plan: JSON is malformed"),
        ("[" * 100_000, "it is not valid JSON of a plan: "),
        ("[0, 0, 1]", "it is not valid JSON of a plan: Expected `object`, got `array`"),
        ("{}", "missing required field `scheme`"),
        ('{"scheme": [0, 0, "1"]}', "Expected `int`, got `str` - at `$.scheme[2]`"),
        ('{"scheme": [0, 0, 128]}', "Expected `int` <= 127 - at `$.scheme[2]`"),
        ('{"scheme": [0, 0, -1]}', "Expected `int` >= 0 - at `$.scheme[2]`"),
        ('{"scheme": [0, 0, 2]}', "scheme[2] is 2; it must be a label from 0 to 1"),
        ('{"scheme": [0, 0]}', "the plan is of 2 layers; net on types has 3"),
        ('{"scheme": []}', "the plan is of 0 layers; net on types has 3"),
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
    sentence = (
        "p.json: its labels are those of a plan with split and merge 'adjacent' and cannot be read with "
    )
    assert refused("plan", "net.toml", "--initial", "p.json") == f"{sentence}no split"
    assert refused("score", "net.toml", "p.json", "--no-split") == f"{sentence}no split"
    changed = refused("score", "net.toml", "p.json", "--merge", "type")
    assert changed == f"{sentence}split and merge 'type'"


# plan --for -------------------------------------------------------------------------------------------

MODEL = """
name = "model"
cluster = "types.toml"
mode = "train"
goal = { schedule = "1f1b", microbatches = 2, batch = 8, objective = "throughput" }
[[layers]]
name = "e"
kind = "embedding"
compute = { slow = 0.001, fast = 0.001, "slow/half" = 0.0001, "slow/tp2" = 0.001 }
[[layers]]
name = "x"
kind = "block"
compute = { slow = 0.003, fast = 0.001, "slow/half" = 0.0001, "slow/tp2" = 0.001 }
[[layers]]
name = "y"
kind = "block"
compute = { slow = 0.003, fast = 0.001, "slow/half" = 0.0001, "slow/tp2" = 0.001 }
[[layers]]
name = "h"
kind = "head"
compute = { slow = 0.001, fast = 0.001, "slow/half" = 0.0001, "slow/tp2" = 0.001 }
"""


@pytest.fixture
def model(run):
    Path("model.toml").write_text(MODEL)
    with_half = CLUSTER.replace("price = 1.0\n", "price = 1.0\nstrategies = { half = 1 }\n")
    Path("types.toml").write_text(with_half)


def test_plan_for_a_runtime_is_exported(run, model):
    status, out, err = run("plan", "model.toml", "--for", "megatron", "-o", "plan.json")
    assert (status, err) == (0, "")
    assert "proven: no plan is faster" in out
    alone = run("export", "plan.json", "--to", "megatron")
    compared = run("export", "plan.json", "--to", "megatron", "--workload", "model.toml")
    assert alone[:2] == compared[:2]
    assert alone[0] == 0
    assert run("plan", "model.toml", "-o", "plan.json")[0] == 0
    assert "by strategy 'half'" in run("export", "plan.json", "--to", "megatron")[2]


def test_initial_plan_for_a_runtime(run, model):
    assert run("plan", "model.toml", "--for", "megatron", "-o", "plan.json")[0] == 0
    again = ("plan", "model.toml", "--for", "megatron", "--initial", "plan.json", *SHORT, "-o", "-")
    assert strict(run(*again)[1])["scheme"] == strict(Path("plan.json").read_text())["scheme"]


def test_repairs_of_a_plan_for_a_runtime(run, model):
    status, out, _ = run(
        "plan", "model.toml", "--for", "paddle", "--min-throughput", "1e6", "-o", "plan.json"
    )
    assert status == 1
    assert "throughput: " in out
    suggestions = strict(Path("plan.json").read_text())["repair"]["suggestions"]
    assert {len(suggestion["scheme"]) for suggestion in suggestions} == {4}


def test_plan_for_a_runtime_that_can_run_none(refused, model):
    sentence = "vllm can run no plan of this problem: its workload was profiled for mode 'train'"
    assert sentence in refused("plan", "model.toml", "--for", "vllm")
    assert "argument --for: invalid choice: 'x'" in refused("plan", "model.toml", "--for", "x")
    sentence = (
        "argument --for: it is 'exo', which runs its stages in turn; it must be a runtime with pipelines: "
    )
    assert sentence in refused("plan", "model.toml", "--for", "exo")
