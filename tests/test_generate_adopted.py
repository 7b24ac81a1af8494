"""Projects that somebody else wrote, adopted and tested: locally and over ssh."""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import small_projects

from stageplan.generate import StepError, adopt, environment, run_test
from stageplan.generate.spec import Ssh

METRICS = {
    "metrics": [
        "accuracy=acc: ([0-9.]+)",
        "test.error=result.json",
        "train:loss=loss: ([0-9.]+)",
        "infer:answer=answer: ([0-9.]+)",
    ],
    "limits": {"accuracy": (0.99, None), "loss": (None, 0.001), "test.error": (None, 0.01)},
    "artefacts": ["train=out/line.json", "export=out/line.txt"],
}


@pytest.fixture
def project(tmp_path):
    return small_projects.write(tmp_path / "line")


def statuses(result):
    return {case.name: case.status for case in result.cases}


@pytest.mark.parametrize("where", ["local", "ssh"])
def test_a_project_is_adopted_and_tested(project, tmp_path, where, request):
    there = {}
    if where == "ssh":
        server = request.getfixturevalue("ssh_server")
        there = {
            "target": server.target,
            "ssh": Ssh(config=str(server.config), directory=str(tmp_path / "there")),
        }
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    adopt(project, tmp_path / "run", python=sys.executable, **METRICS, **there)
    result = run_test(tmp_path / "run")
    assert statuses(result) == dict.fromkeys(("environment", "train", "evaluate", "export", "infer"), "PASS")
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before
    loss, accuracy = result.case("train").numbers[0], result.case("evaluate").numbers[0]
    assert (loss.required, accuracy.required) == ("at most 0.001", "at least 0.99")
    assert loss.value < 0.001 < 0.99 < accuracy.value
    assert 5 < result.case("infer").numbers[0].value < 8
    assert result.case("train").peak_memory > 1e6
    assert (result.name, result.host.cores > 0, "python" in result.versions) == ("line", True, True)
    document = json.loads((tmp_path / "run/test-result.json").read_text())
    assert document["host"]["name"] == result.host.name
    suite = ElementTree.parse(tmp_path / "run/test-result.xml").getroot().find("testsuite")
    assert (suite.get("tests"), suite.get("failures")) == ("5", "0")
    if where == "ssh":
        assert not (tmp_path / "there/test").exists()


@pytest.mark.parametrize("where", ["local", "ssh"])
def test_a_configuration_of_tipc_is_read_and_run(project, tmp_path, where, request):
    text = small_projects.TIPC
    for old, new in {
        "gpu_list:-1|0|0,1": "gpu_list:-1|0", "precision:fp32|fp16|int8": "precision:fp32|fp16",
        "batch:1|16": "batch:16", "threads:1|6": "threads:6",
    }.items():  # fmt: skip
        text = text.replace(old, new)
    (tmp_path / "train_infer_python.txt").write_text(text)
    there = {}
    if where == "ssh":
        server = request.getfixturevalue("ssh_server")
        there = {
            "target": server.target,
            "ssh": Ssh(config=str(server.config), directory=str(tmp_path / "there")),
        }
    adopt(
        project, tmp_path / "run", python=sys.executable, tipc=tmp_path / "train_infer_python.txt",
        metrics=["train:loss=loss: ([0-9.]+)", "infer:answer=answer: ([0-9.]+)"], **there,
    )  # fmt: skip
    result = run_test(tmp_path / "run", mode="quick")
    assert result.passed
    found = {case.name: (case.status, case.message) for case in result.cases}
    label = "norm_train gpus=-1 autocast=null"
    assert [found[f"{name} {label}"][0] for name in ("train", "export")] == ["PASS", "PASS"]
    assert found[f"infer {label} cpu mkldnn=True threads=6 precision=fp32 batch=16"][0] == "PASS"
    assert found[f"infer {label} cpu mkldnn=False threads=6 precision=fp16 batch=16"] == (
        "SKIP", "fp16 requires MKL-DNN"
    )  # fmt: skip
    assert found["train norm_train gpus=0 autocast=null"] == (
        "SKIP", "it needs 1 accelerator; the target has none"
    )  # fmt: skip
    infer = result.case(f"infer {label} cpu mkldnn=True threads=6 precision=fp32 batch=16")
    assert "threads 6 batch 16" in infer.log


# Faults -------------------------------------------------------------------------------------------------

