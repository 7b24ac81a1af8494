"""The program that makes an environment: what it may remove of an earlier one, and what not."""

import json

import pytest

from stageplan.generate.on_target.make_environment import clear, files_of, packaged

NAMES = ("marker", "this run", "record.json")


@pytest.fixture
def made(tmp_path):
    """An environment with one package, as made by a run and recorded before the package was installed."""
    site = tmp_path / "lib/python3.11/site-packages"
    (site / "pack-1.0.dist-info").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to("/usr/bin/python3")
    (tmp_path / "lib64").symlink_to("lib")
    (tmp_path / "marker").write_text("this run")
    (tmp_path / "record.json").write_text(json.dumps(["bin/python", "lib64", "marker"]))
    for name in ("pack.py", "pack-1.0.dist-info/METADATA", "pack-1.0.dist-info/RECORD"):
        (site / name).write_text("Name: pack\nVersion: 1.0\n" if name.endswith("METADATA") else "")
    (tmp_path / "bin/pack").write_text("a command of the package")
    listed = ("pack.py", "../../../bin/pack", "pack-1.0.dist-info/METADATA", "pack-1.0.dist-info/RECORD")
    (site / "pack-1.0.dist-info/RECORD").write_text("".join(f"{path},,\n" for path in listed))
    (site / "__pycache__").mkdir()
    (site / "__pycache__/pack.pyc").write_bytes(b"compiled")
    return tmp_path


def test_files_are_listed_without_following_links(made):
    assert {"bin/python", "lib64", "bin/pack", "lib/python3.11/site-packages/pack.py"} <= files_of(str(made))
    assert not any(path.startswith("lib64/") or "__pycache__" in path for path in files_of(str(made)))
    assert packaged(str(made)) >= {"bin/pack", "lib/python3.11/site-packages/pack.py"}


def test_environment_of_the_same_run_is_emptied(made):
    clear(str(made), *NAMES)
    assert files_of(str(made)) == {"marker"}


@pytest.mark.parametrize("path", ["notes.md", "bin/mine", "lib/python3.11/site-packages/mine.py", "lib/link"])
def test_environment_with_an_added_file_is_left_as_it_is(made, path):
    (made / path).symlink_to("/nowhere") if path == "lib/link" else (made / path).write_text("mine")
    before = files_of(str(made))
    with pytest.raises(
        SystemExit, match=rf"^{made} holds {path}, which this run did not make; move it elsew"
    ):
        clear(str(made), *NAMES)
    assert files_of(str(made)) == before


@pytest.mark.parametrize("marker", [None, "", "another run"])
def test_folder_that_the_run_did_not_make_is_left_as_it_is(made, marker):
    (made / "marker").unlink() if marker is None else (made / "marker").write_text(marker)
    before = files_of(str(made))
    with pytest.raises(SystemExit, match=rf"^{made} was not made by this run; rename or remove it$"):
        clear(str(made), *NAMES)
    assert files_of(str(made)) == before


def test_partial_environment_is_emptied(made):
    (made / "record.json").unlink()
    (made / "half").touch()
    clear(str(made), *NAMES)
    assert files_of(str(made)) == {"marker"}


def test_empty_folder_is_used(tmp_path):
    clear(str(tmp_path), *NAMES)
