"""The preset test script: outcomes of cases, in a project that is quick because it computes nothing."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from processes import wait_for
from projects import RUN_ID

from stageplan.generate import BasicResult, EnvironmentReport, ExtendedResult, Spec, StepError, environment
from stageplan.generate.cases import read_script, run_cases
from stageplan.generate.digests import sha256
from stageplan.generate.results import TestResult as Verdicts
from stageplan.generate.results import artefacts_of, code_of, read_result, write_result
from stageplan.generate.target import TargetError, target_of

SPEC = Spec(name="fake", task="text-classification")
COMMON = "import json, os, sys, time\n"
WORK = (
    COMMON
    + """
os.makedirs("artefacts/metrics", exist_ok=True)
open("artefacts/weights", "w").write("weights")
json.dump({"loss": 0.5, "stages": 2}, open("artefacts/metrics/work.json", "w"))
"""
)
CASE = """
[[case]]
name = "work"
command = ["work.py"]
modes = ["quick", "full"]
time_limit = 60
artefacts = ["artefacts/weights"]
metrics = [{ file = "artefacts/metrics/work.json", name = "loss", max = 1.0 }]
"""


@pytest.fixture
def directory(tmp_path):
    """A run's directory with a complete project."""
    project = tmp_path / "project"
    (project / "artefacts").mkdir(parents=True)
    (project / "config.json").write_text("{}")
    (project / "work.py").write_text(WORK)
    (project / "artefacts" / "weights").write_text("delivered")
    (project / "examples.csv").write_text("text,label\n")
    (tmp_path / "cases.toml").write_text(CASE)
    keep_manifest(tmp_path)
    return tmp_path


def keep_manifest(directory, kind=BasicResult, name="manifest-basic.json", **more):
    project = directory / "project"
    result = kind(
        training="full",
        config_sha256=sha256(project / "config.json"),
        artefacts=artefacts_of(project),
        files=code_of(project),
        cases_sha256=sha256(directory / "cases.toml"),
        metrics={},
        versions={},
        seconds=0.0,
        **more,
    )
    write_result(directory / name, result)


@pytest.fixture
def verdicts(directory, monkeypatch):
    """Run the cases, in an environment that is as required."""
    monkeypatch.setattr(environment, "check_interpreter", lambda *_: ([], []))

    def verdicts(text=None, mode="quick", said=None):
        if text is not None:
            (directory / "cases.toml").write_text(text)
        target = target_of(SPEC, directory, RUN_ID)
        return run_cases(
            SPEC, REPORT, target, directory, mode=mode, progress=(said if said is not None else []).append
        )

    return verdicts


REPORT = EnvironmentReport(
    target="local", python=sys.executable, items=(), requirements=(), lock=(), seconds=0.0
)


def statuses(result):
    return {case.name: case.status for case in result.cases}


def program(directory, name, code):
    (directory / "project" / name).write_text(COMMON + code)


def test_all_cases_pass_and_the_result_is_written(verdicts, directory):
    said = []
    result = verdicts(said=said)
    assert statuses(result) == {"environment": "PASS", "integrity": "PASS", "work": "PASS"}
    assert result.passed
    assert read_result(directory / "test-result.json", Verdicts) == result
    assert said == ["test environment", "test integrity", "test work"]
    assert str(result).startswith("test of fake, quick: passed (3 PASS)\n")


def test_notes_of_a_command_are_in_its_message(verdicts, directory):
    program(directory, "work.py", WORK + "print('note: loss is 1; it must be at most 2\\x07')\nprint('{}')")
    case = verdicts().case("work")
    assert (case.status, case.message) == ("PASS", "loss is 1; it must be at most 2\\u0007")


def test_project_is_unchanged_and_its_tested_copy_remains(verdicts, directory):
    verdicts()
    assert (directory / "project/artefacts/weights").read_text() == "delivered"
    assert not (directory / "project/artefacts/metrics").exists()
    assert (directory / "test/project/artefacts/weights").read_text() == "weights"


