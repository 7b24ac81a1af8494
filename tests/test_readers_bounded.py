"""Files within limits."""

import tracemalloc

import pytest

from stageplan.readers.bounded import read_bytes


@pytest.mark.parametrize("size", [0, 1, 2**20, 2**20 + 1])
def test_all_bytes_of_a_file_are_read(tmp_path, size):
    content = bytes(range(256)) * 8193
    (tmp_path / "file").write_bytes(content[:size])
    assert read_bytes(tmp_path / "file") == content[:size]
    assert read_bytes(tmp_path / "file", limit=max(size, 1)) == content[:size]


def test_a_file_above_the_limit_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    with pytest.raises(ValueError, match="it has more than 0 MB"):
        read_bytes(tmp_path / "file", limit=4)


def test_a_high_limit_takes_no_memory_for_a_small_file(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    tracemalloc.start()
    try:
        read_bytes(tmp_path / "file", limit=2**31)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**22
