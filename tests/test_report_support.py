"""The support matrix of several tests."""

from pages import Page

from stageplan.generate import CaseResult
from stageplan.generate import TestResult as Verdicts
from stageplan.report.support import of_tests


def result(name, **outcomes):
    cases = tuple(
        CaseResult(
            name=case, status=status, must_pass=True, seconds=1.0, message="" if status == "PASS" else "why"
        )
        for case, status in outcomes.items()
    )
    return Verdicts(name=name, mode="full", cases=cases, seconds=1.0)


def test_outcomes_of_each_case_for_each_project():
    results = [
        ("a", result("line", train="PASS", int8="FAIL", onnx="SKIP")),
        ("b", result("tree", train="PASS", serve="TIMEOUT")),
    ]
    page = Page(of_tests(results).html)
    assert page.sections["Outcomes"] == [
        ["", "line", "tree"],
        ["train", "✓ PASS", "✓ PASS"],
        ["int8", "✗ FAIL", ""],
        ["onnx", "– SKIP", ""],
        ["serve", "", "✗ TIMEOUT"],
    ]
    assert "0 of 2 passed." in page.texts
    assert "line, int8: why" in page.texts
    assert "tree, serve: why" in page.texts
    assert not any("onnx: why" in text for text in page.texts)


def test_many_projects_are_downwards_and_told_apart_by_their_folders():
    results = [(f"runs/{i}", result("line", train="PASS")) for i in range(30)]
    page = Page(of_tests(results).html)
    assert page.sections["Outcomes"][0] == ["", "train"]
    assert page.sections["Outcomes"][30] == ["line (runs/29)", "✓ PASS"]
    assert "30 of 30 passed." in page.texts


def test_a_wide_matrix_says_what_is_left_out_and_stays_small():
    cases = {f"case {i}": "FAIL" for i in range(2000)}
    html = of_tests([(f"runs/{i}", result(f"m{i}", **cases)) for i in range(40)]).html
    assert len(html.encode()) < 500_000
    assert "16 more columns are left out." in html
    assert "79,800 more are left out." in html