FAULTS = {
    "exit status": ("sys.exit('no good')", "FAIL", "work.py ended with exit status 1: no good"),
    "exception": ("1 / 0", "FAIL", "work.py ended with exit status 1: ZeroDivisionError: division by zero"),
    "syntax": ("if", "FAIL", "work.py ended with exit status 1: SyntaxError: invalid syntax"),
    "hang": ("time.sleep(600)", "TIMEOUT", "work.py was stopped at its time limit, after 1"),
    "killed": ("os.kill(os.getpid(), 9)", "ERROR", "work.py was ended by signal SIGKILL"),
    "crash": ("os.abort()", "ERROR", "work.py was ended by signal SIGABRT"),
    "no artefact": (WORK + "os.remove('artefacts/weights')", "FAIL", "artefacts/weights was not written"),
    "empty artefact": (
        WORK + "open('artefacts/weights', 'w').close()",
        "FAIL",
        "artefacts/weights is empty",
    ),
    "no metrics": (
        WORK + "os.remove('artefacts/metrics/work.json')",
        "FAIL",
        "artefacts/metrics/work.json was not written",
    ),
    "half a file of metrics": (
        WORK + "open('artefacts/metrics/work.json', 'w').write('{')",
        "FAIL",
        "artefacts/metrics/work.json is not valid JSON: Expecting property name",
    ),
    "metrics of another form": (
        WORK + "open('artefacts/metrics/work.json', 'w').write('[1]')",
        "FAIL",
        "artefacts/metrics/work.json does not map names to numbers",
    ),
    "no such metric": (
        WORK + "json.dump({}, open('artefacts/metrics/work.json', 'w'))",
        "FAIL",
        "artefacts/metrics/work.json has no loss",
    ),
    "metric too large": (
        WORK + "json.dump({'loss': 1.5}, open('artefacts/metrics/work.json', 'w'))",
        "FAIL",
        "loss is 1.5 in artefacts/metrics/work.json; it must be at most 1",
    ),
    "metric is no number": (
        WORK + "json.dump({'loss': float('nan')}, open('artefacts/metrics/work.json', 'w'))",
        "FAIL",
        "loss is nan in artefacts/metrics/work.json; it must be at most 1 and finite",
    ),
    "metric is null": (
        WORK + "json.dump({'loss': None}, open('artefacts/metrics/work.json', 'w'))",
        "FAIL",
        "loss is None in artefacts/metrics/work.json; it must be a number",
    ),
    "nothing made anew": (
        "",
        "FAIL",
        "artefacts/weights was not written; artefacts/metrics/work.json was not written",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_fails_its_case_and_dependent_cases_are_skipped(verdicts, directory, name):
    code, status, message = FAULTS[name]
    program(directory, "work.py", code)
    after = '[[case]]\nname = "after"\ncommand = ["after.py"]\nmodes = ["quick"]\ntime_limit = 60\n'
    cases = CASE.replace("60", "1" if status == "TIMEOUT" else "60") + after + 'needs = ["work"]\n'
    result = verdicts(cases)
    assert statuses(result) == {"environment": "PASS", "integrity": "PASS", "work": status, "after": "SKIP"}
    assert result.case("work").message.startswith(message)
    assert result.case("after").message == "it needs work, which did not pass"
    assert not result.passed


def test_independent_case_runs_after_a_failure(verdicts, directory):
    program(directory, "work.py", "sys.exit(1)")
    program(directory, "other.py", "print('fine')")
    other = '[[case]]\nname = "other"\ncommand = ["other.py"]\nmodes = ["quick"]\ntime_limit = 60\n'
    result = verdicts(CASE + other)
    assert (result.case("work").status, result.case("other").status) == ("FAIL", "PASS")
    assert result.case("other").log == "fine\n"


def test_optional_case_may_fail(verdicts, directory):
    program(directory, "work.py", "sys.exit(1)")
    result = verdicts(CASE + "must_pass = false\n")
    assert result.case("work").status == "FAIL"
    assert result.passed


def test_skipped_required_case_fails_the_test(verdicts, directory):
    program(directory, "work.py", "sys.exit(1)")
    after = '[[case]]\nname = "after"\ncommand = ["work.py"]\nmodes = ["quick"]\ntime_limit = 60\n'
    result = verdicts(CASE + "must_pass = false\n" + after + 'needs = ["work"]\n')
    assert result.case("after").status == "SKIP"
    assert not result.passed


def test_mode_selects_cases_and_needs_of_other_modes_count_as_passed(verdicts, directory):
    program(directory, "look.py", "print(open('artefacts/weights').read())")
    look = '[[case]]\nname = "look"\ncommand = ["look.py"]\nmodes = ["quick", "infer"]\ntime_limit = 60\n'
    text = look + 'needs = ["work"]\n' + CASE  # its need comes after it in the file
    assert list(statuses(verdicts(text))) == ["environment", "integrity", "work", "look"]
    result = verdicts(mode="infer")
    assert list(statuses(result)) == ["environment", "integrity", "look"]
    assert result.case("look").log == "delivered\n"


def test_arguments_never_reach_a_shell(verdicts, directory):
    program(directory, "say.py", "print(ascii(sys.argv[1:]))")
    case = '[[case]]\nname = "say"\ncommand = ["say.py", "$(touch x)", "; touch x"]\nmodes = ["quick"]\n'
    result = verdicts(case + "time_limit = 60\n")
    assert result.case("say").log == "['$(touch x)', '; touch x']\n"
    assert not list(directory.rglob("x"))


@pytest.mark.parametrize(
    ("metric", "passes"),
    [
        ("equals = 2", True),
        ("equals = 2.05, tolerance = 0.1", True),
        ("equals = 3", False),
        ("min = 2", True),
        ("min = 3", False),
        ("min = 1, max = 3", True),
        ("min = 1, max = 1.5", False),
    ],
)
def test_metric_limits(verdicts, metric, passes):
    result = verdicts(CASE.replace('"loss", max = 1.0', f'"stages", {metric}'))
    assert (result.case("work").status == "PASS") is passes


# Integrity and environment ------------------------------------------------------------------------------


def test_changed_artefact_fails_integrity(verdicts, directory):
    (directory / "project/artefacts/weights").write_text("tampered!")
    result = verdicts()
    assert result.case("integrity").status == "FAIL"
    assert result.case("integrity").message == ("artefacts/weights has another checksum than in the manifest")
    assert not result.passed


def test_missing_artefact_fails_integrity(verdicts, directory):
    (directory / "project/artefacts/weights").unlink()
    assert verdicts().case("integrity").message == "artefacts/weights is missing; the manifest lists it"


def test_changed_configuration_fails_integrity(verdicts, directory):
    (directory / "project/config.json").write_text("{ }")
    assert verdicts().case("integrity").message.startswith("config.json has changed since ")


def test_integrity_checks_artefacts_of_both_manifests(verdicts, directory):
    (directory / "project/config.json").write_text('{"more": 1}')
    (directory / "project/artefacts/onnx").write_text("onnx")
    keep_manifest(directory, ExtendedResult, "manifest-extended.json", steps=("onnx",))
    assert verdicts().case("integrity").status == "PASS"
    (directory / "project/artefacts/onnx").write_text("tampered")
    assert verdicts().case("integrity").status == "FAIL"


def test_changed_examples_fail_integrity(verdicts, directory):
    (directory / "project/examples.csv").write_text("text,label\nbad,1\n")
    result = verdicts()
    assert (result.case("integrity").status, result.case("work").status) == ("FAIL", "PASS")
    said = "examples.csv has changed since the artefacts were written; generate again"
    assert result.case("integrity").message == said


def test_changed_code_and_cases_are_named_and_may_pass(verdicts, directory):
    assert verdicts().case("integrity").message == ""
    program(directory, "work.py", WORK)
    program(directory, "notes.py", "")
    result = verdicts(CASE + "must_pass = false\n")
    said = "changed since it was made: notes.py, work.py, cases.toml"
    assert (result.case("integrity").status, result.case("integrity").message) == ("PASS", said)
    assert result.passed
    assert said in str(result)
    assert said in (directory / "test-result.xml").read_text()
    (directory / "project/work.py").unlink()
    assert "work.py" in verdicts().case("integrity").message


def test_missing_manifest_fails_integrity(verdicts, directory):
    (directory / "manifest-basic.json").unlink()
    assert verdicts().case("integrity").message == "there is no manifest-basic.json"


def test_incomplete_environment_fails(verdicts, monkeypatch):
    item = environment.Item(name="package torch", status="WRONG", found="1.0", wanted="2.13.0", advice="do")
    monkeypatch.setattr(environment, "check_interpreter", lambda *_: ([item], []))
    result = verdicts()
    assert statuses(result) == {"environment": "FAIL", "integrity": "PASS", "work": "SKIP"}
    assert result.case("environment").message == "package torch is WRONG, 1.0: do"


def test_lost_target_is_an_error(verdicts, monkeypatch):
    def lose(*_):
        raise TargetError("ssh:a cannot be reached: no")

    monkeypatch.setattr(environment, "check_interpreter", lose)
    result = verdicts()
    assert result.case("environment").status == "ERROR"
    assert result.case("environment").message == "ssh:a cannot be reached: no"
    assert result.case("work").status == "SKIP"


# Results ------------------------------------------------------------------------------------------------


def test_junit(verdicts, directory):
    program(directory, "work.py", r"print('<&\x1b[0m\x00 é'); sys.exit('<bad> & \x07')")
    hang = '[[case]]\nname = "hang"\ncommand = ["hang.py"]\nmodes = ["quick"]\ntime_limit = 1\n'
    after = '[[case]]\nname = "after"\ncommand = ["hang.py"]\nmodes = ["quick"]\ntime_limit = 1\n'
    program(directory, "hang.py", "time.sleep(600)")
    verdicts(CASE + hang + after + 'needs = ["hang"]\n')
    suite = ElementTree.parse(directory / "test-result.xml").getroot().find("testsuite")
    counts = {name: suite.get(name) for name in ("name", "tests", "failures", "errors", "skipped")}
    assert counts == {"name": "fake", "tests": "5", "failures": "1", "errors": "1", "skipped": "1"}
    cases = {case.get("name"): case for case in suite}
    assert cases["work"].find("failure").get("message") == "work.py ended with exit status 1: <bad> & ?"
    assert cases["work"].find("system-out").text.startswith("<&?[0m? é\n")
    assert cases["hang"].find("error").get("type") == "TIMEOUT"
    assert cases["after"].find("skipped") is not None
    assert all(float(case.get("time")) >= 0 for case in suite)


def test_killed_run_leaves_no_earlier_result(verdicts, directory):
    verdicts()
    program(directory, "work.py", "open(sys.argv[0] + '.begun', 'w').close(); time.sleep(600)")
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_generate_cases as own
from pathlib import Path
own.environment.check_interpreter = lambda *_: ([], [])
directory = Path({str(directory)!r})
target = own.target_of(own.SPEC, directory, own.RUN_ID)
own.run_cases(own.SPEC, own.REPORT, target, directory, mode="quick", progress=print)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL) as runner:
        wait_for(lambda: list(directory.glob(".test-*.part/project/work.py.begun")), runner)
        runner.kill()
    assert not (directory / "test-result.json").exists()
    assert not (directory / "test-result.xml").exists()
    (directory / "project/work.py").write_text(WORK)
    assert verdicts().passed


# The script's file --------------------------------------------------------------------------------------


def test_case_defaults(directory):
    case = read_script(directory / "cases.toml").case[0]
    assert (case.needs, case.must_pass, case.outputs) == (
        ("environment",),
        True,
        ("artefacts/weights", "artefacts/metrics/work.json"),
    )


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            'name = "work"',
            'name = "integrity"',
            "case[0].name is 'integrity'; it must differ from all other names",
        ),
        ('name = "work"', "", "case[0].name is missing; it must be 1 to 100 printable ASCII characters"),
        (
            '["work.py"]',
            '["/bin/sh"]',
            "case[0].command[0] is '/bin/sh'; it must be a .py file",
        ),
        ('["work.py"]', '["../work.py"]', "case[0].command[0] is '../work.py'; it must be a .py file"),
        ('["work.py"]', "[]", "case[0].command has 0 items; it must be a list of 1 text or more"),
        ('"artefacts/weights"', '"../weights"', "case[0].artefacts[0] is '../weights'; artefacts must be "),
        ('"artefacts/weights"', '"a/../../b"', "case[0].artefacts[0] is 'a/../../b'; artefacts must be "),
        ('"artefacts/weights"', '"/etc/passwd"', "case[0].artefacts[0] is '/etc/passwd'; artefacts must be "),
        ("60", "0", "case[0].time_limit is 0; it must be more than 0 and at most 1e7 seconds"),
        ('"quick", "full"', '"slow"', "case[0].modes[0] is 'slow'; modes must be a list of 1 or more of "),
        (", max = 1.0", "", "case[0].metrics[0].max is absent; max, min or equals must be given"),
        ("max", "most", "case[0].metrics[0].most is not a known field; it must be one of file, name, max, "),
        ("time_limit", 'needs = ["x"]\ntime_limit', "case[0].needs has 'x'; it must be the name of a case"),
        ("time_limit", 'needs = ["work"]\ntime_limit', "case needs must not be cyclic, as work"),
    ],
)
def test_wrong_field_is_named_with_what_is_allowed(directory, old, new, sentence):
    path = directory / "cases.toml"
    path.write_text(CASE.replace(old, new))
    with pytest.raises(ValueError, match=r"^[^\n]*$") as raised:
        read_script(path)
    assert str(raised.value).startswith(f"{path}: {sentence}")


