"""Adopting a project: which commands it has, and what is written of them."""

import tomllib

import pytest
import small_projects

from stageplan.generate import adopt, read_spec
from stageplan.generate.cases import read_script

PYTHON = "/usr/bin/python3"


@pytest.fixture
def project(tmp_path):
    return small_projects.write(tmp_path / "line")


@pytest.fixture
def adopted(project, tmp_path):
    """Adopt the project and return the cases of its script by name."""

    def adopted(**more):
        adopt(project, tmp_path / "run", python=PYTHON, **more)
        return {case.name: case for case in read_script(tmp_path / "run/cases.toml").case}

    return adopted


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_scripts_are_found_by_their_names_and_nothing_is_changed(adopted, project):
    before = files(project)
    cases = adopted()
    assert {name: case.command for name, case in cases.items()} == {
        "train": ("train.py",),
        "evaluate": ("tools/eval.py",),
        "export": ("export.py",),
        "infer": ("infer.py",),
    }
    assert cases["infer"].needs == ("environment", "train", "export")
    assert cases["infer"].modes == ("quick", "infer", "full", "benchmark")
    assert files(project) == before


def test_given_commands_are_the_only_ones(adopted):
    cases = adopted(commands={"train": "python3 -m tools.train --epochs 1", "infer": "./infer.py 'a b'"})
    assert {name: case.command for name, case in cases.items()} == {
        "train": ("python", "-m", "tools.train", "--epochs", "1"),
        "infer": ("infer.py", "a b"),
    }
    assert cases["infer"].needs == ("environment", "train")


def test_a_makefile_and_entry_points_have_commands(adopted, project):
    for name in ("train.py", "tools/eval.py", "export.py", "infer.py"):
        (project / name).unlink()
    (project / "Makefile").write_text(
        "train: data\n\t@python go.py --epochs 2\n\neval:\n\tcd x && python y.py\n\n"
        "infer:\n\techo a\n\techo b\n"
    )
    (project / "pyproject.toml").write_text('[project.scripts]\npredict = "line.main:predict"\n')
    cases = adopted()
    assert {name: case.command for name, case in cases.items()} == {
        "train": ("python", "go.py", "--epochs", "2"),
        "infer": ("python", "-c", "import sys; from line.main import predict; sys.exit(predict())"),
    }


def test_metrics_with_limits_and_artefacts_are_added_to_their_commands(adopted):
    cases = adopted(
        metrics=["accuracy=acc: ([0-9.]+)", "test.error=result.json", "train:loss=loss: ([0-9.]+)"],
        limits={"accuracy": (0.9, None), "loss": (0.0, 0.1)},
        artefacts=["train=out/line.json"],
    )
    accuracy, error = cases["evaluate"].metrics
    assert (accuracy.pattern, accuracy.min, accuracy.max) == ("acc: ([0-9.]+)", 0.9, None)
    assert (error.file, error.pattern, error.required()) == ("result.json", None, "")
    assert (cases["train"].metrics[0].min, cases["train"].metrics[0].max) == (0.0, 0.1)
    assert cases["train"].artefacts == ("out/line.json",)


def test_requirements_are_those_of_the_project_unless_an_interpreter_is_given(project, tmp_path):
    (project / "requirements.txt").write_text("numpy\n")
    run = tmp_path / "run"
    assert adopt(project, run).project.requirements == str(project / "requirements.txt")
    assert adopt(project, run, python=PYTHON).project.requirements is None
    given = adopt(project, run, python=PYTHON, requirements=project / "requirements.txt").project
    assert (given.environment.reuse, given.requirements) == (PYTHON, str(project / "requirements.txt"))


def test_a_configuration_of_tipc_is_used_where_it_is_the_only_one(adopted, project):
    folder = project / "test_tipc" / "configs"
    folder.mkdir(parents=True)
    (folder / "train_infer_python.txt").write_text(small_projects.TIPC)
    assert "train norm_train gpus=-1 autocast=null" in adopted()
    assert "train" in adopted(commands={"train": "train.py"})
    (folder / "other_train_infer_python.txt").write_text(small_projects.TIPC)
    assert "train" in adopted()
    assert "benchmark norm_train batch=2 precision=fp32" in adopted(
        tipc=folder / "train_infer_python.txt", mode="benchmark_train"
    )


def test_a_factory_gives_a_specification(adopted, project, tmp_path):
    adopted(factory="line.network:make", task="image-classification")
    written = tomllib.loads((tmp_path / "run/spec.toml").read_text())
    assert (written["name"], written["task"], written["target"]) == ("line", "image-classification", "local")
    assert written["service"]["model"] == {"factory": "line.network:make", "path": str(project)}
    text = (tmp_path / "run/spec.toml").read_text()
    (tmp_path / "run/spec.toml").write_text(text.replace("[service.model]", "[service.model]\nclasses = 3"))
    assert read_spec(tmp_path / "run/spec.toml").service.model.source == "factory"
    assert written["environment"] == {"reuse": PYTHON}


