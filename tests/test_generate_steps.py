"""The steps: order, resuming, a user's files, killed and failed runs, and the command line."""

import errno
import fcntl
import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import fake_steps
import msgspec
import pytest
from processes import SIGNALS, gone, wait_for

import stageplan
from stageplan import cli
from stageplan.generate import Item, Spec, StepError, environment, generate, run_test, steps

SPEC = """
name = "fake"
task = "text-classification"
[extend]
steps = ["prune"]
"""


@pytest.fixture(autouse=True)
def fakes(monkeypatch, tmp_path):
    fake_steps.install(monkeypatch.setattr)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(Path(stageplan.__file__).parents[1]))  # a relative one leads nowhere
    monkeypatch.chdir(tmp_path)
    Path("spec.toml").write_text(SPEC)


@pytest.fixture
def done():
    """Run; return the steps that ran, without those whose earlier results were used."""

    def done(*, spec="spec.toml", **options):
        said = []
        made = generate(spec, "out", progress=said.append, **{"mode": "quick"} | options)
        assert made.passed
        begun = [words.split()[0] for words in said if not words.startswith("files that ")]
        return list(dict.fromkeys(begun))

    return done


@pytest.fixture
def refused(capsys):
    """Run a command that must be refused; return its one sentence."""

    def refused(*argv):
        assert cli.main([str(argument) for argument in argv]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("stageplan: error: ")
        assert err.count("\n") == 1
        return err.removeprefix("stageplan: error: ").rstrip()

    return refused


PREPARE = environment.prepare  # the real one
ALL = ["environment", "basic", "extended", "test"]
FILES = {
    "spec.json",
    "environment.json",
    "manifest-basic.json",
    "manifest-extended.json",
    "cases.toml",
    "project",
    "test",
    "test-result.json",
    "test-result.xml",
    "test-result.html",
    ".stageplan-run",
    ".stageplan-files.json",
}

STARTED = {"spec.json", "environment.json", ".stageplan-run", ".stageplan-files.json"}


def names(folder="out"):
    return {path.name for path in Path(folder).iterdir()}


def test_all_steps_and_their_files(done):
    assert done() == ALL
    assert names() == FILES
    assert {path.name for path in Path("out/project/artefacts").iterdir()} == {"weights", "metrics", "pruned"}


def test_results_are_typed():
    made = generate("spec.toml", "out", mode="quick")
    assert made.environment.lock == ("torch==2.13.0",)
    assert made.basic.training == "quick"
    assert [artefact.path for artefact in made.basic.artefacts] == [
        "artefacts/metrics/train.json",
        "artefacts/weights",
    ]
    assert made.extended.steps == ("prune",)
    assert [case.name for case in made.test.cases] == ["environment", "integrity", "train", "infer"]
    assert "extended function (prune): 3 artefacts, " in str(made)


def test_run_without_extensions(done):
    assert done(spec=Spec(name="a", task="text-classification")) == ["environment", "basic", "test"]
    assert "manifest-extended.json" not in names()


def test_specification_may_be_an_object_or_a_runs_spec_json(done):
    done()
    assert done(spec="out/spec.json", resume=True) == ["test"]


# Resuming -----------------------------------------------------------------------------------------------


def test_resume_skips_complete_steps(done):
    done()
    assert done(resume=True) == ["test"]


def test_without_resume_all_steps_run_again(done):
    done()
    assert done() == ALL


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"environment": {"torch": "2.12.0"}}, ALL),
        ({"hardware": {"cores": 1, "memory": 1.0}}, ALL),
        ({"hardware": {"types": [{"name": "cpu", "price": 1.0}]}}, ["extended", "test"]),
        ({"seed": 3}, ["basic", "extended", "test"]),
        ({"service": {"batch": 8}}, ["basic", "extended", "test"]),
        ({"extend": {"steps": ["prune"], "sparsity": 0.25}}, ["extended", "test"]),
        ({"extend": {}}, ["basic", "test"]),
    ],
)
def test_resume_repeats_the_steps_that_a_change_affects(done, change, again):
    fields = {"name": "fake", "task": "text-classification", "extend": {"steps": ["prune"]}}
    done(spec=Spec(**fields))
    assert done(spec=Spec(**fields | change), resume=True) == again
    assert done(spec=Spec(**fields | change), resume=True) == ["test"]


def test_resume_repeats_training_of_another_length(done):
    done()
    assert done(mode="full", resume=True) == ["basic", "extended", "test"]
    assert done(mode="infer", resume=True) == ["test"]


