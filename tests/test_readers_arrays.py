"""NumPy's files within limits: what they promise is refused before it takes memory."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

import stageplan as sp
from stageplan.readers.arrays import map_npy, read_npz
from stageplan.readers.bounded import MAX_BYTES


def header(shape, dtype="|i1"):
    """The first bytes of an .npy file of an array of this shape."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def write_zip(path, members):
    """Write an archive of members: what each holds, and the size that the directory claims for it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (content, claimed) in members.items():
            archive.writestr(f"{name}.npy", content)
            archive.getinfo(f"{name}.npy").file_size = claimed
    return path


def refused(path, sentence, names=("weights", "schemes")):
    """Read arrays that have to be refused, without the memory that they would take."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r".") as caught:
            read_npz(path, names)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sentence in str(caught.value)
    assert peak < 2**22
    return path


def test_a_zip_bomb_is_refused_unread(tmp_path):
    """The claim is believed: nothing is decompressed."""
    size = MAX_BYTES // 2
    bomb = {name: (header((size,)), size + 128) for name in ("weights", "schemes")}
    path = refused(write_zip(tmp_path / "p.npz", bomb), "it has more than 256 MB; it must have at most that")
    with pytest.raises(ValueError, match=r"p\.npz: it is not a valid policy file: .*more than 256 MB"):
        sp.Policy.load(path)


def test_a_bomb_that_claims_to_be_small_is_refused(tmp_path):
    """No more than it claims is decompressed, which is not what its checksum is of."""
    first = header((2**24,))
    path = write_zip(tmp_path / "p.npz", {"weights": (first + bytes(2**24), len(first) + 64)})
    assert path.stat().st_size < 2**15
    refused(path, "it is not a valid .npz file: ")


@pytest.mark.parametrize("shape", [(2**40,), (2**31, 2**31), (2**62, 2**62, 4)])
def test_a_header_that_promises_more_than_follows_is_refused(tmp_path, shape):
    first = header(shape, "<f8")
    path = write_zip(tmp_path / "p.npz", {"weights": (first, len(first))})
    refused(path, "weights.npy is shorter than its header says")


def test_members_that_nobody_asked_for_are_not_read(tmp_path):
    first = header((0,))
    path = write_zip(tmp_path / "p.npz", {"weights": (first, len(first)), "other": (b"", 2 * MAX_BYTES)})
    assert read_npz(path, ["weights"])["weights"].shape == (0,)


def test_headers_that_python_2_wrote_are_read(tmp_path):
    """NumPy would warn of their long integers, on the terminal of whoever scores the file."""
    old = header((2, 3)).replace(b"(2, 3), }", b"(2L, 3), }").replace(b" \n", b"\n", 1)
    data = old + bytes(range(6))
    (tmp_path / "a.npy").write_bytes(data)
    assert map_npy(tmp_path / "a.npy").tolist() == [[0, 1, 2], [3, 4, 5]]
    archive = write_zip(tmp_path / "a.npz", {"a": (data, len(data))})
    assert read_npz(archive, ["a"])["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
