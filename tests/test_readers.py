import os

import pytest

from stageplan import readers
from stageplan.readers import read_cluster, read_goal, read_workload

CLUSTER = 'name = "lab"\ntypes = [{ name = "cpu", price = 1 }]\n'
WORKLOAD = 'name = "net"\nlayers = [{ name = "conv", compute = { cpu = 1 } }]\n'
READERS = [read_workload, read_cluster, read_goal]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            b"",
            "it is empty; it must be stageplan's TOML or JSON, a PipeDream profile or dnn-partitioning JSON",
        ),
        (b" \n\t\n", "it is empty"),
        (b"\x89PNG\r\n\x1a\n", "byte 0 is no UTF-8; it must be a text"),
        ("name = 'é'".encode("latin-1"), "byte 8 is no UTF-8; it must be a text"),
        ("name = 'net'".encode("utf-16-le"), "it has zero bytes; it must be a text"),
        (b'{"name": "net", "layers": [', "it is no valid JSON: Input data was truncated"),
        (b'{"name": NaN}', "it is no valid JSON: "),
        (b'{"name": "net"}', "it has no layers (a workload), no types (a cluster), and no nodes and edges"),
        (
            b"dear reader",
            "it is none of stageplan's TOML or JSON, a PipeDream profile or dnn-partitioning JSON",
        ),
        (WORKLOAD.encode()[:-9], "it is none of stageplan's TOML or JSON"),
        (b'{"layers": ' + b"[" * 10**5, "it is nested too deeply to be read"),
        (b"layers = " + b"[" * 10**5, "it is nested too deeply to be read"),
    ],
)
def test_what_is_no_document_is_refused(tmp_path, read, content, sentence):
    path = tmp_path / "net.toml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"net\.toml: ") as caught:
        read(path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", READERS)
def test_what_cannot_be_read_is_an_os_error(tmp_path, read):
    with pytest.raises(FileNotFoundError, match=r"net\.toml"):
        read(tmp_path / "net.toml")
    with pytest.raises(FileNotFoundError, match="no such file or built-in example"):
        read("no-such-network")
    with pytest.raises(IsADirectoryError):
        read(tmp_path)
    with pytest.raises(TypeError, match="int"):
        read(3)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the user can read every file")
def test_a_file_without_permission(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text(WORKLOAD)
    path.chmod(0)
    with pytest.raises(PermissionError):
        read_workload(path)


def test_a_huge_file_is_refused(tmp_path):
    path = tmp_path / "net.toml"
    with path.open("wb") as stream:
        stream.truncate(readers.MAX_BYTES + 1)
    with pytest.raises(ValueError, match=r"net\.toml: it has more than 256 MB, the most that is read"):
        read_workload(path)


def test_the_content_tells_the_format(tmp_path):
    path = tmp_path / "net.txt"
    path.write_text("\ufeff" + WORKLOAD, encoding="utf-8")
    assert read_workload(str(path)).name == "net"
    with pytest.raises(ValueError, match=r"net\.txt: it holds a workload and names no cluster"):
        read_cluster(path)
    path.write_text(CLUSTER)
    assert read_cluster(path).name == "lab"
    with pytest.raises(ValueError, match=r"net\.txt: it holds a cluster; it must hold a workload"):
        read_workload(path)


def test_batch_replaces_that_of_the_file(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text(WORKLOAD)
    assert read_workload(path).batch == 1
    assert read_workload(path, batch=64).batch == 64
    with pytest.raises(ValueError, match=r"net\.toml: batch is 0; it must be more than 0 examples"):
        read_workload(path, batch=0)


def test_a_bare_name_is_a_built_in_example_unless_there_is_such_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ctr").mkdir()
    assert read_workload("ctr").name == "ctr"
    assert read_goal("ctr") is not None
    assert {type_.name for type_ in read_cluster("ctr").types} >= {"cpu"}
    (tmp_path / "ctr").rmdir()
    (tmp_path / "ctr").write_text(WORKLOAD)
    assert read_workload("ctr").name == "net"


@pytest.mark.parametrize("name", sorted(file.name.removesuffix(".toml") for file in readers._built_in()))
def test_built_in_examples_are_sound(name):
    try:
        assert read_workload(name).name == name
    except ValueError:
        assert read_cluster(name).name == name
