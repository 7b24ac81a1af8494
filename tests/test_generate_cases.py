"""The preset test script: its file, and what is wrong with it."""

import pytest

from stageplan.cli.pages import read_pages
from stageplan.generate.cases import read_script

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
    (tmp_path / "cases.toml").write_text(CASE)
    return tmp_path


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
            "name of a case is 'integrity'; it must differ from all other names",
        ),
        ('name = "work"', "", "case[0].name is missing; it must be 1 to 200 printable ASCII characters"),
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
        (
            'file = "artefacts/metrics/work.json", ',
            "",
            "case[0].metrics[0].file is absent; file or pattern must be given",
        ),
        (
            "max = 1.0",
            'pattern = "loss: [0-9]+"',
            "case[0].metrics[0].pattern is 'loss: [0-9]+'; it must have a ",
        ),
        (
            "max = 1.0",
            'pattern = "(loss"',
            "case[0].metrics[0].pattern is '(loss'; it must be a regular expr",
        ),
        (
            '["work.py"]',
            '["python"]',
            "case[0].command is ['python']; it must have arguments too (case 'work')",
        ),
        ('["work.py"]', '["bin/sh"]', "case[0].command[0] is 'bin/sh'; it must be a .py file"),
        (
            "time_limit",
            "golden = { lost = 1 }\ntime_limit",
            "case[0].golden has 'lost'; it must be the name of a ",
        ),
        (
            "time_limit",
            "skip = [{ when = { a = 1 }, reason = 'b' }]\ntime_limit",
            "case[0].skip is a list of rules; without a grid it must be a reason (case 'work')",
        ),
        (
            "max",
            "most",
            "case[0].metrics[0].most is not a known field; it must be one of name, file, pattern, ",
        ),
        (
            "time_limit",
            'needs = ["x"]\ntime_limit',
            "needs of case 'work' has 'x'; it must be the name of a case",
        ),
        ("time_limit", 'needs = ["work"]\ntime_limit', "case needs must not be cyclic, as work"),
    ],
)
def test_wrong_field_is_named_with_what_is_allowed(directory, old, new, sentence):
    path = directory / "cases.toml"
    path.write_text(CASE.replace(old, new))
    with pytest.raises(ValueError, match=r"^[^\n]*$") as raised:
        read_script(path)
    assert str(raised.value).startswith(f"{path}: {sentence}")


def test_a_case_runs_after_others_that_need_not_be_there(directory):
    first = CASE.replace('"work"', '"first"') + 'after = ["last", "nowhere"]\n'
    (directory / "cases.toml").write_text(first + CASE.replace('"work"', '"last"'))
    assert [case.name for case in read_script(directory / "cases.toml").ordered()] == ["last", "first"]
    (directory / "cases.toml").write_text(first + CASE.replace('"work"', '"last"') + 'after = ["first"]\n')
    with pytest.raises(ValueError, match=r"^.*case needs must not be cyclic, as"):
        read_script(directory / "cases.toml")


def test_commands_are_files_python_or_programs_of_the_environment(directory):
    def arguments(*command, python="/env/bin/python"):
        text = CASE.replace('["work.py"]', str(list(command)))
        (directory / "cases.toml").write_text(text)
        return read_script(directory / "cases.toml").case[0].arguments(python)

    assert arguments("tools/train.py", "-c", "a b") == ["/env/bin/python", "tools/train.py", "-c", "a b"]
    assert arguments("python", "-m", "a.train") == ["/env/bin/python", "-m", "a.train"]
    assert arguments("torchrun", "a.py") == ["/env/bin/torchrun", "a.py"]
    assert arguments("torchrun", "a.py", python="python3") == ["torchrun", "a.py"]


def test_needs_of_a_grid_are_those_of_its_combinations_that_run(directory):
    grid = """
grid = { batch = [1, 2, 4] }
skip = [{ when = { batch = 4 }, reason = "too large" }]
"""
    after = '[[case]]\nname = "after"\ncommand = ["after.py"]\nmodes = ["quick"]\ntime_limit = 60\n'
    (directory / "cases.toml").write_text(CASE + grid + after + 'needs = ["environment", "work"]\n')
    cases = read_script(directory / "cases.toml").case
    assert [case.name for case in cases] == ["work batch=1", "work batch=2", "work batch=4", "after"]
    assert cases[2].skip == "too large"
    assert cases[3].needs == ("environment", "work batch=1", "work batch=2")


def test_the_script_of_the_documentation_is_valid(tmp_path):
    (block,) = [block for block in read_pages()["adopting"].split("```") if block.startswith("toml\n# cases")]
    (tmp_path / "cases.toml").write_text(block.removeprefix("toml\n"))
    first, second, *_ = read_script(tmp_path / "cases.toml").case
    assert (first.name, first.metrics[0].max) == ("infer batch=1 precision=float32 most=0.5", 0.5)
    assert second.skip == "no kernel for it"
