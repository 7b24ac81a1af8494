"""The examples in docstrings run as they are printed, each by itself, in an empty folder."""

import ast
import doctest
from pathlib import Path

import fake_steps
import pytest

import stageplan as sp

PACKAGE = Path(sp.__file__).parent
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


def examples():
    """Return the examples of each docstring by its file and name; nothing is imported for it."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        for node in (node for node in nodes if isinstance(node, DOCUMENTED)):
            name = f"{path.relative_to(PACKAGE)}:{getattr(node, 'name', '')}"
            test = doctest.DocTestParser().get_doctest(ast.get_docstring(node) or "", {}, name, name, None)
            if test.examples:
                found[name] = test
    return found


EXAMPLES = examples()
FIRST = [
    *(
        "solve.py:solve",
        "result.py:Result",
        "solve_many.py:solve_many",
        "problem.py:Problem",
        "problem.py:from_arrays",
        "goal.py:Goal",
    ),
    *("pareto.py:pareto", "score.py:evaluate", "plan.py:Plan", "repair.py:repair", "verify.py:verify"),
    *("profiling/profile.py:profile", "writers/__init__.py:export", "generate/steps.py:generate"),
    *("learning/policy.py:Policy", "catalogue.py:make_cluster", "sweeps/run.py:sweep", "sweeps/sweep.py:of"),
    *(f"stop.py:{stop.__name__}" for stop in (sp.Stop, *sp.Stop.__subclasses__())),
]


def test_what_users_call_first_has_examples():
    assert set(FIRST) <= EXAMPLES.keys()


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # of torch.export in itself
@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name, tmp_path, monkeypatch):
    test = EXAMPLES[name]
    for line in (line for example in test.examples for line in example.source.splitlines()):
        if line.startswith("import "):
            pytest.importorskip(line.split()[1])
    if "@sp.stage_cost" in test.docstring or "@sp.plan_cost" in test.docstring:
        pytest.importorskip("numba")
    if "import generate" in test.docstring:  # all steps, but with commands that compute nothing
        fake_steps.install(monkeypatch.setattr)
        monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    printed = []
    failed, _ = doctest.DocTestRunner(verbose=False).run(test, out=printed.append)
    assert not failed, "".join(printed)