def test_resume_repeats_all_steps_after_a_change_of_the_code(done, monkeypatch):
    done()
    monkeypatch.setattr(steps, "code", lambda: "other")
    assert done(resume=True) == ALL


def test_resume_compares_data_and_plan_by_content(done):
    Path("data.csv").write_text("a")
    Path("plan.json").write_text("{}")
    more = 'pipeline = { plan = "plan.json" }\n[data]\nfile = "data.csv"\n'
    Path("spec.toml").write_text(SPEC + more)
    done()
    Path("data.csv").touch()
    assert done(resume=True) == ["test"]
    Path("plan.json").write_text("[]")
    assert done(resume=True) == ["extended", "test"]
    Path("data.csv").write_text("b")
    assert done(resume=True) == ["basic", "extended", "test"]


def test_resume_repeats_steps_with_changed_artefacts(done):
    done()
    Path("out/project/artefacts/pruned").write_text("tampered")
    assert done(resume=True) == ["extended", "test"]
    Path("out/project/artefacts/weights").unlink()
    assert done(resume=True) == ["basic", "extended", "test"]


def test_failed_step_removes_later_results(done, monkeypatch):
    done()
    monkeypatch.setattr(fake_steps, "TRAIN", "raise OSError('no')")
    with pytest.raises(StepError, match=r"^basic: "):
        generate("spec.toml", "out", mode="full")
    assert not names() & {"manifest-basic.json", "test-result.json", "test-result.xml"}


def test_truncated_result_is_ignored(done):
    done()
    whole = Path("out/manifest-extended.json").read_bytes()
    Path("out/manifest-extended.json").write_bytes(whole[:-20])
    assert done(resume=True) == ["extended", "test"]


def test_missing_interpreter_recreates_environment(done, monkeypatch):
    done()
    monkeypatch.setattr(environment, "interpreter_runs", lambda *_: False)
    assert done(resume=True)[0] == "environment"


def test_steps_over_ssh_copy_their_results_back(done, ssh_server, tmp_path):
    there = tmp_path / "there"
    config = f'[ssh]\nconfig = "{ssh_server.config}"\ndirectory = "{there}"\n'
    Path("spec.toml").write_text(f"{SPEC}{config}[environment]\npython = '{sys.executable}'\n")
    assert done(target=ssh_server.target) == ALL
    assert names() == FILES
    assert names(there) == {".stageplan-run"}
    assert {path.name for path in Path("out/project/artefacts").iterdir()} == {"weights", "metrics", "pruned"}
    assert done(target=ssh_server.target, resume=True) == ["test"]
    assert run_test("out", mode="infer").passed


def test_unreachable_target_fails_with_one_sentence(capsys, monkeypatch):
    monkeypatch.setattr(environment, "prepare", PREPARE)
    assert cli.main([*GENERATE, "--target", "ssh:127.0.0.1:1"]) == 1
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert sentence.startswith("stageplan: failed: ssh:127.0.0.1:1 cannot be reached: ")


# One step -----------------------------------------------------------------------------------------------


def test_steps_run_one_by_one(done):
    for step in ALL:
        assert done(step=step) == [step]
    assert done(step="basic") == ["basic"]
    assert "manifest-extended.json" not in names()  # it was of the earlier basic function


@pytest.mark.parametrize(("step", "needed"), [("basic", "environment"), ("test", "environment")])
def test_step_without_the_earlier_results_is_refused(step, needed):
    sentence = f"^step {needed} has no result for this specification; run it first, or all steps$"
    with pytest.raises(StepError, match=sentence):
        generate("spec.toml", "out", step=step)
    assert names() == {".stageplan-run"}


def test_step_does_not_use_results_of_another_specification(done):
    done()
    kept = Path("out/spec.json").read_bytes()
    other = Spec(name="fake", task="text-classification", seed=5, extend={"steps": ["prune"]})
    with pytest.raises(StepError, match=r"^step basic has no result"):
        generate(other, "out", step="extended")
    assert Path("out/spec.json").read_bytes() == kept


def test_test_alone(done):
    with pytest.raises(ValueError, match=r"^directory is out; it must be made by an earlier run"):
        run_test("out")
    done()
    assert run_test("out", mode="infer").passed
    Path("out/environment.json").unlink()
    with pytest.raises(StepError, match=r"^there is no environment\.json in "):
        run_test("out")


