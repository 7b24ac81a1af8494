"""Results as JUnit XML."""

from xml.etree import ElementTree

from stageplan.generate import CaseResult, Host, Number
from stageplan.generate import TestResult as Verdicts
from stageplan.generate.junit import junit


def case(name, status, message="", **more):
    return CaseResult(name=name, status=status, must_pass=True, seconds=1.5, message=message, **more)


def suite_of(*cases, **more):
    result = Verdicts(name="fake", mode="quick", cases=cases, seconds=2.0, **more)
    return ElementTree.fromstring(junit(result)).find("testsuite")


def test_outcomes_are_counted_and_named():
    suite = suite_of(
        case("work", "FAIL", "work.py ended with exit status 1: <bad> & \x07", log="<&\x1b[0m\x00 é\n"),
        case("hang", "TIMEOUT", "slow"),
        case("after", "SKIP", "it needs hang, which did not pass"),
        case("fine", "PASS"),
    )
    counts = {name: suite.get(name) for name in ("name", "tests", "failures", "errors", "skipped", "time")}
    assert counts == {
        "name": "fake", "tests": "4", "failures": "1", "errors": "1", "skipped": "1", "time": "2.000"
    }  # fmt: skip
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert cases["work"].find("failure").get("message") == "work.py ended with exit status 1: <bad> & ?"
    assert cases["work"].find("system-out").text == "<&?[0m? é\n"
    assert cases["hang"].find("error").get("type") == "TIMEOUT"
    assert cases["after"].find("skipped").get("message") == "it needs hang, which did not pass"
    assert len(cases["fine"]) == 0
    assert all(case.get("time") == "1.500" for case in suite.iter("testcase"))


def test_suite_has_time_machine_requirements_and_versions():
    suite = suite_of(
        date="2031-02-03T04:05:06Z",
        host=Host(name="box", system="Linux", processor="fast", cores=2, memory=4096),
        versions={"torch": "2.13.0"},
        requirements={"auc": "at least 0.8"},
    )
    assert (suite.get("timestamp"), suite.get("hostname")) == ("2031-02-03T04:05:06", "box")
    found = {one.get("name"): one.get("value") for one in suite.find("properties")}
    assert found == {
        "mode": "quick", "required auc": "at least 0.8", "system": "Linux", "processor": "fast", "cores": "2",
        "memory": "4096", "version torch": "2.13.0",
    }  # fmt: skip


def test_cases_have_their_numbers_beside_what_is_required():
    numbers = (
        Number(name="loss", value=0.5, required="at most 1", met=True),
        Number(name="speed", value=None, required="", met=False),
    )
    suite = suite_of(case("work", "PASS", numbers=numbers, peak_memory=10))
    found = [(one.get("name"), one.get("value")) for one in suite.find("testcase").find("properties")]
    assert found == [("peak_memory", "10"), ("loss", "0.5, required at most 1"), ("speed", "none")]
