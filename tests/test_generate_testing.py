"""Running the preset test script, in a project that is quick because it computes nothing."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from processes import wait_for
from projects import RUN_ID

from stageplan.generate import BasicResult, EnvironmentReport, ExtendedResult, Spec, StepError, environment
from stageplan.generate.digests import sha256
from stageplan.generate.generated import project_of
from stageplan.generate.results import Host, Number, artefacts_of, code_of, read_result, write_result
from stageplan.generate.results import TestResult as Verdicts
from stageplan.generate.target import TargetError, target_of
from stageplan.generate.testing import run_cases

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

    def verdicts(text=None, mode="quick", said=None, golden=None, host=None):
        if text is not None:
            (directory / "cases.toml").write_text(text)
        target = target_of(SPEC, directory, RUN_ID)
        subject = project_of(SPEC, replace(REPORT, host=host), target, directory)
        progress = (said if said is not None else []).append
        return run_cases(subject, target, directory, mode=mode, progress=progress, golden=golden)

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
        "artefacts/metrics/work.json was not written (loss must be at most 1)",
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
        "artefacts/metrics/work.json has no loss (loss must be at most 1)",
    ),
    "metric too large": (
        WORK + "json.dump({'loss': 1.5}, open('artefacts/metrics/work.json', 'w'))",
        "FAIL",
        "loss is 1.5 in artefacts/metrics/work.json; it must be at most 1",
    ),
    "metric is no number": (
        WORK + "json.dump({'loss': float('nan')}, open('artefacts/metrics/work.json', 'w'))",
        "FAIL",
        "loss is nan in artefacts/metrics/work.json; it must be a finite number, at most 1",
    ),
    "metric is null": (
        WORK + "json.dump({'loss': None}, open('artefacts/metrics/work.json', 'w'))",
        "FAIL",
        "loss is None in artefacts/metrics/work.json; it must be a number, at most 1",
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


def test_killed_run_leaves_no_earlier_result(verdicts, directory):
    verdicts()
    program(directory, "work.py", "open(sys.argv[0] + '.begun', 'w').close(); time.sleep(600)")
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_generate_testing as own
from pathlib import Path
own.environment.check_interpreter = lambda *_: ([], [])
directory = Path({str(directory)!r})
target = own.target_of(own.SPEC, directory, own.RUN_ID)
subject = own.project_of(own.SPEC, own.REPORT, target, directory)
own.run_cases(subject, target, directory, mode="quick", progress=print)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL) as runner:
        wait_for(lambda: list(directory.glob(".test-*.part/project/work.py.begun")), runner)
        runner.kill()
    assert not (directory / "test-result.json").exists()
    assert not (directory / "test-result.xml").exists()
    (directory / "project/work.py").write_text(WORK)
    assert verdicts().passed


def test_script_is_checked_before_any_case_runs(verdicts, directory):
    verdicts()
    with pytest.raises(ValueError, match=r"^mode is infer; .*cases.toml has no case of it$"):
        verdicts(mode="infer")
    assert (directory / "test-result.json").exists()


def test_earlier_outputs_that_cannot_be_deleted_are_an_error(verdicts, directory, monkeypatch):
    import stageplan.generate.testing as own

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
    assert document["cases"][2] | {"seconds": 0, "peak_memory": 0} == {
        "name": "work",
        "status": "PASS",
        "must_pass": True,
        "seconds": 0,
        "message": "",
        "log": "",
        "peak_memory": 0,
        "numbers": [
            {"name": "loss", "value": 0.5, "required": "at most 1", "met": True, "limit": 1.0, "values": []}
        ],
    }


@pytest.mark.parametrize(
    ("written", "value", "limit"), [("2", 2, 1), ("0", 0, 0.5), ("float('nan')", None, 1), ("None", None, 1)]
)
def test_numbers_are_beside_what_is_required_also_where_the_case_fails(
    verdicts, directory, written, value, limit
):
    program(directory, "work.py", WORK + f"json.dump({{'loss': {written}}}, open(sys.argv[1], 'w'))")
    text = CASE.replace('"work.py"', '"work.py", "artefacts/metrics/work.json"').replace(
        "max = 1.0", "max = 1.0, min = 0.5"
    )
    case = verdicts(text).case("work")
    assert case.numbers == (
        Number(name="loss", value=value, required="at most 1 and at least 0.5", met=False, limit=limit),
    )
    assert case.status == "FAIL"


def test_peak_memory_of_a_case_is_recorded(verdicts, directory):
    program(directory, "work.py", WORK + "held = b'x' * 100_000_000\nsys.exit(3)")
    result = verdicts()
    assert 100e6 < result.case("work").peak_memory < 200e6
    assert result.case("environment").peak_memory == 0


# Metrics by pattern, golden values, repetitions ---------------------------------------------------------

PRINTED = """
[[case]]
name = "work"
command = ["work.py"]
modes = ["quick", "benchmark"]
time_limit = 60
metrics = [{ name = "accuracy", pattern = "acc: ([^ ]+)", min = 0.5 }]
"""


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('acc: 0.1 acc: 0.75 ')", ""),
        ("print('acc: 0.25 ')", "accuracy is 0.25 in the output; it must be at least 0.5"),
        (
            "print('nothing')",
            "the output has no accuracy: nothing matches 'acc: ([^ ]+)' (accuracy must be at ",
        ),
        (
            "print('acc: high ')",
            "accuracy is 'high' in the output, by 'acc: ([^ ]+)', which is not a number (",
        ),
        ("print('acc: nan ')", "accuracy is nan in the output; it must be a finite number, at least 0.5"),
    ],
)
def test_metrics_are_found_in_the_output(verdicts, directory, code, message):
    program(directory, "work.py", code)
    case = verdicts(PRINTED).case("work")
    assert (case.status == "PASS") is (message == "")
    assert case.message.startswith(message)


def test_metrics_are_found_in_a_text_file_and_in_tables_of_json(verdicts, directory):
    code = (
        "open('log.txt', 'w').write('acc: 0.5 acc: 0.75 '); json.dump({'a': {'b': 3}}, open('a.json', 'w'))"
    )
    program(directory, "work.py", code)
    more = '"acc: ([^ ]+)", file = "log.txt", min = 0.5 }, { name = "a.b", file = "a.json"'
    case = verdicts(PRINTED.replace('"acc: ([^ ]+)", min = 0.5', more)).case("work")
    assert (case.status, [number.value for number in case.numbers]) == ("PASS", [0.75, 3])
    assert [number.required for number in case.numbers] == ["at least 0.5", ""]
    program(directory, "work.py", "")
    case = verdicts(PRINTED.replace('"acc: ([^ ]+)"', '"acc: (.+)", file = "log.txt"')).case("work")
    assert case.message == "log.txt was not written (accuracy must be at least 0.5)"


def test_a_missing_file_of_a_command_is_named(verdicts):
    case = verdicts(PRINTED.replace('"work.py"', '"python", "tools/train.py"')).case("work")
    assert (case.status, case.message) == ("FAIL", "tools/train.py is missing; the project has no such file")


def test_a_missing_program_of_the_environment_is_an_error(verdicts):
    case = verdicts(PRINTED.replace('"work.py"', '"torchrum"')).case("work")
    assert case.status == "ERROR"
    assert case.message.startswith("torchrum could not be run: ")


def test_variables_are_given_to_the_command(verdicts, directory):
    program(directory, "work.py", "print('acc:', os.environ['ACC'], ' ')")
    assert verdicts(PRINTED + 'variables = { ACC = "0.875" }\n').case("work").numbers[0].value == 0.875


def test_golden_values_of_an_earlier_result(verdicts, directory):
    program(directory, "work.py", "print('acc: 0.8 ')")
    earlier = verdicts(PRINTED)
    assert verdicts(golden=earlier).passed
    program(directory, "work.py", "print('acc: 0.75 ')")
    case = verdicts(golden=earlier).case("work")
    assert case.message == (
        "accuracy is 0.75 in the output; it must be at least 0.5 and within 0.008 of 0.8, the golden value"
    )
    assert case.numbers[0].required == "at least 0.5 and within 0.008 of 0.8, the golden value"
    assert verdicts(PRINTED.replace("min = 0.5", "relative = 0.1"), golden=earlier).passed
    assert verdicts(PRINTED.replace("min = 0.5", "absolute = 0.06"), golden=earlier).passed
    assert not verdicts(PRINTED.replace("min = 0.5", "absolute = 0.04"), golden=earlier).passed
    assert not verdicts(PRINTED + "golden = { accuracy = 0.7 }\n").passed
    assert verdicts(PRINTED + "golden = { accuracy = 0.75 }\n", golden=earlier).passed


def test_numbers_of_cases_that_did_not_pass_are_not_golden(verdicts, directory):
    program(directory, "work.py", "print('acc: 0.1 ')")
    earlier = verdicts(PRINTED)
    program(directory, "work.py", "print('acc: 0.8 ')")
    assert verdicts(PRINTED, golden=earlier).passed


def test_benchmark_repeats_a_case_and_takes_the_median(verdicts, directory):
    code = "n = int(os.path.exists('n') and open('n').read() or 0)\nopen('n', 'w').write(str(n + 1))\n"
    program(directory, "work.py", code + "print('acc:', [0.6, 1.0, 0.7][n], '')")
    result = verdicts(PRINTED + "repeat = 3\n", mode="benchmark")
    number = result.case("work").numbers[0]
    assert (number.value, number.values, number.met) == (0.7, (0.6, 1.0, 0.7), True)
    assert verdicts(PRINTED + "repeat = 3\n").case("work").numbers[0].values == ()


# Cases that are not run ---------------------------------------------------------------------------------


def test_a_skipped_case_and_those_that_need_it_need_not_pass(verdicts, directory):
    after = PRINTED.replace('"work"', '"after"') + 'needs = ["work"]\n'
    result = verdicts(PRINTED + 'skip = "no data here"\n' + after)
    assert result.case("work").message == "no data here"
    assert result.case("after").message == "it needs work, which is skipped"
    assert (result.case("after").status, result.passed) == ("SKIP", True)


def test_a_command_that_cannot_do_its_work_here_is_skipped(verdicts, directory):
    program(directory, "work.py", "print('there is no compiler'); sys.exit(77)")
    result = verdicts(PRINTED)
    assert (result.case("work").status, result.passed) == ("SKIP", True)
    assert result.case("work").message == "there is no compiler"


ROW = {
    "name": "int8", "files": ["artefacts/model-int8.onnx"], "bytes": 5, "metric": "auc", "value": 0.5,
    "p50": 1.0, "p95": 2.0, "p99": 3.0, "throughput": 4.0, "largest_difference": 0.25, "note": "",
    "requirements": [{"name": "max_latency", "required": "at most 1", "value": 2.0, "met": False}],
}  # fmt: skip
TABLE = (
    '[[case]]\nname = "variants"\ncommand = ["table.py"]\nmodes = ["quick"]\ntime_limit = 60\n'
    'artefacts = ["artefacts/variants.json"]\n'
)


def test_table_of_variants_is_in_the_result(verdicts, directory):
    program(directory, "table.py", f"json.dump([{ROW}], open('artefacts/variants.json', 'w'))")
    (variant,) = verdicts(TABLE).variants
    assert (variant.name, variant.p95, variant.requirements[0].met) == ("int8", 2.0, False)
    document = json.loads((directory / "test-result.json").read_text())
    assert document["variants"] == [ROW]


def test_table_of_variants_of_an_earlier_run_is_not_in_the_result(verdicts, directory):
    (directory / "project/artefacts/variants.json").write_text(json.dumps([ROW]))
    keep_manifest(directory)
    assert verdicts().variants == ()
    program(directory, "table.py", "sys.exit(1)")
    assert verdicts(TABLE).variants == ()


def test_table_that_is_not_valid_is_named(verdicts, directory):
    program(directory, "table.py", "json.dump([{'name': 'int8'}], open('artefacts/variants.json', 'w'))")
    with pytest.raises(StepError, match=r"^artefacts/variants.json is not a table of variants: "):
        verdicts(TABLE)


def test_a_case_is_skipped_where_the_target_has_no_accelerators(verdicts):
    result = verdicts(PRINTED + "accelerators = 2\n")
    assert result.case("work").message == "it needs 2 accelerators; the target has none"
    assert result.passed


def test_a_grid_runs_each_combination(verdicts, directory):
    program(directory, "work.py", "print('acc:', int(sys.argv[1]) / 4, ' ')")
    text = PRINTED.replace('"work.py"', '"work.py", "{quarters}"') + "grid = { quarters = [1, 2, 3] }\n"
    result = verdicts(text + 'skip = [{ when = { quarters = 3 }, reason = "it is known" }]\n')
    found = statuses(result)
    assert [found[f"work quarters={n}"] for n in (1, 2, 3)] == ["FAIL", "PASS", "SKIP"]


def test_the_result_says_when_and_where(verdicts):
    host = Host(name="box", system="Linux", processor="fast", cores=2, memory=4)
    result = verdicts(host=host)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", result.date)
    assert result.host == host
    assert result.requirements == {"precision": "float32", "device": "cpu", "cores": "at least 1"}