def test_a_changed_script_is_kept_when_the_project_is_adopted_again(adopted, tmp_path):
    adopted()
    (tmp_path / "run/cases.toml").write_text("# mine\n")
    adopted()
    assert (tmp_path / "run/kept/1/cases.toml").read_text() == "# mine\n"


FAULTS = {
    "shell": (
        {"commands": {"train": "python a.py && b"}},
        "train is 'python a.py && b', with '&'; it must be a ",
    ),
    "quotes": (
        {"commands": {"train": "a.py 'b"}},
        'train is "a.py \'b" (No closing quotation); it must be a ',
    ),
    "empty": ({"commands": {"infer": " "}}, "infer is ' '; it must be a command that runs without a shell"),
    "program": (
        {"commands": {"train": "/bin/ls"}},
        "case[0].command[0] is '/bin/ls'; it must be a .py file of",
    ),
    "command": (
        {"commands": {"trian": "a.py"}},
        "command is 'trian'; it must be one of 'train', 'evaluate', ",
    ),
    "metric": (
        {"metrics": ["accuracy"]},
        "metric is 'accuracy'; it must be NAME=PATTERN or NAME=FILE.json, as",
    ),
    "metric's command": (
        {"metrics": ["tests:a=(b)"]},
        "metric is 'tests:a=(b)'; its command must be one of tr",
    ),
    "pattern": (
        {"metrics": ["a=b"]},
        "case[1].metrics[0].pattern is 'b'; it must have a group for the number",
    ),
    "expression": (
        {"metrics": ["a=(b"]},
        "case[1].metrics[0].pattern is '(b'; it must be a regular expressio",
    ),
    "limit": (
        {"limits": {"a": (1.0, None)}},
        "limit of 'a' is given; it must be that of a metric: none is giv",
    ),
    "artefact": ({"artefacts": ["a"]}, "artefact is 'a'; it must be COMMAND=FILE, as 'train=model.pt'"),
    "artefact's path": (
        {"artefacts": ["train=/a"]},
        "case[0].artefacts[0] is '/a'; artefacts must be a list",
    ),
    "mode": ({"mode": "lite"}, "mode is 'lite'; it must be one of 'lite_train_lite_infer', "),
    "factory": ({"factory": "a b:c"}, "factory is 'a b:c'; it must be package.module:function"),
    "task": ({"factory": "a:b"}, "task is None; it must be one of 'causal-language-model', "),
    "both": (
        {"tipc": "a.txt", "commands": {"train": "a.py"}},
        "tipc is given with commands; only one of them ",
    ),
    "requirements": ({"requirements": "none.txt"}, "requirements is none.txt; it must be an existing file"),
    "target": ({"target": "ssh:-o"}, "target is 'ssh:-o'; it must be 'local', 'ssh:USER@HOST' or "),
    "time limit": ({"time_limit": 0.0}, "case[0].time_limit is 0.0; it must be more than 0 and at most 1e7 "),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_have_their_sentences_and_write_nothing(project, tmp_path, name):
    arguments, sentence = FAULTS[name]
    with pytest.raises((ValueError, TypeError), match=r"^[^\n]*$") as raised:
        adopt(project, tmp_path / "run", **arguments)
    assert str(raised.value).startswith(sentence)
    assert not (tmp_path / "run").exists()


def test_folders_that_cannot_be_used_are_refused(project, tmp_path):
    with pytest.raises(ValueError, match=r"^project is none; it must be an existing folder$"):
        adopt("none", tmp_path / "run")
    with pytest.raises(ValueError, match=r"/line/run; it must be outside the project .*/line, which"):
        adopt(project, project / "run")
    with pytest.raises(ValueError, match=r"; it must be new, empty, or made by an earlier run"):
        adopt(project, small_projects.write(tmp_path / "other"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"it has no command that is known by its name, such as train.py, "):
        adopt(tmp_path / "empty", tmp_path / "run")


def test_one_of_several_configurations_has_to_be_chosen(project, tmp_path):
    folder = tmp_path / "empty" / "test_tipc"
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        (folder / f"{name}_train_infer_python.txt").write_text(small_projects.TIPC)
    with pytest.raises(ValueError, match=r"^tipc is missing; it must be one of the 2 configurations of"):
        adopt(tmp_path / "empty", tmp_path / "run")