def test_script_is_checked_before_any_case_runs(verdicts, directory):
    verdicts()
    with pytest.raises(ValueError, match=r"^mode is infer; .*cases.toml has no case of it$"):
        verdicts(mode="infer")
    assert (directory / "test-result.json").exists()


def test_earlier_outputs_that_cannot_be_deleted_are_an_error(verdicts, directory, monkeypatch):
    import stageplan.generate.cases as own

    monkeypatch.setattr(own, "_DELETE", "raise OSError('busy')")
    result = verdicts()
    assert result.case("work").status == "ERROR"
    assert result.case("work").message == (
        "earlier outputs cannot be deleted: the command ended with exit status 1: OSError: busy"
    )
    assert issubclass(TargetError, StepError)


def test_output_may_be_a_folder(verdicts, directory):
    code = "import os\nos.makedirs('artefacts/folder')\nopen('artefacts/folder/a', 'w').close()\n"
    program(directory, "work.py", WORK + code)
    (directory / "project/artefacts/folder").mkdir()
    (directory / "project/artefacts/folder/old").write_text("")
    text = CASE.replace('"artefacts/weights"]', '"artefacts/weights", "artefacts/folder"]')
    assert verdicts(text).passed
    assert [path.name for path in (directory / "test/project/artefacts/folder").iterdir()] == ["a"]


def test_result_as_json(verdicts, directory):
    verdicts()
    document = json.loads((directory / "test-result.json").read_text())
    assert document["cases"][2] | {"seconds": 0} == {
        "name": "work",
        "status": "PASS",
        "must_pass": True,
        "seconds": 0,
        "message": "",
        "log": "",
    }
