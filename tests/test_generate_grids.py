"""Grids of cases: a case for each combination of values."""

import pytest

from stageplan.generate.cases import to_script
from stageplan.generate.grids import MOST_CASES, expand


def table(**fields):
    return {"name": "infer", "command": ["infer.py"], "modes": ["full"], "time_limit": 60, **fields}


def test_a_case_without_a_grid_is_as_it_is():
    case = table(command=["infer.py", "{batch} {{}}"])
    assert [*expand(case, "case[0]")] == [case]


def test_placeholders_are_replaced_in_texts_and_numbers():
    case = table(
        name="infer {batch}",
        command=["infer.py", "--batch={batch}", "{precision}", '{{"a": {batch}}}', "{unclosed"],
        metrics=[{"file": "{precision}.json", "name": "latency", "max": "{most}", "min": 0.5}],
        golden={"latency": "{most}"},
        grid={"batch": [1, 16], "precision": ["fp32"], "most": [0.25]},
    )
    first, second = to_script({"case": [case]}).case
    assert (first.name, second.name) == ("infer 1", "infer 16")
    assert second.command == ("infer.py", "--batch=16", "fp32", '{"a": 16}', "{unclosed")
    assert (second.metrics[0].file, second.metrics[0].max) == ("fp32.json", 0.25)
    assert second.golden == {"latency": 0.25}
    assert second.grid == {"batch": (16,), "precision": ("fp32",), "most": (0.25,)}


def test_names_are_made_from_the_values_in_the_order_of_the_grid():
    made = expand(table(grid={"threads": [1, 2], "precision": ["fp32", "int8"]}), "case[0]")
    assert [case["name"] for case in made] == [
        "infer threads=1 precision=fp32",
        "infer threads=1 precision=int8",
        "infer threads=2 precision=fp32",
        "infer threads=2 precision=int8",
    ]


def test_the_first_rule_that_applies_gives_the_reason():
    rules = [
        {"when": {"precision": "fp16", "threads": [2, 4]}, "reason": "slow"},
        {"when": {"precision": "fp16"}, "reason": "not there"},
    ]
    case = table(grid={"precision": ["fp32", "fp16"], "threads": [1, 2, 4]}, skip=rules)
    cases = to_script({"case": [case]}).case
    assert [case.skip for case in cases] == [(), (), (), "not there", "slow", "slow"]


def test_the_number_of_cases_is_limited():
    side = list(range(100))
    assert len(to_script({"case": [table(grid={"a": side, "b": side})]}).case) == MOST_CASES
    many = table(grid={"a": side, "b": side, "c": side, "d": side, "e": side})
    with pytest.raises(
        ValueError, match=r"^case\[0\].grid has 10,000,000,000 combinations; .* 10,000 cases$"
    ):
        to_script({"case": [many]})
    grid = table(grid={"a": side, "b": side})
    with pytest.raises(ValueError, match=r"^case\[1\] is one case more than 10,000, "):
        to_script({"case": [grid, table(name="more")]})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"grid": [1]}, "case[0].grid is [1]; it must be a table of lists, at least one"),
        ({"grid": {}}, "case[0].grid is {}; it must be a table of lists, at least one"),
        ({"grid": {"a b": [1]}}, "case[0].grid.a b is not a name; it must be letters, digits and _"),
        ({"grid": {"batch": 1}}, "case[0].grid.batch is 1; it must be a list of 1 value or more"),
        ({"grid": {"batch": []}}, "case[0].grid.batch is []; it must be a list of 1 value or more"),
        (
            {"grid": {"batch": [1, True]}},
            "case[0].grid.batch has True; it must have texts and finite numbers",
        ),
        ({"grid": {"batch": [float("inf")]}}, "case[0].grid.batch has inf; it must have texts and finite "),
        ({"grid": {"batch": [1, 1]}}, "case[0].grid.batch is [1, 1]; its values must differ"),
        (
            {"command": ["infer.py", "{bacth}"], "grid": {"batch": [1]}},
            "case[0].command[1] has {bacth}; it must be a name of the grid: batch",
        ),
        (
            {"grid": {"batch": [1]}, "skip": "no"},
            "case[0].skip is 'no'; with a grid it must be a list of rules",
        ),
        (
            {"grid": {"batch": [1]}, "skip": [{"when": {"bach": 1}, "reason": "a"}]},
            "case[0].skip[0].when has 'bach'; it must be a name of the grid: batch",
        ),
        (
            {"grid": {"batch": [1, 2]}, "skip": [{"when": {"batch": [1, 3]}, "reason": "a"}]},
            "case[0].skip[0].when.batch is 3; the grid has 1, 2",
        ),
        (
            {"grid": {"batch": [1]}, "skip": [{"when": {"batch": 1}}]},
            "case[0].skip[0].reason is missing; it must be text of 1 to 500 characters",
        ),
        (
            {"grid": {"batch": [1]}, "skip": [{"when": {}, "reason": "a"}]},
            "case[0].skip[0].when has 0 items; it must be a table of values",
        ),
        (
            {"metrics": [{"pattern": "(a)", "name": "a", "max": "{limit}"}], "grid": {"limit": ["low"]}},
            "case[0].metrics[0].max is 'low'; it must be a finite number",
        ),
        ({"name": "é", "grid": {"a": [1]}}, "case[0].name is 'é a=1'; it must be 1 to 200 printable ASCII"),
    ],
)
def test_a_wrong_grid_is_named_with_what_is_allowed(fields, sentence):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as raised:
        to_script({"case": [table(**fields)]})
    assert str(raised.value).startswith(sentence)
