"""Directories of runs: which are refused, and that no file is lost that a run did not write."""

import os
import shutil

import pytest
from projects import RUN_ID

from stageplan.generate.folders import (
    MARKER,
    RECORD,
    copy_folder,
    foreign_files,
    id_for,
    owned,
    remove_leftovers,
    run_id,
    scratch,
    staged,
    write_files,
)


@pytest.fixture
def out(tmp_path):
    """The directory of a run."""
    with owned(tmp_path / "out", RUN_ID):
        pass
    return tmp_path / "out"


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def replaced(folder, **files):
    """Replace a folder as a step does."""
    with staged(folder) as new:
        write(new, **files)


def tree(folder):
    """Path -> text of all files but markers and records; of a link, where it leads."""
    paths = (path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    return {
        path.relative_to(folder).as_posix(): os.readlink(path) if path.is_symlink() else path.read_text()
        for path in paths
        if path.name not in (MARKER, RECORD)
    }


# The marker ---------------------------------------------------------------------------------------------


def test_new_and_empty_directories_are_marked_with_different_ids(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("new", "deep/er", "empty"):
        with owned(tmp_path / name, id_for(tmp_path / name)):
            assert os.listdir(tmp_path / name) == [MARKER]
    ids = [id_for(tmp_path / name) for name in ("new", "deep/er", "empty")]
    assert len(set(ids)) == 3
    assert ids == [run_id(tmp_path / name) for name in ("new", "deep/er", "empty")]


def test_asking_for_an_id_changes_nothing(tmp_path):
    assert id_for(tmp_path / "new") != id_for(tmp_path / "new")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["thesis.tex", "spec.json", ".git", ".lock", "project"])
def test_directory_with_other_files_is_refused(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(ValueError, match=r"^directory is .*; it must be new, .*is absent$"):
        id_for(tmp_path)
    assert tree(tmp_path) == {name: "precious"}


@pytest.mark.parametrize(
    "marker", ["", "stageplan run 0123\n", f"stageplan run {RUN_ID}\nmore\n", f"Stageplan run {RUN_ID}\n"]
)
def test_damaged_marker_is_refused(tmp_path, marker):
    write(tmp_path, **{MARKER: marker, "notes": "mine"})
    with pytest.raises(
        ValueError, match=rf"^directory is .*; it must be new, .* marker {MARKER} is damaged$"
    ):
        id_for(tmp_path)
    assert tree(tmp_path) == {"notes": "mine"}
    assert (tmp_path / MARKER).read_text() == marker


def test_marker_that_is_a_link_or_a_folder_is_refused(tmp_path, out):
    for name in ("link", "folder"):
        write(tmp_path / name, notes="mine")
    (tmp_path / "link" / MARKER).symlink_to(out / MARKER)
    (tmp_path / "folder" / MARKER).mkdir()
    for name in ("link", "folder"):
        with pytest.raises(ValueError, match=r"is damaged$"):
            id_for(tmp_path / name)


def test_file_in_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"^directory is .*/file, a file; it must be a directory, or a new "):
        id_for(tmp_path / "file")


@pytest.mark.parametrize("inside", ["new", "project", "project/deep/er"])
def test_directory_inside_that_of_a_run_is_refused(out, inside):
    replaced(out / "project", a="a")
    with pytest.raises(ValueError, match=r"; it must not be inside .*/out, the directory of a run$"):
        id_for(out / inside)


def test_run_killed_while_writing_the_marker_is_repeated(tmp_path):
    (tmp_path / MARKER).touch()
    with owned(tmp_path, RUN_ID):
        assert run_id(tmp_path) == RUN_ID


def test_copy_of_a_directory_belongs_to_the_same_run(tmp_path, out):
    replaced(out / "project", a="a")
    shutil.copytree(out, tmp_path / "copy")
    assert id_for(tmp_path / "copy") == RUN_ID
    assert foreign_files(tmp_path / "copy/project") == {}


def test_directory_in_use_is_refused(out):
    with (
        owned(out, RUN_ID),
        pytest.raises(ValueError, match=r"^directory is .*; another run is using it$"),
        owned(out, RUN_ID),
    ):
        pass
    with pytest.raises(ValueError, match=r"another run is using it$"), owned(out, "f" * 32):
        pass


# Folders that are replaced ------------------------------------------------------------------------------


def test_folder_of_a_run_is_replaced(out):
    replaced(out / "project", old="old", both="1")
    (out / "project/__pycache__").mkdir()
    (out / "project/__pycache__/old.pyc").write_bytes(b"compiled")
    replaced(out / "project", new="new", both="2")
    assert tree(out) == {"project/new": "new", "project/both": "2"}


def test_added_and_changed_files_are_kept(out):
    replaced(out / "project", old="old", changed="1", same="1")
    write(out / "project", changed="mine", notes="mine", same="2")
    write(out / "project/deep/er", notes="mine")
    (out / "project/link").symlink_to("/nowhere")
    replaced(out / "project", new="new", changed="3", same="2")
    mine = {"changed": "mine", "notes": "mine", "deep/er/notes": "mine", "link": "/nowhere"}
    assert tree(out / "kept/1/project") == mine
    assert tree(out / "project") == {"new": "new", "changed": "3", "same": "2"}


def test_users_file_that_is_taken_over_stays_the_users(out):
    replaced(out / "project", a="a")
    write(out / "project", notes="mine")
    replaced(out / "project", a="b", notes="mine")
    assert tree(out) == {"project/a": "b", "project/notes": "mine"}
    assert set(foreign_files(out / "project")) == {"notes"}
    replaced(out / "project", a="c")
    assert tree(out / "kept") == {"1/project/notes": "mine"}


def test_folder_without_a_record_is_kept_whole(out):
    write(out / "project", thesis="precious")
    replaced(out / "project", a="a")
    assert tree(out) == {"project/a": "a", "kept/1/project/thesis": "precious"}
    (out / "project" / RECORD).write_text("{")
    replaced(out / "project", a="b")
    assert tree(out / "kept/2") == {"project/a": "a"}


def test_file_or_link_in_place_of_a_folder_is_kept(tmp_path, out):
    (out / "project").write_text("precious")
    replaced(out / "project", a="a")
    write(tmp_path / "elsewhere", b="precious")
    shutil.rmtree(out / "project")
    (out / "project").symlink_to(tmp_path / "elsewhere")
    replaced(out / "project", a="a")
    assert (out / "kept/1/project").read_text() == "precious"
    assert (out / "kept/2/project").readlink() == tmp_path / "elsewhere"
    assert tree(tmp_path / "elsewhere") == {"b": "precious"}
    assert tree(out / "project") == {"a": "a"}


def test_what_is_kept_is_never_replaced(out):
    for text in ("1", "2", "3"):
        replaced(out / "project", a="a")
        write(out / "project", notes=text)
        if text == "2":
            shutil.rmtree(out / "kept/1")
            write(out / "kept/3", mine="mine")
    replaced(out / "project", a="a")
    assert tree(out / "kept") == {"1/project/notes": "2", "2/project/notes": "3", "3/mine": "mine"}


def test_failure_leaves_the_earlier_folder(out):
    replaced(out / "project", a="1")
    write(out / "project", notes="mine")

    def fail():
        with staged(out / "project") as new:
            write(new, a="2")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert tree(out) == {"project/a": "1", "project/notes": "mine"}


def test_copy_has_no_record(out):
    replaced(out / "project", a="a")
    copy_folder(out / "project", out / "copy")
    assert os.listdir(out / "copy") == ["a"]


def test_leftovers_of_killed_runs_are_removed_and_nothing_else(out):
    with scratch(out / "project") as one, scratch(one) as two:
        names = {one.name, two.name}
        write(out / ".mine.part", a="precious")
        write(out / ".project-mine.part", a="precious")
        write(out / ".mine-01234567.part", a="precious")
        (out / ".project-01234567.part").write_text("a file")
        (out / ".test-01234567.part").symlink_to(out / ".mine.part")
        assert names <= set(os.listdir(out))
        remove_leftovers(out)
        assert not names & set(os.listdir(out))
    assert set(tree(out)) == {
        ".mine.part/a",
        ".project-mine.part/a",
        ".mine-01234567.part/a",
        ".project-01234567.part",
        ".test-01234567.part",
    }


# Files that are replaced --------------------------------------------------------------------------------


def test_changed_files_of_the_directory_are_kept(out):
    write_files(out, {"cases.toml": b"1", "container/Dockerfile": b"1"})
    write_files(out, {"cases.toml": b"2"})
    assert tree(out) == {"cases.toml": "2", "container/Dockerfile": "1"}
    write(out, **{"cases.toml": "mine"})
    write(out / "container", notes="mine")
    write_files(out, {"cases.toml": b"3", "container/Dockerfile": b"3"})
    assert tree(out) == {
        "cases.toml": "3",
        "container/Dockerfile": "3",
        "container/notes": "mine",
        "kept/1/cases.toml": "mine",
    }
