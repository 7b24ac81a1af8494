"""Regular expressions of the package: their end is the end of the text, not of a line before a line end."""

import ast
import re
from pathlib import Path

import pytest

import stageplan
from stageplan import plan_file
from stageplan.generate import Spec, spec
from stageplan.readers import documents

SOURCES = sorted(Path(stageplan.__file__).parent.rglob("*.py"))
FUNCTIONS = {"compile", "search", "match", "fullmatch", "sub", "split", "findall", "finditer"}
LINES = {"M", "MULTILINE"}  # flags with which `$` is meant to be the end of a line


def patterns(tree):
    """Find the texts that are patterns: arguments of functions of `re`, and of the name `pattern`."""
    named = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        given = [keyword.value for keyword in call.keywords if keyword.arg == "pattern"]
        function = call.func
        if isinstance(function, ast.Attribute) and ast.unparse(function.value) == "re":
            flags = {node.attr for node in ast.walk(call) if isinstance(node, ast.Attribute)}
            given += call.args[:1] if function.attr in FUNCTIONS and not flags & LINES else []
        for value in given:
            value = named.get(value.id, value) if isinstance(value, ast.Name) else value
            for part in ast.walk(value):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


def ends_at_a_line(pattern):
    return "$" in re.sub(r"\\.|\[[^\]]*\]", "", pattern)


def test_scan_tells_the_end_of_a_line_from_a_dollar():
    found = patterns(ast.parse('A = r"a$"\nMeta(pattern=A)\nre.match("[$]", x)\nre.compile("a$", re.M)'))
    assert [ends_at_a_line(pattern) for pattern in found] == [True, False]


def test_no_pattern_accepts_a_line_end_behind_its_end():
    found = [(file.name, pattern) for file in SOURCES for pattern in patterns(ast.parse(file.read_text()))]
    assert len(found) > 40
    assert [pair for pair in found if ends_at_a_line(pair[1])] == []


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "net\n"},
        {"target": "ssh:me@host\n"},
        {"environment": {"torch": "2.13.0\n"}},
        {"environment": {"requirements": ["numpy==2.0\n"]}},
        {"environment": {"index": "https://example.org\n"}},
        {"environment": {"reuse": "/venv\n"}},
        {"hardware": {"driver": "550\n"}},
        {"hardware": {"instruction_sets": ["avx2\n"]}},
        {"extend": {"server": {"host": "localhost\n"}}},
    ],
)
def test_text_with_a_line_end_is_refused(fields):
    with pytest.raises(ValueError, match=r"\\n"):
        Spec(**{"name": "net", "task": "text-classification"} | fields)


def test_schemas_have_patterns_that_every_validator_reads():
    schemas = [spec.schema(), plan_file.schema(), *map(documents.schema, ("workload", "cluster", "devices"))]
    found = [pattern for schema in schemas for pattern in re.findall(r"'pattern': '(.*?)'", str(schema))]
    assert len(found) > 8
    assert all(pattern.endswith("$") and r"\Z" not in pattern for pattern in found)
