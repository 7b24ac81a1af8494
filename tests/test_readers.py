import os

import pytest

from stageplan import readers
from stageplan.plan_file import read_plan
from stageplan.readers import read_cluster, read_devices, read_goal, read_workload
from stageplan.readers.bounded import MAX_BYTES, MAX_TOML_BYTES

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
        (b"\x89PNG\r\n\x1a\n", "byte 0 is not UTF-8; the file must be text"),
        ("name = 'é'".encode("latin-1"), "byte 8 is not UTF-8; the file must be text"),
        ("name = 'net'".encode("utf-16-le"), "it has zero bytes; the file must be text"),
        (b'{"name": "net", "layers": [', "it is not valid JSON: Input data was truncated"),
        (b'{"name": NaN}', "it is not valid JSON: "),
        (b'{"name": "net"}', "it has no layers (a workload), no types (a cluster), and no nodes and edges"),
        (
            b"dear reader",
            "it is not valid TOML: Expected '=' after a key in a key/value pair (at line 1, column 6); "
            "it must be stageplan's TOML or JSON, a PipeDream profile or dnn-partitioning JSON",
        ),
        (WORKLOAD.encode()[:-9], "it is not valid TOML: "),
        (b"a = " + b"9" * 5000, "it is not valid TOML: it has a number of too many digits"),
        (
            b'{"layers": [{"memory": ' + b"9" * 5000 + b"}]}",
            "it is not valid JSON: Integer value out",
        ),
        (b'{"layers": [{"memory": -' + b"9" * 5000 + b"}]}", "it is not valid JSON: "),
        (b"a." * 10**5 + b"a = 1", "it has a key of more than 64 parts; it must have at most that"),
        (b"[a" + b" . a" * 10**5 + b"]", "it has a key of more than 64 parts"),
        (b'{"layers": ' + b"[" * 10**5, "it is nested too deeply to be read"),
        (b"layers = " + b"[" * 10**5, "it is nested too deeply to be read"),
    ],
)
def test_invalid_documents_are_refused(tmp_path, read, content, sentence):
    path = tmp_path / "net.toml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"net\.toml: ") as caught:
        read(path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("read", "text", "sentence"),
    [
        (read_devices, '{"devices": null}', "devices is None; it must be a list of devices (catalogue)"),
        (read_devices, '{"devices": [null]}', "devices[0] is None; it must be a table"),
        (read_workload, '{"name": "n", "layers": null}', "layers is None; it must be a list of 1 to 4096"),
        (read_workload, '{"name": "n", "layers": [null]}', "layers[0] is None; it must be a table"),
        (read_cluster, '{"name": "n", "types": null}', "types is None; it must be a list of 1 device type"),
        (read_plan, '{"scheme": null}', "Expected `array`, got `null` - at `$.scheme`"),
        (read_devices, "null", "it is not valid TOML"),
    ],
)
def test_null_in_place_of_a_list_is_refused(tmp_path, read, text, sentence):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"^.*x\.json: ") as caught:
        read(path)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("read", READERS)
def test_files_that_cannot_be_read_are_os_errors(tmp_path, read):
    with pytest.raises(FileNotFoundError, match=r"net\.toml"):
        read(tmp_path / "net.toml")
    with pytest.raises(FileNotFoundError, match="no such file or built-in example"):
        read("no-such-network")
    with pytest.raises(IsADirectoryError):
        read(tmp_path)
    with pytest.raises(TypeError, match="path is 3; it must be a path"):
        read(3)
    with pytest.raises(ValueError, match=r"path is 'a\\x00b'; it must be a text without zero bytes"):
        read("a\0b")


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
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(ValueError, match=r"net\.toml: it has more than 256 MB; it must have at most that"):
        read_workload(path)


def test_a_large_toml_is_refused(tmp_path):
    path = tmp_path / "net.toml"
    path.write_bytes(b"#" * (MAX_TOML_BYTES + 1))
    with pytest.raises(ValueError, match=r"net\.toml: it has more than 16 MB; it must have at most that"):
        read_workload(path)


def test_a_name_with_many_dots_is_not_a_long_key(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text(WORKLOAD.replace("conv", "1" + ".1" * 60))
    assert read_workload(path).layers[0].name == "1" + ".1" * 60


def test_the_format_is_detected_from_the_content(tmp_path):
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


def test_a_name_is_a_built_in_example_unless_a_file_of_that_name_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ctr").mkdir()
    assert read_workload("ctr").name == "ctr"
    assert read_goal("ctr") is not None
    assert {type_.name for type_ in read_cluster("ctr").types} >= {"cpu"}
    (tmp_path / "ctr").rmdir()
    (tmp_path / "ctr").write_text(WORKLOAD)
    assert read_workload("ctr").name == "net"


@pytest.mark.parametrize("name", sorted(file.name.removesuffix(".toml") for file in readers._built_in()))
def test_built_in_examples_are_valid(name):
    try:
        assert read_workload(name).name == name
    except ValueError:
        assert read_cluster(name).name == name
