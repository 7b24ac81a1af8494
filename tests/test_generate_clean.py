"""What runs left is removed, and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fake_steps
import pytest
from projects import RUN_ID

from stageplan.generate import clean, generate, read_spec
from stageplan.generate import target as targets
from stageplan.generate.folders import MARKER, SCRATCH, marker_text, owned, run_id
from stageplan.generate.on_target import clean as program

SPEC = 'name = "net"\ntask = "text-classification"\nextend = { steps = ["prune"] }\n'


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The directory of a run."""
    fake_steps.install(monkeypatch.setattr)
    (tmp_path / "spec.toml").write_text(SPEC)
    generate(tmp_path / "spec.toml", tmp_path / "model", mode="quick")
    return tmp_path / "model"


def test_directory_of_a_run_is_removed_after_it_was_listed(made):
    listed = clean(made)
    assert {Path(one.path).name for one in listed.removable} == set(os.listdir(made)) - {MARKER}
    assert sum(one.bytes for one in listed.found) > 300_000  # the weights
    assert made.exists()
    removed = clean(made, remove=True)
    assert removed.found == listed.found
    assert not made.exists()
    assert str(removed).startswith(f"removed: {len(listed.found)} files and folders, ")


def test_files_that_no_run_wrote_stay(made):
    mine = [
        "project/train.py",
        "project/deep/notes.md",
        "notes.md",
        "kept/1/spec.json",
        "cases.toml",
        "test/a",
    ]
    for name in mine:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text("mine")
    (made / "link").symlink_to("/etc")
    (made / "container").mkdir()
    (made / "container/Dockerfile").write_text("FROM mine")
    cleaned = clean(made, remove=True)
    stays = {Path(one.path).relative_to(made).as_posix() for one in cleaned.found if one.stays}
    assert stays == {*mine[:3], "kept", "cases.toml", "test/a", "link", "container"}
    assert all((made / name).read_text() == "mine" for name in mine)
    assert {path.name for path in made.iterdir()} == {
        *("project", "notes.md", "kept", "cases.toml", "test", "link", "container", MARKER)
    }
    assert os.listdir(made / "test") == ["a"]
    assert run_id(made) is not None  # so that another run may use it, and clean it


def test_environment_is_removed_but_not_what_was_put_into_it(made):
    folder, run = made / "environment", run_id(made)
    (folder / "bin").mkdir(parents=True)
    for name, text in ((MARKER, marker_text(run)), ("bin/python", ""), ("notes", "mine")):
        (folder / name).write_text(text)
    (folder / ".stageplan-files.json").write_text(json.dumps(["bin/python"]))
    clean(made, remove=True)
    assert [path.name for path in folder.rglob("*")] == ["notes"]
    (folder / MARKER).write_text(marker_text("0" * 32))
    (folder / "notes").unlink()
    clean(made, remove=True)
    assert (folder / MARKER).exists()  # another run's


@pytest.mark.parametrize("fault", ["no marker", "damaged marker", "absent", "a file", "link"])
def test_what_no_run_made_is_refused(made, fault, tmp_path):
    target = made
    if fault == "no marker":
        (made / MARKER).unlink()
    elif fault == "damaged marker":
        (made / MARKER).write_text("stageplan run x\n")
    elif fault == "link":
        (made / MARKER).unlink()
        (made / MARKER).symlink_to("spec.json")
    else:
        target = tmp_path / ("spec.toml" if fault == "a file" else "nothing")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=r"^directory is .*; it must be that of a run, with its \.stage"):
        clean(target, remove=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_directory_in_use_is_refused(made):
    with owned(made, run_id(made)), pytest.raises(ValueError, match="another run is using it"):
        clean(made, remove=True)
    assert (made / "project").exists()


# On a target --------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path):
    """A directory as on a target: of two runs, and of others."""
    place = tmp_path / ".stageplan"
    for name in ("a-01234567", "b-01234567", "mine", "mixed-01234567", "damaged-01234567"):
        (place / name / "environment").mkdir(parents=True)
        (place / name / "environment/python").write_text("x" * 100)
        if name != "mine":
            (place / name / MARKER).write_text(marker_text(RUN_ID))
    (place / "mixed-01234567/notes").write_text("mine")
    (place / "damaged-01234567" / MARKER).write_text("stageplan run\n")
    (place / "link-01234567").symlink_to("a-01234567")
    return place


def run_program(action, place, kind="runs", run=""):
    arguments = [action, place, kind, run, MARKER, f"environment|{SCRATCH}"]
    done = subprocess.run(
        [sys.executable, "-I", program.__file__, *arguments], capture_output=True, text=True, check=True
    )
    return {Path(path).name: (size, why) for path, size, why in json.loads(done.stdout.splitlines()[-1])}


def test_directories_with_a_valid_marker_and_nothing_else_are_removed(place):
    found = run_program("list", place)
    assert found == {
        "a-01234567": (147, ""),
        "b-01234567": (147, ""),
        "damaged-01234567": (114, "it has no valid .stageplan-run"),
        "link-01234567": (0, "it is not a directory"),
        "mine": (100, "it has no valid .stageplan-run"),
        "mixed-01234567": (151, "it holds notes, which no run made"),
    }
    assert run_program("remove", place) == found
    assert {path.name for path in place.iterdir()} == found.keys() - {"a-01234567", "b-01234567"}


def test_run_of_another_id_and_a_working_process_keep_a_directory(place):
    only = place / "a-01234567"
    assert run_program("remove", only, "run", "f" * 32) == {only.name: (147, "it was made by another run")}
    with subprocess.Popen(["sleep", "60"], cwd=only / "environment") as process:
        try:
            found = run_program("remove", only, "run", RUN_ID)
        finally:
            process.kill()
    assert found == {only.name: (147, "a process is working in it")}
    assert run_program("remove", only, "run", RUN_ID) == {only.name: (147, "")}
    assert run_program("list", only, "run", RUN_ID) == {}


def test_copy_on_the_target_is_removed_with_the_run(made, ssh_server, tmp_path, monkeypatch):
    there = tmp_path / "there"
    there.mkdir()
    spec = json.loads((made / "spec.json").read_text())
    spec |= {"target": ssh_server.target, "ssh": {"config": str(ssh_server.config), "directory": str(there)}}
    spec["environment"] |= {"python": sys.executable}
    (made / "spec.json").write_text(json.dumps(spec))
    machine = targets.target_of(read_spec(made / "spec.json"), made, run_id(made))
    assert machine.path(made) == str(there)  # which marks it
    cleaned = clean(made, remove=True)
    assert cleaned.found[0].path == f"{ssh_server.target}:{there}"
    assert not there.exists()


def test_all_runs_of_a_user_are_found_over_ssh(place, ssh_server, monkeypatch):
    monkeypatch.setattr(sys.modules["stageplan.generate.clean"], "PLACE", str(place))
    listed = clean(ssh_server.target, config=ssh_server.config)
    assert [one.path for one in listed.removable] == [
        f"{ssh_server.target}:{place / name}" for name in ("a-01234567", "b-01234567")
    ]
    assert not listed.removed
    assert len(list(place.iterdir())) == 6


def test_unreachable_target_is_one_sentence(tmp_path):
    with pytest.raises(targets.TargetError, match=r"^ssh:nobody@127\.0\.0\.1:1 cannot be reached: "):
        clean("ssh:nobody@127.0.0.1:1")