def test_unmet_environment_ends_the_run(monkeypatch):
    bad = Item(name="memory", status="WRONG", found="1 GiB", wanted="2 GiB", advice="1 GiB short")
    report = fake_steps.prepare
    monkeypatch.setattr(environment, "prepare", lambda *a: msgspec.structs.replace(report(*a), items=(bad,)))
    made = generate("spec.toml", "out")
    assert not made.passed
    assert (made.basic, made.test) == (None, None)
    assert "WRONG  memory: 1 GiB; 1 GiB short" in str(made)
    with pytest.raises(StepError, match=r"^step environment has no result"):
        generate("spec.toml", "out", step="basic")


# A user's files -----------------------------------------------------------------------------------------


def tree(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def foreign(folder):
    """Fill a folder with files of the names that a run uses, but without its marker."""
    for name in ("project/thesis.tex", "test/project/data", "environment/bin/notes", "manifest-basic.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("precious")
    (folder / "spec.json").write_text('{"name": "mine", "task": "text-classification"}')
    return tree(folder)


@pytest.mark.parametrize("options", [{}, {"resume": True}, *({"step": step} for step in ALL)])
def test_folder_with_a_spec_json_is_not_taken_for_an_earlier_run(options):
    files = foreign(Path("out"))
    with pytest.raises(
        ValueError, match=r"^directory is .*/out; it must be new, empty, or made by an earlier"
    ):
        generate("spec.toml", "out", mode="quick", **options)
    with pytest.raises(ValueError, match=r"^directory is out; it must be made by an earlier run"):
        run_test("out")
    assert tree("out") == files


def test_link_to_an_empty_folder_is_followed_and_to_another_is_refused(done, refused):
    Path("elsewhere").mkdir()
    Path("out").symlink_to("elsewhere")
    assert done() == ALL
    assert names("elsewhere") == FILES
    Path("mine").mkdir()
    files = foreign(Path("mine"))
    Path("link").symlink_to("mine")
    assert "/mine; it must be new, empty, or made by" in refused("generate", "spec.toml", "-o", "link")
    assert tree("mine") == files
    Path("circle").symlink_to("circle")
    assert "circle, a file; it must be a directory" in refused("generate", "spec.toml", "-o", "circle")


def test_files_added_or_changed_in_a_run_are_kept(done):
    done()
    project = Path("out/project")
    (project / "notes.md").write_text("mine")
    (project / "artefacts/notes.md").write_text("mine")
    (project / "artefacts/weights").write_text("trained on")
    (project / "prune.py").write_text("mine")
    Path("out/cases.toml").write_text("mine")
    Path("out/notes.md").write_text("mine")
    Path("spec_.json").write_text("mine")
    Path("out/spec.json").unlink()
    Path("out/spec.json").symlink_to("../spec_.json")
    Path("out/test/project/notes.md").write_text("mine")
    said = []
    generate("spec.toml", "out", mode="quick", progress=said.append)
    assert Path("out/notes.md").read_text() == "mine"
    assert Path("spec_.json").read_text() == "mine"
    assert Path("out/kept/1/spec.json").readlink() == Path("../spec_.json")
    Path("out/kept/1/spec.json").unlink()
    kept = {path.relative_to("out/kept").as_posix()[2:]: text for path, text in tree("out/kept").items()}
    assert kept == {
        "project/notes.md": b"mine",
        "project/artefacts/notes.md": b"mine",
        "project/artefacts/weights": b"trained on",
        "project/prune.py": b"mine",
        "cases.toml": b"mine",
        "test/project/notes.md": b"mine",
    }
    root = Path("out").resolve()
    assert said[-3:] == [f"files that you added or changed were moved to {root}/kept/{i}" for i in (2, 3, 4)]


def test_files_added_before_the_extended_step_stay_where_they_are(done):
    done()
    notes = [Path("out/project/notes.md"), Path("out/project/artefacts/notes.md")]
    for path in notes:
        path.write_text("mine")
    for _ in range(2):
        assert done(step="extended") == ["extended"]
        assert [path.read_text() for path in notes] == ["mine", "mine"]
    assert not Path("out/kept").exists()
    assert done() == ALL
    assert Path("out/kept/1/project/notes.md").read_text() == "mine"


def test_results_survive_a_target_that_is_refused_or_not_reached(done, ssh_server, tmp_path):
    done()
    there = tmp_path / "there"
    there.mkdir()
    here_before, there_before = tree("out"), foreign(there)
    config = f'[ssh]\nconfig = "{ssh_server.config}"\ndirectory = "{there}"\n'
    Path("spec.toml").write_text(f"{SPEC}{config}[environment]\npython = '{sys.executable}'\n")
    with pytest.raises(
        ValueError, match=rf"^ssh.directory is {there}; on ssh:\S+ it must be new, empty, or "
    ):
        generate("spec.toml", "out", target=ssh_server.target)
    with pytest.raises(StepError, match=r"^ssh:127\.0\.0\.1:1 cannot be reached: "):
        generate("spec.toml", "out", target="ssh:127.0.0.1:1")
    assert (tree("out"), tree(there)) == (here_before, there_before)


def test_folder_on_the_target_that_is_not_of_this_run_is_refused(done, refused, ssh_server, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    config = f'[ssh]\nconfig = "{ssh_server.config}"\ndirectory = "{there}"\n'
    Path("spec.toml").write_text(f"{SPEC}{config}[environment]\npython = '{sys.executable}'\n")
    over_ssh = ("generate", "spec.toml", "--target", ssh_server.target, "--mode", "quick", "-o")
    (there / ".hidden").write_text("precious")
    assert refused(*over_ssh, "out").startswith(f"ssh.directory is {there}; on ssh:")
    files = foreign(there)
    assert refused(*over_ssh, "out").startswith(f"ssh.directory is {there}; on ssh:")
    assert tree(there) == files
    assert not Path("out").exists()
    for path in there.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert done(target=ssh_server.target) == ALL
    marker = (there / ".stageplan-run").read_text()
    assert marker == Path("out/.stageplan-run").read_text()
    assert refused(*over_ssh, "other").startswith(f"ssh.directory is {there}; on ssh:")
    assert (there / ".stageplan-run").read_text() == marker
    (there / ".stageplan-run").unlink()
    (there / "thesis.tex").write_text("precious")
    assert refused("test", "out").startswith(f"ssh.directory is {there}; on ssh:")


# Failures -----------------------------------------------------------------------------------------------


def run(*arguments, **options):
    command = [sys.executable, str(fake_steps.FILE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, **options)


GENERATE = ("generate", "spec.toml", "-o", "out", "--mode", "quick")


@pytest.mark.parametrize("how", ["TERM", "KILL"])
def test_killed_run_leaves_no_partial_result_and_is_resumed(done, tmp_path, how):
    with hanging(tmp_path, *GENERATE) as (runner, _):
        runner.kill() if how == "KILL" else runner.terminate()
        runner.communicate()
    left = names()
    assert left >= {"spec.json", "environment.json"}
    assert not left & {"project", "manifest-basic.json", "test-result.json"}
    (tmp_path / "hang").unlink()
    assert done(resume=True) == ["basic", "extended", "test"]
    assert names() == FILES


@contextmanager
def hanging(tmp_path, *argv):
    """Start a command that hangs in a training; give its process, and the number of the training's."""
    (tmp_path / "hang").touch()
    with subprocess.Popen(
        [sys.executable, str(fake_steps.FILE), *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as runner:
        wait_for((tmp_path / "begun").exists, runner)
        yield runner, int((tmp_path / "begun").read_text())


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_signal_ends_the_run_and_leaves_no_scratch_folder(tmp_path, number, status):
    with hanging(tmp_path, *GENERATE) as (runner, training):
        runner.send_signal(number)
        out, err = runner.communicate()
    assert (runner.returncode, out) == (status, "")
    assert err.splitlines()[-1] == "stageplan: interrupted"
    assert gone(training)
    assert not [name for name in names() if name.endswith(".part")]


@pytest.mark.parametrize(("number", "status"), SIGNALS[1:])
def test_signal_ends_a_test(done, tmp_path, number, status):
    done()
    with hanging(tmp_path, "test", "out", "--mode", "quick") as (runner, training):
        runner.send_signal(number)
        _, err = runner.communicate()
    assert runner.returncode == status
    assert err.splitlines()[-1] == "stageplan: interrupted"
    assert gone(training)


def test_full_disk_fails_the_step(done, tmp_path):
    finished = run("--small-files", *GENERATE)
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1] == (
        "stageplan: failed: basic: train.py ended with exit status 1: OSError: [Errno 27] File too large; "
        f"its output is in {tmp_path}/out/failure.log"
    )
    assert not names() & {"project", "manifest-basic.json"}
    assert done(resume=True) == ["basic", "extended", "test"]


def test_full_disk_at_the_beginning_of_the_test(done):
    done()
    finished = run("--small-files", "test", "out", "--mode", "quick")
    assert finished.returncode == 1
    assert "File too large" in finished.stderr.splitlines()[-1]
    assert "Traceback" not in finished.stderr
    assert not names() & {"test-result.json", "test-result.xml"}


def test_failed_step_writes_its_log(done, monkeypatch):
    monkeypatch.setattr(fake_steps, "TRAIN", "import sys; sys.exit('no good')")
    sentence = r"^basic: train\.py ended with exit status 1: no good; its output is in .*/out/failure\.log$"
    with pytest.raises(StepError, match=sentence):
        generate("spec.toml", "out")
    assert names() == {*STARTED, "failure.log"}
    assert Path("out/failure.log").read_text() == "no good\n"
    with pytest.raises(StepError, match=r"^step basic has no result for this specification"):
        generate("spec.toml", "out", step="test")
    assert "failure.log" not in names()


def test_full_disk_without_room_for_the_log(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fake_steps, "TRAIN", "raise SystemExit('no good')")
    monkeypatch.setattr(steps, "write_whole", full)
    with pytest.raises(StepError, match=r"^basic: train\.py ended with exit status 1: no good$"):
        generate("spec.toml", "out")
    assert names() == STARTED


def test_directory_in_use_is_refused(done):
    done()
    with open("out/.stageplan-run", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match=r"^directory is .*; another run is using it$"):
            generate("spec.toml", "out")


# Arguments ----------------------------------------------------------------------------------------------


def test_directory_with_other_files_is_not_changed(refused, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("precious")
    allowed = "it must be new, empty, or made by an earlier run, whose marker .stageplan-run is absent"
    assert refused(*GENERATE) == f"directory is {tmp_path}/out; {allowed}"
    assert names() == {"thesis.tex"}
    (tmp_path / "file").touch()
    assert refused("generate", "spec.toml", "-o", "file").startswith(
        f"directory is {tmp_path}/file, a file; "
    )


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (("generate", "no.toml", "-o", "out"), "no.toml: No such file or directory"),
        (("generate", "spec.toml"), "the following arguments are required: -o/--output"),
        ((*GENERATE, "--step", "x"), "argument --step: invalid choice: 'x' (choose from "),
        ((*GENERATE, "--target", "moon"), "--target is 'moon'; it must be 'local', 'ssh:USER@HOST' or "),
        (("test", "nowhere"), "directory is nowhere; it must be made by an earlier run, with "),
    ],
)
def test_wrong_arguments(refused, argv, sentence):
    assert refused(*argv).startswith(sentence)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ('[data]\nfile = "no.csv"', "data.file is {}/no.csv; it must be an existing file"),
        ('[ssh]\nconfig = "no"', "ssh.config is {}/no; it must be an existing file"),
        (
            'pipeline = { plan = "no.json" }',
            "extend.pipeline.plan is {}/no.json; it must be an existing file",
        ),
    ],
)
def test_missing_files_are_named(refused, tmp_path, more, sentence):
    Path("spec.toml").write_text(SPEC + more)
    assert refused(*GENERATE) == sentence.format(tmp_path)
    assert not Path("out").exists()


def test_wrong_arguments_in_python():
    with pytest.raises(ValueError, match=r"^mode is 'slow'; it must be one of 'quick', .*'benchmark'$"):
        generate("spec.toml", "out", mode="slow")
    with pytest.raises(ValueError, match=r"^step is 'all'; it must be one of None, 'environment', "):
        generate("spec.toml", "out", step="all")


def test_exit_status_and_output(capsys):
    assert cli.main(list(GENERATE)) == 0
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        "environment",
        "basic",
        "extended",
        "test environment",
        "test integrity",
        "test train",
        "test infer",
    ]
    assert "test of fake, quick: passed (4 PASS)\n" in out
    Path("out/project/infer.py").write_text("import sys; sys.exit('no good')")
    assert cli.main(["test", "out", "--mode", "infer"]) == 1
    assert "FAIL  infer" in capsys.readouterr().out
    assert cli.main(["test", "out", "--mode", "infer", "--json"]) == 1
    printed = capsys.readouterr().out
    assert json.loads(printed) == json.loads(Path("out/test-result.json").read_text())
    assert cli.main(["generate", "spec.toml", "-o", "out", "--step", "test", "--mode", "infer"]) == 1
