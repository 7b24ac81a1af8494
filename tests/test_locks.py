"""Locks: held once, by one process, and released with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stageplan import locks

HOLD = """
import sys
from pathlib import Path
from stageplan.locks import locked_beside
with locked_beside(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.ckpt"


def test_a_lock_is_held_once_and_leaves_no_file(file: Path) -> None:
    for _ in range(2):
        with locks.locked_beside(file):
            assert os.listdir(file.parent) == [".run.ckpt.lock"]
            with pytest.raises(BlockingIOError), locks.locked_beside(file):
                raise AssertionError
        assert os.listdir(file.parent) == []


def test_an_error_releases_it(file: Path) -> None:
    with pytest.raises(OSError, match="full"), locks.locked_beside(file):
        raise OSError("full")
    with locks.locked_beside(file):
        pass


def test_a_link_is_locked_as_what_it_points_to(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    with locks.locked_beside(file), pytest.raises(BlockingIOError), locks.locked_beside(link):
        raise AssertionError


def test_the_lock_of_a_killed_process_is_free(file: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError), locks.locked_beside(file):
            raise AssertionError
        process.kill()
    assert os.listdir(file.parent) == [".run.ckpt.lock"]
    with locks.locked_beside(file):
        pass
    assert os.listdir(file.parent) == []


def test_nothing_is_held_where_no_file_can_be_made(tmp_path: Path) -> None:
    with locks.locked_beside(tmp_path / "absent" / "run.ckpt"):
        assert os.listdir(tmp_path) == []


def test_nothing_is_held_where_there_are_no_locks(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks, "lock", none)
    with locks.locked_beside(file):
        assert os.listdir(file.parent) == []


def test_a_lock_given_up_in_between_is_taken_anew(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process removes its file after it is opened here and before it is locked."""
    taken, real = [], locks.lock

    def lock(stream: object) -> None:
        if not taken:
            (file.parent / ".run.ckpt.lock").unlink()
        taken.append(stream)
        real(stream)  # type: ignore[arg-type]

    monkeypatch.setattr(locks, "lock", lock)
    with locks.locked_beside(file):
        assert len(taken) == 2
        assert os.listdir(file.parent) == [".run.ckpt.lock"]