FAULTS = {
    "missing script": ("train.py", None, "train", "FAIL", "train.py is missing; the project has no such"),
    "failing command": ("train.py", "raise SystemExit('no data')", "train", "FAIL",
                        "train.py ended with exit status 1: no data"),
    "missing module": ("train.py", "import no_such_module", "train", "FAIL",
                       "train.py ended with exit status 1: ModuleNotFoundError: No module named"),
    "crash": ("infer.py", "import os; os.abort()", "infer", "ERROR", "infer.py was ended by signal SIGABRT"),
    "missing metric": ("tools/eval.py", "open('result.json', 'w').write('{}'); print('acc: 1')", "evaluate",
                       "FAIL", "result.json has no test.error (test.error must be at most 0.01)"),
    "pattern without match": ("tools/eval.py", "print('accuracy 1')", "evaluate", "FAIL",
                              "the output has no accuracy: nothing matches 'acc: ([0-9.]+)' (accuracy must "),
    "no number": ("tools/eval.py", "print('acc: .')", "evaluate",
                  "FAIL", "accuracy is '.' in the output, by 'acc: ([0-9.]+)', which is not a number ("),
    "out of limit": ("tools/eval.py", "print('acc: 0.5')", "evaluate",
                     "FAIL", "accuracy is 0.5 in the output; it must be at least 0.99"),
    "missing file": ("export.py", "print('nothing')", "export", "FAIL", "line.txt was not written"),
    "empty file": ("export.py", "open('line.txt', 'w').close()", "export", "FAIL",
                   "line.txt is empty"),
    "no JSON": ("tools/eval.py", "print('acc: 1'); open('result.json', 'w').write('{')", "evaluate", "FAIL",
                "result.json is not valid JSON: "),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_found(project, tmp_path, name):
    file, text, case, status, message = FAULTS[name]
    if text is None:
        (project / file).unlink()
    else:
        (project / file).write_text(text)
    metrics = {
        "evaluate": {
            "metrics": ["accuracy=acc: ([0-9.]+)", "test.error=result.json"],
            "limits": {"accuracy": (0.99, None), "test.error": (None, 0.01)},
        },
        "export": {"artefacts": ["export=line.txt"]},
    }
    adopt(
        project, tmp_path / "run", python=sys.executable, commands={case: file}, **metrics.get(case, {})
    )  # fmt: skip
    result = run_test(tmp_path / "run")
    assert result.case(case).status == status
    assert message in result.case(case).message
    assert not result.passed


def test_a_command_that_hangs_is_stopped(project, tmp_path):
    (project / "train.py").write_text("import time; time.sleep(600)")
    adopt(project, tmp_path / "run", python=sys.executable, commands={"train": "train.py"}, time_limit=0.5)
    case = run_test(tmp_path / "run").case("train")
    assert (case.status, case.message.partition(",")[0]) == (
        "TIMEOUT",
        "train.py was stopped at its time limit",
    )


def test_an_interpreter_that_is_not_there_is_named(project, tmp_path):
    adopt(project, tmp_path / "run", python="/no/python")
    result = run_test(tmp_path / "run")
    assert statuses(result)["train"] == "SKIP"
    assert result.case("environment").message == (
        "environment is MISSING, neither /no/python/bin/python nor /no/python runs on local: "
        "make it, or remove environment.reuse so that one is made"
    )


def test_packages_of_an_environment_are_compared_with_the_requirements(project, tmp_path):
    (project / "requirements.txt").write_text(
        "# needed\npytest\nno-such-package>=1  # why\nnumpy==0.0.1\n-e .\na; sys_platform == 'none'\n"
    )
    file = project / "requirements.txt"
    adopt(project, tmp_path / "run", python=sys.executable, requirements=file)
    message = run_test(tmp_path / "run").case("environment").message
    assert "package no-such-package is MISSING, none: " in message
    assert "-m pip install 'no-such-package>=1'" in message
    assert "package numpy is WRONG, " in message
    assert "pytest" not in message


def test_a_project_that_has_moved_is_named(project, tmp_path):
    adopt(project, tmp_path / "run", python=sys.executable)
    project.rename(tmp_path / "moved")
    with pytest.raises(StepError, match=r"^there is no folder .*/line; adopt the project where it is now$"):
        run_test(tmp_path / "run")


@pytest.mark.parametrize("made", [sys.executable, None])
def test_an_environment_is_made_of_the_requirements(project, tmp_path, monkeypatch, made):
    def make_environment(place, target, directory, facts, packages):
        option, file = packages
        assert (option, Path(file).read_text()) == ("-r", "pytest\n")
        failed = environment.Item(name="packages", status="WRONG", found="no", wanted="", advice="look")
        return made or failed

    monkeypatch.setattr(environment, "make_environment", make_environment)
    (project / "requirements.txt").write_text("pytest\n")
    adopt(project, tmp_path / "run", commands={"infer": "python -c 'import sys'"})
    result = run_test(tmp_path / "run")
    assert statuses(result) == (
        {"environment": "PASS", "infer": "PASS"} if made else {"environment": "FAIL", "infer": "SKIP"}
    )
    assert result.case("environment").message == ("" if made else "packages is WRONG, no: look")
